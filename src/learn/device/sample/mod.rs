//! The sampler on a device: completions of prompts, many rows at a time (see `learn::sample`, whose rules these are).
//!
//! A prompt is computed once for all of its samples, which share its keys and values. Every row under way takes one token a
//! step; a row that ends leaves its pages of the cache to the next sample, and a sample begins when there are pages for the length
//! that samples so far let expect, at first the whole. Where pages run out, those that younger rows were promised and have not
//! reached are taken, then those of a prompt that waits for samples to begin; then the youngest rows leave theirs to older ones, and
//! are computed again when there are pages for their whole length. Token t of sample s is drawn with the number that the CPU's
//! sampler draws it with. Adapters stay products of their own.
//!
//! A device gives the same bytes for the same requests, options and size of the cache. Unlike the CPU's, a row's bits depend on
//! the width of a step, and on the prompts that are computed with its own: the sums of a product follow its shape. Widths are few
//! (`decode::width`), so that one row more or less mostly changes none; where plain operations compute attention, rows of one
//! prompt are one factor and change it too.

mod attend;
mod begin;
mod cache;
mod decode;
mod draw;
pub(super) mod pages;
pub(super) mod prompts;
mod rows;
mod seen;
pub(super) mod size;

use anyhow::Result;
use begin::{Left, Waiting};
use cache::Cache;
use candle_core::Tensor;
pub use decode::width;
use draw::Ask;
use pages::Table;
pub use pages::Used;
use rows::At;
use size::Size;

use crate::device::head;
use crate::device::net::Net;
use crate::device::ragged::Workspace;
use crate::sample::forecast::Tally;
use crate::sample::{self, NotFinite, Options, Request, Sample, Stopped};

/// Samples that have ended before it is believed how long they are.
const FEW: usize = 8;

/// While others go on, samples begin once so great a part of the rows is free: prompts are worth being computed together.
const ROOM: usize = 8;

/// Samples of every request, in the order of requests and sample numbers. `on_progress` gets what there is so far after every
/// step; `stop` is asked before every step. What it took of the cache is `workspace.used` then.
///
/// Errors: those of `learn::sample::sample`, and the device's.
pub fn sample(
    net: Net,
    requests: &[Request],
    options: &Options,
    on_progress: &mut (dyn FnMut(&Tally) + Send),
    stop: &(dyn Fn() -> bool + Sync),
    workspace: &mut Workspace,
) -> Result<Vec<Vec<Sample>>> {
    let config = net.config();
    sample::check(config, requests, options)?;
    let total: usize = requests.iter().map(|r| r.samples).sum();
    if total == 0 {
        return Ok(requests.iter().map(|_| vec![]).collect());
    }
    let lengths = || requests.iter().map(|r| (r.prompt.len(), r.samples));
    let limit = options.max_new_tokens;
    let size = Size::of(lengths, (options.batch_rows, limit), config.heads as u64);
    let pages = size.pages(cache::page(net), workspace.cache_bytes);
    let most = size.rows as usize;
    let mut run = Run {
        net,
        requests,
        options,
        workspace,
        tally: Tally::new(sample::costs(config), lengths(), limit, (1, most)),
        on_progress,
        stop,
        cache: Cache::new(net, pages as usize)?,
        most,
        rows: vec![],
        waiting: Waiting::new(requests),
        done: requests.iter().map(|r| vec![None; r.samples]).collect(),
    };
    let ended = run.all();
    run.workspace.used = run.cache.used();
    ended?;
    assert_eq!(
        run.cache.pool.held(),
        0,
        "whoever ends gives its pages back"
    );
    let samples = |of: Vec<Option<Sample>>| of.into_iter().flatten().collect();
    Ok(run.done.into_iter().map(samples).collect())
}

/// A sample under way.
struct Row {
    request: usize,
    number: usize,
    /// Prompt and own tokens, kept where a penalty asks for them.
    seen: Vec<u32>,
    table: Table,
    sample: Sample,
}

