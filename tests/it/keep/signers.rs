//! Whose records are believed: signatures over the whole text of a record, by keys that are made here.

use crate::engine::{Space, Toy, graph, run_store, write};
use anyhow::{Context, Result, bail};
use pipe::base::hash::Key;
use pipe::engine::plan::{self, Wanted};
use pipe::engine::store::remote::{Signature, Signed, Trust};
use pipe::remote::keys::{Identity, Keyring, Secret};
use pipe::remote::{Address, Bucket};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

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

/// Says who signed only where one look tells of several, and writes down of how many.
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
        let names = self.ring.together(records);
        names.context("they were not believed together")
    }

    fn sign(&self, _: &str) -> Result<Option<Signature>> {
        Ok(None)
    }
}

/// More of them than are looked at in one go.
#[test]
fn the_records_of_a_plan_are_looked_at_together_and_each_is_its_signer_s() {
    const EACH: usize = 80;
    let remote = tempfile::tempdir().unwrap();
    let bucket = || {
        let address = Address::parse(remote.path().to_str().unwrap()).unwrap();
        Arc::new(Bucket::new(address, BTreeMap::new()))
    };
    let names = |who: &str| (0..EACH).map(|n| format!("{who}-{n}")).collect::<Vec<_>>();
    let toys = |who: &str| -> Vec<Toy> { names(who).iter().map(|n| write(n, n)).collect() };
    let (mut all, mut trusted, mut due) = (vec![], vec![], BTreeMap::new());
    for who in ["ada", "bob"] {
        let (ring, identity) = key(who);
        let space = Space::new();
        let store = space.store().with_remote(bucket(), Arc::new(ring));
        let graph = graph(&toys(who));
        let ran = run_store(&store, &graph, &Wanted::default(), |_| {}, |_| {});
        for node in names(who) {
            due.insert(ran.record(&node).key.clone(), Some(who.to_string()));
        }
        trusted.push(identity);
        all.extend(toys(who));
    }
    let trust = Arc::new(Together {
        ring: Keyring::new(None, &trusted, false),
        looks: Mutex::default(),
    });
    let space = Space::new();
    let store = space.store().with_remote(bucket(), trust.clone());
    let plan = plan::plan(&store, &graph(&all), &Wanted::default()).unwrap();
    let mut each = plan.nodes.iter();
    assert!(
        each.all(|node| node.decision.verdict.word() == "hit"),
        "{:?}",
        plan.remarks
    );
    let signer = |key: &Key| store.found(key).unwrap().signer;
    let found: BTreeMap<_, _> = due.keys().map(|key| (key.clone(), signer(key))).collect();
    assert_eq!(found, due);
    assert_eq!(trust.looks.lock().unwrap().iter().sum::<usize>(), 2 * EACH);
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
