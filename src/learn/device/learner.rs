//! The learner on a device: what `learn::cpu` does on this machine's cores, on candle's tensors. Weights, moments and the
//! gradient of the window stay on the device; a snapshot brings them back as the flat arrays that the other learner has too, so
//! that either goes on from a checkpoint of the other.

use std::borrow::Cow;

use anyhow::{Error, Result, ensure};

use crate::adapter::Adapter;
use crate::batch::Row;
use crate::config::Config;
use crate::decoder::Keep;
use crate::device::net::{DeviceAdapter, DeviceWeights, Net};
use crate::device::optim::{self, DeviceMoments};
use crate::device::parts::Parts;
use crate::device::pass::{Pass, logps};
use crate::device::ragged::Workspace;
use crate::device::room;
use crate::device::sample;
use crate::device::states;
use crate::learner::{Accumulated, Learner, Policy, Snapshot};
use crate::objective::Goal;
use crate::optim::{AdamW, Moments};
use crate::sample::forecast::Tally;
use crate::sample::{Options, Request, Sample};
use crate::states::Wanted;
use crate::weights::Weights;

#[derive(Debug)]
pub struct Device {
    weights: DeviceWeights,
    adapter: Option<DeviceAdapter>,
    /// The weights that training began as, where they are asked for and all weights are trained.
    reference: Option<DeviceWeights>,
    /// Both are there from the first window on: a model that is only asked has neither.
    moments: Option<DeviceMoments>,
    grads: Option<Parts>,
    keep: Keep,
    workspace: Workspace,
}

impl Device {
    /// As `cpu::Cpu::new`, on this device.
    pub fn new(
        weights: &Weights,
        adapter: Option<&Adapter>,
        reference: bool,
        keep: Keep,
        device: &candle_core::Device,
    ) -> Result<Device> {
        let no_room = |error: candle_core::Error| room::told(device, "the weights", error.into());
        let adapter = adapter.map(|adapter| DeviceAdapter::upload(adapter, device));
        let adapter = adapter.transpose().map_err(no_room)?;
        let weights = DeviceWeights::upload(weights, device).map_err(no_room)?;
        Ok(Device {
            reference: (reference && adapter.is_none()).then(|| weights.clone()),
            weights,
            adapter,
            moments: None,
            grads: None,
            keep,
            workspace: Workspace::of(device),
        })
    }

    fn net(&self, policy: Policy) -> Net<'_> {
        let live = Net {
            weights: &self.weights,
            adapter: self.adapter.as_ref(),
        };
        match (policy, &self.reference) {
            (Policy::Live, _) => live,
            (Policy::Reference, Some(reference)) => reference.into(),
            (Policy::Reference, None) => {
                assert!(
                    self.adapter.is_some() || self.updates() == 0,
                    "the weights that training began as were kept, or nothing has changed them"
                );
                live.frozen()
            }
        }
    }

    fn trained(&self) -> &Parts {
        self.net(Policy::Live).trained()
    }

    /// With words of its own for a device that has no room left.
    fn told<T, E: Into<Error>>(&self, what: &str, result: Result<T, E>) -> Result<T> {
        result.map_err(|error| room::told(&self.weights.device, what, error.into()))
    }

    /// The gradient of the window so far, which is the caller's until it is put back.
    fn take_grads(&mut self) -> Result<Parts> {
        match self.grads.take() {
            Some(grads) => Ok(grads),
            None => Ok(self.trained().zeros(&self.weights.device)?),
        }
    }
}

impl Learner for Device {
    fn config(&self) -> &Config {
        &self.weights.config
    }

    fn adapted(&self) -> bool {
        self.adapter.is_some()
    }

    fn updates(&self) -> u64 {
        self.moments.as_ref().map_or(0, |moments| moments.updates)
    }

    fn score(&mut self, policy: Policy, rows: &[Row], temperature: f32) -> Result<Vec<Vec<f32>>> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let logps = logps(self.net(policy), rows, temperature, &mut workspace);
        self.workspace = workspace;
        self.told("log-probabilities", logps)
    }

    fn accumulate(
        &mut self,
        rows: &[Row],
        goal: &mut Goal,
        temperature: f32,
        through: &mut dyn FnMut(usize),
    ) -> Result<Accumulated> {
        let mut grads = self.take_grads()?;
        let mut workspace = std::mem::take(&mut self.workspace);
        let mut pass = Pass {
            net: self.net(Policy::Live),
            keep: self.keep,
            grads: &mut grads,
            workspace: &mut workspace,
        };
        let sum = pass.window(rows, goal, temperature, through);
        (self.grads, self.workspace) = (Some(grads), workspace);
        self.told("a gradient", sum)
    }

    fn clip(&mut self, norm_max: f64) -> Result<f64> {
        match &mut self.grads {
            Some(grads) => Ok(optim::clip(grads, norm_max)?),
            None => Ok(0.0),
        }
    }

    fn update(&mut self, rule: &AdamW, lr: f64) -> Result<()> {
        let grads = self.take_grads()?;
        let mut moments = match self.moments.take() {
            Some(moments) => moments,
            None => DeviceMoments::zeros(self.trained(), &self.weights.device)?,
        };
        let trained = match &mut self.adapter {
            Some(adapter) => &mut adapter.parts,
            None => &mut self.weights.parts,
        };
        let updated = optim::update(rule, trained, &grads, &mut moments, lr);
        self.moments = Some(moments);
        self.told("an update", updated)
    }

    fn sample(
        &mut self,
        policy: Policy,
        requests: &[Request],
        options: &Options,
        on_progress: &mut (dyn FnMut(&Tally) + Send),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Sample>>> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let net = self.net(policy);
        let samples = sample::sample(net, requests, options, on_progress, stop, &mut workspace);
        self.workspace = workspace;
        self.told("samples", samples)
    }

    fn states(
        &mut self,
        policy: Policy,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        at_once: usize,
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let net = self.net(policy);
        let states = states::of_prompts(net, prompts, wanted, at_once, done, &mut workspace);
        self.workspace = workspace;
        self.told("hidden states", states)
    }

    fn labels(
        &mut self,
        sequences: &[&[u32]],
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<f32>>> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let net = self.net(Policy::Live);
        let numbers = states::labels(net, sequences, done, &mut workspace);
        self.workspace = workspace;
        self.told("scores", numbers)
    }

    fn snapshot(&self) -> Result<Snapshot<'_>> {
        let trained = self.trained();
        let Moments {
            first,
            second,
            updates,
        } = match &self.moments {
            Some(moments) => moments.download()?,
            None => Moments::zeros(trained.len()),
        };
        Ok(Snapshot {
            trained: Cow::Owned(trained.download()?),
            first: Cow::Owned(first),
            second: Cow::Owned(second),
            updates,
        })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        let Snapshot {
            trained,
            first,
            second,
            updates,
        } = snapshot;
        let own = self.trained().len();
        ensure!(
            [&trained, &first, &second]
                .iter()
                .all(|array| array.len() == own),
            "the checkpoint is of another model"
        );
        let device = self.weights.device.clone();
        let upload = |data: &[f32]| self.trained().with(data, &device);
        let (trained, first, second) = (upload(&trained)?, upload(&first)?, upload(&second)?);
        match &mut self.adapter {
            Some(adapter) => adapter.parts = trained,
            None => self.weights.parts = trained,
        }
        self.moments = Some(DeviceMoments {
            first,
            second,
            updates,
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Weights, Option<Adapter>)> {
        let adapter = self.adapter.as_ref().map(DeviceAdapter::download);
        Ok((self.weights.download()?, adapter.transpose()?))
    }
}
