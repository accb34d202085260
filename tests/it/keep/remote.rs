//! A second tier behind the store: a plain folder that two stores share. What one made is a hit for the other, bytes move when a node
//! needs them, and nothing is believed unlooked at.

use crate::engine::{Ran, Space, Toy, graph, join, metric_steps, run_in, run_store, toy, write};
use anyhow::{Context, Result, bail};
use pipe::base::hash::Key;
use pipe::engine::plan::{self, Wanted};
use pipe::engine::store::remote::Remote;
use pipe::engine::store::{Lookup, Store};
use pipe::engine::system::files::{Blob, tree_digest, tree_digest_with_modes};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

struct Folder {
    root: PathBuf,
    /// Names of the files that were pulled.
    pulled: Mutex<Vec<String>>,
    /// Like a bucket that one may only read.
    read_only: bool,
}

impl Folder {
    fn new(space: &Space) -> Folder {
        let root = space.dir.path().join("remote");
        fs::create_dir_all(&root).unwrap();
        Folder {
            root,
            pulled: Mutex::default(),
            read_only: false,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn pulled(&self) -> Vec<String> {
        let mut pulled = self.pulled.lock().unwrap().clone();
        pulled.sort();
        pulled
    }
}

impl Remote for Folder {
    fn record(&self, key: &Key) -> Result<Option<String>> {
        match fs::read_to_string(self.at(key.as_str())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    fn publish(&self, key: &Key, record: &str) -> Result<bool> {
        let record_file = fs::File::create_new(self.at(key.as_str()));
        match record_file {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            other => other?
                .write_all(record.as_bytes())
                .map(|()| true)
                .context("writing"),
        }
    }

    fn pull(&self, blob: &Blob, to: &Path) -> Result<()> {
        fs::copy(self.at(blob.digest.as_str()), to)?;
        self.pulled.lock().unwrap().push(blob.path.clone());
        Ok(())
    }

    fn push(&self, blob: &Blob, from: &Path) -> Result<()> {
        if self.read_only {
            bail!("access is denied");
        }
        fs::copy(from, self.at(blob.digest.as_str()))?;
        Ok(())
    }
}

fn spec() -> Vec<Toy> {
    vec![
        write("a", "red"),
        write("b", "green"),
        join("ab", "a", Some("b")),
    ]
}

/// With a node that nobody has made yet.
fn longer() -> Vec<Toy> {
    let mut spec = spec();
    spec.push(join("aba", "ab", Some("a")));
    spec
}

fn store(space: &Space, remote: &Arc<Folder>) -> Store {
    space.store().with_remote(remote.clone())
}

fn run(space: &Space, remote: &Arc<Folder>, toys: &[Toy]) -> Ran {
    let store = store(space, remote);
    run_store(&store, &graph(toys), &Wanted::default(), |_| {}, |_| {})
}

/// What `spec` gives, made in one store and published; the space holds the remote as well.
fn published() -> (Space, Arc<Folder>, Ran) {
    let space = Space::new();
    let remote = Arc::new(Folder::new(&space));
    let ran = run(&space, &remote, &spec());
    assert_eq!(ran.states(), ["done"; 3]);
    (space, remote, ran)
}

#[test]
fn what_one_store_published_is_a_hit_in_a_fresh_one_and_no_byte_moves() {
    let (_one, remote, made) = published();
    let other = Space::new();
    let plan = plan::plan(&store(&other, &remote), &graph(&spec()), &Wanted::default()).unwrap();
    assert!(
        plan.nodes
            .iter()
            .all(|n| n.decision.verdict.word() == "hit")
    );
    let ran = run(&other, &remote, &spec());
    assert_eq!(ran.states(), ["hit"; 3]);
    assert_eq!(remote.pulled(), [""; 0]);
    for node in ["a", "b", "ab"] {
        assert_eq!(ran.record(node), made.record(node));
    }
    // Without the remote the records stand, like those of evicted artifacts.
    assert_eq!(other.run(&spec()).states(), ["hit"; 3]);
    let alone = Space::new();
    assert_eq!(alone.run(&spec()).states(), ["done"; 3], "nobody told it");
}

#[test]
fn a_node_that_runs_pulls_the_bytes_of_its_own_inputs_and_publishes_its_record() {
    let (one, remote, _) = published();
    let other = Space::new();
    let ran = run(&other, &remote, &longer());
    assert_eq!(ran.states(), ["hit", "hit", "hit", "done"]);
    assert_eq!(ran.text("aba"), "red green red");
    assert_eq!(remote.pulled(), ["text.txt"; 2], "that of `b` stays away");
    let b = ran.record("b");
    assert!(other.store().is_evicted(&b.key));
    for whole in ["a", "ab"] {
        let record = ran.record(whole);
        assert!(!other.store().is_evicted(&record.key));
        assert!(other.store().verify(&record).unwrap().is_empty());
    }
    assert_eq!(run(&one, &remote, &longer()).states(), ["hit"; 4]);
}

#[test]
fn a_node_that_is_asked_for_by_name_brings_its_bytes() {
    let (_one, remote, _) = published();
    let other = Space::new();
    let graph = graph(&spec());
    let wanted = Wanted {
        only: vec![graph.find("ab").unwrap()],
        ..Wanted::default()
    };
    let ran = run_store(&store(&other, &remote), &graph, &wanted, |_| {}, |_| {});
    assert_eq!(ran.states(), ["hit"; 3]);
    assert_eq!(ran.text("ab"), "red green");
    assert_eq!(remote.pulled(), ["text.txt"]);
}

#[test]
fn bytes_that_are_not_those_of_their_name_are_refused_and_made_here() {
    let (_one, remote, made) = published();
    let damaged = &made.record("a").outputs["out"].files[0];
    fs::write(remote.at(damaged.digest.as_str()), "rad").unwrap();
    let other = Space::new();
    let ran = run(&other, &remote, &longer());
    assert_eq!(ran.states(), ["done", "hit", "hit", "done"]);
    assert_eq!(ran.text("aba"), "red green red");
    assert!(
        ran.said(
            "a",
            "pulling `text.txt`: its bytes are not those of its name"
        ),
        "{:?}",
        ran.events
    );
    for node in ["a", "aba"] {
        let record = ran.record(node);
        assert!(other.store().verify(&record).unwrap().is_empty());
    }
    let blob = other.store().objects().path(&blake3_of("rad"));
    assert!(!blob.exists(), "nothing of it stays");
}

fn blake3_of(text: &str) -> pipe::base::hash::Digest {
    pipe::base::hash::Digest::new(blake3::hash(text.as_bytes()))
}

#[test]
fn a_record_that_is_not_what_was_asked_for_is_refused_and_the_node_runs() {
    let (_one, remote, made) = published();
    let key = made.record("a").key;
    let good = fs::read_to_string(remote.at(key.as_str())).unwrap();
    let other_key = made.record("b").key;
    let of_another = fs::read_to_string(remote.at(other_key.as_str())).unwrap();
    let unsealed = good.split(",\n  \"seal\"").next().unwrap().to_string() + "\n}";
    let mut forged = made.record("a");
    forged.manifest = forged.manifest.replace("red", "blue");
    let mut mixed = made.record("a");
    let artifact = mixed.outputs.get_mut("out").unwrap();
    artifact.files = made.record("b").outputs["out"].files.clone();
    let mut outside = made.record("a");
    let artifact = outside.outputs.get_mut("out").unwrap();
    artifact.files[0].path = "../out".into();
    artifact.digest = tree_digest(&artifact.files);
    for (text, told) in [
        (
            good.replace("\"threads\": 1", "\"threads\": 7"),
            "its seal does not fit",
        ),
        (unsealed, "it has no seal"),
        (of_another, "it is about another key"),
        (
            forged.to_text().unwrap(),
            "its manifest is that of another key",
        ),
        (
            mixed.to_text().unwrap(),
            "the digest of output `out` is not that of its files",
        ),
        (outside.to_text().unwrap(), "is no path inside an artifact"),
        (String::new(), "it has no seal"),
    ] {
        fs::write(remote.at(key.as_str()), text).unwrap();
        let other = Space::new();
        let graph = graph(&spec());
        let plan = plan::plan(&store(&other, &remote), &graph, &Wanted::default()).unwrap();
        let remark = &plan.remarks[&graph.find("a").unwrap()];
        assert!(remark.contains(told), "{told}: {remark}");
        let ran = run(&other, &remote, &spec());
        assert_eq!(ran.states(), ["done", "hit", "hit"], "{told}");
        let log = format!("{:?}", ran.events);
        assert!(log.contains(told), "{told}: {log}");
        assert_eq!(ran.record("a").manifest, made.record("a").manifest);
    }
}

/// Digests of before modes of files were left out of them are believed as they are here.
#[test]
fn a_record_with_an_old_digest_is_taken_over() {
    let (_one, remote, made) = published();
    let mut old = made.record("ab");
    let artifact = old.outputs.get_mut("out").unwrap();
    artifact.files[0].exec = true;
    artifact.digest = tree_digest_with_modes(&artifact.files);
    assert_ne!(artifact.digest, made.record("ab").outputs["out"].digest);
    fs::write(remote.at(old.key.as_str()), old.to_text().unwrap()).unwrap();
    let other = Space::new();
    assert_eq!(run(&other, &remote, &spec()).states(), ["hit"; 3]);
}

/// A remote that answers only when the store asking has made the same meanwhile.
struct Late {
    remote: Arc<Folder>,
    asking: PathBuf,
}

impl Remote for Late {
    fn record(&self, key: &Key) -> Result<Option<String>> {
        let graph = graph(&spec());
        run_in(&self.asking, &graph, &Wanted::default(), |_| {}, |_| {});
        self.remote.record(key)
    }

    fn publish(&self, key: &Key, record: &str) -> Result<bool> {
        self.remote.publish(key, record)
    }

    fn pull(&self, blob: &Blob, to: &Path) -> Result<()> {
        self.remote.pull(blob, to)
    }

    fn push(&self, blob: &Blob, from: &Path) -> Result<()> {
        self.remote.push(blob, from)
    }
}

#[test]
fn what_was_made_here_while_the_remote_was_asked_is_whole() {
    let (_one, remote, made) = published();
    let other = Space::new();
    let late = Late {
        remote: remote.clone(),
        asking: other.dir.path().into(),
    };
    let key = made.record("a").key;
    let found = other.store().with_remote(Arc::new(late)).find_remote(&key);
    let Lookup::Whole(record) = found.unwrap() else {
        panic!("its bytes are here");
    };
    assert!(!other.store().is_evicted(&key));
    assert_ne!(record.provenance.run, made.record("a").provenance.run);
    assert_eq!(remote.pulled(), [""; 0]);
}

#[test]
fn what_was_evicted_here_is_pulled_instead_of_made_again() {
    let (one, remote, made) = published();
    let local = one.store();
    local.evict(&made.record("ab"), "room").unwrap();
    assert_eq!(one.plan(&longer()).words(), ["hit", "hit", "run", "run"]);
    let ran = run(&one, &remote, &longer());
    assert_eq!(ran.states(), ["hit", "hit", "hit", "done"]);
    assert_eq!(ran.text("aba"), "red green red");
}

#[test]
fn a_remote_that_takes_nothing_is_in_nobody_s_way() {
    let space = Space::new();
    let remote = Arc::new(Folder {
        read_only: true,
        ..Folder::new(&space)
    });
    let ran = run(&space, &remote, &spec());
    assert_eq!(ran.states(), ["done"; 3]);
    assert!(ran.said("ab", "publishing record "), "{:?}", ran.events);
    assert_eq!(run(&space, &remote, &spec()).states(), ["hit"; 3]);
    assert_eq!(fs::read_dir(&remote.root).unwrap().count(), 0);
}

#[test]
fn logs_come_with_their_record() {
    let space = Space::new();
    let remote = Arc::new(Folder::new(&space));
    let spec = [toy(&crate::toys::SLOW, "slow").with("ticks", 3)];
    let made = run(&space, &remote, &spec).record("slow");
    let other = Space::new();
    let ran = run(&other, &remote, &spec);
    assert_eq!(ran.states(), ["hit"]);
    let logs: Vec<_> = made.logs.iter().map(|blob| blob.path.clone()).collect();
    assert_eq!(remote.pulled(), logs);
    assert_eq!(
        metric_steps(&other.store(), &ran.record("slow")),
        metric_steps(&space.store(), &made)
    );
}
