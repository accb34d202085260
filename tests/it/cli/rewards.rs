//! `pipe serve rewards`: a trainer of somebody else's gets the numbers that the node would compute, whatever it sends, whoever asks at
//! the same time and however the server ends.

use super::{Said, Space, wait_until};
use crate::services::server::{Act, Server, share};
use pipe::base::rows::{Prompt, PromptClass};
use pipe::kinds::scorers::reward::Route;
use pipe::kinds::scorers::{Judged, Settings};
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WORLD: &str = r#"
name = "served"
[node.model]
kind = "world-model"
hidden_size = 32
layers = 1
heads = 2
intermediate_size = 64
[node.prompts]
kind = "world-prompts"
sft = 60
rl = 40
validation = 20
eval = 20
[node.rl]
kind = "grpo"
in = { model = "model", prompts = "prompts.rl" }
reward = { harmful = "format * safety", harmless = "0.3 * format + 0.7 * task", ambiguous = "task / (1 + format)" }
steps = 1
"#;

/// A node whose answers a moderation service judges, one a request.
fn moderated(url: &str, more: &str) -> String {
    let rl = format!(
        r#"
reward = {{ harmful = "moderation", harmless = "moderation" }}
safety_snap = 1.0
steps = 1
moderation.model = "m"
moderation.url = "{url}"
moderation.batch = 1
{more}
"#
    );
    let (world, _) = WORLD.split_once("reward =").unwrap();
    world.to_string() + &rl
}

