//! A bucket whose server does wrong: nothing torn is believed, nothing that was committed is lost, and a run goes on.

use super::bucket::{Fault, Server};
use crate::engine::{Ran, Space, Toy, graph, join, run_store, write};
use pipe::base::hash::Digest;
use pipe::engine::plan::{self, Planned, Wanted};
use pipe::engine::store::record::Record;
use pipe::engine::store::remote::{Anyone, Published, Signed};
use pipe::engine::store::{Lookup, Store};
use pipe::engine::system::files::{Blob, tree_digest};
use pipe::remote::{Address, Bucket, pack};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn spec() -> Vec<Toy> {
    vec![
        write("a", "red"),
        write("b", "green"),
        join("ab", "a", Some("b")),
    ]
}

fn longer() -> Vec<Toy> {
    let mut spec = spec();
    spec.push(join("aba", "ab", Some("a")));
    spec
}

fn store(space: &Space, server: &Server) -> Store {
    let address = Address::parse("s3://lab/team/one").unwrap();
    let bucket = Bucket::new(address, server.variables());
    space
        .store()
        .with_remote(Arc::new(bucket), Arc::new(Anyone))
}

fn run(space: &Space, server: &Server, toys: &[Toy]) -> Ran {
    let store = store(space, server);
    run_store(&store, &graph(toys), &Wanted::default(), |_| {}, |_| {})
}

fn published() -> (Space, Server) {
    let space = Space::new();
    let server = Server::start(Duration::ZERO);
    assert_eq!(run(&space, &server, &spec()).states(), ["done"; 3]);
    assert_eq!(server.names("/actions/").len(), 3);
    assert_eq!(server.names("/index/").len(), 1);
    (space, server)
}

/// Requests of a method to a part of the bucket.
fn count(asked: &[(String, String)], method: &str, path: &str) -> usize {
    let fits = |(m, p): &&(String, String)| m == method && p.contains(path);
    asked.iter().filter(fits).count()
}

#[test]
fn a_bucket_is_asked_little_and_bytes_go_before_records() {
    let (_one, server) = published();
    let asked = server.asked();
    let places = |path: &str| -> Vec<usize> {
        let at = asked.iter().enumerate();
        let put = at.filter(|(_, (m, p))| m == "PUT" && p.contains(path));
        put.map(|(i, _)| i).collect()
    };
    assert_eq!(places("/actions/").len(), 3);
    let last = *places("/actions/").last().unwrap();
    assert!(places("/objects/").iter().all(|at| *at < last));
    assert!(places("/index/")[0] > last, "the index after the records");

    let other = Space::new();
    let there = store(&other, &server);
    let plan = plan::plan(&there, &graph(&spec()), &Wanted::default()).unwrap();
    assert!(
        plan.nodes
            .iter()
            .all(|n| n.decision.verdict.word() == "hit")
    );
    let asked = server.asked();
    assert_eq!(asked.len(), 3, "version, list, one pack: {asked:?}");
    // Of what nobody has made some is asked for by its key, as the index may lag behind.
    let there = store(&other, &server);
    plan::plan(&there, &graph(&[write("new", "blue")]), &Wanted::default()).unwrap();
    assert_eq!(server.asked().len(), 4);

    let ran = run(&other, &server, &longer());
    assert_eq!(ran.states(), ["hit", "hit", "hit", "done"]);
    let asked = server.asked();
    assert_eq!(count(&asked, "GET", "/objects/"), 2, "{asked:?}");
}

/// SeaweedFS does this to a create-only upload whose connection is cut before its body.
#[test]
fn an_upload_that_was_stored_empty_is_mended_by_the_next_try() {
    let space = Space::new();
    let server = Server::start(Duration::ZERO);
    server.breaks("PUT", "/actions/", Fault::StoredEmpty, 1);
    assert_eq!(run(&space, &server, &spec()).states(), ["done"; 3]);
    let other = Space::new();
    let ran = run(&other, &server, &spec());
    // Torn or whole: what is torn was never believed.
    assert!(ran.states().iter().all(|s| s == "hit" || s == "done"));
    let there = store(&space, &server);
    for record in space.store().records().unwrap() {
        there.publish(&record, false, &|| false).unwrap();
    }
    server.forget("/index/");
    let third = Space::new();
    assert_eq!(run(&third, &server, &spec()).states(), ["hit"; 3]);
}

