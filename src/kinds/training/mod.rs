//! What the training kinds share: parameters, checkpoints, and the watcher that turns steps into progress, metrics and
//! saves, and ends a run that its guard stops.

kinds! { sft, grpo, dpo, rerouting }

pub mod lora;

pub mod curve;
mod examples;
mod guards;

use crate::shared::devices;
use crate::shared::estimate;
use crate::shared::model_checks;
use anyhow::{Context, Result, bail, ensure};
use base::rng::Seed;
use base::rows::{self, Metric};
use curve::Curve;
use engine::kind::context::{Interrupted, NodeCtx, Transient};
pub use examples::{AS_SAMPLED, AsSampled, Examples, longer};
pub use guards::{Guards, RolloutGuards};
use learn::adapter::Adapter;
use learn::batch::Row;
use learn::checkpoint;
use learn::config::Config;
use learn::decoder::Keep;
use learn::guard::{Guard, Limits, Tripped};
use learn::learner::{Learner, Snapshot};
use learn::peft;
use learn::tokenizer;
use learn::train::{End, Report, State, Watch};
use learn::weights::Weights;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Weights, and the adapter that was trained on them.
pub(crate) type Trained = (Weights, Option<Adapter>);

/// A run that has not begun, on the node's device. It trains the adapter, or all weights where there is none; with `reference` the
/// weights that it begins as stay at hand.
pub fn begin(
    ctx: &NodeCtx,
    weights: Weights,
    adapter: Option<Adapter>,
    reference: bool,
    recompute: bool,
) -> Result<State> {
    let keep = match recompute {
        true => Keep::States,
        false => Keep::All,
    };
    let learner = devices::trained(ctx, weights, adapter, reference, keep)?;
    Ok(State {
        learner,
        skipped: 0,
    })
}

/// The file of a checkpoint, and the name of its folder before the step.
const STATE: &str = "state.safetensors";
const PREFIX: &str = "step";
/// The name while a guard is suspicious: a family of its own, so that the healthy ones before it are kept.
const SUSPECT: &str = "step-suspect";

/// What is trained is called in a checkpoint.
fn part(learner: &dyn Learner) -> &'static str {
    match learner.adapted() {
        true => "adapter",
        false => "weights",
    }
}

/// Saves what a step changes, exactly: all weights, or the adapter that is trained on them.
fn save(folder: &Path, state: &State, curve: &Curve) -> Result<()> {
    let snapshot = state.learner.snapshot()?;
    let arrays = BTreeMap::from([
        (part(state.learner.as_ref()), &snapshot.trained[..]),
        ("m", &snapshot.first[..]),
        ("v", &snapshot.second[..]),
    ]);
    let header = serde_json::json!({ "step": state.step(), "skipped": state.skipped });
    checkpoint::save_state(&folder.join(STATE), &header, &arrays)?;
    curve.save(folder)
}

/// Reads a checkpoint into a state of the same model. Errors: a torn or foreign file.
fn restore(folder: &Path, state: &mut State) -> Result<Curve> {
    let mut saved = checkpoint::State::load(&folder.join(STATE))?;
    let mut array = |name: &str| -> Result<Vec<f32>> {
        let array = saved.arrays.remove(name);
        array.with_context(|| format!("the checkpoint has no `{name}`"))
    };
    let trained = array(part(state.learner.as_ref()))?;
    let (first, second) = (array("m")?, array("v")?);
    let number = |name: &str| {
        let number = saved.header[name].as_u64();
        number.with_context(|| format!("the checkpoint has no `{name}`"))
    };
    let (step, skipped) = (number("step")?, number("skipped")?);
    let updates = step
        .checked_sub(skipped)
        .context("the checkpoint skipped more steps than it made")?;
    let curve = Curve::load(folder, step)?;
    state.learner.restore(Snapshot {
        trained: trained.into(),
        first: first.into(),
        second: second.into(),
        updates,
    })?;
    state.skipped = skipped;
    Ok(curve)
}

