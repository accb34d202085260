//! Parts of GRPO that no golden file covers, by hand numbers and finite differences: leave-one-out advantages, sums over
//! sequences and micro-batches, every clip and KL, the KL in the reward, what is measured of the sampler.

use pipe::base::rng::Seed;
use pipe::learn::objective::advantage::{Advantage, advantages, flat};
use pipe::learn::objective::grpo::{
    self, Aggregation, GrpoWindow, Kl, Options, PerToken, Ratio, Rows, Window,
};
use pipe::learn::objective::{Objective, Outcome, Scored};
use std::collections::BTreeMap;

#[test]
fn leave_one_out_compares_with_the_mean_of_the_others() {
    let rewards = [1.0, 0.0, 0.5, 0.0].map(Some);
    let ours = advantages(&rewards, 4, Advantage::Rloo, 1e-6).unwrap();
    let by_hand = [1.0 - 0.5 / 3.0, -0.5, 0.5 - 1.0 / 3.0, -0.5];
    for (a, b) in ours.iter().zip(by_hand) {
        assert!((f64::from(*a) - b).abs() < 1e-7, "{ours:?}");
    }
    // What is unscorable is nobody's other, and a sample without others has nothing to be compared with.
    let some = [Some(1.0), None, Some(0.0), None];
    let ours = advantages(&some, 4, Advantage::Rloo, 1e-6).unwrap();
    assert_eq!(ours, [1.0, 0.0, -1.0, 0.0]);
    for lonely in [[Some(1.0), None], [None, None], [Some(0.3), Some(0.3)]] {
        assert!(flat(&lonely));
        for scale in [
            Advantage::Group,
            Advantage::Batch,
            Advantage::None,
            Advantage::Rloo,
        ] {
            assert_eq!(advantages(&lonely, 2, scale, 1e-6).unwrap(), [0.0, 0.0]);
        }
    }
    assert!(!flat(&some));
}

/// Four rows, the third without tokens.
struct Numbers {
    starts: Vec<usize>,
    advantages: Vec<f32>,
    logp: Vec<f32>,
    old: Vec<f32>,
    reference: Vec<f32>,
    entropy: Vec<f32>,
}

/// Log-ratios up to `spread`, so that clips bind.
fn numbers(spread: f64) -> Numbers {
    let starts = vec![0, 4, 5, 5, 12];
    let mut rng = Seed::new(11).rng();
    let logp: Vec<f32> = (0..12).map(|_| -(rng.unit() as f32) * 4.0).collect();
    let mut near = || -> Vec<f32> {
        let moved = logp
            .iter()
            .map(|x| x + ((rng.unit() * 2.0 - 1.0) * spread) as f32);
        moved.collect()
    };
    let (old, reference) = (near(), near());
    Numbers {
        starts,
        advantages: vec![1.5, -0.5, 2.0, -1.0],
        old,
        reference,
        entropy: logp.iter().map(|x| -x / 2.0).collect(),
        logp,
    }
}

const WINDOW: Window = Window {
    rows: 4,
    tokens: 12,
    micro_batches: 1,
    max_length: 8,
};

impl Numbers {
    fn loss(&self, options: &Options, logp: &[f32]) -> Outcome<grpo::Sums> {
        let rows = Rows {
            starts: &self.starts,
            advantages: &self.advantages,
            logp,
            old: Some(&self.old),
            reference: Some(&self.reference),
            sampler: Some(&self.old),
            entropy: &self.entropy,
        };
        grpo::grpo(options, rows, WINDOW)
    }
}

