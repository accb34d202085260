//! What is asked of a device, with words of its own where that has no room left: the one place that the device's errors pass on their way
//! to whoever asked. Knows nothing of what computes.

use anyhow::{Error, Result};
use candle_core::Device;

use crate::adapter::Adapter;
use crate::attack::gradient::Slope;
use crate::attack::score::{self, Loss, Score};
use crate::attack::victim::Victim;
use crate::batch::Row;
use crate::config::Config;
use crate::device::room;
use crate::learner::{Accumulated, Learner, Policy, Snapshot};
use crate::objective::Goal;
use crate::optim::AdamW;
use crate::sample::forecast::Tally;
use crate::sample::{Options, Request, Sample};
use crate::states::Wanted;
use crate::weights::Weights;

/// A learner or a victim on a device.
pub struct Told<T> {
    asked: T,
    device: Device,
}

impl<T> Told<T> {
    /// What `make` puts on this device.
    pub fn new(device: &Device, make: impl FnOnce() -> Result<T>) -> Result<Told<T>> {
        let asked = make().map_err(|error| room::told(device, "the weights", error))?;
        Ok(Told {
            asked,
            device: device.clone(),
        })
    }

    fn ask<R>(&mut self, what: &str, ask: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        let answer = ask(&mut self.asked);
        answer.map_err(|error| self.of(what, error))
    }

    /// An error of the device while it computed `what`.
    fn of(&self, what: &str, error: Error) -> Error {
        room::told(&self.device, what, error)
    }
}

impl<L: Learner> Learner for Told<L> {
    fn config(&self) -> &Config {
        self.asked.config()
    }

    fn adapted(&self) -> bool {
        self.asked.adapted()
    }

    fn updates(&self) -> u64 {
        self.asked.updates()
    }

    fn score(&mut self, policy: Policy, rows: &[Row], temperature: f32) -> Result<Vec<Vec<f32>>> {
        self.ask("log-probabilities", |l| l.score(policy, rows, temperature))
    }

    fn accumulate(
        &mut self,
        rows: &[Row],
        goal: &mut Goal,
        temperature: f32,
        through: &mut dyn FnMut(usize),
    ) -> Result<Accumulated> {
        self.ask("a gradient", |l| {
            l.accumulate(rows, goal, temperature, through)
        })
    }

    fn clip(&mut self, norm_max: f64) -> Result<f64> {
        self.ask("the norm of a gradient", |l| l.clip(norm_max))
    }

    fn update(&mut self, rule: &AdamW, lr: f64) -> Result<()> {
        self.ask("an update", |l| l.update(rule, lr))
    }

    fn sample(
        &mut self,
        policy: Policy,
        requests: &[Request],
        options: &Options,
        on_progress: &mut (dyn FnMut(&Tally) + Send),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Sample>>> {
        self.ask("samples", |l| {
            l.sample(policy, requests, options, on_progress, stop)
        })
    }

    fn states(
        &mut self,
        policy: Policy,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        at_once: usize,
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>> {
        self.ask("hidden states", |l| {
            l.states(policy, prompts, wanted, at_once, done)
        })
    }

    fn labels(
        &mut self,
        sequences: &[&[u32]],
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<f32>>> {
        self.ask("scores", |l| l.labels(sequences, done))
    }

    fn snapshot(&self) -> Result<Snapshot<'_>> {
        let snapshot = self.asked.snapshot();
        snapshot.map_err(|error| self.of("a snapshot", error))
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.ask("a snapshot", |l| l.restore(snapshot))
    }

    fn finish(self: Box<Self>) -> Result<(Weights, Option<Adapter>)> {
        let Told { asked, device } = *self;
        let finished = Box::new(asked).finish();
        finished.map_err(|error| room::told(&device, "the weights", error))
    }
}

impl<V: Victim> Victim for Told<V> {
    fn config(&self) -> &Config {
        self.asked.config()
    }

    fn rebase(&mut self, ids: &[u32]) -> Result<()> {
        self.ask("keys and values", |v| v.rebase(ids))
    }

    fn score(
        &mut self,
        prompts: &[Vec<u32>],
        wanted: score::Wanted,
        options: score::Options,
    ) -> Result<Vec<Score>> {
        self.ask("scores of candidates", |v| {
            v.score(prompts, wanted, options)
        })
    }

    fn computed(&self) -> usize {
        self.asked.computed()
    }

    fn slope(&mut self, around: [&[u32]; 3], target: &[u32], loss: Loss) -> Result<Slope> {
        self.ask("a gradient", |v| v.slope(around, target, loss))
    }

    fn sample(
        &mut self,
        request: Request,
        options: &Options,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Sample>> {
        self.ask("samples", |v| v.sample(request, options, stop))
    }
}
