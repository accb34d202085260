//! `pipe gc --remote` on a folder that two stores share: what goes, what stays, and that it comes back.

use super::{GREETING, Said, Space};
use pipe::engine::system::clock;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

const DAY: u64 = 86_400_000;

impl Space {
    /// As the user of this store, whose settings lie beside it.
    fn at(&self, store: &str, args: &[&str]) -> Said {
        let mut command = self.command(args);
        command
            .env("PIPE_STORE", self.path(store))
            .env("PIPE_CONFIG", self.path("config"))
            .env("PIPE_REMOTE", self.path("remote"));
        Said::new(command.output().unwrap())
    }

    /// What a run with a key of its own has put into the folder.
    fn shared() -> Space {
        let space = Space::with(GREETING);
        fs::create_dir(space.path("remote")).unwrap();
        space.at("one", &["keys", "new", "--name", "ada"]).ok();
        space.at("one", &["run", "r.toml"]).ok();
        assert_eq!(space.there("actions").len(), 3);
        space
    }

    /// The files below a folder of the remote.
    fn there(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = vec![];
        files(&self.path("remote").join(folder), &mut found);
        found.sort();
        found
    }

    /// What lies in `gc` beside the mark of who made room last.
    fn locks(&self) -> usize {
        let there = self.there("gc");
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
        let marks = there.iter().filter(|path| name(path).starts_with("swept-"));
        let marks = marks.count();
        assert!(marks <= 1, "the mark of the last");
        there.len() - marks
    }

    fn age(&self, folder: &str, days: u64) {
        self.there(folder).iter().for_each(|path| age(path, days));
    }

    /// The bytes of a node's output at the remote.
    fn blob(&self, node: &str) -> PathBuf {
        let list = self.at("one", &["ls", "--json"]).ok().json();
        let records = list["records"].as_array().unwrap();
        let key = records
            .iter()
            .find(|r| r["made_by"]["node"] == node)
            .unwrap()["key"]
            .clone();
        let key = key.as_str().unwrap();
        let record = self
            .path("remote/actions")
            .join(&key[..2])
            .join(format!("{key}.json"));
        let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        let digest = record["outputs"]["out"]["files"][0]["digest"]
            .as_str()
            .unwrap();
        self.path("remote/objects").join(&digest[..2]).join(digest)
    }

