//! Runs whose engine is on another machine: seen to live by what it writes where locks tell nothing, and stopped by a file.

use super::lab::{Lab, TICKS};
use pipe::engine::events::journal::{Journal, RunInfo};
use pipe::engine::events::life;
use pipe::engine::store::Store;
use pipe::engine::system::{Process, clock};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A process of a machine that nobody knows here.
fn another() -> Process {
    Process {
        pid: 7,
        start: 1,
        boot: "another".into(),
        host: "login2".into(),
        namespace: "another".into(),
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(clock::now_ms())
}

fn store(folder: &Path, shared: bool) -> Store {
    let mut store = Store::open(folder).unwrap();
    store.prepare().unwrap();
    if shared {
        store.share(Duration::from_secs(60)).unwrap();
    }
    store
}

fn begun(store: &Store, id: &str, engine: Option<Process>) -> Journal {
    let info = RunInfo {
        id: id.into(),
        started_ms: 0,
        version: "0".into(),
        recipes: vec![],
        targets: vec![],
        engine,
        workspace: None,
    };
    Journal::create(store, &info, &[]).unwrap()
}

/// What is left of a run where its lock says nothing: of one that lives elsewhere, or was killed there.
fn unlocked(store: &Store, id: &str, seen: SystemTime) {
    let path = store.runs().join(id).join("alive");
    let _ = fs::remove_file(&path); // The lock is on the one that was there.
    fs::File::create(&path).unwrap().set_modified(seen).unwrap();
}

#[test]
fn an_engine_elsewhere_lives_as_long_as_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), true);
    let now = now();
    for (id, engine, seen, lives) in [
        ("lives", Some(another()), now, true),
        // Clocks of machines differ a little.
        (
            "ahead",
            Some(another()),
            now + Duration::from_secs(20),
            true,
        ),
        (
            "killed",
            Some(another()),
            now - Duration::from_secs(90),
            false,
        ),
        // Of this machine the lock has told.
        ("here", Process::own(), now, false),
        ("nobody", None, now, false),
    ] {
        let journal = begun(&store, id, engine);
        assert!(life::alive(&store, id), "{id} holds its lock");
        unlocked(&store, id, seen);
        assert_eq!(life::alive(&store, id), lives, "{id}");
        drop(journal);
    }
}

/// That of this machine may be hours before it or behind.
#[test]
fn signs_of_life_are_read_by_the_clock_of_whoever_keeps_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), true);
    for (id, engine, asked) in [
        ("there", Some(another()), true),
        // The lock has told.
        ("here", Process::own(), false),
    ] {
        let _journal = begun(&store, id, engine);
        unlocked(&store, id, now());
        let run = store.runs().join(id);
        let names = || fs::read_dir(&run).unwrap().count();
        let before = names();
        let folder = fs::File::open(&run).unwrap();
        folder.set_modified(UNIX_EPOCH).unwrap();
        assert_eq!(life::alive(&store, id), asked, "{id}");
        let written = folder.metadata().unwrap().modified().unwrap();
        assert_eq!(written > UNIX_EPOCH, asked, "{id}: a file was written");
        assert_eq!(names(), before, "{id}: and is gone");
    }
}

/// A sign of life counts for a minute.
#[test]
fn a_clock_that_is_hours_off_takes_nobody_for_dead() {
    let lab = Lab::slow();
    let store = store(&lab.path("cache"), true);
    let _journal = begun(&store, "there", Some(another()));
    unlocked(&store, "there", now());
    for hours in [-5, 0, 5] {
        let mut status = lab.command(&["status", "--json"]);
        status.env("PIPE_CLOCK_SHIFT", (3600 * hours).to_string());
        let said = status.output().unwrap();
        let found: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(found["runs"][0]["alive"], true, "{hours}: {found}");
    }
}

#[test]
fn one_that_has_ended_does_not_live_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), true);
    drop(begun(&store, "ended", Some(another())));
    assert!(!life::alive(&store, "ended"));
    let seen = fs::metadata(store.runs().join("ended/alive")).unwrap();
    assert_eq!(seen.modified().unwrap(), UNIX_EPOCH);
}

#[test]
fn where_locks_exclude_they_alone_tell() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), false);
    let _journal = begun(&store, "run", Some(another()));
    unlocked(&store, "run", now());
    assert!(!life::alive(&store, "run"));
}

#[test]
fn a_run_of_another_machine_is_stopped_by_a_file() {
    let lab = Lab::slow();
    let going = lab.start().after(3);
    let runs = lab.path("cache/runs");
    let mut entries = fs::read_dir(&runs).unwrap();
    let run = entries.next().unwrap().unwrap().path();
    let mut info: Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    info["engine"] = serde_json::to_value(another()).unwrap();
    fs::write(run.join("run.json"), info.to_string()).unwrap();
    let said = lab.command(&["stop", "last"]).output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(
        out.contains("on login2 to stop, if it still lives; "),
        "{out}"
    );
    let over = going.end();
    assert_eq!(over.code, Some(130), "{}", over.err);
    let next = "pipe run r.toml --on lab";
    assert!(over.out.contains(next), "{}", over.out);
    assert!(lab.ticks() < TICKS, "it went on to its end");
    assert!(!run.join("stop").exists(), "the request was heard");
    lab.run().well();
    lab.sound();
}
