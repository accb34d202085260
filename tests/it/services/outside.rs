//! What comes from outside of a client: certificates, proxies and keys by the environment. In processes of their own, for these
//! are read once.

use super::server::{Act, Seen, Server};
use super::tls::certificate;
use super::{Asked, Space, ask, asks, endpoint};
use pipe::services::chat::Answer;
use pipe::services::endpoint::{Endpoint, Secret};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

const URL: &str = "PIPE_TEST_ASK_URL";
const ENVIRONMENT: [&str; 11] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUEST_METHOD",
];

/// What a process with this environment gets to hear at `url`.
fn asked_with(environment: &[(&str, &str)], url: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "services::outside::a_process_that_asks",
        "--exact",
        "--nocapture",
    ]);
    for name in ENVIRONMENT {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied()).env(URL, url);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told = text.lines().find_map(|line| line.split_once("it heard: "));
    told.unwrap_or_else(|| panic!("{text}")).1.to_string()
}

#[test]
fn a_process_that_asks() {
    let Some(url) = std::env::var_os(URL) else {
        return;
    };
    let at = Endpoint {
        url: url.into_string().unwrap(),
        ..endpoint(&Server::good())
    };
    let asked = Space::new().ask(&at, &[ask("why", 0)]);
    match asked.result {
        Ok(outcomes) => println!("it heard: {}", outcomes[0].as_ref().unwrap().content),
        Err(stopped) => println!("it heard: {} retries: {stopped}", asked.calls.retries),
    }
}

#[test]
fn a_certificate_that_nobody_signed_is_refused_until_it_is_named() {
    let server = Server::with_tls();
    let told = asked_with(&[], &server.url());
    assert!(told.starts_with("0 retries: "), "{told}");
    for part in [
        "refuses: its certificate is not trusted",
        "UnknownIssuer",
        "SSL_CERT_FILE",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!((server.connections(), server.requests()), (1, 0));
    let certificate = certificate();
    let told = asked_with(
        &[("SSL_CERT_FILE", certificate.to_str().unwrap())],
        &server.url(),
    );
    assert_eq!((&*told, server.requests()), ("why by 0", 1));
    // For another name it is no better.
    let other = server.url().replace("127.0.0.1", "127.0.0.2");
    let listening = std::net::TcpStream::connect(("127.0.0.2", server.port)).is_ok();
    if listening {
        let told = asked_with(&[("SSL_CERT_FILE", certificate.to_str().unwrap())], &other);
        assert!(told.contains("its certificate is not trusted"), "{told}");
    }
}

#[test]
fn proxies_of_the_environment_are_gone_through() {
    let (proxy, server) = (Server::good(), Server::good());
    let at = format!("http://me:secret@127.0.0.1:{}", proxy.port);
    let away = "http://nowhere.invalid:81/v1";
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        assert_eq!(asked_with(&[(name, &at)], away), "why by 0", "{name}");
        let seen = proxy.seen().pop().unwrap();
        assert_eq!(seen.target, "http://nowhere.invalid:81/v1/chat/completions");
        assert!(seen.headers["proxy-authorization"].starts_with("Basic "));
    }
    assert_eq!(
        asked_with(&[("HTTP_PROXY", &at)], &server.url()),
        "why by 0"
    );
    assert_eq!((proxy.requests(), server.requests()), (4, 0));
    for hosts in ["127.0.0.1", "example.org, 127.0.0.0/8"] {
        let environment = [("HTTP_PROXY", &*at), ("NO_PROXY", hosts)];
        assert_eq!(
            asked_with(&environment, &server.url()),
            "why by 0",
            "{hosts}"
        );
    }
    assert_eq!((proxy.requests(), server.requests()), (4, 2));
    // A proxy that wants a key is told apart from one that is busy.
    let closed = Server::new(|_, _| Act::Say(407, vec![], String::new()));
    let at = format!("http://127.0.0.1:{}", closed.port);
    let told = asked_with(&[("HTTP_PROXY", &at)], away);
    assert!(
        told.starts_with("0 retries: nowhere.invalid:81 refuses: 407"),
        "{told}"
    );
    let told = asked_with(&[("HTTPS_PROXY", &at)], "https://nowhere.invalid/v1");
    let expected = "0 retries: nowhere.invalid refuses: the proxy wants to know who asks";
    assert!(told.starts_with(expected), "{told}");
}

