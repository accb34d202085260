//! How many nodes run at once: tokens of memory, and a bound on their number.

use crate::engine::{Ran, Space, Toy, write};
use pipe::engine::events::event::{Event, State};
use pipe::engine::run::Settings;

/// Most nodes that ran at once.
fn most_at_once(ran: &Ran) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for event in &ran.events {
        match event {
            Event::State {
                state: State::Running { .. },
                ..
            } => now += 1,
            Event::State {
                state: State::Done { .. },
                ..
            } => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// Four that take a thread each.
fn spec(round: i64) -> Vec<Toy> {
    let node = |i| write(&format!("s{i}"), &format!("{round} {i}")).exec("wait_ms", 100);
    (0..4).map(node).collect()
}

fn four_threads(settings: &mut Settings) {
    settings.capacity.threads = 4;
}

#[test]
fn jobs_bound_the_nodes_that_run_at_once() {
    for jobs in [1, 2] {
        let set = |s: &mut Settings| {
            four_threads(s);
            s.jobs = Some(jobs);
        };
        let ran = Space::new().run_with(&spec(5), set, |_| {});
        assert_eq!(ran.states(), ["done"; 4]);
        assert_eq!(most_at_once(&ran), jobs);
    }
    let free = Space::new().run_with(&spec(5), four_threads, |_| {});
    assert_eq!(most_at_once(&free), 4);
}

#[test]
fn nodes_that_together_need_more_memory_than_there_is_run_one_after_another() {
    let space = Space::new();
    let first = space.run_with(&spec(5), four_threads, |_| {});
    let peak = first.record("s0").cost.peak_bytes;
    assert!(peak > 0);
    let with = |memory: u64| {
        move |s: &mut Settings| {
            four_threads(s);
            s.capacity.memory = Some(memory);
        }
    };
    // Other texts are other keys; what they take is expected from the records there are.
    let tight = space.run_with(&spec(6), with(peak + peak / 2), |_| {});
    assert_eq!(tight.states(), ["done"; 4]);
    assert_eq!(most_at_once(&tight), 1);
    let wide = space.run_with(&spec(7), with(100 * peak), |_| {});
    assert_eq!(most_at_once(&wide), 4);
    // Less than one of them needs: a node that is alone runs all the same.
    let none = space.run_with(&spec(8), with(1), |_| {});
    assert_eq!(none.states(), ["done"; 4]);
    assert_eq!(most_at_once(&none), 1);
}
