//! Two machines with stores of their own and one remote: what takes long is made by one of them. A lease that nobody renews is taken
//! over, whoever lost his stops, and nothing of it is ever in the way.

use super::bucket::{Fault, Server};
use crate::engine::{Ran, Space, Toy, graph, join, lines, run_store, toy, write};
use pipe::base::hash::Key;
use pipe::engine::events::event::{Event, Holder, State};
use pipe::engine::kind::failure::Class;
use pipe::engine::plan::Wanted;
use pipe::engine::run::Stop;
use pipe::engine::store::Store;
use pipe::engine::store::remote::{Anyone, Terms};
use pipe::engine::system::{Process, clock};
use pipe::remote::{Address, Bucket, collect, sweep};
use pipe::report::telling;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A lease lasts so long here.
const LASTS: Duration = Duration::from_millis(600);

fn terms(lasts: Duration) -> Option<Terms> {
    Some(Terms {
        lasts,
        ..Terms::default()
    })
}

/// What stands for a day: nothing runs out while a test runs.
fn long() -> Option<Terms> {
    terms(Duration::from_secs(86_400))
}

fn at(space: &Space, server: &Server, terms: Option<Terms>) -> Store {
    let address = Address::parse("s3://lab/one").unwrap();
    let bucket = Bucket::new(address, server.variables()).with_leases(terms);
    space
        .store()
        .with_remote(Arc::new(bucket), Arc::new(Anyone))
}

fn run(store: &Store, toys: &[Toy], hear: impl FnMut(&Event)) -> Ran {
    run_store(store, &graph(toys), &Wanted::default(), |_| {}, hear)
}

/// A node of so many ticks, each counted in a file.
fn slow(dir: &Path, ticks: i64) -> Toy {
    let count = dir.join("ticks");
    toy(&crate::toys::SLOW, "slow")
        .with("ticks", ticks)
        .exec("tick_ms", 20_i64)
        .exec("count", count.to_str().unwrap())
}

fn key(toys: &[Toy]) -> Key {
    let space = Space::new();
    let plan = space.plan(toys).plan;
    plan.nodes[0].decision.key.clone().unwrap()
}

fn name(key: &Key) -> String {
    format!("/lab/one/leases/{}/{key}", key.shard())
}

fn lease(server: &Server, key: &Key) -> Value {
    serde_json::from_str(&server.read(&name(key)).unwrap()).unwrap()
}

/// What somebody on another machine writes.
fn of_another(number: u64, lasts: Duration) -> Vec<u8> {
    let mut holder = Process::own().unwrap();
    holder.host = "elsewhere".into();
    of(&holder, number, lasts)
}

fn of(holder: &Process, number: u64, lasts: Duration) -> Vec<u8> {
    let text = json!({
        "number": number, "nonce": "n", "holder": holder, "run": "theirs", "node": "their-slow",
        "since_ms": 1_000_000_000_000_u64, "seconds": lasts.as_secs_f64(),
    });
    text.to_string().into_bytes()
}

fn holders(ran: &Ran) -> Vec<Holder> {
    let held = ran.events.iter().filter_map(|event| match event {
        Event::State {
            state: State::Held { by, .. },
            ..
        } => by.clone(),
        _ => None,
    });
    held.collect()
}

fn asked(server: &Server, method: &str) -> usize {
    let asked = server.asked();
    let leases = asked.iter().filter(|(_, path)| path.contains("/leases/"));
    leases.filter(|(m, _)| m == method).count()
}

#[test]
fn of_two_machines_that_share_a_bucket_one_makes_a_node() {
    let server = Server::start(Duration::from_millis(3));
    let dir = tempfile::tempdir().unwrap();
    executed_once(dir.path(), &|space: &Space| at(space, &server, long()));
    let spec = [slow(dir.path(), 40)];
    let lease = lease(&server, &key(&spec));
    assert_eq!(lease["released"], true);
}

/// It has no `If-Match`.
#[test]
fn of_two_machines_that_share_a_folder_one_makes_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("remote");
    fs::create_dir(&folder).unwrap();
    executed_once(dir.path(), &|space: &Space| {
        let address = Address::parse(folder.to_str().unwrap()).unwrap();
        let bucket = Bucket::new(address, BTreeMap::new()).with_leases(terms(LASTS));
        let store = space.store();
        store.with_remote(Arc::new(bucket), Arc::new(Anyone))
    });
    let key = key(&[slow(dir.path(), 40)]);
    let leases = folder.join("leases").join(key.shard()).join(key.as_str());
    let left = fs::read_dir(leases).unwrap().count();
    assert_eq!(left, 2, "the last, and the one before");
}

