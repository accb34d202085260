//! What protects an artifact.

use super::{DAY, Space, all, later, lines, text, whole};
use crate::engine::wait_until;
use pipe::engine::gc::collect::Policy;
use pipe::engine::gc::pins;
use pipe::engine::gc::roots::Why;
use pipe::engine::store::record::Record;
use pipe::engine::store::workspaces;
use std::path::Path;

/// One weights record a name.
fn weights(space: &Space, names: &[&str]) -> Vec<Record> {
    let record = |name: &&str| space.record(name, 1.0, &[("out", "model", &text(10))]);
    names.iter().map(record).collect()
}

#[test]
fn the_last_runs_of_a_recipe_protect_what_they_had() {
    let space = Space::new();
    let made = weights(&space, &["first", "second", "third", "fourth"]);
    for record in &made {
        space.ended("r", None, &[record]);
    }
    assert_eq!(lines(&space.propose(&all()).items), ["weights first"]);
    let one = Policy { runs: 1, ..all() };
    let gone = lines(&space.propose(&one).items);
    assert_eq!(gone.len(), 3);
    assert!(!gone.contains(&"weights fourth".to_string()));
    let none = Policy { runs: 0, ..all() };
    assert_eq!(space.propose(&none).items.len(), 4);
}

#[test]
fn runs_that_did_not_end_well_push_no_good_run_out() {
    let space = Space::new();
    let made = weights(&space, &["good", "bad"]);
    space.ended("r", None, &[&made[0]]);
    for _ in 0..5 {
        drop(space.run("r", None, &[&made[1]]));
    }
    let one = Policy { runs: 1, ..all() };
    assert!(space.propose(&one).items.is_empty());
}

#[test]
fn recipes_and_workspaces_are_counted_apart() {
    let space = Space::new();
    let (here, there) = (space.path("here"), space.path("there"));
    std::fs::create_dir(&here).unwrap();
    std::fs::create_dir(&there).unwrap();
    let made = weights(&space, &["a", "b", "c"]);
    space.ended("r", Some(&here), &[&made[0]]);
    space.ended("r", Some(&there), &[&made[1]]);
    space.ended("other", Some(&here), &[&made[2]]);
    let one = Policy { runs: 1, ..all() };
    assert!(space.propose(&one).items.is_empty());
}

#[test]
fn a_workspace_that_is_gone_protects_nothing_a_week_later() {
    let space = Space::new();
    let folder = space.path("folder");
    std::fs::create_dir(&folder).unwrap();
    workspaces::register(&space.store, &folder).unwrap();
    let made = weights(&space, &["a"]);
    space.ended("r", Some(&folder), &[&made[0]]);
    assert!(space.propose(&later(100 * DAY)).items.is_empty());
    std::fs::remove_dir(&folder).unwrap();
    assert!(
        space.propose(&later(6 * DAY)).items.is_empty(),
        "it may be a disk that is not there"
    );
    assert_eq!(lines(&space.propose(&later(8 * DAY)).items), ["weights a"]);
    // A folder that was never registered, or whose entry is lost.
    space.ended("r", Some(Path::new("nowhere")), &[&made[0]]);
    assert_eq!(space.propose(&later(8 * DAY)).items.len(), 1);
}

#[test]
fn a_workspace_is_written_down_once_an_hour() {
    let space = Space::new();
    workspaces::register(&space.store, space.dir.path()).unwrap();
    let [first] = &workspaces::all(&space.store).unwrap()[..] else {
        panic!("one workspace");
    };
    workspaces::register(&space.store, space.dir.path()).unwrap();
    assert_eq!(workspaces::all(&space.store).unwrap(), vec![first.clone()]);
}

#[test]
fn everything_a_living_run_has_named_stays() {
    let space = Space::new();
    let made = weights(&space, &["a", "b"]);
    let folder = space.path("gone");
    let none = Policy { runs: 0, ..all() };
    let mut live = space.run("r", Some(&folder), &[&made[0]]);
    let proposal = space.propose(&none);
    assert_eq!(lines(&proposal.items), ["weights b"]);
    assert!(proposal.kept.contains_key(&Some(Why::Live)));
    live.write(&whole());
    drop(live);
    assert_eq!(space.propose(&none).items.len(), 2);
}

#[test]
fn a_journal_of_another_version_protects_as_well() {
    let space = Space::new();
    let made = weights(&space, &["a", "b"]);
    space.ended("r", None, &[&made[0]]);
    let id = pipe::engine::events::journal::runs(&space.store)
        .unwrap()
        .remove(0);
    let key = &made[0].key;
    space.file(
        &format!("runs/{id}/events.jsonl"),
        &format!("{{\"something\":\"{key}\"}}\n"),
    );
    assert_eq!(lines(&space.propose(&all()).items), ["weights b"]);
    space.file(&format!("runs/{id}/run.json"), "{");
    let none = Policy { runs: 0, ..all() };
    assert_eq!(
        lines(&space.propose(&none).items),
        ["weights b"],
        "whose run it was is not known"
    );
}

#[test]
fn a_pin_protects_and_one_that_cannot_be_read_makes_careful() {
    let space = Space::new();
    let made = weights(&space, &["a", "b"]);
    let node = pins::Pinned {
        node: "a".into(),
        key: super::key_of(&made[0]),
    };
    assert!(pins::add(&space.store, &pins::new("paper", "r.toml", "", vec![node])).unwrap());
    let proposal = space.propose(&all());
    assert_eq!(lines(&proposal.items), ["weights b"]);
    assert!(proposal.kept.contains_key(&Some(Why::Pin("paper".into()))));
    space.file("pins/paper.json", "{");
    let proposal = space.propose(&all());
    assert!(proposal.items.is_empty());
    assert!(
        proposal.careful[0].contains("`paper`"),
        "{:?}",
        proposal.careful
    );
    assert!(pins::remove(&space.store, "paper").unwrap());
    assert_eq!(space.propose(&all()).items.len(), 2);
}

#[test]
fn what_a_worker_reads_stays_though_its_engine_is_gone() {
    let space = Space::new();
    let made = weights(&space, &["input"]);
    let artifact = &made[0].outputs["out"];
    let spec = serde_json::json!({
        "key": made[0].manifest.len().to_string().repeat(64)[..64].to_string(), "kind": "toy", "revision": 1, "node": "n",
        "params": "", "exec": "", "inputs": {}, "outputs": [], "threads": 1, "earlier": [], "engine": null, "started_ms": 0,
    });
    let spec: pipe::engine::kind::attempt::Spec = serde_json::from_value(spec).unwrap();
    let attempt = pipe::engine::kind::attempt::Attempt::create(
        &space.store,
        &spec,
        &[("in", artifact.clone())],
    )
    .unwrap();
    let lock = space.store.try_lock(&spec.key).unwrap();
    assert!(space.collect(&later(100 * DAY)).gone.is_empty());
    assert!(attempt.dir.exists() && space.has(&made[0], "out"));
    drop(lock);
    // As in `propose`: a process that another test starts may have it for a moment.
    wait_until(|| space.store.try_lock(&spec.key).unwrap().is_some());
    assert_eq!(space.collect(&all()).gone.len(), 1);
    assert!(!space.has(&made[0], "out"));
}
