//! Workers whose engine was killed, and processes that workers left behind: they are seen, waited for or killed, and what they go on
//! writing reaches no artifact.

use super::{failed, slow, text};
use crate::engine::{Space, Toy, graph, lines, only, run_in, wait_until, write};
use pipe::engine::events::event::{Event, OrphanAction, State};
use pipe::engine::kind::attempt::Attempt;
use pipe::engine::kind::failure::Class;
use pipe::engine::plan::Wanted;
use pipe::engine::run::Orphans;
use pipe::engine::system::{Process, strays};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

const STORE: &str = "PIPE_TEST_STORE_OF_ORPHANS";
const TICKS: i64 = 400;

/// A long node; `stubborn` ones ignore that they are asked to stop.
fn spec(dir: &Path, stubborn: bool) -> [Toy; 1] {
    [slow("slow", TICKS)
        .exec("stubborn", stubborn)
        .exec("count", text(&dir.join("ticks")))]
}

/// In a process of its own, which is to be killed: this very test, with the store's folder in its environment.
fn engine(test: &str, dir: &Path) -> Child {
    let mut args = only(test);
    args[0] = format!("drive::orphans::{test}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(args).env(STORE, dir).spawn().unwrap()
}

fn killed_after(test: &str, dir: &Path, ticks: usize) -> Process {
    let mut engine = engine(test, dir);
    wait_until(|| lines(&dir.join("ticks")).len() >= ticks);
    let store = pipe::engine::store::Store::open(&dir.join("store")).unwrap();
    let names = pipe::engine::system::files::names(&store.attempts()).unwrap();
    let attempt = Attempt {
        dir: store.attempts().join(&names[0]),
    };
    let worker = attempt.worker().expect("a worker says who it is");
    assert_eq!(worker.lives(), Some(true));
    engine.kill().unwrap();
    engine.wait().unwrap();
    worker
}

/// Whether this process is the child that runs the engine; then it does.
fn is_engine(stubborn: bool) -> bool {
    let Some(dir) = std::env::var_os(STORE) else {
        return false;
    };
    let dir = PathBuf::from(dir);
    run_in(
        &dir,
        &graph(&spec(&dir, stubborn)),
        &Wanted::default(),
        |_| {},
        |_| {},
    );
    true
}

fn actions(events: &[Event]) -> Vec<OrphanAction> {
    let found = events.iter().filter_map(|e| match e {
        Event::Orphan { action, .. } => Some(*action),
        _ => None,
    });
    found.collect()
}

#[test]
fn a_folder_whose_engine_died_before_it_was_laid_out_goes_with_the_commit() {
    let space = Space::new();
    let nodes = [write("a", "x")];
    let ran = space.run(&nodes);
    let key = ran.record("a").key.clone();
    let store = space.store();
    let other = format!("{}-9", "0".repeat(12));
    for name in [format!("{}-1", key.short()), other.clone()] {
        std::fs::create_dir_all(store.attempts().join(name).join("out")).unwrap();
    }
    store.retire_record(&key).unwrap();
    assert_eq!(space.run(&nodes).states(), ["done"]);
    let left = pipe::engine::system::files::names(&store.attempts()).unwrap();
    assert_eq!(left, [other], "what is called like no key of the run stays");
}

/// Where locks exclude no other machines, an attempt of another one keeps `gc` from removing anything: what this one left is not taken
/// for such.
#[test]
fn an_engine_that_dies_while_it_lays_an_attempt_out_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = "[node.a]\nkind = \"toy-write\"\ntext = \"x\"\n";
    std::fs::write(dir.path().join("r.toml"), recipe).unwrap();
    let store = pipe::engine::store::Store::open(&dir.path().join("cache")).unwrap();
    pipe::engine::store::Store::open(store.root())
        .unwrap()
        .share(Duration::from_secs(60))
        .unwrap();
    let pipe = |words: &[&str], fault: &str| {
        let mut command = Command::new(crate::study::program());
        command
            .args(words)
            .current_dir(dir.path())
            .env("PIPE_FAULT", fault);
        command.output().unwrap()
    };
    let killed = pipe(&["run", "r.toml"], "attempt-folder#1=kill");
    assert_eq!(killed.status.code(), None, "it was killed");
    let left = pipe::engine::system::files::names(&store.attempts()).unwrap();
    assert!(left.is_empty(), "{left:?}");
    let gc = ["gc", "--apply", "--cap", "none"];
    assert!(pipe(&gc, "").status.success());
    // One that does not say whose it is may be anybody's, and is not called another machine's.
    std::fs::create_dir_all(store.attempts().join("000000000000-1")).unwrap();
    let refused = pipe(&gc, "");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        told.contains("attempt 000000000000-1 does not say whose it is, and is young"),
        "{told}"
    );
}

