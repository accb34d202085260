//! The engine on toy kinds, with real worker processes: what reruns, what resumes, what is never committed.

mod expected;
mod noticed;

use crate::skipped::skip;
use pipe::base::params::unsaid;
use pipe::base::value::{Value, Values};
use pipe::engine::events::event::{End, Event, State};
use pipe::engine::events::journal;
use pipe::engine::graph::changes::Reason;
use pipe::engine::graph::{Edge, Graph, Node, NodeId};
use pipe::engine::kind::Kind;
use pipe::engine::kind::attempt::Attempt;
use pipe::engine::kind::failure::Failure;
use pipe::engine::plan::verdict::Verdict;
use pipe::engine::plan::why;
use pipe::engine::plan::{self, Wanted};
use pipe::engine::run::{self, Outcome, Settings, Stop};
use pipe::engine::store::Store;
use pipe::engine::store::record::{Cost, Record};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use tempfile::TempDir;

#[test]
fn a_second_run_is_all_hits() {
    let space = Space::new();
    let spec = [
        write("hello", "hello"),
        write("world", "world"),
        join("both", "hello", Some("world")),
    ];
    let first = space.run(&spec);
    assert_eq!(first.states(), ["done", "done", "done"]);
    assert_eq!(first.text("both"), "hello world");
    let second = space.run(&spec);
    assert_eq!(second.states(), ["hit", "hit", "hit"]);
    assert_eq!(second.text("both"), "hello world");
}

#[test]
fn a_changed_parameter_reruns_the_node_and_what_hangs_below_and_names_the_field() {
    let space = Space::new();
    let spec = |a: &str| {
        [
            write("a", a),
            write("b", "same"),
            join("ab", "a", Some("b")),
        ]
    };
    space.run(&spec("one"));
    let plan = space.plan(&spec("two"));
    assert_eq!(plan.words(), ["run", "hit", "maybe"]);
    let reason = Reason::Param {
        name: "text".into(),
        old: Some("\"one\"".into()),
        new: Some("\"two\"".into()),
    };
    assert_eq!(plan.reasons("a"), vec![reason]);
    let ran = space.run(&spec("two"));
    assert_eq!(ran.states(), ["done", "hit", "done"]);
    let below = ran.ready_reasons("ab");
    assert!(
        matches!(&below[..], [Reason::Input { port, was: Some(w), now: Some(n) }] if port == "a" && w != n),
        "{below:?}"
    );
}

#[test]
fn a_parameter_that_is_added_or_removed_is_named() {
    let space = Space::new();
    space.run(&[write("a", "text").with("keep", 2)]);
    let reasons = space.plan(&[write("a", "text")]).reasons("a");
    assert_eq!(
        reasons,
        vec![Reason::Param {
            name: "keep".into(),
            old: Some("2".into()),
            new: None
        }]
    );
}

#[test]
fn equal_bytes_from_above_stop_the_rerun() {
    let space = Space::new();
    let spec = |text: &str| [write("a", text).with("keep", 3), join("below", "a", None)];
    space.run(&spec("abcd"));
    assert_eq!(space.plan(&spec("abcX")).words(), ["run", "maybe"]);
    assert_eq!(space.run(&spec("abcX")).states(), ["done", "hit"]);
}

#[test]
fn names_and_places_and_execution_parameters_are_not_identity() {
    let space = Space::new();
    let (one, other) = (
        space.file("one.txt", "data"),
        space.dir.path().join("deep/other.txt"),
    );
    let spec = |suffix: &str, path: &Path, color: &str| {
        let w = format!("w{suffix}");
        [
            write(&w, "x").exec("color", color),
            toy(&crate::toys::SOURCE, &format!("s{suffix}")).with("from", path.to_str().unwrap()),
            join(&format!("j{suffix}"), &w, None),
        ]
    };
    assert_eq!(space.run(&spec("", &one, "green")).states(), ["done"; 3]);
    std::fs::create_dir(other.parent().unwrap()).unwrap();
    std::fs::rename(&one, &other).unwrap();
    assert_eq!(space.run(&spec("2", &other, "red")).states(), ["hit"; 3]);
}

#[test]
fn a_changed_source_is_seen_even_right_after_it_was_read() {
    let space = Space::new();
    let path = space.file("data.txt", "aaaa");
    let spec = [toy(&crate::toys::SOURCE, "s").with("from", path.to_str().unwrap())];
    space.run(&spec);
    space.file("data.txt", "bbbb");
    let plan = space.plan(&spec);
    assert_eq!(
        plan.reasons("s"),
        vec![Reason::Source {
            name: "from".into()
        }]
    );
    assert_eq!(space.run(&spec).text("s"), "bbbb");
}

#[test]
fn a_folder_and_a_list_of_paths_are_identified_by_their_contents() {
    let space = Space::new();
    let folder = space.dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a"), "1").unwrap();
    let more = space.file("more", "m");
    let list = Value::List(vec![Value::Str(more.to_str().unwrap().into())]);
    let spec = [toy(&crate::toys::SOURCE, "s")
        .with("from", folder.to_str().unwrap())
        .with("more", list)];
    assert_eq!(space.run(&spec).text("s"), "1m");
    assert_eq!(space.run(&spec).states(), ["hit"]);
    std::fs::rename(folder.join("a"), folder.join("b")).unwrap();
    assert_eq!(space.run(&spec).states(), ["done"]);
    space.file("more", "n");
    assert_eq!(space.run(&spec).text("s"), "1n");
}

