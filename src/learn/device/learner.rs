//! The learner on a device: what `learn::cpu` does on this machine's cores, on candle's tensors. Weights, moments and the
//! gradient of the window stay on the device; a snapshot brings them back as the flat arrays that the other learner has too, so
//! that either goes on from a checkpoint of the other, whatever numbers its products are in.

use std::borrow::Cow;

use anyhow::{Result, ensure};
use base::device::Numerics;

use crate::adapter::Adapter;
use crate::batch::Row;
use crate::config::Config;
use crate::decoder::Keep;
use crate::device::net::{DeviceAdapter, DeviceWeights, Net};
use crate::device::optim::{self, DeviceMoments};
use crate::device::parts::Parts;
use crate::device::pass::{Pass, logps};
use crate::device::ragged::Workspace;
use crate::device::sample;
use crate::device::states;
use crate::device::together;
use crate::learner::{Accumulated, Learner, Policy, Snapshot};
use crate::objective::Goal;
use crate::optim::{AdamW, Moments};
use crate::sample::forecast::Tally;
use crate::sample::{Options, Request, Sample};
use crate::states::Wanted;
use crate::weights::Weights;
use crate::window;

#[derive(Debug)]
pub struct Device {
    weights: DeviceWeights,
    adapter: Option<DeviceAdapter>,
    /// The weights below an adapter as they came, where the device has them rounded: so they leave.
    below: Option<Weights>,
    /// The weights that training began as, where they are asked for and all weights are trained.
    reference: Option<DeviceWeights>,
    /// Both are there from the first window on: a model that is only asked has neither.
    moments: Option<DeviceMoments>,
    grads: Option<Parts>,
    keep: Keep,
    /// Tokens of micro-batches that go through together.
    together: usize,
    workspace: Workspace,
    sampler: together::Sampler,
}

impl Device {
    /// As `cpu::Cpu::new`, on this device and in these numbers.
    pub fn new(
        weights: Weights,
        adapter: Option<Adapter>,
        reference: bool,
        keep: Keep,
        device: &candle_core::Device,
        numerics: Numerics,
    ) -> Result<Device> {
        let reference = reference && adapter.is_none();
        let how = together::Steps {
            adapter: adapter.as_ref(),
            reference,
            keep,
            numerics,
        };
        let together = together::tokens(device, &weights.config, &how);
        let sampler = together::Sampler::of_trained(device, &weights.config, &how);
        let there = match adapter {
            None => DeviceWeights::trained(&weights, device, numerics),
            Some(_) => DeviceWeights::frozen(&weights, device, numerics),
        };
        let there = there?;
        let adapter = adapter.map(|adapter| DeviceAdapter::trained(&adapter, device, numerics));
        let adapter = adapter.transpose()?;
        let rounded = adapter.is_some() && numerics != Numerics::F32;
        Ok(Device {
            reference: reference.then(|| there.kept()).transpose()?,
            weights: there,
            adapter,
            below: rounded.then_some(weights),
            moments: None,
            grads: None,
            keep,
            together,
            workspace: Workspace::of(device),
            sampler,
        })
    }

    /// A model that is asked and never trained.
    pub fn asked(
        weights: Weights,
        device: &candle_core::Device,
        numerics: Numerics,
    ) -> Result<Device> {
        let there = DeviceWeights::frozen(&weights, device, numerics);
        Ok(Device {
            sampler: together::Sampler::of_asked(device, &weights.config, numerics),
            workspace: Workspace::of(device),
            weights: there?,
            adapter: None,
            below: None,
            reference: None,
            moments: None,
            grads: None,
            keep: Keep::All,
            together: together::asked(device),
        })
    }

    /// With so many tokens of micro-batches going through together, whatever suits the device.
    pub fn together(self, tokens: usize) -> Device {
        Device {
            together: tokens,
            ..self
        }
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
        let (net, together) = (self.net(policy), self.together);
        let logps = logps(net, rows, temperature, together, &mut workspace);
        self.workspace = workspace;
        logps
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
        let sum = window::accumulate(&mut pass, self.together, rows, goal, temperature, through);
        (self.grads, self.workspace) = (Some(grads), workspace);
        sum
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
        let held = match &mut self.adapter {
            Some(adapter) => &mut adapter.parts,
            None => &mut self.weights.parts,
        };
        let updated = held.change(|trained| optim::update(rule, trained, &grads, &mut moments, lr));
        self.moments = Some(moments);
        Ok(updated?)
    }

    fn sample(
        &mut self,
        policy: Policy,
        requests: &[Request],
        options: &Options,
        on_progress: &mut (dyn FnMut(&Tally) + Send),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Sample>>> {
        let cache = self.sampler.cache(requests, options);
        let mut workspace = std::mem::take(&mut self.workspace).with_cache(cache);
        let net = self.net(policy);
        let samples = sample::sample(net, requests, options, on_progress, stop, &mut workspace);
        self.workspace = workspace;
        samples
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
        Ok(states?)
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
        Ok(numbers?)
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
        let held = match &mut self.adapter {
            Some(adapter) => &mut adapter.parts,
            None => &mut self.weights.parts,
        };
        held.change(|parts| {
            *parts = trained;
            Ok(())
        })?;
        self.moments = Some(DeviceMoments {
            first,
            second,
            updates,
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Weights, Option<Adapter>)> {
        let adapter = self.adapter.as_ref().map(DeviceAdapter::download);
        let weights = match self.below {
            Some(below) => below,
            None => self.weights.download()?,
        };
        Ok((weights, adapter.transpose()?))
    }
}
