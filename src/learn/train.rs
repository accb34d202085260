//! The one training loop. SFT, GRPO and their kin differ in their feed (which rows make the window of a step) and their
//! objective (what is lost on it); everything else is here: gradient, clipping, AdamW, guards.
//!
//! A window's feed depends on the step and the weights only, and its objective knows the denominators of the whole
//! window, so that a resumed run does the same as one that was never stopped. Knows no clock, no file, no recipe, and not
//! where the numbers of a model are (`learner`).

use crate::batch::Row;
use crate::guard;
use crate::learner::{Accumulated, Broken, Learner};
use crate::objective::Goal;
use crate::optim::Optim;
use anyhow::{Result, ensure};

/// What one optimizer step learns from.
pub struct Window<'a> {
    /// None at all: there is nothing to learn from in this step. It counts, and changes no weight.
    pub rows: Vec<Row>,
    pub goal: Goal<'a>,
    /// What the feed has to say: rewards, lengths.
    pub metrics: Vec<(String, f64)>,
}

/// Gives the window of a step (0-based). The same step and model give the same window.
pub trait Feed {
    fn window<'a>(&'a mut self, step: u64, learner: &mut dyn Learner) -> Result<Window<'a>>;

    /// What a row of the last window is called, for messages.
    fn name(&self, _row: usize) -> Option<String> {
        None
    }
}

/// The numbers of the loop.
#[derive(Clone, Debug)]
pub struct Hyperparameters {
    pub optim: Optim,
    pub steps: u64,
    /// Logits are divided by it, as at sampling.
    pub temperature: f32,
}

/// A training run: what learns, and how far it is.
pub struct State {
    pub learner: Box<dyn Learner>,
    /// Steps that had nothing to learn from and changed nothing.
    pub skipped: u64,
}

impl State {
    pub fn new(learner: impl Learner + 'static) -> State {
        State {
            learner: Box::new(learner),
            skipped: 0,
        }
    }

    /// Optimizer steps done, those that were skipped included.
    pub fn step(&self) -> u64 {
        self.learner.updates() + self.skipped
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
    /// Before every update, with the metrics of the step that is under way. An error leaves the weights as they are.
    fn check(&mut self, _step: u64, _metrics: &[(String, f64)]) -> Result<()> {
        Ok(())
    }

    /// In the course of a step: so many of its rows are through.
    fn through(&mut self, _rows: usize, _of: usize) {}

    /// After every step. `false` stops the loop.
    fn step(&mut self, state: &State, report: Report) -> Result<bool>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    Stopped,
}

/// Trains from `state.step()` to the last step. Errors: a feed's, a watcher's, the learner's, and `guard::Tripped` for a loss
/// or gradient that is not finite, before it touches the weights.
pub fn train(
    state: &mut State,
    feed: &mut dyn Feed,
    with: &Hyperparameters,
    watch: &mut dyn Watch,
) -> Result<End> {
    while state.step() < with.steps {
        let report = step(state, feed, with, watch)?;
        if !watch.step(state, report)? {
            return Ok(End::Stopped);
        }
    }
    Ok(End::Done)
}

/// One step of the loop: an update, or nothing where the window is empty.
fn step(
    state: &mut State,
    feed: &mut dyn Feed,
    with: &Hyperparameters,
    watch: &mut dyn Watch,
) -> Result<Report> {
    let step = state.step() + 1;
    let Window {
        rows,
        mut goal,
        metrics: of_feed,
    } = feed.window(step - 1, state.learner.as_mut())?;
    if rows.is_empty() {
        let mut metrics = of_feed;
        metrics.push(("skipped_updates".into(), (state.skipped + 1) as f64));
        watch.check(step, &metrics)?;
        state.skipped += 1;
        return Ok(Report {
            step,
            metrics,
            tokens: 0,
        });
    }
    ensure!(
        rows.iter().any(|row| row.scored() > 0),
        "no token of the window is trained on: every loss mask is empty"
    );
    let learner = &mut state.learner;
    let Accumulated {
        loss,
        tokens,
        broken,
    } = learner.accumulate(&rows, &mut goal, with.temperature, &mut |n| {
        watch.through(n, rows.len());
    })?;
    let mut metrics = vec![("loss".to_string(), loss)];
    let of_goal = goal.metrics().into_iter();
    metrics.extend(of_goal.map(|(name, value)| (name.to_string(), value)));
    metrics.extend(of_feed);
    drop(goal);
    let at = broken.map(|Broken { row, token }| {
        let name = feed.name(row);
        let name = name.unwrap_or_else(|| format!("row {} of the step", row + 1));
        format!("{name}, token {}", token + 1)
    });
    guard::finite_loss(step, loss, at)?;
    let norm = learner.clip(with.optim.grad_clip)?;
    guard::finite(step, "grad_norm", norm)?;
    let lr = with.optim.lr_at(step, with.steps);
    metrics.push(("grad_norm".into(), norm));
    metrics.push(("learning_rate".into(), lr));
    watch.check(step, &metrics)?;
    learner.update(&with.optim.adamw(), lr)?;
    Ok(Report {
        step,
        metrics,
        tokens,
    })
}