#[test]
fn integers_and_floats_are_different_and_floats_reach_the_worker_exactly() {
    let space = Space::new();
    space.run(&[write("a", "x").with("weight", 0.1 + 0.2)]);
    let record = &space.store().records().unwrap()[0];
    assert!(
        record
            .manifest
            .contains("param weight = 0.30000000000000004\n"),
        "{}",
        record.manifest
    );
    assert_eq!(
        space.run(&[write("a", "x").with("weight", 0.3)]).states(),
        ["done"]
    );
    let values: Values = BTreeMap::from([("w".to_string(), Value::Float(0.1 + 0.2))]);
    let text = pipe::engine::kind::attempt::write_values(&values).unwrap();
    assert_eq!(
        pipe::engine::kind::attempt::read_values(&text).unwrap(),
        values
    );
}

#[test]
fn a_failure_skips_what_hangs_below_by_name_and_nothing_else() {
    let space = Space::new();
    let mut below = join("below", "bad", Some("good"));
    below.inputs.insert("a", "bad".into());
    let ran = space.run(&[
        toy(&crate::toys::FAIL, "bad"),
        write("good", "g"),
        below,
        join("lowest", "below", None),
        join("apart", "good", None),
    ]);
    assert_eq!(
        ran.states(),
        ["failed", "done", "skipped bad", "skipped bad", "done"]
    );
    let Some(Failure::Nodes(failed)) = ran.outcome.failure() else {
        panic!("a failed node fails the run");
    };
    assert_eq!(failed, [("bad".to_string(), "as asked".to_string())]);
    assert_eq!(Failure::Nodes(failed).exit_code(), 1);
}

#[test]
fn a_panic_an_exit_and_an_empty_output_are_failures_with_their_reason() {
    let space = Space::new();
    let how = |name: &str| toy(&crate::toys::FAIL, name).with("how", name);
    let ran = space.run(&[how("panic"), how("exit"), how("nothing")]);
    let failed = |name: &str| match &ran.outcome.find(name).unwrap().state {
        State::Failed { message, tail, .. } => (message.clone(), tail.clone()),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(failed("panic").0, "the worker panicked");
    assert!(failed("panic").1.contains("as asked"));
    assert_eq!(
        failed("exit"),
        (
            "the worker ended with exit status 3".into(),
            "last words".into()
        )
    );
    assert_eq!(failed("nothing").0, "output `out` is empty");
    assert!(space.store().records().unwrap().is_empty());
}

#[test]
fn a_killed_worker_is_named_and_its_work_is_continued() {
    let space = Space::new();
    let ticks = space.dir.path().join("ticks");
    let slow = |name: &str| toy(&crate::toys::SLOW, name).with("ticks", 8);
    let dying = [slow("slow")
        .exec("die_at", 5)
        .exec("count", ticks.to_str().unwrap())];
    let once = |s: &mut Settings| s.retries.most = 0;
    let first = space.run_with(&dying, once, |_| {});
    let State::Failed { message, .. } = &first.outcome.nodes[0].state else {
        panic!("{:?}", first.outcome.nodes[0].state);
    };
    assert!(
        message.starts_with("the worker was killed by SIGKILL; its peak was "),
        "{message}"
    );

    let decision = &space.plan(&dying).plan.nodes[0].decision;
    assert!(
        matches!(decision.verdict, Verdict::Resume { fraction: Some(f), .. } if f == 0.5),
        "{:?}",
        decision.verdict
    );
    let second = space.run(&dying);
    assert_eq!(second.states(), ["done"]);
    // Tick 5 was lost with the worker, 1 to 4 were not repeated.
    assert_eq!(lines(&ticks), ["1", "2", "3", "4", "5", "5", "6", "7", "8"]);
    let record = second.record("slow");
    assert_eq!(record.cost.attempts, 2);
    assert_eq!(
        metric_steps(&space.store(), &record),
        (1..=8).collect::<Vec<u64>>()
    );
    assert!(
        Attempt::of(&space.store(), &record.key).unwrap().is_empty(),
        "attempts go after the commit"
    );

    let calm = Space::new();
    let undisturbed = calm.run(&[slow("slow")]);
    assert_eq!(undisturbed.record("slow").outputs, record.outputs);
    assert_eq!(undisturbed.record("slow").key, record.key);
}

#[test]
fn an_unreadable_checkpoint_falls_back_to_the_one_before() {
    let space = Space::new();
    let spec = [toy(&crate::toys::SLOW, "slow")
        .with("ticks", 8)
        .exec("die_at", 7)];
    space.run_with(&spec, |s| s.retries.most = 0, |_| {});
    let store = space.store();
    let key = space.plan(&spec).plan.nodes[0]
        .decision
        .key
        .clone()
        .unwrap();
    let attempt = Attempt::of(&store, &key).unwrap().remove(0);
    assert_eq!(
        pipe::engine::system::files::names(&attempt.resume()).unwrap(),
        ["tick-000004", "tick-000006"],
        "two are kept"
    );
    std::fs::write(attempt.resume().join("tick-000006/state"), "garbage").unwrap();
    let ran = space.run(&spec);
    assert!(ran.said(
        "slow",
        "checkpoint tick-000006 does not hold what was written"
    ));
    assert!(ran.said("slow", "starting at 4 of 8 with"));
    let undisturbed = Space::new()
        .run(&[toy(&crate::toys::SLOW, "slow").with("ticks", 8)])
        .text("slow");
    assert_eq!(ran.text("slow"), undisturbed);
}

#[test]
fn a_stopped_run_is_interrupted_and_continues_where_it_was() {
    let space = Space::new();
    let ticks = space.dir.path().join("ticks");
    let spec = [
        toy(&crate::toys::SLOW, "slow")
            .with("ticks", 40)
            .exec("count", ticks.to_str().unwrap()),
        join("below", "slow", None),
    ];
    let stop = Stop::default();
    let asked = stop.clone();
    let first = space.run_with(
        &spec,
        |settings| settings.stop = stop,
        |event| {
            if matches!(event, Event::Progress { .. }) && asked.requests() == 0 {
                asked.request();
            }
        },
    );
    assert_eq!(first.states(), ["interrupted", "interrupted"]);
    assert_eq!(first.outcome.failure().map(|f| f.exit_code()), Some(130));
    assert!(lines(&ticks).len() < 40, "it stopped on the way");
    let second = space.run(&spec);
    assert_eq!(second.states(), ["done", "done"]);
    let expected: Vec<String> = (1..=40).map(|t| t.to_string()).collect();
    assert_eq!(lines(&ticks), expected, "no tick is lost or repeated");
}

#[test]
fn two_engines_on_one_store_execute_each_node_once() {
    let space = Space::new();
    let (writes, joins) = (
        space.dir.path().join("writes"),
        space.dir.path().join("joins"),
    );
    let mut spec = vec![];
    for i in 0..4 {
        let name = format!("w{i}");
        let writer = write(&name, &name).exec("wait_ms", 30);
        spec.push(writer.exec("count", writes.to_str().unwrap()));
        spec.push(join(&format!("j{i}"), &name, None).exec("count", joins.to_str().unwrap()));
    }
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| space.run(&spec).states());
        let two = scope.spawn(|| space.run(&spec).states());
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!((lines(&writes).len(), lines(&joins).len()), (4, 4));
    for (a, b) in one.iter().zip(&two) {
        assert!(
            matches!((a.as_str(), b.as_str()), ("done", "hit") | ("hit", "done")),
            "{a} and {b}"
        );
    }
}

