//! A run read back gives the view that was live, whatever was lost of its journal; and what is called silence.

use super::{fail, slow};
use crate::engine::{Space, join, write};
use pipe::engine::events::event::{Event, OrphanAction, State};
use pipe::engine::events::journal;
use pipe::engine::run::pulse::Pulse;
use pipe::report::progress::{fitted, of_whole, short};
use pipe::report::remaining::{Left, Open, seconds};
use pipe::report::telling::Telling;
use pipe::report::view::RunView;

/// Durations become `T`; lines about progress, of which a journal keeps fewer, go.
fn lasting(lines: Vec<String>) -> Vec<String> {
    let kept = lines.into_iter().filter(|l| !l.starts_with("  slow: "));
    kept.map(|line| line.split(" in ").next().unwrap_or_default().to_string())
        .collect()
}

fn finals(view: &RunView) -> Vec<(String, State)> {
    view.nodes
        .iter()
        .map(|n| (n.name.clone(), n.state.clone()))
        .collect()
}

#[test]
fn a_replayed_run_says_what_was_said_live() {
    let space = Space::new();
    let spec = [
        slow("slow", 6).exec("die_at", 3),
        join("below", "slow", None),
        fail("bad", "error"),
        join("lost", "bad", None),
        write("fine", "x"),
    ];
    space.run(&[write("fine", "x")]);
    let (mut live, mut said, mut at) = (Telling::default(), vec![], 0);
    let ran = space.run_with(
        &spec,
        |s| s.retries.pause = std::time::Duration::from_millis(1),
        |event| {
            at += 1;
            said.extend(live.hear(at, event).map(|line| line.text));
        },
    );
    let run = journal::read(&space.store(), &ran.outcome.run).unwrap();
    let replayed = RunView::replay(&run.events);
    assert_eq!(finals(&replayed), finals(&live.view));
    assert_eq!(replayed.ended, live.view.ended);
    assert!(replayed.ended.is_some());
    let again: Vec<String> = Telling::replay(&run.events)
        .into_iter()
        .map(|l| l.text)
        .collect();
    let (said, again) = (lasting(said), lasting(again));
    assert_eq!(said, again);
    for line in [
        "= fine  hit, saved",
        "+ below  done",
        "x bad  failed: as asked",
        "- lost  skipped: `bad` failed",
        "~ slow  killed: ",
    ] {
        assert!(
            said.iter().any(|l| l.starts_with(line)),
            "{line} in {said:#?}"
        );
    }
    assert_eq!(replayed.node("slow").unwrap().retries.len(), 1);
}

#[test]
fn a_damaged_line_costs_no_more_than_itself() {
    let space = Space::new();
    let ran = space.run(&[write("a", "x"), join("b", "a", None)]);
    let path = space
        .store()
        .runs()
        .join(&ran.outcome.run)
        .join("events.jsonl");
    let bytes = std::fs::read(&path).unwrap();
    let whole = RunView::replay(
        &journal::read(&space.store(), &ran.outcome.run)
            .unwrap()
            .events,
    );
    let starts: Vec<usize> = std::iter::once(0)
        .chain(
            bytes
                .iter()
                .enumerate()
                .filter(|(_, b)| **b == b'\n')
                .map(|(i, _)| i + 1),
        )
        .collect();
    for start in &starts[..starts.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[*start] ^= 0x80;
        std::fs::write(&path, damaged).unwrap();
        let run = journal::read(&space.store(), &ran.outcome.run).unwrap();
        assert_eq!(run.unreadable, 1);
        let view = RunView::replay(&run.events);
        assert_eq!(view.nodes.len(), whole.nodes.len());
        assert_eq!(view.node("b").is_some(), whole.node("b").is_some());
    }
}

