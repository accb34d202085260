//! What lies beside a record, by whoever may write there: the word that counts is found however many lie around it, and none is taken for
//! all that there are.

use super::bucket::Server;
use crate::engine::{Space, graph, run_store, write};
use pipe::engine::plan::{self, Wanted};
use pipe::engine::store::Store;
use pipe::remote::keys::{Identity, Keyring, Secret};
use pipe::remote::{Address, Bucket};
use std::sync::Arc;
use std::time::Duration;

/// Names of what lies beside a record, before that of who made it: of so many signers, of so many texts each, and whether the record's is one.
struct Crowd {
    signers: usize,
    texts: usize,
    own: bool,
    /// Records that go into the index: those beside which no word can have been missed.
    indexed: usize,
}

const CROWDS: [Crowd; 4] = [
    Crowd {
        signers: 1,
        texts: 200,
        own: false,
        indexed: 1,
    },
    Crowd {
        signers: 1,
        texts: 2000,
        own: true,
        indexed: 0,
    },
    Crowd {
        signers: 100,
        texts: 1,
        own: true,
        indexed: 0,
    },
    Crowd {
        signers: 2000,
        texts: 1,
        own: true,
        indexed: 0,
    },
];

fn at(space: &Space, server: &Server, ring: Keyring) -> Store {
    let address = Address::parse("s3://lab/one").unwrap();
    let bucket = Bucket::new(address, server.variables()).with_leases(None);
    space.store().with_remote(Arc::new(bucket), Arc::new(ring))
}

/// A key and its holder's name there, which comes after those of a crowd.
fn late() -> (Secret, Identity) {
    loop {
        let secret = Secret::new("ada").unwrap();
        let who = secret.identity().clone();
        if !who.signer().starts_with("00") {
            return (secret, who);
        }
    }
}

#[test]
fn a_word_that_counts_is_found_however_many_lie_beside_it() {
    for crowd in CROWDS {
        let server = Server::start(Duration::ZERO);
        let (one, two) = (Space::new(), Space::new());
        let (secret, ada) = late();
        let spec = graph(&[write("a", "red")]);
        let store = at(&one, &server, Keyring::new(Some(secret), &[], false));
        let ran = run_store(&store, &spec, &Wanted::default(), |_| {}, |_| {});
        let own = server.names("/sigs/").remove(0);
        let (folder, file) = own.rsplit_once('/').unwrap();
        let own = file.strip_prefix(&ada.signer()).unwrap();
        for signer in 0..crowd.signers {
            for text in 0..crowd.texts {
                let ending = match text == 0 && crowd.own {
                    true => own.to_string(),
                    false => format!(".{text:016x}.sig"),
                };
                let name = format!("{folder}/{signer:064x}{ending}");
                server.add(&name, b"eve nothing\n".to_vec());
            }
        }
        server.forget("/index/");
        server.asked();
        let believes = || Keyring::new(None, std::slice::from_ref(&ada), false);
        let found = |store: &Store| {
            let plan = plan::plan(store, &spec, &Wanted::default()).unwrap();
            let word = plan.nodes[0].decision.verdict.word();
            assert_eq!(word, "hit", "{:?}", plan.remarks);
            let found = store.found(&ran.record("a").key).unwrap();
            assert_eq!(found.signer.as_deref(), Some("ada"));
        };
        found(&at(&two, &server, believes()));
        let asked = server.asked();
        let read = asked.iter().filter(|(_, path)| path.ends_with(".sig"));
        assert!(read.count() <= 65, "the work has an end");
        // What is not known to be all of it stays out of the index.
        let pushes = at(&one, &server, believes());
        let reconciled = pushes.reconcile(false).unwrap();
        assert_eq!(reconciled.indexed, crowd.indexed);
        let anew = at(&two, &server, believes());
        let known = anew.remote().unwrap().known(&ran.record("a").key);
        let words: Vec<usize> = known.iter().map(|k| k.signatures.len()).collect();
        assert_eq!(words, vec![1; crowd.indexed]);
        found(&anew);
    }
}
