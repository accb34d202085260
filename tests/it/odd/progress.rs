//! How long sampling still takes is told by tokens: rows end at lengths nobody knows, and many are under way when the first is done.

use pipe::base::rng::{Rng, Seed};
use pipe::engine::events::event::{Event, State};
use pipe::engine::kind::messages::Sampled;
use pipe::learn::sample::forecast::{Costs, Tally, Work};
use pipe::report::telling::{counted, does, told};
use pipe::report::view::RunView;

const PROMPT: usize = 30;
const COSTS: Costs = Costs {
    given: 0.8,
    context: 3900.0,
};

/// Lengths of responses, as they would be without a limit.
type Lengths = fn(&mut Rng) -> f64;

fn bound(_: &mut Rng) -> f64 {
    f64::INFINITY
}

fn constant(_: &mut Rng) -> f64 {
    100.0
}

fn uniform(rng: &mut Rng) -> f64 {
    1.0 + 256.0 * rng.unit()
}

fn geometric(rng: &mut Rng) -> f64 {
    1.0 - 60.0 * (1.0 - rng.unit()).ln()
}

/// Some run into the limit, as of a small chat model on XSTest.
fn bimodal(rng: &mut Rng) -> f64 {
    let (long, length) = (rng.chance(0.19), 30.0 + 60.0 * rng.unit());
    if long { f64::INFINITY } else { length }
}

fn lognormal(rng: &mut Rng) -> f64 {
    110.0 * (0.7 * rng.normal()).exp()
}

/// So many rows, at most so many at a time on two threads, no longer than 256 tokens.
struct Load {
    rows: usize,
    at_once: usize,
}

/// Some of many, so that it is known soon; more than twice as many as go at a time; and all at a time.
const MANY: Load = Load {
    rows: 2000,
    at_once: 168,
};
const FEW: Load = Load {
    rows: 450,
    at_once: 168,
};
const ALL: Load = Load {
    rows: 450,
    at_once: 450,
};
const LIMIT: usize = 256;

impl Load {
    /// Runs as the sampler does, on a clock of its own; returns when it ended, and the first moment from `at` on with what was
    /// foreseen then.
    fn run(&self, lengths: Lengths, seed: u64, at: f64) -> (f64, Option<(f64, Work)>) {
        let mut rng = Seed::new(seed).rng();
        let lengths: Vec<usize> = (0..self.rows)
            .map(|_| lengths(&mut rng).max(1.0) as usize)
            .collect();
        let prompts = (0..self.rows).map(|_| (PROMPT, 1));
        let mut tally = Tally::new(COSTS, prompts, LIMIT, (2, self.at_once));
        let mut clock = [0.0; 2];
        let mut rows: [Vec<(usize, usize)>; 2] = Default::default();
        let (mut next, mut over, mut seen) = (0, [false; 2], None);
        while over != [true; 2] {
            let team = match over {
                [true, _] => 1,
                [_, true] => 0,
                _ => usize::from(clock[1] < clock[0]),
            };
            let full = self.at_once / 2;
            let first = self.rows > self.at_once && tally.ended * 20 < self.rows;
            let room = if first { full.div_ceil(3) } else { full };
            while rows[team].len() < room && next < self.rows {
                tally.computed(PROMPT);
                tally.begun();
                clock[team] += 1.0 + COSTS.given * PROMPT as f64;
                rows[team].push((next, 1));
                next += 1;
            }
            if rows[team].is_empty() {
                over[team] = true;
                continue;
            }
            rows[team].iter_mut().for_each(|row| row.1 += 1);
            tally.step(rows[team].iter().map(|row| row.1));
            // Another machine than the one that the forecast takes for granted: a step costs as much as ten rows.
            clock[team] += 10.0 + rows[team].len() as f64;
            rows[team].retain(|&(row, length)| {
                let (own, most) = (length >= lengths[row], length >= LIMIT);
                if own || most {
                    tally.ended(length, own);
                }
                !(own || most)
            });
            tally.keeps(team, rows[team].iter().map(|row| row.1));
            if seen.is_none() && clock[team] >= at {
                seen = Some((clock[team], tally.work()));
            }
        }
        assert_eq!(tally.ended, self.rows);
        assert_eq!(tally.work().left, 0.0);
        (clock[0].max(clock[1]), seen)
    }

    /// What was foreseen after this share of the time, as a multiple of what it then took; and whether it was a bound.
    fn foreseen(&self, lengths: Lengths, seed: u64, share: f64) -> (f64, bool) {
        let (end, _) = self.run(lengths, seed, f64::INFINITY);
        let (_, seen) = self.run(lengths, seed, share * end);
        let (now, work) = seen.unwrap();
        let left = now / work.done * work.left;
        (left / (end - now), work.at_most)
    }

