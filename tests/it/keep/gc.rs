//! What gc proposes, in which order, and that it removes exactly that.

use super::{DAY, HOUR, Space, all, later, lines, text, under};
use pipe::base::hash::Key;
use pipe::base::text::{parse_bytes, parse_duration};
use pipe::engine::gc::collect::{Policy, Tier};
use pipe::engine::gc::{settings, sizes, sweep};
use pipe::engine::kind::attempt::{Attempt, Spec};
use pipe::engine::system::clock;
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn weights_go_before_data_and_cheap_bytes_before_dear_ones() {
    let space = Space::new();
    let weights = |node: &str, seconds: f64, len: usize| {
        space.record(node, seconds, &[("out", "model", &text(len))]);
    };
    space.record("traces", 0.1, &[("out", "conversations", &text(5000))]);
    weights("dear", 100.0, 1000);
    weights("cheap", 1.0, 1000);
    // As many seconds as `dear`, ten times the bytes.
    weights("big", 100.0, 10_000);
    space.record("adapter", 1000.0, &[("out", "adapter", &text(1000))]);
    let proposal = space.propose(&all());
    assert_eq!(
        lines(&proposal.items),
        [
            "weights cheap",
            "weights big",
            "weights dear",
            "weights adapter",
            "data traces"
        ]
    );
    let weights = proposal.items.iter().filter(|i| i.tier == Tier::Weights);
    assert_eq!(weights.map(|i| i.bytes).sum::<u64>(), 13_000);
}

#[test]
fn a_dollar_counts_like_half_an_hour() {
    let space = Space::new();
    let mut paid = space.record("paid", 0.0, &[("out", "prompts", &text(1000))]);
    space.store.retire_record(&paid.key).unwrap();
    paid.cost.dollars = 1.0;
    assert!(space.store.add_record(&paid).unwrap());
    for (node, seconds) in [("less", 1700.0), ("more", 1900.0)] {
        space.record(node, seconds, &[("out", "prompts", &text(1000))]);
    }
    let items = space.propose(&all()).items;
    assert_eq!(lines(&items), ["data less", "data paid", "data more"]);
    assert_eq!(items[1].dollars, 1.0);
}

#[test]
fn metrics_scores_logs_and_records_never_go() {
    let space = Space::new();
    let outputs = [
        ("metrics", "metrics", "m"),
        ("scores", "scores", "s"),
        ("model", "model", "w"),
    ];
    let record = space.record("eval", 1.0, &outputs);
    let swept = space.collect(&later(400 * DAY));
    assert_eq!(lines(&swept.gone), ["weights eval"]);
    assert!(!space.has(&record, "model"));
    assert!(space.has(&record, "metrics") && space.has(&record, "scores"));
    assert!(space.store.objects().has(&record.logs[0]));
    assert_eq!(
        space.store.record(&record.key).unwrap(),
        Some(record.clone())
    );
    let mark = space.store.evicted(&record.key).unwrap();
    assert_eq!(mark.bytes, 1);
    assert_eq!(mark.outputs, ["model".to_string()].into());
    assert!(space.collect(&later(400 * DAY)).gone.is_empty(), "once");
}

#[test]
fn a_cap_takes_no_more_than_is_needed() {
    let space = Space::new();
    for (node, seconds) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
        space.record(node, seconds, &[("out", "model", &text(100_000))]);
    }
    let held = sizes::total(&space.store).unwrap();
    assert!(space.propose(&under(held)).items.is_empty());
    let one = space.propose(&under(held - 1));
    assert_eq!(lines(&one.items), ["weights a"]);
    assert_eq!(one.above(held - 1), 0);
    let two = space.propose(&under(held - 100_001));
    assert_eq!(lines(&two.items), ["weights a", "weights b"]);
    let none = space.propose(&under(0));
    assert_eq!(none.items.len(), 3);
    assert!(none.above(0) > 0, "records and logs stay");
    space.collect(&under(held - 1));
    let now = sizes::total(&space.store).unwrap();
    assert!(now < held - 99_000, "{now} of {held}");
}

