//! The one training loop. SFT, GRPO and their kin differ in their feed (which rows make the window of a step) and their
//! objective (what is lost on it); everything else is here: micro-batches, backward, clipping, AdamW, guards.
//!
//! A window's feed depends on the step and the weights only, and its objective knows the denominators of the whole
//! window, so that a resumed run does the same as one that was never stopped. Knows no clock, no file, no recipe.

use crate::adapter::{Adapter, Net};
use crate::decoder::{self, Keep, Packed, Workspace};
use crate::decoder_backward::{self, Upstream};
use crate::guard;
use crate::objective::rerouting::{StateObjective, States};
use crate::objective::{Objective, Scored};
use crate::optim::{self, AdamW, Moments, Optim};
use crate::weights::Weights;
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
    pub goal: Goal<'a>,
    /// What the feed has to say: rewards, lengths.
    pub metrics: Vec<(String, f64)>,
}

/// What the objective looks at.
pub enum Goal<'a> {
    /// Log-probabilities of the scored tokens.
    Logp(Box<dyn Objective + 'a>),
    /// Hidden states of all tokens, with the adapter on and off.
    States(Box<dyn StateObjective + 'a>),
}

impl Goal<'_> {
    /// Rows that stay in one micro-batch.
    fn unit(&self) -> usize {
        match self {
            Goal::Logp(objective) => objective.unit(),
            Goal::States(_) => 1,
        }
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        match self {
            Goal::Logp(objective) => objective.metrics(),
            Goal::States(objective) => objective.metrics(),
        }
    }
}

/// Gives the window of a step (0-based). The same step and model give the same window.
pub trait Feed {
    fn window<'a>(
        &'a mut self,
        step: u64,
        net: Net,
        workspace: &mut Workspace,
    ) -> Result<Window<'a>>;

    /// What a row of the last window is called, for messages.
    fn name(&self, _row: usize) -> Option<String> {
        None
    }
}

/// A token of a window whose log-probability is none.
struct Broken {
    row: usize,
    token: usize,
}

/// The numbers of the loop.
#[derive(Clone, Debug)]
pub struct Settings {
    pub optim: Optim,
    pub steps: u64,
    /// Logits are divided by it, as at sampling.
    pub temperature: f32,
    /// Time against memory; no bit of the result.
    pub keep: Keep,
}

/// Everything a step changes, and the frozen weights where an adapter is what is trained.
pub struct State {
    pub weights: Weights,
    pub adapter: Option<Adapter>,
    pub moments: Moments,
    /// Steps that had nothing to learn from and changed nothing.
    pub skipped: u64,
}

impl State {
    /// Trains all weights.
    pub fn new(weights: Weights) -> State {
        let moments = Moments::zeros(weights.data.len());
        State {
            weights,
            adapter: None,
            moments,
            skipped: 0,
        }
    }

    /// Trains the adapter on frozen weights.
    pub fn with_adapter(weights: Weights, adapter: Adapter) -> State {
        let moments = Moments::zeros(adapter.data.len());
        State {
            weights,
            adapter: Some(adapter),
            moments,
            skipped: 0,
        }
    }