struct Run<'a> {
    net: Net<'a>,
    requests: &'a [Request],
    options: &'a Options,
    workspace: &'a mut Workspace,
    tally: Tally,
    on_progress: &'a mut (dyn FnMut(&Tally) + Send),
    stop: &'a (dyn Fn() -> bool + Sync),
    cache: Cache,
    /// Rows at once.
    most: usize,
    /// In the order in which they began.
    rows: Vec<Row>,
    waiting: Waiting<'a>,
    /// [request][sample].
    done: Vec<Vec<Option<Sample>>>,
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        loop {
            self.ask()?;
            self.begin()?;
            self.retire();
            if self.rows.is_empty() {
                match self.waiting.any() {
                    true => continue,
                    false => return Ok(()),
                }
            }
            self.ask()?;
            self.step()?;
            self.retire();
        }
    }

    fn ask(&self) -> Result<()> {
        match (self.stop)() {
            true => Err(Stopped.into()),
            false => Ok(()),
        }
    }

    fn report(&mut self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally);
        (self.on_progress)(&self.tally);
    }

    /// As many samples as there is room for.
    fn begin(&mut self) -> Result<()> {
        let free = self.most - self.rows.len();
        if free < self.most.div_ceil(ROOM) && !self.rows.is_empty() {
            return Ok(());
        }
        loop {
            let (free, at_once) = (self.most - self.rows.len(), self.at_once());
            let lengths = (self.expected(), self.options.max_new_tokens);
            let pool = &mut self.cache.pool;
            let groups = self.waiting.take(pool, free, at_once, lengths);
            if groups.is_empty() {
                if !self.rows.is_empty() || !self.waiting.any() {
                    return Ok(());
                }
                let freed = self.waiting.forget(&mut self.cache.pool);
                assert!(freed, "the longest row has its pages where it is alone");
                continue;
            }
            let from = self.rows.len();
            let (mut logits, mut of_prompt) = (vec![], vec![]);
            let (tally, on_progress) = (&mut self.tally, &mut *self.on_progress);
            let told = |length| {
                tally.computed(length);
                on_progress(tally);
            };
            let (cache, workspace) = (&self.cache, &mut *self.workspace);
            let waiting = &mut self.waiting;
            let computed = waiting.computed(&groups, self.net, cache, workspace, told)?;
            for (i, (mut group, prompt)) in groups.into_iter().zip(computed).enumerate() {
                self.waiting.lay(&mut group, &prompt, &mut self.cache)?;
                logits.push(prompt.logits.clone());
                of_prompt.resize(of_prompt.len() + group.tables.len(), i as u32);
                self.waiting.keep(&group, prompt, &mut self.cache.pool);
                for (n, table) in group.tables.into_iter().enumerate() {
                    let again = group.again.take();
                    self.report(|tally| match again {
                        None => tally.begun(),
                        Some(_) => tally.tokens += 1,
                    });
                    let row = self.row(group.request, group.first + n, table, again);
                    self.rows.push(row);
                }
            }
            let logits = Tensor::cat(&logits, 0)?;
            let of_prompt = Tensor::from_slice(&of_prompt, of_prompt.len(), self.net.device())?;
            self.choose(from, |first, n| {
                logits.index_select(&of_prompt.narrow(0, first, n)?, 0)
            })?;
            self.ask()?;
        }
    }

    /// `again`: what it says so far.
    fn row(&self, request: usize, number: usize, table: Table, again: Option<Sample>) -> Row {
        let sample = again.unwrap_or(Sample {
            ids: vec![],
            logps: vec![],
            finished: false,
        });
        Row {
            request,
            number,
            seen: match self.options.choice.penalises() {
                true => [&self.requests[request].prompt[..], &sample.ids].concat(),
                false => vec![],
            },
            table,
            sample,
        }
    }

    /// Tokens that a sample which begins has pages for: half as many more than samples so far have on average, those under way and those
    /// that left among them, once a few have ended.
    fn expected(&self) -> usize {
        let most = self.options.max_new_tokens;
        match self.tally.ended {
            ended if ended < FEW => most,
            ended => {
                let begun = ended + self.rows.len() + self.waiting.left().len();
                let mean = self.tally.tokens.div_ceil(begun);
                (mean + mean / 2).clamp(1, most)
            }
        }
    }

    /// Every row has the page of its last token. Where none is to spare, the youngest of the younger rows that were promised one gives
    /// that up; where none was, a prompt is forgotten that holds one alone; else the youngest row leaves its pages, which may be the row
    /// itself.
    fn reach(&mut self) {
        let mut i = 0;
        while let Some(row) = self.rows.get_mut(i) {
            let (position, pool) = (row.position(self.requests), &mut self.cache.pool);
            if pool.reach(&mut row.table, position) {
                i += 1;
                continue;
            }
            let mut younger = self.rows[i + 1..].iter_mut().rev();
            if younger.any(|row| pool.take_back(&mut row.table)) || self.waiting.forget(pool) {
                continue;
            }
            let youngest = self.rows.pop().expect("a row wants a page");
            pool.end(youngest.table);
            pool.left += 1;
            self.waiting.leave(Left {
                request: youngest.request,
                number: youngest.number,
                sample: youngest.sample,
            });
        }
    }

    /// Rows whose logits exist at the same time.
    fn at_once(&self) -> usize {
        (self.workspace.logits_at_once / self.net.config().vocab_size).max(1)
    }

    /// One more token for every row.
    fn step(&mut self) -> Result<()> {
        self.reach();
        let rows = self.rows.iter().map(|row| At {
            token: *row.sample.ids.last().expect("a row has its first token"),
            position: row.position(self.requests),
            pages: &row.table.pages,
        });
        let rows: Vec<At> = rows.collect();
        let net = self.net;
        let last = decode::step(net, &self.cache, &rows, self.workspace)?;
        let (width, at_once) = (last.dim(0)?, self.at_once());
        // Of a whole width, so that a row's logits do not hang on how many rows go with it either.
        self.choose(0, |first, n| {
            let rows = last.narrow(0, first, at_once.min(width - first))?;
            head::logits(net.weights, &rows)?.narrow(0, 0, n)
        })?;
        let lengths: Vec<usize> = self.rows.iter().map(Row::length).collect();
        self.report(|tally| tally.step(lengths.iter().copied()));
        Ok(())
    }

    /// Draws the next token of the rows from number `from` on; `logits` gives those of some of them, from a number among these
    /// on, and no more at a time than the workspace has room for.
    fn choose(
        &mut self,
        from: usize,
        logits: impl Fn(usize, usize) -> candle_core::Result<Tensor>,
    ) -> Result<()> {
        let most = self.at_once();
        let Options {
            choice, stop_ids, ..
        } = self.options;
        for (i, rows) in self.rows[from..].chunks_mut(most).enumerate() {
            let asks = rows.iter().map(|row| {
                let position = row.sample.ids.len() as u64;
                let seed = self.requests[row.request].seed;
                Ask {
                    seen: &row.seen,
                    unit: seed.at(row.number as u64).at(position).unit(),
                }
            });
            let asks: Vec<Ask> = asks.collect();
            let drawn = draw::draw(&logits(i * most, asks.len())?, choice, &asks)?;
            for (row, drawn) in rows.iter_mut().zip(drawn) {
                let (token, logp) = drawn.map_err(|value| NotFinite {
                    request: row.request,
                    sample: row.number,
                    step: row.sample.ids.len(),
                    prompt: self.requests[row.request].prompt.len(),
                    value,
                })?;
                row.sample.ids.push(token);
                row.sample.logps.push(logp);
                row.sample.finished = stop_ids.contains(&token);
                if choice.penalises() {
                    row.seen.push(token);
                }
            }
        }
        Ok(())
    }

    /// Moves ended rows to `done`, and gives their pages back.
    fn retire(&mut self) {
        let most = self.options.max_new_tokens;
        let ended = |row: &mut Row| row.sample.finished || row.length() >= most;
        let ended: Vec<Row> = self.rows.extract_if(.., ended).collect();
        for row in ended {
            let (length, by_itself) = (row.length(), row.sample.finished);
            self.cache.pool.end(row.table);
            self.done[row.request][row.number] = Some(row.sample);
            self.report(|tally| tally.ended(length, by_itself));
        }
        let left = self.waiting.left().iter().map(|left| left.sample.ids.len());
        let lengths: Vec<usize> = self.rows.iter().map(Row::length).chain(left).collect();
        self.report(|tally| tally.keeps(0, lengths.into_iter()));
    }
}

impl Row {
    fn length(&self) -> usize {
        self.sample.ids.len()
    }

    /// Of its last token.
    fn position(&self, requests: &[Request]) -> usize {
        requests[self.request].prompt.len() + self.length() - 1
    }
}
