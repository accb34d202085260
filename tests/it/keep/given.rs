//! What several give to a remote at once while somebody makes room there: what went comes back, whatever was looked at in between.

use super::bucket::Server;
use crate::engine::{Space, graph, run_store, write};
use pipe::base::hash::{Digest, Key};
use pipe::engine::events::event::{Event, State};
use pipe::engine::plan::Wanted;
use pipe::engine::store::remote::{Anyone, Remote, Signature, Signed};
use pipe::engine::system::files::Blob;
use pipe::remote::{Address, Bucket, pack};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A bucket, and files for it.
struct Lab {
    dir: TempDir,
    server: Arc<Server>,
    bucket: Arc<Bucket>,
}

impl Lab {
    fn new() -> Lab {
        let server = Server::start(Duration::ZERO);
        let address = Address::parse("s3://lab/one").unwrap();
        Lab {
            dir: tempfile::tempdir().unwrap(),
            bucket: Arc::new(Bucket::new(address, server.variables())),
            server: Arc::new(server),
        }
    }

    fn file(&self, text: &str) -> (Blob, PathBuf) {
        let path = self.dir.path().join(text);
        fs::write(&path, text).unwrap();
        let blob = Blob {
            path: text.into(),
            digest: Digest::new(blake3::hash(text.as_bytes())),
            size: text.len() as u64,
            exec: false,
        };
        (blob, path)
    }

    fn give(&self, (blob, path): &(Blob, PathBuf)) {
        self.bucket.push(blob, path).unwrap();
    }

    fn has(&self, (blob, _): &(Blob, PathBuf)) -> bool {
        !self.server.names(blob.digest.as_str()).is_empty()
    }
}

/// Somebody makes room: of this blob he saw what lay there before it was written again.
fn sweep(server: &Server, blob: &Blob) {
    server.forget("/gc/");
    server.add(&format!("/lab/one/gc/swept-{}", blob.path), vec![]);
    server.forget(blob.digest.as_str());
}

#[test]
fn what_is_given_while_others_are_looked_at_is_looked_at_the_next_time() {
    // While it is asked whether somebody makes room, who does not; and while it is asked what went, as he did.
    for (method, path, swept) in [("GET", "?one/gc", false), ("HEAD", "/objects/", true)] {
        let lab = Lab::new();
        let (first, second) = (lab.file("first"), lab.file("second"));
        lab.give(&first);
        if swept {
            sweep(&lab.server, &first.0);
        }
        let (server, bucket, more) = (lab.server.clone(), lab.bucket.clone(), second.clone());
        lab.server.meanwhile(method, path, move || {
            bucket.push(&more.0, &more.1).unwrap();
            sweep(&server, &more.0);
        });
        lab.bucket.settle().unwrap();
        assert!(lab.has(&first), "{method}");
        assert!(!lab.has(&second), "it went: {method}");
        lab.bucket.settle().unwrap();
        assert!(lab.has(&second), "{method}");
    }
}

/// It is in no list of what was given when `gc/` is looked at, and went before that.
#[test]
fn what_is_on_its_way_while_others_are_looked_at_is_looked_at_the_next_time() {
    let lab = Lab::new();
    let (first, second) = (lab.file("first"), lab.file("second"));
    lab.give(&first);
    let (server, bucket, going) = (lab.server.clone(), lab.bucket.clone(), second.0.clone());
    lab.server
        .meanwhile("PUT", second.0.digest.as_str(), move || {
            sweep(&server, &going);
            bucket.settle().unwrap();
        });
    lab.give(&second);
    assert!(!lab.has(&second), "it went");
    lab.bucket.settle().unwrap();
    assert!(lab.has(&second));
}

