//! The learner on this machine's cores: `decoder`, `decoder_backward` and `sample` on weights in memory.

use crate::adapter::{Adapter, Net};
use crate::batch::{Batch, MICRO_TOKENS, Row};
use crate::config::Config;
use crate::decoder::{self, Keep, Tape, Workspace};
use crate::decoder_backward::{self, Upstream};
use crate::labels;
use crate::learner::{Accumulated, Learner, Policy, Snapshot};
use crate::objective::{Goal, Scored};
use crate::optim::{self, AdamW, Moments};
use crate::sample::forecast::Tally;
use crate::sample::{self, Options, Request, Sample};
use crate::states::{self, Wanted};
use crate::weights::Weights;
use crate::window::{self, Passes};
use anyhow::{Result, ensure};
use std::borrow::Cow;
use std::convert::Infallible;

pub struct Cpu {
    weights: Weights,
    adapter: Option<Adapter>,
    /// The weights that training began as, where they are asked for and all weights are trained.
    reference: Option<Weights>,
    moments: Moments,
    grads: Vec<f32>,
    keep: Keep,
    workspace: Workspace,
}

impl Cpu {
    /// Trains the adapter on frozen weights, or all weights where there is none. With `reference` the weights that it begins
    /// as stay at hand, as a copy where all are trained.
    pub fn new(weights: Weights, adapter: Option<Adapter>, reference: bool, keep: Keep) -> Cpu {
        let copied = reference && adapter.is_none();
        let trained = adapter
            .as_ref()
            .map_or(weights.data.len(), |a| a.data.len());
        Cpu {
            reference: copied.then(|| weights.clone()),
            moments: Moments::zeros(trained),
            grads: vec![0.0; trained],
            keep,
            ..Cpu::frozen(weights, adapter)
        }
    }

    /// A model that is asked and never trained: it holds neither moments nor gradient.
    pub fn frozen(weights: Weights, adapter: Option<Adapter>) -> Cpu {
        Cpu {
            weights,
            adapter,
            reference: None,
            moments: Moments::zeros(0),
            grads: vec![],
            keep: Keep::All,
            workspace: Workspace::new(),
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
                    self.adapter.is_some() || self.moments.updates == 0,
                    "the weights that training began as were kept, or nothing has changed them"
                );
                live.frozen()
            }
        }
    }

    fn trained(&self) -> &[f32] {
        self.adapter
            .as_ref()
            .map_or(&self.weights.data, |a| &a.data)
    }
}

impl Learner for Cpu {
    fn config(&self) -> &Config {
        &self.weights.config
    }

    fn adapted(&self) -> bool {
        self.adapter.is_some()
    }

    fn updates(&self) -> u64 {
        self.moments.updates
    }

