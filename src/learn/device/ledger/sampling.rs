//! What a device holds while it samples, and how much of it the cache of keys and values may be.

use super::block::{block_forward, masks};
use super::buffers::{Buffer, By, Dims, buffer};
use super::{ADAPTER, Ledger, rows_of_logits};
use crate::device::card;
use crate::device::ragged::CACHE;
use crate::device::sample::pages::{self, PAGE};
use crate::device::sample::{prompts, width};
use base::device::DeviceName;

/// Tokens of prompts that are computed together, unless one has more.
pub const TOGETHER: u64 = prompts::TOGETHER as u64;

/// What is sampled, and how.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Rows under way at once, and how many of them are samples of one prompt.
    pub rows: u64,
    pub samples: u64,
    /// Tokens of the longest prompt, and of a response.
    pub prompt: u64,
    pub written: u64,
    /// Tokens of prompts that are computed together.
    pub together: u64,
    /// Of the workspace.
    pub logits_at_once: u64,
    pub cache_bytes: u64,
    pub by: By,
}

impl Sampling {
    /// Positions of the longest row.
    fn kept(&self) -> u64 {
        pages::kept(self.prompt as usize, self.written as usize) as u64
    }

    /// Pages of the longest row.
    fn longest(&self) -> u64 {
        pages::pages(self.kept() as usize) as u64
    }

    /// Rows under way at once.
    fn rows(&self, model: &Dims) -> u64 {
        pages::rows(self.rows, self.longest(), model.heads)
    }

    /// Pages that all rows want.
    fn wanted(&self, model: &Dims) -> u64 {
        let (samples, rows) = (self.samples.max(1), self.rows(model));
        pages::wanted_of_alike(self.prompt, samples, self.written, rows)
    }

    /// Pages of the sampler's rows.
    fn pages(&self, model: &Dims) -> u64 {
        let page = pages::Page {
            side: PAGE as u64 * model.kv,
            bytes: PAGE as u64 * position(model, self.by),
        };
        page.fit(self.wanted(model), self.longest(), self.cache_bytes)
    }

    /// Tokens that are computed together before the next are drawn, and those of the longest sequence: of prompts, and where a row may
    /// leave its pages, of that row's prompt and all that it says so far.
    fn computed(&self, model: &Dims) -> (u64, u64) {
        let prompts = self.together.max(self.prompt);
        if self.pages(model) >= self.wanted(model) {
            return (prompts, self.prompt);
        }
        let whole = self.kept();
        let left = (self.rows(model) * whole).min(TOGETHER).max(whole);
        (prompts.max(left), whole)
    }
}

/// Bytes of a position's keys and values in all blocks.
fn position(model: &Dims, by: By) -> u64 {
    model.layers * 2 * model.kv * by.between()
}

/// Samples of a model that is asked, or of one in training, whose `beside` are its other buffers.
pub fn sampling(model: &Dims, beside: &[Buffer], how: &Sampling) -> Ledger {
    let mut stays = stays(model, beside, how.by);
    stays.push(Buffer {
        what: "cache",
        // And the page that nobody reads.
        bytes: (how.pages(model) + 1) * PAGE as u64 * position(model, how.by),
    });
    passing(model, &stays, how)
}

/// Bytes of a cache on such a device, at most, whatever `how` says of them. Of a GPU that has so many in all: half of them, and no more
/// than is left beside what stays there and what passes while prompts are computed and a step is, of rows that leave their pages.
pub fn cache_bytes(
    device: DeviceName,
    total: Option<u64>,
    model: &Dims,
    beside: &[Buffer],
    how: &Sampling,
) -> u64 {
    if !device.is_gpu() {
        return CACHE;
    }
    let how = Sampling {
        cache_bytes: 0,
        ..*how
    };
    let others = passing(model, &stays(model, beside, how.by), &how).bytes();
    let left = card::room(total).saturating_sub(others);
    left.min(card::all(total) / 2)
}

fn stays(model: &Dims, beside: &[Buffer], by: By) -> Vec<Buffer> {
    match beside.is_empty() {
        true => vec![by.frozen("weights", model)],
        false => beside.to_vec(),
    }
}

/// Prompts, the first tokens behind them, and a step.
fn passing(model: &Dims, stays: &[Buffer], how: &Sampling) -> Ledger {
    let position = position(model, how.by);
    let adapted = stays.iter().any(|b| b.what == ADAPTER && b.bytes > 0);
    let (prompts, longest) = how.computed(model);
    let block = block_forward(model, how.by, prompts, longest, adapted);
    let of_prompts = Buffer {
        what: "keys and values of prompts",
        bytes: prompts * position,
    };
    let begin = [
        of_prompts,
        buffer(
            "states before and after a block",
            2 * prompts * model.hidden,
        ),
        Buffer {
            bytes: prompts * model.tape(how.by) + block.bytes,
            ..block
        },
        masks(model, how.by, prompts, longest),
    ];
    let rows = how.rows(model);
    let width = width(rows as usize) as u64;
    let logits = rows_of_logits(model, width, how.logits_at_once) * model.vocabulary;
    // Below their top, and by blocks, where no kernel draws.
    let drawn = if how.by.kernels { 1 } else { 3 };
    let begun = (prompts / how.prompt.max(1)).clamp(1, rows.div_ceil(how.samples.max(1)));
    let begun = rows_of_logits(model, begun, how.logits_at_once) * model.vocabulary;
    let first = [
        of_prompts,
        buffer("last states", prompts * model.hidden),
        // As they come, and those of several passes together.
        buffer("logits of prompts", 2 * begun),
        buffer("logits", drawn * logits),
    ];
    let mut step = of_pages(model, how, width);
    step.push(buffer("logits", drawn * logits));
    Ledger::default()
        .with("prompts", stays, &begin)
        .with("first tokens", stays, &first)
        .with("a step", stays, &step)
}

/// Of attention over the pages of so many rows.
fn of_pages(model: &Dims, how: &Sampling, width: u64) -> Vec<Buffer> {
    let seen = width * how.longest();
    match how.by.heads(model) {
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
