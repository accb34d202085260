//! What `verify` finds: one flipped, cut or missing byte anywhere, named with what it touches.

use super::{Space, all, whole};
use pipe::base::hash::Key;
use pipe::engine::events::event::{Counts, End, Event};
use pipe::engine::events::journal;
use pipe::engine::gc::pins;
use pipe::engine::gc::verify::{Bad, Checked, Sample, verify};
use pipe::engine::kind::attempt::{Attempt, Spec};
use pipe::engine::kind::checkpoint;
use pipe::engine::kind::messages::Progress;
use pipe::engine::store::Lookup;
use pipe::engine::store::record::Record;
use pipe::engine::system::Process;
use std::path::{Path, PathBuf};

impl Space {
    fn verify(&self) -> Checked {
        verify(&self.store, Sample::All, &|_, _| {}).unwrap()
    }

    /// The only thing that is bad; asked again, nothing is.
    fn bad(&self) -> Bad {
        let mut found = self.verify().bad;
        assert_eq!(found.len(), 1, "{found:?}");
        let bad = found.remove(0);
        if bad.quarantined {
            let again = self.verify().bad;
            let left = again.iter().filter(|b| !b.problem.contains("missing"));
            assert_eq!(left.count(), 0, "{again:?}");
        }
        bad
    }

    fn object(&self, record: &Record) -> PathBuf {
        self.store
            .objects()
            .path(&record.outputs["out"].files[0].digest)
    }

    fn record_file(&self, key: &Key) -> PathBuf {
        let actions = self.store.root().join("actions");
        actions.join(key.shard()).join(format!("{key}.json"))
    }
}

/// Writes over a file that is read-only.
fn damage(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    how(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn flip(bytes: &mut [u8], at: usize) {
    bytes[at] ^= 1;
}

#[test]
fn a_store_that_is_whole_is_well_and_everything_was_looked_at() {
    let space = Space::new();
    let record = space.record("a", 1.0, &[("out", "model", "weights")]);
    space.ended("r", None, &[&record]);
    let checked = space.verify();
    assert!(checked.bad.is_empty(), "{:?}", checked.bad);
    assert_eq!((checked.records, checked.blobs, checked.hashed), (1, 2, 2));
    assert_eq!(checked.runs, 1);
    let none = verify(&space.store, Sample::Share(0.0), &|_, _| {}).unwrap();
    assert_eq!((none.blobs, none.hashed), (2, 0));
}

#[test]
fn a_sample_is_another_one_every_time() {
    let space = Space::new();
    for i in 0..40 {
        space.blob(&format!("blob {i}"));
    }
    let counts: Vec<u64> = (0..20)
        .map(|_| {
            verify(&space.store, Sample::Share(0.5), &|_, _| {})
                .unwrap()
                .hashed
        })
        .collect();
    assert!(counts.iter().all(|n| (1..40).contains(n)), "{counts:?}");
    assert!(counts.iter().any(|n| *n != counts[0]), "{counts:?}");
}

#[test]
fn a_flipped_byte_of_a_blob_is_found_and_named() {
    let space = Space::new();
    let record = space.record("sft", 1.0, &[("out", "model", "weights")]);
    damage(&space.object(&record), |bytes| flip(bytes, 3));
    let bad = space.bad();
    assert_eq!(bad.what, "object");
    assert_eq!(bad.touched, ["`sft` of `study`"]);
    assert_eq!(
        bad.then,
        "the next run that needs it makes `sft` of `study` again"
    );
    assert!(matches!(
        space.store.lookup(&record.key),
        Lookup::Damaged(_)
    ));
}

#[test]
fn a_cut_and_a_missing_blob_are_found_without_reading() {
    let space = Space::new();
    let (cut, missing) = (
        space.record("cut", 1.0, &[("out", "model", "weights one")]),
        space.record("missing", 1.0, &[("out", "model", "weights two")]),
    );
    damage(&space.object(&cut), |bytes| bytes.truncate(4));
    std::fs::remove_file(space.object(&missing)).unwrap();
    let found = verify(&space.store, Sample::Share(0.0), &|_, _| {})
        .unwrap()
        .bad;
    let mut said: Vec<(&str, bool)> = found
        .iter()
        .map(|b| (b.problem.as_str(), b.quarantined))
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            ("it has 4 bytes instead of 11", true),
            ("it is missing", false)
        ]
    );
}

#[test]
fn what_was_evicted_is_not_missing_but_what_stays_of_it_is() {
    let space = Space::new();
    let outputs = [
        ("out", "model", "weights"),
        ("metrics", "metrics", "numbers"),
    ];
    let record = space.record("eval", 1.0, &outputs);
    space.collect(&all());
    assert!(!space.has(&record, "out"));
    assert!(space.verify().bad.is_empty());
    let metrics = &record.outputs["metrics"].files[0];
    std::fs::remove_file(space.store.objects().path(&metrics.digest)).unwrap();
    assert_eq!(space.bad().problem, "it is missing");
}

