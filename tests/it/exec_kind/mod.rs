//! Programs as nodes: what they deliver and what is refused, how they end, what they see of the machine, and what they are told.
//! Small programs of the shell stand for trainers.

mod ends;
mod outputs;
mod surroundings;
mod words;

use crate::study::Study;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A node `it` that runs this text of the shell; `lines` are further lines of the node.
fn node(script: &str, lines: &str) -> String {
    format!("[node.it]\nkind = \"exec\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n{lines}\n")
}

/// A row of prompts.
fn prompt(id: &str) -> String {
    format!(
        "{{\"id\":\"{id}\",\"class\":\"harmful\",\"prompt\":\"p {id}\",\"source\":\"s\",\"category\":\"c\",\"difficulty\":1}}\n"
    )
}

/// A study with two rows of prompts in `rows.jsonl`.
fn study() -> Study {
    let study = Study::new();
    study.file("rows.jsonl", prompt("a") + &prompt("b"));
    study
}

/// A node that delivers those rows after this text of the shell.
fn rows_after(script: &str, lines: &str) -> String {
    let script = format!("{script}\ncp '{{file.0}}' '{{out.prompts}}'");
    node(
        &script,
        &format!("files = [\"rows.jsonl\"]\noutputs = [\"prompts\"]\n{lines}"),
    )
}

/// The binary, in the folder of a study.
fn pipe(study: &Study, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipe"));
    command
        .args(args)
        .current_dir(study.dir.path())
        .env_remove("PIPE_STORE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < Duration::from_secs(30), "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process of the number in this file lives; one that nobody waited for yet does not.
fn lives(file: &Path) -> bool {
    let pid = std::fs::read_to_string(file).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|s| !s.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

/// What a run says that starts nothing.
fn refused(study: &Study, recipe: &str) -> String {
    study.file("r.toml", recipe);
    let said = pipe(study, &["run", "r.toml", "--store", "store"]).output();
    let said = said.unwrap();
    let err = String::from_utf8(said.stderr).unwrap();
    assert!(!said.status.success(), "{err}");
    assert!(err.contains("nothing was started"), "{err}");
    err
}
