//! What the training kinds share: the optimizer's parameters as a loop's settings, checkpoints, and the watcher that turns
//! steps into progress, metrics and saves.

use crate::base::rng::Seed;
use crate::base::rows::{self, Metric};
use crate::choice;
use crate::engine::worker::{Interrupted, NodeCtx};
use crate::learn::checkpoint;
use crate::learn::optim::{Moments, Shape};
use crate::learn::tokenizer;
use crate::learn::train::{End, Report, State, Watch};
use crate::learn::weights::Weights;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

choice! {
    /// How the learning rate goes after warm-up.
    pub enum LrSchedule { Constant = "constant", Linear = "linear", Cosine = "cosine" }
}

impl From<LrSchedule> for Shape {
    fn from(schedule: LrSchedule) -> Shape {
        match schedule {
            LrSchedule::Constant => Shape::Constant,
            LrSchedule::Linear => Shape::Linear,
            LrSchedule::Cosine => Shape::Cosine,
        }
    }
}

/// The file of a checkpoint, and the name of its folder before the step.
const STATE: &str = "state.safetensors";
const PREFIX: &str = "step";
/// The curve of a training node: one JSON object a step, no times in it.
const CURVE: &str = "curve.jsonl";

/// Saves what a step changes, exactly.
fn save(folder: &Path, state: &State, curve: &str) -> Result<()> {
    let arrays = BTreeMap::from([
        ("weights".to_string(), state.weights.data.clone()),
        ("m".to_string(), state.moments.first.clone()),
        ("v".to_string(), state.moments.second.clone()),
    ]);
    let header = serde_json::json!({ "step": state.step(), "skipped": state.skipped });
    checkpoint::State { header, arrays }.save(&folder.join(STATE))?;
    std::fs::write(folder.join(CURVE), curve).context("failed to write the curve")
}

/// A curve as text, and the values of its last step.
type Curve = (String, BTreeMap<String, f64>);

/// Reads a checkpoint into a state of the same model. Errors: a torn or foreign file.
fn restore(folder: &Path, state: &mut State) -> Result<Curve> {
    let mut saved = checkpoint::State::load(&folder.join(STATE))?;
    let mut array = |name: &str| -> Result<Vec<f32>> {
        let array = saved
            .arrays
            .remove(name)
            .with_context(|| format!("the checkpoint has no `{name}`"))?;
        ensure!(
            array.len() == state.weights.data.len(),
            "the checkpoint is of another model"
        );
        Ok(array)
    };
    let (weights, m, v) = (array("weights")?, array("m")?, array("v")?);
    let number = |name: &str| {
        let number = saved.header[name].as_u64();
        number.with_context(|| format!("the checkpoint has no `{name}`"))
    };
    let (step, skipped) = (number("step")?, number("skipped")?);
    let updates = step
        .checked_sub(skipped)
        .context("the checkpoint skipped more steps than it made")?;
    let curve = std::fs::read_to_string(folder.join(CURVE)).context("failed to read the curve")?;
    let line = curve.lines().last().context("the curve is empty")?;
    let mut last: BTreeMap<String, f64> =
        serde_json::from_str(line).context("the curve's last line")?;
    ensure!(
        last.remove("step") == Some(step as f64),
        "the curve does not end at step {step}"
    );
    state.weights.data = weights;
    state.moments = Moments {
        first: m,
        second: v,
        updates,
    };
    state.skipped = skipped;
    Ok((curve, last))
}

/// The watcher of a training node.
pub struct Watcher<'a> {
    ctx: &'a NodeCtx,
    steps: u64,
    checkpoint_every: u64,
    /// Steps that are saved together or not at all.
    unit: u64,
    /// Metrics named on the progress line, in this order.
    shown: &'static [&'static str],
    curve: String,
    since: Instant,
    tokens: usize,
    last: BTreeMap<String, f64>,
}

