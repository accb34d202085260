//! A model that learns, wherever its numbers are: what the training loop and the kinds ask of it. Rows of token ids go in;
//! log-probabilities, samples and losses come out; arrays of weights leave it in snapshots and at the end only.
//!
//! `cpu::Cpu` is the one that computes on this machine's cores, `device::learner::Device` the one on a GPU.

use crate::adapter::Adapter;
use crate::batch::{Batch, Row};
use crate::config::Config;
use crate::objective::Goal;
use crate::optim::AdamW;
use crate::sample::forecast::Tally;
use crate::sample::{Options, Request, Sample};
use crate::states::Wanted;
use crate::weights::Weights;
use anyhow::Result;
use std::borrow::Cow;

/// Which weights are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The weights as they are now, with the adapter that is trained on them.
    Live,
    /// The weights that training began as: those below the adapter, or the copy that was kept.
    Reference,
}

/// What came of a window of rows whose gradient was added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accumulated {
    pub loss: f64,
    /// Tokens that went through.
    pub tokens: usize,
    /// The first token whose log-probability is no number; its gradient was left out.
    pub broken: Option<Broken>,
}

/// A token of a window whose log-probability is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    pub row: usize,
    pub token: usize,
}

impl Broken {
    /// The first one of a micro-batch that begins with row `first` of its window.
    pub fn of(logp: &[f32], batch: &Batch, first: usize) -> Option<Broken> {
        let at = logp.iter().position(|logp| !logp.is_finite())?;
        let row = batch.bounds.partition_point(|&start| start <= at) - 1;
        Some(Broken {
            row: first + row,
            token: batch.scored[at] - batch.starts[row],
        })
    }
}

/// Everything that training has changed of a model, in memory of the host: a learner of the same model goes on from it exactly.
pub struct Snapshot<'a> {
    /// The adapter's numbers, or all weights.
    pub trained: Cow<'a, [f32]>,
    /// AdamW's moments.
    pub first: Cow<'a, [f32]>,
    pub second: Cow<'a, [f32]>,
    pub updates: u64,
}

pub trait Learner: Send {
    fn config(&self) -> &Config;

    /// Whether an adapter is trained, and the weights below it are frozen.
    fn adapted(&self) -> bool;

    /// Updates that made the weights what they are.
    fn updates(&self) -> u64;

    /// Log-probabilities of every row's scored tokens under softmax(logits / temperature): [row][scored token].
    fn score(&mut self, policy: Policy, rows: &[Row], temperature: f32) -> Result<Vec<Vec<f32>>>;

    /// Adds the gradient of a window to what the next update learns from. The objective is asked once for each of
    /// `batch::micro_batches`, in their order: how a window is cut is part of what some objectives mean, so that a learner
    /// may compute several at once, but not merge them. `through` hears how many rows are through.
    fn accumulate(
        &mut self,
        rows: &[Row],
        goal: &mut Goal,
        temperature: f32,
        through: &mut dyn FnMut(usize),
    ) -> Result<Accumulated>;

    /// Scales the accumulated gradient down to a global norm of at most `norm_max`, and gives its norm before.
    fn clip(&mut self, norm_max: f64) -> Result<f64>;

    /// One step against the accumulated gradient, which is zero afterwards.
    fn update(&mut self, rule: &AdamW, lr: f64) -> Result<()>;

    /// Samples of every request, in the order of requests and sample numbers (see `sample::sample`).
    fn sample(
        &mut self,
        policy: Policy,
        requests: &[Request],
        options: &Options,
        on_progress: &mut (dyn FnMut(&Tally) + Send),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Sample>>>;

    /// Hidden states of prompts (see `states::of_prompts`).
    fn states(
        &mut self,
        policy: Policy,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        at_once: usize,
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>>;

    /// What a score head with one label makes of each sequence (see `labels::of_sequences`).
    fn labels(
        &mut self,
        sequences: &[&[u32]],
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<f32>>>;

    fn snapshot(&self) -> Result<Snapshot<'_>>;

    /// Errors: a snapshot of another model.
    fn restore(&mut self, snapshot: Snapshot) -> Result<()>;

    /// The weights, and the adapter that was trained on them.
    fn finish(self: Box<Self>) -> Result<(Weights, Option<Adapter>)>;
}