    /// The middle one of several seeds.
    fn usual(&self, lengths: Lengths, share: f64) -> f64 {
        let mut all: Vec<f64> = (0..9)
            .map(|seed| self.foreseen(lengths, seed, share).0)
            .collect();
        all.sort_by(f64::total_cmp);
        all[4]
    }
}

#[test]
fn a_tenth_of_the_time_tells_the_rest_where_rows_come_in_turns() {
    let all: [(&str, Lengths); 6] = [
        ("limit", bound),
        ("constant", constant),
        ("uniform", uniform),
        ("geometric", geometric),
        ("bimodal", bimodal),
        ("lognormal", lognormal),
    ];
    for (name, lengths) in all {
        for seed in 0..9 {
            let (ratio, bound) = MANY.foreseen(lengths, seed, 0.1);
            assert!((0.7..1.3).contains(&ratio) && !bound, "{name}: {ratio}");
        }
        if name != "constant" {
            let ratio = FEW.usual(lengths, 0.1);
            assert!((0.7..1.3).contains(&ratio), "{name}: {ratio}");
        }
        for load in [MANY, FEW] {
            let ratio = load.usual(lengths, 0.5);
            assert!((0.7..1.3).contains(&ratio), "{name} later: {ratio}");
        }
    }
}

#[test]
fn where_nothing_has_ended_the_forecast_is_a_bound_and_says_so() {
    for lengths in [bound, constant, bimodal] {
        for seed in 0..9 {
            let (ratio, bound) = ALL.foreseen(lengths, seed, 0.1);
            assert!(bound && ratio > 0.9, "{ratio}");
        }
    }
    let ratio = ALL.usual(uniform, 0.3);
    assert!((0.7..1.3).contains(&ratio), "uniform: {ratio}");
}

#[test]
fn a_line_of_sampling_tells_rows_tokens_and_time_left_in_eighty_columns() {
    let running = Event::State {
        node: "answers".into(),
        state: State::Running {
            attempt: "a".into(),
            threads: 2,
        },
    };
    let progress = |done: u64, at: f64, at_most: bool, part: bool| Event::Progress {
        node: "answers".into(),
        done,
        total: 450,
        unit: if part { "steps" } else { "responses" }.into(),
        note: if part { "rollouts 12/64" } else { "" }.into(),
        made: None,
        sampled: Some(Sampled {
            tokens: (100.0 * at) as u64,
            share: at / 400.0,
            done: at,
            left: 400.0 - at,
            at_most,
            part,
        }),
    };
    let lines = |part: bool, at_most: bool, done: u64| {
        let mut view = RunView::default();
        view.hear(0, &running);
        view.hear(0, &progress(0, 0.0, true, part));
        view.hear(100_000, &progress(done, 100.0, at_most, part));
        let node = view.node("answers").unwrap();
        let line = format!("{} {}", counted(node).unwrap(), told(node, 100_000));
        // Beside a column of what is left it is not said twice.
        assert!(!does(node, 100_000).contains("left"), "{line}");
        // Of the one node, and so of the run.
        let told = [node.left_told(100_000), view.left(100_000).told()];
        (line, node.left(100_000), told)
    };
    let left = |words: &str| [Some(words.to_string()), Some(words.to_string())];
    let (about, up_to) = (left("about 5 m 0 s"), left("up to 5 m 0 s"));
    let (line, left, told) = lines(false, false, 112);
    assert_eq!(told, about);
    assert_eq!(
        line,
        "112/450 responses · 25 % of tokens · 5 m 0 s left · 100 tokens/s"
    );
    // After a spinner and the node's name; what is cut off is the rate.
    let shown = line.find("left").map(|at| line[..at].chars().count() + 4);
    assert!(shown.is_some_and(|n| n + 23 <= 80), "{shown:?}");
    assert_eq!(left, Some(300.0));
    // One row of 450 is done after 100 seconds: that says nothing of the other 449.
    let (line, left, told) = lines(false, true, 1);
    assert_eq!(told, up_to);
    assert_eq!(
        line,
        "1/450 responses · 25 % of tokens · up to 5 m 0 s left · 100 tokens/s"
    );
    assert_eq!(left, Some(300.0));
    let (line, _, _) = lines(true, false, 0);
    assert_eq!(
        line,
        "0/450 steps · rollouts 12/64 · 25 % of tokens · 100 tokens/s"
    );
}
