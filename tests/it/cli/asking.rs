//! What a user sees of calls to services: before they are made, while they are, and afterwards. A small honest endpoint answers.

use super::json::{documented, hold};
use super::{Said, Space};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Answers any chat request: 10 tokens for what is asked, 5 for each answer. What it does not like is `bad`.
pub(super) struct Endpoint {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Endpoint {
    pub(super) fn new(delay_ms: u64) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = counted.clone();
                std::thread::spawn(move || serve(stream, &counted, delay_ms));
            }
        });
        Endpoint { port, requests }
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// A text, a node that asks each of its words twice, and a node below it.
    pub(super) fn recipe(&self) -> String {
        format!(
            r#"
name = "asking"
[node.words]
kind = "toy-write"
text = "one two three"
[node.asker]
kind = "toy-ask"
in = {{ words = "words" }}
samples = 2
endpoint.url = "http://127.0.0.1:{}/v1"
endpoint.price_prompt = 1000.0
endpoint.price_completion = 2000.0
[node.end]
kind = "toy-join"
in = {{ a = "asker" }}
"#,
            self.port
        )
    }
}

/// Requests of one connection, until it is closed.
fn serve(stream: TcpStream, counted: &AtomicUsize, delay_ms: u64) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body: Value = serde_json::from_slice(&body).ok()?;
        counted.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(delay_ms));
        let asked = body["messages"][0]["content"].as_str()?.to_string();
        let (status, answer) = match asked.as_str() {
            "bad" => ("400 Bad Request", json!({ "error": { "message": "no" } })),
            _ => ("200 OK", answer(&asked, body["n"].as_u64().unwrap_or(1))),
        };
        let answer = answer.to_string();
        let length = answer.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n");
        writer
            .write_all(format!("{head}content-length: {length}\r\n\r\n{answer}").as_bytes())
            .ok()?;
    }
}

fn answer(asked: &str, n: u64) -> Value {
    let choices: Vec<Value> = (0..n)
        .map(|i| {
            json!({
                "index": i, "finish_reason": "stop",
                "message": { "role": "assistant", "content": format!("{asked}!") },
            })
        })
        .collect();
    json!({
        "model": "toy-2", "choices": choices,
        "usage": { "prompt_tokens": 10, "completion_tokens": 5 * n, "total_tokens": 10 + 5 * n },
    })
}

fn expected(plan: &Said, node: &str) -> Value {
    let plan = plan.json();
    let nodes = plan["nodes"].as_array().unwrap().iter();
    let mut found = nodes.filter(|n| n["node"] == node);
    found.next().unwrap()["expected_calls"].clone()
}

/// What a plan says of the node, and by what it knows.
#[test]
fn a_plan_forecasts_calls_as_far_as_they_can_be_told() {
    let endpoint = Endpoint::new(0);
    let space = Space::with(&endpoint.recipe());
    let prepare: [(&[&str], &[&str], &str, Value); 6] = [
        (
            &[],
            &[],
            "asker: calls unknown until `words` is made\n",
            json!(["nothing", 0, 0]),
        ),
        (
            &["run", "r.toml", "--only", "words"],
            &[],
            // An estimate of 10 tokens for what is asked, 16 for what is answered.
            "asker: up to 6 calls, 156 tokens, $0.25\n",
            json!(["forecast", 6, 0]),
        ),
        (
            &["run", "r.toml"],
            &["--set", "asker.samples=4"],
            "asker: up to 6 calls, 156 tokens, $0.25; 6 more are in the journal\n",
            json!(["forecast", 6, 6]),
        ),
        (
            &[],
            &["--fresh", "asker"],
            "asker: no calls, 6 answers are in the journal\n",
            json!(["forecast", 0, 6]),
        ),
        (
            &[],
            &["--set", "words.text=\"four five\""],
            "asker: calls unknown until `words` is made; before, 6 calls, 90 tokens, $0.12\n",
            json!(["record", 6, 0]),
        ),
        (
            &[
                "run",
                "r.toml",
                "--set",
                "asker.endpoint.url=\"http://127.0.0.1:9/v1\"",
            ],
            &[],
            "",
            Value::Null,
        ),
    ];
    for (before, changes, told, data) in prepare {
        if !before.is_empty() {
            space.pipe(before).ok();
        }
        let asked = endpoint.requests();
        let plan = space
            .pipe(&[&["plan", "r.toml"], changes].concat())
            .ok()
            .out;
        let line = plan.lines().find(|l| l.starts_with("asker: "));
        let line = line.map_or(String::new(), |l| format!("{l}\n"));
        assert_eq!(line, told, "{plan}");
        let plan = space.pipe(&[&["plan", "r.toml", "--json"], changes].concat());
        let calls = expected(&plan.ok(), "asker");
        match &data {
            Value::Null => assert_eq!(calls, Value::Null),
            _ => assert_eq!(
                json!([calls["by"], calls["make"], calls["in_journal"]]),
                data
            ),
        }
        assert_eq!(endpoint.requests(), asked, "a plan asks nobody");
    }
    let plan = space
        .pipe(&["plan", "r.toml", "--set", "asker.samples=4"])
        .ok();
    let last = plan.out.lines().last().unwrap();
    assert!(
        last.starts_with("up to 6 calls, 156 tokens, $0.25; 6 more"),
        "{}",
        plan.out
    );
}

