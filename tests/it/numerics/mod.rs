//! The learning core without golden files: kernels and gradients against f64 and candle's autograd, invariance to packing,
//! splitting, order and threads, and the errors of bad input.

mod candle;
mod decoding;
mod folders;
mod invariance;
mod kernels;
pub mod reference;
mod slopes;
mod suffixes;
mod whole;

use pipe::base::rng::Seed;
use pipe::learn::config::{Config, Family, Head, RopeScaling};
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::{Upstream, backward, backward_from};
use pipe::learn::kernels::simd;
use pipe::learn::objective::advantage::{Advantage, advantages};
use pipe::learn::optim::{self, AdamW, LrSchedule, Moments, Optim};
use pipe::learn::weights::{Role, Weights};
use serde_json::{Value, json};

pub fn tiny(family: Family, head: Head) -> Config {
    Config {
        family,
        head,
        vocab_size: 37,
        hidden_size: 24,
        intermediate_size: 40,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-5,
        rope_theta: 10000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings: 512,
        initializer_range: 0.2,
        bos_token_id: Value::Null,
        eos_token_id: json!(1),
        pad_token_id: Value::Null,
    }
}

pub const FAMILIES: [(Family, Head); 4] = [
    (Family::Qwen2, Head::Tied),
    (Family::Qwen3, Head::Tied),
    (Family::Llama, Head::Untied),
    (Family::Mistral, Head::Untied),
];

/// Random weights whose norms and biases are not trivial either.
pub fn weights(family: Family, head: Head) -> Weights {
    stirred(tiny(family, head))
}

/// The same of any shape.
pub fn stirred(config: Config) -> Weights {
    let mut weights = Weights::random(config, Seed::new(3));
    let layout = weights.layout.clone();
    let mut rng = Seed::new(4).rng();
    for param in layout.params.iter().filter(|p| p.role != Role::Matrix) {
        for w in &mut weights.data[param.range.clone()] {
            *w += 0.2 * rng.normal() as f32;
        }
    }
    weights
}

struct Sample {
    sequences: Vec<Vec<u32>>,
    /// dL/dlogp and dL/dentropy of every token but the first of its sequence.
    dlogp: Vec<Vec<f32>>,
    dentropy: Vec<Vec<f32>>,
}

fn sample(lengths: &[usize]) -> Sample {
    let mut rng = Seed::new(5).rng();
    let mut numbers = |n: usize| (0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>();
    let dlogp = lengths.iter().map(|n| numbers(n - 1)).collect();
    let dentropy = lengths.iter().map(|n| numbers(n - 1)).collect();
    let mut rng = Seed::new(6).rng();
    let sequences = lengths
        .iter()
        .map(|&n| (0..n).map(|_| rng.below(37) as u32).collect())
        .collect();
    Sample {
        sequences,
        dlogp,
        dentropy,
    }
}

/// L = sum dlogp logp + dentropy entropy over these sequences in one batch; its gradient is added to `grads`.
fn run(weights: &Weights, sample: &Sample, order: &[usize], grads: Option<&mut [f32]>) -> f64 {
    let (mut ids, mut starts, mut scored) = (vec![], vec![0], vec![]);
    let (mut dlogp, mut dentropy) = (vec![], vec![]);
    for &s in order {
        scored.extend(ids.len() + 1..ids.len() + sample.sequences[s].len());
        ids.extend(&sample.sequences[s]);
        starts.push(ids.len());
        dlogp.extend(&sample.dlogp[s]);
        dentropy.extend(&sample.dentropy[s]);
    }
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let mut workspace = Workspace::new();
    let tape = decoder::forward(weights, batch, &scored, 0.8, &mut workspace);
    if let Some(grads) = grads {
        let entropy = Some(dentropy.as_slice());
        backward(weights, &tape, &dlogp, entropy, grads, &mut workspace);
    }
    let sum = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    sum(&tape.logp, &dlogp) + sum(&tape.entropy, &dentropy)
}

fn gradient(weights: &Weights, sample: &Sample, batches: &[&[usize]]) -> Vec<f32> {
    let mut grads = vec![0.0; weights.layout.len()];
    for batch in batches {
        run(weights, sample, batch, Some(&mut grads));
    }
    grads
}

/// Bounds of packed sequences of these lengths.
fn starts(lengths: &[usize]) -> Vec<usize> {
    let mut starts = vec![0];
    for length in lengths {
        starts.push(starts[starts.len() - 1] + length);
    }
    starts
}

/// Normal numbers, the same for the same seed.
fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Seed::new(seed).rng();
    (0..n).map(|_| rng.normal() as f32).collect()
}

pub fn relative(a: &[f32], b: &[f32]) -> f64 {
    let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    optim::norm(&difference) / optim::norm(b)
}

#[test]
fn every_parameter_gets_a_finite_gradient_that_is_not_zero() {
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let grads = gradient(&weights, &sample(&[9, 2, 14]), &[&[0, 1, 2]]);
        for param in &weights.layout.params {
            let part = &grads[param.range.clone()];
            assert!(part.iter().all(|g| g.is_finite()), "{}", param.name);
            assert!(part.iter().any(|&g| g != 0.0), "{} moves", param.name);
        }
    }
}

#[test]
fn bytes_after_training_do_not_depend_on_the_number_of_threads() {
    let sample = sample(&[90, 300, 64, 65, 150, 200, 120]);
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| {
            let mut weights = weights(Family::Qwen3, Head::Tied);
            let mut moments = Moments::zeros(weights.layout.len());
            for _ in 0..3 {
                let mut grads = gradient(&weights, &sample, &[&[0, 1, 2], &[3, 4, 5, 6]]);
                optim::clip(&mut grads, 1.0);
                AdamW::default().update(&mut weights, &grads, &mut moments, 1e-2);
            }
            weights.data
        })
    };
    let one = train(1);
    assert_ne!(one, weights(Family::Qwen3, Head::Tied).data, "it trained");
    let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&one), bits(&train(2)));
    assert_eq!(bits(&one), bits(&train(3)));
}

