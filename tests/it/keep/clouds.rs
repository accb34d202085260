//! Buckets of each kind: what is asked of them to create and to replace, who one is, and what is said where that is wrong.

use super::bucket::{Fault, Server, Speaks, generation, tag};
use crate::engine::{Ran, Space, Toy, graph, join, run_store, write};
use pipe::engine::plan::{self, Wanted};
use pipe::engine::store::Store;
use pipe::engine::store::remote::{Anyone, Published};
use pipe::remote::{Address, Bucket};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ALL: [(Speaks, &str); 3] = [
    (Speaks::S3, "s3://lab/team/one"),
    (Speaks::Google, "gs://lab/team/one"),
    (Speaks::Azure, "az://lab/team/one"),
];

fn spec() -> Vec<Toy> {
    vec![
        write("a", "red"),
        write("b", "green"),
        join("ab", "a", Some("b")),
    ]
}

fn store(space: &Space, address: &str, variables: BTreeMap<String, String>) -> Store {
    let bucket = Bucket::new(Address::parse(address).unwrap(), variables);
    space
        .store()
        .with_remote(Arc::new(bucket), Arc::new(Anyone))
}

fn run(store: &Store, toys: &[Toy]) -> Ran {
    run_store(store, &graph(toys), &Wanted::default(), |_| {}, |_| {})
}

#[test]
fn records_are_created_and_torn_ones_replaced_at_each_kind_of_bucket() {
    for (speaks, address) in ALL {
        let server = Server::speaking(speaks, Duration::ZERO);
        let space = Space::new();
        let there = store(&space, address, server.variables());
        let ran = run(&there, &spec());
        assert_eq!(ran.states(), ["done"; 3], "{address}");
        let log = format!("{:?}", ran.events);
        assert!(!log.contains(address), "{log}");
        let (create, new) = match speaks {
            Speaks::Google => ("x-goog-if-generation-match", "0"),
            Speaks::S3 | Speaks::Azure => ("if-none-match", "*"),
        };
        let heard = server.heard();
        let puts = |part: &str| -> Vec<BTreeMap<String, String>> {
            let puts = heard
                .iter()
                .filter(|(m, p, _)| m == "PUT" && p.contains(part));
            puts.map(|(_, _, headers)| headers.clone()).collect()
        };
        assert_eq!(puts("/actions/").len(), 3, "{address}");
        assert!(
            puts("/actions/").iter().all(|h| h[create] == new),
            "{address}"
        );
        assert!(puts("/objects/").iter().all(|h| !h.contains_key(create)));
        for (_, path, headers) in &heard {
            let who = headers.get("authorization").map_or("", String::as_str);
            let sent = match speaks {
                Speaks::S3 => who.starts_with("AWS4-HMAC-SHA256 Credential=who/"),
                Speaks::Google => who == "Bearer not-to-be-seen",
                Speaks::Azure => who.starts_with("SharedKey lab:"),
            };
            assert!(sent, "{path}: {who}");
        }
        if speaks == Speaks::Azure {
            let blocks = |h: &BTreeMap<String, String>| h["x-ms-blob-type"] == "BlockBlob";
            assert!(puts("").iter().all(blocks));
        }

        let other = store(&Space::new(), address, server.variables());
        let plan = plan::plan(&other, &graph(&spec()), &Wanted::default()).unwrap();
        let hit = |n: &plan::Planned| n.decision.verdict.word() == "hit";
        assert!(plan.nodes.iter().all(hit), "{address}: {:?}", plan.remarks);

        // What is torn is replaced, if it is still what was looked at.
        let record = ran.record("a");
        let mut named = server.names(record.key.as_str()).into_iter();
        let torn = named.find(|name| name.contains("/actions/")).unwrap();
        server.add(&torn, b"half".to_vec());
        server.forget("/index/");
        server.heard();
        let there = store(&space, address, server.variables());
        let published = there.publish(&record, false, &|| false).unwrap();
        assert_eq!(published, Some(Published::New), "{address}");
        let (header, version) = match speaks {
            Speaks::Google => (create, generation(b"half")),
            Speaks::S3 | Speaks::Azure => ("if-match", tag(b"half")),
        };
        let heard = server.heard();
        let last = heard.iter().rfind(|(m, p, _)| m == "PUT" && *p == torn);
        assert_eq!(last.unwrap().2[header], version, "{address}");
        let again = there.publish(&record, false, &|| false).unwrap();
        assert_eq!(again, Some(Published::Same), "{address}");
    }
}