#[test]
fn a_lost_answer_and_a_conflict_with_nobody_end_well() {
    for fault in [Fault::AnswerLost, Fault::Conflict] {
        let space = Space::new();
        let server = Server::start(Duration::ZERO);
        server.breaks("PUT", "/actions/", fault, 1);
        let ran = run(&space, &server, &spec());
        assert_eq!(ran.states(), ["done"; 3]);
        assert_eq!(server.names("/actions/").len(), 3);
        let log = format!("{:?}", ran.events);
        assert!(!log.contains("publishing"), "{log}");
        assert_eq!(run(&Space::new(), &server, &spec()).states(), ["hit"; 3]);
    }
}

#[test]
fn a_download_that_breaks_off_is_tried_again_and_a_flipped_byte_is_refused() {
    let (_one, server) = published();
    server.breaks("GET", "/objects/", Fault::Cut(1), 1);
    let two = Space::new();
    let ran = run(&two, &server, &longer());
    assert_eq!(ran.states(), ["hit", "hit", "hit", "done"]);
    assert_eq!(ran.text("aba"), "red green red");
    let (_one, server) = published();
    server.breaks("GET", "/objects/", Fault::Flipped, 1);
    let three = Space::new();
    let ran = run(&three, &server, &longer());
    assert_eq!(ran.text("aba"), "red green red");
    let log = format!("{:?}", ran.events);
    assert!(log.contains("not those of its name"), "{log}");
    assert_eq!(ran.states().iter().filter(|s| *s == "done").count(), 2);
}

#[test]
fn an_identity_that_may_only_read_is_told_once_and_reads() {
    let (_one, server) = published();
    server.breaks("PUT", "", Fault::Refused, usize::MAX);
    let mut spec = longer();
    spec.push(write("c", "blue"));
    spec.push(write("d", "grey"));
    let ran = run(&Space::new(), &server, &spec);
    assert_eq!(ran.states(), ["hit", "hit", "hit", "done", "done", "done"]);
    let told = format!("{:?}", ran.events);
    let told = told.matches("this identity may only read").count();
    assert_eq!(told, 1);
}

#[test]
fn a_remote_that_is_silent_costs_two_seconds_and_one_line() {
    let (_one, server) = published();
    server.breaks("GET", "", Fault::Silence, usize::MAX);
    let other = Space::new();
    let began = Instant::now();
    let ran = run(&other, &server, &longer());
    let took = began.elapsed();
    assert_eq!(ran.states(), ["done"; 4]);
    let alone = Instant::now();
    assert_eq!(Space::new().run(&longer()).states(), ["done"; 4]);
    let more = took.saturating_sub(alone.elapsed());
    assert!(more < Duration::from_millis(3500), "{more:?}");
    let log = format!("{:?}", ran.events);
    assert_eq!(log.matches("does not answer").count(), 1, "{log}");
    assert_eq!(log.matches("s3://lab").count(), 1, "{log}");
}

#[test]
fn nobody_there_is_told_at_once() {
    let space = Space::new();
    let address = Address::parse("s3://lab/x").unwrap();
    let mut variables = Server::start(Duration::ZERO).variables();
    // Nothing listens there.
    variables.insert("AWS_ENDPOINT_URL".into(), "http://127.0.0.1:9".into());
    let bucket = Bucket::new(address, variables);
    let store = space
        .store()
        .with_remote(Arc::new(bucket), Arc::new(Anyone));
    let began = Instant::now();
    let ran = run_store(&store, &graph(&spec()), &Wanted::default(), |_| {}, |_| {});
    assert_eq!(ran.states(), ["done"; 3]);
    assert!(began.elapsed() < Duration::from_secs(8));
    let log = format!("{:?}", ran.events);
    assert_eq!(log.matches("s3://lab/x").count(), 1, "{log}");
}

#[test]
fn two_machines_that_make_the_same_at_once_leave_one_record() {
    let server = Server::start(Duration::from_millis(5));
    let spaces = [Space::new(), Space::new()];
    std::thread::scope(|scope| {
        for space in &spaces {
            scope.spawn(|| {
                let ran = run(space, &server, &spec());
                assert!(ran.states().iter().all(|s| s == "hit" || s == "done"));
            });
        }
    });
    assert_eq!(server.names("/actions/").len(), 3);
    assert_eq!(
        run(&Space::new(), &server, &longer()).states()[..3],
        ["hit"; 3]
    );
}