#[test]
fn a_blob_that_a_record_shares_with_one_that_stays_is_kept() {
    let space = Space::new();
    let shared = text(1000);
    let alone = [("out", "model", shared.as_str()), ("more", "model", "own")];
    let goes = space.record("goes", 1.0, &alone);
    let stays = space.record("stays", 1.0, &[("out", "model", &shared)]);
    let twin = space.record("twin", 1.0, &[("out", "model", &shared)]);
    space.ended("r", None, &[&stays]);
    let items = space.propose(&all()).items;
    // `twin` would be marked for nothing.
    assert_eq!(lines(&items), ["weights goes"]);
    assert_eq!(items[0].bytes, 3);
    space.collect(&all());
    assert!(space.has(&stays, "out") && space.has(&twin, "out") && space.has(&goes, "out"));
    assert!(!space.has(&goes, "more"));
    assert_eq!(space.store.evicted(&twin.key), None);
}

#[test]
fn what_two_records_share_goes_with_the_second() {
    let space = Space::new();
    let shared = text(1000);
    for (node, seconds) in [("a", 1.0), ("b", 2.0)] {
        space.record(node, seconds, &[("out", "model", &shared)]);
    }
    let items = space.propose(&all()).items;
    let sizes: Vec<u64> = items.iter().map(|i| i.bytes).collect();
    assert_eq!((lines(&items).len(), sizes), (2, vec![0, 1000]));
    let swept = space.collect(&all());
    assert_eq!(swept.gone.iter().map(|i| i.bytes).sum::<u64>(), 1000);
    assert!(space.propose(&all()).items.is_empty());
}

#[test]
fn blobs_that_nobody_names_go_after_an_hour() {
    let space = Space::new();
    let blob = space.blob("nobody's");
    assert!(space.collect(&all()).gone.is_empty(), "it is young");
    let swept = space.collect(&later(2 * HOUR));
    assert_eq!(lines(&swept.gone), ["unnamed blob"]);
    assert!(!space.store.objects().has(&blob));
}

#[test]
fn what_an_unreadable_or_quarantined_record_names_is_not_litter() {
    let space = Space::new();
    let (cut, retired) = (
        space.record("cut", 1.0, &[("out", "model", "one")]),
        space.record("retired", 1.0, &[("out", "model", "two")]),
    );
    let path = record_path(&space, &cut.key);
    let json = std::fs::read(&path).unwrap();
    std::fs::write(&path, &json[..json.len() - 3]).unwrap();
    space.store.retire_record(&retired.key).unwrap();
    assert!(space.collect(&later(2 * DAY)).gone.is_empty());
    assert!(space.has(&cut, "out") && space.has(&retired, "out"));
    let gone = lines(&space.collect(&later(8 * DAY)).gone);
    assert_eq!(gone, ["quarantined"], "a week later");
    let gone = lines(&space.collect(&later(8 * DAY)).gone);
    assert_eq!(gone, ["unnamed blob", "unnamed blob"]);
    assert!(space.has(&cut, "out"), "an unreadable record is no reason");
}

#[test]
fn drafts_go_after_an_hour_and_quarantine_after_a_week_but_no_run() {
    let space = Space::new();
    space.file("tmp/draft", "d");
    space.file("quarantine/object", "q");
    space.file("quarantine/run-1/run.json", "{}");
    assert!(space.propose(&later(HOUR / 2)).items.is_empty());
    assert_eq!(lines(&space.propose(&later(2 * HOUR)).items), ["draft"]);
    let swept = space.collect(&later(8 * DAY));
    assert_eq!(lines(&swept.gone), ["draft", "quarantined"]);
    assert!(
        space
            .store
            .root()
            .join("quarantine/run-1/run.json")
            .exists()
    );
    assert!(!space.store.root().join("tmp/draft").exists());
}

