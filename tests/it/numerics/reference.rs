//! The decoder in f64, written from the formulas and slow: what the kernels compute, and the whole of it. Shares no code
//! with what it checks but the table of sines.

use pipe::learn::config::{Config, Head};
use pipe::learn::kernels::rope::Rope;
use pipe::learn::weights::Weights;

/// `x` [rows, inner] times the transpose of `w` [outer, inner].
pub fn linear(x: &[f64], w: &[f64], inner: usize) -> Vec<f64> {
    x.chunks_exact(inner)
        .flat_map(|x| w.chunks_exact(inner).map(move |w| dot(x, w)))
        .collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// y = x w / sqrt(mean(x^2) + eps), by rows of `w.len()`.
pub fn rms_norm(x: &[f64], w: &[f64], eps: f64) -> Vec<f64> {
    let d = w.len();
    x.chunks_exact(d)
        .flat_map(|x| {
            let r = 1.0 / (dot(x, x) / d as f64 + eps).sqrt();
            x.iter().zip(w).map(move |(x, w)| x * r * w)
        })
        .collect()
}

/// The pairs (i, i + dim/2) of a head turned by the angles of its position.
pub fn rotate(head: &[f64], position: usize, rope: &Rope) -> Vec<f64> {
    let half = head.len() / 2;
    let mut out = head.to_vec();
    for i in 0..half {
        let c = f64::from(rope.cos[position * half + i]);
        let s = f64::from(rope.sin[position * half + i]);
        out[i] = head[i] * c - head[i + half] * s;
        out[i + half] = head[i + half] * c + head[i] * s;
    }
    out
}

/// silu(gate) * up on rows that hold `f` gates, then `f` ups.
pub fn swiglu(gate_up: &[f64], f: usize) -> Vec<f64> {
    gate_up
        .chunks_exact(2 * f)
        .flat_map(|row| {
            let (gate, up) = row.split_at(f);
            let silu = |g: f64| g / (1.0 + (-g).exp());
            gate.iter().zip(up).map(move |(g, u)| silu(*g) * u)
        })
        .collect()
}

/// log softmax of a row.
pub fn log_softmax(z: &[f64]) -> Vec<f64> {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = top + z.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
    z.iter().map(|z| z - lse).collect()
}

/// -sum p log p, from log p.
pub fn entropy(log_p: &[f64]) -> f64 {
    -log_p.iter().map(|l| l.exp() * l).sum::<f64>()
}

/// Heads side by side in a row of q, k, v.
#[derive(Clone, Copy)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
}

/// Causal attention within each sequence: from `qkv` [rows, (heads + 2 kv_heads) dim] to [rows, heads dim].
pub fn attention(qkv: &[f64], shape: Heads, starts: &[usize]) -> Vec<f64> {
    let Heads {
        heads,
        kv_heads,
        dim,
    } = shape;
    let width = (heads + 2 * kv_heads) * dim;
    let part = |row: usize, column: usize| &qkv[row * width + column * dim..][..dim];
    let mut out = vec![];
    for bounds in starts.windows(2) {
        for row in bounds[0]..bounds[1] {
            for head in 0..heads {
                let kv = head / (heads / kv_heads);
                let scores: Vec<f64> = (bounds[0]..=row)
                    .map(|j| dot(part(row, head), part(j, heads + kv)) / (dim as f64).sqrt())
                    .collect();
                let mut mixed = vec![0.0; dim];
                for (l, j) in log_softmax(&scores).iter().zip(bounds[0]..) {
                    for (m, v) in mixed.iter_mut().zip(part(j, heads + kv_heads + kv)) {
                        *m += l.exp() * v;
                    }
                }
                out.extend(mixed);
            }
        }
    }
    out
}

/// Log-probability and entropy of every token but the first of its sequence.
pub struct Scores {
    pub logp: Vec<f64>,
    pub entropy: Vec<f64>,
}