#[test]
fn slopes_are_those_of_finite_differences_for_every_choice() {
    let plain = || Options {
        beta: 0.3,
        ..Options::default()
    };
    let mut choices = vec![
        Options {
            dual_clip: Some(1.2),
            ..plain()
        },
        Options {
            delta: Some(1.1),
            ..plain()
        },
        Options {
            clip_low: 0.1,
            clip_high: 0.4,
            ..plain()
        },
        Options {
            kl_times_ratio: true,
            ..plain()
        },
        Options {
            log_clamp: Some(0.3),
            kl_clamp: Some(0.05),
            ..plain()
        },
    ];
    for kl in [Kl::K1, Kl::K2, Kl::K3] {
        choices.push(Options { kl, ..plain() });
    }
    for aggregation in [
        Aggregation::SequenceMean,
        Aggregation::Bnpo,
        Aggregation::TokenMean,
        Aggregation::DrGrpo,
        Aggregation::SequenceSum,
        Aggregation::TokenMeanMicroSum,
    ] {
        choices.push(Options {
            aggregation,
            ..plain()
        });
    }
    let numbers = numbers(0.8);
    let mut checked = 0;
    for options in choices {
        for ratio in [Ratio::Token, Ratio::Sequence] {
            let options = Options {
                ratio,
                ..options.clone()
            };
            let ours = numbers.loss(&options, &numbers.logp).dlogp;
            for i in 0..numbers.logp.len() {
                let step = 2f32.powi(-11);
                let at = |by: f32| {
                    let mut moved = numbers.logp.clone();
                    moved[i] += by;
                    (numbers.loss(&options, &moved).loss, f64::from(moved[i]))
                };
                let ((above, x), (here, y), (below, z)) = (at(step), at(0.0), at(-step));
                let (right, left) = ((above - here) / (x - y), (here - below) / (y - z));
                // A kink within the step: either side is right.
                if (right - left).abs() > 1e-2 * (1.0 + right.abs()) {
                    continue;
                }
                let slope = (above - below) / (x - z);
                assert!(
                    (slope - f64::from(ours[i])).abs() < 1e-3 * (1.0 + slope.abs()),
                    "{options:?} token {i}: {slope} against {}",
                    ours[i]
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 300, "{checked} slopes were compared");
}

#[test]
fn a_loss_is_summed_over_sequences_or_micro_batches_as_its_name_says() {
    // On policy without KL, each token of row i loses -A_i: 4, 1, 0 and 7 tokens.
    let numbers = numbers(0.0);
    let of = |aggregation| {
        let options = Options {
            aggregation,
            ..Options::default()
        };
        numbers.loss(&options, &numbers.logp).loss
    };
    let total = -(4.0 * 1.5 - 0.5 - 7.0);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} against {b}");
    close(of(Aggregation::SequenceSum), total / 4.0);
    close(of(Aggregation::TokenMean), total / 12.0);
    close(of(Aggregation::DrGrpo), total / (4.0 * 8.0));
    close(of(Aggregation::SequenceMean), -(1.5 - 0.5 - 1.0) / 4.0);

    // In two micro-batches of 5 and 7 tokens, each has a mean of its own, which are added; entropy too.
    let options = Options {
        aggregation: Aggregation::TokenMeanMicroSum,
        entropy: 0.1,
        ..Options::default()
    };
    let per_row = |list: &[f32]| -> PerToken {
        let rows = numbers.starts.windows(2);
        rows.map(|b| list[b[0]..b[1]].to_vec()).collect()
    };
    let mut window = GrpoWindow {
        options,
        window: Window {
            micro_batches: 2,
            ..WINDOW
        },
        advantages: numbers.advantages.clone(),
        old: None,
        reference: None,
        sampler: Some(per_row(&numbers.logp)),
        sums: Default::default(),
    };
    let mut loss = 0.0;
    for (rows, bounds) in [(0..2, vec![0, 4, 5]), (2..4, vec![0, 0, 7])] {
        let tokens = numbers.starts[rows.start]..numbers.starts[rows.end];
        let scored = Scored {
            logp: &numbers.logp[tokens.clone()],
            entropy: &numbers.entropy[tokens.clone()],
            greedy_hit: &vec![false; tokens.len()],
        };
        loss += window.share(rows, &bounds, scored).loss;
    }
    let mean = |tokens: std::ops::Range<usize>| {
        let n = tokens.len() as f64;
        tokens.map(|t| f64::from(numbers.entropy[t])).sum::<f64>() / n
    };
    let policy = -(4.0 * 1.5 - 0.5) / 5.0 + 1.0;
    close(loss, policy - 0.1 * (mean(0..5) + mean(5..12)));
    let named: BTreeMap<_, _> = window.metrics().into_iter().collect();
    assert_eq!(named["sampling/sampling_logp_difference/max"], 0.0);
    assert_eq!(named["sampling/importance_sampling_ratio/min"], 1.0);
    assert_eq!(named["sampling/importance_sampling_ratio/max"], 1.0);
}

#[test]
fn the_sampler_s_mismatch_is_measured_before_anything_is_cut() {
    let numbers = numbers(0.4);
    let options = Options::default();
    let rows = Rows {
        starts: &numbers.starts,
        advantages: &numbers.advantages,
        logp: &numbers.logp,
        old: None,
        reference: None,
        sampler: Some(&numbers.old),
        entropy: &numbers.entropy,
    };
    let named: BTreeMap<_, _> = grpo::grpo(&options, rows, WINDOW)
        .metrics
        .named()
        .into_iter()
        .collect();
    let gaps: Vec<f64> = numbers
        .logp
        .iter()
        .zip(&numbers.old)
        .map(|(&a, &b)| f64::from(a) - f64::from(b))
        .collect();
    let mean = |f: &dyn Fn(f64) -> f64| gaps.iter().map(|&g| f(g)).sum::<f64>() / 12.0;
    let most = |f: &dyn Fn(f64) -> f64| gaps.iter().map(|&g| f(g)).fold(f64::MIN, f64::max);
    for (name, expected) in [
        ("sampling_logp_difference/mean", mean(&f64::abs)),
        ("sampling_logp_difference/max", most(&f64::abs)),
        ("importance_sampling_ratio/mean", mean(&f64::exp)),
        ("importance_sampling_ratio/max", most(&f64::exp)),
        ("importance_sampling_ratio/min", -most(&|g: f64| -g.exp())),
        ("token_mult_prob_error", mean(&|g: f64| g.abs().exp())),
        ("gen_kl_error", mean(&|g: f64| (-g).exp() - 1.0 + g)),
    ] {
        let ours = named[format!("sampling/{name}").as_str()];
        assert!(
            (ours - expected).abs() < 1e-9,
            "{name}: {ours} against {expected}"
        );
    }
}

#[test]
fn the_kl_that_is_taken_off_a_reward_is_the_sum_over_its_tokens() {
    let numbers = numbers(0.5);
    let d = |t: usize| f64::from(numbers.reference[t]) - f64::from(numbers.logp[t]);
    let by_hand = |kl, d: f64| match kl {
        Kl::K1 => -d,
        Kl::K2 => d * d / 2.0,
        Kl::K3 => d.exp() - d - 1.0,
    };
    for kl in [Kl::K1, Kl::K2, Kl::K3] {
        let options = Options {
            kl,
            ..Options::default()
        };
        let ours = grpo::kl_sum(&options, &numbers.logp[..4], &numbers.reference[..4]);
        let expected: f64 = (0..4).map(|t| by_hand(kl, d(t))).sum();
        assert!((ours - expected).abs() < 1e-9, "{kl:?}");
    }
}
