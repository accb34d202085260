//! The feed of GRPO: prompts of a step, rollouts of the live weights, rewards, advantages; and the same rollouts again for
//! every further update on them.

use super::measures::{self, Rollout, metrics};
use super::params::{AppliedTo, Params, ZeroVariance};
use super::served::Source;
use crate::scorers::Judged;
use crate::scorers::reward::{self, Route, Scored};
use crate::shared::model_io::{self, Course, Sampling};
use crate::shared::observer::NodeObserver;
use anyhow::Result;
use base::rng::Seed;
use base::rows::Prompt;
use engine::kind::context::NodeCtx;
use learn::batch::{Row, micro_batches};
use learn::guard::{Cause, Tripped};
use learn::learner::{Learner, Policy};
use learn::objective::Goal;
use learn::objective::advantage;
use learn::objective::grpo::{self, GrpoObjective, PerToken};
use learn::sample::{NotFinite, Options, Sample};
use learn::tokenizer::Tokenizer;
use learn::train::{Feed, Window};

/// The policy of a step that gives nothing to choose by.
fn broken(found: &NotFinite, prompts: &[Prompt], step: u64) -> Tripped {
    let NotFinite {
        sample,
        step: token,
        value,
        ..
    } = found;
    let prompt = &prompts[found.request].id;
    Tripped {
        step,
        cause: Cause::NotFinite {
            what: "logit of a rollout".into(),
            value: f64::from(*value),
            at: Some(format!(
                "prompt {prompt}, sample {sample}, token {}",
                token + 1
            )),
        },
    }
}

/// The feed: prompts of the step, rollouts of the live weights, rewards, advantages.
pub struct Rollouts<'r, 's> {
    pub ctx: &'r NodeCtx,
    pub source: &'r mut Source<'s>,
    pub tokenizer: &'r Tokenizer,
    pub route: &'r mut Route,
    pub prompts: &'r [Prompt],
    pub p: &'r Params,
    /// Rollouts that are sampled at the same time.
    pub sample_rows: usize,
    /// What the updates under way learn from.
    pub batch: Option<Batch>,
}

/// The rollouts of a step, ready to be learned from.
pub struct Batch {
    rows: Vec<Row>,
    advantages: Vec<f32>,
    /// Under the weights that sampled; None where there is one update only, so that those are the live ones.
    old: Option<PerToken>,
    reference: Option<PerToken>,
    sampler: PerToken,
    metrics: Vec<(String, f64)>,
}

impl Feed for Rollouts<'_, '_> {
    fn window<'a>(&'a mut self, step: u64, learner: &mut dyn Learner) -> Result<Window<'a>> {
        if step.is_multiple_of(self.p.updates) {
            let batch = self.sample(step / self.p.updates, learner)?;
            self.batch = Some(batch);
        }
        // Checkpoints lie between rollouts (`Watcher::in_units`), so that no update finds its rollouts gone.
        let batch = self
            .batch
            .as_ref()
            .expect("training resumes where rollouts begin");
        let rows = batch.rows.clone();
        let totals = grpo::Totals {
            rows: rows.len(),
            tokens: rows.iter().map(Row::scored).sum(),
            micro_batches: micro_batches(&rows, 1).len(),
            max_length: self.p.max_new_tokens,
        };
        let objective = GrpoObjective {
            options: options(self.p),
            totals,
            advantages: batch.advantages.clone(),
            old: batch.old.clone(),
            reference: batch.reference.clone(),
            sampler: Some(batch.sampler.clone()),
            sums: Default::default(),
        };
        Ok(Window {
            rows,
            goal: Goal::Logp(Box::new(objective)),
            metrics: batch.metrics.clone(),
        })
    }
}

