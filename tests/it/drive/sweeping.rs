//! What is put away behind nodes that are done: how many at once, and whose lock is held meanwhile.

use crate::engine::{Space, graph, toy, wait_until};
use pipe::engine::events::event::{Event, State};
use pipe::engine::kind::attempt::{Attempt, Spec};
use pipe::engine::plan::Wanted;
use pipe::engine::system::Process;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Each has a thread, a lock and a folder: a disk on which that takes for ever is not to be buried.
#[test]
fn no_more_nodes_start_than_can_be_put_away() {
    let dir = tempfile::tempdir().unwrap();
    let node = |i: usize| format!("[node.n{i:02}]\nkind = \"toy-write\"\ntext = \"{i}\"\n");
    let recipe: String = (0..90).map(node).collect();
    std::fs::write(dir.path().join("r.toml"), recipe).unwrap();
    let mut engine = Command::new(crate::study::program())
        .args(["run", "r.toml", "-q", "--threads", "4"])
        .current_dir(dir.path())
        .env("PIPE_FAULT", "swept=stall")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let count = |word: &str| {
        let runs = std::fs::read_dir(dir.path().join("cache/runs"));
        let run = runs.ok().and_then(|mut runs| runs.next()?.ok());
        let events = run.map(|run| run.path().join("events.jsonl"));
        let text = events.and_then(|path| std::fs::read_to_string(path).ok());
        text.unwrap_or_default().matches(word).count()
    };
    wait_until(|| count("\"is\":\"done\"") >= 64);
    std::thread::sleep(Duration::from_millis(700));
    let (begun, done) = (count("\"is\":\"running\""), count("\"is\":\"done\""));
    engine.kill().unwrap();
    engine.wait().unwrap();
    // As many as run at once may have started before the last of them were counted.
    assert!((64..=68).contains(&done) && begun <= 68, "{begun} {done}");
}

/// A key that was made here is this run's only until its attempts are gone: who has it then is somebody else.
#[test]
fn whoever_holds_a_key_that_was_made_here_is_named() {
    let space = Space::new();
    let twin = |name: &str| toy(&crate::toys::WRITE, name).with("text", "same");
    let graph = graph(&[twin("x"), twin("y")]);
    let wanted = Wanted {
        fresh: graph.ids().collect(),
        ..Wanted::default()
    };
    let over = Arc::new(AtomicBool::new(false));
    let mut seen = vec![];
    let ran = space.run_graph(
        &graph,
        &wanted,
        |_| {},
        |event| match event {
            Event::State {
                node,
                state: State::Done { key },
            } if node == "x" => {
                let store = space.store();
                let mut lock = None;
                wait_until(|| {
                    lock = store.try_lock(key).unwrap();
                    lock.is_some()
                });
                let spec = Spec {
                    key: key.clone(),
                    kind: "toy-write".into(),
                    revision: 1,
                    node: "elsewhere".into(),
                    params: String::new(),
                    exec: String::new(),
                    inputs: BTreeMap::new(),
                    outputs: vec![],
                    threads: 1,
                    earlier: vec![],
                    engine: Process::own(),
                    calls: Default::default(),
                    run: String::new(),
                    started_ms: 0,
                };
                let attempt = Attempt::create(&store, &spec, &[]).unwrap();
                let over = over.clone();
                std::thread::spawn(move || {
                    let since = Instant::now();
                    while !over.load(Ordering::SeqCst) && since.elapsed().as_secs() < 5 {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    attempt.remove().unwrap();
                    drop(lock);
                });
            }
            Event::State {
                node,
                state: State::Held { by: Some(by), .. },
            } if node == "y" => {
                seen.push(by.node.clone());
                over.store(true, Ordering::SeqCst);
            }
            _ => {}
        },
    );
    assert_eq!(ran.states(), ["done", "hit"]);
    assert_eq!(seen, ["elsewhere"]);
}
