//! What a plan expects of nodes: by whose record, and what is made again for them.

use super::{Space, Toy, graph, join, toy, write};
use pipe::engine::graph::changes::Reason;
use pipe::engine::kind::attempt::{Attempt, Usage};
use pipe::engine::plan::estimate::Basis;
use pipe::engine::plan::{self, Wanted};

fn slow(name: &str, seed: i64) -> Toy {
    toy(&crate::toys::SLOW, name)
        .with("ticks", 4)
        .with("seed", seed)
        .exec("tick_dollars", 0.5)
}

#[test]
fn another_node_of_the_kind_lends_its_memory_and_neither_time_nor_money() {
    let space = Space::new();
    let ran = space.run(&[slow("mine", 0)]);
    let cost = ran.record("mine").cost;
    assert_eq!(cost.dollars, 2.0);
    let plan = space.plan(&[slow("mine", 1), slow("stranger", 2)]).plan;
    let [mine, stranger] = &plan.nodes[..] else {
        panic!("two nodes");
    };
    let mine = &mine.estimate;
    assert_eq!((mine.basis, mine.dollars), (Basis::Measured, 2.0));
    let stranger = &stranger.estimate;
    let told = (stranger.basis, stranger.seconds, stranger.dollars);
    assert_eq!(told, (Basis::OfTheKind, 0.0, 0.0));
    assert_eq!(stranger.peak_bytes, cost.peak_bytes);
}

/// It runs whatever the other input will be, so it reads this one.
#[test]
fn what_surely_runs_has_its_evicted_inputs_made_again_by_the_plan() {
    let space = Space::new();
    let spec = |b: &str| {
        [
            write("a", "kept"),
            write("b", b),
            join("ab", "a", Some("b")),
        ]
    };
    let ran = space.run(&spec("one"));
    let store = space.store();
    let alone = store.alone().unwrap().unwrap();
    store.evict(&ran.record("a"), "to see").unwrap();
    drop(alone);
    // Whether the join of another text runs is open: then nothing is made again for it.
    assert_eq!(space.plan(&spec("two")).words(), ["hit", "run", "maybe"]);
    let graph = graph(&spec("two"));
    let wanted = Wanted {
        fresh: [graph.find("ab").unwrap()].into(),
        ..Wanted::default()
    };
    let plan = plan::plan(&store, &graph, &wanted).unwrap();
    let verdicts = plan.nodes.iter().map(|p| &p.decision.verdict);
    let words: Vec<&str> = verdicts.clone().map(|v| v.word()).collect();
    assert_eq!(words, ["run", "run", "run"]);
    let reasons: Vec<_> = verdicts.map(|v| v.reasons().to_vec()).collect();
    assert_eq!(reasons[0], [Reason::Evicted]);
    assert_eq!(reasons[2], [Reason::Forced]);
    let ran = space.run_graph(&graph, &wanted, |_| {}, |_| {});
    assert_eq!(ran.states(), ["done"; 3]);
}

/// A text that is written over is read in pieces of two: such a one says nothing, even where it is good JSON.
#[test]
fn what_a_worker_spent_is_read_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let attempt = Attempt {
        dir: folder.path().into(),
    };
    std::fs::create_dir(attempt.logs()).unwrap();
    let usage = |dollars: f64| Usage {
        seconds: 1.0,
        dollars,
        ..Usage::default()
    };
    let [before, after] = [0.99, 1.5].map(|dollars| usage(dollars).sealed().unwrap());
    let whole = before.len().max(after.len());
    let padded = |text: &str| format!("{text:<whole$}");
    let (before, after) = (padded(&before), padded(&after));
    let mut unseen = 0;
    for cut in 0..=whole {
        let text = format!("{}{}", &after[..cut], &before[cut..]);
        std::fs::write(attempt.logs().join("usage.json"), &text).unwrap();
        match attempt.usage_so_far() {
            Some(read) => assert!([0.99, 1.5].contains(&read.dollars), "{text}"),
            None => unseen += 1,
        }
    }
    assert!(unseen > 0);
    let mixed = "{\"seconds\":1.0,\"cpu_seconds\":0.0,\"dollars\":1.99,\"peak_bytes\":0}";
    let older = attempt.logs().join("usage.json");
    std::fs::write(older, mixed).unwrap();
    assert_eq!(
        attempt.usage().dollars,
        1.99,
        "an older version has no seal"
    );
}