#[test]
fn twins_in_one_graph_are_executed_once() {
    let space = Space::new();
    let writes = space.dir.path().join("writes");
    let twin = |name: &str| {
        write(name, "same")
            .exec("wait_ms", 20)
            .exec("count", writes.to_str().unwrap())
    };
    let ran = space.run(&[twin("a"), twin("b")]);
    assert_eq!(lines(&writes).len(), 1);
    assert_eq!(ran.states(), ["done", "hit"]);
}

#[test]
fn a_missing_object_is_a_miss_and_comes_back() {
    let space = Space::new();
    let spec = [write("a", "text"), join("below", "a", None)];
    let first = space.run(&spec);
    let blob = first.record("a").outputs["out"].files[0].clone();
    let object = space.store().objects().path(&blob.digest);
    std::fs::remove_file(&object).unwrap();
    let plan = space.plan(&spec);
    // `join` of one text gives the same bytes, so its artifact lost the same object.
    assert_eq!(
        plan.reasons("a"),
        vec![Reason::Missing {
            what: vec!["out/text.txt".into()]
        }]
    );
    let second = space.run(&spec);
    assert_eq!(second.states(), ["done", "hit"]);
    assert_eq!(std::fs::read_to_string(object).unwrap(), "text");
    assert_eq!(
        second.record("a").provenance.run,
        first.outcome.run,
        "the first record stays"
    );
}

#[test]
fn verify_finds_a_flipped_byte_and_the_next_run_heals_it() {
    let space = Space::new();
    let spec = [write("a", "text")];
    let record = space.run(&spec).record("a").clone();
    let store = space.store();
    assert!(store.verify(&record).unwrap().is_empty());
    let object = store.objects().path(&record.outputs["out"].files[0].digest);
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    assert!(
        std::fs::metadata(&object).unwrap().permissions().readonly(),
        "objects are read-only"
    );
    std::fs::set_permissions(&object, mode).unwrap();
    std::fs::write(&object, "teXt").unwrap();
    assert_eq!(store.verify(&record).unwrap(), ["out/text.txt"]);
    assert_eq!(quarantined(&space).len(), 1);
    assert_eq!(space.run(&spec).states(), ["done"]);
    assert_eq!(std::fs::read_to_string(object).unwrap(), "text");
}

#[test]
fn an_object_of_the_wrong_size_is_quarantined_by_the_run() {
    let space = Space::new();
    let spec = [write("a", "text")];
    let record = space.run(&spec).record("a").clone();
    let object = space
        .store()
        .objects()
        .path(&record.outputs["out"].files[0].digest);
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "te").unwrap();
    assert_eq!(space.run(&spec).text("a"), "text");
    assert_eq!(quarantined(&space).len(), 1);
}

#[test]
fn an_unreadable_record_is_a_miss_and_is_replaced() {
    let space = Space::new();
    let spec = [write("a", "text")];
    let key = space.run(&spec).record("a").key.clone();
    let path = space
        .root()
        .join("actions")
        .join(key.shard())
        .join(format!("{key}.json"));
    std::fs::write(&path, "{").unwrap();
    assert!(matches!(
        &space.plan(&spec).reasons("a")[..],
        [Reason::Missing { .. }]
    ));
    assert_eq!(space.run(&spec).states(), ["done"]);
    assert_eq!(space.run(&spec).states(), ["hit"]);
}