impl Rollouts<'_, '_> {
    /// The rollouts of these weights, with what they are worth.
    fn sample(&mut self, number: u64, learner: &mut dyn Learner) -> Result<Batch> {
        let p = self.p;
        let prompts = self.prompts_of(number);
        let seed = Seed::new(p.seed).child("rollouts").at(number);
        let (live, rows) = (Policy::Live, self.sample_rows);
        let mut sampling = sampling(learner, live, self.tokenizer, (p, rows), p.group, seed);
        let mut course = Course::part(self.ctx, "rollouts", prompts.len() * p.group);
        let step = number * p.updates + 1;
        let asks = (step, self.route.clients().calls());
        let groups = self
            .source
            .groups(self.ctx, &mut sampling, &prompts, &mut course, asks);
        let (groups, gap) = groups.map_err(|error| match error.downcast_ref::<NotFinite>() {
            Some(found) => anyhow::Error::from(broken(found, &prompts, step)),
            None => error,
        })?;
        let responses = sampling.responses(&groups)?;
        let judged = of_groups(&prompts, &responses);
        let mut observer = NodeObserver {
            others: self.source.calls(),
            ..reward::observer(self.ctx)
        };
        let scored = self.route.score_all(&judged, &mut observer)?;
        let mut scored = scored.into_iter();
        let mut rollouts = vec![];
        for (prompt, group) in prompts.iter().zip(&groups) {
            for (sample, scored) in group.samples.iter().zip(scored.by_ref()) {
                rollouts.push(self.rollout(prompt, &group.asked.ids, sample, scored)?);
            }
        }
        if p.kl.applied_to == AppliedTo::Reward && p.kl.coefficient > 0.0 {
            self.penalise(&mut rollouts, learner)?;
        }
        let compared: Vec<Option<f64>> = rollouts
            .iter()
            .map(|r| Some(r.reward? - r.kl_penalty.unwrap_or(0.0)))
            .collect();
        let advantages =
            advantage::advantages(&compared, p.group, p.advantage, p.advantage_epsilon)?;
        let dropped: Vec<bool> = compared
            .chunks(p.group)
            .flat_map(|group| {
                let drop = p.zero_variance == ZeroVariance::Drop && advantage::flat(group);
                vec![drop; group.len()]
            })
            .collect();
        for (rollout, dropped) in rollouts.iter_mut().zip(&dropped) {
            if *dropped {
                rollout.row.mask.fill(false);
            }
        }
        let mut metrics = metrics(&rollouts, &compared, p.group);
        metrics.extend(gap.iter().flat_map(measures::of_gap));
        // A masked rollout stays, since it counts where rows are counted; a dropped one is as if never asked. Where no
        // token is left, nothing stays and the step is skipped.
        let any = rollouts.iter().any(|r| r.row.scored() > 0);
        let mut stays = dropped.iter().map(|dropped| any && !dropped);
        let kept: Vec<(Rollout, f32)> = rollouts
            .into_iter()
            .zip(advantages)
            .filter(|_| stays.next().unwrap_or(false))
            .collect();
        let (rollouts, advantages) = kept.into_iter().unzip();
        self.batch_of(rollouts, advantages, metrics, learner)
    }

    /// Says that rollouts are read once more.
    fn read(&self, rows: usize) {
        let note = format!("log-probabilities of {rows} rollouts");
        self.ctx.progress_part(&note);
    }

    /// Takes the KL to the reference off the rewards, by the sampler's log-probabilities.
    fn penalise(&self, rollouts: &mut [Rollout], learner: &mut dyn Learner) -> Result<()> {
        let rows: Vec<Row> = rollouts.iter().map(|r| r.row.clone()).collect();
        let temperature = self.p.temperature as f32;
        self.read(rows.len());
        let reference = learner.score(Policy::Reference, &rows, temperature)?;
        for (rollout, reference) in rollouts.iter_mut().zip(reference) {
            // A masked rollout has no scored token and no reward to take from.
            if !reference.is_empty() {
                let kl = grpo::kl_sum(&options(self.p), &rollout.sampler, &reference);
                rollout.kl_penalty = Some(self.p.kl.coefficient * kl);
            }
            rollout.reference = reference;
        }
        Ok(())
    }

