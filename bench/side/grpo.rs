//! A step of GRPO as the node kind `grpo` takes it: rollouts, rewards, advantages, the reference where the KL has a
//! weight, gradient, update.

use crate::rollout::rollouts;
use crate::work::Where;
use crate::{driven, turns, work};
use anyhow::Result;
use pipe::base::rng::Seed;
use pipe::learn::batch::{Row, micro_batches};
use pipe::learn::learner::{Learner, Policy};
use pipe::learn::objective::Goal;
use pipe::learn::objective::advantage::{Advantage, advantages};
use pipe::learn::objective::grpo::{self, GrpoObjective, Options};
use pipe::learn::train::{Feed, State, Window};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Instant;

#[derive(Deserialize)]
pub struct Work {
    config: Value,
    prompts: usize,
    group: usize,
    prompt: usize,
    new: usize,
    beta: f64,
    #[serde(flatten)]
    on: Where,
}

pub fn serve(work: Work) -> Result<()> {
    let weights = work::weights(&work.config)?;
    let on = work.on.clone();
    let mut feed = Rollouts {
        prompts: work::ids(work.prompts, work.prompt, weights.config.vocab_size),
        work,
    };
    let about = json!({"parameters": weights.layout.len()});
    let learner = on.trained(weights, true)?;
    turns::ready(about);
    driven::steps(
        State {
            learner,
            skipped: 0,
        },
        &driven::settings(),
        &mut feed,
        &mut |unit| on.unit(unit),
    )
}

struct Rollouts {
    work: Work,
    prompts: Vec<Vec<u32>>,
}

impl Feed for Rollouts {
    fn window<'a>(&'a mut self, step: u64, learner: &mut dyn Learner) -> Result<Window<'a>> {
        let Work {
            group, new, beta, ..
        } = self.work;
        let start = Instant::now();
        let groups = rollouts(learner, &self.prompts, group, new, Seed::new(step))?;
        let rollout = start.elapsed().as_secs_f64();
        let (mut rows, mut rewards, mut sampler) = (vec![], vec![], vec![]);
        for (prompt, samples) in self.prompts.iter().zip(&groups) {
            for sample in samples {
                sampler.push(sample.logps.clone());
                rewards.push(Some(reward(&sample.ids)));
                let ids = [prompt.as_slice(), &sample.ids].concat();
                let mask = (0..ids.len()).map(|i| i >= prompt.len()).collect();
                rows.push(Row { ids, mask });
            }
        }
        let advantages = advantages(&rewards, group, Advantage::Group, 1e-4)?;
        let reference = match beta > 0.0 {
            true => Some(learner.score(Policy::Reference, &rows, 1.0)?),
            false => None,
        };
        let totals = grpo::Totals {
            rows: rows.len(),
            tokens: rows.iter().map(Row::scored).sum(),
            micro_batches: micro_batches(&rows, 1).len(),
            max_length: new,
        };
        let objective = GrpoObjective {
            options: Options {
                beta,
                ..Options::default()
            },
            totals,
            advantages,
            old: None,
            reference,
            sampler: Some(sampler),
            sums: Default::default(),
        };
        Ok(Window {
            rows,
            goal: Goal::Logp(Box::new(objective)),
            metrics: vec![("rollout".into(), rollout)],
        })
    }
}

/// The share of even ids: costs nothing and differs between rollouts.
fn reward(ids: &[u32]) -> f64 {
    ids.iter().filter(|id| **id % 2 == 0).count() as f64 / ids.len() as f64
}