/// A worker was a number, and what became of an orphan a deed.
#[test]
fn a_journal_of_an_older_version_tells_who_held_a_key() {
    let key = "a".repeat(64);
    let holder = "\"run\":\"r1\",\"node\":\"n\",\"attempt\":\"a-1\",\"host\":\"h\",\"pid\":4711,\"since_ms\":5,\"orphan\":true";
    let lines = format!(
        "{{\"at\":1,\"event\":{{\"is\":\"state\",\"node\":\"a\",\"state\":{{\"is\":\"held\",\"key\":\"{key}\",\"by\":{{{holder}}}}}}}}}\n\
         {{\"at\":2,\"event\":{{\"is\":\"orphan\",\"node\":\"a\",\"holder\":{{{holder}}},\"deed\":\"killed\"}}}}\n"
    );
    let (events, unreadable) = journal::parse(lines.as_bytes());
    assert_eq!(unreadable, 0);
    let Event::State {
        state: State::Held { by: Some(by), .. },
        ..
    } = &events[0].event
    else {
        panic!("{events:?}");
    };
    assert_eq!(by.worker, "process 4711");
    let Event::Orphan { holder, action, .. } = &events[1].event else {
        panic!("{events:?}");
    };
    assert_eq!((holder, *action), (by, OrphanAction::Killed));
    // What is written now reads back as it is.
    let text = serde_json::to_string(&events[1]).unwrap() + "\n";
    assert!(text.contains("\"worker\":\"process 4711\""), "{text}");
    assert_eq!(journal::parse(text.as_bytes()).0[0], events[1]);
}

#[test]
fn silence_is_a_multiple_of_the_usual_distance_and_at_least_a_minute() {
    let mut pulse = Pulse::new(0.0);
    assert_eq!(pulse.silent(59.0), None);
    assert_eq!(pulse.silent(61.0), Some(61.0));
    for i in 1..=50 {
        pulse.beat(f64::from(i) * 20.0);
    }
    assert_eq!(pulse.silent(1000.0 + 199.0), None);
    assert_eq!(pulse.silent(1000.0 + 201.0), Some(201.0));
    let mut quick = Pulse::new(0.0);
    (1..=50).for_each(|i| quick.beat(f64::from(i) * 0.1));
    assert_eq!(quick.silent(64.0), None);
    assert!(quick.silent(66.0).is_some());
}

#[test]
fn a_node_that_loads_and_makes_its_first_step_has_a_minute_for_each() {
    let mut pulse = Pulse::new(0.0);
    assert_eq!(pulse.silent(11.0), None);
    assert_eq!(pulse.silent(61.0), Some(61.0), "it may hang");
    // It has loaded what it needs, and said so.
    pulse.beat(12.0);
    assert_eq!(pulse.silent(71.0), None);
    assert_eq!(pulse.silent(133.0), Some(121.0));
}

/// Nine hundred of a thousand answers were in the journal; ten a second are made.
#[test]
fn the_pace_of_a_node_that_asks_is_that_of_the_answers_it_made() {
    let mut view = RunView::default();
    let running = Event::State {
        node: "asker".into(),
        state: State::Running {
            attempt: "x".into(),
            threads: 1,
        },
    };
    view.hear(0, &running);
    let answers = |done, made| Event::Progress {
        node: "asker".into(),
        done,
        total: 1000,
        unit: "answers".into(),
        note: String::new(),
        made: Some(made),
        sampled: None,
    };
    view.hear(1000, &answers(0, 0));
    view.hear(1100, &answers(900, 0));
    let asker = |view: &RunView, at| {
        let node = view.node("asker").unwrap();
        (node.pace(at), node.left(at))
    };
    assert_eq!(asker(&view, 3000), (None, None), "none were made yet");
    view.hear(3000, &answers(920, 20));
    assert_eq!(asker(&view, 3000), (Some(0.1), Some(8.0)));
    // A pause of the service makes it slower, and repeating itself is no sign of life.
    view.hear(5000, &answers(920, 20));
    assert_eq!(asker(&view, 5000), (Some(0.2), Some(16.0)));
    view.hear(90_000, &answers(920, 20));
    assert_eq!(view.node("asker").unwrap().silent(90_000), Some(87.0));
    view.hear(91_000, &answers(921, 21));
    assert_eq!(view.node("asker").unwrap().silent(92_000), None);
}

