//! A second tier behind the store: a folder that two stores share. What one made is a hit for the other, bytes move when a node needs
//! them, and nothing is believed unlooked at.

use crate::engine::{Ran, Space, Toy, graph, join, metric_steps, run_store, toy, write};
use anyhow::{Result, bail};
use pipe::base::hash::{Digest, Key};
use pipe::engine::graph::changes::Reason;
use pipe::engine::plan::{self, Asking, Planned, Wanted};
use pipe::engine::store::Store;
use pipe::engine::store::remote::{
    Anyone, Lacking, Leased, Published, Reconciled, Remote, Signature, Signed, Terms, Trust,
    Version, Wait,
};
use pipe::engine::system::files::{Blob, tree_digest, tree_digest_with_modes};
use pipe::remote::{Address, Bucket};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A folder, as each store that shares it sees it afresh.
pub struct Folder {
    root: PathBuf,
    /// Names of the files that were pulled.
    pulled: Mutex<Vec<String>>,
    /// For the next pulls of so many bytes, the last one first: they fail, each after so many milliseconds.
    broken: Mutex<BTreeMap<u64, Vec<u64>>>,
}

impl Folder {
    fn new(space: &Space) -> Folder {
        let root = space.dir.path().join("remote");
        fs::create_dir_all(&root).unwrap();
        Folder {
            root,
            pulled: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    fn bucket(&self) -> Bucket {
        let address = Address::parse(self.root.to_str().unwrap()).unwrap();
        Bucket::new(address, BTreeMap::new())
    }

    fn record(&self, key: &Key) -> PathBuf {
        let name = format!("{key}.json");
        self.root.join("actions").join(key.shard()).join(name)
    }

    fn object(&self, digest: &Digest) -> PathBuf {
        let folder = self.root.join("objects").join(digest.shard());
        folder.join(digest.as_str())
    }

    /// From now on what is there is found by asking for it.
    fn forget_index(&self) {
        let _ = fs::remove_dir_all(self.root.join("index"));
    }

    fn pulled(&self) -> Vec<String> {
        let mut pulled = std::mem::take(&mut *self.pulled.lock().unwrap());
        pulled.sort();
        pulled
    }
}

/// A bucket that writes down what is pulled.
struct Watched {
    folder: Arc<Folder>,
    bucket: Bucket,
}

impl Remote for Watched {
    fn name(&self) -> &str {
        self.bucket.name()
    }

    fn is_open(&self) -> bool {
        self.bucket.is_open()
    }

    fn takes(&self) -> bool {
        self.bucket.takes()
    }

    fn moved(&self) -> u64 {
        self.bucket.moved()
    }

    fn close(&self) {
        self.bucket.close();
    }

    fn remark(&self) -> Option<String> {
        self.bucket.remark()
    }

    fn known(&self, key: &Key) -> Vec<Signed> {
        self.bucket.known(key)
    }

    fn records(&self, keys: &[&Key], trusted: &[String]) -> Vec<Result<Option<Signed>>> {
        self.bucket.records(keys, trusted)
    }

    fn publish(
        &self,
        key: &Key,
        record: &Signed,
        sound: &dyn Fn(&str) -> bool,
    ) -> Result<Published> {
        self.bucket.publish(key, record, sound)
    }

    fn pull(
        &self,
        blob: &Blob,
        from: u64,
        into: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut broken = self.folder.broken.lock().unwrap();
        let after = broken.get_mut(&blob.size).and_then(Vec::pop);
        drop(broken);
        if let Some(after) = after {
            thread::sleep(Duration::from_millis(after));
            bail!("the line was cut");
        }
        self.bucket.pull(blob, from, into)?;
        self.folder.pulled.lock().unwrap().push(blob.path.clone());
        Ok(())
    }

    fn push(&self, blob: &Blob, from: &Path) -> Result<()> {
        self.bucket.push(blob, from)
    }

    fn lacking(&self, blobs: &[&Blob]) -> Result<Lacking> {
        self.bucket.lacking(blobs)
    }

    fn doubt(&self, digest: &Digest) {
        self.bucket.doubt(digest);
    }

    fn reconcile(
        &self,
        whole: bool,
        sound: &dyn Fn(&Key, &str) -> Result<()>,
    ) -> Result<Reconciled> {
        self.bucket.reconcile(whole, sound)
    }

    fn settle(&self) -> Result<()> {
        self.bucket.settle()
    }

    fn terms(&self) -> Option<Terms> {
        self.bucket.terms()
    }

    fn lease(&self, key: &Key, wait: Wait) -> Result<Option<Leased>> {
        self.bucket.lease(key, wait)
    }

    fn put_lease(
        &self,
        key: &Key,
        text: &str,
        over: Option<&Version>,
        wait: Wait,
    ) -> Result<Option<Version>> {
        self.bucket.put_lease(key, text, over, wait)
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
    let watched = Watched {
        folder: remote.clone(),
        bucket: remote.bucket(),
    };
    space
        .store()
        .with_remote(Arc::new(watched), Arc::new(Anyone))
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
    fs::write(remote.object(&damaged.digest), "rad").unwrap();
    let other = Space::new();
    let ran = run(&other, &remote, &longer());
    assert_eq!(ran.states(), ["done", "hit", "hit", "done"]);
    assert_eq!(ran.text("aba"), "red green red");
    let log = format!("{:?}", ran.events);
    let refusals = log.matches("its bytes are not those of its name").count();
    assert_eq!(refusals, 1, "{log}");
    for node in ["a", "aba"] {
        let record = ran.record(node);
        assert!(other.store().verify(&record).unwrap().is_empty());
    }
    let blob = other.store().objects().path(&blake3_of("rad"));
    assert!(!blob.exists(), "nothing of it stays");
}

/// The second of two nodes that want the same bytes hears that they do not come when they have been made here for the first.
#[test]
fn bytes_that_two_wait_for_are_made_once() {
    let (_one, remote, _) = published();
    let size = "red green".len() as u64;
    *remote.broken.lock().unwrap() = [(size, vec![1500, 200])].into();
    let mut toys = spec();
    toys.push(join("x", "ab", None));
    toys.push(join("y", "ab", Some("ab")));
    let other = Space::new();
    let ran = run(&other, &remote, &toys);
    let log = format!("{:?}", ran.events);
    assert_eq!(log.matches("the line was cut; it is made here").count(), 2);
    // Whose pull fails first is up to the threads, and whether a third one then brings them before they are made.
    let states = ran.states();
    assert!(["hit", "done"].contains(&states[2].as_str()), "{states:?}");
    assert_eq!(states[3..], ["done", "done"]);
    assert_eq!(ran.text("x"), "red green");
    assert_eq!(ran.text("y"), "red green red green");
    assert_eq!(remote.broken.lock().unwrap()[&size], [0; 0]);
}

fn blake3_of(text: &str) -> Digest {
    Digest::new(blake3::hash(text.as_bytes()))
}

#[test]
fn a_record_that_is_not_what_was_asked_for_is_refused_and_the_node_runs() {
    let (_one, remote, made) = published();
    remote.forget_index();
    let key = made.record("a").key;
    let good = fs::read_to_string(remote.record(&key)).unwrap();
    let other_key = made.record("b").key;
    let of_another = fs::read_to_string(remote.record(&other_key)).unwrap();
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
        // Whoever makes it gives a good one instead of a torn one.
        remote.forget_index();
        fs::write(remote.record(&key), text).unwrap();
        let other = Space::new();
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
    remote.forget_index();
    fs::write(remote.record(&old.key), old.to_text().unwrap()).unwrap();
    let other = Space::new();
    assert_eq!(run(&other, &remote, &spec()).states(), ["hit"; 3]);
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

/// A folder that is a file cannot be written to, whoever one is.
#[test]
fn a_remote_that_takes_nothing_is_in_nobody_s_way() {
    let space = Space::new();
    let remote = Arc::new(Folder::new(&space));
    fs::write(remote.root.join("objects"), "in the way").unwrap();
    let ran = run(&space, &remote, &spec());
    assert_eq!(ran.states(), ["done"; 3]);
    let log = format!("{:?}", ran.events);
    assert!(log.contains("publishing record "), "{log}");
    assert_eq!(run(&space, &remote, &spec()).states(), ["hit"; 3]);
    assert!(!remote.root.join("actions").exists(), "bytes go first");
}

#[test]
fn logs_come_when_somebody_reads_them() {
    let space = Space::new();
    let remote = Arc::new(Folder::new(&space));
    let spec = [toy(&crate::toys::SLOW, "slow").with("ticks", 3)];
    let made = run(&space, &remote, &spec).record("slow");
    let other = Space::new();
    let ran = run(&other, &remote, &spec);
    assert_eq!(ran.states(), ["hit"]);
    assert_eq!(remote.pulled(), [""; 0]);
    let there = store(&other, &remote);
    assert_eq!(
        metric_steps(&there, &ran.record("slow")),
        metric_steps(&space.store(), &made)
    );
    assert_eq!(remote.pulled(), ["metrics.jsonl"]);
    assert_eq!(metric_steps(&other.store(), &made).len(), 3, "it stays");
}

#[test]
fn a_plan_makes_nothing_and_asks_the_index_alone() {
    let (_one, remote, made) = published();
    fs::remove_dir_all(remote.root.join("actions")).unwrap();
    let other = Space::new();
    let store = store(&other, &remote);
    let graph = graph(&spec());
    let plan = plan::plan(&store, &graph, &Wanted::default()).unwrap();
    assert!(
        plan.nodes
            .iter()
            .all(|n| n.decision.verdict.word() == "hit")
    );
    assert!(other.store().records().unwrap().is_empty());
    // Whoever reads through this store sees what was found.
    let key = made.record("ab").key;
    assert_eq!(store.record(&key).unwrap().unwrap(), made.record("ab"));
    let found = store.found(&key).unwrap();
    assert_eq!(found.remote, remote.root.to_str().unwrap());
    assert_eq!(found.signer, None);
}

#[test]
fn what_is_not_in_the_index_is_asked_for_and_the_index_is_named() {
    let (_one, remote, _) = published();
    remote.forget_index();
    let other = Space::new();
    let graph = graph(&spec());
    for asking in [Asking::Some, Asking::All] {
        let store = store(&other, &remote);
        let plan = plan::plan_asking(&store, &graph, &Wanted::default(), asking).unwrap();
        let hit = |n: &Planned| n.decision.verdict.word() == "hit";
        assert!(plan.nodes.iter().all(hit), "{asking:?}");
        let told: Vec<&String> = plan.remarks.values().collect();
        match asking {
            Asking::Some => {
                assert_eq!(told.len(), 1, "{told:?}");
                let words = "lacks 3 records that lie there (found by name): `pipe push`";
                assert!(told[0].contains(words), "{told:?}");
            }
            // Whoever wants everything gets it.
            Asking::All => assert!(told.is_empty(), "{told:?}"),
        }
    }
    let ran = run(&other, &remote, &spec());
    assert_eq!(ran.states(), ["hit"; 3]);
    assert!(other.store().found(&ran.record("ab").key).is_some());
}

/// A part of it that is gone is noticed as well, wherever the nodes stand that it had.
#[test]
fn of_thousands_that_the_index_lacks_some_are_asked_for() {
    let space = Space::new();
    let remote = Arc::new(Folder::new(&space));
    let toys: Vec<Toy> = (0..300)
        .map(|n| write(&format!("w{n}"), &format!("{n}")))
        .collect();
    run(&space, &remote, &toys);
    remote.forget_index();
    let store = store(&Space::new(), &remote);
    let plan = plan::plan(&store, &graph(&toys), &Wanted::default()).unwrap();
    let hits = plan.nodes.iter();
    let hits = hits.filter(|n| n.decision.verdict.word() == "hit").count();
    assert_eq!(hits, 256);
    let told: Vec<&String> = plan.remarks.values().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("lacks 256 records"), "{told:?}");
    assert!(told[0].contains("not all were asked for"), "{told:?}");
}

/// Records that are only in `actions/` go into the index, whoever made them; what is no record stays out, and is named.
#[test]
fn an_index_is_made_of_what_lies_there() {
    let (one, remote, made) = published();
    let reconcile = |whole: bool| {
        let store = store(&one, &remote);
        store.reconcile(whole).unwrap()
    };
    assert_eq!(
        reconcile(false),
        Reconciled::default(),
        "nothing is lacking"
    );
    assert_eq!(reconcile(true), Reconciled::default());
    remote.forget_index();
    fs::write(remote.record(&made.record("b").key), "half").unwrap();
    let found = reconcile(false);
    assert_eq!(found.indexed, 2);
    let wrong: Vec<(&Key, &String)> = found.wrong.iter().collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!(*wrong[0].0, made.record("b").key);
    assert!(wrong[0].1.contains("it has no seal"), "{wrong:?}");
    let other = Space::new();
    let store = store(&other, &remote);
    let plan = plan::plan(&store, &graph(&spec()), &Wanted::default()).unwrap();
    let words = plan.nodes.iter().map(|n| n.decision.verdict.word());
    assert_eq!(words.collect::<Vec<_>>(), ["hit", "run", "maybe"]);
    let told: Vec<&String> = plan.remarks.values().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("it has no seal"), "{told:?}");
}

/// What the index has of a record that is torn or gone where it lies is not believed by who gives it again.
#[test]
fn a_record_that_only_the_index_has_is_given_again() {
    for torn in [true, false] {
        let (one, remote, made) = published();
        let path = remote.record(&made.record("a").key);
        let good = fs::read_to_string(&path).unwrap();
        match torn {
            // As many bytes, so that it has to be read.
            true => fs::write(&path, good.replace("red", "rad")).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        let store = store(&one, &remote);
        let found = store.reconcile(torn).unwrap();
        let of = [found.indexed, found.wrong.len(), found.gone.len()];
        assert_eq!(of, [0, usize::from(torn), usize::from(!torn)]);
        let published = store.publish(&made.record("a"), true, &|| false).unwrap();
        assert_eq!(published, Some(Published::New));
        assert_eq!(fs::read_to_string(&path).unwrap(), good);
    }
}

/// A large blob is looked for by its size alone, unless somebody has read it and found something else.
#[test]
fn bytes_that_somebody_found_wrong_are_written_again() {
    let space = Space::new();
    let remote = Arc::new(Folder::new(&space));
    let toys = [
        write("w", &"x".repeat(1_500_000)),
        join("j", "w", Some("w")),
    ];
    let ran = run(&space, &remote, &toys);
    let record = ran.record("w");
    let blob = &record.outputs["out"].files[0];
    let good = fs::read(remote.object(&blob.digest)).unwrap();
    let mut bad = good.clone();
    bad[7] ^= 1;
    let damage = || {
        fs::remove_file(remote.object(&blob.digest)).unwrap();
        fs::write(remote.object(&blob.digest), &bad).unwrap();
    };
    damage();
    // By its size it is there.
    let there = store(&space, &remote);
    there.publish(&record, true, &|| false).unwrap();
    assert_eq!(fs::read(remote.object(&blob.digest)).unwrap(), bad);
    assert_eq!(there.doubt_remote(&[blob]).blobs.len(), 1);
    let lacking = |store: &Store| store.remote().unwrap().lacking(&[blob]).unwrap();
    assert_eq!(lacking(&there).wrong, [blob.digest.clone()].into());
    there.publish(&record, true, &|| false).unwrap();
    assert_eq!(fs::read(remote.object(&blob.digest)).unwrap(), good);
    assert!(there.doubt_remote(&[blob]).blobs.is_empty());
    assert_eq!(lacking(&there), Lacking::default());
    // Who meets it on arrival makes it here, and puts it right in the same run.
    damage();
    let other = Space::new();
    let mut more = toys.to_vec();
    more.push(join("again", "w", Some("j")));
    let ran = run(&other, &remote, &more);
    assert_eq!(ran.states(), ["done", "hit", "done"]);
    assert_eq!(fs::read(remote.object(&blob.digest)).unwrap(), good);
}

/// Somebody removes what is old between the last look at it and the end of a push that wrote it again.
#[test]
fn what_goes_while_it_is_given_is_given_again() {
    for (swept, back) in [(true, true), (false, false)] {
        let space = Space::new();
        let remote = Arc::new(Folder::new(&space));
        let ran = space.run(&spec());
        let there = store(&space, &remote);
        let record = ran.record("a");
        there.publish(&record, false, &|| false).unwrap();
        let path = remote.object(&record.outputs["out"].files[0].digest);
        fs::remove_file(&path).unwrap();
        if swept {
            fs::create_dir(remote.root.join("gc")).unwrap();
            fs::write(remote.root.join("gc/swept-1"), "").unwrap();
        }
        there.remote().unwrap().settle().unwrap();
        assert_eq!(
            path.exists(),
            back,
            "where nobody made room nothing is looked at again"
        );
    }
}

#[test]
fn bytes_that_never_were_here_are_not_said_to_have_been_removed() {
    let (_one, remote, made) = published();
    let other = Space::new();
    assert_eq!(run(&other, &remote, &spec()).states(), ["hit"; 3]);
    // Without the remote.
    let plan = other.plan(&longer());
    assert_eq!(plan.words(), ["run"; 4]);
    assert_eq!(plan.reasons("a"), [Reason::NeverHere]);
    // What was here and went is another thing.
    let ran = run(&other, &remote, &longer());
    assert_eq!(ran.states(), ["hit", "hit", "hit", "done"]);
    other.store().evict(&made.record("a"), "room").unwrap();
    let plan = other.plan(&[write("a", "red"), join("aa", "a", Some("a"))]);
    assert_eq!(plan.reasons("a"), [Reason::Evicted]);
}

/// A create-only upload whose connection was cut is stored by some servers as an empty object.
#[test]
fn an_empty_object_under_a_record_s_name_is_replaced() {
    let (one, remote, made) = published();
    remote.forget_index();
    for node in ["a", "ab"] {
        fs::write(remote.record(&made.record(node).key), "").unwrap();
    }
    let store = store(&one, &remote);
    let published = |node: &str| store.publish(&made.record(node), false, &|| false).unwrap();
    assert_eq!(published("a"), Some(Published::New));
    assert_eq!(published("a"), Some(Published::Same));
    let other = Space::new();
    assert_eq!(
        run(&other, &remote, &spec()).states(),
        ["hit", "hit", "done"]
    );
}

#[test]
fn what_broke_off_is_gone_on_with() {
    let (_one, remote, made) = published();
    let blob = &made.record("ab").outputs["out"].files[0];
    let other = Space::new();
    let store = store(&other, &remote);
    fs::create_dir_all(store.tmp()).unwrap();
    let part = store.tmp().join(format!("pull-{}", blob.digest));
    // It is not looked at again where it came from: only the rest of it is asked for.
    fs::write(&part, "red ").unwrap();
    fs::write(
        remote.object(&blob.digest),
        "???? green".replace("???? ", "____"),
    )
    .unwrap();
    assert_eq!(store.objects().read_text(blob).unwrap(), "red green");
    assert!(!part.exists());
    // What is wrong is thrown away, not gone on with.
    let blob = &made.record("b").outputs["out"].files[0];
    let part = store.tmp().join(format!("pull-{}", blob.digest));
    fs::write(&part, "gre??").unwrap();
    let error = format!("{:#}", store.objects().read(blob).unwrap_err());
    assert!(error.contains("not those of its name"), "{error}");
    assert_eq!(store.objects().read_text(blob).unwrap(), "green");
}

/// Believes what `ada` signed, and signs as who it is.
struct Circle(&'static str);

impl Trust for Circle {
    fn signer(&self, record: &Signed) -> Result<Option<String>> {
        let by = |s: &&Signature| s.signer == "ada" && s.text == seal(&record.text);
        let ada = record.signatures.iter().find(by);
        ada.map(|s| Some(s.signer.clone()))
            .ok_or_else(|| anyhow::anyhow!("nobody who is trusted signed it"))
    }

    fn trusted(&self) -> Vec<String> {
        vec!["ada".into()]
    }

    fn sign(&self, text: &str) -> Result<Option<Signature>> {
        Ok(Some(Signature {
            signer: self.0.into(),
            text: seal(text),
        }))
    }
}

fn seal(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn run_as(space: &Space, remote: &Arc<Folder>, who: &'static str, toys: &[Toy]) -> Ran {
    let store = space.store();
    let store = store.with_remote(Arc::new(remote.bucket()), Arc::new(Circle(who)));
    run_store(&store, &graph(toys), &Wanted::default(), |_| {}, |_| {})
}

#[test]
fn who_is_not_trusted_is_named_and_the_node_is_made_here() {
    let (eve, ada, bob) = (Space::new(), Space::new(), Space::new());
    let remote = Arc::new(Folder::new(&eve));
    assert_eq!(
        run_as(&eve, &remote, "eve", &spec()[..1]).states(),
        ["done"]
    );
    // Her record stays where it is: nobody can take it away, and nobody uses it.
    let ran = run_as(&ada, &remote, "ada", &spec());
    assert_eq!(ran.states(), ["done"; 3]);
    let log = format!("{:?}", ran.events);
    assert!(log.contains("nobody who is trusted signed it"), "{log}");
    for index in [true, false] {
        if !index {
            remote.forget_index();
        }
        let bob = if index { &bob } else { &Space::new() };
        let ran = run_as(bob, &remote, "bob", &spec());
        assert_eq!(ran.states(), ["done", "hit", "hit"]);
        let found = bob.store().found(&ran.record("ab").key).unwrap();
        assert_eq!(found.signer.as_deref(), Some("ada"));
    }
}

/// Signatures are looked at beside the plan: one that is nobody's undoes what was planned with it, and nothing else.
#[test]
fn a_stranger_in_the_middle_of_a_plan_is_named_and_the_others_are_taken() {
    let (eve, ada, bob) = (Space::new(), Space::new(), Space::new());
    let remote = Arc::new(Folder::new(&eve));
    run_as(&eve, &remote, "eve", &spec()[..1]);
    let made = run_as(&ada, &remote, "ada", &longer());
    let store = bob.store();
    let store = store.with_remote(Arc::new(remote.bucket()), Arc::new(Circle("bob")));
    let plan = plan::plan(&store, &graph(&longer()), &Wanted::default()).unwrap();
    let words = plan.nodes.iter().map(|n| n.decision.verdict.word());
    assert_eq!(words.collect::<Vec<_>>(), ["run", "hit", "maybe", "maybe"]);
    let told: Vec<&String> = plan.remarks.values().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("nobody who is trusted signed it"),
        "{told:?}"
    );
    let signer = |node: &str| {
        let found = store.found(&made.record(node).key);
        found.map(|found| found.signer)
    };
    assert_eq!(signer("b"), Some(Some("ada".into())));
    assert_eq!(
        signer("ab"),
        None,
        "what was taken for a while is not there any more"
    );
}

#[test]
fn packs_that_have_become_many_are_made_one() {
    let space = Space::new();
    let remote = Arc::new(Folder::new(&space));
    let index = || fs::read_dir(remote.root.join("index")).map_or(0, Iterator::count);
    let word = |n: usize| format!("w{n}");
    for n in 0..66 {
        let ran = run(&space, &remote, &[write("a", &word(n))]);
        assert_eq!(ran.states(), ["done"]);
    }
    assert!(index() < 10, "{}", index());
    let other = Space::new();
    for n in [0, 30, 65] {
        let store = store(&other, &remote);
        let graph = graph(&[write("a", &word(n))]);
        let plan = plan::plan(&store, &graph, &Wanted::default()).unwrap();
        assert_eq!(plan.nodes[0].decision.verdict.word(), "hit", "{n}");
    }
}

#[test]
fn who_only_looks_where_there_is_no_store_reads_and_leaves_nothing() {
    let (_one, remote, made) = published();
    let other = Space::new();
    let root = other.dir.path().join("not-yet");
    let looking = Store::look(&root).unwrap();
    let looking = looking.with_remote(Arc::new(remote.bucket()), Arc::new(Anyone));
    let blob = &made.record("a").outputs["out"].files[0];
    assert_eq!(looking.objects().read(blob).unwrap(), b"red");
    let mut lines = vec![];
    let mut each = |line: &str| {
        lines.push(line.to_string());
        Ok(())
    };
    looking.objects().lines(blob, &mut each).unwrap();
    assert_eq!(lines, ["red"]);
    assert!(!root.exists());
    fs::write(remote.object(&blob.digest), "rad").unwrap();
    let told = format!("{:#}", looking.objects().read(blob).unwrap_err());
    assert!(
        told.contains("its bytes are not those of its name"),
        "{told}"
    );
    assert!(
        looking
            .objects()
            .lines(blob, &mut |_| panic!("it is not to be read"))
            .is_err()
    );
    assert!(!root.exists());
}

/// The same node made twice by the same hand has two texts, and a signature of each.
#[test]
fn a_second_record_of_a_node_takes_nothing_from_the_first() {
    let (one, two) = (Space::new(), Space::new());
    let remote = Arc::new(Folder::new(&one));
    assert_eq!(run_as(&one, &remote, "ada", &spec()).states(), ["done"; 3]);
    let again = two.run(&spec());
    remote.forget_index();
    let store = two.store();
    let store = store.with_remote(Arc::new(remote.bucket()), Arc::new(Circle("ada")));
    for node in ["a", "b", "ab"] {
        let record = again.record(node);
        let published = store.publish(&record, false, &|| false).unwrap();
        let Some(Published::Other(there)) = published else {
            panic!("{published:?}");
        };
        assert_ne!(there, record.to_text().unwrap());
        let signatures = remote.root.join("sigs").join(record.key.shard());
        let signatures = fs::read_dir(signatures.join(record.key.as_str())).unwrap();
        assert_eq!(signatures.count(), 2, "{node}");
    }
    store.remote().unwrap().settle().unwrap();
    let bob = Space::new();
    let ran = run_as(&bob, &remote, "bob", &spec());
    assert_eq!(ran.states(), ["hit"; 3]);
    let found = bob.store().found(&ran.record("a").key).unwrap();
    assert_eq!(found.signer.as_deref(), Some("ada"));
}

/// Whoever may write to the index may lay another record of a key there: the one that is believed counts, wherever it stands.
#[test]
fn a_strange_record_in_the_index_hides_no_good_one() {
    let (eve, ada) = (Space::new(), Space::new());
    let (remote, aside) = (Folder::new(&ada), Folder::new(&eve));
    let (remote, aside) = (Arc::new(remote), Arc::new(aside));
    assert_eq!(run_as(&ada, &remote, "ada", &spec()).states(), ["done"; 3]);
    assert_eq!(run_as(&eve, &aside, "eve", &spec()).states(), ["done"; 3]);
    for entry in fs::read_dir(aside.root.join("index")).unwrap() {
        let entry = entry.unwrap();
        let to = remote.root.join("index").join(entry.file_name());
        fs::copy(entry.path(), to).unwrap();
    }
    let bob = Space::new();
    let store = bob.store();
    let store = store.with_remote(Arc::new(remote.bucket()), Arc::new(Circle("bob")));
    let key = ada.store().records().unwrap()[0].key.clone();
    assert_eq!(store.remote().unwrap().known(&key).len(), 2);
    let plan = plan::plan(&store, &graph(&spec()), &Wanted::default()).unwrap();
    assert!(plan.remarks.is_empty(), "{:?}", plan.remarks);
    assert!(
        plan.nodes
            .iter()
            .all(|n| n.decision.verdict.word() == "hit")
    );
    assert_eq!(store.found(&key).unwrap().signer.as_deref(), Some("ada"));
}

/// What no reader takes is not written: neither a part of the index nor a record.
#[test]
fn an_index_of_large_records_has_parts_that_are_read() {
    /// So much of a part is read.
    const MOST: u64 = 64 << 20;
    let space = Space::new();
    let remote = Folder::new(&space);
    let mut text = vec![0; 15 << 20];
    let mut keys = vec![];
    for n in 0..6_u8 {
        // Of six bits a byte, which is all that packing finds.
        let mut noise = blake3::Hasher::new().update(&[n]).finalize_xof();
        noise.fill(&mut text);
        text.iter_mut().for_each(|byte| *byte = b'0' + (*byte & 63));
        let key = Key::from_bytes(&[n; 32]);
        fs::create_dir_all(remote.record(&key).parent().unwrap()).unwrap();
        fs::write(remote.record(&key), &text).unwrap();
        keys.push(key);
    }
    let reconciled = remote.bucket().reconcile(false, &|_, _| Ok(())).unwrap();
    assert_eq!(reconciled.indexed, 6);
    let parts = fs::read_dir(remote.root.join("index")).unwrap();
    let sizes: Vec<u64> = parts
        .map(|p| p.unwrap().metadata().unwrap().len())
        .collect();
    assert!(sizes.iter().sum::<u64>() > MOST, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= MOST), "{sizes:?}");
    let bucket = remote.bucket();
    assert!(keys.iter().all(|key| bucket.known(key).len() == 1));

    let key = Key::from_bytes(&[9; 32]);
    let large = Signed {
        text: "x".repeat((16 << 20) + 1),
        signatures: vec![],
    };
    let error = bucket.publish(&key, &large, &|_| true).unwrap_err();
    assert!(format!("{error:#}").contains("larger than"), "{error:#}");
    assert!(!remote.record(&key).exists());
}
