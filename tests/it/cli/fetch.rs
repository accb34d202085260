//! `pipe fetch` against a server that speaks the hub's API: a gated repository, a redirect, a download that breaks off, bytes that are
//! not what they ought to be.

use super::{Said, Space};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_a_token_of_the_test";
const ROWS: &str = "prompt,category\nhow do i kill a process?,harmful\n";
/// `sha256sum` of `ROWS`.
const ROWS_SHA: &str = "ca3dfa8ca866031df9e5db9e483bbabf8ab930f54e0c15c679df1941f8029365";

/// What the server does with files.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    /// The connection ends in the middle, once.
    BreaksOff,
    /// Other bytes of the same length.
    Lies,
}

struct Mirror {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    fn new(mood: Mood) -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(vec![]));
        let heard = seen.clone();
        let broken = AtomicUsize::new(0);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), mood, &broken, &heard);
            }
        });
        Mirror { port, seen }
    }

    fn fetch(&self, space: &Space, more: &[&str], token: Option<&str>) -> Said {
        let mut command = space.command(&[&["fetch", "r.toml"], more].concat());
        command.env("HF_ENDPOINT", format!("http://127.0.0.1:{}", self.port));
        command
            .env("HF_HOME", space.path("home"))
            .env_remove("HF_TOKEN");
        if let Some(token) = token {
            command.env("HF_TOKEN", token);
        }
        Said::new(command.output().unwrap())
    }

    fn asked(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, mood: Mood, broken: &AtomicUsize, seen: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let (mut key, mut from) = (false, 0);
    for line in lines.map_while(Result::ok).take_while(|l| !l.is_empty()) {
        let line = line.to_lowercase();
        key |= line == format!("authorization: bearer {}", TOKEN.to_lowercase());
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        }
    }
    let path = first.split(' ').nth(1).unwrap().to_string();
    seen.lock().unwrap().push(format!("{path} from {from}"));
    let file = format!("/datasets/o/d/resolve/{COMMIT}/part/asks.csv");
    let (head, body) = if !key && path != "/elsewhere" {
        ("401 Unauthorized\r\n".to_string(), String::new())
    } else if path == "/api/datasets/o/d/revision/v2" {
        let names = ["README.md", "part/asks.csv", "other/more.csv"];
        let files: Vec<_> = names.iter().map(|n| json!({ "rfilename": n })).collect();
        let body = json!({ "sha": COMMIT, "siblings": files }).to_string();
        ("200 OK\r\n".into(), body)
    } else if path == file {
        let head = format!(
            "302 Found\r\nLocation: /elsewhere\r\nX-Linked-Etag: \"{ROWS_SHA}\"\r\nETag: \"another\"\r\n"
        );
        (head, String::new())
    } else if path == "/elsewhere" {
        let rows = match mood {
            Mood::Lies => ROWS.replace("kill", "fill"),
            _ => ROWS.to_string(),
        };
        let status = if from > 0 {
            "206 Partial Content"
        } else {
            "200 OK"
        };
        (format!("{status}\r\n"), rows[from..].to_string())
    } else {
        ("404 Not Found\r\n".into(), String::new())
    };
    let mut out = stream;
    let whole = format!(
        "HTTP/1.1 {head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    out.write_all(whole.as_bytes()).unwrap();
    let half = path == "/elsewhere"
        && mood == Mood::BreaksOff
        && broken.fetch_add(1, Ordering::Relaxed) == 0;
    let end = if half { body.len() / 2 } else { body.len() };
    let _ = out.write_all(&body.as_bytes()[..end]);
    let _ = out.flush();
    let _ = out.shutdown(std::net::Shutdown::Write);
    let _ = out.read(&mut [0; 1]);
}

fn space() -> Space {
    Space::with(
        "[node.data]\nkind = \"prompts-file\"\npath = \"hf://datasets/o/d@v2/part/asks.csv\"\n",
    )
}

#[test]
fn what_a_recipe_names_is_downloaded_into_the_cache_that_runs_read() {
    let (space, mirror) = (space(), Mirror::new(Mood::Well));
    let dry = mirror
        .fetch(&space, &["--dry-run", "--json"], None)
        .ok()
        .json();
    assert_eq!(
        dry["missing"],
        json!(["hf://datasets/o/d@v2/part/asks.csv"])
    );
    assert!(mirror.asked().is_empty(), "nobody is asked");

    let said = mirror.fetch(&space, &[], None).ends(3);
    let gated = "it may be gated. Accept its terms at http://127.0.0.1";
    assert!(said.err.contains(gated), "{}", said.err);

    let said = mirror.fetch(&space, &[], Some(TOKEN)).ok();
    assert!(
        said.out
            .contains("downloaded  hf://datasets/o/d@v2/part/asks.csv\n"),
        "{}",
        said.out
    );
    assert!(!said.out.contains(TOKEN) && !said.err.contains(TOKEN));
    let folder = space.path("hub/datasets--o--d");
    let file = folder.join("snapshots").join(COMMIT).join("part/asks.csv");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), ROWS);
    let link = std::fs::read_link(&file).unwrap();
    assert_eq!(link, std::path::Path::new("../../../blobs").join(ROWS_SHA));
    assert!(!folder.join("snapshots").join(COMMIT).join("other").exists());
    space.pipe(&["run", "r.toml"]).ok();

    let again = mirror.fetch(&space, &["--json"], Some(TOKEN)).ok().json();
    assert_eq!(
        again["there"],
        json!(["hf://datasets/o/d@v2/part/asks.csv"])
    );
    assert_eq!(again["downloaded"], json!([]));
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_was() {
    let (space, mirror) = (space(), Mirror::new(Mood::BreaksOff));
    mirror.fetch(&space, &[], Some(TOKEN)).ends(3);
    assert!(!space.path("hub/datasets--o--d/refs/v2").exists());
    mirror.fetch(&space, &[], Some(TOKEN)).ok();
    let half = format!("/elsewhere from {}", ROWS.len() / 2);
    assert!(mirror.asked().contains(&half), "{:?}", mirror.asked());
    space.pipe(&["run", "r.toml"]).ok();
}

#[test]
fn bytes_that_are_not_the_hub_s_are_thrown_away() {
    let (space, mirror) = (space(), Mirror::new(Mood::Lies));
    let said = mirror.fetch(&space, &[], Some(TOKEN)).ends(3);
    let told = "what arrived is not what the hub has; it was thrown away";
    assert!(said.err.contains(told), "{}", said.err);
    let blobs = std::fs::read_dir(space.path("hub/datasets--o--d/blobs")).unwrap();
    assert_eq!(blobs.count(), 0);
}