#[test]
fn a_record_is_create_only() {
    let space = Space::new();
    let mut record = space.run(&[write("a", "text")]).record("a").clone();
    record.provenance.node = "usurper".into();
    assert!(!space.store().add_record(&record).unwrap());
    let kept = space.store().record(&record.key).unwrap().unwrap();
    assert_eq!(kept.provenance.node, "a");
}

#[test]
fn a_forced_node_that_gives_the_same_bytes_is_reproduced() {
    let space = Space::new();
    let spec = [write("a", "text"), join("below", "a", None)];
    let first = space.run(&spec);
    let again = space.run_fresh(&spec, "a");
    assert_eq!(again.states(), ["done", "hit"]);
    assert_eq!(again.ready_reasons("a"), vec![Reason::Forced]);
    assert!(again.events.iter().any(|e| matches!(
        e,
        Event::Committed {
            reproduced: true,
            ..
        }
    )));
    assert_eq!(again.record("a").provenance.run, first.outcome.run);
}

#[test]
fn what_a_run_spent_is_told_and_the_earlier_record_stays_as_it_is() {
    let space = Space::new();
    let slow = |tick_ms: i64| {
        let node = toy(&crate::toys::SLOW, "slow").with("ticks", 6);
        node.exec("tick_ms", tick_ms).exec("tick_dollars", 1.0)
    };
    let record = space.run(&[slow(1).exec("die_at", 3)]).record("slow");
    assert_eq!((record.cost.attempts, record.cost.dollars), (2, 7.0));
    let again = space.run_fresh(&[slow(100)], "slow");
    assert_eq!(again.record("slow"), record);
    let told = again.events.iter().find_map(|e| match e {
        Event::Committed { cost, .. } => Some(cost),
        _ => None,
    });
    let end = again.outcome.find("slow").unwrap();
    assert_eq!((told, end.cost()), (Some(&end.spent), Some(&end.spent)));
    assert_eq!((end.spent.attempts, end.spent.dollars), (1, 6.0));
    assert!((0.6..6.0).contains(&end.spent.seconds), "{:?}", end.spent);
    assert!(end.spent.started_ms > record.cost.started_ms);
    let hit = space.run(&[slow(1)]);
    let hit = hit.outcome.find("slow").unwrap();
    assert_eq!(
        (&hit.spent, hit.cost()),
        (&Cost::default(), Some(&record.cost))
    );
}

#[test]
fn a_run_tells_what_it_spent_and_not_what_earlier_ones_did() {
    let space = Space::new();
    let (fails, goes_on) = (|s: &mut Settings| s.retries.most = 0, |_: &mut Settings| {});
    let slow = toy(&crate::toys::SLOW, "slow").with("ticks", 6);
    let slow = [slow.exec("tick_dollars", 1.0).exec("die_at", 3)];
    let cut = space.run_with(&slow, fails, |_| {});
    let end = cut.outcome.find("slow").unwrap();
    assert_eq!((end.spent.attempts, end.spent.dollars), (1, 3.0));
    assert_eq!(end.cost(), None);
    let rest = space.run_with(&slow, goes_on, |_| {});
    let end = rest.outcome.find("slow").unwrap();
    assert_eq!((end.spent.attempts, end.spent.dollars), (1, 4.0));
    let whole = rest.record("slow").cost;
    assert_eq!((whole.attempts, whole.dollars), (2, 7.0));
}

#[test]
fn a_forced_node_that_is_tried_again_goes_on_from_this_runs_work_alone() {
    let space = Space::new();
    let ticks = space.dir.path().join("ticks");
    let slow = toy(&crate::toys::SLOW, "slow").with("ticks", 6);
    let slow = [slow
        .exec("count", ticks.to_str().unwrap())
        .exec("die_at", 3)];
    let walked = ["1", "2", "3", "3", "4", "5", "6"];
    assert_eq!(space.run(&slow).states(), ["done"]);
    assert_eq!(lines(&ticks), walked);
    let again = space.run_fresh(&slow, "slow");
    assert_eq!(lines(&ticks)[walked.len()..], walked);
    assert_eq!(again.outcome.find("slow").unwrap().spent.attempts, 2);
}

#[test]
fn a_forced_node_that_gives_other_bytes_is_reported_and_takes_the_place() {
    let space = Space::new();
    let spec = [
        write("a", "text").exec("drift", true),
        join("below", "a", None),
    ];
    let first = space.run(&spec).text("a");
    let again = space.run_fresh(&spec, "a");
    assert_eq!(again.states(), ["done", "done"]);
    let told = |e: &Event| matches!(e, Event::NotReproducible { .. });
    assert!(again.events.iter().any(told));
    assert_ne!(again.text("a"), first);
    assert_eq!(quarantined(&space).len(), 1);
    assert_eq!(space.run(&spec).states(), ["hit", "hit"]);
}

#[test]
fn only_the_wanted_nodes_and_what_they_need_run() {
    let space = Space::new();
    let graph = graph(&[
        write("a", "a"),
        write("b", "b"),
        join("j", "a", None),
        join("k", "b", None),
    ]);
    let wanted = Wanted {
        only: vec![graph.find("k").unwrap()],
        ..Wanted::default()
    };
    let ran = space.run_graph(&graph, &wanted, |_| {}, |_| {});
    let names: Vec<&str> = ran.outcome.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["b", "k"]);
    assert_eq!(ran.states(), ["done", "done"]);
}

