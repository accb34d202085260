//! The feed of GRPO: prompts of a step, rollouts of the live weights, rewards, advantages, and what they measure.

use super::{AdvantageScale, Aggregation, Kl, Params, Truncated, sampling};
use crate::base::rng::Seed;
use crate::base::rows::{Prompt, PromptClass};
use crate::engine::worker::NodeCtx;
use crate::kinds::model_io::{self, Sampling};
use crate::kinds::reward::Route;
use crate::kinds::scorers::Judged;
use crate::learn::adapter::Net;
use crate::learn::decoder::Workspace;
use crate::learn::objective::advantage::{self, Scale};
use crate::learn::objective::grpo::{self, GrpoWindow};
use crate::learn::sample::Sample;
use crate::learn::tokenizer::Tokenizer;
use crate::learn::train::{self, Feed, Goal, Row, Window};
use crate::learn::weights::Weights;
use anyhow::Result;
use std::collections::BTreeMap;

/// The feed: prompts of the step, rollouts of the live weights, rewards, advantages.
pub struct Rollouts<'r> {
    pub ctx: &'r NodeCtx,
    pub tokenizer: &'r Tokenizer,
    /// Where training began, for the KL; None: the frozen weights below the adapter.
    pub reference: Option<&'r Weights>,
    pub route: &'r Route,
    pub prompts: &'r [Prompt],
    pub p: &'r Params,
}

/// A rollout with what came of it.
struct Rollout {
    row: Row,
    reward: f64,
    /// Whether its tokens are trained on.
    trained: bool,
    scores: BTreeMap<&'static str, f64>,
}

impl Feed for Rollouts<'_> {
    fn window<'a>(
        &'a mut self,
        step: u64,
        net: Net,
        workspace: &mut Workspace,
    ) -> Result<Window<'a>> {
        let p = self.p;
        let batch = self.batch(step);
        let tokenizer = self.tokenizer;
        let seed = Seed::new(p.seed).child("rollouts").at(step);
        let sampling = sampling(net, tokenizer, p, p.group, seed);
        let groups = sampling.groups(self.ctx, &batch, &mut |_| {})?;

        let mut rollouts = vec![];
        for (prompt, group) in batch.iter().zip(&groups) {
            let prompt_ids = model_io::prompt_ids(tokenizer, &prompt.prompt, None)?;
            for sample in group {
                rollouts.push(self.rollout(prompt, &prompt_ids, sample, &sampling)?);
            }
        }
        let rewards: Vec<Option<f64>> = rollouts
            .iter()
            .map(|r| r.trained.then_some(r.reward))
            .collect();
        let scale = match p.advantage_scale {
            AdvantageScale::Group => Scale::Group,
            AdvantageScale::Batch => Scale::Batch,
            AdvantageScale::None => Scale::None,
        };
        let advantages = advantage::advantages(&rewards, p.group, scale, p.advantage_epsilon)?;
        let metrics = metrics(&batch, &rollouts, &groups, p.group);
        let rows: Vec<Row> = rollouts.into_iter().map(|r| r.row).collect();
        let reference = (p.kl_coefficient > 0.0).then(|| {
            train::reference_logps(
                self.reference.map_or(net.frozen(), Net::from),
                &rows,
                p.temperature as f32,
                workspace,
            )
        });
        let window = grpo::Window {
            rows: rows.len(),
            tokens: rows.iter().map(Row::scored).sum(),
            micro_batches: train::micro_batches(&rows, 1).len(),
            max_length: p.max_new_tokens,
        };
        let objective = GrpoWindow {
            options: options(p),
            window,
            advantages,
            reference,
            sums: Default::default(),
        };
        Ok(Window {
            rows,
            goal: Goal::Logp(Box::new(objective)),
            metrics,
        })
    }
}