#[test]
fn a_run_ends_with_what_it_asked_and_records_keep_it() {
    let endpoint = Endpoint::new(0);
    let space = Space::with(&endpoint.recipe());
    let row = |out: &str, node: &str| -> Vec<String> {
        let table = out.split("asked services").nth(1).expect(out);
        let row = table.lines().find(|l| l.starts_with(node)).expect(out);
        row.split_whitespace().map(String::from).collect()
    };
    let out = space.pipe(&["run", "r.toml"]).ok().out;
    let sum = "asked services: 6 calls, 90 tokens, $0.12; ";
    assert!(out.contains(sum), "{out}");
    let told = row(&space.pipe(&["show", "r.toml"]).ok().out, "asker");
    assert_eq!(told[..7], ["asker", "6", "0", "0", "0", "90", "$0.12"]);
    assert_eq!(endpoint.requests(), 6);
    // Hits ask nobody.
    let out = space.pipe(&["run", "r.toml"]).ok().out;
    assert!(!out.contains("asked services"), "{out}");
    // Half of what a larger node wants is there.
    let more = ["--set", "asker.samples=4"];
    let said = space.pipe(&[&["run", "r.toml", "--json"], &more[..]].concat());
    let states = said.ok().json()["states"].clone();
    let of = |node: &str| {
        let mut found = states.as_array().unwrap().iter();
        found.find(|s| s["node"] == node).unwrap()["calls"].clone()
    };
    assert_eq!(
        (&of("asker")["made"], &of("asker")["reused"]),
        (&json!(6), &json!(6))
    );
    assert_eq!(of("words"), Value::Null);

    let told = "6 calls and 6 from the journal, 90 tokens, $0.12; ";
    let show = |args: &[&str]| {
        let all = [&["show", "r.toml"], args, &more[..]].concat();
        space.pipe(&all).ok().out
    };
    assert!(show(&["asker"]).contains(&format!("  asked services: {told}")));
    assert!(show(&["asker", "--provenance"]).contains(&format!("\ncalls        {told}")));
    assert!(!show(&["words", "--provenance"]).contains("\ncalls "));
    assert_eq!(row(&show(&[]), "asker")[1..3], ["6", "6"]);
    space
        .pipe(&[&["report", "r.toml", "--output", "page.html"], &more[..]].concat())
        .ok();
    let page = std::fs::read_to_string(space.path("page.html")).unwrap();
    assert!(page.contains(&format!("asked services: {told}")));

    let diff = space.pipe(&["diff", "r.toml", "more.toml"]).ends(2);
    assert!(diff.err.contains("more.toml"));
    space.file(
        "more.toml",
        &endpoint.recipe().replace("samples = 2", "samples = 4"),
    );
    let diff = space.pipe(&["diff", "r.toml", "more.toml"]).ends(1);
    let line = "calls of asker: 6 calls, 90 tokens, $0.12 -> 6 calls and 6 from the journal, 90 tokens, $0.12";
    assert!(diff.out.contains(line), "{}", diff.out);
    let fewer = endpoint.recipe().replace("one two three", "one");
    space.file("fewer.toml", &fewer);
    space
        .pipe(&["run", "fewer.toml", "--set", "asker.max_tokens=8"])
        .ok();
    let diff = [
        "diff",
        "r.toml",
        "fewer.toml",
        "--set",
        "asker.max_tokens=8",
        "--json",
    ];
    let called = space.pipe(&diff).ends(1).json()["comparisons"][0]["called"].clone();
    assert_eq!(called[0]["second"]["made"], 2);
}