#[test]
fn a_view_knows_what_is_left_and_who_is_silent() {
    let planned = |node: &str, expected: Option<f64>| pipe::engine::plan::PlannedNode {
        node: node.into(),
        kind: "toy-slow".into(),
        verdict: "run".into(),
        reasons: vec![],
        key: None,
        gpus: 0,
        waits_for: vec![],
        expected_seconds: expected,
        expected_at_most: false,
        expected_dollars: None,
        expected_calls: None,
    };
    let mut view = RunView::default();
    let nodes = vec![
        planned("a", Some(100.0)),
        planned("b", Some(50.0)),
        planned("c", None),
    ];
    view.hear(
        0,
        &Event::RunStarted {
            run: "r".into(),
            threads: 2,
            nodes,
        },
    );
    let running = |node: &str| Event::State {
        node: node.into(),
        state: State::Running {
            attempt: "x".into(),
            threads: 1,
        },
    };
    view.hear(1000, &running("a"));
    // Before it reports, what is left is what earlier records say.
    assert_eq!(view.node("a").unwrap().left(11_000), Some(90.0));
    let progress = |done| Event::Progress {
        node: "a".into(),
        done,
        total: 100,
        unit: "ticks".into(),
        note: String::new(),
        made: None,
        sampled: None,
    };
    view.hear(1000, &progress(20));
    view.hear(11_000, &progress(30));
    // Ten ticks in ten seconds; it began at tick 20.
    assert_eq!(view.node("a").unwrap().left(11_000), Some(70.0));
    let left = view.left(11_000);
    assert_eq!(
        (left.seconds, left.known),
        (120.0, false),
        "c is of unknown length"
    );
    assert_eq!(left.told().unwrap(), "more than 2 m 0 s");
    assert_eq!(view.node("a").unwrap().silent(12_000), None);
    let long = view.node("a").unwrap().silent(200_000).unwrap();
    assert_eq!(long, 189.0);
    assert_eq!(
        view.node("b").unwrap().silent(200_000),
        None,
        "it does not run"
    );
}

fn exactly(seconds: f64) -> Left {
    Left {
        seconds,
        known: true,
        at_most: false,
    }
}

/// What formulas say is more than it takes: until a node has a pace of its own, nobody says "about".
#[test]
fn what_formulas_say_is_said_to_be_no_more_than_that() {
    let space = Space::new();
    let mut planned = vec![];
    let spec = [write("a", "x"), write("b", "y")];
    space.run_with(
        &spec,
        |_| {},
        |event| {
            if let Event::RunStarted { nodes, .. } = event {
                planned.extend(nodes.clone());
            }
        },
    );
    (planned[0].expected_seconds, planned[0].expected_at_most) = (Some(600.0), true);
    planned[1].expected_seconds = Some(20.0);
    let (run, threads) = ("r".to_string(), 1);
    let mut view = RunView::default();
    view.hear(
        0,
        &Event::RunStarted {
            run,
            threads,
            nodes: planned,
        },
    );
    let state = State::Running {
        attempt: "x".into(),
        threads: 1,
    };
    let node = "a".to_string();
    view.hear(0, &Event::State { node, state });
    assert_eq!(view.left(0).told().unwrap(), "up to 10 m 20 s");
    let progress = |done| Event::Progress {
        node: "a".into(),
        done,
        total: 10,
        unit: "steps".into(),
        note: String::new(),
        made: None,
        sampled: None,
    };
    view.hear(0, &progress(0));
    view.hear(4000, &progress(4));
    assert_eq!(view.left(4000).told().unwrap(), "about 26 s");
}