#[test]
fn why_names_the_root_and_explains_hits() {
    let space = Space::new();
    let spec = |text: &str| {
        graph(&[
            write("a", text),
            join("b", "a", None),
            join("c", "b", None).with("separator", "-"),
        ])
    };
    let (old, new) = (spec("one"), spec("two"));
    space.run_graph(
        &old,
        &Wanted::default(),
        |s| s.recipes = vec![("first.toml".into(), "x".into())],
        |_| {},
    );
    let store = space.store();
    let c = new.find("c").unwrap();

    let hit = why::why(&store, &old, c, &Wanted::default()).unwrap();
    assert!(matches!(hit.planned.decision.verdict, Verdict::Hit(_)));
    let made = hit.record.unwrap();
    assert_eq!(
        (
            made.provenance.recipe.as_str(),
            made.provenance.node.as_str()
        ),
        ("first.toml", "c")
    );
    assert!(made.seconds > 0.0 && made.started_ms > 0);

    let maybe = why::why(&store, &new, c, &Wanted::default()).unwrap();
    assert!(matches!(
        maybe.planned.decision.verdict,
        Verdict::Maybe { .. }
    ));
    let [cause] = &maybe.causes[..] else {
        panic!("{:?}", maybe.causes)
    };
    assert!(cause.root && cause.node == "a");
    assert!(matches!(&cause.reasons[..], [Reason::Param { name, .. }] if name == "text"));

    // Once everything above has run, the cause is found in the records.
    let only = Wanted {
        only: vec![new.find("b").unwrap()],
        ..Wanted::default()
    };
    space.run_graph(&new, &only, |_| {}, |_| {});
    let run = why::why(&store, &new, c, &Wanted::default()).unwrap();
    assert!(
        matches!(&run.planned.decision.verdict.reasons(), [Reason::Input { port, .. }] if port == "a")
    );
    let root = run
        .causes
        .iter()
        .find(|c| c.root)
        .expect("a cascade has a root");
    assert_eq!(root.node, "a");
    assert!(matches!(&root.reasons[..], [Reason::Param { name, .. }] if name == "text"));
}

#[test]
fn what_plan_says_is_what_run_does() {
    let space = Space::new();
    let spec = |x: &str, sep: &str| {
        [
            write("x", x),
            write("y", "y"),
            join("j", "x", Some("y")).with("separator", sep),
            join("k", "j", None),
        ]
    };
    for (x, sep) in [("1", " "), ("1", " "), ("2", " "), ("2", "+"), ("1", " ")] {
        let words = space.plan(&spec(x, sep)).words();
        let states = space.run(&spec(x, sep)).states();
        for (word, state) in words.iter().zip(&states) {
            let agrees = match word.as_str() {
                "hit" => state == "hit",
                "run" => state == "done",
                _ => state == "hit" || state == "done",
            };
            assert!(agrees, "{word} became {state} at {x:?} {sep:?}");
        }
    }
}

#[test]
fn a_run_reads_back_and_a_torn_tail_is_tolerated() {
    let space = Space::new();
    let spec = [toy(&crate::toys::SLOW, "a"), join("b", "a", None)];
    let recipes = vec![("one.toml".to_string(), "# text".to_string())];
    let ran = space.run_with(&spec, |s| s.recipes = recipes.clone(), |_| {});
    let store = space.store();
    let read = journal::read(&store, &ran.outcome.run).unwrap();
    assert_eq!(read.recipes, recipes);
    let events: Vec<Event> = read.events.into_iter().map(|s| s.event).collect();
    // The journal keeps fewer progress events than the listener hears, and everything else.
    let rest = |events: &[Event]| -> Vec<Event> {
        let other = |e: &&Event| !matches!(e, Event::Progress { .. });
        events.iter().filter(other).cloned().collect()
    };
    assert_eq!(rest(&events), rest(&ran.events));
    assert_eq!(
        events
            .iter()
            .filter(|e| matches!(e, Event::Metric { .. }))
            .count(),
        10
    );
    assert!(
        matches!(events.last(), Some(Event::RunEnded { end: End::Whole, counts, .. }) if counts.done == 2)
    );

    let path = store.runs().join(&ran.outcome.run).join("events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 9]).unwrap();
    let torn = journal::read(&store, &ran.outcome.run).unwrap();
    assert_eq!(torn.events.len(), events.len() - 1);
    assert_eq!(torn.unreadable, 0, "a killed run has a torn tail");
    std::fs::write(&path, format!("garbage\n{text}")).unwrap();
    let damaged = journal::read(&store, &ran.outcome.run).unwrap();
    assert_eq!(
        (damaged.events.len(), damaged.unreadable),
        (events.len(), 1)
    );
}

#[test]
fn secrets_reach_the_worker_that_names_them_and_no_file() {
    const CANARY: &str = "PIPE_TEST_CANARY";
    let canary = "tweet-4711-tweet";
    if std::env::var_os(CANARY).is_none() {
        // Only a process of its own may have the variable.
        let status = Command::new(std::env::current_exe().unwrap())
            .args(only("secrets_reach_the_worker_that_names_them_and_no_file"))
            .env(CANARY, canary)
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let space = Space::new();
    let ran = space.run(&[write("a", "x").exec("secret_env", CANARY)]);
    assert_eq!(ran.states(), ["done"]);
    assert!(ran.said("a", "the secret has 16 characters"));
    for path in files(&space.root()) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(canary), "{} holds it", path.display());
    }
}

