//! The optimizer: its parameters as a recipe gives them, learning-rate schedules as functions of the step, AdamW on flat
//! arrays, and clipping by the global norm.
//!
//! Sums run in f64 over chunks cut by size alone. Knows named parts of an array, no training loop.

use base::params::Bounds;
use base::{choice, params};
use rayon::prelude::*;

use crate::adapter::Adapter;
use crate::kernels::simd::vector;
use crate::weights::{Param, Role, Weights};

const CHUNK: usize = 1 << 14;

choice! {
    /// How the learning rate goes after warm-up.
    pub enum LrSchedule {
        Constant = "constant",
        /// Down to zero after the last step.
        Linear = "linear",
        /// Half a cosine, down to zero after the last step.
        Cosine = "cosine",
    }
}

const LR: Bounds = Bounds::above(
    0.0,
    1e6,
    "AdamW moves every weight by about the learning rate a step",
);
const RATIO: Bounds = Bounds::within(0.0, 1.0, "it is a share of the steps");
const DECAY: Bounds = Bounds::within(
    0.0,
    1.0,
    "it is a share of the weights, times the learning rate",
);
const BETA2: Bounds = Bounds::within(0.0, 0.999_999, "a moving average that ever moves");
const GRAD_CLIP: Bounds = Bounds::above(0.0, 1e9, "a norm to clip to");

params! {
    pub struct Optim {
        /// Peak learning rate.
        lr: f64, in LR;
        /// How the learning rate goes after warm-up.
        schedule: LrSchedule = LrSchedule::Constant;
        /// Share of the optimizer steps, not their number (10 of 200 are 0.05), in which the learning rate rises linearly.
        warmup_ratio: f64 = 0.0, in RATIO, was "warmup", was "warmup_steps";
        /// AdamW's decoupled weight decay; norms and biases have none.
        weight_decay: f64 = 0.01, in DECAY;
        /// AdamW's second-moment decay.
        beta2: f64 = 0.999, in BETA2;
        /// Global gradient norm that is clipped to.
        grad_clip: f64 = 1.0, in GRAD_CLIP;
    }
}

impl Optim {
    /// The learning rate of a step, counted from 1 to `steps`. With warm-up over w of n steps, step s has lr s / w up to w;
    /// after that linear is lr (n - s + 1) / (n - w + 1), so that no step has rate 0 (transformers gives its first step
    /// rate 0).
    pub fn lr_at(&self, step: u64, steps: u64) -> f64 {
        assert!(step >= 1, "steps count from 1");
        let warmup = (steps as f64 * self.warmup_ratio).round() as u64;
        if step <= warmup {
            return self.lr * step as f64 / warmup as f64;
        }
        let whole = (steps.saturating_sub(warmup) + 1) as f64;
        let done = ((step - warmup) as f64 / whole).min(1.0);
        match self.schedule {
            LrSchedule::Constant => self.lr,
            LrSchedule::Linear => self.lr * (1.0 - done),
            LrSchedule::Cosine => self.lr * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        }
    }

    pub fn adamw(&self) -> AdamW {
        AdamW {
            beta2: self.beta2,
            decay: self.weight_decay,
            ..AdamW::default()
        }
    }
}

/// What an optimizer changes: named parts of one flat array.
pub trait Parameters {
    fn parts(&mut self) -> (&[Param], &mut [f32]);
}

impl Parameters for Weights {
    fn parts(&mut self) -> (&[Param], &mut [f32]) {
        (&self.layout.params, &mut self.data)
    }
}

impl Parameters for Adapter {
    fn parts(&mut self) -> (&[Param], &mut [f32]) {
        (&self.params, &mut self.data)
    }
}

/// First and second moments, each as long as what is trained, and the number of updates behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
    pub updates: u64,
}

impl Moments {
    pub fn zeros(len: usize) -> Moments {
        Moments {
            first: vec![0.0; len],
            second: vec![0.0; len],
            updates: 0,
        }
    }
}

