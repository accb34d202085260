//! The one training loop. SFT, GRPO and their kin differ in their feed (which rows make the window of a step) and their
//! objective (what is lost on it); everything else is here: micro-batches, backward, clipping, AdamW, guards.
//!
//! A window's feed depends on the step and the weights only, and its objective knows the denominators of the whole
//! window, so that a resumed run does the same as one that was never stopped. Knows no clock, no file, no recipe.

use crate::learn::decoder::{self, Packed, Workspace};
use crate::learn::decoder_backward;
use crate::learn::objective::{Objective, Scored};
use crate::learn::optim::{self, AdamW, Moments, Schedule};
use crate::learn::weights::Weights;
use anyhow::{Result, ensure};
use std::ops::Range;

/// A token sequence and which of its tokens are scored. Token 0 has no predictor and is never scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub ids: Vec<u32>,
    pub mask: Vec<bool>,
}

impl Row {
    pub fn scored(&self) -> usize {
        self.mask.iter().filter(|m| **m).count()
    }
}

/// What one optimizer step learns from.
pub struct Window<'a> {
    /// None at all: there is nothing to learn from in this step. It counts, and changes no weight.
    pub rows: Vec<Row>,
    pub objective: Box<dyn Objective + 'a>,
    /// What the feed has to say: rewards, lengths.
    pub metrics: Vec<(String, f64)>,
}

/// Gives the window of a step (0-based). The same step and weights give the same window.
pub trait Feed {
    fn window<'a>(
        &'a mut self,
        step: u64,
        weights: &Weights,
        workspace: &mut Workspace,
    ) -> Result<Window<'a>>;
}

/// The numbers of the loop.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many steps there are, and the learning rate of each.
    pub schedule: Schedule,
    pub adamw: AdamW,
    /// Gradients are scaled down to this global norm.
    pub grad_clip: f64,
    /// Logits are divided by it, as at sampling.
    pub temperature: f32,
}

/// Everything a step changes.
pub struct State {
    pub weights: Weights,
    pub moments: Moments,
    /// Steps that had nothing to learn from and changed nothing.
    pub skipped: u64,
}

impl State {
    pub fn new(weights: Weights) -> State {
        let moments = Moments::zeros(&weights.layout);
        State {
            weights,
            moments,
            skipped: 0,
        }
    }

    /// Optimizer steps done, those that were skipped included.
    pub fn step(&self) -> u64 {
        self.moments.updates + self.skipped
    }
}

/// What a step did, under TRL's names.
pub struct Report {
    /// Steps done, this one included.
    pub step: u64,
    pub metrics: Vec<(String, f64)>,
    /// Tokens that went through forward and backward.
    pub tokens: usize,
}

/// Who watches the loop.
pub trait Watch {
    /// After every step. `false` stops the loop.
    fn step(&mut self, state: &State, report: Report) -> Result<bool>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    Stopped,
}

/// Tokens of a micro-batch: enough for the kernels, small enough for the memory. A unit of rows is never cut.
const MICRO_TOKENS: usize = 2048;

