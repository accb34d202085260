//! `pipe run --detach`: the same command once more, in a session of its own, with its output kept in the folder of the run.

use super::output::{Error, Outcome, complain, print, print_json};
use anyhow::{Context, Result};
use engine::events::journal;
use engine::store::Store;
use engine::system::clock;
use serde_json::json;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the run would have printed.
const OUT: &str = "out.txt";
const ERR: &str = "err.txt";

/// Starts the run that the command line asks for and returns when it has begun, or has failed to, and what it said until then is told.
/// One that does not begin leaves nothing: until then what it says goes to files without names.
pub fn start(store: &Store, as_json: bool) -> Outcome {
    let id = clock::unique();
    let folder = journal::folder(store, &id);
    let shown = || format!("starting run {id} in the background");
    let mut said = unnamed(&format!("{id}-{ERR}")).with_context(shown)?;
    let mut child = Command::new(std::env::current_exe().with_context(shown)?)
        .args(std::env::args_os().skip(1))
        .args(["--as-run", &id])
        .stdin(Stdio::null())
        .stdout(unnamed(&format!("{id}-{OUT}")).with_context(shown)?)
        .stderr(said.try_clone().with_context(shown)?)
        .spawn()
        .with_context(shown)?;
    while !begun(&folder) {
        if let Some(status) = child.try_wait().with_context(shown)?
            && !begun(&folder)
        {
            complain(&text(&mut said));
            return Err(Error::Told(status.code().unwrap_or(3)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    complain(&text(&mut said));
    if as_json {
        print_json(&json!({ "run": id, "store": store.root(), "pid": child.id() }));
    } else {
        print(&format!("{id}\n"));
    }
    Ok(())
}

/// All that can be read.
fn text(said: &mut File) -> String {
    let mut text = vec![];
    let _ = said.rewind().and_then(|()| said.read_to_end(&mut text)); // The rest is in the run's folder, or nowhere.
    String::from_utf8_lossy(&text).into_owned()
}

/// A file that goes with whoever has it open.
fn unnamed(name: &str) -> Result<File> {
    let path = std::env::temp_dir().join(format!("pipe-{name}"));
    let shown = || format!("creating {}", path.display());
    let mut options = File::options();
    let file = options.read(true).append(true).create_new(true);
    let file = file.open(&path).with_context(shown)?;
    fs::remove_file(&path).with_context(shown)?;
    Ok(file)
}

/// Of the process that `start` has started, once its run has begun: what it said so far and will say is kept in the run's folder.
pub fn keep_output(store: &Store, id: &str) -> Result<()> {
    let folder = journal::folder(store, id);
    let kept = |name: &str, so_far: &str| -> Result<File> {
        let shown = || format!("keeping what the run says in {name}");
        let mut file = File::options();
        let file = file.append(true).create_new(true);
        let mut file = file.open(folder.join(name)).with_context(shown)?;
        let mut said = File::open(so_far).with_context(shown)?;
        std::io::copy(&mut said, &mut file).with_context(shown)?;
        Ok(file)
    };
    rustix::stdio::dup2_stdout(kept(OUT, "/dev/fd/1")?).context("keeping what the run says")?;
    rustix::stdio::dup2_stderr(kept(ERR, "/dev/fd/2")?).context("keeping what the run says")
}

/// A terminal that is closed ends only what belongs to its session.
pub fn leave_terminal() {
    // Fails only where this process leads a session already.
    let _ = rustix::process::setsid();
}

fn begun(folder: &Path) -> bool {
    fs::metadata(folder.join("events.jsonl")).is_ok_and(|m| m.len() > 0)
}