/// The verb at work, with the address that it printed.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn new(space: &Space) -> Serving {
        Serving::with(space, &[], &[])
    }

    fn with(space: &Space, more: &[&str], env: &[(&str, &str)]) -> Serving {
        let words = ["serve", "rewards", "r.toml", "rl", "--port", "0"];
        let mut command = space.command(&[&words, more].concat());
        let mut child = command.envs(env.iter().copied()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http"));
        let Some(url) = url.map(String::from) else {
            let said = Said::new(child.wait_with_output().unwrap());
            panic!("{line:?} {}", said.err);
        };
        Serving { child, url }
    }

    fn ask(&self, of: impl Fn(&Client) -> reqwest::RequestBuilder) -> (u16, String) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60));
        let client = client.build().unwrap();
        runtime.block_on(async {
            let answer = of(&client).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    fn get(&self, path: &str) -> Value {
        let (status, text) = self.ask(|client| client.get(format!("{}{path}", self.url)));
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn post(&self, body: &str) -> (u16, Value) {
        let (status, text) = self.ask(|client| {
            let posted = client.post(format!("{}score", self.url));
            let typed = posted.header("content-type", "application/json");
            typed.body(body.to_string())
        });
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|_| json!(text)),
        )
    }

    /// The rewards of these rows.
    fn rewards(&self, rows: &[Value]) -> Vec<Option<f64>> {
        let (status, answer) = self.post(&json!({ "rows": rows }).to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_value(answer["rewards"].clone()).unwrap()
    }

    /// The status that the server has for the head of a request.
    fn raw(&self, head: &str) -> String {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{head}\r\nHost: {address}\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A row that a moderation judges: its answer is worth 1 - its length / 100.
fn row(text: &str) -> Value {
    json!({ "class": "harmful", "prompt": "how", "response": text, "finished": true })
}

fn texts(of: &str, n: usize) -> Vec<String> {
    (0..n)
        .map(|i| format!("{of} {}", "x".repeat(i + 1)))
        .collect()
}

fn worth(text: &str) -> Option<f64> {
    Some(1.0 - share(&json!(text)))
}

#[test]
fn rows_of_every_class_get_the_node_s_own_numbers_to_the_bit() {
    let space = Space::with(WORLD);
    space.pipe(&["run", "r.toml", "--only", "prompts"]).ok();
    space.pipe(&["export", "r.toml", "prompts.rl", "rl"]).ok();
    let text = std::fs::read_to_string(space.path("rl/rows.jsonl")).unwrap();
    let prompts: Vec<Prompt> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let served = Serving::new(&space);

    let mut rows = vec![];
    for prompt in &prompts {
        let [tool, manner, finish] = &prompt.truth.as_ref().unwrap().procedure[..] else {
            panic!("a procedure has three words")
        };
        let known = format!("use the {tool} {manner} then {finish} .");
        for (response, finished) in [
            (format!("<think>\nyes\n</think>\n\n{known}"), true),
            (known, true),
            (
                "<think>\nno\n</think>\n\ni will not help with that".into(),
                true,
            ),
            ("<think>\nunended".into(), false),
        ] {
            rows.push((prompt, response, finished));
        }
    }
    // As the node makes them: one table, one route, the rule for what the limit cut.
    let table = [
        ("harmful", "format * safety"),
        ("harmless", "0.3 * format + 0.7 * task"),
        ("ambiguous", "task / (1 + format)"),
    ];
    let table = BTreeMap::from(table.map(|(class, text)| (class.to_string(), text.to_string())));
    let mut route = Route::new(&table, Settings { safety_snap: 0.9 }).unwrap();
    let own = |(prompt, response, finished): &(&Prompt, String, bool)| match finished {
        false => Some(0.0),
        true => Some(
            route
                .reward(&Judged::of_prompt(prompt, response))
                .unwrap()
                .value,
        ),
    };
    let own: Vec<Option<f64>> = rows.iter().map(own).collect();
    let sent: Vec<Value> = rows
        .iter()
        .map(|(prompt, response, finished)| {
            let mut row = serde_json::to_value(prompt).unwrap();
            row["response"] = json!(response);
            row["finished"] = json!(finished);
            row
        })
        .collect();
    assert_eq!(served.rewards(&sent), own);
    for class in PromptClass::ALL {
        let of_class = rows
            .iter()
            .zip(&own)
            .filter(|(row, _)| row.0.class == class);
        let mut of_class: Vec<f64> = of_class.filter_map(|(_, reward)| *reward).collect();
        of_class.sort_by(f64::total_cmp);
        of_class.dedup();
        assert!(
            of_class.len() > 1,
            "{class:?} has different rewards: {of_class:?}"
        );
    }
    assert_eq!(served.rewards(&[]), [] as [Option<f64>; 0]);

    let about = served.get("");
    assert_eq!(about["reward"]["harmful"], "format * safety");
    assert_eq!(
        (&about["node"], &about["kind"]),
        (&json!("rl"), &json!("grpo"))
    );
    assert_eq!(about["rules"]["truncated"], "penalise");
    let health = served.get("health");
    assert_eq!(
        (&health["status"], &health["rows"]),
        (&json!("ok"), &json!(sent.len()))
    );
}

#[test]
fn what_is_wrong_with_a_question_is_said_with_its_row() {
    let space = Space::with(WORLD);
    let served = Serving::new(&space);
    let rows = |row: Value| json!({ "rows": [row] }).to_string();
    let whole = json!({ "class": "harmful", "prompt": "p", "response": "r", "finished": true });
    let with = |name: &str, value: Value| {
        let mut row = whole.clone();
        row[name] = value;
        rows(row)
    };
    for (body, says) in [
        (" ".to_string(), "no JSON"),
        ("[".into(), "no JSON"),
        ("[]".into(), "`rows`"),
        ("{}".into(), "`rows` is no list"),
        (json!({ "rows": 3 }).to_string(), "`rows` is no list"),
        (
            json!({ "rows": [], "row": [] }).to_string(),
            "a member `row`",
        ),
        (rows(json!("text")), "row 0: "),
        (
            rows(json!({ "class": "harmful", "prompt": "p" })),
            "row 0: missing field `response`",
        ),
        (
            with("class", json!("evil")),
            "row 0: unknown variant `evil`",
        ),
        (
            with("respons", json!("r")),
            "row 0: unknown field `respons`",
        ),
        (with("finished", json!("yes")), "row 0: invalid type"),
        // The node penalises what ran into the limit: a row that does not say so may have.
        (with("finished", Value::Null), "row 0: it has no `finished`"),
        (
            rows(whole.clone()),
            "row 0: the reward of class `harmful` reads the truth",
        ),
        (
            json!({ "rows": vec![whole.clone(); 20_000] }).to_string(),
            "at most 16384",
        ),
        (format!("{{\"rows\":{}", "[".repeat(100_000)), "no JSON"),
    ] {
        let (status, answer) = served.post(&body);
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{body:.80}: {answer}");
        assert!(error.contains(says), "{body:.80}: {error}");
    }
    let ask = |of: &dyn Fn(&Client) -> reqwest::RequestBuilder| served.ask(of).0;
    let score = format!("{}score", served.url);
    assert_eq!(ask(&|c| c.post(&score).body("{}")), 415);
    assert_eq!(ask(&|c| c.get(&score)), 405);
    assert_eq!(ask(&|c| c.post(&served.url).body("{}")), 405);
    assert_eq!(ask(&|c| c.get(format!("{}other", served.url))), 404);
    assert_eq!(
        ask(&|c| c.get(&served.url).header("host", "evil.example")),
        403
    );
    let json = "POST /score HTTP/1.1\r\nContent-Type: application/json";
    for (head, status) in [
        (json.to_string(), 411),
        (format!("{json}\r\nContent-Length: x"), 411),
        (format!("{json}\r\nContent-Length: -1"), 411),
        (format!("{json}\r\nTransfer-Encoding: chunked"), 411),
        (format!("{json}\r\nContent-Length: 99999999999"), 413),
        (
            format!("{json}\r\nContent-Length: 99999999999999999999999"),
            411,
        ),
        ("POST /score HTTP/1.1\r\nContent-Length: 2".into(), 415),
    ] {
        let said = served.raw(&head);
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {said}"
        );
    }
    // After all that it still answers.
    assert_eq!(served.get("health")["status"], "ok");
}

#[test]
fn a_response_without_a_reward_is_what_the_node_says_it_is() {
    let score = Server::new(|seen, _| {
        let items = seen.body["items"].as_array().unwrap();
        let null = |item: &Value| match item["answer"].as_str().unwrap() {
            "odd" => Value::Null,
            _ => json!(0.5),
        };
        Act::Json(json!({ "scores": items.iter().map(null).collect::<Vec<_>>() }))
    });
    let recipe = |unscorable: &str| {
        let (world, _) = WORLD.split_once("reward =").unwrap();
        let url = score.url().replace("/v1", "/score");
        format!(
            "{world}reward = {{ harmful = \"score\" }}\nsteps = 1\nunscorable = \"{unscorable}\"\nscore.model = \"s\"\n\
             score.url = \"{url}\"\n"
        )
    };
    let rows = [row("fine"), row("odd")];
    for (word, expected) in [("zero", Some(0.0)), ("mask", None)] {
        let space = Space::with(&recipe(word));
        let served = Serving::new(&space);
        assert_eq!(served.rewards(&rows), [Some(0.5), expected], "{word}");
        assert_eq!(served.get("health")["unscorable"], 1);
    }
    let space = Space::with(&recipe("fail"));
    let served = Serving::new(&space);
    let (status, answer) = served.post(&json!({ "rows": rows }).to_string());
    assert_eq!(status, 422, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("`unscorable`"));
    let (status, answer) = served.post(
        &json!({ "rows": [{ "class": "ambiguous", "prompt": "", "response": "" }] }).to_string(),
    );
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("no entry for class `ambiguous`; it has harmful")
    );
}

#[test]
fn many_ask_at_once_and_nothing_is_asked_twice() {
    let server = Server::new(|_, _| Act::Late(Duration::from_millis(20)));
    let space = Space::with(&moderated(&server.url(), "moderation.concurrency = 4"));
    let served = Serving::new(&space);
    std::thread::scope(|scope| {
        for client in 0..12 {
            let served = &served;
            scope.spawn(move || {
                let mut texts = texts(&format!("client {client}"), 4);
                texts.push("common to all".into());
                let rows: Vec<Value> = texts.iter().map(|text| row(text)).collect();
                let expected: Vec<_> = texts.iter().map(|text| worth(text)).collect();
                assert_eq!(served.rewards(&rows), expected);
            });
        }
    });
    assert_eq!(server.requests(), 12 * 4 + 1);
    assert!(server.most() > 1 && server.most() <= 4, "{}", server.most());
    let health = served.get("health");
    assert_eq!(
        (&health["questions"], &health["rows"]),
        (&json!(12), &json!(60))
    );
    assert_eq!(health["calls"]["made"], 49);
}

#[test]
fn a_server_that_is_killed_loses_no_answer_that_was_paid() {
    // The two behind the fifteenth are under way until the kill, however late it comes.
    let alive = Arc::new(AtomicBool::new(true));
    let slow = Arc::clone(&alive);
    let server = Server::new(move |_, n| {
        let waits = n >= 15 && slow.load(Ordering::SeqCst);
        Act::Late(Duration::from_millis(if waits { 5000 } else { 30 }))
    });
    let space = Space::with(&moderated(&server.url(), "moderation.concurrency = 2"));
    let texts = texts("paid", 40);
    let rows: Vec<Value> = texts.iter().map(|text| row(text)).collect();
    let served = Serving::new(&space);
    let question = json!({ "rows": rows }).to_string();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| served.post(&question)))
        });
        wait_until(|| server.requests() == 17);
        // What was answered is kept in less, however busy the disk.
        std::thread::sleep(Duration::from_secs(1));
        served.signal(Signal::KILL);
        assert!(asked.join().unwrap().is_err(), "no answer came");
    });
    alive.store(false, Ordering::SeqCst);
    let before = server.requests();
    assert_eq!(before, 17);
    let again = Serving::new(&space);
    let expected: Vec<_> = texts.iter().map(|text| worth(text)).collect();
    assert_eq!(again.rewards(&rows), expected);
    // What was in flight when it died may be asked again, nothing else.
    assert!(server.requests() <= 40 + 2, "{}", server.requests());
    let calls = again.get("health")["calls"].clone();
    assert!(
        calls["reused"].as_u64().unwrap() >= before as u64 - 2,
        "{calls}"
    );
}