/// Says once how many rows are longer than the model was made for.
pub(crate) fn say_reach(ctx: &NodeCtx, config: &Config, what: &str, rows: &[Row]) {
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    if let Some(warning) = model_checks::beyond(what, &lengths, config.max_position_embeddings) {
        ctx.log(&warning);
    }
}

/// The watcher of a training node.
pub(crate) struct Watcher<'a> {
    ctx: &'a NodeCtx,
    steps: u64,
    checkpoint_every: u64,
    /// Steps that are saved together or not at all.
    unit: u64,
    /// Metrics named on the progress line, in this order.
    shown: &'static [&'static str],
    curve: Curve,
    guard: Guard,
    since: Instant,
    tokens: usize,
    /// What was said of the last step, and when something was said last.
    note: String,
    told: Instant,
}

/// Who says nothing for longer says how far the step is.
const LONG: Duration = Duration::from_secs(2);

impl<'a> Watcher<'a> {
    /// Restores the newest whole checkpoint of this key into `state`, if there is one. Guard and event file are brought up
    /// to date from its curve, so both are those of a run that was never interrupted.
    pub fn start(
        ctx: &'a NodeCtx,
        state: &mut State,
        steps: u64,
        checkpoint_every: u64,
        limits: Limits,
        shown: &'static [&'static str],
    ) -> Result<Watcher<'a>> {
        let mut curve = Curve::default();
        for saved in ctx.latest_checkpoint(PREFIX) {
            match restore(&saved, state) {
                Ok(found) => {
                    ctx.log(&format!("resumed at step {} of {steps}", state.step()));
                    curve = found;
                    break;
                }
                Err(e) => ctx.log(&format!(
                    "a checkpoint is unusable and was passed over: {e:#}"
                )),
            }
        }
        let mut guard = Guard::new(limits);
        for (step, metrics) in curve.steps()? {
            // What was let pass is not judged again: the limits may have been others.
            let _ = guard.check(step, &metrics);
        }
        curve.show(&ctx.output("metrics"))?;
        ctx.progress(state.step(), steps, "steps", "");
        Ok(Watcher {
            ctx,
            steps,
            checkpoint_every,
            unit: 1,
            shown,
            curve,
            guard,
            since: Instant::now(),
            tokens: 0,
            note: String::new(),
            told: Instant::now(),
        })
    }

    /// So many steps share what their feed keeps in memory (rollouts, say), so that only whole units are saved; a stop waits
    /// for the end of one.
    pub(crate) fn in_units(mut self, steps: u64) -> Self {
        self.unit = steps;
        self
    }

    /// After the loop: an interrupted loop is an interrupted node. A feed that was interrupted on its way to a step has
    /// the steps before it saved. What a guard stopped keeps its last good state and says where.
    pub fn end(&self, state: &State, end: Result<End>) -> Result<()> {
        match end {
            Ok(End::Done) => Ok(()),
            Ok(End::Stopped) => Err(Interrupted.into()),
            Err(error) => {
                if let Some(tripped) = error.downcast_ref::<Tripped>() {
                    let kept = self.keep(state, tripped);
                    let kept = kept.with_context(|| tripped.to_string())?;
                    bail!("{tripped}. {kept}");
                }
                // A judge that is down for a while is no reason to lose steps either.
                let passing = error.chain().any(|cause| cause.is::<Transient>());
                if (passing || error.is::<Interrupted>()) && state.step() > 0 {
                    self.save(state)?;
                }
                Err(error)
            }
        }
    }

    /// Saves the state that a guard stopped, unless it is broken, and says where the last good one is.
    fn keep(&self, state: &State, tripped: &Tripped) -> Result<String> {
        if !tripped.broken() && state.step() > 0 {
            self.save(state)?;
        }
        let before = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
            let step: u64 = name.strip_prefix('-')?.parse().ok()?;
            (step < tripped.good_before()).then_some(step)
        };
        let mut kept = self.ctx.latest_checkpoint(PREFIX);
        Ok(match kept.find_map(|p| Some((before(&p)?, p))) {
            Some((step, path)) => format!(
                "The last good checkpoint, of step {step}, is kept in {}",
                path.display()
            ),
            None if tripped.broken() && tripped.step == 1 => {
                "Look at the model that it began as: `generate` says what it answers".into()
            }
            None => {
                "No step before it was saved: the model it began as is the last good one".into()
            }
        })
    }

    /// Nothing in the middle of a unit: nobody could go on from there.
    fn save(&self, state: &State) -> Result<()> {
        if !state.step().is_multiple_of(self.unit) && state.step() < self.steps {
            return Ok(());
        }
        let family = match self.guard.suspicious() {
            true => SUSPECT,
            false => PREFIX,
        };
        let name = format!("{family}-{}", state.step());
        self.ctx
            .save_checkpoint(&name, &|folder| save(folder, state, &self.curve))
    }

    /// Writes the model (with its adapter folded in, and that by itself) with the tokenizer files of the folder it began
    /// as; and the metrics with the curve.
    pub fn finish(&self, trained: Trained, from: &Path, extra: Vec<Metric>) -> Result<()> {
        let (mut weights, adapter) = trained;
        let _writing = self.ctx.finishing();
        let numbers = adapter.as_ref().map_or(&weights.data, |a| &a.data);
        ensure!(
            numbers.iter().all(|w| w.is_finite()),
            "not finite: a weight after the last step, {}: training diverged; a lower `lr` may help",
            self.steps
        );
        if let Some(adapter) = &adapter {
            peft::save(adapter, &self.ctx.output("adapter"))?;
            adapter.merge_into(&mut weights);
        }
        write_model(&weights, from, &self.ctx.output("model"))?;
        let folder = self.ctx.output("metrics");
        self.curve.save(&folder)?;
        let mut metrics: Vec<Metric> = vec![];
        for (name, value) in self.curve.last() {
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
    fn check(&mut self, step: u64, metrics: &[(String, f64)]) -> Result<()> {
        Ok(self.guard.check(step, metrics)?)
    }

    fn through(&mut self, rows: usize, of: usize) {
        if self.told.elapsed() < LONG {
            return;
        }
        self.told = Instant::now();
        let through = format!("{rows} of {of} rows");
        let said = Some(self.note.as_str()).filter(|note| !note.is_empty());
        let parts: Vec<&str> = said.into_iter().chain([through.as_str()]).collect();
        self.ctx.progress_part(&parts.join(" · "));
    }

    fn step(&mut self, state: &State, report: Report) -> Result<bool> {
        self.tokens += report.tokens;
        self.ctx
            .record_flops(estimate::training(state.learner.as_ref(), report.tokens));
        self.curve.push(report.step, &report.metrics)?;
        let last = self.curve.last();
        let all: Vec<(&str, f64)> = last.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        self.ctx.metric(report.step, &all);
        let rate = self.tokens as f64 / self.since.elapsed().as_secs_f64();
        let mut note: Vec<String> = self
            .shown
            .iter()
            .filter_map(|n| Some(format!("{n} {:.3}", last.get(*n)?)))
            .collect();
        note.push(format!("{:.1}k tok/s", rate / 1e3));
        let note = note.join(" · ");
        self.ctx.progress(report.step, self.steps, "steps", &note);
        (self.note, self.told) = (note, Instant::now());
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
pub(crate) struct Epochs {
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
pub(crate) fn write_model(weights: &Weights, from: &Path, into: &Path) -> Result<()> {
    checkpoint::save(weights, into)?;
    tokenizer::copy_files(from, into)?;
    Ok(())
}

/// The same of a model that learns, as it is now.
pub(crate) fn write_numbers(learner: &dyn Learner, from: &Path, into: &Path) -> Result<()> {
    let snapshot = learner.snapshot()?;
    checkpoint::save_numbers(learner.config(), &snapshot.trained, into)?;
    tokenizer::copy_files(from, into)?;
    Ok(())
}
