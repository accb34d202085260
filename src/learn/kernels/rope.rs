//! Rotary positions (the half-split form of Hugging Face), with the norm of each head before it where the model has one.

use super::norm;
use super::simd::vector;
use crate::config::{Config, RopeScaling};

/// Cosines and sines of the positions 0..`len`, each [len, head_dim / 2].
#[derive(Clone, Debug, Default)]
pub struct Rope {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
    len: usize,
    frequencies: Vec<f32>,
}

impl Rope {
    /// Extends the table to `len` positions; starts anew when the config asks for other frequencies.
    pub fn reach(&mut self, config: &Config, len: usize) {
        let frequencies = frequencies(config);
        if self.frequencies != frequencies {
            *self = Rope {
                frequencies,
                ..Rope::default()
            };
        }
        for position in self.len..len {
            for &frequency in &self.frequencies {
                // The angle is rounded to f32 as in transformers; its sine and cosine are exact for that angle.
                let angle = f64::from(position as f32 * frequency);
                self.cos.push(angle.cos() as f32);
                self.sin.push(angle.sin() as f32);
            }
        }
        self.len = self.len.max(len);
    }
}

/// Radians per position for every pair, with the bands of Llama 3.1 where the config has them: a pair that turns more
/// than `high_freq_factor` times within the original context keeps its frequency, one that turns less than
/// `low_freq_factor` times is slowed by `factor`, between them the two are blended.
pub(crate) fn frequencies(config: &Config) -> Vec<f32> {
    let dim = config.head_dim as f64;
    (0..config.head_dim / 2)
        .map(|i| {
            let plain = config.rope_theta.powf(-2.0 * i as f64 / dim);
            let RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: context,
            } = config.rope_scaling
            else {
                return plain as f32;
            };
            let turns = context as f64 * plain / std::f64::consts::TAU;
            let blend = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            ((1.0 - blend) * plain / factor + blend * plain) as f32
        })
        .collect()
}

/// What the rotation of a block of rows needs besides the rows.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    pub rope: &'a Rope,
    /// Position of each row of the block.
    pub positions: &'a [u32],
    pub head_dim: usize,
    /// Numbers from row to row.
    pub stride: usize,
}

/// Rotates `heads` heads at column `first` of every row in place, after RMSNorm of each head where `weight` is given.
pub fn forward(
    rows: &mut [f32],
    turn: Turn,
    first: usize,
    heads: usize,
    weight: Option<(&[f32], f32)>,
) {
    let (dim, half) = (turn.head_dim, turn.head_dim / 2);
    vector(
        #[inline(always)]
        move || {
            for (row, &position) in rows.chunks_exact_mut(turn.stride).zip(turn.positions) {
                let at = position as usize * half;
                let cos = &turn.rope.cos[at..at + half];
                let sin = &turn.rope.sin[at..at + half];
                for head in row[first..first + heads * dim].chunks_exact_mut(dim) {
                    if let Some((weight, eps)) = weight {
                        let r = norm::scale(head, eps);
                        for (x, w) in head.iter_mut().zip(weight) {
                            *x = *x * r * w;
                        }
                    }
                    rotate(head, cos, sin, 1.0);
                }
            }
        },
    );
}

/// Turns gradients of rotated heads back; the reverse of `forward` without the norm.
pub fn backward(rows: &mut [f32], turn: Turn, first: usize, heads: usize) {
    let (dim, half) = (turn.head_dim, turn.head_dim / 2);
    vector(
        #[inline(always)]
        move || {
            for (row, &position) in rows.chunks_exact_mut(turn.stride).zip(turn.positions) {
                let at = position as usize * half;
                let cos = &turn.rope.cos[at..at + half];
                let sin = &turn.rope.sin[at..at + half];
                for head in row[first..first + heads * dim].chunks_exact_mut(dim) {
                    rotate(head, cos, sin, -1.0);
                }
            }
        },
    );
}

/// The norm of each head backward, in place. `raw` holds the heads before norm and rotation, `raw_stride` from row to
/// row and with the same columns; `dw` (+=) has `head_dim` numbers.
pub fn norm_backward(
    rows: &mut [f32],
    stride: usize,
    raw: &[f32],
    raw_stride: usize,
    columns: std::ops::Range<usize>,
    (weight, eps): (&[f32], f32),
    dw: &mut [f32],
) {
    let dim = weight.len();
    let mut dy = vec![0.0; dim];
    for (row, raw) in rows
        .chunks_exact_mut(stride)
        .zip(raw.chunks_exact(raw_stride))
    {
        let heads = row[columns.clone()].chunks_exact_mut(dim);
        for (head, x) in heads.zip(raw[columns.clone()].chunks_exact(dim)) {
            let r = norm::scale(x, eps);
            dy.copy_from_slice(head);
            head.fill(0.0);
            norm::backward(x, weight, &[r], &dy, head, dw);
        }
    }
}

#[inline(always)]
fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    let (low, high) = head.split_at_mut(cos.len());
    for i in 0..cos.len() {
        let (a, b, c, s) = (low[i], high[i], cos[i], sign * sin[i]);
        low[i] = a * c - b * s;
        high[i] = b * c + a * s;
    }
}