#[test]
fn a_damaged_log_makes_nothing_again() {
    let space = Space::new();
    let record = space.record("a", 1.0, &[("out", "model", "weights")]);
    damage(
        &space.store.objects().path(&record.logs[0].digest),
        |bytes| flip(bytes, 0),
    );
    let bad = space.bad();
    assert_eq!(bad.then, "it was a log, so nothing is made again");
    assert!(matches!(space.store.lookup(&record.key), Lookup::Whole(_)));
}

#[test]
fn every_byte_of_a_record_that_matters_is_checked() {
    let json = |space: &Space, record: &Record, from: &str, to: &str| {
        damage(&space.record_file(&record.key), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let changed = text.replacen(from, to, 1);
            assert_ne!(text, changed, "{from}");
            *bytes = changed.into_bytes();
        });
    };
    let cases: [(&str, &str, &str); 4] = [
        ("param node", "param mode", "manifest"),
        (
            "\"path\": \"file\"",
            "\"path\": \"fill\"",
            "not that of its files",
        ),
        ("\"outputs\": {", "\"outputs\": [", "not readable"),
        ("\"size\": 7", "\"size\": 8", "not that of its files"),
    ];
    for (from, to, problem) in cases {
        let space = Space::new();
        let record = space.record("a", 1.0, &[("out", "model", "weights")]);
        json(&space, &record, from, to);
        let bad = space.bad();
        assert_eq!(bad.what, "record");
        assert!(
            bad.quarantined && !bad.problem.is_empty(),
            "{problem}: {bad:?}"
        );
        assert!(matches!(space.store.lookup(&record.key), Lookup::Absent));
        assert!(
            space.has(&record, "out"),
            "its blobs stay for whoever repairs it"
        );
    }
}

#[test]
fn a_path_that_leaves_its_folder_is_found() {
    for path in ["../out", "/out", "a/../../b", "", "."] {
        let space = Space::new();
        let mut record = space.record("a", 1.0, &[("out", "model", "weights")]);
        let artifact = record.outputs.get_mut("out").unwrap();
        artifact.files[0].path = path.into();
        artifact.digest = pipe::engine::system::files::tree_digest(&artifact.files);
        let problem = record.problem();
        assert!(problem.is_some_and(|p| p.contains("outside")), "{path:?}");
    }
}

#[test]
fn a_checkpoint_that_is_not_whole_is_found() {
    let space = Space::new();
    let spec: Spec = serde_json::from_value(serde_json::json!({
        "key": "a".repeat(64), "kind": "toy", "revision": 1, "node": "slow", "params": "", "exec": "", "inputs": {},
        "outputs": [], "threads": 1, "earlier": [], "engine": null, "started_ms": 0,
    }))
    .unwrap();
    let attempt = Attempt::create(&space.store, &spec, &[]).unwrap();
    for name in ["step-1", "step-2"] {
        let write = |dir: &Path| Ok(std::fs::write(dir.join("state"), name)?);
        checkpoint::save(&attempt.resume(), &[], name, Progress::default(), &write).unwrap();
    }
    assert_eq!(space.verify().checkpoints, 2);
    std::fs::write(attempt.resume().join("step-2/checkpoint.json"), "{").unwrap();
    let lock = space.store.try_lock(&spec.key).unwrap();
    assert!(space.verify().bad.is_empty(), "somebody is in it");
    drop(lock);
    let bad = space.bad();
    assert_eq!(
        (bad.what, bad.touched),
        ("checkpoint", vec!["`slow`".to_string()])
    );
    assert!(attempt.resume().join("step-1").exists() && !attempt.resume().join("step-2").exists());
    std::fs::write(attempt.dir.join("attempt.json"), "{").unwrap();
    assert_eq!(space.bad().what, "attempt");
}

/// `attempt.json` as it was when the engine was but the number of a process, and who that was stood beside it.
fn old_attempt(key: &Key) -> String {
    let own = Process::own().unwrap();
    let pid = own.pid;
    let own = serde_json::to_string(&own).unwrap();
    format!(
        r#"{{
  "key": "{key}",
  "kind": "toy-slow",
  "revision": 1,
  "node": "slow",
  "params": "ticks = 10\nseed = 0\n",
  "exec": "",
  "inputs": {{ "a": "prompts" }},
  "outputs": ["out"],
  "threads": 1,
  "earlier": [],
  "calls": "calls",
  "engine": {pid},
  "engine_process": {own},
  "run": "r1",
  "started_ms": 1000
}}"#
    )
}

