//! `pipe run --detach`: the same command once more, in a session of its own, with its output kept in the folder of the run.

use super::output::{Error, Outcome, complain, print, print_json};
use anyhow::Context;
use engine::events::journal;
use engine::store::Store;
use engine::system::clock;
use serde_json::json;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the run would have printed.
pub const OUT: &str = "out.txt";
pub const ERR: &str = "err.txt";

/// Starts the run that the command line asks for and returns when it has begun, or has failed to.
pub fn start(store: &Store, as_json: bool) -> Outcome {
    store.prepare()?;
    let id = clock::unique();
    let folder = journal::folder(store, &id);
    let shown = || format!("starting run {id} in the background");
    fs::create_dir_all(&folder).with_context(shown)?;
    let kept = |name: &str| File::create(folder.join(name)).with_context(shown);
    let mut child = Command::new(std::env::current_exe().with_context(shown)?)
        .args(std::env::args_os().skip(1))
        .args(["--as-run", &id])
        .stdin(Stdio::null())
        .stdout(kept(OUT)?)
        .stderr(kept(ERR)?)
        .spawn()
        .with_context(shown)?;
    while !begun(&folder) {
        if let Some(status) = child.try_wait().with_context(shown)?
            && !begun(&folder)
        {
            complain(&fs::read_to_string(folder.join(ERR)).unwrap_or_default());
            let _ = fs::remove_dir_all(&folder); // There was no run.
            return Err(Error::Told(status.code().unwrap_or(3)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if as_json {
        print_json(&json!({ "run": id, "store": store.root(), "pid": child.id() }));
    } else {
        print(&format!("{id}\n"));
    }
    Ok(())
}

/// A terminal that is closed ends only what belongs to its session.
pub fn leave_terminal() {
    // Fails only where this process leads a session already.
    let _ = rustix::process::setsid();
}

fn begun(folder: &Path) -> bool {
    fs::metadata(folder.join("events.jsonl")).is_ok_and(|m| m.len() > 0)
}
