//! The sampler on a device: completions of prompts, many rows at a time (see `learn::sample`, whose rules these are).
//!
//! A prompt is computed once for all of its samples. Every row under way has a slot in the cache and takes one token a step; a
//! row that ends leaves its slot to the next sample, and where none waits, half of the slots go as soon as half of them are
//! empty. Token t of sample s is drawn with the number that the CPU's sampler draws it with. Adapters stay products of their own.
//!
//! A device gives the same bytes for the same requests and options. Unlike the CPU's, a row's bits depend on how many rows go
//! with it: the sums of a product follow its shape.

mod cache;
mod decode;
mod draw;
pub(super) mod prompts;

use anyhow::Result;
use cache::Cache;
use candle_core::Tensor;
use draw::Ask;
use prompts::{Prompt, TOGETHER};

use crate::device::head;
use crate::device::net::Net;
use crate::device::ragged::Workspace;
use crate::sample::forecast::Tally;
use crate::sample::{self, NotFinite, Options, Request, Sample, Stopped};

/// candle's kernels count elements in 32 bits; half of that leaves room for what they multiply by.
const ELEMENTS: usize = 1 << 31;

/// While others go on, samples begin once so great a part of the slots is free: prompts are worth being computed together.
const ROOM: usize = 8;

/// Samples of every request, in the order of requests and sample numbers. `on_progress` gets what there is so far after every
/// step; `stop` is asked before every step.
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
    let prompts = requests.iter().map(|r| r.prompt.len());
    let longest = prompts.max().unwrap_or(0) + options.max_new_tokens;
    let line = longest * config.kv_width().max(config.heads);
    let slots = options.batch_rows.min(total).min(ELEMENTS / line).max(1);
    let prompts = requests.iter().map(|r| (r.prompt.len(), r.samples));
    let limit = options.max_new_tokens;
    let mut run = Run {
        net,
        requests,
        options,
        workspace,
        tally: Tally::new(sample::costs(config), prompts, limit, (1, slots)),
        on_progress,
        stop,
        cache: Cache::new(config, slots, longest, net.device())?,
        rows: (0..slots).map(|_| None).collect(),
        next: (0, 0),
        begun: None,
        done: requests.iter().map(|r| vec![None; r.samples]).collect(),
    };
    run.all()?;
    let samples = |of: Vec<Option<Sample>>| of.into_iter().flatten().collect();
    Ok(run.done.into_iter().map(samples).collect())
}

/// A sample under way.
struct Row {
    request: usize,
    number: usize,
    /// Prompt and own tokens, kept where a penalty asks for them.
    seen: Vec<u32>,
    sample: Sample,
}