/// What waits for others is not divided by who works beside them.
#[test]
fn what_is_left_is_the_longest_way_of_what_waits_for_each_other() {
    let space = Space::new();
    let mut planned = vec![];
    let spec = [write("a", "x"), join("b", "a", None), write("c", "y")];
    space.run_with(
        &spec,
        |_| {},
        |event| {
            if let Event::RunStarted { nodes, .. } = event {
                planned.extend(nodes.clone());
            }
        },
    );
    let waits: Vec<&[String]> = planned.iter().map(|p| p.waits_for.as_slice()).collect();
    let a = ["a".to_string()];
    assert_eq!(waits, [&[][..], &a, &[]]);
    planned[0].expected_seconds = Some(100.0);
    planned[1].expected_seconds = Some(50.0);
    planned[2].expected_seconds = Some(20.0);
    let mut view = RunView::default();
    let started = Event::RunStarted {
        run: "r".into(),
        threads: 2,
        nodes: planned,
    };
    view.hear(0, &started);
    for node in ["a", "c"] {
        let state = State::Running {
            attempt: "x".into(),
            threads: 1,
        };
        let node = node.to_string();
        view.hear(0, &Event::State { node, state });
    }
    // Of 170 seconds of work two at once would do 85 each: `b` cannot begin before `a` is done.
    assert_eq!(view.left(0), exactly(150.0));
    // One at work that has nothing left to do still works.
    let progress = Event::Progress {
        node: "c".into(),
        done: 1,
        total: 1,
        unit: "steps".into(),
        note: String::new(),
        made: None,
        sampled: None,
    };
    view.hear(0, &progress);
    assert_eq!(view.left(0), exactly(150.0));
    // A hit waits for nobody.
    let mut again = vec![];
    space.run_with(
        &spec,
        |_| {},
        |event| {
            if let Event::RunStarted { nodes, .. } = event {
                again.extend(nodes.iter().flat_map(|n| n.waits_for.clone()));
            }
        },
    );
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn so_many_at_once_begin_with_who_leads_the_longest_way() {
    let open = |seconds: f64, after: &[usize], works: bool| Open {
        seconds,
        after: after.to_vec(),
        works,
    };
    assert_eq!(seconds(&[]), 0.0);
    let chain = [
        open(30.0, &[], true),
        open(20.0, &[0], false),
        open(10.0, &[1], false),
    ];
    assert_eq!(seconds(&chain), 60.0);
    // Two at work; what is long begins before what comes first.
    let all = [
        open(10.0, &[], true),
        open(10.0, &[], true),
        open(5.0, &[], false),
        open(5.0, &[], false),
        open(30.0, &[], false),
        open(5.0, &[4], false),
    ];
    assert_eq!(seconds(&all), 45.0);
    // What joins waits for the last.
    let join = [
        open(10.0, &[], true),
        open(40.0, &[], true),
        open(1.0, &[0, 1], false),
    ];
    assert_eq!(seconds(&join), 41.0);
}

#[test]
fn the_line_of_the_whole_counts_what_is_there_and_what_went_wrong() {
    let planned = |node: &str, expected: Option<f64>| pipe::engine::plan::PlannedNode {
        node: node.into(),
        kind: "toy-slow".into(),
        verdict: "run".into(),
        reasons: vec![],
        key: None,
        gpus: 0,
        waits_for: vec![],
        expected_seconds: expected,
        expected_at_most: false,
        expected_dollars: None,
        expected_calls: None,
    };
    let mut view = RunView::default();
    let seconds = [Some(10.0), Some(100.0), Some(60.0), None];
    let names = ["a", "b", "c", "d"];
    let nodes = names.iter().zip(seconds).map(|(name, s)| planned(name, s));
    view.hear(
        0,
        &Event::RunStarted {
            run: "r".into(),
            threads: 2,
            nodes: nodes.collect(),
        },
    );
    let running = State::Running {
        attempt: "x".into(),
        threads: 1,
    };
    let done = State::Done {
        key: pipe::base::hash::Key::new(blake3::hash(b"a")),
    };
    let mut hear = |at: u64, node: &str, state: &State| {
        let event = Event::State {
            node: node.into(),
            state: state.clone(),
        };
        view.hear(at, &event);
        of_whole(&view, at)
    };
    assert_eq!(
        hear(0, "a", &running),
        "0 of 4 nodes · more than 2 m 50 s left"
    );
    hear(0, "b", &running);
    hear(10_000, "a", &done);
    let more = hear(10_000, "c", &running);
    assert_eq!(more, "1 of 4 nodes · 2 at work · more than 1 m 30 s left");
    let known = hear(20_000, "d", &State::Interrupted);
    assert_eq!(
        known,
        "1 of 4 nodes · 2 at work · 1 not begun · about 1 m 20 s left"
    );
    let skipped = State::Skipped {
        because: "b".into(),
    };
    assert!(hear(20_000, "c", &skipped).starts_with("1 of 4 nodes · 1 skipped · 1 not begun · "));
}

#[test]
fn a_long_name_loses_its_middle() {
    assert_eq!(short("rl-eval", 20), "rl-eval");
    assert_eq!(
        short("rl-attacked-answers@seed=11", 20),
        "rl-attacke…s@seed=11"
    );
    for room in 1..30 {
        let cut = short("日本語の長い名前-answers@seed=1", room);
        assert!(pipe::base::text::width(&cut) <= room.max(1), "{cut}");
    }
}

/// A narrow terminal has fewer parts of what a node does, and none by half.
#[test]
fn what_does_not_fit_is_left_out_whole() {
    let text = "steps · 2.1/s · 40 s left · loss 0.513 · reward 0.2";
    for (room, shown) in [
        (100, text),
        (39, "steps · 2.1/s · 40 s left · loss 0.513"),
        (38, "steps · 2.1/s · 40 s left · loss 0.513"),
        (37, "steps · 2.1/s · 40 s left"),
        (6, "steps"),
        (2, "steps"),
    ] {
        assert_eq!(fitted(text, room), shown, "{room}");
    }
}