#[test]
fn attempts_go_when_they_are_of_no_use_and_nobody_is_in_them() {
    let space = Space::new();
    let done = space.record("done", 1.0, &[("out", "model", "w")]);
    space.ended("r", None, &[&done]);
    let left = attempt(&space, &done.key);
    let empty = attempt(&space, &key("empty"));
    let resumable = attempt(&space, &key("resumable"));
    std::fs::create_dir(resumable.resume().join("step-1")).unwrap();
    let held = attempt(&space, &key("held"));
    let lock = space.store.try_lock(&key("held")).unwrap();
    let now = lines(&space.propose(&all()).items);
    assert_eq!(now, ["litter attempt: its record is there"]);
    let soon = lines(&space.propose(&later(2 * HOUR)).items);
    assert_eq!(soon.len(), 2, "{soon:?}");
    assert!(soon.contains(&"litter attempt: left nothing to go on from".to_string()));
    let month = lines(&space.collect(&later(31 * DAY)).gone);
    assert_eq!(
        month.last().unwrap(),
        "checkpoints attempt: nobody went on with it"
    );
    assert!(!left.dir.exists() && !empty.dir.exists() && !resumable.dir.exists());
    assert!(held.dir.exists(), "somebody executes it");
    drop(lock);
    space.collect(&later(2 * HOUR));
    assert!(!held.dir.exists());
}

#[test]
fn an_attempt_that_is_being_made_is_known_by_its_lock() {
    let space = Space::new();
    let made = attempt(&space, &key("made"));
    std::fs::remove_file(made.dir.join("attempt.json")).unwrap();
    let lock = space.store.try_lock(&key("made")).unwrap();
    assert!(space.propose(&later(2 * HOUR)).items.is_empty());
    drop(lock);
    let items = space.propose(&later(2 * HOUR)).items;
    assert_eq!(items.len(), 1);
    let lock = space.store.try_lock(&key("made")).unwrap();
    let swept = sweep::sweep(&space.store, &later(2 * HOUR), items, Duration::ZERO).unwrap();
    assert_eq!((swept.gone.len(), swept.spared.len()), (0, 1));
    drop(lock);
    assert_eq!(space.collect(&later(2 * HOUR)).gone.len(), 1);
    assert!(!made.dir.exists());
}

#[test]
fn an_attempt_that_changed_since_the_proposal_is_another_one() {
    let space = Space::new();
    let old = attempt(&space, &key("a"));
    let policy = later(2 * HOUR);
    let items = space.propose(&policy).items;
    assert_eq!(items.len(), 1);
    std::thread::sleep(Duration::from_millis(20));
    std::fs::create_dir(old.resume().join("step-1")).unwrap();
    let swept = sweep::sweep(&space.store, &policy, items, Duration::ZERO).unwrap();
    assert_eq!((swept.gone.len(), swept.spared.len()), (0, 1));
    assert!(old.resumable());
}

#[test]
fn an_attempt_of_a_kept_key_stays_however_old() {
    let space = Space::new();
    let wanted = attempt(&space, &key("wanted"));
    std::fs::create_dir(wanted.resume().join("step-1")).unwrap();
    let mut run = space.run("r", None, &[]);
    run.write(&pipe::engine::events::event::Event::State {
        node: "wanted".into(),
        state: pipe::engine::events::event::State::Held {
            key: key("wanted"),
            by: None,
        },
    });
    drop(run);
    assert!(space.propose(&later(100 * DAY)).items.is_empty());
}

#[test]
fn only_what_is_older_than_asked_goes() {
    let space = Space::new();
    space.record("young", 1.0, &[("out", "model", "w")]);
    let policy = |later_ms: u64| Policy {
        older_than_ms: 30 * DAY,
        ..later(later_ms)
    };
    assert!(space.propose(&policy(29 * DAY)).items.is_empty());
    assert_eq!(
        lines(&space.propose(&policy(31 * DAY)).items),
        ["weights young"]
    );
}

