//! The learner on a device against the one on this machine's cores: steps of every objective, with and without an adapter,
//! whatever is kept; checkpoints that go from one to the other; the same bytes twice.

use crate::numerics::{FAMILIES, relative, weights};
use anyhow::Result;
use pipe::base::rng::Seed;
use pipe::learn::adapter::{Adapter, Linear, Options as LoraOptions};
use pipe::learn::batch::{Row, micro_batches};
use pipe::learn::config::{Family, Head};
use pipe::learn::cpu::Cpu;
use pipe::learn::decoder::Keep;
use pipe::learn::device;
use pipe::learn::learner::{Learner, Policy};
use pipe::learn::objective::Goal;
use pipe::learn::objective::advantage::{Advantage, advantages};
use pipe::learn::objective::dpo::{self, DpoObjective};
use pipe::learn::objective::grpo::{self, GrpoObjective};
use pipe::learn::objective::rerouting::{Divisor, Rerouting};
use pipe::learn::objective::sft::SftObjective;
use pipe::learn::optim::AdamW;
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::{Options, Request};
use pipe::learn::weights::Weights;
use std::collections::BTreeSet;

/// No biases: AdamW makes a full step of the rounding noise that is the gradient of a key's bias.
pub const MODELS: [(Family, Head); 2] =
    [(Family::Qwen3, Head::Tied), (Family::Llama, Head::Untied)];

/// An adapter that changes something, on all but the lowest block and one linear layer of it.
pub fn adapter(weights: &Weights) -> Adapter {
    let options = LoraOptions {
        rank: 3,
        alpha: 6.0,
        rank_stabilised: false,
        targets: Linear::ALL
            .into_iter()
            .filter(|l| *l != Linear::K)
            .collect(),
        blocks: 1..weights.config.layers,
    };
    let mut adapter = Adapter::new(&weights.config, &options, Seed::new(2));
    adapter.stir(0.1, Seed::new(6));
    adapter
}

pub fn weights_of((family, head): (Family, Head)) -> Weights {
    weights(family, head)
}

/// The same model on this machine's cores and on candle's tensors.
fn both(model: (Family, Head), adapted: bool, keep: Keep) -> [Box<dyn Learner>; 2] {
    let weights = weights_of(model);
    let adapter = adapted.then(|| adapter(&weights));
    let cpu = Cpu::new(weights.clone(), adapter.clone(), true, keep);
    [
        Box::new(cpu),
        device::open(super::own(), weights, adapter, true, keep).expect("opened"),
    ]
}

/// Rows of several micro-batches; but of a preference, one has nothing that is scored. Attention takes the squares of their lengths: only
/// of what is cheapest a row has more than plain attention takes at once.
pub fn rows(name: &str) -> Vec<Row> {
    const LENGTHS: [usize; 16] = [
        170, 163, 30, 34, 176, 168, 5, 8, 172, 166, 174, 180, 164, 178, 161, 175,
    ];
    let mut rng = Seed::new(11).rng();
    let row = |(i, n): (usize, usize)| {
        let n = if i == 15 && name == "sft" { 520 } else { n };
        Row {
            ids: (0..n).map(|_| rng.below(37) as u32).collect(),
            mask: (0..n)
                .map(|t| t > n / 3 && (i != 4 || name == "dpo"))
                .collect(),
        }
    };
    let rows: Vec<Row> = LENGTHS.into_iter().enumerate().map(row).collect();
    assert!(micro_batches(&rows, 2).len() > 1);
    rows
}

/// The supervised loss of a window of so many tokens.
pub fn sft(tokens: usize) -> Goal<'static> {
    Goal::Logp(Box::new(SftObjective::new(tokens)))
}

