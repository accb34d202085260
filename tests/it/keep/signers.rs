//! Whose records are believed: signatures over the whole text of a record, by keys that are made here.

use crate::engine::{Space, Toy, graph, run_store, write};
use anyhow::{Context, Result, bail};
use pipe::base::hash::Key;
use pipe::engine::plan::{self, Wanted};
use pipe::engine::store::Store;
use pipe::engine::store::remote::{Signature, Signed, Trust};
use pipe::remote::keys::{Identity, Keyring, Secret};
use pipe::remote::{Address, Bucket, pack};
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const RECORD: &str = "{\n  \"key\": \"whatever a record says\"\n}";

fn signed(who: &[&Keyring]) -> Signed {
    let signatures = who.iter().map(|ring| ring.sign(RECORD).unwrap().unwrap());
    Signed {
        text: RECORD.into(),
        signatures: signatures.collect(),
    }
}

/// A key, and what others trust.
fn key(name: &str) -> (Keyring, Identity) {
    let secret = Secret::new(name).unwrap();
    let who = secret.identity().clone();
    (Keyring::new(Some(secret), &[], false), who)
}

fn refused(ring: &Keyring, signed: &Signed) -> String {
    ring.signer(signed).unwrap_err().to_string()
}

#[test]
fn what_somebody_signed_who_is_trusted_is_believed_and_he_is_named() {
    let ((ada, _), (bob, who)) = (key("ada"), key("bob"));
    assert_eq!(
        ada.signer(&signed(&[&ada])).unwrap().unwrap(),
        "ada",
        "one's own"
    );
    let ring = Keyring::new(None, &[who.called("robert")], false);
    assert_eq!(
        ring.signer(&signed(&[&ada, &bob])).unwrap().unwrap(),
        "robert"
    );
    let line = who.to_string();
    assert_eq!(Identity::parse(&line).unwrap(), who);
    assert_eq!(
        Secret::parse(Secret::new("x").unwrap().line())
            .unwrap()
            .identity()
            .name,
        "x"
    );
}

#[test]
fn what_nobody_signed_or_a_stranger_did_is_refused_with_what_to_do() {
    let ((ada, _), (eve, who)) = (key("ada"), key("eve"));
    let text = refused(&ada, &signed(&[&eve]));
    assert!(text.contains("signed by `eve`"), "{text}");
    assert!(text.contains(&format!("pipe keys trust {who}")), "{text}");
    let text = refused(&ada, &signed(&[]));
    assert!(
        text.contains("nobody signed it") && text.contains("`pipe keys new`"),
        "{text}"
    );
    let text = refused(&Keyring::new(None, &[], false), &signed(&[]));
    assert!(text.contains("nobody is trusted here"), "{text}");
}

#[test]
fn a_changed_text_a_changed_name_and_a_moved_signature_are_refused() {
    let ((bob, who), (eve, stranger)) = (key("bob"), key("eve"));
    let ring = Keyring::new(None, &[who], false);
    let good = signed(&[&bob]);
    let mut changed = good.clone();
    changed.text = changed.text.replace("whatever", "Whatever");
    let mut renamed = good.clone();
    renamed.signatures[0].text = renamed.signatures[0].text.replace("bob", "ada");
    let mut moved = signed(&[&eve]);
    moved.signatures[0].signer = good.signatures[0].signer.clone();
    for wrong in [changed, renamed, moved] {
        let text = refused(&ring, &wrong);
        assert!(
            text.contains("the signature of `bob` beside it is of something else"),
            "{text}"
        );
    }
    // A wrong signature beside a right one takes nothing away.
    let mut both = signed(&[&bob, &eve]);
    both.signatures[1].signer = stranger.key();
    assert_eq!(ring.signer(&both).unwrap().unwrap(), "bob");
}

