//! The model that is attacked, wherever its numbers are: what a search asks of it.

use crate::attack::gradient::{Before, Slope};
use crate::attack::score::{Loss, Options, Score, Scorer, Wanted};
use crate::config::Config;
use crate::decoder::Workspace;
use crate::sample::{self, Request, Sample};
use crate::weights::Weights;
use anyhow::Result;

pub trait Victim {
    fn config(&self) -> &Config;

    /// Prompts that begin as these ids do are expected: what they have in common may be computed once.
    fn rebase(&mut self, ids: &[u32]) -> Result<()>;

    /// What was wanted behind each prompt, in their order.
    ///
    /// Errors: `sample::Stopped`; logits that are no numbers; a prompt without tokens, or with one that the model has not.
    fn score(
        &mut self,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        options: Options,
    ) -> Result<Vec<Score>>;

    /// Tokens that went through the model for scores so far.
    fn computed(&self) -> usize;

    /// The loss of the target behind before + suffix + after, and its gradient at the suffix. Neither suffix nor target is empty.
    fn slope(&mut self, around: [&[u32]; 3], target: &[u32], loss: Loss) -> Result<Slope>;

    /// Samples of one prompt.
    fn sample(
        &mut self,
        request: Request,
        options: &sample::Options,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Sample>>;
}

/// On this machine's cores. What comes before a suffix is gone through once, as long as it is the same.
pub struct Here<'m> {
    weights: &'m Weights,
    scorer: Scorer<'m>,
    before: Option<Before<'m>>,
    workspace: Workspace,
}

impl<'m> Here<'m> {
    /// Lays the weights out: a second copy of every matrix. Errors: a model without a language head.
    pub fn new(weights: &'m Weights) -> Result<Here<'m>> {
        Ok(Here {
            weights,
            scorer: Scorer::new(weights)?,
            before: None,
            workspace: Workspace::new(),
        })
    }
}

impl Victim for Here<'_> {
    fn config(&self) -> &Config {
        &self.weights.config
    }

    fn rebase(&mut self, ids: &[u32]) -> Result<()> {
        self.scorer.rebase(ids)
    }

    fn score(
        &mut self,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        options: Options,
    ) -> Result<Vec<Score>> {
        self.scorer.score(prompts, wanted, options)
    }

    fn computed(&self) -> usize {
        self.scorer.computed()
    }

    fn slope(
        &mut self,
        [before, suffix, after]: [&[u32]; 3],
        target: &[u32],
        loss: Loss,
    ) -> Result<Slope> {
        let (weights, workspace) = (self.weights, &mut self.workspace);
        if let Some(other) = self.before.take_if(|known| known.ids() != before) {
            other.recycle(workspace);
        }
        let known = self
            .before
            .get_or_insert_with(|| Before::new(weights, before, workspace));
        Ok(known.slope(suffix, after, target, loss, &mut self.workspace))
    }

    fn sample(
        &mut self,
        request: Request,
        options: &sample::Options,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Sample>> {
        let samples = sample::sample(self.weights, &[request], options, &mut |_| {}, stop)?;
        Ok(samples.into_iter().flatten().collect())
    }
}