#[test]
fn a_variable_that_is_not_set_stops_everything_before_it_begins() {
    let space = Space::new();
    let graph = graph(&[
        write("plain", "x"),
        write("a", "y").exec("secret_env", "NO_SUCH_VARIABLE_HERE"),
        write("b", "z").exec("secret_env", "NOR_THIS_ONE"),
    ]);
    let store = Store::open(&space.root()).unwrap();
    let mut settings = Settings::new().unwrap();
    settings.program = crate::study::program();
    let ran = run::run(&store, &graph, &Wanted::default(), &settings, &mut |_| {});
    let failure = ran.err().expect("it is not to run");
    assert_eq!(failure.exit_code(), 3);
    let told = failure.to_string();
    assert!(
        told.contains("\n  `b`: NOR_THIS_ONE\n  `a`: NO_SUCH_VARIABLE_HERE\n"),
        "{told}"
    );
    let records = files(&space.root().join("actions"));
    assert!(records.is_empty(), "something ran: {records:?}");
}

#[test]
fn a_store_of_a_newer_format_is_refused() {
    let space = Space::new();
    space.run(&[write("a", "x")]);
    std::fs::write(space.root().join("format"), "999\n").unwrap();
    let Err(failure) = Store::open(&space.root()) else {
        panic!("it was opened")
    };
    assert_eq!(failure.exit_code(), 3);
    assert!(
        failure
            .to_string()
            .contains("has format 999, made by a newer version"),
        "{failure}"
    );
}

#[test]
fn a_folder_that_is_no_store_and_a_file_are_refused() {
    let space = Space::new();
    space.file("precious.txt", "x");
    let Err(failure) = Store::open(space.dir.path()) else {
        panic!("it was opened")
    };
    assert!(
        failure.to_string().contains("not empty and is not a store"),
        "{failure}"
    );
    let Err(failure) = Store::open(&space.dir.path().join("precious.txt")) else {
        panic!("it was opened")
    };
    assert_eq!(failure.exit_code(), 3);
}

#[test]
fn cpu_tokens_are_shared_evenly_and_never_exceeded() {
    let space = Space::new();
    let slow = |name: &str, seed: i64| {
        toy(&crate::toys::SLOW, name)
            .with("ticks", 5)
            .with("seed", seed)
    };
    let spec = [
        slow("s1", 1),
        slow("s2", 2),
        write("w1", "1"),
        write("w2", "2"),
    ];
    let most = Mutex::new((0, 0));
    let mut now: BTreeMap<String, usize> = BTreeMap::new();
    let ran = space.run_with(
        &spec,
        |s| s.capacity.threads = 6,
        |event| {
            if let Event::State { node, state } = event {
                match state {
                    State::Running { threads, .. } => now.insert(node.clone(), *threads),
                    _ => now.remove(node),
                };
                let mut most = most.lock().unwrap();
                *most = (most.0.max(now.values().sum()), most.1.max(now.len()));
            }
        },
    );
    assert_eq!(ran.states(), ["done"; 4]);
    assert_eq!(*most.lock().unwrap(), (6, 4));
}

#[test]
fn long_nodes_get_a_core_each_while_there_is_one_for_every_core() {
    let space = Space::new();
    let spec = [1, 2, 3].map(|seed| {
        toy(&crate::toys::SLOW, &format!("s{seed}"))
            .with("ticks", 5)
            .with("seed", seed)
    });
    let mut given = vec![];
    let ran = space.run_with(
        &spec,
        |s| s.capacity.threads = 2,
        |event| {
            if let Event::State {
                state: State::Running { threads, .. },
                ..
            } = event
            {
                given.push(*threads);
            }
        },
    );
    assert_eq!(ran.states(), ["done"; 3]);
    // The last one begins beside the second, instead of waiting for both cores.
    assert_eq!(given, [1, 1, 1]);
}

#[test]
fn a_killed_engine_leaves_a_store_that_the_next_run_continues() {
    const STORE: &str = "PIPE_TEST_STORE_OF_KILLED_ENGINE";
    let spec = |ticks: &Path| {
        let slow = toy(&crate::toys::SLOW, "slow").with("ticks", 30);
        let slow = slow.exec("count", ticks.to_str().unwrap());
        [slow, join("below", "slow", None)]
    };
    if let Some(dir) = std::env::var_os(STORE) {
        // The child: an engine that will be killed.
        let dir = PathBuf::from(dir);
        let graph = graph(&spec(&dir.join("ticks")));
        run_in(&dir, &graph, &Wanted::default(), |_| {}, |_| {});
        return;
    }
    let undisturbed = Space::new();
    let calm = undisturbed.run(&spec(&undisturbed.dir.path().join("ticks")));

    let space = Space::new();
    let ticks = space.dir.path().join("ticks");
    for target in [3, 9, 15] {
        let mut engine = Command::new(std::env::current_exe().unwrap())
            .args(only(
                "a_killed_engine_leaves_a_store_that_the_next_run_continues",
            ))
            .env(STORE, space.dir.path())
            .spawn()
            .unwrap();
        wait_until(|| lines(&ticks).len() >= target);
        engine.kill().unwrap();
        engine.wait().unwrap();
    }
    // The last worker may still be saving its state: the next engine waits for its lock.
    let ran = space.run(&spec(&ticks));
    assert_eq!(ran.states(), ["done", "done"]);
    assert_eq!(ran.record("slow").outputs, calm.record("slow").outputs);
    assert_eq!(ran.record("slow").cost.attempts, 4);
    let expected: Vec<String> = (1..=30).map(|t| t.to_string()).collect();
    assert_eq!(
        lines(&ticks),
        expected,
        "workers save their state when their engine dies"
    );
    assert!(
        pipe::engine::system::files::names(&space.store().attempts())
            .unwrap()
            .is_empty()
    );
    let cut = journal::runs(&space.store()).unwrap();
    assert_eq!(cut.len(), 4);
    let first = journal::read(&space.store(), &cut[0]).unwrap();
    assert!(!matches!(
        first.events.last().unwrap().event,
        Event::RunEnded { .. }
    ));
}

