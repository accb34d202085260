//! Micro-batches that go through a device together: what is lost and learned is what it is one by one, whatever the objective makes
//! of a micro-batch. How many they are: `ledger`.

use super::learner::{MODELS, adapter, rows, sft};
use crate::numerics::{relative, stirred, tiny};
use candle_core::Device;
use pipe::base::device::Numerics;
use pipe::learn::batch::{MICRO_TOKENS, Row, micro_batches};
use pipe::learn::config::{Config, Family, Head};
use pipe::learn::decoder::Keep;
use pipe::learn::device::learner;
use pipe::learn::learner::{Accumulated, Learner};
use pipe::learn::objective::Goal;
use pipe::learn::objective::advantage::{Advantage, advantages};
use pipe::learn::objective::dpo::{self, DpoObjective};
use pipe::learn::objective::grpo::{self, Aggregation, GrpoObjective};
use pipe::learn::objective::rerouting::{Divisor, Rerouting};
use pipe::learn::optim::AdamW;
use pipe::learn::weights::Weights;

const AGGREGATIONS: [Aggregation; 6] = [
    Aggregation::TokenMean,
    Aggregation::SequenceMean,
    Aggregation::SequenceSum,
    Aggregation::DrGrpo,
    Aggregation::Bnpo,
    Aggregation::TokenMeanMicroSum,
];

fn policies(rows: &[Row], aggregation: Aggregation, entropy: f64) -> Goal<'static> {
    let rewards: Vec<Option<f64>> = (0..rows.len()).map(|i| Some(i as f64 % 3.0)).collect();
    Goal::Logp(Box::new(GrpoObjective {
        options: grpo::Options {
            aggregation,
            entropy,
            ..grpo::Options::default()
        },
        totals: grpo::Totals {
            rows: rows.len(),
            tokens: rows.iter().map(Row::scored).sum(),
            micro_batches: micro_batches(rows, 1).len(),
            max_length: 700,
        },
        advantages: advantages(&rewards, 4, Advantage::Group, 1e-6).expect("advantages"),
        old: None,
        reference: None,
        sampler: None,
        sums: Default::default(),
    }))
}

fn preferences(rows: &[Row]) -> Goal<'static> {
    Goal::Logp(Box::new(DpoObjective {
        options: dpo::Options {
            loss: dpo::Loss::Sigmoid,
            beta: 0.1,
            label_smoothing: 0.0,
            nll_coefficient: 0.2,
            nll_mean: dpo::NllMean::Pair,
        },
        totals: dpo::Totals {
            pairs: rows.len() / 2,
            chosen_tokens: rows.iter().step_by(2).map(Row::scored).sum(),
        },
        reference: rows.iter().map(|row| -3.0 * row.scored() as f64).collect(),
        sums: Default::default(),
    }))
}

/// One head: what is long here is for the sake of micro-batches.
fn weights_of((family, head): (Family, Head)) -> Weights {
    stirred(Config {
        heads: 1,
        kv_heads: 1,
        ..tiny(family, head)
    })
}

/// The first half of the rows is harmful: they end within a micro-batch.
fn states(rows: &[Row]) -> Goal<'static> {
    let (harmful, retain) = rows.split_at(rows.len() / 2);
    let tokens = |rows: &[Row]| rows.iter().map(|row| row.ids.len()).sum();
    Goal::States(Box::new(Rerouting {
        layers: vec![1, 2],
        divisor: Divisor::Released,
        coefficients: (2.0, 3.0),
        harmful_rows: harmful.len(),
        harmful_tokens: tokens(harmful),
        retain_positions: tokens(retain),
        distances: vec![],
        cosines: 0.0,
    }))
}

fn learner(model: (Family, Head), adapted: bool, tokens: usize) -> learner::Device {
    let weights = weights_of(model);
    let adapter = adapted.then(|| adapter(&weights));
    let (keep, device) = (Keep::All, Device::Cpu);
    let there = learner::Device::new(weights, adapter, false, keep, &device, Numerics::F32);
    there.expect("opened").together(tokens)
}

