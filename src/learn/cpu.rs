//! The learner on this machine's cores: `decoder`, `decoder_backward` and `sample` on weights in memory.

use crate::adapter::{Adapter, Net};
use crate::batch::{Batch, Row, micro_batches};
use crate::config::Config;
use crate::decoder::{self, Keep, Workspace};
use crate::decoder_backward::{self, Upstream};
use crate::labels;
use crate::learner::{Accumulated, Broken, Learner, Policy, Snapshot};
use crate::objective::rerouting::{StateObjective, States};
use crate::objective::{Goal, Objective, Scored};
use crate::optim::{self, AdamW, Moments};
use crate::sample::forecast::Tally;
use crate::sample::{self, Options, Request, Sample};
use crate::states::{self, Wanted};
use crate::weights::Weights;
use anyhow::{Result, ensure};
use std::borrow::Cow;
use std::ops::Range;

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
        let mut sum = Accumulated {
            loss: 0.0,
            tokens: 0,
            broken: None,
        };
        for range in micro_batches(rows, goal.unit()) {
            through(range.start);
            let batch = Batch::pack(&rows[range.clone()]);
            sum.tokens += batch.ids.len();
            sum.loss += match goal {
                Goal::Logp(_) if batch.scored.is_empty() => continue,
                Goal::Logp(objective) => {
                    let (loss, broken) = pass.logps(objective.as_mut(), range, &batch, temperature);
                    sum.broken = sum.broken.or(broken);
                    loss
                }
                Goal::States(objective) => pass.states(objective.as_mut(), range, &batch),
            };
        }
        Ok(sum)
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
    let mut out = Vec::with_capacity(rows.len());
    for run in micro_batches(rows, 1) {
        let batch = Batch::pack(&rows[run]);
        let scores = decoder::score(net, batch.packed(), &batch.scored, temperature, workspace);
        let rows = batch.bounds.windows(2);
        out.extend(rows.map(|b| scores.logp[b[0]..b[1]].to_vec()));
    }
    out
}

/// Forward and backward passes of micro-batches.
struct Pass<'a> {
    net: Net<'a>,
    keep: Keep,
    grads: &'a mut [f32],
    workspace: &'a mut Workspace,
}

impl Pass<'_> {
    /// The loss of a micro-batch by its log-probabilities, whose gradient is added where the loss is finite; and the first
    /// token whose log-probability is not.
    fn logps(
        &mut self,
        objective: &mut dyn Objective,
        rows: Range<usize>,
        batch: &Batch,
        temperature: f32,
    ) -> (f64, Option<Broken>) {
        let (net, keep) = (self.net, self.keep);
        let (packed, scored) = (batch.packed(), &batch.scored);
        let tape = decoder::forward_keeping(net, packed, scored, temperature, keep, self.workspace);
        let scored = Scored {
            logp: &tape.logp,
            entropy: &tape.entropy,
            greedy_hit: &tape.greedy_hit,
        };
        let broken = Broken::of(&tape.logp, batch, rows.start);
        let share = objective.share(rows, &batch.bounds, scored);
        if share.loss.is_finite() {
            let dentropy = share.dentropy.as_deref();
            let (grads, workspace) = (&mut *self.grads, &mut *self.workspace);
            decoder_backward::backward(net, &tape, &share.dlogp, dentropy, grads, workspace);
        }
        tape.recycle(self.workspace);
        (share.loss, broken)
    }

    /// The loss of a micro-batch by its hidden states, with the adapter on and off.
    fn states(
        &mut self,
        objective: &mut dyn StateObjective,
        rows: Range<usize>,
        batch: &Batch,
    ) -> f64 {
        let (net, packed) = (self.net, batch.packed());
        let layers = net.config().layers;
        let frozen = decoder::hidden_states(net.frozen(), packed, self.workspace);
        let tape = decoder::forward_keeping(net, packed, &[], 1.0, self.keep, self.workspace);
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
            let dhidden = share.dstates[..layers].iter().map(|d| Some(&d[..]));
            let dhidden: Vec<Option<&[f32]>> = dhidden.collect();
            let upstream = Upstream {
                dhidden: &dhidden,
                dnormed: Some(&share.dstates[layers]),
                ..Upstream::default()
            };
            let (grads, workspace) = (&mut *self.grads, &mut *self.workspace);
            decoder_backward::backward_upstream(net, &tape, upstream, grads, workspace);
        }
        tape.recycle(self.workspace);
        share.loss
    }
}