#[test]
fn a_full_or_read_only_disk_is_an_environment_failure_and_loses_nothing() {
    const DISK: &str = "PIPE_TEST_SMALL_DISK";
    let small = [write("small", "s")];
    let large = |name: &str, text: &str| write(name, text).with("repeat", 700_000);
    let spec = [write("small", "s"), large("big", "x"), large("big2", "y")];
    if let Some(disk) = std::env::var_os(DISK) {
        // The child, which sees a file system of one mebibyte here.
        let disk = PathBuf::from(disk);
        let run = |toys: &[Toy]| {
            run_in(
                &disk,
                &graph(toys),
                &Wanted::default(),
                |s| s.capacity.threads = 1,
                |_| {},
            )
        };
        assert_eq!(run(&small).states(), ["done"]);
        let full = run(&spec);
        let failure = full
            .outcome
            .failure()
            .expect("two of the large ones do not fit");
        assert_eq!(failure.exit_code(), 3, "{failure}");
        assert!(failure.to_string().contains("No space left"), "{failure}");
        assert_eq!(
            run(&small).states(),
            ["hit"],
            "what was committed is still there"
        );
        let status = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&disk)
            .status()
            .unwrap();
        assert!(status.success());
        let store = Store::open(&disk.join("store")).unwrap();
        let planned = plan::plan(&store, &graph(&small), &Wanted::default()).unwrap();
        assert_eq!(
            planned.nodes[0].decision.verdict.word(),
            "hit",
            "reading still works"
        );
        let Err(failure) = store.prepare() else {
            panic!("it was writable")
        };
        assert!(
            failure
                .to_string()
                .starts_with("cannot write to the store at"),
            "{failure}"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$PIPE_TEST_SMALL_DISK\"";
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["-rm", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap());
        command.env(DISK, dir.path());
        command
    };
    if !unshare(mount).output().is_ok_and(|o| o.status.success()) {
        skip("right to mount a small file system");
        return;
    }
    let output = unshare(&format!("{mount} && exec \"$0\" \"$@\""))
        .args(only(
            "a_full_or_read_only_disk_is_an_environment_failure_and_loses_nothing",
        ))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A toy node before it is a `Node`: inputs by name.
#[derive(Clone)]
pub(crate) struct Toy {
    kind: &'static Kind,
    name: String,
    params: Values,
    exec: Values,
    inputs: BTreeMap<&'static str, String>,
}

impl Toy {
    pub(crate) fn with(mut self, param: &str, value: impl IntoValue) -> Toy {
        self.params.insert(param.into(), value.value());
        self
    }

    pub(crate) fn exec(mut self, param: &str, value: impl IntoValue) -> Toy {
        self.exec.insert(param.into(), value.value());
        self
    }
}

pub(crate) trait IntoValue {
    fn value(self) -> Value;
}
impl IntoValue for &str {
    fn value(self) -> Value {
        Value::Str(self.into())
    }
}
impl IntoValue for i64 {
    fn value(self) -> Value {
        Value::Int(self)
    }
}
impl IntoValue for f64 {
    fn value(self) -> Value {
        Value::Float(self)
    }
}
impl IntoValue for bool {
    fn value(self) -> Value {
        Value::Bool(self)
    }
}
impl IntoValue for Value {
    fn value(self) -> Value {
        self
    }
}

pub(crate) fn toy(kind: &'static Kind, name: &str) -> Toy {
    Toy {
        kind,
        name: name.into(),
        params: unsaid((kind.params)()),
        exec: unsaid(kind.own_execution()),
        inputs: BTreeMap::new(),
    }
}

pub(crate) fn write(name: &str, text: &str) -> Toy {
    toy(&crate::toys::WRITE, name).with("text", text)
}

pub(crate) fn join(name: &str, a: &str, b: Option<&str>) -> Toy {
    let mut toy = toy(&crate::toys::JOIN, name);
    toy.inputs.insert("a", a.into());
    if let Some(b) = b {
        toy.inputs.insert("b", b.into());
    }
    toy
}

pub(crate) fn graph(toys: &[Toy]) -> Graph {
    let place = |name: &String| NodeId(toys.iter().position(|t| t.name == *name).unwrap());
    let nodes = toys.iter().map(|t| Node {
        name: t.name.clone(),
        kind: t.kind,
        params: std::sync::Arc::new(t.params.clone()),
        exec: std::sync::Arc::new(t.exec.clone()),
        inputs: t
            .inputs
            .iter()
            .map(|(p, n)| {
                (
                    *p,
                    Edge {
                        node: place(n),
                        output: "out",
                    },
                )
            })
            .collect(),
    });
    Graph::new(nodes.collect()).unwrap()
}

/// A store in a folder of its own.
pub(crate) struct Space {
    pub(crate) dir: TempDir,
}

impl Space {
    pub(crate) fn new() -> Space {
        Space {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.root()).unwrap()
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn plan(&self, toys: &[Toy]) -> Planned {
        let graph = graph(toys);
        let plan = plan::plan(&self.store(), &graph, &Wanted::default()).unwrap();
        Planned { plan, graph }
    }

    pub(crate) fn run(&self, toys: &[Toy]) -> Ran {
        self.run_with(toys, |_| {}, |_| {})
    }

    pub(crate) fn run_fresh(&self, toys: &[Toy], node: &str) -> Ran {
        let graph = graph(toys);
        let wanted = Wanted {
            fresh: [graph.find(node).unwrap()].into(),
            ..Wanted::default()
        };
        self.run_graph(&graph, &wanted, |_| {}, |_| {})
    }

    pub(crate) fn run_with(
        &self,
        toys: &[Toy],
        set: impl FnOnce(&mut Settings),
        hear: impl FnMut(&Event),
    ) -> Ran {
        self.run_graph(&graph(toys), &Wanted::default(), set, hear)
    }

    pub(crate) fn run_graph(
        &self,
        graph: &Graph,
        wanted: &Wanted,
        set: impl FnOnce(&mut Settings),
        hear: impl FnMut(&Event),
    ) -> Ran {
        run_in(self.dir.path(), graph, wanted, set, hear)
    }
}

pub(crate) fn run_in(
    dir: &Path,
    graph: &Graph,
    wanted: &Wanted,
    set: impl FnOnce(&mut Settings),
    hear: impl FnMut(&Event),
) -> Ran {
    let store = Store::open(&dir.join("store")).unwrap();
    run_store(&store, graph, wanted, set, hear)
}

pub(crate) fn run_store(
    store: &Store,
    graph: &Graph,
    wanted: &Wanted,
    set: impl FnOnce(&mut Settings),
    mut hear: impl FnMut(&Event),
) -> Ran {
    let mut settings = Settings::new().unwrap();
    settings.program = crate::study::program();
    settings.capacity.threads = 2;
    set(&mut settings);
    let mut events = vec![];
    let outcome = run::run(store, graph, wanted, &settings, &mut |event| {
        hear(event);
        events.push(event.clone());
    });
    Ran {
        outcome: outcome.unwrap(),
        events,
        root: store.root().to_path_buf(),
    }
}

/// The arguments that make this test binary run one test of this file, in another process.
pub(crate) fn only(test: &str) -> [String; 3] {
    [
        format!("engine::{test}"),
        "--exact".into(),
        "--nocapture".into(),
    ]
}

pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 60, "it never came");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

pub(crate) struct Planned {
    pub(crate) plan: plan::Plan,
    graph: Graph,
}

impl Planned {
    pub(crate) fn words(&self) -> Vec<String> {
        self.plan
            .nodes
            .iter()
            .map(|p| p.decision.verdict.word().to_string())
            .collect()
    }

    pub(crate) fn reasons(&self, node: &str) -> Vec<Reason> {
        let id = self.graph.find(node).unwrap();
        let mut nodes = self.plan.nodes.iter();
        let found = nodes.find(|p| p.decision.id == id).unwrap();
        found.decision.verdict.reasons().to_vec()
    }
}

pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) events: Vec<Event>,
    root: PathBuf,
}