/// What came of a window, its metrics, in how many passes, and the gradient: AdamW's first moments after one step are a tenth of it.
fn walked(
    mut learner: learner::Device,
    rows: &[Row],
    mut goal: Goal,
) -> (Accumulated, Vec<(&'static str, f64)>, usize, Vec<f32>) {
    let mut passes = 0;
    let sum = learner.accumulate(rows, &mut goal, 0.9, &mut |_| passes += 1);
    learner.update(&AdamW::default(), 0.0).expect("updated");
    let first = learner.snapshot().expect("numbers").first.into_owned();
    (sum.expect("computed"), goal.metrics(), passes, first)
}

#[test]
fn losses_and_gradients_are_those_of_one_micro_batch_after_the_other() {
    // Among them one of a row of more tokens than a micro-batch has, one with nothing that is scored, and a row of that sort.
    let mut all = [rows("dpo"), rows("dpo")].concat();
    all[13].mask.fill(false);
    let long = |n: usize, every: usize| Row {
        ids: (0..n).map(|i| (i * i % 37) as u32).collect(),
        mask: (0..n).map(|i| i % 5 == every).collect(),
    };
    let more = [long(2100, 1), all[6].clone(), all[7].clone(), long(2060, 9)];
    all.splice(8..8, more);
    assert!(micro_batches(&all, 1).len() >= 5 && micro_batches(&all, 2).len() >= 5);
    let tokens: usize = all.iter().map(Row::scored).sum();
    let entropies = |a: Aggregation| match a {
        Aggregation::Bnpo => 0.01,
        _ => 0.0,
    };
    let mut goals: Vec<(String, Box<dyn Fn() -> Goal<'static>>)> = vec![];
    for aggregation in AGGREGATIONS {
        let rows = all.clone();
        let goal = move || policies(&rows, aggregation, entropies(aggregation));
        goals.push((format!("{aggregation:?}"), Box::new(goal)));
    }
    goals.push(("sft".into(), Box::new(move || sft(tokens))));
    // Both rows of a pair hold something that is scored.
    let mut pairs = all.clone();
    for row in pairs.iter_mut().filter(|row| row.scored() == 0) {
        row.mask.fill(true);
    }
    let rows = pairs.clone();
    goals.push(("dpo".into(), Box::new(move || preferences(&rows))));
    let rows = all.clone();
    goals.push(("states".into(), Box::new(move || states(&rows))));
    for (i, (name, goal)) in goals.iter().enumerate() {
        let (model, adapted) = (MODELS[i % 2], i % 3 == 1 || name == "states");
        let rows = if name == "dpo" { &pairs } else { &all };
        let run = |tokens| walked(learner(model, adapted, tokens), rows, goal());
        let (alone, metrics, one_by_one, gradient) = run(MICRO_TOKENS);
        assert_eq!(one_by_one, micro_batches(rows, goal().unit()).len());
        let several: &[usize] = if i == 0 { &[4096, 1 << 20] } else { &[1 << 20] };
        for &tokens in several {
            let (sum, own, passes, together) = run(tokens);
            // States go to the host after some tokens.
            let least = if tokens > 4096 && name != "states" {
                1
            } else {
                2
            };
            assert!(least <= passes && passes < one_by_one, "{name}: {passes}");
            assert!(least > 1 || passes == 1, "{name}: {passes}");
            assert_eq!((sum.tokens, sum.broken), (alone.tokens, alone.broken));
            let off = (sum.loss - alone.loss).abs() / alone.loss.abs().max(1e-3);
            let gradients = relative(&together, &gradient);
            println!("{name}, {tokens} tokens: loss {off:.1e}, gradients {gradients:.1e}");
            assert!(off < 1e-6, "{name}: {} and {}", sum.loss, alone.loss);
            assert!(gradients < 1e-5, "{name}: {gradients}");
            for ((a, x), (b, y)) in own.iter().zip(&metrics) {
                let off = (x - y).abs() / y.abs().max(1e-2);
                assert!(a == b && off < 1e-4, "{name}: {a} {x} {b} {y}");
            }
        }
    }
    // Less than a micro-batch is one, with the same bits.
    let run = |most| walked(learner(MODELS[0], false, most), &all, sft(tokens));
    assert!(run(0) == run(MICRO_TOKENS));
}

/// What is no number in one micro-batch leaves those that go with it as they are without it.
#[test]
fn a_broken_micro_batch_does_not_break_those_that_go_with_it() {
    let mut weights = weights_of(MODELS[1]);
    let d = weights.config.hidden_size;
    weights.data[30 * d] = f32::NAN;
    let row = |n: usize, bad: bool| Row {
        ids: (0..n)
            .map(|i| if bad && i == 3 { 30 } else { (i % 29) as u32 })
            .collect(),
        mask: vec![true; n],
    };
    let rows = [row(1040, false), row(1030, true), row(1050, false)];
    assert_eq!(micro_batches(&rows, 1).len(), 3);
    for of_states in [false, true] {
        let run = |tokens: usize| {
            let (keep, device) = (Keep::All, Device::Cpu);
            let weights = weights.clone();
            let adapter = of_states.then(|| adapter(&weights));
            let there = learner::Device::new(weights, adapter, false, keep, &device, Numerics::F32);
            let there = there.expect("opened").together(tokens);
            let goal = match of_states {
                true => states(&rows),
                false => sft(3000),
            };
            walked(there, &rows, goal)
        };
        let (alone, _, one_by_one, expected) = run(MICRO_TOKENS);
        let (sum, _, passes, gradient) = run(1 << 20);
        assert!(one_by_one == 3 && passes < 3, "{passes} passes");
        assert!(sum.loss.is_nan() && alone.loss.is_nan());
        assert_eq!((sum.broken, sum.tokens), (alone.broken, alone.tokens));
        let row = if of_states { None } else { Some(1) };
        assert_eq!(sum.broken.map(|broken| broken.row), row);
        // What is said of hidden states hangs on their last bits, which hang on what goes with them.
        let off = relative(&gradient, &expected);
        assert!(gradient == expected || of_states && off < 1e-5, "{off}");
        assert!(gradient.iter().any(|g| *g != 0.0));
    }
}