/// A key that no other file holds.
fn canary() -> String {
    let tmp = tempfile::tempdir().unwrap();
    let name = tmp.path().display().to_string();
    format!("sk-{}", blake3::hash(name.as_bytes()).to_hex())
}

fn sent(seen: &Seen) -> String {
    let bearer = seen.headers["authorization"].strip_prefix("Bearer ");
    bearer.unwrap().to_string()
}

type Echo = fn(&str, &Seen) -> Act;

/// A server that likes to repeat what it should not.
const ECHOES: [(&str, Echo); 8] = [
    ("an answer", |key, _| good(key)),
    ("401", |key, _| {
        fault(
            401,
            json!({ "error": { "message": format!("no such key: {key}") } }),
        )
    }),
    ("400 elsewhere", |key, _| {
        fault(400, json!({ "wrong": { key: [key] } }))
    }),
    ("500, a page", |key, _| {
        Act::Say(500, vec![], format!("<html>{key}<b>{key}</b></html>"))
    }),
    ("where it is cut", |key, _| {
        Act::Say(500, vec![], format!("{}{key}", "x".repeat(370)))
    }),
    ("no JSON", |key, _| {
        Act::Say(200, vec![], format!("{key} {{"))
    }),
    ("an error with 200", |key, _| {
        Act::Json(json!({ "error": key }))
    }),
    ("patience", |key, _| {
        Act::Say(429, vec![("Retry-After", "1".into())], key.into())
    }),
];

fn fault(status: u16, body: Value) -> Act {
    Act::Say(status, vec![], body.to_string())
}

fn good(key: &str) -> Act {
    let message = json!({ "content": format!("the key is {key}."), "reasoning_content": format!("{key}{key}") });
    Act::Json(json!({
        "model": format!("model-{key}"), key: key,
        "choices": [{ "finish_reason": "stop", "message": message }],
        "usage": { "prompt_tokens": 7, "completion_tokens": 20 },
    }))
}

fn echoing(echo: Echo) -> Server {
    Server::new(move |seen, _| echo(&sent(seen), seen))
}

/// Which files below hold these bytes; also in part of them.
fn holding(folder: &Path, key: &str) -> Vec<String> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, key));
        } else if holds(&std::fs::read(&path).unwrap(), key) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Half of a key is one too.
