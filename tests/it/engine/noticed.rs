//! What the engine notices of a store that something happened to, and that it believes its own index only as far as it may.

use super::*;
use pipe::engine::events::life;
use pipe::engine::store::Lookup;
use pipe::engine::store::record::Artifact;

fn index(space: &Space) -> PathBuf {
    space.root().join("memo/index")
}

fn object(space: &Space, artifact: &Artifact) -> PathBuf {
    space.store().objects().path(&artifact.files[0].digest)
}

/// Changes a byte in place, as no program that means well would.
fn flip(path: &Path, at: usize) {
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path, mode).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// As `gc` does it: the mark first, then the blobs.
fn evict(space: &Space, record: &Record) {
    let shard = space.root().join("actions").join(record.key.shard());
    std::fs::write(shard.join(format!("{}.evicted", record.key)), "{}").unwrap();
    for artifact in record.outputs.values() {
        std::fs::remove_file(object(space, artifact)).unwrap();
    }
}

#[test]
fn a_run_leaves_an_index_and_a_damaged_or_absent_one_changes_nothing() {
    let space = Space::new();
    let spec = [
        write("a", "one"),
        write("b", "two"),
        join("ab", "a", Some("b")),
    ];
    space.run(&spec);
    let whole = std::fs::read(index(&space)).unwrap();
    assert!(whole.starts_with(b"pipe index 4"));
    // Every kind of place: magic, table, its check, shards, the end.
    for at in [3, 100, 30_000, 30_800, whole.len() - 9] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(index(&space), &bytes).unwrap();
        assert_eq!(space.run(&spec).states(), ["hit"; 3], "byte {at}");
    }
    for length in [0, 11, 5000, whole.len() - 1] {
        std::fs::write(index(&space), &whole[..length]).unwrap();
        assert_eq!(space.run(&spec).states(), ["hit"; 3], "cut at {length}");
    }
    std::fs::remove_file(index(&space)).unwrap();
    assert_eq!(space.run(&spec).states(), ["hit"; 3]);
}

#[test]
fn what_others_add_to_the_store_or_take_from_it_is_seen() {
    let space = Space::new();
    let a = [write("a", "one")];
    let record = space.run(&a).record("a");
    let elsewhere = Space::new();
    elsewhere.run(&[write("b", "two")]);
    for folder in ["objects", "actions"] {
        let to = space.root().join(folder);
        let copied = Command::new("cp")
            .args(["-r", "--no-clobber"])
            .arg(elsewhere.root().join(folder))
            .arg(to.parent().unwrap())
            .status();
        assert!(copied.unwrap().success());
    }
    let both = [write("a", "one"), write("b", "two")];
    assert_eq!(space.plan(&both).words(), ["hit", "hit"]);
    let shard = space.root().join("actions").join(record.key.shard());
    std::fs::remove_file(shard.join(format!("{}.json", record.key))).unwrap();
    assert_eq!(space.plan(&both).words(), ["run", "hit"]);
}

#[test]
fn an_input_whose_bytes_have_changed_is_made_again_before_it_is_used() {
    let space = Space::new();
    let spec = |separator: &str| {
        [
            write("a", "text"),
            join("b", "a", Some("a")).with("separator", separator),
        ]
    };
    let record = space.run(&spec(" ")).record("a");
    flip(&object(&space, &record.outputs["out"]), 2);
    // Of the same size, and nothing reads it: a hit.
    assert_eq!(space.plan(&spec(" ")).words(), ["hit", "hit"]);
    let ran = space.run(&spec("-"));
    assert_eq!(ran.states(), ["done", "done"]);
    assert_eq!(ran.text("b"), "text-text");
    assert_eq!(quarantined(&space).len(), 1);
    assert_eq!(ran.record("a"), record, "the record stays");
}

#[test]
fn damaged_bytes_are_not_read_and_not_copied() {
    let space = Space::new();
    let record = space.run(&[write("a", "text")]).record("a");
    let artifact = &record.outputs["out"];
    let store = space.store();
    assert_eq!(store.objects().read(&artifact.files[0]).unwrap(), b"text");
    flip(&object(&space, artifact), 0);
    let error = store.objects().read(&artifact.files[0]).unwrap_err();
    assert!(
        format!("{error:#}").contains("is not what was stored"),
        "{error:#}"
    );
    let to = space.dir.path().join("copy");
    let error = store.objects().copy(&artifact.files, &to).unwrap_err();
    assert!(
        format!("{error:#}").contains("is not what was stored"),
        "{error:#}"
    );
}

#[test]
fn a_record_with_a_changed_byte_is_noticed_and_replaced() {
    let space = Space::new();
    let spec = [write("a", "text")];
    let record = space.run(&spec).record("a");
    let shard = space.root().join("actions").join(record.key.shard());
    let path = shard.join(format!("{}.json", record.key));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(Record::from_text(&text).unwrap(), record);
    assert_eq!(record.to_text().unwrap(), text);
    let changed = text.replace("\"attempts\": 1", "\"attempts\": 7");
    assert_ne!(changed, text);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &changed).unwrap();
    assert!(matches!(
        space.store().lookup(&record.key),
        Lookup::Damaged(_)
    ));
    assert_eq!(space.run(&spec).states(), ["done"]);
    assert_eq!(quarantined(&space).len(), 1);
    assert_eq!(space.run(&spec).states(), ["hit"]);
}