/// What is lost on these rows; `learner` says what the reference makes of them.
fn goal(name: &str, rows: &[Row], learner: &mut dyn Learner) -> Result<Goal<'static>> {
    let tokens: usize = rows.iter().map(Row::scored).sum();
    Ok(match name {
        "sft" => sft(tokens),
        "dpo" => {
            let reference = learner.score(Policy::Reference, rows, 1.0)?;
            let sum = |row: &Vec<f32>| row.iter().map(|&x| f64::from(x)).sum();
            Goal::Logp(Box::new(DpoObjective {
                options: dpo::Options {
                    loss: dpo::Loss::Sigmoid,
                    beta: 0.1,
                    label_smoothing: 0.0,
                    nll_coefficient: 0.2,
                    nll_mean: dpo::NllMean::Token,
                },
                totals: dpo::Totals {
                    pairs: rows.len() / 2,
                    chosen_tokens: rows.iter().step_by(2).map(Row::scored).sum(),
                },
                reference: reference.iter().map(sum).collect(),
                sums: Default::default(),
            }))
        }
        "grpo" => {
            let reference = learner.score(Policy::Reference, rows, 0.7)?;
            let rewards: Vec<Option<f64>> = (0..rows.len()).map(|i| Some(i as f64 % 3.0)).collect();
            Goal::Logp(Box::new(GrpoObjective {
                options: grpo::Options {
                    beta: 0.1,
                    entropy: 0.01,
                    ..grpo::Options::default()
                },
                totals: grpo::Totals {
                    rows: rows.len(),
                    tokens,
                    micro_batches: micro_batches(rows, 1).len(),
                    max_length: 180,
                },
                advantages: advantages(&rewards, 4, Advantage::Group, 1e-6)?,
                old: None,
                reference: Some(reference),
                sampler: None,
                sums: Default::default(),
            }))
        }
        "states" => Goal::States(Box::new(Rerouting {
            layers: vec![1, 2],
            divisor: Divisor::Released,
            coefficients: (2.0, 3.0),
            harmful_rows: 3,
            harmful_tokens: rows[..3].iter().map(|row| row.ids.len()).sum(),
            retain_positions: rows[3..].iter().map(|row| row.ids.len()).sum(),
            distances: vec![],
            cosines: 0.0,
        })),
        other => panic!("objective {other}"),
    })
}