#[test]
fn what_a_node_paid_before_it_failed_is_told() {
    let endpoint = Endpoint::new(0);
    let space = Space::with(&endpoint.recipe());
    // Enough for the first request at its most, and for no second one after it.
    let few = [
        "run",
        "r.toml",
        "--set",
        "asker.endpoint.budget_dollars=0.19",
        "--set",
        "asker.endpoint.concurrency=1",
    ];
    let said = space.pipe(&few).ends(1);
    let sum = said.out.split("asked services: ").nth(1).expect(&said.out);
    assert!(
        sum.starts_with("1 call, ") && sum.contains(", $0.0200; "),
        "{}",
        said.out
    );
    let said = space.pipe(&["run", "r.toml"]).ok();
    let record = space
        .pipe(&["show", "r.toml", "asker", "--json"])
        .ok()
        .json();
    let calls = &record["cost"]["calls"];
    // The first answer is the node's own, whichever of its attempts asked for it.
    assert_eq!(
        (&calls["made"], &calls["reused"]),
        (&json!(6), &json!(0)),
        "{}",
        said.out
    );
    assert_eq!(endpoint.requests(), 6);
}

/// Twenty words, each asked twice at 100 ms, two at a time, $0.02 an answer.
#[test]
fn a_run_stops_at_its_limit_and_goes_on_with_more() {
    let endpoint = Endpoint::new(100);
    let words: Vec<String> = (0..20).map(|i| format!("word{i}")).collect();
    let recipe = endpoint
        .recipe()
        .replace("one two three", &words.join(" "))
        .replace("samples = 2", "samples = 2\nendpoint.concurrency = 2");
    // A second asker, which waits for the first, and a node that asks nobody.
    let more = format!(
        "[node.slow]\nkind = \"toy-slow\"\nticks = 100\n[node.later]\nkind = \"toy-ask\"\n\
         in = {{ words = \"end\" }}\nendpoint.url = \"http://127.0.0.1:{}/v1\"\n",
        endpoint.port
    );
    let space = Space::with(&(recipe + &more));
    let run = |limit: &[&str]| space.pipe(&[&["run", "r.toml"], limit].concat());
    // Nothing can be told before the words are there, so it is stopped on the way, with what was in flight.
    let said = run(&["--max-usd", "0.10"]).ends(1);
    for part in [
        "of $0.10 are spent, in ",
        "asker: the limit of the run is reached",
        "the same command with more goes on",
    ] {
        assert!(said.err.contains(part), "{part} in {}", said.err);
    }
    assert!(
        said.out
            .contains("5 nodes: 2 ran, 1 interrupted, 2 not begun; "),
        "{}",
        said.out
    );
    let asked = endpoint.requests();
    assert!((5..15).contains(&asked), "{asked} requests");
    // By now the plan knows what is left.
    let said = run(&["--max-calls", "20"]).ends(2);
    assert!(said.err.contains("nothing was started"), "{}", said.err);
    assert_eq!(endpoint.requests(), asked);
    run(&["--max-usd", "5"]).ok();
    assert_eq!(
        endpoint.requests(),
        40 + 20,
        "no answer was asked for twice"
    );
    let fresh = ["--fresh", "asker", "--max-calls", "0"];
    run(&fresh).ok();
    let said = run(&["--set", "asker.samples=3", "--max-calls", "19"]).ends(2);
    assert!(
        said.err.contains("may make 20 calls for up to $0.8")
            && said.err.contains("`--max-calls` is 19"),
        "{}",
        said.err
    );
    run(&["--max-usd", "-1"]).ends(2);
}