#[test]
fn gradients_at_hidden_states_and_embeddings_predict_the_change_of_the_loss() {
    let weights = weights(Family::Llama, Head::Untied);
    let (ids, starts) = ([3u32, 8, 1, 30, 12, 7], [0, 6]);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let n = ids.len() * weights.config.hidden_size;
    let mut rng = Seed::new(9).rng();
    let pull: Vec<f32> = (0..n).map(|_| rng.normal() as f32).collect();
    // L = <pull, output of block 1>.
    let loss = |weights: &Weights| -> f64 {
        let states = decoder::hidden_states(weights, batch, &mut Workspace::new());
        states[1]
            .iter()
            .zip(&pull)
            .map(|(&h, &p)| f64::from(h) * f64::from(p))
            .sum()
    };
    let mut workspace = Workspace::new();
    let tape = decoder::forward(&weights, batch, &[], 1.0, &mut workspace);
    let upstream = Upstream {
        dhidden: &[None, Some(&pull), None],
        ..Upstream::default()
    };
    let dembed = backward_from(&weights, &tape, upstream, None, &mut workspace);
    let size = optim::norm(&dembed);
    let shifted = |sign: f64| {
        let mut moved = weights.clone();
        let d = weights.config.hidden_size;
        // The ids are distinct, so moving table rows moves embedding rows.
        for (row, &id) in dembed.chunks_exact(d).zip(&ids) {
            for (w, g) in moved.data[id as usize * d..][..d].iter_mut().zip(row) {
                *w += (sign * 3e-3 * f64::from(*g) / size) as f32;
            }
        }
        loss(&moved)
    };
    let slope = (shifted(1.0) - shifted(-1.0)) / 6e-3;
    assert!((slope / size - 1.0).abs() < 2e-2, "{slope} {size}");
}

#[test]
fn the_vector_exponential_is_within_two_units_in_the_last_place() {
    let xs: Vec<f32> = (-86_000..88_000).map(|i| i as f32 * 1e-3 + 3e-4).collect();
    let ours = simd::vector(
        #[inline(always)]
        || xs.iter().map(|&x| simd::exp(x)).collect::<Vec<f32>>(),
    );
    for (x, y) in xs.iter().zip(ours) {
        let exact = f64::from(*x).exp();
        let unit = f64::from(f32::EPSILON) * exact;
        assert!((f64::from(y) - exact).abs() < 2.0 * unit, "{x}: {y}");
    }
    assert!(simd::exp(f32::NEG_INFINITY) < 2e-38 && simd::exp(0.0) == 1.0);
}

#[test]
fn a_schedule_rises_over_the_warm_up_and_ends_where_its_shape_says() {
    let optim = |schedule| Optim {
        lr: 2.0,
        schedule,
        warmup_ratio: 0.4,
        weight_decay: 0.0,
        beta2: 0.999,
        grad_clip: 1.0,
    };
    let rates = |schedule| -> Vec<f64> { (1..=5).map(|s| optim(schedule).lr_at(s, 5)).collect() };
    assert_eq!(rates(LrSchedule::Constant), [1.0, 2.0, 2.0, 2.0, 2.0]);
    assert_eq!(rates(LrSchedule::Linear), [1.0, 2.0, 1.5, 1.0, 0.5]);
    let cosine = rates(LrSchedule::Cosine);
    assert!(
        (cosine[3] - 1.0).abs() < 1e-12,
        "half way down at the middle"
    );
    assert!(cosine[4] > 0.0 && cosine[4] < cosine[3]);
}

#[test]
fn advantages_leave_out_unscorable_samples_and_refuse_groups_of_one() {
    let rewards = [Some(1.0), None, Some(3.0), Some(0.2), Some(0.2), Some(0.2)];
    let ours = advantages(&rewards, 3, Advantage::Group, 0.0).expect("advantages");
    let half = std::f32::consts::FRAC_1_SQRT_2;
    assert!((ours[0] + half).abs() < 1e-6 && (ours[2] - half).abs() < 1e-6);
    assert_eq!(ours[1], 0.0);
    assert_eq!(ours[3..], [0.0, 0.0, 0.0]);
    assert!(advantages(&rewards, 1, Advantage::Group, 0.0).is_err());
    assert!(advantages(&rewards, 4, Advantage::Group, 0.0).is_err());
}

#[test]
fn four_thousand_tokens_fit_and_their_beginning_is_that_of_a_short_sequence() {
    let weights = weights(Family::Llama, Head::Untied);
    let sample = sample(&[4096]);
    let ids = &sample.sequences[0];
    let mut workspace = Workspace::new();
    let mut tape_of = |n: usize| {
        let (starts, scored) = ([0, n], (1..n).collect::<Vec<_>>());
        let batch = Packed {
            ids: &ids[..n],
            starts: &starts,
        };
        decoder::forward(&weights, batch, &scored, 1.0, &mut workspace)
    };
    let (long, short) = (tape_of(4096), tape_of(100));
    for (a, b) in long.logp.iter().zip(&short.logp) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    let mut grads = vec![0.0; weights.layout.len()];
    let dlogp = &sample.dlogp[0];
    backward(&weights, &long, dlogp, None, &mut grads, &mut workspace);
    let norm = optim::norm(&grads);
    assert!(norm.is_finite() && norm > 0.0);
}