/// Trains from `state.step()` to the schedule's last step. Errors: a feed's, a watcher's, and a loss or gradient that is not finite
/// (named, before it touches the weights).
pub fn train(
    state: &mut State,
    feed: &mut dyn Feed,
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Result<End> {
    let mut workspace = Workspace::new();
    let mut grads = vec![0.0; state.weights.data.len()];
    while state.step() < settings.schedule.steps {
        let mut window = feed.window(state.step(), &state.weights, &mut workspace)?;
        if window.rows.is_empty() {
            let mut metrics = std::mem::take(&mut window.metrics);
            drop(window);
            state.skipped += 1;
            metrics.push(("skipped_updates".into(), state.skipped as f64));
            let report = Report {
                step: state.step(),
                metrics,
                tokens: 0,
            };
            match watch.step(state, report)? {
                true => continue,
                false => return Ok(End::Stopped),
            }
        }
        grads.fill(0.0);
        let (loss, tokens) = gradient(
            &state.weights,
            &mut window,
            settings,
            &mut grads,
            &mut workspace,
        )?;
        let mut metrics = vec![("loss".to_string(), loss)];
        metrics.extend(
            window
                .objective
                .metrics()
                .into_iter()
                .map(|(name, value)| (name.to_string(), value)),
        );
        metrics.append(&mut window.metrics);
        drop(window);
        let step = state.step() + 1;
        let norm = optim::clip(&mut grads, settings.grad_clip);
        ensure!(
            norm.is_finite(),
            "the gradient's norm is {norm} at step {step}: training diverged; a lower `lr` may help"
        );
        let lr = settings.schedule.at(step);
        settings
            .adamw
            .update(&mut state.weights, &grads, &mut state.moments, lr);
        metrics.push(("grad_norm".into(), norm));
        metrics.push(("learning_rate".into(), lr));
        if !watch.step(
            state,
            Report {
                step,
                metrics,
                tokens,
            },
        )? {
            return Ok(End::Stopped);
        }
    }
    Ok(End::Done)
}

/// Adds the window's gradient to `grads`. Returns the loss and the tokens seen.
fn gradient(
    weights: &Weights,
    window: &mut Window,
    settings: &Settings,
    grads: &mut [f32],
    workspace: &mut Workspace,
) -> Result<(f64, usize)> {
    ensure!(
        window.rows.iter().any(|r| r.scored() > 0),
        "no token of the window is trained on: every loss mask is empty"
    );
    let (mut loss, mut tokens) = (0.0, 0);
    for rows in micro_batches(&window.rows, window.objective.unit()) {
        let batch = Batch::pack(&window.rows[rows.clone()]);
        tokens += batch.ids.len();
        if batch.scored.is_empty() {
            continue;
        }
        let tape = decoder::forward(
            weights,
            batch.packed(),
            &batch.scored,
            settings.temperature,
            workspace,
        );
        let scored = Scored {
            logp: &tape.logp,
            entropy: &tape.entropy,
            greedy_hit: &tape.greedy_hit,
        };
        let share = window.objective.share(rows, &batch.bounds, scored);
        ensure!(
            share.loss.is_finite(),
            "the loss is {}: training diverged; a lower `lr` may help",
            share.loss
        );
        loss += share.loss;
        decoder_backward::backward(
            weights,
            &tape,
            &share.dlogp,
            share.dentropy.as_deref(),
            grads,
            workspace,
        );
        tape.recycle(workspace);
    }
    Ok((loss, tokens))
}

/// Cuts the rows into runs of at most `MICRO_TOKENS` tokens, by sizes only. Rows of a unit (`unit` rows each) stay
/// together, whatever their length.
pub fn micro_batches(rows: &[Row], unit: usize) -> Vec<Range<usize>> {
    let mut runs = vec![];
    let (mut start, mut tokens) = (0, 0);
    for (i, rows) in rows.chunks(unit).enumerate() {
        let more: usize = rows.iter().map(|row| row.ids.len()).sum();
        if i * unit > start && tokens + more > MICRO_TOKENS {
            runs.push(start..i * unit);
            (start, tokens) = (i * unit, 0);
        }
        tokens += more;
    }
    if start < rows.len() {
        runs.push(start..rows.len());
    }
    runs
}

/// Rows packed one after another, without padding.
pub struct Batch {
    pub ids: Vec<u32>,
    pub starts: Vec<usize>,
    /// Indices of the scored tokens, ascending.
    pub scored: Vec<usize>,
    /// Row i has the scored tokens `bounds[i]..bounds[i + 1]`.
    pub bounds: Vec<usize>,
}

impl Batch {
    pub fn pack(rows: &[Row]) -> Batch {
        let mut batch = Batch {
            ids: vec![],
            starts: vec![0],
            scored: vec![],
            bounds: vec![0],
        };
        for row in rows {
            assert_eq!(
                row.ids.len(),
                row.mask.len(),
                "ids and mask are born together"
            );
            let offset = batch.ids.len();
            batch.ids.extend(&row.ids);
            batch.scored.extend(
                (1..row.ids.len())
                    .filter(|i| row.mask[*i])
                    .map(|i| offset + i),
            );
            batch.starts.push(batch.ids.len());
            batch.bounds.push(batch.scored.len());
        }
        batch
    }

    pub fn packed(&self) -> Packed<'_> {
        Packed {
            ids: &self.ids,
            starts: &self.starts,
        }
    }
}

/// Log-probabilities of every row's scored tokens without a gradient, for reference policies: [row][scored token].
pub fn reference_logps(
    weights: &Weights,
    rows: &[Row],
    temperature: f32,
    workspace: &mut Workspace,
) -> Vec<Vec<f32>> {
    let mut out = Vec::with_capacity(rows.len());
    for run in micro_batches(rows, 1) {
        let batch = Batch::pack(&rows[run]);
        let scores = decoder::score(
            weights,
            batch.packed(),
            &batch.scored,
            temperature,
            workspace,
        );
        out.extend(
            batch
                .bounds
                .windows(2)
                .map(|b| scores.logp[b[0]..b[1]].to_vec()),
        );
    }
    out
}