    fn score(&mut self, policy: Policy, rows: &[Row], temperature: f32) -> Result<Vec<Vec<f32>>> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let logps = logps(self.net(policy), rows, temperature, &mut workspace);
        self.workspace = workspace;
        Ok(logps)
    }

    fn accumulate(
        &mut self,
        rows: &[Row],
        goal: &mut Goal,
        temperature: f32,
        through: &mut dyn FnMut(usize),
    ) -> Result<Accumulated> {
        let trained = self.trained().len();
        assert_eq!(self.grads.len(), trained, "what is trained has a gradient");
        let mut pass = Pass {
            net: Net {
                weights: &self.weights,
                adapter: self.adapter.as_ref(),
            },
            keep: self.keep,
            grads: &mut self.grads,
            workspace: &mut self.workspace,
        };
        window::accumulate(&mut pass, 0, rows, goal, temperature, through)
    }

    fn clip(&mut self, norm_max: f64) -> Result<f64> {
        Ok(optim::clip(&mut self.grads, norm_max))
    }

    fn update(&mut self, rule: &AdamW, lr: f64) -> Result<()> {
        let (grads, moments) = (&self.grads, &mut self.moments);
        match &mut self.adapter {
            Some(adapter) => rule.update(adapter, grads, moments, lr),
            None => rule.update(&mut self.weights, grads, moments, lr),
        }
        self.grads.fill(0.0);
        Ok(())
    }

    fn sample(
        &mut self,
        policy: Policy,
        requests: &[Request],
        options: &Options,
        on_progress: &mut (dyn FnMut(&Tally) + Send),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Sample>>> {
        if policy == Policy::Live && self.adapter.is_none() {
            let weights = &mut self.weights;
            return sample::sample_alone(weights, requests, options, on_progress, stop);
        }
        sample::sample(self.net(policy), requests, options, on_progress, stop)
    }

    fn states(
        &mut self,
        policy: Policy,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        at_once: usize,
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>> {
        let net = self.net(policy);
        Ok(states::of_prompts(net, prompts, wanted, at_once, done))
    }

    fn labels(
        &mut self,
        sequences: &[&[u32]],
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<f32>>> {
        let net = self.net(Policy::Live);
        Ok(labels::of_sequences(net, sequences, done))
    }

    fn snapshot(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot {
            trained: Cow::Borrowed(self.trained()),
            first: Cow::Borrowed(&self.moments.first),
            second: Cow::Borrowed(&self.moments.second),
            updates: self.moments.updates,
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
        let data = match &mut self.adapter {
            Some(adapter) => &mut adapter.data,
            None => &mut self.weights.data,
        };
        *data = trained.into_owned();
        self.moments = Moments {
            first: first.into_owned(),
            second: second.into_owned(),
            updates,
        };
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Weights, Option<Adapter>)> {
        Ok((self.weights, self.adapter))
    }
}

/// Log-probabilities of every row's scored tokens: [row][scored token].
pub fn logps<'a>(
    net: impl Into<Net<'a>>,
    rows: &[Row],
    temperature: f32,
    workspace: &mut Workspace,
) -> Vec<Vec<f32>> {
    let net = net.into();
    let score = |batch: &Batch| -> Result<Vec<f32>, Infallible> {
        let packed = batch.packed();
        Ok(decoder::score(net, packed, &batch.scored, temperature, workspace).logp)
    };
    let Ok(logps) = window::logps(rows, MICRO_TOKENS, score);
    logps
}

/// Passes over micro-batches, each in a pass of its own.
struct Pass<'a> {
    net: Net<'a>,
    keep: Keep,
    grads: &'a mut [f32],
    workspace: &'a mut Workspace,
}

impl Passes for Pass<'_> {
    type Tape = Tape;

    fn forward(&mut self, batch: &Batch, scored: &[usize], temperature: f32) -> Result<Tape> {
        let (packed, keep) = (batch.packed(), self.keep);
        let workspace = &mut *self.workspace;
        Ok(decoder::forward_keeping(
            self.net,
            packed,
            scored,
            temperature,
            keep,
            workspace,
        ))
    }

    fn scores<'t>(&self, tape: &'t Tape) -> Scored<'t> {
        Scored {
            logp: &tape.logp,
            entropy: &tape.entropy,
            greedy_hit: &tape.greedy_hit,
        }
    }

    fn frozen_states(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let net = self.net.frozen();
        Ok(decoder::hidden_states(net, batch.packed(), self.workspace))
    }

    fn states<'t>(&self, tape: &'t Tape) -> Result<Vec<Cow<'t, [f32]>>> {
        let layers = self.net.config().layers;
        let normed = decoder::normed(self.net.weights, tape.hidden(layers));
        let before = (0..layers).map(|i| Cow::Borrowed(tape.hidden(i)));
        Ok(before.chain([Cow::Owned(normed)]).collect())
    }

    fn back(&mut self, tape: &Tape, upstream: Upstream) -> Result<()> {
        let (grads, workspace) = (&mut *self.grads, &mut *self.workspace);
        decoder_backward::backward_upstream(self.net, tape, upstream, grads, workspace);
        Ok(())
    }

    fn done(&mut self, tape: Tape) {
        tape.recycle(self.workspace);
    }
}
