//! The command line as its user meets it: the binary is run in a folder with recipes, and what it prints and returns is
//! judged. On toy kinds and the cheap kinds of the built-in world.

mod asking;
mod background;
mod check;
mod clock;
mod columns;
mod comparing;
mod devices;
mod elsewhere;
mod fetch;
mod flags;
mod hub;
mod interrupt;
mod json;
mod keeping;
mod keys;
mod looking;
mod manual;
mod mending;
mod outside;
mod preview;
mod reading;
mod remotes;
mod reporting;
mod rewards;
mod room;
mod run;
mod serving;
mod settling;
mod several;
mod sharing;
mod shipped;
mod signing;
mod terms;
mod tokens;
mod why;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder of its own for recipes, with the store `cache` in it.
struct Space {
    dir: TempDir,
    program: PathBuf,
}

/// What a command said.
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Space {
    fn new() -> Space {
        Space {
            dir: tempfile::tempdir().unwrap(),
            program: crate::study::program(),
        }
    }

    /// With the program as it is installed: without toy kinds.
    fn shipped() -> Space {
        Space {
            program: env!("CARGO_BIN_EXE_pipe").into(),
            ..Space::new()
        }
    }

    /// With this text as `r.toml`.
    fn with(recipe: &str) -> Space {
        let space = Space::new();
        space.file("r.toml", recipe);
        space
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("PIPE_STORE")
            .env_remove("PIPE_REMOTE")
            .env("PIPE_CONFIG", self.path("config"))
            .env("HF_HUB_CACHE", self.dir.path().join("hub"))
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn pipe(&self, args: &[&str]) -> Said {
        Said::new(self.command(args).output().unwrap())
    }

    /// The digest of a node's first output, by `ls --json`.
    fn digest(&self, node: &str) -> String {
        let records = self.pipe(&["ls", "--json"]).ok().json();
        let record = records["records"].as_array().unwrap().iter();
        let mut found = record.filter(|r| r["made_by"]["node"] == node);
        let record = found.next().expect("the node has a record");
        assert!(found.next().is_none(), "`{node}` has one record");
        record["outputs"]["out"]["digest"]
            .as_str()
            .unwrap()
            .to_string()
    }
}

impl Said {
    fn new(output: Output) -> Said {
        let said = Said {
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        };
        assert!(!said.err.contains("panicked"), "{}", said.err);
        said
    }

    fn ok(self) -> Said {
        self.ends(0)
    }

    fn ends(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {}", self.out))
    }

    /// The node's state in the answer of `run --json`.
    fn states(&self) -> Vec<(String, String)> {
        let value = self.json();
        let states = value["states"].as_array().unwrap().iter();
        states
            .map(|s| {
                let word = |v: &Value| v.as_str().unwrap().to_string();
                (word(&s["node"]), word(&s["state"]["is"]))
            })
            .collect()
    }
}

/// Everything that differs between two runs of the same thing becomes a letter: durations `T`, sizes `B`, keys and
/// digests `#`, runs `R`, the folder `DIR`. Runs of spaces become two.
fn redact(text: &str, dir: &Path) -> String {
    let text = text.replace(&dir.display().to_string(), "DIR");
    let lines = text.lines().map(|line| {
        let line = line.trim_end();
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split(' ').filter(|w| !w.is_empty()).collect();
        let mut out: Vec<String> = vec![];
        let mut i = 0;
        while i < words.len() {
            let (word, unit) = (words[i], words.get(i + 1).copied().unwrap_or_default());
            let letter = measured(word, unit);
            match letter {
                Some(letter) => {
                    let tail = unit.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                    // `4 m 12 s` is one duration.
                    if !(letter == 'T' && out.last().is_some_and(|last| last == "T")) {
                        out.push(format!("{letter}{tail}"));
                    }
                    i += 2;
                }
                None => {
                    out.push(plain(word));
                    i += 1;
                }
            }
        }
        format!("{}{}", &line[..indent.min(2)], out.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn measured(word: &str, unit: &str) -> Option<char> {
    word.parse::<f64>().ok()?;
    match unit.trim_end_matches(|c: char| !c.is_ascii_alphabetic()) {
        "ms" | "s" | "m" | "h" | "d" => Some('T'),
        "B" | "kB" | "MB" | "GB" => Some('B'),
        _ => None,
    }
}

fn plain(word: &str) -> String {
    let hex = word.chars().all(|c| c.is_ascii_hexdigit());
    let run = word.len() > 20 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    match (hex && word.len() >= 12, run) {
        (true, _) => "#".into(),
        (_, true) => "R".into(),
        _ => word.into(),
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(String::from).collect()
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < Duration::from_secs(60), "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Two texts and their join; `who` is a variable.
const GREETING: &str = r#"
name = "greeting"
[vars]
who = "world"
[node.hello]
kind = "toy-write"
text = "hello"
[node.who]
kind = "toy-write"
text = "${who}"
[node.both]
kind = "toy-join"
in = { a = "hello", b = "who" }
"#;
