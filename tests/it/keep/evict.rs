//! The mark of an eviction: there before the first blob goes, gone when the blobs are back.

use super::{Space, all, later};
use pipe::engine::graph::manifest::Manifest;
use pipe::engine::kind::Type;
use pipe::engine::kind::attempt::{Attempt, Spec};
use pipe::engine::store::commit::{Delivery, Versus, commit};
use pipe::engine::store::evicted::Evicted;
use pipe::engine::store::record::{Provenance, Record};
use std::collections::BTreeMap;

#[test]
fn evicting_a_record_takes_what_only_it_has() {
    let space = Space::new();
    let mine = [("out", "model", "mine"), ("both", "prompts", "ours")];
    let goes = space.record("goes", 1.0, &mine);
    let stays = space.record("stays", 1.0, &[("out", "prompts", "ours")]);
    let _alone = space.store.alone().unwrap().unwrap();
    assert_eq!(space.store.evict(&goes, "to see").unwrap(), 4);
    let mark = space.store.evicted(&goes.key).unwrap();
    assert_eq!((mark.bytes, mark.reason.as_str()), (4, "to see"));
    assert!(!space.has(&goes, "out") && space.has(&stays, "out"));
    assert_eq!(space.store.evicted(&stays.key), None);
    space.store.unevict(&goes.key).unwrap();
    space.store.unevict(&goes.key).unwrap();
    assert_eq!(space.store.evicted(&goes.key), None);
}

#[test]
fn a_mark_is_no_record_and_a_broken_mark_is_none() {
    let space = Space::new();
    let record = space.record("a", 1.0, &[("out", "model", "w")]);
    space.collect(&all());
    assert_eq!(
        space.store.records().unwrap(),
        std::slice::from_ref(&record)
    );
    let key = record.key.as_str();
    let mark = space.file(&format!("actions/{}/{key}.evicted", &key[..2]), "{");
    assert_eq!(space.store.evicted(&record.key), None);
    let text = serde_json::to_string(&Evicted::default()).unwrap();
    std::fs::write(mark, text).unwrap();
    assert_eq!(space.store.evicted(&record.key), Some(Evicted::default()));
}

#[test]
fn a_commit_of_the_same_bytes_takes_the_mark_back() {
    let space = Space::new();
    let record = deliver(&space, "weights", Versus::Nothing);
    space.collect(&all());
    assert!(!space.has(&record, "out"));
    assert!(space.store.evicted(&record.key).is_some());
    let again = deliver(&space, "weights", Versus::Same);
    assert_eq!(again, record);
    assert!(space.has(&record, "out"));
    assert_eq!(space.store.evicted(&record.key), None);
}

#[test]
fn a_commit_of_other_bytes_takes_the_place_of_what_was_evicted() {
    let space = Space::new();
    let old = deliver(&space, "weights", Versus::Nothing);
    space.collect(&all());
    let new = deliver(&space, "others", Versus::Different(vec!["out".into()]));
    assert_eq!(new.key, old.key);
    assert_eq!(space.store.evicted(&new.key), None);
    assert_eq!(space.store.record(&new.key).unwrap(), Some(new));
}

#[test]
fn a_sweep_that_was_cut_off_after_its_marks_is_finished_by_the_next() {
    let space = Space::new();
    let record = space.record("a", 1.0, &[("out", "model", "w")]);
    let outputs = ["out".to_string()].into();
    space
        .store
        .mark_evicted(&record.key, &outputs, 1, "cut off")
        .unwrap();
    assert!(space.has(&record, "out"));
    let swept = space.collect(&all());
    assert_eq!(swept.gone.len(), 1);
    assert!(!space.has(&record, "out"));
}

#[test]
fn what_is_marked_but_there_and_a_root_stays_even_for_a_twin() {
    let space = Space::new();
    let used = space.record("used", 1.0, &[("out", "model", "same")]);
    let twin = space.record(
        "twin",
        1.0,
        &[("out", "model", "same"), ("own", "model", "x")],
    );
    let outputs = ["out".to_string()].into();
    space
        .store
        .mark_evicted(&used.key, &outputs, 1, "cut off")
        .unwrap();
    let live = space.run("r", None, &[&used]);
    let swept = space.collect(&later(0));
    assert_eq!(swept.gone.len(), 1);
    assert!(space.has(&used, "out") && !space.has(&twin, "own"));
    drop(live);
}

/// A commit of one model under one key.
fn deliver(space: &Space, text: &str, versus: Versus) -> Record {
    let manifest = Manifest::from_text("kind = toy\n");
    let spec = Spec {
        key: manifest.key(),
        kind: "toy".into(),
        revision: 1,
        node: "n".into(),
        params: String::new(),
        exec: String::new(),
        inputs: BTreeMap::new(),
        outputs: vec!["out".into()],
        threads: 1,
        earlier: vec![],
        engine: None,
        calls: Default::default(),
        run: String::new(),
        started_ms: 0,
    };
    let attempt = Attempt::create(&space.store, &spec, &[]).unwrap();
    std::fs::write(attempt.output("out").join("weights"), text).unwrap();
    let delivery = Delivery {
        attempt: &attempt,
        earlier: &[],
        spec: &spec,
        manifest: &manifest,
        types: BTreeMap::from([("out", Type::Model)]),
        provenance: Provenance::default(),
        forced: false,
        adopted: None,
    };
    let Ok(committed) = commit(&space.store, &delivery) else {
        panic!("the commit did not succeed");
    };
    assert_eq!(committed.versus, versus);
    attempt.remove().unwrap();
    committed.record
}
