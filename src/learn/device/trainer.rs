//! A model in training on a device: weights, moments and the gradient of the window, which leave it only when asked for.
//!
//! What a training loop asks of a model between a feed and a report, as `learn::cpu` does it on the kernels. Knows no feed.

use anyhow::Result;
use candle_core::Device;

use crate::decoder::{Packed, Scores};
use crate::device::decoder;
use crate::device::optim::{self, DeviceMoments};
use crate::device::{DeviceWeights, Parts, Workspace, backward};
use crate::objective::{Outcome, Scored};
use crate::optim::{AdamW, Moments};
use crate::weights::Weights;

#[derive(Debug)]
pub struct Trainer {
    weights: DeviceWeights,
    moments: DeviceMoments,
    grads: Parts,
    workspace: Workspace,
}

impl Trainer {
    pub fn new(weights: &Weights, moments: &Moments, device: &Device) -> Result<Trainer> {
        let layout = &weights.layout;
        Ok(Trainer {
            weights: DeviceWeights::upload(weights, device)?,
            moments: DeviceMoments::upload(moments, layout, device)?,
            grads: Parts::zeros(layout, device)?,
            workspace: Workspace::default(),
        })
    }

    /// Log-probabilities without a gradient.
    pub fn score(&mut self, batch: Packed, scored: &[usize], temperature: f32) -> Result<Scores> {
        let workspace = &mut self.workspace;
        let scores = decoder::score(&self.weights, batch, scored, temperature, workspace)?;
        Ok(scores)
    }

    /// Adds the gradient of a micro-batch to the window's. `objective` says what is lost on its scored tokens.
    pub fn add_gradient(
        &mut self,
        batch: Packed,
        scored: &[usize],
        temperature: f32,
        objective: impl FnOnce(Scored) -> Result<Outcome<()>>,
    ) -> Result<f64> {
        let workspace = &mut self.workspace;
        let tape = decoder::forward(&self.weights, batch, scored, temperature, workspace)?;
        let share = objective(Scored {
            logp: &tape.scores.logp,
            entropy: &tape.scores.entropy,
            greedy_hit: &tape.scores.greedy_hit,
        })?;
        let dentropy = share.dentropy.as_deref();
        backward::backward(
            &self.weights,
            &tape,
            &share.dlogp,
            dentropy,
            &mut self.grads,
        )?;
        Ok(share.loss)
    }

    /// Scales the window's gradient down to this norm and returns the norm before.
    pub fn clip(&mut self, max: f64) -> Result<f64> {
        Ok(optim::clip(&mut self.grads, max)?)
    }

    /// One step against the window's gradient, which is zero afterwards.
    pub fn update(&mut self, rule: &AdamW, lr: f64) -> Result<()> {
        optim::update(rule, &mut self.weights, &self.grads, &mut self.moments, lr)?;
        self.grads = Parts::zeros(self.weights.layout(), &self.weights.device)?;
        Ok(())
    }

    /// Weights and moments as they are now.
    pub fn download(&self) -> Result<(Weights, Moments)> {
        Ok((self.weights.download()?, self.moments.download()?))
    }
}