#[test]
fn an_orphan_that_does_not_stop_is_seen_and_killed_and_its_checkpoints_count() {
    if is_engine(true) {
        return;
    }
    let space = Space::new();
    let worker = killed_after(
        "an_orphan_that_does_not_stop_is_seen_and_killed_and_its_checkpoints_count",
        space.dir.path(),
        5,
    );
    assert_eq!(worker.lives(), Some(true), "it is stubborn");
    let spec = spec(space.dir.path(), true);
    let mut holders = vec![];
    let ran = space.run_with(
        &spec,
        |s| {
            s.orphans = Orphans {
                patience: Some(Duration::ZERO),
            }
        },
        |event| {
            if let Event::State {
                state: State::Held { by, .. },
                ..
            } = event
            {
                holders.push(by.clone());
            }
        },
    );
    assert_eq!(ran.states(), ["done"]);
    assert_eq!(
        actions(&ran.events),
        [OrphanAction::Seen, OrphanAction::Killed]
    );
    let holder = holders[0].clone().expect("who holds the key is known");
    assert!(holder.orphan);
    assert_eq!(
        (holder.worker.as_str(), &holder.host, holder.node.as_str()),
        (worker.to_string().as_str(), &worker.host, "slow")
    );
    assert_eq!(worker.lives(), Some(false));
    // Every second tick is saved, so at most two are done again.
    let done = lines(&space.dir.path().join("ticks")).len();
    assert!(done <= TICKS as usize + 2, "{done}");
    let calm = Space::new();
    let undisturbed = calm.run(&[slow("slow", TICKS)]);
    assert_eq!(
        undisturbed.record("slow").outputs,
        ran.record("slow").outputs
    );
}

#[test]
fn an_orphan_that_stops_is_waited_for_and_loses_no_tick() {
    if is_engine(false) {
        return;
    }
    let space = Space::new();
    killed_after(
        "an_orphan_that_stops_is_waited_for_and_loses_no_tick",
        space.dir.path(),
        5,
    );
    let ran = space.run_with(
        &spec(space.dir.path(), false),
        |s| s.orphans = Orphans { patience: None },
        |_| {},
    );
    assert_eq!(ran.states(), ["done"]);
    // It may have saved its state and gone before anyone looked.
    let actions = actions(&ran.events);
    assert!(
        actions.is_empty() || actions == [OrphanAction::Seen, OrphanAction::Ended],
        "{actions:?}"
    );
    let expected: Vec<String> = (1..=TICKS).map(|t| t.to_string()).collect();
    assert_eq!(lines(&space.dir.path().join("ticks")), expected);
}

#[test]
fn an_orphan_of_another_process_with_its_number_is_not_killed() {
    // This process lives, but started at another moment than the one that is looked for.
    let own = Process::own().unwrap();
    let mut other = own.clone();
    other.start += 1;
    assert_eq!(other.lives(), Some(false));
    assert!(!other.signal(rustix::process::Signal::KILL));
    let mut elsewhere = own.clone();
    elsewhere.boot = "another".into();
    assert_eq!(elsewhere.lives(), None);
    assert!(!elsewhere.signal(rustix::process::Signal::KILL));
    assert_eq!(own.lives(), Some(true));
}

#[test]
fn a_stray_in_a_session_of_its_own_dies_before_the_outputs_are_looked_at() {
    let space = Space::new();
    let mut attempt = None;
    let root = space.root();
    let ran = space.run_with(
        &[write("a", "text").exec("stray", "marked")],
        |_| {},
        |event| {
            if let Event::State {
                state: State::Running { attempt: name, .. },
                ..
            } = event
            {
                attempt = Some(root.join("attempts").join(name));
            }
        },
    );
    assert_eq!(ran.states(), ["done"]);
    assert!(strays::marked(&attempt.unwrap()).is_empty());
    let record = ran.record("a");
    assert!(ran.text("a").starts_with("textlate"), "it did write before");
    assert!(
        space.store().verify(&record).unwrap().is_empty(),
        "the bytes are those of the digest"
    );
}

#[test]
fn a_stray_that_hides_fails_the_node_while_it_can_write() {
    let space = Space::new();
    let ran = space.run(&[write("a", "text").exec("stray", "bare")]);
    let (class, message) = failed(&ran, "a");
    assert_eq!(class, Class::LostOutputs);
    assert!(
        message.starts_with("its outputs are not at rest: `sh` (process "),
        "{message}"
    );
    assert!(
        message.ends_with("still has `text.txt` open for writing"),
        "{message}"
    );
    assert!(space.store().records().unwrap().is_empty());
    assert_eq!(space.run(&[write("a", "text")]).states(), ["done"]);
}
