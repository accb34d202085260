//! What a device holds while it samples, and how much of it the cache of keys and values may be. The sampler's cache and a plan are of the
//! same functions.

use super::block::Pass;
use super::buffers::{Buffer, By, Dims, buffer};
use super::{Ledger, Training, logits_at_once, resident, rows_of_logits};
use crate::device::card::Card;
use crate::device::ragged::CACHE;
use crate::device::sample::pages::{PAGE, Page};
use crate::device::sample::prompts::TOGETHER;
use crate::device::sample::size::Size;
use crate::device::sample::width;
use base::device::Place;

/// What a device holds besides while it samples.
#[derive(Clone, Debug)]
pub struct Beside {
    pub buffers: Vec<Buffer>,
    /// What samples has an adapter.
    adapted: bool,
}

impl Beside {
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.bytes).sum()
    }

    /// A model that is asked.
    pub fn asked(model: &Dims, by: By) -> Beside {
        Beside {
            buffers: vec![by.frozen("weights", model)],
            adapted: false,
        }
    }

    /// One in training, between two windows.
    pub fn trained(model: &Dims, how: &Training) -> Beside {
        Beside {
            buffers: resident(model, how),
            adapted: how.adapter > 0,
        }
    }
}

/// What is sampled, and how.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    size: Size,
    by: By,
    /// Of the workspace.
    logits_at_once: u64,
    pub cache_bytes: u64,
}

impl Sampling {
    /// Of prompts of such lengths with so many samples each, of which so many rows go at once, of up to so many tokens each; on such a
    /// device, which has such a memory, with a cache as large as it gives.
    pub fn new<I: Iterator<Item = (usize, usize)>>(
        (place, card): (Place, impl Into<Card>),
        (model, beside): (&Dims, &Beside),
        requests: impl Fn() -> I,
        at_once_and_new: (usize, usize),
    ) -> Sampling {
        let mut how = Sampling {
            size: Size::of(requests, at_once_and_new, model.heads),
            by: place.into(),
            logits_at_once: logits_at_once(place.device),
            cache_bytes: 0,
        };
        how.cache_bytes = match place.device.is_gpu() {
            true => how.cache_of(card.into(), model, beside),
            false => CACHE,
        };
        how
    }

    /// Half of the GPU, and no more than is left beside what stays there and what passes while prompts are computed and a step is, of rows
    /// that leave their pages.
    fn cache_of(&self, card: Card, model: &Dims, beside: &Beside) -> u64 {
        let passing = self.passing(model, &beside.buffers, beside.adapted);
        let left = card.room().saturating_sub(passing.bytes());
        left.min(card.all() / 2)
    }

    /// Samples of a model beside these.
    pub fn ledger(&self, model: &Dims, beside: &Beside) -> Ledger {
        let cache = Buffer {
            what: "cache",
            // And the page that nobody reads.
            bytes: (self.pages(model) + 1) * self.page(model).bytes,
        };
        let stays = [&beside.buffers[..], &[cache]].concat();
        self.passing(model, &stays, beside.adapted)
    }

    fn page(&self, model: &Dims) -> Page {
        Page::new(model.layers, model.kv, self.by.between())
    }

    /// Pages of the sampler's rows.
    fn pages(&self, model: &Dims) -> u64 {
        self.size.pages(self.page(model), self.cache_bytes)
    }

    /// Whether a row may leave its pages: then what it says so far is computed once more with its prompt.
    fn may_leave(&self, model: &Dims) -> bool {
        self.pages(model) < self.size.most
    }

    /// What is computed before the next tokens are drawn: prompts, and rows that left their pages, whose whole lengths a plan takes.
    fn computed<'m>(&self, model: &'m Dims, adapted: bool) -> Pass<'m> {
        let size = &self.size;
        let (tokens, longest) = match self.may_leave(model) {
            false => (size.together, size.prompt),
            true => {
                let left = (size.rows * size.kept).min(TOGETHER as u64);
                (size.together.max(left).max(size.kept), size.kept)
            }
        };
        Pass {
            model,
            by: self.by,
            tokens,
            longest,
            adapted,
        }
    }

    /// Prompts, the first tokens behind them, and a step.
    fn passing(&self, model: &Dims, stays: &[Buffer], adapted: bool) -> Ledger {
        let (size, by) = (&self.size, self.by);
        let pass = self.computed(model, adapted);
        let of_prompts = Buffer {
            what: "keys and values of prompts",
            bytes: pass.tokens * self.page(model).bytes / PAGE as u64,
        };
        let begin = [
            of_prompts,
            pass.states("states before and after a block", 2),
            pass.tape("tape of a block", 1),
            pass.forward(),
            pass.masks(),
        ];
        let width = width(size.rows as usize) as u64;
        let logits = rows_of_logits(model, width, self.logits_at_once) * model.vocabulary;
        // Below their top, and by blocks, where no kernel draws.
        let drawn = if by.kernels { 1 } else { 3 };
        let begun = match self.may_leave(model) {
            true => size.rows,
            false => size.prompts,
        };
        let begun = begun.min(pass.tokens / size.shortest.max(1)).max(1);
        let begun = rows_of_logits(model, begun, self.logits_at_once) * model.vocabulary;
        let first = [
            of_prompts,
            pass.states("last states", 1),
            // As they come, and those of several passes together.
            buffer("logits of prompts", 2 * begun),
            buffer("logits", drawn * logits),
        ];
        let step = Pass {
            tokens: width,
            longest: 1,
            ..pass
        };
        let mut of_step = vec![
            step.states("states before and after a block", 2),
            step.tape("tape of a block", 1),
            step.forward(),
        ];
        of_step.extend(self.of_pages(model, width));
        Ledger::default()
            .with("prompts", stays, &begin)
            .with("first tokens", stays, &first)
            .with("a step", stays, &of_step)
    }

    /// Of attention over the pages of so many rows.
    fn of_pages(&self, model: &Dims, width: u64) -> Vec<Buffer> {
        let seen = width * self.size.longest;
        match self.by.heads(model) {
            true => vec![
                // With the largest score and the sum of each.
                buffer("outputs of pages", seen * (model.q + 2 * model.heads)),
            ],
            false => vec![
                // Scores, below the largest of their page, and exp of that.
                buffer("scores of a step", 3 * seen * model.heads * PAGE as u64),
                // By page, together, and of one page of every row with its weight.
                buffer("outputs of pages", (2 * seen + 2 * width) * model.q),
            ],
        }
    }
}