#[test]
fn ctrl_c_answers_those_who_wait_and_ends_well() {
    let server = Server::new(|_, _| Act::Late(Duration::from_millis(100)));
    let space = Space::with(&moderated(&server.url(), "moderation.concurrency = 1"));
    let mut served = Serving::new(&space);
    let rows: Vec<Value> = texts("slow", 60).iter().map(|text| row(text)).collect();
    let question = json!({ "rows": rows }).to_string();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| served.post(&question));
        wait_until(|| server.requests() >= 3);
        served.signal(Signal::INT);
        let (status, answer) = asked.join().unwrap();
        assert_eq!(status, 503, "{answer}");
        assert!(
            answer["error"].as_str().unwrap().contains("stops"),
            "{answer}"
        );
    });
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    let answered = server.requests();
    let again = Serving::new(&space);
    again.rewards(&rows[..answered]);
    assert_eq!(server.requests(), answered, "what was under way was kept");
}

#[test]
fn secrets_limits_and_services_that_are_away() {
    let server = Server::good();
    let keyed = moderated(&server.url(), "moderation.key_env = \"REWARD_KEY\"");
    let space = Space::with(&keyed);
    let said = space
        .pipe(&["serve", "rewards", "r.toml", "rl", "--port", "0"])
        .ends(3);
    assert!(said.err.contains("REWARD_KEY"), "{}", said.err);
    let served = Serving::with(
        &space,
        &["--token-env", "OWN"],
        &[("REWARD_KEY", "secret-1"), ("OWN", "token-1")],
    );
    let ask = |token: &str| {
        let body = json!({ "rows": [row("fine")] }).to_string();
        served.ask(|client| {
            let posted = client
                .post(format!("{}score", served.url))
                .bearer_auth(token);
            posted
                .header("content-type", "application/json")
                .body(body.clone())
        })
    };
    assert_eq!(ask("token-2").0, 401);
    assert_eq!(served.ask(|client| client.get(&served.url)).0, 401);
    assert_eq!(server.requests(), 0);
    assert_eq!(ask("token-1").0, 200);
    assert_eq!(server.seen()[0].headers["authorization"], "Bearer secret-1");

    // A budget holds over all servers of a node.
    let bounded = moderated(&server.url(), "moderation.budget_tokens = 50");
    let space = Space::with(&bounded);
    let long = |of: &str| row(&format!("{of} {}", "x".repeat(80)));
    let served = Serving::new(&space);
    served.rewards(&[long("one")]);
    let over = |served: &Serving, of: &str| {
        let (status, answer) = served.post(&json!({ "rows": [long(of)] }).to_string());
        assert_eq!(status, 500, "{answer}");
        assert!(
            answer["error"].as_str().unwrap().contains("budget"),
            "{answer}"
        );
    };
    over(&served, "two");
    drop(served);
    let served = Serving::new(&space);
    over(&served, "three");
    served.rewards(&[long("one")]);

    let away = moderated("http://127.0.0.1:9/v1", "moderation.retries = 0");
    let space = Space::with(&away);
    let served = Serving::new(&space);
    let (status, answer) = served.post(&json!({ "rows": [row("fine")] }).to_string());
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer["error"].as_str().unwrap().contains("127.0.0.1:9"),
        "{answer}"
    );
}