impl Rollouts<'_> {
    /// The prompts of a step: every epoch in an order that its number decides; an incomplete last batch is dropped.
    fn batch(&self, step: u64) -> Vec<Prompt> {
        let size = self.p.batch.min(self.prompts.len());
        let batches = (self.prompts.len() / size) as u64;
        let mut order: Vec<usize> = (0..self.prompts.len()).collect();
        Seed::new(self.p.seed)
            .child("order")
            .at(step / batches)
            .rng()
            .shuffle(&mut order);
        let first = (step % batches) as usize * size;
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
        sampling: &Sampling,
    ) -> Result<Rollout> {
        let response = sampling.response(sample)?;
        let reward = self.route.reward(&Judged::of_prompt(prompt, &response))?;
        let trained = sample.finished || self.p.truncated != Truncated::Mask;
        let mut ids = prompt_ids.to_vec();
        ids.extend(&sample.ids);
        let mask = (0..ids.len())
            .map(|i| trained && i >= prompt_ids.len())
            .collect();
        let penalised = !sample.finished && self.p.truncated == Truncated::Penalise;
        let value = if penalised { 0.0 } else { reward.value };
        Ok(Rollout {
            row: Row { ids, mask },
            reward: value,
            trained,
            scores: reward.scores,
        })
    }
}

fn options(p: &Params) -> grpo::Options {
    grpo::Options {
        aggregation: match p.aggregation {
            Aggregation::TokenMean => grpo::Aggregation::Dapo,
            Aggregation::SequenceMean => grpo::Aggregation::Grpo,
            Aggregation::DrGrpo => grpo::Aggregation::DrGrpo,
        },
        clip_low: p.clip_low,
        clip_high: p.clip_high,
        kl: match p.kl {
            Kl::K1 => grpo::Kl::K1,
            Kl::K2 => grpo::Kl::K2,
            Kl::K3 => grpo::Kl::K3,
        },
        beta: p.kl_coefficient,
        entropy: p.entropy_coefficient,
        ..grpo::Options::default()
    }
}

/// TRL's names where TRL has one.
fn metrics(
    batch: &[Prompt],
    rollouts: &[Rollout],
    groups: &[Vec<Sample>],
    group: usize,
) -> Vec<(String, f64)> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let rewards: Vec<f64> = rollouts.iter().map(|r| r.reward).collect();
    let average = mean(&rewards);
    let spread = mean(
        &rewards
            .iter()
            .map(|r| (r - average).powi(2))
            .collect::<Vec<_>>(),
    )
    .sqrt();
    let flat = rewards
        .chunks(group)
        .filter(|g| g.iter().all(|r| r == &g[0]))
        .count();
    let lengths: Vec<f64> = groups
        .iter()
        .flatten()
        .map(|s| s.ids.len() as f64)
        .collect();
    let cut: Vec<f64> = groups
        .iter()
        .flatten()
        .map(|s| f64::from(!s.finished))
        .collect();
    let mut out = vec![
        ("reward".to_string(), average),
        ("reward_std".to_string(), spread),
        (
            "frac_reward_zero_std".to_string(),
            flat as f64 / groups.len() as f64,
        ),
        ("completions/mean_length".to_string(), mean(&lengths)),
        (
            "completions/min_length".to_string(),
            lengths.iter().copied().fold(f64::MAX, f64::min),
        ),
        (
            "completions/max_length".to_string(),
            lengths.iter().copied().fold(0.0, f64::max),
        ),
        ("completions/clipped_ratio".to_string(), mean(&cut)),
        (
            "num_tokens".to_string(),
            rollouts.iter().map(|r| r.row.ids.len() as f64).sum(),
        ),
    ];
    for class in PromptClass::ALL {
        let of_class: Vec<f64> = batch
            .iter()
            .zip(rewards.chunks(group))
            .filter(|(prompt, _)| prompt.class == class)
            .flat_map(|(_, group)| group.iter().copied())
            .collect();
        if !of_class.is_empty() {
            out.push((format!("reward/{}", class.word()), mean(&of_class)));
        }
    }
    let mut by_scorer: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, score) in rollouts.iter().flat_map(|r| &r.scores) {
        by_scorer.entry(name).or_default().push(*score);
    }
    out.extend(
        by_scorer
            .iter()
            .map(|(name, scores)| (format!("rewards/{name}/mean"), mean(scores))),
    );
    out
}
