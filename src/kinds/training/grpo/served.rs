//! Rollouts from a server that is given the weights of every step.
//!
//! What is asked for is a call as any other: in the journal before it is used, and never asked for again, so that a run that goes on
//! learns from the very rollouts that it had. A call holds the digest of the weights. The server is believed in nothing: it has to say
//! before and after that it has these weights, unless all answers are in the journal already, and its log-probabilities have to be those
//! that our own forward pass finds, which alone enter the objective. Answers that fail this are refused in the journal, and whoever would
//! be given them, in this node or another, asks anew.

use super::params::{Params, ServedRollouts};
use crate::shared::model_io::{Course, Group, Sampling, asked_after};
use crate::shared::observer::{self, NodeObserver};
use crate::training::write_numbers;
use anyhow::{Context, Result, anyhow, bail};
use base::calls::Calls;
use base::rows::Prompt;
use engine::kind::context::{NodeCtx, Transient};
use learn::batch::Row;
use learn::guard::{Gap, Tripped};
use learn::learner::{Learner, Policy};
use learn::sample::Sample;
use services::budget::Amount;
use services::client::Client;
use services::endpoint::Secret;
use services::rollouts::{Ask, Control, Rollouts};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who samples the rollouts of a node.
pub enum Source<'a> {
    Local,
    Served(Box<Served<'a>>),
}

/// Rollouts, and how far the server's log-probabilities of them are from ours where one sampled.
type Sampled = (Vec<Group>, Option<Gap>);

impl Source<'_> {
    /// Samples of each prompt for this step; `others`: calls of the node to other services.
    pub fn groups(
        &mut self,
        ctx: &NodeCtx,
        sampling: &mut Sampling,
        prompts: &[Prompt],
        course: &mut Course,
        (step, others): (u64, Calls),
    ) -> Result<Sampled> {
        match self {
            Source::Local => Ok((sampling.groups(ctx, prompts, course)?, None)),
            Source::Served(served) => {
                let (groups, gap) = served.groups(sampling, prompts, step, others)?;
                Ok((groups, Some(gap)))
            }
        }
    }

    /// What its calls came to so far.
    pub fn calls(&self) -> Calls {
        match self {
            Source::Local => Calls::default(),
            Source::Served(served) => *served.client.calls(),
        }
    }
}

pub struct Served<'a> {
    ctx: &'a NodeCtx,
    client: Client<Rollouts>,
    control: Control,
    /// Of the model that it began as: the tokenizer's files go with the weights.
    model: &'a Path,
    /// Where weights lie, of this node alone.
    folder: PathBuf,
    /// The weights that the server has.
    loaded: Option<Arc<str>>,
    /// Of the guard.
    limit: f64,
    /// Whether the weights that training began as are kept.
    reference: bool,
}

/// Rollouts that are looked at under the weights that training began as.
const PROBED: usize = 64;

/// Of a digest, as folders and versions are called.
const SHORT: usize = 32;