#[test]
fn an_attempt_of_an_older_version_is_whole_and_can_be_gone_on_with() {
    let space = Space::new();
    let key = Key::new(blake3::hash(b"old"));
    let dir = format!("attempts/{}-1", key.short());
    space.file(&format!("{dir}/attempt.json"), &old_attempt(&key));
    let found = Attempt::of(&space.store, &key).unwrap();
    assert_eq!(found.len(), 1);
    let write = |dir: &Path| Ok(std::fs::write(dir.join("state"), "4")?);
    std::fs::create_dir_all(found[0].resume()).unwrap();
    checkpoint::save(
        &found[0].resume(),
        &[],
        "tick-4",
        Progress::default(),
        &write,
    )
    .unwrap();
    let checked = space.verify();
    assert!(checked.bad.is_empty(), "{:?}", checked.bad);
    assert_eq!(checked.checkpoints, 1);
    assert!(found[0].resumable());
    let spec = found[0].spec().unwrap();
    assert_eq!(spec.engine, Process::own());
    // The oldest did not say who the number was.
    let text = old_attempt(&key).replace("engine_process", "who");
    space.file(&format!("{dir}/attempt.json"), &text);
    assert_eq!(found[0].spec().unwrap().engine, None);
    // In between it stood there in the place of its number.
    let own = serde_json::to_string(&Process::own()).unwrap();
    let number = format!("\"engine\": {}", Process::own().unwrap().pid);
    let object = text.replace(&number, &format!("\"engine\": {own}"));
    space.file(&format!("{dir}/attempt.json"), &object);
    assert_eq!(found[0].spec().unwrap().engine, Process::own());
    for wrong in ["\"me\"", "[1]", "true", "{ \"pid\": 1 }"] {
        let text = text.replace(&number, &format!("\"engine\": {wrong}"));
        space.file(&format!("{dir}/attempt.json"), &text);
        let told = format!("{:#}", found[0].spec().expect_err(wrong));
        assert!(
            told.contains("`engine` is neither") || told.contains("missing field `start`"),
            "{told}"
        );
        assert_eq!(space.bad().what, "attempt");
    }
}

#[test]
fn a_damaged_journal_keeps_its_good_lines_and_a_torn_tail_is_no_damage() {
    let space = Space::new();
    let record = space.record("a", 1.0, &[("out", "model", "weights")]);
    let mut run = space.run("r", None, &[&record, &record]);
    assert_eq!(space.verify().runs, 0, "it lives");
    run.write(&whole());
    drop(run);
    let id = journal::runs(&space.store).unwrap().remove(0);
    let events = space.store.runs().join(&id).join("events.jsonl");
    damage(&events, |bytes| bytes.extend_from_slice(b"{\"at\":1,"));
    assert!(space.verify().bad.is_empty(), "a torn tail");
    damage(&events, |bytes| bytes[0] = b'#');
    let bad = space.bad();
    assert_eq!((bad.what, bad.name.as_str()), ("run", id.as_str()));
    assert_eq!(bad.problem, "1 line of its journal cannot be read");
    assert_eq!(journal::read(&space.store, &id).unwrap().events.len(), 2);
    damage(&space.store.runs().join(&id).join("run.json"), |bytes| {
        bytes.truncate(5)
    });
    assert_eq!(space.bad().problem, "`run.json` is not readable");
    assert!(journal::runs(&space.store).unwrap().is_empty());
}

/// Every line of it can be read; that a run which ended well reads as one that was killed, or did something else, is told all the same.
#[test]
fn a_journal_that_is_not_what_it_was_when_the_run_ended_is_told() {
    let space = Space::new();
    let record = space.record("a", 1.0, &[("out", "model", "weights")]);
    type Harm = fn(&mut Vec<u8>);
    let harms: [Harm; 3] = [
        |bytes| {
            let at = bytes
                .iter()
                .position(|b| *b == b'7')
                .expect("times have a seven");
            bytes[at] = b'8';
        },
        |bytes| bytes.truncate(bytes.len() - 9),
        |bytes| bytes.extend_from_slice(b"{\"at\":1}\n"),
    ];
    for (i, harm) in harms.into_iter().enumerate() {
        let mut run = space.run("r", None, &[&record]);
        run.write(&Event::RunEnded {
            end: End::Whole,
            seconds: 1.0,
            counts: Counts {
                done: 1,
                ..Counts::default()
            },
        });
        drop(run);
        assert!(space.verify().bad.is_empty(), "{i}: as it was written");
        let id = journal::runs(&space.store).unwrap().pop().unwrap();
        damage(&space.store.runs().join(&id).join("events.jsonl"), harm);
        let bad = space.bad();
        assert_eq!((bad.what, bad.name), ("run", id), "{i}");
        assert_eq!(
            bad.problem, "its journal is not what it was when the run ended",
            "{i}"
        );
    }
}

#[test]
fn pins_are_checked_and_stay_where_they_are() {
    let space = Space::new();
    let key = Key::new(blake3::hash(b"nothing"));
    let node = pins::Pinned {
        node: "rl".into(),
        key,
    };
    pins::add(&space.store, &pins::new("lost", "r.toml", "", vec![node])).unwrap();
    let bad = space.bad();
    assert_eq!((bad.what, bad.touched), ("pin", vec!["`rl`".to_string()]));
    assert_eq!(bad.then, "the next run that needs it makes `rl` again");
    space.file("pins/lost.json", "{");
    let bad = space.bad();
    assert!(bad.then.contains("pipe unpin lost"), "{bad:?}");
    assert!(space.store.root().join("pins/lost.json").exists());
}