    fn record(&self, node: &str) -> PathBuf {
        let all = self.there("actions").into_iter();
        let mut of = all.filter(|path| {
            let record: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            record["provenance"]["node"] == node
        });
        of.next().unwrap()
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

fn age(path: &Path, days: u64) {
    let then = UNIX_EPOCH + Duration::from_millis(clock::now_ms() - days * DAY);
    // A blob is read-only, as in the store.
    let file = File::open(path).unwrap();
    file.set_modified(then).unwrap();
}

#[test]
fn old_bytes_go_records_stay_and_whoever_makes_them_again_brings_them_back() {
    let space = Space::shared();
    space.age("objects", 200);
    space.age("actions", 200);
    let before = space.there("");
    let dry = space.at("one", &["gc", "--remote"]).ok();
    assert!(dry.out.contains("3 blobs"), "{}", dry.out);
    assert!(dry.out.contains("`--apply` removes them"), "{}", dry.out);
    assert_eq!(space.there(""), before, "a dry run touches nothing");
    let swept = space
        .at("one", &["gc", "--remote", "--apply", "--json"])
        .ok()
        .json();
    assert_eq!((&swept["blobs"], &swept["spared"]), (&3.into(), &0.into()));
    for node in ["hello", "who", "both"] {
        assert!(!space.blob(node).exists());
    }
    assert_eq!(space.there("actions").len(), 3);
    assert_eq!(space.there("sigs").len(), 3);
    assert_eq!(space.locks(), 0, "the lock is given back");
    // What is known stays known elsewhere; what needs bytes makes them, and they are shared again.
    let plan = space.at("two", &["plan", "r.toml", "--json"]).ok().json();
    assert!(plan.to_string().contains("\"hit\""));
    space.file(
        "r.toml",
        &format!("{GREETING}[node.more]\nkind = \"toy-join\"\nin = {{ a = \"both\" }}\n"),
    );
    space.at("two", &["run", "r.toml"]).ok();
    assert!(space.blob("both").exists());
    assert!(
        space
            .at("two", &["gc", "--remote"])
            .ok()
            .out
            .contains("nothing to remove")
    );
}

#[test]
fn a_recent_record_keeps_all_that_it_was_made_from() {
    let space = Space::shared();
    space.age("objects", 200);
    space.age("actions", 200);
    age(&space.record("hello"), 3);
    let swept = space
        .at("one", &["gc", "--remote", "--apply", "--json"])
        .ok()
        .json();
    assert_eq!(swept["blobs"], 2);
    assert!(space.blob("hello").exists());
    let space = Space::shared();
    space.age("objects", 200);
    space.age("actions", 200);
    age(&space.record("both"), 3);
    assert!(
        space
            .at("one", &["gc", "--remote"])
            .ok()
            .out
            .contains("nothing to remove")
    );
    let shorter = space.at("one", &["gc", "--remote", "--recent", "2d"]).ok();
    assert!(shorter.out.contains("3 blobs"), "{}", shorter.out);
}

#[test]
fn what_is_pinned_stays_and_a_pin_that_cannot_be_read_keeps_all() {
    let space = Space::shared();
    space.age("objects", 200);
    space.age("actions", 200);
    space
        .at("one", &["pin", "r.toml", "who", "--name", "paper"])
        .ok();
    let dry = space.at("one", &["gc", "--remote"]).ok();
    assert!(
        dry.out.contains("pin `paper`") && dry.out.contains("2 blobs"),
        "{}",
        dry.out
    );
    space.at("one", &["unpin", "paper"]).ok();
    space.file("remote/pins/broken.json", "{");
    let stray = space.file("remote/objects/ab/junk", "no blob");
    let dry = space.at("one", &["gc", "--remote", "--apply"]).ok();
    assert!(
        dry.out.contains("careful: `pins/broken.json` is no pin"),
        "{}",
        dry.out
    );
    assert!(dry.out.contains("removed 0 blobs"), "{}", dry.out);
    assert!(stray.exists(), "it is none of ours");
}

#[test]
fn what_no_record_names_goes_when_it_is_old_enough() {
    let space = Space::shared();
    let name = "ab".repeat(32);
    let unnamed = space.file(&format!("remote/objects/ab/{name}"), "half a push");
    assert!(
        space
            .at("one", &["gc", "--remote"])
            .ok()
            .out
            .contains("nothing to remove")
    );
    age(&unnamed, 13);
    assert!(
        space
            .at("one", &["gc", "--remote"])
            .ok()
            .out
            .contains("nothing to remove")
    );
    assert!(
        space
            .at("one", &["gc", "--remote", "--grace", "12d"])
            .ok()
            .out
            .contains("no record names it")
    );
    age(&unnamed, 15);
    // A record that cannot be read may name it.
    let torn = space.file(
        &format!("remote/actions/cd/{}.json", "cd".repeat(32)),
        &format!("{{ \"{name}\""),
    );
    assert!(
        space
            .at("one", &["gc", "--remote"])
            .ok()
            .out
            .contains("nothing to remove")
    );
    fs::remove_file(torn).unwrap();
    space.at("one", &["gc", "--remote", "--apply"]).ok();
    assert!(!unnamed.exists());
    assert_eq!(space.there("objects").len(), 3);
    let short = space
        .at("one", &["gc", "--remote", "--grace", "7d"])
        .ends(2);
    assert!(short.err.contains("at least 8 days"), "{}", short.err);
}

#[test]
fn one_maintainer_at_a_time() {
    let space = Space::shared();
    let lock = space.file(
        "remote/gc/lock",
        r#"{ "who": "bob", "since_ms": 0, "nonce": "x" }"#,
    );
    space.at("one", &["gc", "--remote"]).ok();
    let held = space.at("one", &["gc", "--remote", "--apply"]).ends(3);
    assert!(
        held.err.contains("bob") && held.err.contains("--take-over"),
        "{}",
        held.err
    );
    assert!(lock.exists());
    space
        .at("one", &["gc", "--remote", "--apply", "--take-over"])
        .ok();
    assert!(!lock.exists());
    let plain = space.command(&["gc", "--grace", "20d"]).output().unwrap();
    assert_eq!(
        plain.status.code(),
        Some(2),
        "it says something of the shared store only"
    );
}

/// What stays and what goes is all that is there, however many name it.
#[test]
fn what_is_kept_and_what_goes_is_what_is_held() {
    let space = Space::shared();
    // Of one that has the bytes of another.
    space.file(
        "r.toml",
        &format!("{GREETING}[node.same]\nkind = \"toy-join\"\nin = {{ a = \"both\" }}\n"),
    );
    space.at("one", &["run", "r.toml"]).ok();
    assert_eq!(space.blob("same"), space.blob("both"));
    let number = |value: &Value| value.as_u64().unwrap();
    // Records that are kept, and bytes that go.
    let told = || {
        let said = space.at("one", &["gc", "--remote", "--json"]).ok().json();
        let kept: Vec<&Value> = said["kept"].as_object().unwrap().values().collect();
        let goes = said["items"].as_array().unwrap().iter();
        let goes: u64 = goes.map(|item| number(&item["bytes"])).sum();
        let stays: u64 = kept.iter().map(|kept| number(&kept["bytes"])).sum();
        assert_eq!(number(&said["held_bytes"]), stays + goes, "{said}");
        let records = kept.iter().map(|kept| number(&kept["records"]));
        (records.sum::<u64>(), goes)
    };
    assert_eq!(told(), (4, 0), "all is recent");
    // A push that was cut off, and a record that is none.
    let name = "ab".repeat(32);
    space.file(&format!("remote/objects/ab/{name}"), "half a push");
    assert_eq!(told(), (4, 0));
    let torn = format!("{{ \"{name}\"");
    space.file(
        &format!("remote/actions/cd/{}.json", "cd".repeat(32)),
        &torn,
    );
    assert_eq!(told(), (5, 0));
    fs::remove_file(space.path(&format!("remote/actions/cd/{}.json", "cd".repeat(32)))).unwrap();
    space.age("objects", 200);
    space.age("actions", 200);
    age(&space.record("hello"), 3);
    let (records, goes) = told();
    assert!((1..4).contains(&records) && goes > 0, "{records} {goes}");
}

/// Nothing is older for a machine whose clock is ahead.
#[test]
fn ages_are_by_the_clock_of_the_shared_store() {
    let space = Space::shared();
    space.age("actions", 200);
    let gc = |shift: i64, more: &[&str]| {
        let mut command = space.command(&[&["gc", "--remote", "--json"], more].concat());
        command
            .env("PIPE_STORE", space.path("one"))
            .env("PIPE_REMOTE", space.path("remote"))
            .env("PIPE_CLOCK_SHIFT", (shift * DAY as i64 / 1000).to_string());
        Said::new(command.output().unwrap()).ok().json()["blobs"].clone()
    };
    space.age("objects", 13);
    for more in [&[][..], &["--apply"]] {
        for shift in [-3, 0, 3] {
            assert_eq!(gc(shift, more), 0, "{shift} {more:?}");
        }
    }
    space.age("objects", 15);
    for shift in [-3, 0, 3] {
        assert_eq!(gc(shift, &[]), 3, "{shift}");
    }
    assert_eq!(gc(-3, &["--apply"]), 3);
    assert!(space.there("objects").is_empty());
}

/// Killed wherever it is: what is needed is there, the lock says who left it, and the next goes on.
#[test]
fn a_maintainer_who_is_killed_leaves_what_is_needed() {
    let struck: [(&str, usize); 6] = [
        ("remote-locked", 1),
        ("remote-remove", 1),
        ("remote-removed", 1),
        ("remote-remove", 3),
        ("remote-removed", 3),
        ("remote-swept", 1),
    ];
    for (place, pass) in struck {
        let space = Space::shared();
        space.age("objects", 200);
        space.age("actions", 200);
        age(&space.record("hello"), 3);
        let mut command = space.command(&["gc", "--remote", "--apply"]);
        command
            .env("PIPE_STORE", space.path("one"))
            .env("PIPE_REMOTE", space.path("remote"))
            .env("PIPE_FAULT", format!("{place}#{pass}=kill"));
        let killed = command.output().unwrap().status;
        // Two blobs go: the third pass is never made.
        assert_eq!(killed.success(), pass == 3, "{place}#{pass}");
        assert!(space.blob("hello").exists());
        assert_eq!(space.there("actions").len(), 3);
        if pass == 3 {
            continue;
        }
        let held = space.at("one", &["gc", "--remote", "--apply"]).ends(3);
        assert!(held.err.contains("ada"), "{}", held.err);
        let on = ["gc", "--remote", "--apply", "--take-over"];
        space.at("one", &on).ok();
        assert_eq!(space.there("objects").len(), 1);
        assert_eq!(space.locks(), 0);
        assert!(space.blob("hello").exists());
        // Whoever needs the others makes them, and nothing is lost for anybody.
        space.file(
            "r.toml",
            &format!("{GREETING}[node.more]\nkind = \"toy-join\"\nin = {{ a = \"both\" }}\n"),
        );
        space.at("two", &["run", "r.toml"]).ok();
        space.at("two", &["verify", "--all"]).ok();
    }
}

/// Somebody publishes what is being removed: what was published has its bytes, or whoever pushes again brings them.
#[test]
fn a_push_beside_a_maintainer_loses_nothing() {
    let space = Space::shared();
    for round in 0..4 {
        space.age("objects", 200);
        space.age("actions", 200);
        let set = format!("vars.who=round{round}");
        let run = ["run", "r.toml", "--set", &set, "--fresh", "hello"];
        std::thread::scope(|scope| {
            let gc = scope.spawn(|| space.at("one", &["gc", "--remote", "--apply"]).ok());
            space.at("two", &run).ok();
            gc.join().unwrap();
        });
        space.at("two", &["push"]).ok();
        let three = format!("three-{round}");
        let pulled = ["pull", "r.toml", "--set", &set, "--json"];
        let pulled = space.at(&three, &pulled).ok().json();
        assert_eq!(pulled["failed"], serde_json::json!([]));
        assert_eq!(pulled["records"], 3);
        space.at(&three, &["verify", "--all"]).ok();
    }
}