#[test]
fn a_record_of_before_there_were_seals_is_read() {
    let space = Space::new();
    let spec = [write("a", "text")];
    let record = space.run(&spec).record("a");
    let shard = space.root().join("actions").join(record.key.shard());
    let path = shard.join(format!("{}.json", record.key));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, serde_json::to_string_pretty(&record).unwrap()).unwrap();
    assert_eq!(space.run(&spec).states(), ["hit"]);
}

#[test]
fn an_evicted_artifact_is_a_hit_until_a_node_that_runs_needs_it() {
    let space = Space::new();
    let spec = |separator: &str| {
        [
            write("a", "text"),
            join("b", "a", None),
            join("c", "b", Some("b")).with("separator", separator),
        ]
    };
    let first = space.run(&spec(" "));
    // `b` has the bytes of `a`: one object.
    evict(&space, &first.record("a"));
    let shard = |r: &Record| space.root().join("actions").join(r.key.shard());
    let b = first.record("b");
    std::fs::write(shard(&b).join(format!("{}.evicted", b.key)), "{}").unwrap();
    assert_eq!(space.plan(&spec(" ")).words(), ["hit"; 3]);
    assert_eq!(space.run(&spec(" ")).states(), ["hit"; 3]);

    let plan = space.plan(&spec("-"));
    assert_eq!(plan.words(), ["run", "run", "run"], "and so on upwards");
    assert_eq!(plan.reasons("a"), [Reason::Evicted]);
    let ran = space.run(&spec("-"));
    assert_eq!(ran.states()[0], "done");
    assert_eq!(ran.text("c"), "text-text");
    assert_eq!(ran.record("a"), first.record("a"), "the record stays");
}

#[test]
fn an_evicted_artifact_below_which_something_may_run_is_made_only_if_it_does() {
    let space = Space::new();
    let spec = |text: &str| {
        [
            write("a", "left"),
            write("m", text).with("keep", 3),
            join("b", "a", Some("m")),
        ]
    };
    let first = space.run(&spec("abcd"));
    evict(&space, &first.record("a"));
    // `m` gives the same bytes again, so `b` is a hit and nobody needs `a`.
    assert_eq!(space.plan(&spec("abcX")).words(), ["hit", "run", "maybe"]);
    assert_eq!(space.run(&spec("abcX")).states(), ["hit", "done", "hit"]);
    // Now it gives others.
    let ran = space.run(&spec("Xbcd"));
    assert_eq!(ran.states(), ["done", "done", "done"]);
    assert_eq!(ran.text("b"), "left Xbc");
}

#[test]
fn who_names_an_evicted_node_gets_its_artifact() {
    let space = Space::new();
    let spec = [write("a", "text"), write("z", "other")];
    let first = space.run(&spec);
    evict(&space, &first.record("a"));
    let graph = graph(&spec);
    let wanted = Wanted {
        only: vec![graph.find("a").unwrap()],
        ..Wanted::default()
    };
    let ran = space.run_graph(&graph, &wanted, |_| {}, |_| {});
    assert_eq!(ran.states(), ["done"]);
    assert_eq!(ran.text("a"), "text");
}

#[test]
fn a_later_attempt_has_a_larger_number() {
    let space = Space::new();
    let spec = [toy(&crate::toys::SLOW, "slow")
        .with("ticks", 8)
        .exec("die_at", 7)];
    space.run_with(&spec, |s| s.retries.most = 0, |_| {});
    let key = space.plan(&spec).plan.nodes[0]
        .decision
        .key
        .clone()
        .unwrap();
    let names = || {
        let all = Attempt::of(&space.store(), &key).unwrap();
        all.iter().map(Attempt::name).collect::<Vec<_>>()
    };
    assert_eq!(names(), [format!("{}-1", key.short())]);
    // Left by a version that counted by time, and by a clock that ran ahead.
    for number in ["20991231-235959-000-1-1", "9", "10"] {
        let folder = space
            .root()
            .join("attempts")
            .join(format!("{}-{number}", key.short()));
        std::fs::create_dir(&folder).unwrap();
        let spec = space
            .root()
            .join("attempts")
            .join(format!("{}-1/attempt.json", key.short()));
        std::fs::copy(spec, folder.join("attempt.json")).unwrap();
    }
    let short = key.short();
    assert_eq!(
        names(),
        [
            format!("{short}-10"),
            format!("{short}-9"),
            format!("{short}-1"),
            format!("{short}-20991231-235959-000-1-1"),
        ]
    );
}

#[test]
fn a_run_is_alive_as_long_as_its_engine() {
    let space = Space::new();
    let store = space.store();
    let mut seen = vec![];
    let ran = space.run_with(
        &[write("a", "text")],
        |_| {},
        |event| {
            if let Event::RunStarted { run, .. } = event {
                seen.push(life::alive(&store, run));
            }
        },
    );
    assert_eq!(seen, [true]);
    // What another test starts has this process's files open until it begins.
    wait_until(|| !life::alive(&space.store(), &ran.outcome.run));
}