/// Each of some records is signed by one of two, and then one thing about one of them is wrong.
#[test]
fn several_are_believed_together_where_each_is() {
    let ((ada, known), (bob, who), (eve, _)) = (key("ada"), key("bob"), key("eve"));
    let ring = Keyring::new(None, &[known, who.called("robert")], false);
    let by = |ring: &Keyring, i: usize| {
        let text = format!("record {i}");
        let signatures = vec![ring.sign(&text).unwrap().unwrap()];
        Signed { text, signatures }
    };
    let good: Vec<Signed> = (0..9).map(|i| by([&ada, &bob][i % 2], i)).collect();
    let together = |some: &[Signed]| ring.signers(&some.iter().collect::<Vec<_>>());
    let names: Vec<_> = together(&good).unwrap().into_iter().flatten().collect();
    let due: Vec<_> = (0..9).map(|i| ["ada", "robert"][i % 2]).collect();
    assert_eq!(names, due);
    assert_eq!(together(&[]).unwrap(), []);
    let at_once = |some: &[Signed]| ring.together(&some.iter().collect::<Vec<_>>());
    assert_eq!(at_once(&good), Some(together(&good).unwrap()));

    for i in [0, 4, 8] {
        let mut changed = good.clone();
        changed[i].text.push(' ');
        let mut swapped = good.clone();
        swapped[i].signatures = good[(i + 2) % 9].signatures.clone();
        let mut strange = good.clone();
        strange[i] = by(&eve, i);
        let mut bare = good.clone();
        bare[i].signatures.clear();
        for wrong in [changed, swapped, strange, bare] {
            assert_eq!(at_once(&wrong), None);
            let error = together(&wrong).unwrap_err().to_string();
            assert_eq!(error, refused(&ring, &wrong[i]));
        }
        // A wrong word before a right one takes nothing away.
        let mut both = good.clone();
        let mut torn = good[i].signatures[0].clone();
        torn.text = torn.text.replace(' ', " A");
        both[i].signatures.insert(0, torn);
        assert_eq!(together(&both).unwrap(), together(&good).unwrap());
    }
}

/// Says who signed only where one look tells of several, and writes down of how many. Takes its time, so that more wait meanwhile.
struct Together {
    ring: Keyring,
    looks: Mutex<Vec<usize>>,
}

impl Trust for Together {
    fn signer(&self, _: &Signed) -> Result<Option<String>> {
        bail!("it was looked at alone")
    }

    fn signers(&self, records: &[&Signed]) -> Result<Vec<Option<String>>> {
        self.looks.lock().unwrap().push(records.len());
        thread::sleep(Duration::from_millis(50));
        let names = self.ring.together(records);
        names.context("they were not believed together")
    }

    fn sign(&self, _: &str) -> Result<Option<Signature>> {
        Ok(None)
    }
}

/// More than are looked at in one go: nodes of two people at a remote, who are trusted, and who signed which.
struct Lab {
    remote: TempDir,
    toys: Vec<Toy>,
    trusted: Vec<Identity>,
    due: BTreeMap<Key, String>,
}

const EACH: usize = 80;

impl Lab {
    fn new() -> Lab {
        let mut lab = Lab {
            remote: tempfile::tempdir().unwrap(),
            toys: vec![],
            trusted: vec![],
            due: BTreeMap::new(),
        };
        for who in ["ada", "bob"] {
            let (ring, identity) = key(who);
            let names: Vec<String> = (0..EACH).map(|n| format!("{who}-{n}")).collect();
            let toys: Vec<Toy> = names.iter().map(|n| write(n, n)).collect();
            let store = lab.store(&Space::new(), Arc::new(ring));
            let graph = graph(&toys);
            let ran = run_store(&store, &graph, &Wanted::default(), |_| {}, |_| {});
            let keys = names.iter().map(|node| ran.record(node).key.clone());
            lab.due.extend(keys.map(|key| (key, who.to_string())));
            lab.trusted.push(identity);
            lab.toys.extend(toys);
        }
        lab
    }

    fn store(&self, space: &Space, trust: Arc<dyn Trust>) -> Store {
        let address = Address::parse(self.remote.path().to_str().unwrap()).unwrap();
        let bucket = Bucket::new(address, BTreeMap::new());
        space.store().with_remote(Arc::new(bucket), trust)
    }

    fn ring(&self) -> Keyring {
        Keyring::new(None, &self.trusted, false)
    }

    /// What a plan says of the keys of which it takes no record, and who signed the others.
    fn planned(&self, trust: Arc<dyn Trust>) -> (Vec<String>, BTreeMap<Key, String>) {
        let store = self.store(&Space::new(), trust);
        let plan = plan::plan(&store, &graph(&self.toys), &Wanted::default()).unwrap();
        let found = self.due.keys().filter_map(|key| {
            let found = store.found(key)?;
            Some((key.clone(), found.signer.expect("a trusted one")))
        });
        (plan.remarks.into_values().collect(), found.collect())
    }
}