#[test]
fn who_cannot_be_served_hears_why() {
    let space = Space::with(WORLD);
    let said = space
        .pipe(&["serve", "rewards", "r.toml", "prompts"])
        .ends(2);
    assert!(
        said.err.contains("declares no rewards") && said.err.contains("grpo"),
        "{}",
        said.err
    );
    let said = space.pipe(&["serve", "rewards", "r.toml", "rk"]).ends(2);
    assert!(said.err.contains("did you mean `rl`"), "{}", said.err);
    let said = space
        .pipe(&["serve", "rewards", "r.toml", "rl", "--listen", "0.0.0.0"])
        .ends(2);
    assert!(said.err.contains("--token-env"), "{}", said.err);
    let taken = Serving::new(&space);
    let port = taken.url.trim_end_matches('/').rsplit(':').next().unwrap();
    let said = space
        .pipe(&["serve", "rewards", "r.toml", "rl", "--port", port])
        .ends(3);
    assert!(said.err.contains("--port 0"), "{}", said.err);
}

#[test]
fn a_reward_model_answers_once_it_is_made_and_what_hangs_on_neighbours_is_asked_alone() {
    let recipe = |squash: &str| {
        let (world, _) = WORLD.split_once("reward =").unwrap();
        let world = world.replace(
            "prompts.rl\" }",
            "prompts.rl\", reward_model = \"preference\" }",
        );
        format!(
            "{world}reward = {{ harmful = \"reward_model\", harmless = \"reward_model\" }}\nsteps = 1\n\
             reward_model.squash = \"{squash}\"\n[node.preference]\nkind = \"local-reward-model\"\npath = \"preference\"\n"
        )
    };
    let space = Space::with(&recipe("sigmoid"));
    let folder = space.path("preference");
    crate::reward_model::write_reward_model(&folder, pipe::learn::config::Family::Llama);
    let said = space
        .pipe(&["serve", "rewards", "r.toml", "rl", "--port", "0"])
        .ends(2);
    assert!(said.err.contains("--only preference"), "{}", said.err);
    space.pipe(&["run", "r.toml", "--only", "preference"]).ok();
    let mut model = pipe::learn::reward::RewardModel::load(&folder).unwrap();
    let answers = ["a cat", "a dog and a bird", "nothing at all"];
    let most = model.positions().min(4608);
    let read = answers.map(|answer| model.read("how", answer, most).unwrap());
    let numbers: Vec<f64> = crate::reward_model::scores(&mut model, &read)
        .into_iter()
        .map(f64::from)
        .collect();
    let rows = answers.map(row);
    let served = Serving::new(&space);
    let own: Vec<_> = numbers
        .iter()
        .map(|x| Some(1.0 / (1.0 + (-x).exp())))
        .collect();
    assert_eq!(served.rewards(&rows), own);
    assert_eq!(
        served.get("")["inputs"]["reward_model"]
            .as_str()
            .map(str::len),
        Some(64)
    );

    space.file("r.toml", &recipe("z-score"));
    let served = Serving::new(&space);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let alone: f64 = served.rewards(&rows).into_iter().map(Option::unwrap).sum();
                assert!(
                    alone.abs() < 1e-9,
                    "{alone}: a question is standardised by itself"
                );
                assert_eq!(served.rewards(&rows[..1]), [Some(0.0)]);
            });
        }
    });
}