/// One that cannot be given back is tried again, and keeps no other from coming back.
#[test]
fn what_cannot_be_given_back_is_in_no_other_s_way() {
    let lab = Lab::new();
    let files = ["one", "two", "three"].map(|text| lab.file(text));
    files.iter().for_each(|file| lab.give(file));
    files.iter().for_each(|(blob, _)| sweep(&lab.server, blob));
    let (blob, path) = files
        .iter()
        .min_by_key(|(blob, _)| blob.digest.clone())
        .unwrap();
    fs::rename(path, path.with_extension("away")).unwrap();
    let error = format!("{:#}", lab.bucket.settle().unwrap_err());
    assert!(error.contains(&blob.path), "{error}");
    let there = files.iter().filter(|file| lab.has(file)).count();
    assert_eq!(there, 2);
    fs::rename(path.with_extension("away"), path).unwrap();
    lab.bucket.settle().unwrap();
    assert!(files.iter().all(|file| lab.has(file)));
}

/// The record of somebody else stands, and names the same bytes.
#[test]
fn what_a_run_gives_for_a_record_that_is_there_is_looked_at_again() {
    let lab = Lab::new();
    let at = |space: &Space| {
        let address = Address::parse("s3://lab/one").unwrap();
        let bucket = Bucket::new(address, lab.server.variables()).with_leases(None);
        let store = space.store();
        store.with_remote(Arc::new(bucket), Arc::new(Anyone))
    };
    let spec = [write("a", "red")];
    let other = Space::new();
    let made = other.run(&spec).record("a");
    let blob = &made.outputs["out"].files[0];
    let hear = |event: &Event| {
        let state = match event {
            Event::State { state, .. } => state,
            _ => return,
        };
        if matches!(state, State::Running { .. }) {
            at(&other).publish(&made, true, &|| false).unwrap();
            let (server, going) = (lab.server.clone(), blob.clone());
            let gone = move || sweep(&server, &going);
            lab.server.meanwhile("PUT", blob.digest.as_str(), gone);
        }
    };
    let store = at(&Space::new());
    let ran = run_store(&store, &graph(&spec), &Wanted::default(), |_| {}, hear);
    assert_eq!(ran.states(), ["done"]);
    assert_eq!(lab.server.names("/gc/").len(), 1, "somebody made room");
    assert_eq!(lab.server.names(blob.digest.as_str()).len(), 1);
    assert_eq!(lab.server.names("/actions/").len(), 1);
}

/// Somebody's words would take the room of those that count.
#[test]
fn a_record_with_more_words_than_a_pack_has_room_for_is_in_none_that_is_made_of_many() {
    const MANY: usize = 64;
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    fs::create_dir(&index).unwrap();
    let bucket = || {
        let address = Address::parse(dir.path().to_str().unwrap()).unwrap();
        Bucket::new(address, BTreeMap::new())
    };
    let [crowded, other, new] = [1, 2, 3].map(|n| Key::from_bytes(&[n; 32]));
    let said = |text: &str, signers: Vec<String>| Signed {
        text: text.into(),
        signatures: signers
            .into_iter()
            .map(|signer| Signature {
                signer,
                text: "a word".into(),
            })
            .collect(),
    };
    for n in 0..MANY {
        let two = [0, 1].map(|i| format!("somebody-{n}-{i}")).to_vec();
        let records = [
            (crowded.clone(), said("one", two)),
            (other.clone(), said("other", vec!["ada".into()])),
        ];
        let (name, bytes) = pack(&records.into()).unwrap();
        fs::write(index.join(name), bytes).unwrap();
    }
    let count = |bucket: &Bucket, key: &Key| bucket.known(key).len();
    let own = bucket();
    let words = own.known(&crowded).remove(0).signatures;
    assert_eq!(words.len(), 2 * MANY);
    let published = own.publish(&new, &said("new", vec![]), &|_| true);
    published.unwrap();
    own.settle().unwrap();
    assert_eq!(fs::read_dir(&index).unwrap().count(), 2);
    let afresh = bucket();
    let known = [&crowded, &other, &new].map(|key| count(&afresh, key));
    assert_eq!(known, [0, 1, 1], "it is asked for by its key");
}
