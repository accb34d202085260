//! Speed of a training step (forward, backward, AdamW) on three shapes, beside the gemm peak of the same run.
//!
//! `cargo bench --bench learn`, threads as in RAYON_NUM_THREADS. FLOP per token: 6 per multiplied parameter and
//! 6 * layers * q_width * (mean number of visible keys) * 2 for attention.

use std::time::Instant;

use pipe::base::rng::Seed;
use pipe::learn::config::{Config, Family, Head, RopeScaling};
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::optim::{AdamW, Moments, clip};
use pipe::learn::weights::Weights;
use serde_json::{Value, json};

struct Shape {
    name: &'static str,
    d: usize,
    layers: usize,
    heads: usize,
    ff: usize,
    vocabulary: usize,
    sequences: usize,
    length: usize,
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "d128",
        d: 128,
        layers: 4,
        heads: 4,
        ff: 384,
        vocabulary: 512,
        sequences: 32,
        length: 96,
    },
    Shape {
        name: "d256",
        d: 256,
        layers: 6,
        heads: 8,
        ff: 768,
        vocabulary: 2048,
        sequences: 16,
        length: 128,
    },
    Shape {
        name: "d96",
        d: 96,
        layers: 3,
        heads: 4,
        ff: 256,
        vocabulary: 400,
        sequences: 96,
        length: 45,
    },
];

fn main() {
    // `cargo bench` passes --bench; `cargo test --benches` does not, and wants no long run.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!(
        "{:6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>8} {:>8} {:>8}",
        "shape",
        "params",
        "fwd ms",
        "bwd ms",
        "adamw ms",
        "step ms",
        "tok/s",
        "GFLOP/s",
        "peak",
        "of peak"
    );
    let results: Vec<Value> = SHAPES.iter().map(measure).collect();
    println!(
        "{}",
        json!({"threads": rayon::current_num_threads(), "results": results})
    );
}

fn measure(shape: &Shape) -> Value {
    let config = Config {
        family: Family::Llama,
        head: Head::Untied,
        vocab_size: shape.vocabulary,
        hidden_size: shape.d,
        intermediate_size: shape.ff,
        layers: shape.layers,
        heads: shape.heads,
        kv_heads: shape.heads,
        head_dim: shape.d / shape.heads,
        rms_norm_eps: 1e-6,
        rope_theta: 10000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings: 4096,
        initializer_range: 0.02,
        bos_token_id: Value::Null,
        eos_token_id: Value::Null,
        pad_token_id: Value::Null,
    };
    let mut weights = Weights::random(config, Seed::new(1));
    let tokens = shape.sequences * shape.length;
    let mut rng = Seed::new(2).rng();
    let ids: Vec<u32> = (0..tokens)
        .map(|_| rng.below(shape.vocabulary) as u32)
        .collect();
    let starts: Vec<usize> = (0..=shape.sequences).map(|s| s * shape.length).collect();
    let scored: Vec<usize> = (0..tokens).filter(|i| i % shape.length != 0).collect();
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let dlogp = vec![-1.0 / scored.len() as f32; scored.len()];
    let mut workspace = Workspace::new();
    let mut grads = vec![0.0f32; weights.layout.len()];
    let mut moments = Moments::zeros(weights.layout.len());
    let rule = AdamW::default();
    let (mut forwards, mut backwards, mut updates, mut steps) = (vec![], vec![], vec![], vec![]);
    let (mut peaks, mut shares) = (vec![], vec![]);
    let mut square = Square::new();
    let visible = (shape.length + 1) as f64 / 2.0;
    let attention = 12.0 * shape.layers as f64 * shape.d as f64 * visible;
    let flop = (6.0 * weights.layout.multiplied() as f64 + attention) * tokens as f64;
    let mut before = square.peak();
    for _ in 0..24 {
        let start = Instant::now();
        let tape = decoder::forward(&weights, batch, &scored, 1.0, &mut workspace);
        let forward = start.elapsed().as_secs_f64();
        grads.fill(0.0);
        backward(&weights, &tape, &dlogp, None, &mut grads, &mut workspace);
        tape.recycle(&mut workspace);
        let back = start.elapsed().as_secs_f64();
        clip(&mut grads, 1.0);
        rule.update(&mut weights, &grads, &mut moments, 1e-3);
        let all = start.elapsed().as_secs_f64();
        forwards.push(forward);
        backwards.push(back - forward);
        updates.push(all - back);
        steps.push(all);
        // Neighbours on the machine slow a step and its peaks alike: the share is taken between two peaks.
        let after = square.peak();
        shares.push(flop / all / 1e9 / (0.5 * (before + after)));
        peaks.push(after);
        before = after;
    }
    let step = median(&mut steps);
    let (peak, share) = (median(&mut peaks), median(&mut shares));
    let speed = flop / step / 1e9;
    println!(
        "{:6} {:>9} {:>9.1} {:>9.1} {:>9.2} {:>9.1} {:>10.0} {:>8.1} {:>8.1} {:>8.2}",
        shape.name,
        weights.layout.len(),
        median(&mut forwards) * 1e3,
        median(&mut backwards) * 1e3,
        median(&mut updates) * 1e3,
        step * 1e3,
        tokens as f64 / step,
        speed,
        peak,
        share
    );
    json!({
        "shape": shape.name, "parameters": weights.layout.len(), "step_ms": step * 1e3,
        "tokens_per_second": tokens as f64 / step, "gflops": speed, "gemm_peak": peak, "of_peak": share,
    })
}

/// A 1024^3 product over all threads: what the machine gives at this moment.
struct Square {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Square {
    const N: usize = 1024;

    fn new() -> Square {
        let full = || vec![1.0f32; Square::N * Square::N];
        let (a, b, c) = (full(), full(), full());
        Square { a, b, c }
    }

    /// GFLOP/s.
    fn peak(&mut self) -> f64 {
        let n = Square::N;
        let start = Instant::now();
        // SAFETY: the three matrices are n x n and row-major.
        unsafe {
            gemm::gemm(
                n,
                n,
                n,
                self.c.as_mut_ptr(),
                1,
                n as isize,
                false,
                self.a.as_ptr(),
                1,
                n as isize,
                self.b.as_ptr(),
                1,
                n as isize,
                0.0f32,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(rayon::current_num_threads()),
            );
        }
        2.0 * (n as f64).powi(3) / start.elapsed().as_secs_f64() / 1e9
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
