//! A run goes on while gc removes whatever it may, again and again: the run ends whole, and everything it says it has is there.

use super::{Space, all};
use crate::toys::REGISTRY;
use pipe::engine::gc::collect::{self, Policy, What};
use pipe::engine::gc::sweep::sweep;
use pipe::engine::gc::verify::{Sample, verify};
use pipe::engine::graph::Graph;
use pipe::engine::plan::Wanted;
use pipe::engine::run::{self, Settings};
use pipe::engine::store::Store;
use pipe::engine::system::clock;
use pipe::recipe::{Overrides, from_text};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Chains of joins over texts; `word` is new in every run, `old` never.
fn chains(word: &str) -> Graph {
    let mut text = String::from("name = \"chains\"\n");
    let write = |name: &str, content: &str| {
        format!(
            "[node.{name}]\nkind = \"toy-write\"\ntext = \"{content}\"\nrepeat = 50\nwait_ms = 5\n"
        )
    };
    let join = |name: &str, a: &str, b: &str| {
        format!("[node.{name}]\nkind = \"toy-join\"\nin = {{ a = \"{a}\", b = \"{b}\" }}\n")
    };
    for i in 0..4 {
        text += &write(&format!("old{i}"), &format!("old {i}"));
        text += &write(&format!("new{i}"), &format!("{word} {i}"));
        text += &join(&format!("both{i}"), &format!("old{i}"), &format!("new{i}"));
        text += &join(
            &format!("end{i}"),
            &format!("both{i}"),
            &format!("old{}", (i + 1) % 4),
        );
    }
    let overrides = Overrides::default();
    let mut loaded = from_text("race.toml", &text, &overrides, &REGISTRY).unwrap_or_else(|diags| {
        panic!("{}", diags.render(false));
    });
    loaded.remove(0).graph
}

fn run(store: &Store, word: &str) -> run::Outcome {
    let mut settings = Settings::new().unwrap();
    settings.program = crate::study::program();
    settings.capacity.threads = 2;
    run::run(
        store,
        &chains(word),
        &Wanted::default(),
        &settings,
        &mut |_| {},
    )
    .unwrap()
}

#[test]
fn a_run_beside_a_gc_that_never_stops_ends_whole() {
    let space = Space::new();
    let root = space.store.root().to_path_buf();
    let stop = AtomicBool::new(false);
    let (rounds, gone) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Nothing but the run itself protects anything, and nothing is too young.
    let policy = || Policy {
        now_ms: clock::now_ms() + 2 * super::HOUR,
        runs: 0,
        ..all()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let store = Store::open(&root).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let mut items = collect::propose(&store, &policy()).unwrap().items;
                // Their age is all that protects drafts.
                items.retain(|item| !matches!(item.what, What::Draft(_)));
                let swept = sweep(&store, &policy(), items, Duration::from_secs(5)).unwrap();
                rounds.fetch_add(1, Ordering::Relaxed);
                gone.fetch_add(swept.gone.len(), Ordering::Relaxed);
            }
        });
        for word in ["one", "two", "three"] {
            let outcome = run(&space.store, word);
            let failed: Vec<String> = outcome
                .nodes
                .iter()
                .filter(|n| !matches!(n.state.clone(), s if done(&s)))
                .map(|n| format!("{} {:?}", n.name, n.state))
                .collect();
            assert!(failed.is_empty(), "{word}: {failed:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(rounds.load(Ordering::Relaxed) > 3, "gc ran beside it");
    assert!(gone.load(Ordering::Relaxed) > 0, "gc removed something");
    let checked = verify(&space.store, Sample::All, &|_, _| {}).unwrap();
    assert!(checked.bad.is_empty(), "{:?}", checked.bad);
    // Everything again, in peace: the same bytes, so every record that was evicted is whole once more.
    for word in ["one", "two", "three"] {
        let fresh = Space::new();
        let (calm, again) = (run(&fresh.store, word), run(&space.store, word));
        assert!(again.failure().is_none());
        assert_eq!(
            digests(&fresh.store, &calm),
            digests(&space.store, &again),
            "{word}"
        );
    }
    let checked = verify(&space.store, Sample::All, &|_, _| {}).unwrap();
    assert!(checked.bad.is_empty(), "{:?}", checked.bad);
}

fn done(state: &pipe::engine::events::event::State) -> bool {
    use pipe::engine::events::event::State;
    matches!(state, State::Done { .. } | State::Hit { .. })
}

/// Digest of the first output by node.
fn digests(store: &Store, outcome: &run::Outcome) -> Vec<(String, String)> {
    use pipe::engine::events::event::State;
    let ends = outcome.nodes.iter();
    ends.map(|end| {
        let (State::Done { key } | State::Hit { key, .. }) = &end.state else {
            panic!("{} is {:?}", end.name, end.state);
        };
        let record = store.record(key).unwrap().unwrap();
        (end.name.clone(), record.outputs["out"].digest.to_string())
    })
    .collect()
}
