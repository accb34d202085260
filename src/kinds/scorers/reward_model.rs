//! A reward model on this machine: the number of a sequence classifier for prompt and answer, squashed as the recipe says.
//!
//! With x the model's number: `sigmoid` is 1 / (1 + exp(-x)) (TARS, arXiv 2507.00971, of GRM-llama3-8B-distill), `identity` is
//! x, `z-score` is (x - m) / s with m and s the mean and the standard deviation (n - 1) of the responses that are scored
//! together, 0 where they are all alike. Together are scored the responses of a step (`grpo`), of all held-out prompts
//! (whose mean is then 0 by construction), of a whole `probe` or `preference-pairs`. So a z-score depends on its neighbours,
//! unlike that of Ziegler et al. 2019 (arXiv 1909.08593), who fix m and s once on samples of the reference policy; the two
//! other ones depend on the response alone. A model that gives a number that is not finite is broken, and fails the node.
//!
//! It sees the user's prompt and the answer, control strings neutralised, since the model's template gives them a meaning.

use super::neutral::{self, neutral};
use super::{How, Judged, Meaning, Reads, Scorer, Verdict};
pub use crate::scorers::params::{RewardModelParams, Squash};
use crate::shared::estimate;
use anyhow::{Context, Result, ensure};
use base::stats;
use base::text::count;
use engine::kind::context::Interrupted;
use engine::kind::estimate::{ModelSize, NodePreview, Work};
use learn::learner::Learner;
use learn::reward::{Read, RewardModel};
use learn::weights::Weights;
use std::path::Path;

pub const SCORER: Scorer = Scorer {
    name: "reward_model",
    summary: "number of a local reward model for prompt and answer, through a sigmoid unless `reward_model.squash` says otherwise",
    how: How::Model,
    reads: Reads::Number(Meaning::Wanted),
};

/// Where a node that asks it has it.
pub const PORT: &str = "reward_model";

/// What TARS reads.
const MAX_TOKENS: usize = 4608;

/// What judging so many responses takes, each with its prompt of so many tokens.
pub fn estimate(
    work: &mut Work,
    preview: &NodePreview,
    model: &ModelSize,
    params: &RewardModelParams,
    (rows, length): (f64, f64),
) {
    let length = length.min(params.max_tokens.unwrap_or(MAX_TOKENS) as f64);
    let sequences = estimate::device::Sequences {
        rows,
        length,
        at_once: None,
        kept: 0.0,
    };
    estimate::device::read(work, preview, model, sequences);
}

/// The model with what the recipe says of it; loaded once a node.
pub struct LocalJudge {
    model: RewardModel,
    squash: Squash,
    most: usize,
    tally: Tally,
}

/// What became of the responses that it was asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    pub asked: usize,
    /// Conversations that were longer than it reads.
    pub cut: usize,
    /// Responses whose prompt or answer held control strings.
    pub controlled: usize,
    pub unscorable: usize,
}

impl LocalJudge {
    pub fn load(
        folder: &Path,
        params: &RewardModelParams,
        open: impl FnOnce(Weights) -> Result<Box<dyn Learner>>,
    ) -> Result<LocalJudge> {
        let model = RewardModel::load_with(folder, open)?;
        let most = params.max_tokens.unwrap_or(MAX_TOKENS);
        Ok(LocalJudge {
            squash: params.squashes(),
            most: most.min(model.positions()),
            model,
            tally: Tally::default(),
        })
    }

    /// A verdict for each, in their order. `done` hears how many there are, and says whether to go on.
    pub fn judge(
        &mut self,
        rows: &[Judged],
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<Verdict>> {
        let mut read: Vec<Read> = vec![];
        let mut controls = vec![];
        for judged in rows {
            let (prompt, of_prompt) = neutral(judged.prompt);
            let (answer, of_answer) = neutral(&judged.answer());
            let row = self.model.read(&prompt, &answer, self.most);
            read.push(row.with_context(|| format!("prompt {}", judged.prompt_id))?);
            controls.push(of_prompt + of_answer);
        }
        let numbers = self.model.scores(&read, done)?.ok_or(Interrupted)?;
        for (judged, number) in rows.iter().zip(&numbers) {
            ensure!(
                number.is_finite(),
                "prompt {}: the reward model's number is {number}: it overflows or its weights are broken, so no number of it means \
                 anything",
                judged.prompt_id
            );
        }
        let scores = squashed(&numbers, self.squash);
        self.tally.asked += rows.len();
        self.tally.cut += read.iter().filter(|r| r.cut > 0).count();
        self.tally.controlled += controls.iter().filter(|c| **c > 0).count();
        self.tally.unscorable += scores.iter().filter(|s| s.is_none()).count();
        let each = numbers.iter().zip(scores).zip(controls);
        Ok(each
            .map(|((number, score), controls)| Verdict {
                score,
                words: number.to_string(),
                controls,
                ..Verdict::default()
            })
            .collect())
    }

    /// For the log.
    pub fn log_line(&self) -> String {
        let t = self.tally;
        format!(
            "`reward_model` scored {}: {} longer than {} tokens with the prompt and cut there, {} unscorable{}",
            count(t.asked as u64, "answer", "answers"),
            t.cut,
            self.most,
            t.unscorable,
            neutral::told(t.controlled)
        )
    }
}

/// None of numbers that are not finite.
pub fn squashed(numbers: &[f32], squash: Squash) -> Vec<Option<f64>> {
    let finite = |x: &f32| Some(f64::from(*x)).filter(|x| x.is_finite());
    let numbers: Vec<Option<f64>> = numbers.iter().map(finite).collect();
    let known: Vec<f64> = numbers.iter().copied().flatten().collect();
    let mean = stats::mean(&known).unwrap_or(0.0);
    let alike = known.windows(2).all(|pair| pair[0] == pair[1]);
    let sd = stats::sd(&known).filter(|_| !alike);
    let one = |x: f64| match squash {
        Squash::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Squash::Identity => x,
        Squash::ZScore => sd.map_or(0.0, |sd| (x - mean) / sd),
    };
    numbers.into_iter().map(|x| x.map(one)).collect()
}