impl Ran {
    pub(crate) fn states(&self) -> Vec<String> {
        let word = |state: &State| match state {
            State::Hit { .. } => "hit".to_string(),
            State::Done { .. } => "done".into(),
            State::Failed { .. } => "failed".into(),
            State::Skipped { because } => format!("skipped {because}"),
            State::Interrupted => "interrupted".into(),
            other => panic!("{other:?} is not final"),
        };
        self.outcome.nodes.iter().map(|n| word(&n.state)).collect()
    }

    pub(crate) fn record(&self, node: &str) -> Record {
        let end = self.outcome.find(node).unwrap();
        let brief = end.brief.as_ref();
        let key = &brief
            .unwrap_or_else(|| panic!("{node} is {:?}", end.state))
            .key;
        let store = Store::open(&self.root).unwrap();
        store.record(key).unwrap().unwrap()
    }

    pub(crate) fn text(&self, node: &str) -> String {
        let store = Store::open(&self.root).unwrap();
        let blob = &self.record(node).outputs["out"].files[0];
        std::fs::read_to_string(store.objects().path(&blob.digest)).unwrap()
    }

    pub(crate) fn ready_reasons(&self, name: &str) -> Vec<Reason> {
        let mut found = self.events.iter().filter_map(|event| match event {
            Event::State {
                node,
                state: State::Ready { reasons, .. },
            } if node == name => Some(reasons.clone()),
            _ => None,
        });
        found.next().unwrap()
    }

    pub(crate) fn said(&self, name: &str, start: &str) -> bool {
        self.events.iter().any(
            |e| matches!(e, Event::Log { node, text } if node == name && text.starts_with(start)),
        )
    }
}

pub(crate) fn metric_steps(store: &Store, record: &Record) -> Vec<u64> {
    let blob = record
        .logs
        .iter()
        .find(|b| b.path == "metrics.jsonl")
        .unwrap();
    let text = store.objects().read_text(blob).unwrap();
    let step = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["step"]
            .as_u64()
            .unwrap()
    };
    text.lines().map(step).collect()
}

pub(crate) fn quarantined(space: &Space) -> Vec<String> {
    pipe::engine::system::files::names(&space.root().join("quarantine")).unwrap()
}

pub(crate) fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