/// A limit on what nobody could count is said to act late; without one, nothing is counted.
#[test]
fn calls_that_cannot_be_counted_under_a_limit_are_a_warning() {
    let endpoint = Endpoint::new(0);
    let space = Space::with(&endpoint.recipe());
    space.pipe(&["run", "-q", "r.toml", "--only", "words"]).ok();
    std::fs::create_dir_all(space.path("cache/calls/broken.calls")).unwrap();
    let warned = |args: &[&str]| {
        let said = space.pipe(&[&["run", "r.toml"], args].concat());
        said.err
            .contains("warning: the calls of `asker` cannot be counted before it runs")
    };
    assert!(!warned(&[]));
    assert!(warned(&["--max-calls", "100"]));
    assert!(warned(&["--max-usd", "1", "-q"]));
}

#[test]
fn the_journal_can_be_read() {
    let endpoint = Endpoint::new(0);
    let space = Space::with(&endpoint.recipe());
    space.pipe(&["run", "r.toml", "--only", "words"]).ok();
    let said = space.pipe(&["calls"]).ok();
    assert_eq!(said.out, "no answers of services\n");
    let bad = ["--set", "words.text=\"one bad\""];
    space.pipe(&[&["run", "r.toml"], &bad[..]].concat()).ok();
    space.pipe(&["run", "r.toml"]).ok();

    let sums = space.pipe(&["calls", "--json"]).ok().json();
    let service = &sums["services"][0];
    let facts = json!([
        service["model"],
        service["api"],
        service["answers"],
        service["prompt_tokens"],
        service["served"],
    ]);
    assert_eq!(facts, json!(["toy", "chat", 6, 60, ["toy-2"]]));
    let told = space.pipe(&["calls"]).ok().out;
    assert!(
        told.ends_with("6 answers, 90 tokens, $0.12 paid\n"),
        "{told}"
    );

    let lines = |args: &[&str]| -> Vec<Value> {
        let all = [&["calls", "--list", "--json"], args].concat();
        let out = space.pipe(&all).ok().out;
        out.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    };
    assert_eq!((lines(&[]).len(), lines(&["--limit", "2"]).len()), (6, 2));
    let by: Vec<Value> = lines(&["--limit", "0"]);
    let key = by[0]["by"].as_str().unwrap();
    let of_first = by.iter().filter(|l| l["by"] == key).count();
    assert_eq!(of_first, 2, "the word `one` was asked by the first node");
    for (by, count) in [("asker", 6), (key, 2)] {
        assert_eq!(lines(&["--by", by]).len(), count);
    }
    let said = space.pipe(&["calls", "--by", "askr"]).ends(2);
    assert!(said.err.contains("did you mean `asker`?"), "{}", said.err);
    let list = space.pipe(&["calls", "--list", "--limit", "1"]).ok().out;
    assert!(
        list.contains("user: one") && list.ends_with("`--limit` shows them\n"),
        "{list}"
    );

    let call = by[0]["call"].as_str().unwrap();
    let page = space.pipe(&["calls", "show", &call[..8]]).ok().out;
    for part in [
        call,
        "user: one",
        "content: one!",
        "node `asker` of `asking`",
        "served as toy-2",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let one = space.pipe(&["calls", "show", call, "--json"]).ok().json();
    assert_eq!(one, by[0]);
    let documented = documented();
    hold(&documented["calls show"], &one, "calls show");
    let members = documented["calls show"].iter();
    assert!(
        members
            .clone()
            .any(|m| documented["calls --list"].contains(m))
    );
    space.pipe(&["calls", "show", "ffffffffffff"]).ends(2);
    space.pipe(&["calls", "show", ""]).ends(2);
}

#[test]
fn answers_are_counted_kept_and_checked() {
    let endpoint = Endpoint::new(0);
    let space = Space::with(&endpoint.recipe());
    space.pipe(&["run", "r.toml"]).ok();
    let kept = "answers of services are kept: 6 answers, ";
    for args in [
        &["ls", "--size"][..],
        &["gc"],
        &["gc", "--cap", "none", "--apply"],
    ] {
        let out = space.pipe(args).ok().out;
        assert!(out.contains(kept), "{out}");
        let json = space.pipe(&[args, &["--json"]].concat()).ok().json();
        assert_eq!(json["calls"]["answers"], 6);
    }
    let out = space.pipe(&["verify", "--all"]).ok().out;
    assert!(out.contains(", 6 answers: all is well"), "{out}");

    let segment = space.path("cache/calls/000001.calls");
    let whole = std::fs::read(&segment).unwrap();
    // Batches are set apart by empty lines.
    let begins = whole
        .windows(2)
        .position(|w| w[0] == b'\n' && w[1] != b'\n');
    let second = begins.unwrap() + 1;
    // Half a line at the end, which nobody was given.
    std::fs::write(&segment, [&whole[..], &whole[..60]].concat()).unwrap();
    let out = space.pipe(&["verify", "--all"]).ok().out;
    assert!(
        out.contains("6 answers and 1 torn end: all is well"),
        "{out}"
    );

    let mut damaged = whole.clone();
    damaged[second + 100] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    let said = space.pipe(&["verify"]).ends(1);
    let named = format!("answer 000001.calls, byte {second}: ");
    assert!(said.out.contains(&named), "{named} in {}", said.out);
    assert!(
        said.out.contains("5 answers: 1 thing is bad"),
        "{}",
        said.out
    );
    assert_eq!(
        std::fs::read(&segment).unwrap(),
        damaged,
        "nothing is healed by removal"
    );
    let told = space.pipe(&["calls"]).ok().out;
    assert!(told.contains("1 line of the journal is damaged"), "{told}");
}

#[test]
fn variables_that_are_not_set_are_named_node_by_node() {
    let endpoint = Endpoint::new(0);
    let space = Space::with(&format!(
        r#"{}
endpoint.key_env = "PIPE_TEST_KEY_A"
[node.judge]
kind = "toy-ask"
in = {{ words = "words" }}
endpoint.url = "http://127.0.0.1:{}/v1"
endpoint.key_env = "PIPE_TEST_KEY_A"
other_env = "PIPE_TEST_KEY_B"
"#,
        endpoint.recipe().replace(
            "[node.end]\nkind = \"toy-join\"\nin = { a = \"asker\" }\n",
            ""
        ),
        endpoint.port
    ));
    let told = "nodes that have to run need environment variables that are not set here:\n  \
                `asker`, `judge`: PIPE_TEST_KEY_A\n  `judge`: PIPE_TEST_KEY_B\n";
    let said = space.pipe(&["run", "r.toml"]).ends(3);
    assert_eq!(said.err, format!("error: {told}nothing was started\n"));
    assert!(!space.path("cache").exists(), "nothing is made either");
    let said = space.pipe(&["plan", "r.toml"]).ok();
    assert_eq!(said.err, format!("warning: {told}"));
    let plan = space.pipe(&["plan", "r.toml", "--json"]).ok().json();
    let missing =
        json!({ "asker": ["PIPE_TEST_KEY_A"], "judge": ["PIPE_TEST_KEY_A", "PIPE_TEST_KEY_B"] });
    assert_eq!(plan["missing_variables"], missing);
    assert_eq!(space.pipe(&["check", "r.toml"]).ok().err, "");
    // What is a hit needs none.
    let set = |args: &[&str]| {
        let mut command = space.command(args);
        command
            .env("PIPE_TEST_KEY_A", "abcdefgh")
            .env("PIPE_TEST_KEY_B", "ijklmnop");
        Said::new(command.output().unwrap())
    };
    set(&["run", "r.toml"]).ok();
    assert_eq!(space.pipe(&["plan", "r.toml"]).ok().err, "");
    space.pipe(&["run", "r.toml"]).ok();
}