#[test]
fn the_records_of_a_plan_are_looked_at_together_and_each_is_its_signer_s() {
    let lab = Lab::new();
    let trust = Arc::new(Together {
        ring: lab.ring(),
        looks: Mutex::default(),
    });
    let (remarks, found) = lab.planned(trust.clone());
    assert_eq!(remarks, [""; 0]);
    assert_eq!(found, lab.due);
    let looks = trust.looks.lock().unwrap();
    assert_eq!(looks.iter().sum::<usize>(), 2 * EACH, "{looks:?}");
    // Those that are there first are looked at by whoever is free: a thread each.
    assert!(looks.len() <= 2 * EACH / 4, "many at a time: {looks:?}");
}

/// One word in hundreds is of something else.
#[test]
fn of_records_that_are_looked_at_together_one_that_is_not_believed_is_found() {
    let lab = Lab::new();
    let index = lab.remote.path().join("index");
    let parts = || {
        fs::read_dir(&index)
            .unwrap()
            .map(|part| part.unwrap().path())
    };
    let (first, other) = (
        lab.due.keys().next().unwrap(),
        lab.due.keys().last().unwrap(),
    );
    let store = lab.store(&Space::new(), Arc::new(lab.ring()));
    let known = |key: &Key| store.remote().unwrap().known(key).remove(0);
    let mut wrong = known(first);
    wrong.signatures[0].text = known(other).signatures.remove(0).text;
    let all = lab.due.keys().map(|key| (key.clone(), known(key)));
    let mut all: BTreeMap<Key, Signed> = all.collect();
    all.insert(first.clone(), wrong);
    parts().for_each(|part| fs::remove_file(part).unwrap());
    let (name, bytes) = pack(&all).unwrap();
    fs::write(index.join(name), bytes).unwrap();
    let (remarks, found) = lab.planned(Arc::new(lab.ring()));
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    let told = format!("record {} of", first.short());
    assert!(
        remarks[0].contains(&told) && remarks[0].contains("is of something else"),
        "{remarks:?}"
    );
    let mut due = lab.due.clone();
    due.remove(first);
    assert_eq!(found, due);
}

/// The key of which every bit but the sign is that of the neutral element fits `R = S B` for whatever was signed.
#[test]
fn a_key_that_fits_signatures_of_nobody_signs_nothing() {
    // That one, and one that is no point of the curve.
    for first in ["AQ", "Ag"] {
        let line = format!("eve=ed25519:{first}{}", "A".repeat(41));
        let error = Identity::parse(&line).unwrap_err().to_string();
        assert!(error.contains("nobody can sign as this"), "{error}");
    }
    let (ring, _) = key("ada");
    // R is the neutral element, S is 0.
    let seal = format!("AQ{}", "A".repeat(84));
    let one = Signed {
        text: RECORD.into(),
        signatures: vec![Signature {
            signer: format!("01{}", "0".repeat(62)),
            text: format!("eve {seal}"),
        }],
    };
    assert!(refused(&ring, &one).contains("nobody signed it"));
    assert!(ring.signers(&[&one, &one]).is_err());
}

#[test]
fn a_signature_of_any_shape_is_read_without_a_word() {
    let (ring, _) = key("ada");
    let long = "f".repeat(64);
    let unicode = "é".repeat(32);
    for signer in ["", "a", &*long, &*unicode, "../../key"] {
        for text in [
            "",
            " ",
            "ada",
            "ada ",
            "ada =",
            "a b c",
            "\u{0}",
            &*"x".repeat(4000),
        ] {
            let signatures = vec![Signature {
                signer: signer.into(),
                text: text.into(),
            }];
            let strange = Signed {
                text: RECORD.into(),
                signatures,
            };
            assert!(refused(&ring, &strange).contains("nobody signed it"));
        }
    }
}

#[test]
fn who_trusts_all_believes_all_and_still_names_whom_he_knows() {
    let ((ada, who), (eve, _)) = (key("ada"), key("eve"));
    let ring = Keyring::new(None, &[who], true);
    assert_eq!(ring.signer(&signed(&[])).unwrap(), None);
    assert_eq!(ring.signer(&signed(&[&eve])).unwrap(), None);
    assert_eq!(ring.signer(&signed(&[&ada])).unwrap().unwrap(), "ada");
    assert_eq!(ring.sign(RECORD).unwrap(), None);
}