impl<'a> Watcher<'a> {
    /// Restores the newest whole checkpoint of this key into `state`, if there is one.
    pub fn start(
        ctx: &'a NodeCtx,
        state: &mut State,
        steps: u64,
        checkpoint_every: u64,
        shown: &'static [&'static str],
    ) -> Watcher<'a> {
        let mut curve = String::new();
        let mut last = BTreeMap::new();
        for saved in ctx.latest_checkpoint(PREFIX) {
            match restore(&saved, state) {
                Ok(found) => {
                    ctx.say(&format!("resumed at step {} of {steps}", state.step()));
                    (curve, last) = found;
                    break;
                }
                Err(e) => ctx.say(&format!(
                    "a checkpoint is unusable and was passed over: {e:#}"
                )),
            }
        }
        ctx.progress(state.step(), steps, "steps", "");
        Watcher {
            ctx,
            steps,
            checkpoint_every,
            unit: 1,
            shown,
            curve,
            since: Instant::now(),
            tokens: 0,
            last,
        }
    }

    /// So many steps share what their feed keeps in memory (rollouts, say), so that only whole units are saved; a stop waits
    /// for the end of one.
    pub fn in_units(mut self, steps: u64) -> Self {
        self.unit = steps;
        self
    }

    /// After the loop: an interrupted loop is an interrupted node. A feed that was interrupted on its way to a step has
    /// the steps before it saved.
    pub fn end(&self, state: &State, end: Result<End>) -> Result<()> {
        match end {
            Ok(End::Done) => Ok(()),
            Ok(End::Stopped) => Err(Interrupted.into()),
            Err(error) => {
                if error.is::<Interrupted>() && state.step() > 0 {
                    self.save(state)?;
                }
                Err(error)
            }
        }
    }

    fn save(&self, state: &State) -> Result<()> {
        let name = format!("{PREFIX}-{}", state.step());
        self.ctx
            .save_checkpoint(&name, &|folder| save(folder, state, &self.curve))
    }

    /// Writes the model: weights and the tokenizer files of the folder it began as; and the metrics with the curve.
    pub fn finish(&self, state: &State, from: &Path, extra: Vec<Metric>) -> Result<()> {
        write_model(&state.weights, from, &self.ctx.output("model"))?;
        let folder = self.ctx.output("metrics");
        std::fs::write(folder.join(CURVE), &self.curve).context("failed to write the curve")?;
        let mut metrics: Vec<Metric> = vec![];
        for (name, value) in &self.last {
            metrics.push(Metric {
                name: format!("last/{name}"),
                value: *value,
                n: 1,
                interval: None,
                unit: String::new(),
            });
        }
        metrics.extend(extra);
        rows::write_metrics(&folder, metrics)
    }
}

impl Watch for Watcher<'_> {
    fn step(&mut self, state: &State, report: Report) -> Result<bool> {
        self.tokens += report.tokens;
        let mut object =
            serde_json::Map::from_iter([("step".to_string(), serde_json::json!(report.step))]);
        for (name, value) in &report.metrics {
            ensure!(
                value.is_finite(),
                "the metric `{name}` is {value} at step {}: training diverged",
                report.step
            );
            object.insert(name.clone(), serde_json::json!(value));
        }
        self.curve += &(serde_json::to_string(&object)? + "\n");
        self.last = report.metrics.into_iter().collect();
        let all: Vec<(&str, f64)> = self.last.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        self.ctx.metric(report.step, &all);
        let rate = self.tokens as f64 / self.since.elapsed().as_secs_f64();
        let mut note: Vec<String> = self
            .shown
            .iter()
            .filter_map(|n| Some(format!("{n} {:.3}", self.last.get(*n)?)))
            .collect();
        note.push(format!("{:.1}k tok/s", rate / 1e3));
        self.ctx
            .progress(report.step, self.steps, "steps", &note.join(" · "));
        if !report.step.is_multiple_of(self.unit) {
            return Ok(true);
        }
        let stop = self.ctx.stop();
        // Whether a multiple of `checkpoint_every` was passed since the unit before.
        let every = self.checkpoint_every;
        let due = report.step / every > (report.step - self.unit) / every;
        if stop || due && report.step < self.steps {
            self.save(state)?;
        }
        Ok(!stop || report.step == self.steps)
    }
}

/// The endless sequence of epochs over n things: everything once an epoch, in an order that the epoch's number decides.
pub struct Epochs {
    n: usize,
    seed: Seed,
    /// The order of the epoch that is under way.
    current: Option<(u64, Vec<usize>)>,
}

impl Epochs {
    /// `n` is at least 1.
    pub fn new(n: usize, seed: Seed) -> Epochs {
        Epochs {
            n,
            seed,
            current: None,
        }
    }

    /// Which thing stands at this place of the sequence.
    pub fn at(&mut self, place: u64) -> usize {
        let (epoch, place) = (place / self.n as u64, place % self.n as u64);
        let (_, order) = match self.current.take() {
            Some(current) if current.0 == epoch => self.current.insert(current),
            _ => {
                let mut order: Vec<usize> = (0..self.n).collect();
                self.seed.at(epoch).rng().shuffle(&mut order);
                self.current.insert((epoch, order))
            }
        };
        order[place as usize]
    }
}

/// A Hugging Face folder: configuration, weights, and the tokenizer files of `from`.
pub fn write_model(weights: &Weights, from: &Path, into: &Path) -> Result<()> {
    checkpoint::save(weights, into)?;
    tokenizer::copy_files(from, into)?;
    Ok(())
}