#[test]
fn a_store_in_use_is_left_alone_and_says_by_whom() {
    let space = Space::new();
    let record = space.record("a", 1.0, &[("out", "model", "w")]);
    let shared = space.store.sharing().unwrap();
    let swept = space.collect(&all());
    let busy = swept.busy.expect("the lock is held");
    assert_eq!((busy.left, swept.gone.len()), (1, 0));
    assert!(space.has(&record, "out"));
    drop(shared);
    assert_eq!(space.collect(&all()).gone.len(), 1);
}

#[test]
fn what_is_needed_since_the_proposal_is_spared() {
    let space = Space::new();
    let record = space.record("a", 1.0, &[("out", "model", "w")]);
    let items = space.propose(&all()).items;
    assert_eq!(items.len(), 1);
    let live = space.run("r", None, &[&record]);
    let swept = sweep::sweep(&space.store, &all(), items, Duration::ZERO).unwrap();
    assert_eq!((swept.gone.len(), swept.spared.len()), (0, 1));
    assert!(space.has(&record, "out"));
    assert_eq!(space.store.evicted(&record.key), None);
    drop(live);
}

#[test]
fn a_cap_is_kept_in_the_store_and_collects() {
    let space = Space::new();
    assert_eq!(settings::read(&space.store).unwrap().cap, None);
    let cap = settings::Settings {
        cap: Some(150_000),
        remote: None,
    };
    settings::write(&space.store, &cap).unwrap();
    assert_eq!(settings::read(&space.store).unwrap(), cap);
    space.record("a", 1.0, &[("out", "model", &text(100_000))]);
    assert!(
        sweep::collect(&space.store, 150_000, Duration::ZERO)
            .unwrap()
            .is_none()
    );
    space.record("b", 2.0, &[("out", "model", &text(100_000))]);
    let swept = sweep::collect(&space.store, 150_000, Duration::ZERO).unwrap();
    assert_eq!(lines(&swept.unwrap().gone), ["weights a"]);
    space.file("settings.toml", "cup = 1");
    let error = format!("{:#}", settings::read(&space.store).unwrap_err());
    assert!(error.contains("cup"), "{error}");
    space.file("settings.toml", "cap = \"many\"");
    assert!(settings::read(&space.store).is_err());
}

#[test]
fn sizes_and_ages_are_read_as_people_write_them() {
    let sizes = [
        ("512", Some(512)),
        ("1.5 kB", Some(1500)),
        ("200GB", Some(200_000_000_000)),
        ("1GiB", Some(1 << 30)),
        ("0", Some(0)),
        ("", None),
        ("GB", None),
        ("-1GB", None),
        ("1 apple", None),
        ("1e9", None),
        ("99999999999TB", None),
    ];
    for (text, size) in sizes {
        assert_eq!(parse_bytes(text), size, "{text:?}");
    }
    let ages = [
        ("90s", Some(90.0)),
        ("30d", Some(2_592_000.0)),
        ("1.5h", Some(5400.0)),
        ("3", None),
        ("d", None),
    ];
    for (text, seconds) in ages {
        assert_eq!(parse_duration(text), seconds, "{text:?}");
    }
}

#[test]
fn a_blob_with_two_names_counts_once() {
    let space = Space::new();
    let blob = space.blob(&text(1000));
    let before = sizes::total(&space.store).unwrap();
    let second = space.store.attempts().join("second");
    std::fs::hard_link(space.store.objects().path(&blob.digest), second).unwrap();
    assert_eq!(sizes::total(&space.store).unwrap(), before);
    let folders = sizes::folders(&space.store).unwrap();
    let objects = folders.iter().find(|f| f.name == "objects").unwrap();
    assert_eq!((objects.files, objects.bytes), (1, 1000));
}

fn record_path(space: &Space, key: &Key) -> std::path::PathBuf {
    let actions = space.store.root().join("actions");
    actions.join(key.shard()).join(format!("{key}.json"))
}

fn key(name: &str) -> Key {
    Key::new(blake3::hash(name.as_bytes()))
}

fn attempt(space: &Space, key: &Key) -> Attempt {
    let spec = Spec {
        key: key.clone(),
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
        started_ms: clock::now_ms(),
    };
    Attempt::create(&space.store, &spec, &[]).unwrap()
}