/// Samples of one prompt that begin together.
struct Group {
    request: usize,
    /// Their slots, and the number of the first of them.
    slots: Vec<usize>,
    first: usize,
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
    /// By slot.
    rows: Vec<Option<Row>>,
    /// The next (request, sample) to begin.
    next: (usize, usize),
    /// A prompt that was computed and has samples to begin.
    begun: Option<(usize, Prompt)>,
    /// [request][sample].
    done: Vec<Vec<Option<Sample>>>,
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        loop {
            self.ask()?;
            self.begin()?;
            self.retire();
            if self.under_way() == 0 {
                match self.waits() {
                    true => continue,
                    false => return Ok(()),
                }
            }
            self.shrink()?;
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

    fn under_way(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    /// Whether a sample has not begun. Steps over requests that have no more.
    fn waits(&mut self) -> bool {
        while let Some(request) = self.requests.get(self.next.0) {
            if self.next.1 < request.samples {
                return true;
            }
            self.next = (self.next.0 + 1, 0);
        }
        false
    }

    /// Fills the free slots.
    fn begin(&mut self) -> Result<()> {
        let free = self.rows.len() - self.under_way();
        if free < self.rows.len().div_ceil(ROOM) && self.under_way() > 0 {
            return Ok(());
        }
        loop {
            let groups = self.take();
            if groups.is_empty() {
                return Ok(());
            }
            let logits = self.prompts(&groups)?;
            let mut slots = vec![];
            let mut of_prompt = vec![];
            for (i, group) in groups.iter().enumerate() {
                for (n, &slot) in group.slots.iter().enumerate() {
                    self.rows[slot] = Some(self.row(group.request, group.first + n));
                    slots.push(slot);
                    of_prompt.push(i as u32);
                    self.report(Tally::begun);
                }
            }
            let of_prompt = Tensor::from_slice(&of_prompt, slots.len(), self.net.device())?;
            self.choose(&slots, |first, n| {
                logits.index_select(&of_prompt.narrow(0, first, n)?, 0)
            })?;
            self.ask()?;
        }
    }

    /// The next samples to begin, which get their slots: no more than are free, nor than prompts that are computed together.
    fn take(&mut self) -> Vec<Group> {
        let rows = self.rows.iter().enumerate();
        let free = rows.filter(|(_, row)| row.is_none()).map(|(slot, _)| slot);
        let mut free = free.collect::<Vec<usize>>().into_iter().peekable();
        let most = (self.workspace.logits_at_once / self.net.config().vocab_size).max(1);
        let (mut groups, mut tokens): (Vec<Group>, usize) = (vec![], 0);
        while free.peek().is_some() && groups.len() < most && self.waits() {
            let (request, first) = self.next;
            let Request {
                prompt, samples, ..
            } = &self.requests[request];
            tokens += prompt.len();
            if tokens > TOGETHER && !groups.is_empty() {
                break;
            }
            let slots: Vec<usize> = free.by_ref().take(samples - first).collect();
            self.next.1 += slots.len();
            groups.push(Group {
                request,
                slots,
                first,
            });
        }
        groups
    }

    /// Computes the prompts of groups that have none yet and lays them into their slots. Gives the logits after each.
    fn prompts(&mut self, groups: &[Group]) -> Result<Tensor> {
        let earlier = self.begun.take();
        let known = |group: &Group| earlier.as_ref().filter(|(of, _)| *of == group.request);
        let new = groups.iter().filter(|group| known(group).is_none());
        let new: Vec<usize> = new.map(|group| group.request).collect();
        let ids: Vec<&[u32]> = new.iter().map(|&i| &self.requests[i].prompt[..]).collect();
        let mut computed = match ids.is_empty() {
            true => vec![],
            false => prompts::compute(self.net, &ids, self.workspace)?,
        }
        .into_iter();
        for length in ids.iter().map(|ids| ids.len()) {
            self.report(|tally| tally.computed(length));
        }
        let mut logits = vec![];
        let mut known = earlier;
        for group in groups {
            let prompt = match known.take() {
                Some((request, prompt)) if request == group.request => prompt,
                _ => computed.next().expect("what was not there was computed"),
            };
            let length = self.requests[group.request].prompt.len();
            self.cache.reach(length)?;
            for (first, count) in runs(&group.slots) {
                for (block, pair) in prompt.blocks.iter().enumerate() {
                    self.cache.begin(block, first, count, pair)?;
                }
            }
            logits.push(prompt.logits.clone());
            if group.first + group.slots.len() < self.requests[group.request].samples {
                self.begun = Some((group.request, prompt));
            }
        }
        Ok(Tensor::cat(&logits, 0)?)
    }

    fn row(&self, request: usize, number: usize) -> Row {
        Row {
            request,
            number,
            seen: match self.options.choice.penalises() {
                true => self.requests[request].prompt.clone(),
                false => vec![],
            },
            sample: Sample {
                ids: vec![],
                logps: vec![],
                finished: false,
            },
        }
    }

    /// One more token for every row.
    fn step(&mut self) -> Result<()> {
        let (mut tokens, mut positions) = (vec![0; self.rows.len()], vec![0; self.rows.len()]);
        let mut slots = vec![];
        for (slot, row) in self.rows.iter().enumerate() {
            let Some(row) = row else { continue };
            tokens[slot] = *row.sample.ids.last().expect("a row has its first token");
            let prompt = self.requests[row.request].prompt.len();
            positions[slot] = (prompt + row.sample.ids.len() - 1) as u32;
            slots.push(slot);
        }
        let (net, cache) = (self.net, &mut self.cache);
        let last = decode::step(net, cache, &tokens, &positions, self.workspace)?;
        let own: Vec<u32> = slots.iter().map(|&slot| slot as u32).collect();
        let own = Tensor::from_slice(&own, own.len(), net.device())?;
        self.choose(&slots, |first, n| {
            let rows = last.index_select(&own.narrow(0, first, n)?, 0)?;
            head::logits(net.weights, &rows, 1.0)
        })?;
        let lengths: Vec<usize> = self.rows.iter().flatten().map(Row::length).collect();
        self.report(|tally| tally.step(lengths.iter().copied()));
        Ok(())
    }

    /// Draws the next token of the rows in these slots; `logits` gives those of some of them, from a number on, and no more at a
    /// time than the workspace has room for.
    fn choose(
        &mut self,
        slots: &[usize],
        logits: impl Fn(usize, usize) -> candle_core::Result<Tensor>,
    ) -> Result<()> {
        let most = (self.workspace.logits_at_once / self.net.config().vocab_size).max(1);
        let Options {
            choice, stop_ids, ..
        } = self.options;
        for (i, slots) in slots.chunks(most).enumerate() {
            let asks = slots.iter().map(|&slot| {
                let row = self.rows[slot].as_ref().expect("a row is in its slot");
                let position = row.sample.ids.len() as u64;
                let seed = self.requests[row.request].seed;
                Ask {
                    seen: &row.seen,
                    unit: seed.at(row.number as u64).at(position).unit(),
                }
            });
            let asks: Vec<Ask> = asks.collect();
            let drawn = draw::draw(&logits(i * most, slots.len())?, choice, &asks)?;
            for (&slot, drawn) in slots.iter().zip(drawn) {
                let row = self.rows[slot].as_mut().expect("a row is in its slot");
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

    /// Moves ended rows to `done`.
    fn retire(&mut self) {
        let most = self.options.max_new_tokens;
        for slot in 0..self.rows.len() {
            let ended = |row: &mut Row| row.sample.finished || row.length() >= most;
            if let Some(row) = self.rows[slot].take_if(ended) {
                let (length, by_itself) = (row.length(), row.sample.finished);
                self.done[row.request][row.number] = Some(row.sample);
                self.report(|tally| tally.ended(length, by_itself));
            }
        }
        let lengths: Vec<usize> = self.rows.iter().flatten().map(Row::length).collect();
        self.report(|tally| tally.keeps(0, lengths.into_iter()));
    }

    /// Halves the slots for as long as half of them are enough and nobody waits for one.
    fn shrink(&mut self) -> Result<()> {
        let (all, under_way) = (self.rows.len(), self.under_way());
        let mut slots = all;
        while slots > 1 && 2 * under_way <= slots {
            slots = slots.div_ceil(2);
        }
        if slots == all || self.waits() {
            return Ok(());
        }
        let (own, empty): (Vec<usize>, Vec<usize>) =
            (0..all).partition(|&slot| self.rows[slot].is_some());
        let kept: Vec<usize> = own.into_iter().chain(empty).take(slots).collect();
        self.cache.keep(&kept)?;
        self.rows = kept.iter().map(|&slot| self.rows[slot].take()).collect();
        Ok(())
    }
}

impl Row {
    fn length(&self) -> usize {
        self.sample.ids.len()
    }
}

/// Slots that follow each other: (first, how many).
fn runs(slots: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = vec![];
    for &slot in slots {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == slot => *count += 1,
            _ => runs.push((slot, 1)),
        }
    }
    runs
}
