//! `pipe report --serve`: what a client of this machine gets, what is refused, that it follows a run, and that it changes nothing.

use super::{GREETING, Space, wait_until};
use pipe::base::hash::Key;
use pipe::engine::store::Store;
use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;

/// The verb at work, with the address that it printed.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn new(space: &Space) -> Served {
        let mut command = space.command(&["report", "r.toml", "--serve", "--port", "0"]);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|w| w.starts_with("http"));
        let url = url.unwrap_or_else(|| panic!("{line:?}")).to_string();
        Served { child, url }
    }

    fn port(&self) -> &str {
        let rest = self.url.strip_prefix("http://127.0.0.1:").unwrap();
        rest.strip_suffix('/').unwrap()
    }

    /// Status and text.
    fn get(&self, path: &str) -> (StatusCode, String) {
        self.ask(|client| client.get(format!("{}{path}", self.url)))
    }

    fn ask(&self, of: impl Fn(&Client) -> reqwest::RequestBuilder) -> (StatusCode, String) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let client = client();
            let answer = of(&client).send().await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        })
    }

    fn live(&self) -> Value {
        let (status, text) = self.get("live");
        assert_eq!(status, 200);
        serde_json::from_str(&text).unwrap()
    }

    /// What the server says to these bytes.
    fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port().parse().unwrap())).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// The part of a page that says which it is.
fn edition(page: &str) -> &str {
    let rest = page.split("data-edition=\"").nth(1).unwrap();
    rest.split('"').next().unwrap()
}

/// Every file below a folder with its bytes.
fn files(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![];
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_page_follows_the_store_and_nothing_is_written() {
    let space = Space::with(GREETING);
    let served = Served::new(&space);
    let (status, page) = served.get("");
    assert_eq!(status, 200);
    assert!(
        page.contains("Nothing to report yet") && page.contains("pipe run r.toml"),
        "{page}"
    );
    assert_eq!(served.live()["edition"], edition(&page));
    assert!(!space.path("cache").exists(), "looking made no store");

    space.pipe(&["run", "r.toml", "--only", "hello"]).ok();
    let before = files(&space.path("cache"));
    wait_until(|| served.live()["edition"] != *edition(&page));
    let (_, part) = served.get("");
    assert!(part.contains("<title>Study greeting</title>") && part.contains("class=\"n missing\""));
    assert!(
        part.contains("connect-src 'self'"),
        "it may ask its own server, and nobody else"
    );
    assert_eq!(served.live()["edition"], edition(&part));
    let written: Vec<String> = files(&space.path("cache"))
        .into_iter()
        .filter(|file| !before.contains(file))
        .map(|file| file.0)
        // What was seen of files is remembered, as every verb that plans does.
        .filter(|name| !name.contains("/cache/memo/"))
        .collect();
    assert!(written.is_empty(), "{written:?}");

    space.pipe(&["run", "r.toml"]).ok();
    wait_until(|| served.live()["edition"] != *edition(&part));
    let (_, whole) = served.get("");
    assert!(!whole.contains("class=\"n missing\""));
    assert_eq!(served.get("").1, whole, "the same store, the same bytes");

    // A recipe that is broken while somebody looks: the last page stays, and the reason is said.
    space.file("r.toml", "name = ");
    wait_until(|| !served.live()["trouble"].is_null());
    let trouble = served.live();
    assert!(
        trouble["trouble"].as_str().unwrap().contains("r.toml"),
        "{trouble}"
    );
    assert_eq!(served.get("").1, whole);
}

/// The page shows what blobs tell: without them it is another, and the same again when they are back.
#[test]
fn an_eviction_makes_another_page() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml"]).ok();
    let served = Served::new(&space);
    let before = edition(&served.get("").1).to_string();
    let store = Store::open(&space.path("cache")).unwrap();
    let listed = space.pipe(&["ls", "--json"]).ok().json();
    let key = Key::parse(listed["records"][0]["key"].as_str().unwrap()).unwrap();
    let outputs = store.record(&key).unwrap().unwrap().outputs;
    let outputs = outputs.into_keys().collect();
    store.mark_evicted(&key, &outputs, 1, "a test").unwrap();
    wait_until(|| served.live()["edition"] != before);
    store.unevict(&key).unwrap();
    wait_until(|| served.live()["edition"] == before);
}