fn holds(bytes: &[u8], key: &str) -> bool {
    let part = &key.as_bytes()[..20];
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_key_that_is_repeated_is_told_to_nobody() {
    for (name, echo) in ECHOES {
        let key = canary();
        let server = echoing(echo);
        let space = Space::new();
        let at = Endpoint {
            key: Some(Secret::new("MY_KEY", format!(" {key}\n"))),
            retries: 1,
            ..endpoint(&server)
        };
        let asked: Asked<Answer> = space.ask(&at, &asks(2, 1));
        assert_eq!(sent(&server.seen()[0]), key);
        let all = format!(
            "{:?} {:?} {at:?}",
            asked.result,
            asked.hearing.said,
            at = at.key
        );
        assert!(!holds(all.as_bytes(), &key), "{name}: {all}");
        assert!(all.contains("[MY_KEY]"), "{name}: {all}");
        assert_eq!(
            holding(&space.folder(), &key),
            Vec::<String>::new(),
            "{name}"
        );
        if name == "an answer" {
            let answers = asked.answers();
            assert_eq!(answers[0].content, "the key is [MY_KEY].");
            assert_eq!(answers[0].served.as_deref(), Some("model-[MY_KEY]"));
        }
    }
    // One that cannot be sent is not shown either.
    let key = "sk-abcdefghijklmnopq\u{1}rstu";
    let at = Endpoint {
        key: Some(Secret::new("MY_KEY", key.into())),
        ..endpoint(&Server::good())
    };
    let folder = Space::new().folder();
    let made =
        pipe::services::client::Client::new(super::chat(), at, &folder, "test", Default::default());
    let told = format!("{:?}", made.err().unwrap());
    assert!(
        !holds(told.as_bytes(), key) && told.contains("`MY_KEY` has characters that no key has"),
        "{told}"
    );
}

/// Two prompts, and nodes with the rest of what a teacher needs.
fn recipe(teachers: &[(&str, &str)]) -> String {
    let mut text = r#"
name = "secret"
[node.prompts]
kind = "prompts-file"
path = "prompts.csv"
harmful = ["unsafe"]
"#
    .to_string();
    for (name, more) in teachers {
        text += &format!(
            r#"
[node.{name}]
kind = "teacher"
in = {{ prompts = "prompts" }}
from = "endpoint"
endpoint.model = "{name}"
endpoint.retries = 0
samples = 1
max_new_tokens = 64
{more}
"#
        );
    }
    text
}

/// A folder with a recipe, a store and an environment.
struct Study {
    dir: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Study {
    fn new(recipe: &str, environment: &[(&'static str, &str)]) -> Study {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("r.toml"), recipe).unwrap();
        let rows = "id,prompt,type,label\n0,what ?,plain,unsafe\n1,why ?,plain,safe\n";
        std::fs::write(dir.path().join("prompts.csv"), rows).unwrap();
        let environment = environment.iter().map(|(name, v)| (*name, v.to_string()));
        Study {
            dir,
            environment: environment.collect(),
        }
    }

    /// Exit status, and what is said on either side.
    fn pipe(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipe"));
        command.args(args).current_dir(self.dir.path());
        for name in ENVIRONMENT.iter().chain(&["PIPE_STORE"]) {
            command.env_remove(name);
        }
        let environment = self.environment.iter();
        let output = command
            .envs(environment.map(|(name, value)| (*name, value)))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

/// The whole way: recipe, engine, worker, client, and everything that any of them writes or says.
#[test]
fn a_key_is_in_no_file_of_the_store_and_nothing_that_is_said() {
    for (name, echo) in ECHOES {
        let key = canary();
        let shown: Arc<Mutex<Vec<String>>> = Arc::default();
        let (found, canary) = (shown.clone(), key.clone());
        let server = Server::new(move |seen, n| {
            if n == 0 {
                found.lock().unwrap().extend(command_lines(&canary));
            }
            echo(&sent(seen), seen)
        });
        let more = format!(
            "endpoint.url = \"{}\"\nendpoint.key_env = \"PIPE_TEST_KEY\"",
            server.url()
        );
        let study = Study::new(&recipe(&[("traces", &more)]), &[("PIPE_TEST_KEY", &key)]);
        let pipe = |args: &[&str]| {
            let (code, text) = study.pipe(args);
            assert!(!holds(text.as_bytes(), &key), "{name}: {args:?}: {text}");
            (code, text)
        };
        let (code, text) = pipe(&["run", "r.toml", "--json", "--retries", "0"]);
        assert!(server.requests() > 0, "{name}: {text}");
        let expected = if name == "an answer" { 0 } else { 1 };
        assert_eq!(code, Some(expected), "{name}: {text}");
        for args in [
            &["show", "traces", "--json"][..],
            &["logs", "traces"],
            &["status"],
            &["verify", "--all"],
            &["ls", "--json"],
        ] {
            pipe(args);
        }
        let nowhere = Vec::<String>::new();
        assert_eq!(holding(study.dir.path(), &key), nowhere, "{name}");
        assert_eq!(*shown.lock().unwrap(), nowhere, "{name}");
        let journal = study.dir.path().join("cache/calls");
        assert!(journal.is_dir(), "{name}");
    }
}

/// What the processes of this system were started with, or see of the environment.
fn of_processes(file: &str) -> Vec<Vec<u8>> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let read = all.filter_map(|entry| std::fs::read(entry.path().join(file)).ok());
    read.collect()
}

/// Processes that show the key to everybody.
fn command_lines(key: &str) -> Vec<String> {
    let shown = of_processes("cmdline").into_iter();
    let shown = shown.filter(|line| holds(line, key));
    shown
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}

/// What the environment of every worker holds.
const MARK: &[u8] = b"PIPE_ATTEMPT=";

#[test]
fn a_worker_has_the_key_that_its_node_names_and_no_other() {
    let (one, two) = (canary(), canary());
    let having = Arc::new(Mutex::new([0; 3]));
    let (counts, keys) = (having.clone(), [one.clone(), two.clone()]);
    let server = Server::new(move |_, _| {
        for environment in of_processes("environ") {
            // The engine has both and is no worker.
            let worker = environment.windows(MARK.len()).any(|w| w == MARK);
            let held = keys.iter().filter(|key| holds(&environment, key)).count();
            if worker {
                counts.lock().unwrap()[held] += 1;
            }
        }
        good("k")
    });
    let of = |name: &str| {
        format!(
            "endpoint.url = \"{}\"\nendpoint.key_env = \"{name}\"",
            server.url()
        )
    };
    let recipe = recipe(&[
        ("first", &of("PIPE_TEST_ONE")),
        ("second", &of("PIPE_TEST_TWO")),
    ]);
    let environment = [("PIPE_TEST_ONE", &*one), ("PIPE_TEST_TWO", &*two)];
    let study = Study::new(&recipe, &environment);
    let (code, text) = study.pipe(&["run", "r.toml", "--retries", "0"]);
    assert_eq!(code, Some(0), "{text}");
    let [_, with_one, with_both] = *having.lock().unwrap();
    assert!(with_one > 0 && with_both == 0, "{with_one} {with_both}");
    let sent: BTreeSet<String> = server.seen().iter().map(sent).collect();
    assert_eq!(sent, BTreeSet::from([one, two]));
}

#[test]
fn a_node_that_names_a_url_goes_through_the_proxy_and_trusts_what_it_is_told_to() {
    let proxy = Server::good();
    let password = canary();
    let at = format!("http://me:{password}@127.0.0.1:{}", proxy.port);
    let away = recipe(&[("traces", "endpoint.url = \"http://nowhere.invalid/v1\"")]);
    let study = Study::new(&away, &[("HTTP_PROXY", &at)]);
    let (code, text) = study.pipe(&["run", "r.toml", "--retries", "0"]);
    // An answer without reasoning teaches nothing; it was had.
    assert_eq!(proxy.requests(), 2, "{code:?} {text}");
    assert!(
        proxy.seen()[0]
            .target
            .starts_with("http://nowhere.invalid/")
    );
    assert_eq!(holding(study.dir.path(), &password), Vec::<String>::new());
    drop(proxy);
    // Nobody is there any more.
    let study = Study::new(&away, &[("HTTP_PROXY", &at)]);
    let (code, text) = study.pipe(&["run", "r.toml", "--retries", "0"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("nowhere.invalid did not answer"), "{text}");
    assert!(!holds(text.as_bytes(), &password), "{text}");
    assert_eq!(holding(study.dir.path(), &password), Vec::<String>::new());

    let server = Server::with_tls();
    let own = recipe(&[("traces", &format!("endpoint.url = \"{}\"", server.url()))]);
    let (code, text) = Study::new(&own, &[]).pipe(&["run", "r.toml", "--retries", "0"]);
    assert_eq!((code, server.requests()), (Some(1), 0), "{text}");
    assert!(text.contains("SSL_CERT_FILE"), "{text}");
    let certificate = certificate().display().to_string();
    Study::new(&own, &[("SSL_CERT_FILE", &certificate)]).pipe(&["run", "r.toml", "--retries", "0"]);
    assert_eq!(server.requests(), 2);
}