/// Nobody has run these: records as they would be, in a pack at the server. How many.
fn lay_down(server: &Server, like: &Record, toys: &[Toy]) -> usize {
    let space = Space::new();
    let there = store(&space, server);
    let decided = plan::decide(&there, &graph(toys), &Wanted::default()).unwrap();
    let missing = decided.iter().filter(|d| d.verdict.word() == "run");
    let mut records = BTreeMap::new();
    for manifest in missing.filter_map(|decision| decision.manifest.as_ref()) {
        let mut record = like.clone();
        record.key = manifest.key();
        record.manifest = manifest.text().to_string();
        for artifact in record.outputs.values_mut() {
            artifact.files[0].digest = Digest::new(blake3::hash(record.manifest.as_bytes()));
            artifact.digest = tree_digest(&artifact.files);
        }
        let text = record.to_text().unwrap();
        records.insert(
            record.key,
            Signed {
                text,
                signatures: vec![],
            },
        );
    }
    let (name, bytes) = pack(&records).unwrap();
    server.add(&format!("/lab/team/one/index/{name}"), bytes);
    records.len()
}

#[test]
fn thousands_of_nodes_are_planned_in_few_requests() {
    const N: usize = 5_000;
    let like = Space::new().run(&[write("a", "red")]).record("a");
    let chain = |mark: &str| -> Vec<Toy> {
        let pairs = (0..N).flat_map(|n| {
            let (w, j) = (format!("w{n}"), format!("j{n}"));
            [write(&w, &format!("{mark} {n}")), join(&j, &w, None)]
        });
        pairs.collect()
    };
    let server = Server::start(Duration::from_millis(20));
    let toys = chain("red");
    for _ in 0..2 {
        assert_eq!(lay_down(&server, &like, &toys), N);
    }
    let timed = |toys: &[Toy], word: &str| {
        let graph = graph(toys);
        let space = Space::new();
        server.asked();
        let began = Instant::now();
        let plan = plan::plan(&store(&space, &server), &graph, &Wanted::default()).unwrap();
        let took = began.elapsed();
        let of = |d: &&Planned| d.decision.verdict.word() == word;
        assert_eq!(
            plan.nodes.iter().filter(of).count(),
            if word == "hit" { 2 * N } else { N }
        );
        // Version, list, two packs; and a few of the keys that none of those has.
        assert_eq!(server.asked().len(), if word == "hit" { 4 } else { 4 + 8 });
        took
    };
    let (hits, misses) = (timed(&toys, "hit"), timed(&chain("blue"), "run"));
    eprintln!(
        "plan_10k_ms hits {} misses {}",
        hits.as_millis(),
        misses.as_millis()
    );
    // A second on a machine that does nothing else.
    assert!(
        hits.max(misses) < Duration::from_secs(4),
        "{hits:?} {misses:?}"
    );
}

/// Each part of the index stands for itself.
#[test]
fn a_part_of_the_index_that_is_wrong_or_never_comes_takes_nothing_from_the_others() {
    let like = Space::new().run(&[write("a", "red")]).record("a");
    let toys = [write("x", "one"), write("y", "two"), write("z", "three")];
    for (fault, told) in [
        (Fault::Flipped, "of its index is not read"),
        (Fault::Cut(10), "of its index did not come"),
        (
            Fault::Silence,
            "its index is slow: 2 of 3 new parts came in time",
        ),
    ] {
        let server = Server::start(Duration::ZERO);
        assert_eq!(lay_down(&server, &like, &toys[..1]), 1);
        let bad = server.names("/index/").remove(0);
        for toy in &toys[1..] {
            assert_eq!(lay_down(&server, &like, std::slice::from_ref(toy)), 1);
        }
        server.breaks("GET", bad.trim_start_matches('/'), fault, usize::MAX);
        let space = Space::new();
        let there = store(&space, &server);
        let began = Instant::now();
        let plan = plan::plan(&there, &graph(&toys), &Wanted::default()).unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
        let words: Vec<&str> = plan
            .nodes
            .iter()
            .map(|n| n.decision.verdict.word())
            .collect();
        assert_eq!(words, ["run", "hit", "hit"], "{told}");
        let remarks: Vec<&String> = plan.remarks.values().collect();
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert!(remarks[0].contains(told), "{remarks:?}");
        // What came stays for the next time, which asks for the rest alone.
        assert!(there.remote().is_some(), "it is not left alone for it");
    }
}

/// What lies under its name in the bucket, at full length.
fn name(server: &Server, part: &str) -> String {
    let names = server.names(part);
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].clone()
}