#[test]
fn bytes_come_from_each_kind_of_bucket() {
    for (speaks, address) in ALL {
        let server = Server::speaking(speaks, Duration::ZERO);
        let made = store(&Space::new(), address, server.variables());
        assert_eq!(run(&made, &spec()).states(), ["done"; 3]);
        let mut longer = spec();
        longer.push(join("aba", "ab", Some("a")));
        let other = Space::new();
        let ran = run(&store(&other, address, server.variables()), &longer);
        assert_eq!(ran.states(), ["hit", "hit", "hit", "done"], "{address}");
        assert_eq!(ran.text("aba"), "red green red");
    }
}

/// What is told of a remote that cannot be used, by who plans.
fn told(address: &str, variables: &[(&str, &str)]) -> String {
    let pairs = variables.iter();
    let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
    let there = store(&Space::new(), address, pairs.collect());
    let plan = plan::plan(&there, &graph(&spec()), &Wanted::default()).unwrap();
    let word = plan.nodes[0].decision.verdict.word();
    assert_eq!(word, "run", "{address}");
    let remarks: Vec<&String> = plan.remarks.values().collect();
    assert_eq!(remarks.len(), 1, "{address}: {remarks:?}");
    remarks[0].clone()
}

#[test]
fn what_is_wrong_with_the_settings_of_a_bucket_is_said_in_words() {
    for (address, variables, words) in [
        ("az://lab/x", &[][..], "AZURE_STORAGE_ACCOUNT_NAME"),
        (
            "az://lab/x",
            &[
                ("AZURE_STORAGE_ACCOUNT_NAME", "lab"),
                ("AZURE_STORAGE_ACCOUNT_KEY", "no base64!"),
            ],
            "preparing to talk to az://lab/x",
        ),
        (
            "gs://lab/x",
            &[("GOOGLE_SERVICE_ACCOUNT", "/nowhere/account.json")],
            "/nowhere/account.json",
        ),
        (
            "gs://lab/x",
            &[("GOOGLE_SERVICE_ACCOUNT_KEY", "{ \"no\": 1 }")],
            "service account",
        ),
        (
            "s3://lab/x",
            &[
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
                ("AWS_SKIP_SIGNATURE", "perhaps"),
            ],
            "perhaps",
        ),
    ] {
        let said = told(address, variables);
        assert!(
            said.starts_with(&format!("the remote {address}: ")),
            "{said}"
        );
        assert!(said.contains(words), "{address}: {said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[test]
fn a_bucket_that_refuses_or_is_not_there_is_said_in_words() {
    for (speaks, address) in ALL {
        for (fault, words) in [
            (Fault::Refused, "this identity may not read it"),
            (Fault::Unknown, "it does not know who is asking"),
            (Fault::Absent, "no such bucket"),
        ] {
            let server = Server::speaking(speaks, Duration::ZERO);
            server.breaks("GET", "", fault, usize::MAX);
            let variables = server.variables();
            let variables: Vec<(&str, &str)> = variables
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            let said = told(address, &variables);
            assert!(said.contains(words), "{address}: {said}");
            assert!(said.contains("left alone"), "{address}: {said}");
            assert!(
                !said.contains("not-to-be-seen") && !said.contains('<'),
                "{said}"
            );
        }
    }
}