/// AdamW (Loshchilov and Hutter 2019), as torch computes it: w *= 1 - lr decay, then
/// w -= lr m^ / (sqrt(v^) + eps) with bias-corrected moments.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub decay: f64,
    /// Roles that are not decayed.
    pub no_decay: Vec<Role>,
}

impl Default for AdamW {
    /// betas 0.9 and 0.999, eps 1e-8, decay 0.01 on matrices only.
    fn default() -> AdamW {
        AdamW {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            decay: 0.01,
            no_decay: vec![Role::Norm, Role::Bias],
        }
    }
}

impl AdamW {
    /// One update with learning rate `lr`.
    pub fn update(
        &self,
        trained: &mut impl Parameters,
        grads: &[f32],
        moments: &mut Moments,
        lr: f64,
    ) {
        let (params, data) = trained.parts();
        let len = data.len();
        assert!(
            grads.len() == len && moments.first.len() == len && moments.second.len() == len,
            "gradients and moments have the layout of what is trained"
        );
        moments.updates += 1;
        let corrected = |beta: f64| 1.0 - beta.powf(moments.updates as f64);
        let rate = Rate {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            rest1: (1.0 - self.beta1) as f32,
            rest2: (1.0 - self.beta2) as f32,
            scale2: (1.0 / corrected(self.beta2).sqrt()) as f32,
            eps: self.eps as f32,
            move_by: (lr / corrected(self.beta1)) as f32,
            keep: 1.0,
        };
        let kept = (1.0 - lr * self.decay) as f32;
        for param in params {
            let at = param.range.clone();
            let rate = Rate {
                keep: if self.no_decay.contains(&param.role) {
                    1.0
                } else {
                    kept
                },
                ..rate
            };
            data[at.clone()]
                .par_chunks_mut(CHUNK)
                .zip(grads[at.clone()].par_chunks(CHUNK))
                .zip(moments.first[at.clone()].par_chunks_mut(CHUNK))
                .zip(moments.second[at].par_chunks_mut(CHUNK))
                .for_each(|(((w, g), m), v)| update_chunk(w, g, m, v, rate));
        }
    }
}

/// L2 norm, added in f64 over fixed chunks.
pub fn norm(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(CHUNK)
        .map(|part| {
            vector(
                #[inline(always)]
                || {
                    const LANES: usize = 8;
                    let mut lanes = [0.0f64; LANES];
                    let (body, tail) = part.as_chunks::<LANES>();
                    for x in body {
                        for i in 0..LANES {
                            lanes[i] += f64::from(x[i]) * f64::from(x[i]);
                        }
                    }
                    let tail: f64 = tail.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                    lanes.iter().sum::<f64>() + tail
                },
            )
        })
        .collect();
    parts.iter().sum::<f64>().sqrt()
}

/// Scales the gradients by min(1, max / (norm + 1e-6)), as torch does, and returns the norm before.
pub fn clip(grads: &mut [f32], max: f64) -> f64 {
    let norm = norm(grads);
    let factor = max / (norm + 1e-6);
    if factor < 1.0 {
        let factor = factor as f32;
        grads.par_chunks_mut(CHUNK).for_each(|part| {
            vector(
                #[inline(always)]
                || part.iter_mut().for_each(|g| *g *= factor),
            );
        });
    }
    norm
}

#[derive(Clone, Copy)]
struct Rate {
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    /// 1 / sqrt(bias correction of the second moment).
    scale2: f32,
    eps: f32,
    /// lr / bias correction of the first moment.
    move_by: f32,
    /// 1 - lr decay.
    keep: f32,
}

fn update_chunk(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], rate: Rate) {
    vector(
        #[inline(always)]
        move || {
            let n = w.len();
            let (w, g, m, v) = (&mut w[..n], &g[..n], &mut m[..n], &mut v[..n]);
            for i in 0..n {
                m[i] = rate.beta1 * m[i] + rate.rest1 * g[i];
                v[i] = rate.beta2 * v[i] + rate.rest2 * g[i] * g[i];
                let slope = v[i].sqrt() * rate.scale2 + rate.eps;
                w[i] = rate.keep * w[i] - rate.move_by * m[i] / slope;
            }
        },
    );
}