#[test]
fn a_run_is_followed_node_by_node() {
    let space = Space::new();
    let recipe = "[node.slow]\nkind = \"toy-slow\"\nticks = 200\ntick_ms = 50\n\
                  [node.below]\nkind = \"toy-join\"\nin = { a = \"slow\" }\n";
    space.file("r.toml", recipe);
    let mut engine = space.command(&["run", "r.toml"]).spawn().unwrap();
    let served = Served::new(&space);
    let node = |live: &Value| {
        let nodes = live["runs"][0]["nodes"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        nodes.into_iter().find(|n| n["node"] == "slow")
    };
    wait_until(|| {
        node(&served.live())
            .is_some_and(|n| n["state"] == "running" && n["done"].as_u64() > Some(2))
    });
    let live = served.live();
    let slow = node(&live).unwrap();
    assert_eq!(
        (&slow["final"], &slow["total"]),
        (&false.into(), &200.into()),
        "{live}"
    );
    assert_eq!(live["runs"][0]["nodes"].as_array().unwrap().len(), 2);
    kill_process(Pid::from_child(&engine), Signal::INT).unwrap();
    engine.wait().unwrap();
    wait_until(|| served.live()["runs"].as_array().unwrap().is_empty());
}

#[test]
fn other_hosts_methods_and_addresses_are_refused() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml"]).ok();
    let served = Served::new(&space);
    let local = served.url.replace("127.0.0.1", "localhost");
    assert_eq!(
        served
            .ask(|c| c
                .get(&local)
                .header("host", format!("localhost:{}", served.port())))
            .0,
        200
    );
    for host in [
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
    ] {
        let (status, text) = served.ask(|c| c.get(&served.url).header("host", host));
        assert_eq!(status, 403, "{host}");
        assert!(!text.contains("greeting"), "{host}");
    }
    for path in ["x", "live/", "../r.toml", "cache/format", "%2e%2e/r.toml"] {
        assert_eq!(served.get(path).0, 404, "{path}");
    }
    let posted = served.ask(|c| c.post(&served.url).body("x"));
    assert_eq!(posted.0, 405);
    assert_eq!(served.ask(|c| c.delete(&served.url)).0, 405);
    assert_eq!(served.ask(|c| c.head(&served.url)).0, 405);
    let host = format!("Host: 127.0.0.1:{}\r\n", served.port());
    for broken in [
        "".to_string(),
        "\r\n\r\n".into(),
        "GET /\r\n\r\n".into(),
        "GET / HTTP/1.1\r\n\r\n".into(),
        format!("GET / HTTP/1.1\r\n{host}{host}\r\n"),
        format!("GET / HTTP/2.0\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(40_000)),
    ] {
        let said = served.raw(&broken);
        assert!(
            said.starts_with("HTTP/1.1 400 "),
            "{broken:.60}: {said:.80}"
        );
    }
    let good = served.raw(&format!("GET /?x=1 HTTP/1.1\r\n{host}\r\n"));
    assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good:.200}");
    assert!(good.contains("X-Frame-Options: DENY") && good.contains("no-store"));
}

#[test]
fn a_client_that_says_nothing_holds_up_nobody_and_ctrl_c_ends_it() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml"]).ok();
    let mut served = Served::new(&space);
    let port: u16 = served.port().parse().unwrap();
    let silent: Vec<TcpStream> = (0..8)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    assert_eq!(served.get("live").0, 200);
    drop(silent);
    let taken = port.to_string();
    let said = space
        .pipe(&["report", "r.toml", "--serve", "--port", &taken])
        .ends(3);
    assert!(said.err.contains("--port 0"), "{}", said.err);
    kill_process(Pid::from_child(&served.child), Signal::INT).unwrap();
    let status = served.child.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
}