/// The hidden states of packed sequences after the final norm [rows, hidden]. `data` stands for the weights' numbers.
pub fn states(weights: &Weights, data: &[f64], ids: &[u32], starts: &[usize]) -> Vec<f64> {
    let config = &weights.config;
    let (d, eps) = (config.hidden_size, config.rms_norm_eps);
    let param = |name: &str| {
        let param = weights.layout.param(name)?;
        Some(&data[param.range.clone()])
    };
    let must = |name: &str| param(name).unwrap_or_else(|| panic!("no {name}"));
    let table = must("model.embed_tokens.weight");
    let mut h: Vec<f64> = ids
        .iter()
        .flat_map(|&id| table[id as usize * d..][..d].to_vec())
        .collect();
    let mut rope = Rope::default();
    rope.reach(config, ids.len());
    for layer in 0..config.layers {
        let own = |tail: &str| format!("model.layers.{layer}.{tail}");
        let x = rms_norm(&h, must(&own("input_layernorm.weight")), eps);
        let qkv = projected(config, &x, starts, &rope, &|tail| param(&own(tail)));
        let shape = Heads {
            heads: config.heads,
            kv_heads: config.kv_heads,
            dim: config.head_dim,
        };
        let mixed = attention(&qkv, shape, starts);
        add(
            &mut h,
            &linear(
                &mixed,
                must(&own("self_attn.o_proj.weight")),
                config.q_width(),
            ),
        );
        let x = rms_norm(&h, must(&own("post_attention_layernorm.weight")), eps);
        let gate = linear(&x, must(&own("mlp.gate_proj.weight")), d);
        let up = linear(&x, must(&own("mlp.up_proj.weight")), d);
        let f = config.intermediate_size;
        let rows = gate.chunks_exact(f).zip(up.chunks_exact(f));
        let gate_up: Vec<f64> = rows.flat_map(|(g, u)| [g, u].concat()).collect();
        add(
            &mut h,
            &linear(&swiglu(&gate_up, f), must(&own("mlp.down_proj.weight")), f),
        );
    }
    rms_norm(&h, must("model.norm.weight"), eps)
}

/// The whole decoder on packed sequences. `data` stands for the weights' numbers.
pub fn decoder(
    weights: &Weights,
    data: &[f64],
    ids: &[u32],
    starts: &[usize],
    temperature: f64,
) -> Scores {
    let d = weights.config.hidden_size;
    let x = states(weights, data, ids, starts);
    let head = match weights.config.head {
        Head::Tied => "model.embed_tokens.weight",
        _ => "lm_head.weight",
    };
    let head = weights.layout.param(head).expect("a language head");
    let head = &data[head.range.clone()];
    let mut scores = Scores {
        logp: vec![],
        entropy: vec![],
    };
    for row in (1..ids.len()).filter(|row| !starts.contains(row)) {
        let z = linear(&x[(row - 1) * d..row * d], head, d);
        let log_p = log_softmax(&z.iter().map(|z| z / temperature).collect::<Vec<_>>());
        scores.logp.push(log_p[ids[row] as usize]);
        scores.entropy.push(entropy(&log_p));
    }
    scores
}

/// q, k and v of a block side by side: projected, with bias, head norms and rotation.
fn projected<'a>(
    config: &Config,
    x: &[f64],
    starts: &[usize],
    rope: &Rope,
    param: &dyn Fn(&str) -> Option<&'a [f64]>,
) -> Vec<f64> {
    let dim = config.head_dim;
    let mut parts = vec![];
    for (part, heads) in [
        ("q", config.heads),
        ("k", config.kv_heads),
        ("v", config.kv_heads),
    ] {
        let w = param(&format!("self_attn.{part}_proj.weight")).expect("a projection");
        let mut y = linear(x, w, config.hidden_size);
        if let Some(bias) = param(&format!("self_attn.{part}_proj.bias")) {
            y.chunks_exact_mut(bias.len())
                .for_each(|row| add(row, bias));
        }
        if let Some(norm) = param(&format!("self_attn.{part}_norm.weight")) {
            y = rms_norm(&y, norm, config.rms_norm_eps);
        }
        if part != "v" {
            let turned = y
                .chunks_exact(heads * dim)
                .enumerate()
                .flat_map(|(row, y)| {
                    let start = starts.iter().rfind(|s| **s <= row).expect("0 is a start");
                    let turn = move |head| rotate(head, row - start, rope);
                    y.chunks_exact(dim).flat_map(turn)
                });
            y = turned.collect();
        }
        parts.push((y, heads * dim));
    }
    (0..x.len() / config.hidden_size)
        .flat_map(|row| {
            let rows = parts.iter().map(move |(y, w)| &y[row * w..(row + 1) * w]);
            rows.flatten().copied()
        })
        .collect()
}

fn add(a: &mut [f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}
