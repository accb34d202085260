//! One Ctrl-C, or the death of the engine, ends every kind at once: those that ask whether they should stop and those that do not.

use pipe::engine::kind::attempt::Attempt;
use pipe::engine::system::{Process, strays};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is promised is two seconds; a machine that builds meanwhile is slower.
const SOON: Duration = Duration::from_secs(5);

/// Never asks whether it should stop.
const DEAF: &str = "[node.it]\nkind = \"toy-slow\"\nticks = 4000\ntick_ms = 20\ndeaf = true\n";
/// Asks, and goes on.
const STUBBORN: &str =
    "[node.it]\nkind = \"toy-slow\"\nticks = 4000\ntick_ms = 20\nstubborn = true\n";
/// A loop of a real kind that reports nothing.
const CORPUS: &str = "[node.it]\nkind = \"world-corpus\"\nn = 1000000\n";
/// A program that does not heed signals, and starts another.
const PROGRAM: &str = "[node.it]\nkind = \"exec\"\noutputs = [\"metrics\"]\n\
    command = [\"sh\", \"-c\", \"trap '' TERM INT; sleep 600 & while :; do sleep 1; done\"]\n";

/// A run with one node, which is at work.
struct Run {
    dir: TempDir,
    engine: Child,
    worker: Process,
}

impl Run {
    fn of(recipe: &str) -> Run {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("r.toml"), recipe).unwrap();
        let mut command = Command::new(crate::study::program());
        command.args(["run", "r.toml", "--store", "store"]);
        command.current_dir(dir.path()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let engine = command.spawn().unwrap();
        let mut worker = None;
        wait_until(|| {
            worker = attempt(dir.path()).and_then(|a| a.worker());
            worker.is_some()
        });
        // Into its loop.
        std::thread::sleep(Duration::from_millis(500));
        let worker = worker.unwrap();
        assert_eq!(worker.lives(), Some(true), "it goes on for long");
        Run {
            dir,
            engine,
            worker,
        }
    }

    /// After this signal to the engine: how long the worker lived on, and the engine's exit status.
    fn signalled(&mut self, signal: Signal) -> (Duration, Option<i32>) {
        let since = Instant::now();
        kill_process(Pid::from_child(&self.engine), signal).unwrap();
        wait_until(|| self.worker.lives() == Some(false));
        let lived = since.elapsed();
        (lived, self.engine.wait().unwrap().code())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.engine.kill();
        let _ = self.engine.wait();
    }
}

fn attempt(dir: &Path) -> Option<Attempt> {
    let mut all = std::fs::read_dir(dir.join("store/attempts")).ok()?;
    let dir = all.next()?.ok()?.path();
    Some(Attempt { dir })
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_ctrl_c_ends_a_node_that_never_asks_whether_to_stop() {
    for recipe in [DEAF, CORPUS] {
        let mut run = Run::of(recipe);
        let (lived, status) = run.signalled(Signal::INT);
        assert!(lived < SOON, "{recipe} lived on for {lived:?}");
        assert_eq!(status, Some(130), "it counts as interrupted");
    }
}

#[test]
fn a_worker_whose_engine_was_killed_ends_whatever_it_is_doing() {
    for recipe in [DEAF, STUBBORN, CORPUS, PROGRAM] {
        let mut run = Run::of(recipe);
        let (lived, _) = run.signalled(Signal::KILL);
        assert!(lived < SOON, "{recipe} lived on for {lived:?}");
        let folder = attempt(run.dir.path()).expect("nobody removed it").dir;
        wait_until(|| strays::marked(&folder).is_empty());
    }
}

#[test]
fn what_was_saved_before_the_engine_died_is_gone_on_from() {
    let mut run = Run::of(&STUBBORN.replace("4000", "120"));
    wait_until(|| attempt(run.dir.path()).is_some_and(|a| a.resumable()));
    run.signalled(Signal::KILL);
    let saved = attempt(run.dir.path()).unwrap().fraction();
    assert!(saved.is_some_and(|share| share > 0.0), "{saved:?}");
    let mut again = Command::new(crate::study::program());
    again.args(["run", "r.toml", "--store", "store"]);
    let said = again.current_dir(run.dir.path()).output().unwrap();
    let told = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.status.success() && told.contains("goes on at "),
        "{told}"
    );
}