/// Three steps of an objective. Gives the loss and norm of each, and the metrics of the last.
pub fn steps(name: &str, learner: &mut dyn Learner) -> (Vec<f64>, Vec<(&'static str, f64)>) {
    let rows = rows(name);
    let (mut numbers, mut metrics) = (vec![], vec![]);
    for _ in 0..3 {
        let mut goal = goal(name, &rows, learner).expect("a reference");
        let temperature = if name == "grpo" { 0.7 } else { 1.0 };
        let sum = learner.accumulate(&rows, &mut goal, temperature, &mut |_| {});
        let sum = sum.expect("computed");
        assert_eq!(sum.broken, None);
        assert_eq!(
            sum.tokens,
            rows.iter().map(|row| row.ids.len()).sum::<usize>()
        );
        numbers.extend([sum.loss, learner.clip(0.5).expect("clipped")]);
        learner.update(&AdamW::default(), 1e-3).expect("updated");
        metrics = goal.metrics();
    }
    (numbers, metrics)
}

pub fn moved(learner: &dyn Learner, from: &[f32]) -> Vec<f32> {
    let snapshot = learner.snapshot().expect("numbers");
    let each = snapshot.trained.iter().zip(from);
    each.map(|(a, b)| a - b).collect()
}

#[test]
fn steps_of_every_objective_are_those_of_the_kernels() {
    println!("objective | trained | kept | losses, norms | moved | second moments");
    for model in MODELS {
        for name in ["sft", "dpo", "grpo", "states"] {
            for (adapted, keep) in [
                (false, Keep::All),
                (true, Keep::All),
                (true, Keep::States),
                (false, Keep::States),
            ] {
                // Full weights have no adapter to be off: the states would be held against themselves. What is kept is
                // looked at once for each sort.
                if name == "states" && !adapted || name != "sft" && keep == Keep::States {
                    continue;
                }
                let [mut cpu, mut there] = both(model, adapted, keep);
                let begins = cpu.snapshot().expect("numbers").trained.into_owned();
                let (ours, our_metrics) = steps(name, there.as_mut());
                let (theirs, their_metrics) = steps(name, cpu.as_mut());
                let off = |a: f64, b: f64| (a - b).abs() / b.abs().max(1e-3);
                let numbers = ours.iter().zip(&theirs).map(|(a, b)| off(*a, *b));
                let numbers = numbers.fold(0.0, f64::max);
                let what = format!("{name} {model:?} adapted {adapted} {keep:?}");
                assert!(numbers < 1e-4, "{what}: {ours:?} against {theirs:?}");
                for ((a, x), (b, y)) in our_metrics.iter().zip(&their_metrics) {
                    assert!(a == b && off(*x, *y) < 1e-3, "{what}: {a} {x} {b} {y}");
                }
                let weights = relative(
                    &moved(there.as_ref(), &begins),
                    &moved(cpu.as_ref(), &begins),
                );
                let (ours, theirs) = (there.snapshot(), cpu.snapshot());
                let (ours, theirs) = (ours.expect("numbers"), theirs.expect("numbers"));
                let moments = relative(&ours.second, &theirs.second);
                println!(
                    "{name} {:?} | {} | {keep:?} | {numbers:.1e} | {weights:.1e} | {moments:.1e}",
                    model.0,
                    if adapted { "adapter" } else { "all" }
                );
                assert!(
                    weights < 2e-3 && moments < 1e-4,
                    "{what}: {weights} {moments}"
                );
                assert_eq!((ours.updates, there.updates()), (3, 3));
                let kernels = cpu.score(Policy::Live, &rows(name), 0.8).expect("computed");
                let device = there
                    .score(Policy::Live, &rows(name), 0.8)
                    .expect("computed");
                let lengths = |all: &[Vec<f32>]| all.iter().map(Vec::len).collect::<Vec<_>>();
                assert_eq!(lengths(&device), lengths(&kernels), "{what}");
                let apart = relative(&device.concat(), &kernels.concat());
                assert!(apart < 1e-4, "{what}: scores off by {apart}");
            }
        }
    }
}

#[test]
fn a_checkpoint_of_either_learner_goes_on_in_the_other() {
    let bits = |list: &[f32]| list.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for adapted in [false, true] {
        let [mut cpu, mut there] = both(MODELS[0], adapted, Keep::All);
        steps("sft", there.as_mut());
        let snapshot = there.snapshot().expect("numbers");
        let kept = [
            bits(&snapshot.trained),
            bits(&snapshot.first),
            bits(&snapshot.second),
        ];
        cpu.restore(snapshot).expect("restored");
        let all = |learner: &dyn Learner| {
            let back = learner.snapshot().expect("numbers");
            let arrays = [&back.trained, &back.first, &back.second];
            (arrays.map(|array| bits(array)), back.updates)
        };
        assert!(
            all(cpu.as_ref()) == (kept, 3),
            "not a bit is lost on the way"
        );
        assert_eq!(cpu.updates(), 3);
        // And back into a learner that has seen nothing.
        let [_, mut fresh] = both(MODELS[0], adapted, Keep::All);
        steps("dpo", cpu.as_mut());
        steps("dpo", there.as_mut());
        fresh
            .restore(cpu.snapshot().expect("numbers"))
            .expect("restored");
        assert!(all(fresh.as_ref()) == all(cpu.as_ref()));
        let far = relative(
            &there.snapshot().expect("numbers").trained,
            &cpu.snapshot().expect("numbers").trained,
        );
        assert!(far < 1e-4, "{far}");
        // What comes out at the end is the snapshot.
        let last = all(fresh.as_ref()).0[0].clone();
        let (weights, adapter) = fresh.finish().expect("numbers");
        let frozen = weights.data.clone();
        assert!(bits(&adapter.map_or(weights.data, |adapter| adapter.data)) == last);
        if adapted {
            let begun = weights_of(MODELS[0]).data;
            assert!(bits(&frozen) == bits(&begun), "what is below is as it was");
        }
        let [_, mut other] = both(MODELS[0], !adapted, Keep::All);
        let error = other.restore(cpu.snapshot().expect("numbers"));
        let error = error.expect_err("another model").to_string();
        assert!(error.contains("another model"), "{error}");
    }
}

#[test]
fn the_reference_is_what_training_began_as_on_a_device() {
    for adapted in [false, true] {
        let [mut cpu, mut there] = both(MODELS[1], adapted, Keep::All);
        let rows = &rows("sft")[2..4];
        let mut score = |policy| there.score(policy, rows, 1.0).expect("computed").concat();
        let (before, live) = (score(Policy::Reference), score(Policy::Live));
        assert_eq!(before == live, !adapted, "the adapter was stirred");
        let kernels = cpu.score(Policy::Reference, rows, 1.0).expect("computed");
        assert!(relative(&before, &kernels.concat()) < 1e-5);
        steps("sft", there.as_mut());
        let mut score = |policy| there.score(policy, rows, 1.0).expect("computed").concat();
        assert_eq!(score(Policy::Reference), before);
        assert_ne!(score(Policy::Live), live);
    }
}

#[test]
fn a_learner_on_a_device_repeats_its_bytes() {
    let run = || {
        let [_, mut there] = both(MODELS[0], false, Keep::All);
        let (numbers, _) = steps("grpo", there.as_mut());
        let request = |i: u32| Request {
            prompt: vec![5, 9, 3, i],
            samples: 3,
            seed: Seed::new(7).at(u64::from(i)),
        };
        let requests: Vec<Request> = (10..15).map(request).collect();
        let options = Options {
            choice: Choice::plain(0.9),
            max_new_tokens: 12,
            stop_ids: BTreeSet::from([1]),
            batch_rows: 8,
        };
        let live = Policy::Live;
        let samples = there.sample(live, &requests, &options, &mut |_| {}, &|| false);
        let snapshot = there.snapshot().expect("numbers");
        let trained: Vec<u32> = snapshot.trained.iter().map(|x| x.to_bits()).collect();
        (numbers, samples.expect("sampled"), trained)
    };
    let (first, second) = (run(), run());
    assert_eq!(first.0, second.0);
    assert_eq!(first.1, second.1);
    assert!(first.2 == second.2, "bits of the weights");
}

#[test]
pub(super) fn a_window_that_is_broken_or_empty_is_told_as_the_kernels_tell_it() {
    for (family, head) in FAMILIES {
        let mut weights = weights(family, head);
        // The embedding of token 30 is no number.
        let d = weights.config.hidden_size;
        weights.data[30 * d] = f32::NAN;
        let row = |ids: &[u32]| Row {
            ids: ids.to_vec(),
            mask: vec![true; ids.len()],
        };
        // In the first place of its row: what comes before it is broken by some products, as 0 x NaN, and not by others.
        let mut rows = vec![row(&[3, 4, 5]), row(&[30, 6, 7, 8]), row(&[30, 1])];
        if head == Head::Tied {
            // Every logit hangs on a tied table.
            rows.remove(0);
        }
        let goal = |rows: &[Row]| {
            let tokens = rows.iter().map(Row::scored).sum();
            Goal::Logp(Box::new(SftObjective::new(tokens)))
        };
        let cpu: Box<dyn Learner> = Box::new(Cpu::new(weights.clone(), None, false, Keep::All));
        let there = device::open(super::own(), weights, None, false, Keep::All).expect("opened");
        let [ours, theirs] = [there, cpu].map(|mut learner| {
            let sum = learner.accumulate(&rows, &mut goal(&rows), 1.0, &mut |_| {});
            let sum = sum.expect("computed");
            assert!(sum.loss.is_nan());
            (sum.tokens, sum.broken, learner.clip(1.0).expect("clipped"))
        });
        assert_eq!(ours, theirs, "{family:?}");
        assert!(ours.1.is_some() && ours.2 == 0.0, "{ours:?}");
    }
    // Nothing was ever accumulated.
    let [_, mut there] = both(MODELS[0], true, Keep::All);
    assert_eq!(there.clip(1.0).expect("clipped"), 0.0);
    assert_eq!((there.updates(), there.adapted()), (0, true));
    let empty = there.score(Policy::Live, &[], 1.0).expect("computed");
    assert!(empty.is_empty());
}