#[test]
fn what_cannot_be_read_keeps_nothing_else_from_being_looked_at() {
    let (one, server) = published();
    let records = one.store().records().unwrap();
    let first = records.iter().min_by_key(|record| record.key.clone());
    let first = first.unwrap();
    server.forget("/index/");
    server.breaks("GET", first.key.as_str(), Fault::Refused, usize::MAX);
    let there = store(&one, &server);
    let found = there.reconcile(true).unwrap();
    assert_eq!((found.indexed, found.wrong.len()), (2, 0));
    assert_eq!(found.unread.keys().collect::<Vec<_>>(), [&first.key]);

    let outputs = records.iter().flat_map(|record| record.outputs.values());
    let blobs: Vec<&Blob> = outputs.flat_map(|artifact| &artifact.files).collect();
    let [away, wrong, _] = blobs[..] else {
        panic!("{blobs:?}");
    };
    server.breaks("GET", away.digest.as_str(), Fault::Refused, usize::MAX);
    let size = usize::try_from(wrong.size).unwrap();
    server.add(&name(&server, wrong.digest.as_str()), vec![b'?'; size]);
    let doubted = there.doubt_remote(&blobs);
    assert_eq!((doubted.blobs.len(), doubted.unread.len()), (1, 1));
    let told = &doubted.unread[0];
    assert!(told.contains(away.digest.short()), "{told}");
    let lacking = there.remote().unwrap().lacking(&blobs).unwrap();
    assert_eq!(lacking.wrong, [wrong.digest.clone()].into());
}

/// It is there, and it is none.
#[test]
fn what_is_too_large_for_what_it_is_is_replaced() {
    let (one, server) = published();
    server.forget("/index/");
    let record = &one.store().records().unwrap()[0];
    let path = name(&server, &format!("{}.json", record.key));
    let good = server.read(&path).unwrap();
    server.add(&path, vec![b' '; (16 << 20) + 1]);
    let there = store(&one, &server);
    let found = there.reconcile(false).unwrap();
    assert_eq!((found.indexed, found.unread.len()), (2, 0));
    assert!(found.wrong[&record.key].contains("too large"), "{found:?}");
    let asked = store(&Space::new(), &server);
    let told = asked
        .ask_remote(&record.key)
        .err()
        .map(|e| format!("{e:#}"));
    let told = told.expect("what lies there is no record");
    assert!(told.contains("too large"), "{told}");
    let again = asked.ask_remote(&record.key).unwrap();
    assert!(matches!(again, Lookup::Absent), "it is told once");
    let published = there.publish(record, true, &|| false).unwrap();
    assert_eq!(published, Some(Published::New));
    assert_eq!(server.read(&path).unwrap(), good);
    // One with outputs so large that its record is looked for before they are given.
    let (large, big) = (Space::new(), [write("big", &"x".repeat(5 << 20))]);
    assert_eq!(run(&large, &server, &big).states(), ["done"]);
    let of_big = &large.store().records().unwrap()[0];
    let path = name(&server, &format!("{}.json", of_big.key));
    let good = server.read(&path).unwrap();
    server.forget("/index/");
    server.add(&path, vec![b' '; (16 << 20) + 1]);
    let published = store(&large, &server).publish(of_big, true, &|| false);
    assert_eq!(published.unwrap(), Some(Published::New));
    assert_eq!(server.read(&path).unwrap(), good);
    // Nobody's signature.
    server.forget("/index/");
    let (shard, key) = (record.key.shard(), &record.key);
    let of = &blake3::hash(record.to_text().unwrap().as_bytes()).to_hex()[..16];
    let beside = format!("/lab/team/one/sigs/{shard}/{key}/eve.{of}.sig");
    server.add(&beside, vec![b'x'; 5000]);
    let ran = run(&Space::new(), &server, &spec());
    assert_eq!(ran.states(), ["hit"; 3], "{:?}", ran.events);
}

/// Each answer comes, and late: what that costs in all has an end as well.
#[test]
fn a_remote_that_answers_late_each_time_is_left_alone_in_the_end() {
    let server = Server::start(Duration::from_millis(700));
    let toys: Vec<Toy> = (0..12)
        .map(|n| write(&format!("w{n}"), &format!("{n}")))
        .collect();
    let space = Space::new();
    let address = Address::parse("s3://lab/team/one").unwrap();
    let bucket = Bucket::new(address, server.variables()).read_only();
    let store = space
        .store()
        .with_remote(Arc::new(bucket), Arc::new(Anyone));
    let ran = run_store(&store, &graph(&toys), &Wanted::default(), |_| {}, |_| {});
    assert_eq!(ran.states(), ["done"; 12]);
    let log = format!("{:?}", ran.events);
    assert_eq!(log.matches("it is too slow").count(), 1, "{log}");
    let asked = count(&server.asked(), "GET", "/actions/");
    assert!((1..12).contains(&asked), "{asked}");
}