    pub fn net(&self) -> Net<'_> {
        Net {
            weights: &self.weights,
            adapter: self.adapter.as_ref(),
        }
    }

    /// The numbers that are trained.
    pub fn trained(&self) -> &[f32] {
        match &self.adapter {
            Some(adapter) => &adapter.data,
            None => &self.weights.data,
        }
    }

    /// The same, to be replaced by those of a checkpoint.
    pub fn trained_mut(&mut self) -> &mut Vec<f32> {
        match &mut self.adapter {
            Some(adapter) => &mut adapter.data,
            None => &mut self.weights.data,
        }
    }

    fn update(&mut self, rule: &AdamW, grads: &[f32], lr: f64) {
        match &mut self.adapter {
            Some(adapter) => rule.update(adapter, grads, &mut self.moments, lr),
            None => rule.update(&mut self.weights, grads, &mut self.moments, lr),
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
    /// Before every update, with the metrics of the step that is under way. An error leaves the weights as they are.
    fn check(&mut self, _step: u64, _metrics: &[(String, f64)]) -> Result<()> {
        Ok(())
    }

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

/// Trains from `state.step()` to the schedule's last step. Errors: a feed's, a watcher's, and `guard::Tripped` for a loss or gradient
/// that is not finite, before it touches the weights.
pub fn train(
    state: &mut State,
    feed: &mut dyn Feed,
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Result<End> {
    let mut workspace = Workspace::new();
    let mut grads = vec![0.0; state.net().trained()];
    let adamw = settings.optim.adamw();
    while state.step() < settings.steps {
        let mut window = feed.window(state.step(), state.net(), &mut workspace)?;
        if window.rows.is_empty() {
            let mut metrics = std::mem::take(&mut window.metrics);
            drop(window);
            metrics.push(("skipped_updates".into(), (state.skipped + 1) as f64));
            let step = state.step() + 1;
            watch.check(step, &metrics)?;
            state.skipped += 1;
            let report = Report {
                step,
                metrics,
                tokens: 0,
            };
            match watch.step(state, report)? {
                true => continue,
                false => return Ok(End::Stopped),
            }
        }
        grads.fill(0.0);
        let Gradient {
            loss,
            tokens,
            broken,
        } = gradient(
            state.net(),
            &mut window,
            settings,
            &mut grads,
            &mut workspace,
        )?;
        let mut metrics = vec![("loss".to_string(), loss)];
        metrics.extend(
            window
                .goal
                .metrics()
                .into_iter()
                .map(|(name, value)| (name.to_string(), value)),
        );
        metrics.append(&mut window.metrics);
        drop(window);
        let step = state.step() + 1;
        let at = broken.map(|Broken { row, token }| {
            let name = feed.name(row);
            let name = name.unwrap_or_else(|| format!("row {} of the step", row + 1));
            format!("{name}, token {}", token + 1)
        });
        guard::finite_loss(step, loss, at)?;
        let norm = optim::clip(&mut grads, settings.optim.grad_clip);
        guard::finite(step, "grad_norm", norm)?;
        let lr = settings.optim.lr_at(step, settings.steps);
        metrics.push(("grad_norm".into(), norm));
        metrics.push(("learning_rate".into(), lr));
        watch.check(step, &metrics)?;
        state.update(&adamw, &grads, lr);
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

/// What came of a window.
struct Gradient {
    loss: f64,
    /// That were seen.
    tokens: usize,
    broken: Option<Broken>,
}

/// Adds the window's gradient to `grads`.
fn gradient(
    net: Net,
    window: &mut Window,
    settings: &Settings,
    grads: &mut [f32],
    workspace: &mut Workspace,
) -> Result<Gradient> {
    ensure!(
        window.rows.iter().any(|r| r.scored() > 0),
        "no token of the window is trained on: every loss mask is empty"
    );
    let (mut loss, mut tokens, mut broken) = (0.0, 0, None);
    for rows in micro_batches(&window.rows, window.goal.unit()) {
        let batch = Batch::pack(&window.rows[rows.clone()]);
        tokens += batch.ids.len();
        let share = match &mut window.goal {
            Goal::Logp(_) if batch.scored.is_empty() => continue,
            Goal::Logp(objective) => {
                let (share, found) = logp_share(
                    net,
                    objective.as_mut(),
                    rows,
                    &batch,
                    settings,
                    grads,
                    workspace,
                );
                broken = broken.or(found);
                share
            }
            Goal::States(objective) => state_share(
                net,
                objective.as_mut(),
                rows,
                &batch,
                settings,
                grads,
                workspace,
            ),
        };
        loss += share;
    }
    Ok(Gradient {
        loss,
        tokens,
        broken,
    })
}

/// The loss of a micro-batch by its log-probabilities; its gradient is added where the loss is finite. And the first token
/// whose log-probability is not.
fn logp_share(
    net: Net,
    objective: &mut dyn Objective,
    rows: Range<usize>,
    batch: &Batch,
    settings: &Settings,
    grads: &mut [f32],
    workspace: &mut Workspace,
) -> (f64, Option<Broken>) {
    let tape = decoder::forward_keeping(
        net,
        batch.packed(),
        &batch.scored,
        settings.temperature,
        settings.keep,
        workspace,
    );
    let scored = Scored {
        logp: &tape.logp,
        entropy: &tape.entropy,
        greedy_hit: &tape.greedy_hit,
    };
    let first = rows.start;
    let at = tape.logp.iter().position(|logp| !logp.is_finite());
    let broken = at.map(|at| {
        let row = batch.bounds.partition_point(|&start| start <= at) - 1;
        Broken {
            row: first + row,
            token: batch.scored[at] - batch.starts[row],
        }
    });
    let share = objective.share(rows, &batch.bounds, scored);
    if share.loss.is_finite() {
        let dentropy = share.dentropy.as_deref();
        decoder_backward::backward(net, &tape, &share.dlogp, dentropy, grads, workspace);
    }
    tape.recycle(workspace);
    (share.loss, broken)
}

/// The same by its hidden states.
fn state_share(
    net: Net,
    objective: &mut dyn StateObjective,
    rows: Range<usize>,
    batch: &Batch,
    settings: &Settings,
    grads: &mut [f32],
    workspace: &mut Workspace,
) -> f64 {
    let layers = net.config().layers;
    let frozen = decoder::hidden_states(net.frozen(), batch.packed(), workspace);
    let tape = decoder::forward_keeping(net, batch.packed(), &[], 1.0, settings.keep, workspace);
    let normed = decoder::normed(net.weights, tape.hidden(layers));
    let mut live: Vec<&[f32]> = (0..layers).map(|i| tape.hidden(i)).collect();
    live.push(&normed);
    let states = States {
        live: &live,
        frozen: &frozen,
        width: net.config().hidden_size,
    };
    let share = objective.share(rows, &batch.starts, &states);
    if share.loss.is_finite() {
        let dhidden: Vec<Option<&[f32]>> = share.dstates[..layers]
            .iter()
            .map(|d| Some(&d[..]))
            .collect();
        let upstream = Upstream {
            dhidden: &dhidden,
            dnormed: Some(&share.dstates[layers]),
            ..Upstream::default()
        };
        decoder_backward::backward_upstream(net, &tape, upstream, grads, workspace);
    }
    tape.recycle(workspace);
    share.loss
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
pub fn reference_logps<'a>(
    net: impl Into<Net<'a>>,
    rows: &[Row],
    temperature: f32,
    workspace: &mut Workspace,
) -> Vec<Vec<f32>> {
    let net = net.into();
    let mut out = Vec::with_capacity(rows.len());
    for run in micro_batches(rows, 1) {
        let batch = Batch::pack(&rows[run]);
        let scores = decoder::score(net, batch.packed(), &batch.scored, temperature, workspace);
        out.extend(
            batch
                .bounds
                .windows(2)
                .map(|b| scores.logp[b[0]..b[1]].to_vec()),
        );
    }
    out
}