    /// Adds the log-probabilities that the objective compares with.
    fn batch_of(
        &self,
        rollouts: Vec<Rollout>,
        advantages: Vec<f32>,
        metrics: Vec<(String, f64)>,
        learner: &mut dyn Learner,
    ) -> Result<Batch> {
        let p = self.p;
        let of_trained = |list: fn(&Rollout) -> &Vec<f32>| -> PerToken {
            let own = |r: &Rollout| match r.row.scored() {
                0 => vec![],
                _ => list(r).clone(),
            };
            rollouts.iter().map(own).collect()
        };
        let sampler = of_trained(|r| &r.sampler);
        let penalised = of_trained(|r| &r.reference);
        let rows: Vec<Row> = rollouts.into_iter().map(|r| r.row).collect();
        let mut score = |policy| {
            self.read(rows.len());
            learner.score(policy, &rows, p.temperature as f32)
        };
        let old = (p.updates > 1).then(|| score(Policy::Live)).transpose()?;
        let reference = match p.kl.applied_to {
            _ if p.kl.coefficient == 0.0 => None,
            AppliedTo::Loss => Some(score(Policy::Reference)?),
            AppliedTo::Reward => Some(penalised),
        };
        Ok(Batch {
            rows,
            advantages,
            old,
            reference,
            sampler,
            metrics,
        })
    }

    /// The prompts of a step: every epoch in an order that its number decides; an incomplete last batch is dropped.
    fn prompts_of(&self, number: u64) -> Vec<Prompt> {
        let size = self.p.batch.min(self.prompts.len());
        let batches = (self.prompts.len() / size) as u64;
        let mut order: Vec<usize> = (0..self.prompts.len()).collect();
        Seed::new(self.p.seed)
            .child("order")
            .at(number / batches)
            .rng()
            .shuffle(&mut order);
        let first = (number % batches) as usize * size;
        order[first..first + size]
            .iter()
            .map(|i| self.prompts[*i].clone())
            .collect()
    }

    fn rollout(
        &self,
        prompt: &Prompt,
        prompt_ids: &[u32],
        sample: &Sample,
        scored: Scored,
    ) -> Result<Rollout> {
        let unscorable = scored.value.is_none();
        let reward = self.p.worth(scored.value, sample.finished, &prompt.id)?;
        let mut ids = prompt_ids.to_vec();
        ids.extend(&sample.ids);
        let mask = (0..ids.len())
            .map(|i| reward.is_some() && i >= prompt_ids.len())
            .collect();
        Ok(Rollout {
            class: prompt.class,
            row: Row { ids, mask },
            sampler: sample.logps.clone(),
            finished: sample.finished,
            reward,
            unscorable,
            kl_penalty: None,
            reference: vec![],
            scores: scored.scores,
        })
    }
}

pub(super) fn sampling<'a>(
    learner: &'a mut dyn Learner,
    policy: Policy,
    tokenizer: &'a Tokenizer,
    (p, batch_rows): (&Params, usize),
    samples: usize,
    seed: Seed,
) -> Sampling<'a> {
    Sampling {
        learner,
        policy,
        tokenizer,
        samples,
        system: None,
        prefills: None,
        options: Options {
            batch_rows,
            ..model_io::plain(tokenizer, p.temperature, p.max_new_tokens)
        },
        seed,
    }
}

/// The responses to each prompt, one prompt after another.
pub(super) fn of_groups<'a>(prompts: &'a [Prompt], groups: &'a [Vec<String>]) -> Vec<Judged<'a>> {
    let each = prompts.iter().zip(groups);
    each.flat_map(|(prompt, group)| group.iter().map(|r| Judged::of_prompt(prompt, r)))
        .collect()
}

fn options(p: &Params) -> grpo::Options {
    grpo::Options {
        aggregation: p.aggregation,
        ratio: p.ratio,
        clip_low: p.clip.low,
        clip_high: p.clip.high,
        delta: p.clip.delta,
        dual_clip: p.clip.dual,
        kl: p.kl.estimator,
        // Taken off the reward it is only measured here.
        beta: match p.kl.applied_to {
            AppliedTo::Loss => p.kl.coefficient,
            AppliedTo::Reward => 0.0,
        },
        kl_times_ratio: p.kl.times_ratio,
        log_clamp: p.log_ratio_clamp,
        kl_clamp: p.kl.clamp,
        entropy: p.entropy_coefficient,
    }
}