fn executed_once(dir: &Path, store: &(dyn Fn(&Space) -> Store + Sync)) {
    let spec = [slow(dir, 40), write("quick", "word")];
    let run = || {
        let space = Space::new();
        let ran = run(&store(&space), &spec, |_| {});
        (ran.record("slow"), holders(&ran), ran.states())
    };
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(run), scope.spawn(run));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(lines(&dir.join("ticks")).len(), 40, "{one:?} {two:?}");
    assert_eq!(one.0, two.0);
    let (maker, waiter) = match one.2[0].as_str() {
        "done" => (one, two),
        _ => (two, one),
    };
    assert_eq!((maker.2[0].as_str(), waiter.2[0].as_str()), ("done", "hit"));
    let by = waiter.1.iter().find(|by| by.node == "slow").unwrap();
    assert_eq!(by.run, maker.0.provenance.run);
    assert_eq!(by.host, Process::own().unwrap().host);
    assert!(by.remote.is_some() && by.here && !by.orphan);
    let told = telling::holder(Some(by));
    assert!(
        told.starts_with("another run on this machine makes it: process "),
        "{told}"
    );
}

#[test]
fn a_lease_costs_two_requests_and_one_for_every_third_of_it() {
    let server = Server::start(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let one = Space::new();
    let ran = run(&at(&one, &server, long()), &[slow(dir.path(), 2)], |_| {});
    assert_eq!(ran.states(), ["done"]);
    let before = server.asked();
    let of = |method: &str| {
        let fits = |(m, p): &&(String, String)| m == method && p.contains("/leases/");
        before.iter().filter(fits).count()
    };
    assert_eq!((of("PUT"), of("GET")), (2, 0));
    let place = |method: &str, path: &str| {
        let fits = |(m, p): &(String, String)| m == method && p.contains(path);
        before.iter().rposition(fits).unwrap()
    };
    let given_up = place("PUT", "/leases/");
    assert!(given_up > place("PUT", "/actions/"), "{before:?}");

    let space = Space::new();
    let store = at(&space, &server, terms(LASTS));
    let began = Instant::now();
    let ran = run(&store, &[slow(dir.path(), 60)], |_| {});
    assert_eq!(ran.states(), ["done"]);
    let thirds = (began.elapsed().as_secs_f64() / (LASTS.as_secs_f64() / 3.0)) as usize;
    let n = asked(&server, "PUT");
    assert!((4..=thirds + 2).contains(&n), "{n} in {thirds} thirds");
}

#[test]
fn what_is_short_is_not_leased_nor_what_is_made_whatever_others_have() {
    let server = Server::start(Duration::ZERO);
    let space = Space::new();
    let made = |text: &str, terms| {
        let ran = run(&at(&space, &server, terms), &[write("a", text)], |_| {});
        assert_eq!(ran.states(), ["done"]);
        asked(&server, "PUT")
    };
    assert_eq!(made("red", long()), 2, "nobody knows how long it takes");
    assert_eq!(made("green", long()), 0, "an earlier record tells");
    let from_nothing = Terms {
        least_seconds: 0.0,
        ..Terms::default()
    };
    assert_eq!(made("blue", Some(from_nothing)), 2);
    let graph = graph(&[write("a", "blue")]);
    let wanted = Wanted {
        fresh: [graph.find("a").unwrap()].into(),
        ..Wanted::default()
    };
    let store = at(&space, &server, Some(from_nothing));
    run_store(&store, &graph, &wanted, |_| {}, |_| {});
    assert_eq!(asked(&server, "PUT"), 0);
    run(
        &at(&Space::new(), &server, None),
        &[write("b", "grey")],
        |_| {},
    );
    assert_eq!(asked(&server, "PUT"), 0);
}

#[test]
fn a_lease_that_nobody_renews_is_taken_over_when_it_has_lasted() {
    let server = Server::start(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let spec = [slow(dir.path(), 2)];
    let key = key(&spec);
    server.add(&name(&key), of_another(7, LASTS));
    let record = name(&key).replace("/leases/", "/actions/") + ".json";
    server.add(&record, b"half of it".to_vec());
    let began = Instant::now();
    // How long it lasts is said by who wrote it.
    let ran = run(&at(&Space::new(), &server, long()), &spec, |_| {});
    assert!(began.elapsed() > LASTS, "{:?}", began.elapsed());
    assert_eq!(ran.states(), ["done"]);
    // Who makes it was not known when its record was found to be none.
    let log = format!("{:?}", ran.events);
    assert!(log.contains("it has no seal; it is left alone"), "{log}");
    assert!(!log.contains("made here"), "{log}");
    let held = holders(&ran);
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(
        (held[0].host.as_str(), held[0].run.as_str()),
        ("elsewhere", "theirs")
    );
    assert_eq!(held[0].since_ms, 1_000_000_000_000);
    let told = telling::holder(Some(&held[0]));
    assert!(
        told.starts_with("another machine makes it: elsewhere, "),
        "{told}"
    );
    let lease = lease(&server, &key);
    assert_eq!(
        (&lease["number"], &lease["released"]),
        (&json!(8), &json!(true))
    );
    assert_eq!(lease["run"], ran.outcome.run.as_str());
}

#[test]
fn a_holder_of_this_machine_that_is_gone_is_waited_for_by_nobody() {
    let server = Server::start(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let spec = [slow(dir.path(), 2)];
    let mut gone = Process::own().unwrap();
    gone.start += 1;
    server.add(&name(&key(&spec)), of(&gone, 3, Duration::from_secs(3600)));
    let ran = run(&at(&Space::new(), &server, long()), &spec, |_| {});
    assert_eq!(ran.states(), ["done"]);
    assert!(holders(&ran).is_empty());
}

#[test]
fn a_torn_lease_is_one_that_nobody_renews_and_an_answer_that_is_lost_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let spec = [slow(dir.path(), 2)];
    let large = "x".repeat(100_000);
    for text in ["", "\0\0\0", "{\"number\": 3}", &large] {
        let server = Server::start(Duration::ZERO);
        server.add(&name(&key(&spec)), text.into());
        let began = Instant::now();
        let ran = run(&at(&Space::new(), &server, terms(LASTS)), &spec, |_| {});
        assert_eq!(ran.states(), ["done"]);
        assert!(began.elapsed() > LASTS / 6);
        assert_eq!(lease(&server, &key(&spec))["released"], true);
    }
    for fault in [Fault::StoredEmpty, Fault::AnswerLost, Fault::Conflict] {
        let server = Server::start(Duration::ZERO);
        server.breaks("PUT", "/leases/", fault, 1);
        // Whether the client has tried again by itself, and met what it tore, is not told.
        let terms = match fault {
            Fault::StoredEmpty => terms(LASTS),
            _ => long(),
        };
        let ran = run(&at(&Space::new(), &server, terms), &spec, |_| {});
        assert_eq!(ran.states(), ["done"]);
        assert!(holders(&ran).is_empty());
        let lease = lease(&server, &key(&spec));
        assert_eq!(
            (&lease["number"], &lease["released"]),
            (&json!(1), &json!(true))
        );
    }
}

#[test]
fn a_renewal_whose_answer_is_lost_or_that_is_torn_loses_nothing() {
    for fault in [Fault::AnswerLost, Fault::StoredEmpty, Fault::Conflict] {
        let server = Server::start(Duration::ZERO);
        let dir = tempfile::tempdir().unwrap();
        let spec = [slow(dir.path(), 60)];
        let mut broken = false;
        let ran = run(&at(&Space::new(), &server, terms(LASTS)), &spec, |event| {
            if matches!(event, Event::Progress { .. }) && !broken {
                broken = true;
                server.breaks("PUT", "/leases/", fault, 1);
            }
        });
        assert!(broken);
        assert_eq!(ran.states(), ["done"]);
        assert_eq!(lines(&dir.path().join("ticks")).len(), 60);
        assert_eq!(lease(&server, &key(&spec))["released"], true);
    }
}

/// That somebody has it is known, and nothing else of it.
#[test]
fn a_lease_that_cannot_be_read_is_still_somebody_s() {
    // How many looks fail from the start on, and from then on that it is known whose it is.
    for (first, later) in [(1, 0), (0, 2), (usize::MAX, 0)] {
        let server = Server::start(Duration::ZERO);
        let dir = tempfile::tempdir().unwrap();
        let spec = [slow(dir.path(), 2)];
        let key = key(&spec);
        server.add(&name(&key), of_another(7, LASTS));
        server.breaks("GET", "/leases/", Fault::Refused, first);
        let (began, mut later) = (Instant::now(), Some(later));
        let hear = |event: &Event| {
            let held = matches!(
                event,
                Event::State {
                    state: State::Held { .. },
                    ..
                }
            );
            if let Some(times) = later.take_if(|_| held) {
                server.breaks("GET", "/leases/", Fault::Refused, times);
            }
        };
        let ran = run(&at(&Space::new(), &server, terms(LASTS)), &spec, hear);
        assert_eq!(ran.states(), ["done"]);
        assert!(began.elapsed() > LASTS, "{:?}", began.elapsed());
        let number = &lease(&server, &key)["number"];
        let told = ran.said("slow", "somebody has its lease, which cannot be read");
        match first {
            // Nobody waits for ever for what is never read.
            usize::MAX => assert_eq!((number, told), (&json!(7), true)),
            _ => assert_eq!((number, told), (&json!(8), false), "it is taken over"),
        }
    }
}

/// Three looks fail, one finds that it is free, and three more fail: none of these times is as long as a lease lasts.
#[test]
fn a_lease_that_was_read_in_between_is_not_unread_since_before() {
    let lasts = Duration::from_secs(2);
    let server = Arc::new(Server::start(Duration::ZERO));
    let dir = tempfile::tempdir().unwrap();
    let spec = [slow(dir.path(), 2)];
    let key = key(&spec);
    server.add(&name(&key), of_another(7, Duration::from_secs(600)));
    let fails = |server: &Arc<Server>| {
        server.breaks("GET", "/leases/", Fault::Refused, 3);
        for _ in 0..2 {
            server.meanwhile("GET", "/leases/", || {});
        }
        let (there, at) = (server.clone(), name(&key));
        server.meanwhile("GET", "/leases/", move || {
            let mut free: Value = serde_json::from_str(&there.read(&at).unwrap()).unwrap();
            free["released"] = json!(true);
            there.add(&at, free.to_string().into_bytes());
        });
        let there = server.clone();
        server.meanwhile("GET", "/leases/", move || {
            there.breaks("GET", "/leases/", Fault::Refused, 3);
        });
    };
    let mut begun = false;
    let hear = |event: &Event| {
        if let Event::State {
            state: State::Held { .. },
            ..
        } = event
            && !begun
        {
            begun = true;
            fails(&server);
        }
    };
    let ran = run(&at(&Space::new(), &server, terms(lasts)), &spec, hear);
    assert_eq!(ran.states(), ["done"]);
    assert!(begun && !ran.said("slow", "somebody has its lease, which cannot be read"));
    assert_eq!(lease(&server, &key)["number"], 8, "it is taken over");
}

/// Nor do the inputs come of what somebody else may still be making.
#[test]
fn who_waits_for_a_lease_that_cannot_be_read_pulls_nothing_meanwhile() {
    let lasts = 3 * LASTS;
    let server = Server::start(Duration::ZERO);
    let spec = [write("a", "red"), join("ab", "a", None)];
    let one = Space::new();
    assert_eq!(
        run(&at(&one, &server, None), &spec[..1], |_| {}).states(),
        ["done"]
    );
    let key = one.plan(&spec).plan.nodes[1].decision.key.clone().unwrap();
    server.add(&name(&key), of_another(7, lasts));
    server.asked();
    let (mut looks, mut early) = (0, 0);
    let hear = |event: &Event| {
        if let Event::State {
            state: State::Held { .. },
            ..
        } = event
        {
            if looks == 0 {
                server.breaks("GET", "/leases/", Fault::Refused, 1);
            }
            looks += 1;
            let pulled =
                |(method, path): &&(String, String)| method == "GET" && path.contains("/objects/");
            early += server.asked().iter().filter(pulled).count();
        }
    };
    let ran = run(&at(&Space::new(), &server, terms(lasts)), &spec, hear);
    assert_eq!(ran.states(), ["hit", "done"]);
    assert!(looks > 1, "one of them could not be read");
    assert_eq!(early, 0, "of what another machine makes");
    let objects = server.asked();
    assert!(
        objects.iter().any(|(_, path)| path.contains("/objects/")),
        "in the end they come"
    );
}

/// What another machine made of it.
fn elsewhere(spec: &[Toy]) -> (Space, Ran) {
    let space = Space::new();
    let ran = space.run(spec);
    (space, ran)
}

#[test]
fn who_lost_his_lease_stops_and_takes_what_the_other_made() {
    let server = Server::start(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let spec = [slow(dir.path(), 150)];
    let key = key(&spec);
    let (other, made) = elsewhere(&spec);
    let ticks = dir.path().join("ticks");
    fs::remove_file(&ticks).unwrap();
    let (space, mut taken) = (Space::new(), false);
    let ran = run(
        &at(&space, &server, terms(LASTS)),
        &spec,
        |event| match event {
            Event::Progress { .. } if !taken => {
                taken = true;
                server.add(&name(&key), of_another(9, Duration::from_secs(3600)));
            }
            Event::State {
                state: State::Held { by: Some(by), .. },
                ..
            } => {
                assert_eq!(by.host, "elsewhere");
                let there = at(&other, &server, None);
                let record = made.record("slow");
                there.publish(&record, true, &|| false).unwrap();
            }
            _ => {}
        },
    );
    assert_eq!(ran.states(), ["hit"]);
    assert!(lines(&ticks).len() < 150, "it was stopped on the way");
    let retried = ran.events.iter().any(|event| {
        matches!(event, Event::Retry { class: Class::Evicted, message, .. } if message.contains("another run has it"))
    });
    assert!(retried, "{:?}", ran.events);
    assert_eq!(ran.record("slow"), made.record("slow"));
    // It is not ours to give up.
    assert_eq!(lease(&server, &key)["number"], 9);
}

/// Nothing is started any more, so nobody would ever look whether the other has made it.
#[test]
fn who_lost_his_lease_when_nothing_is_to_start_any_more_is_skipped() {
    let server = Server::start(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let bad = toy(&crate::toys::FAIL, "bad")
        .with("how", "transient")
        .exec("heals_at", 99_i64);
    let slow = slow(dir.path(), 100_000);
    let key = key(std::slice::from_ref(&slow));
    let ran = run_store(
        &at(&Space::new(), &server, terms(LASTS)),
        &graph(&[slow, bad]),
        &Wanted::default(),
        |settings| {
            settings.capacity.threads = 8;
            settings.fail_fast = true;
            // Before it has failed for good the other is at work.
            settings.retries.pause = Duration::from_secs(1);
        },
        |event| {
            if let Event::State {
                node,
                state: State::Failed { .. },
            } = event
            {
                assert_eq!(node, "bad");
                server.add(&name(&key), of_another(9, Duration::from_secs(3600)));
            }
        },
    );
    assert_eq!(ran.states(), ["skipped bad", "failed"]);
    assert!(
        !lines(&dir.path().join("ticks")).is_empty(),
        "it was at work"
    );
}

/// It does not hear that it is to stop, and gives other bytes each time.
#[test]
fn who_finishes_all_the_same_commits_nothing_beside_the_other_s_record() {
    let server = Server::start(Duration::ZERO);
    let drift = |wait_ms: i64| {
        [write("a", "red")
            .exec("drift", true)
            .exec("wait_ms", wait_ms)]
    };
    let (other, made) = elsewhere(&drift(0));
    let key = made.record("a").key;
    let space = Space::new();
    let ran = run(&at(&space, &server, terms(LASTS)), &drift(1500), |event| {
        if let Event::State {
            state: State::Running { .. },
            ..
        } = event
        {
            server.add(&name(&key), of_another(9, Duration::from_secs(3600)));
            let there = at(&other, &server, None);
            there.publish(&made.record("a"), true, &|| false).unwrap();
        }
    });
    assert_eq!(ran.states(), ["hit"]);
    assert_eq!(ran.record("a"), made.record("a"));
    assert!(ran.said("a", "another run has it"), "{:?}", ran.events);
    assert!(
        !ran.events
            .iter()
            .any(|e| matches!(e, Event::NotReproducible { .. }))
    );
}

#[test]
fn a_remote_without_an_answer_costs_two_seconds_and_one_without_the_right_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spec = [slow(dir.path(), 2), write("a", "red")];
    let server = Server::start(Duration::ZERO);
    server.breaks("PUT", "/leases/", Fault::Silence, usize::MAX);
    let began = Instant::now();
    let ran = run(&at(&Space::new(), &server, long()), &spec, |_| {});
    assert_eq!(ran.states(), ["done"; 2]);
    assert!(began.elapsed() < Duration::from_secs(8));
    let log = format!("{:?}", ran.events);
    assert_eq!(log.matches("does not answer").count(), 1, "{log}");
    assert_eq!(log.matches("s3://lab").count(), 1, "{log}");

    let server = Server::start(Duration::ZERO);
    server.breaks("PUT", "/leases/", Fault::Refused, usize::MAX);
    let ran = run(&at(&Space::new(), &server, long()), &spec, |_| {});
    assert_eq!(ran.states(), ["done"; 2]);
    assert_eq!(server.names("/actions/").len(), 2);
    let log = format!("{:?}", ran.events);
    assert_eq!(
        log.matches("takes records and no leases").count(),
        1,
        "{log}"
    );
    // Who may only read is told that, and nothing of leases.
    let server = Server::start(Duration::ZERO);
    server.breaks("PUT", "", Fault::Refused, usize::MAX);
    let ran = run(&at(&Space::new(), &server, long()), &spec, |_| {});
    let log = format!("{:?}", ran.events);
    assert_eq!(
        log.matches("this identity may only read").count(),
        1,
        "{log}"
    );
    assert_eq!(log.matches("leases").count(), 0, "{log}");
}

/// Renewals that nobody answers end neither the run nor the remote.
#[test]
fn who_hears_nothing_of_his_lease_goes_on() {
    let server = Server::start(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let spec = [slow(dir.path(), 100)];
    let mut broken = false;
    let ran = run(&at(&Space::new(), &server, terms(LASTS)), &spec, |event| {
        if matches!(event, Event::Progress { .. }) && !broken {
            broken = true;
            server.breaks("PUT", "/leases/", Fault::AnswerLost, usize::MAX);
            server.breaks("GET", "/leases/", Fault::AnswerLost, usize::MAX);
        }
    });
    assert_eq!(ran.states(), ["done"]);
    assert_eq!(lines(&dir.path().join("ticks")).len(), 100);
    assert_eq!(server.names("/actions/").len(), 1, "it is published");
}

#[test]
fn a_run_that_is_stopped_gives_its_lease_up() {
    let server = Server::start(Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let spec = [slow(dir.path(), 500)];
    let stop = Stop::default();
    let asked = stop.clone();
    let space = Space::new();
    let store = at(&space, &server, long());
    let ran = run_store(
        &store,
        &graph(&spec),
        &Wanted::default(),
        |settings| settings.stop = stop,
        |event| {
            if matches!(event, Event::Progress { .. }) && asked.requests() == 0 {
                asked.request();
            }
        },
    );
    assert_eq!(ran.states(), ["interrupted"]);
    assert_eq!(lease(&server, &key(&spec))["released"], true);
}

#[test]
fn who_makes_room_removes_leases_that_nobody_holds() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, days: u64| {
        let path = dir.path().join("leases/ab").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, of_another(1, LASTS)).unwrap();
        let back = UNIX_EPOCH + Duration::from_millis(clock::now_ms() - days * super::DAY);
        let open = File::options().write(true).open(&path).unwrap();
        open.set_modified(back).unwrap();
        path
    };
    let (old, young) = (file("old/1", 2), file("young/1", 0));
    let address = Address::parse(dir.path().to_str().unwrap()).unwrap();
    let bucket = Bucket::new(address, BTreeMap::new()).patiently();
    let policy = collect::Policy {
        recent_ms: 0,
        grace_ms: collect::LEAST_GRACE_MS,
        pinned: BTreeMap::new(),
    };
    let sweep::Taken::Ours(lock) = sweep::lock(&bucket, "ada", false).unwrap() else {
        panic!("nobody else has it");
    };
    let swept = sweep::sweep(&lock, &policy, &[]).unwrap();
    assert_eq!(swept.leases, 1);
    assert!(!old.exists() && young.exists());
}