impl<'a> Served<'a> {
    pub fn open(
        ctx: &'a NodeCtx,
        (p, server, limit): (&Params, &ServedRollouts, f64),
        (stop, vocabulary): (Vec<u32>, usize),
    ) -> Result<Served<'a>> {
        let key = server.key_env.as_deref().map(|name| {
            let key = ctx.secret(name)?;
            Ok::<_, anyhow::Error>(Secret::new(name, key))
        });
        let endpoint = server.endpoint(key.transpose()?);
        let protocol = Rollouts {
            model: server.model.clone(),
            temperature: p.temperature,
            max_tokens: p.max_new_tokens,
            stop,
            vocabulary,
        };
        let (calls, by) = (ctx.calls_dir(), ctx.key());
        let client = Client::new(protocol, endpoint.clone(), calls, by, Amount::default());
        let folder = match &server.weights {
            Some(shared) => shared.join(ctx.key()),
            None => ctx.folder().join("weights"),
        };
        // In a shared folder nobody else has this key, so what an earlier attempt left is nobody's.
        if folder.exists() {
            let gone = fs::remove_dir_all(&folder);
            gone.with_context(|| format!("failed to empty {}", folder.display()))?;
        }
        Ok(Served {
            ctx,
            client: client.with_context(|| format!("preparing to ask {}", endpoint.host()))?,
            control: Control::new(endpoint)?,
            model: ctx.input("model"),
            folder,
            loaded: None,
            limit,
            reference: p.kl.coefficient > 0.0,
        })
    }

    fn groups(
        &mut self,
        sampling: &mut Sampling,
        prompts: &[Prompt],
        step: u64,
        others: Calls,
    ) -> Result<(Vec<Group>, Gap)> {
        let weights = digest(sampling.learner)?;
        let mut groups = vec![];
        let mut asks = vec![];
        for prompt in prompts {
            let asked = asked_after(sampling.tokenizer, None, &prompt.prompt, None);
            let asked = asked.with_context(|| format!("prompt {}", prompt.id))?;
            let ids = Arc::new(asked.ids.clone());
            let seed = sampling.seed.child(&prompt.id);
            for sample in 0..sampling.samples as u64 {
                asks.push(self.unrefused(Ask {
                    weights: weights.clone(),
                    refused: 0,
                    prompt: ids.clone(),
                    seed: seed.at(sample).rng().next_u64(),
                })?);
            }
            let samples = vec![];
            groups.push(Group { asked, samples });
        }
        let answers = self.answers(&asks, &weights, sampling.learner, others)?;
        let stops = &sampling.options.stop_ids;
        let rows: Vec<Row> = asks
            .iter()
            .zip(&answers)
            .map(|(a, r)| row(a, &r.0))
            .collect();
        let temperature = sampling.options.choice.temperature;
        let own = sampling
            .learner
            .score(sampling.policy, &rows, temperature)?;
        let served: Vec<&[f32]> = answers.iter().map(|(_, logps)| &logps[..]).collect();
        let (mean, max) = apart(&served, &own);
        let moved = sampling.policy == Policy::Live && sampling.learner.updates() > 0;
        let probe = match self.reference && moved {
            false => None,
            true => {
                let few = &rows[..rows.len().min(PROBED)];
                let start = sampling
                    .learner
                    .score(Policy::Reference, few, temperature)?;
                Some((
                    apart(&served, &own[..few.len()]).0,
                    apart(&served, &start).0,
                ))
            }
        };
        let gap = Gap { mean, max, probe };
        if let Some(cause) = gap.cause(self.limit) {
            self.client.refuse(&asks)?;
            return Err(Tripped { step, cause }.into());
        }
        let mut samples = answers.into_iter().zip(own);
        for group in &mut groups {
            let own = samples.by_ref().take(sampling.samples);
            let own = own.map(|((ids, _), logps)| Sample {
                finished: ids.last().is_some_and(|id| stops.contains(id)),
                ids,
                logps,
            });
            group.samples = own.collect();
        }
        Ok((groups, gap))
    }

    /// The answers, ids and log-probabilities each; from the journal where they are all there, and nobody is asked anything.
    fn answers(
        &mut self,
        asks: &[Ask],
        weights: &Arc<str>,
        learner: &dyn Learner,
        others: Calls,
    ) -> Result<Vec<(Vec<u32>, Vec<f32>)>> {
        let asked = !self.client.has_all(asks)?;
        if asked {
            self.load(weights, learner)?;
        }
        let mut observer = NodeObserver {
            shown: false,
            others,
            ..NodeObserver::new(self.ctx, "rollouts")
        };
        let outcomes = self.client.all(asks, &mut observer);
        let outcomes = outcomes.map_err(observer::stopped)?;
        if asked {
            let now = self.control.version().map_err(observer::stopped)?;
            if now != version(weights) {
                self.client.refuse(asks)?;
                self.loaded = None;
                let error = anyhow!(
                    "the server of rollouts had other weights before all of them came ({now:?}): somebody else uses it"
                );
                return Err(Transient(error).into());
            }
        }
        let mut answers = vec![];
        for outcome in outcomes {
            match outcome {
                Ok(rollout) => answers.push((rollout.ids, rollout.logps)),
                Err(rejection) if rejection.status == 0 => {
                    return Err(Transient(anyhow!("a rollout did not come: {rejection}")).into());
                }
                Err(rejection) => bail!("the server will not sample a rollout: {rejection}"),
            }
        }
        Ok(answers)
    }

    /// Gives the server these weights, unless it has them.
    fn load(&mut self, weights: &Arc<str>, learner: &dyn Learner) -> Result<()> {
        if self.loaded.as_ref() == Some(weights) {
            return Ok(());
        }
        let version = version(weights);
        let at = self.folder.join(version);
        if !at.exists() {
            let part = self.folder.join("part");
            let failed = || format!("failed to make {}", at.display());
            fs::create_dir_all(&part).with_context(failed)?;
            write_numbers(learner, self.model, &part)?;
            fs::rename(&part, &at).with_context(failed)?;
        }
        let path = at.canonicalize().unwrap_or_else(|_| at.clone());
        let path = path
            .to_str()
            .context("the folder of the weights is not UTF-8")?;
        // What it has until it says otherwise, nobody knows.
        let before = self.loaded.take();
        self.control
            .load(path, version)
            .map_err(observer::stopped)?;
        self.loaded = Some(weights.clone());
        if let Some(before) = before {
            let _ = fs::remove_dir_all(self.folder.join(self::version(&before))); // What stays goes with the folder.
        }
        Ok(())
    }

    /// The ask whose answer, if there is one, nobody has refused.
    fn unrefused(&mut self, mut ask: Ask) -> Result<Ask> {
        while self.client.refused(&ask)? {
            ask.refused += 1;
        }
        Ok(ask)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder); // What stays goes with the attempt, or the next one empties it.
    }
}

fn version(digest: &str) -> &str {
    &digest[..SHORT]
}

/// Of the live weights and the shape that they have.
fn digest(learner: &dyn Learner) -> Result<Arc<str>> {
    let snapshot = learner.snapshot()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(learner.config().to_json().to_string().as_bytes());
    let mut bytes = vec![];
    for numbers in snapshot.trained.chunks(1 << 18) {
        bytes.clear();
        bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        hasher.update(&bytes);
    }
    Ok(hasher.finalize().to_hex().as_str().into())
}

/// A rollout as it is scored.
fn row(ask: &Ask, rollout: &[u32]) -> Row {
    let mut ids = (*ask.prompt).clone();
    ids.extend(rollout);
    let mask = (0..ids.len()).map(|i| i >= ask.prompt.len()).collect();
    Row { ids, mask }
}

/// Mean and maximum of the absolute differences, token by token, as far as both have rollouts.
fn apart(served: &[&[f32]], other: &[Vec<f32>]) -> (f64, f64) {
    let pairs = served.iter().zip(other).flat_map(|(a, b)| a.iter().zip(b));
    let (mut sum, mut max, mut n) = (0.0, 0.0_f64, 0);
    for (a, b) in pairs {
        let apart = f64::from((a - b).abs());
        (sum, max, n) = (sum + apart, max.max(apart), n + 1);
    }
    (sum / f64::from(n.max(1)), max)
}
