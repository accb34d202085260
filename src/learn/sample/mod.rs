//! The sampler: completions of prompts, many rows at a time.
//!
//! Every thread of rayon's current pool keeps a set of rows and takes each through the whole decoder, one token a step;
//! a row that ends leaves and the next sample enters. Where there are two threads or more for every row, they share
//! the work of the rows instead. A prompt is computed once and shared by its samples. A sample's
//! bits depend on its prompt, its seed, its number and the options alone: not on other rows, `batch_rows` or threads.

pub mod attend;
pub mod cache;
pub mod choose;
pub(crate) mod decode;
pub mod forecast;
mod in_place;
pub mod panels;
mod prompts;
pub mod team;

use crate::adapter::Net;
use crate::config::Config;
use crate::weights::Weights;
use anyhow::{Result, ensure};
use cache::Cache;
use choose::Choice;
use decode::{Buffers, Decoder};
use forecast::{Costs, Tally};
use in_place::InPlace;
pub use prompts::Request;
use prompts::{Prompt, Prompts};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use team::{Team, lead};

#[derive(Clone, Debug)]
pub struct Options {
    pub choice: Choice,
    pub max_new_tokens: usize,
    pub stop_ids: BTreeSet<u32>,
    /// At most this many rows at a time over all threads. It bounds memory and changes no result; fewer are taken
    /// where their keys and values would fall out of the processor's caches.
    pub batch_rows: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The stop token included.
    pub ids: Vec<u32>,
    /// Log-probability of each id under the temperature, over the whole vocabulary (see `Choice::pick`).
    pub logps: Vec<f32>,
    /// False where `max_new_tokens` ended it.
    pub finished: bool,
}

/// The error of a run that `stop` ended.
#[derive(Debug)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sampling was stopped")
    }
}
impl std::error::Error for Stopped {}

/// The error of a model that gives no numbers to choose by: whatever it would say means nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFinite {
    /// Which request it was, of which sample, and how many tokens that had.
    pub request: usize,
    pub sample: usize,
    pub step: usize,
    /// Of the prompt.
    pub prompt: usize,
    pub value: f32,
}

impl std::fmt::Display for NotFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NotFinite {
            sample,
            step,
            prompt,
            value,
            ..
        } = self;
        write!(
            f,
            "a logit is {value} where token {} of sample {sample} is chosen, after a prompt of {prompt} tokens: the model \
             overflows or its weights are broken, so nothing that it says means anything",
            step + 1
        )
    }
}
impl std::error::Error for NotFinite {}

/// Why a team's work ended early.
enum Halt {
    Stopped,
    NotFinite(NotFinite),
}

impl From<Halt> for anyhow::Error {
    fn from(halt: Halt) -> anyhow::Error {
        match halt {
            Halt::Stopped => Stopped.into(),
            Halt::NotFinite(found) => found.into(),
        }
    }
}

/// Numbers of logits a thread holds at once. Whoever computes them in parts reads the head's matrix once for each.
const LOGITS: usize = 1 << 22;

/// Until a twentieth of the rows has ended, or one could have, no more than this part of the rows goes at a time where others wait
/// for their turn: so it is soon known how long rows are, and with it how long the rest takes, for less than a hundredth of the time.
const FIRST: usize = 3;
const ENOUGH: usize = 20;

/// Samples of every request, in the order of requests and sample numbers. `on_progress` gets what there is so far, from whichever
/// thread made a step; `stop` is asked before every step.
///
/// Errors: `Stopped`; `NotFinite`; an empty prompt or a token outside the vocabulary; options out of range; a model without
/// a language head.
pub fn sample<'n>(
    net: impl Into<Net<'n>>,
    requests: &[Request],
    options: &Options,
    on_progress: &mut (dyn FnMut(&Tally) + Send),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Vec<Sample>>> {
    let net = net.into();
    check(net.config(), requests, options)?;
    let decoder = Decoder::new(net, longest(requests) + options.max_new_tokens)?;
    run(&decoder, requests, options, on_progress, stop)
}

/// The same, of a model that nobody else reads meanwhile: without a second copy of its matrices, where these allow it.
pub fn sample_alone(
    weights: &mut Weights,
    requests: &[Request],
    options: &Options,
    on_progress: &mut (dyn FnMut(&Tally) + Send),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Vec<Sample>>> {
    check(&weights.config, requests, options)?;
    if !InPlace::possible(weights) {
        return sample(&*weights, requests, options, on_progress, stop);
    }
    let laid_out = InPlace::new(weights);
    let decoder = Decoder::of(&laid_out, longest(requests) + options.max_new_tokens);
    run(&decoder, requests, options, on_progress, stop)
}

/// Tokens of the longest prompt.
fn longest(requests: &[Request]) -> usize {
    requests.iter().map(|r| r.prompt.len()).max().unwrap_or(0)
}

fn run(
    decoder: &Decoder,
    requests: &[Request],
    options: &Options,
    on_progress: &mut (dyn FnMut(&Tally) + Send),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Vec<Sample>>> {
    let longest = longest(requests);
    let total: usize = requests.iter().map(|r| r.samples).sum();
    let threads = rayon::current_num_threads();
    let rows = options.batch_rows.min(total);
    let together = 2 * rows <= threads;
    let (teams, width) = if together {
        (1, rows)
    } else {
        let fitting = decoder.fitting_rows(longest, options.max_new_tokens);
        let teams = threads.min(rows);
        (teams, rows.div_ceil(teams).min(fitting))
    };
    let prompts = requests.iter().map(|r| (r.prompt.len(), r.samples));
    let at_once = (teams, teams * width);
    let tally = Tally::new(
        costs(decoder.config()),
        prompts,
        options.max_new_tokens,
        at_once,
    );
    let shared = Shared {
        decoder,
        requests,
        options,
        prompts: Prompts::new(decoder, requests),
        progress: Mutex::new((tally, on_progress)),
        total,
        width,
        first: match total > teams * width && !options.stop_ids.is_empty() {
            true => width.div_ceil(FIRST),
            false => width,
        },
        stop,
    };
    let parts: Vec<Vec<Done>> = if together {
        vec![lead(threads, |team| shared.work(0, team))?]
    } else {
        (0..teams)
            .into_par_iter()
            .with_max_len(1)
            .map(|place| shared.work(place, &Team::alone()))
            .collect::<Result<_, Halt>>()?
    };
    let mut all: Vec<Done> = parts.into_iter().flatten().collect();
    all.sort_by_key(|done| (done.request, done.number));
    let mut samples: Vec<Vec<Sample>> = requests.iter().map(|_| vec![]).collect();
    for done in all {
        samples[done.request].push(done.sample);
    }
    Ok(samples)
}

/// What tokens of this model cost: the head is computed for tokens that are sampled, and every earlier token is attended to.
pub(crate) fn costs(config: &Config) -> Costs {
    let head = (config.vocab_size * config.hidden_size) as f64;
    let attention = (config.qkv_width() + config.q_width()) * config.hidden_size;
    let feed_forward = 3 * config.hidden_size * config.intermediate_size;
    let layers = config.layers as f64;
    let body = layers * (attention + feed_forward) as f64;
    Costs {
        given: body / (body + head),
        context: (body + head) / (layers * 2.0 * config.q_width() as f64),
    }
}

/// Errors: options out of range, a prompt that is none, a model that writes nothing.
pub(crate) fn check(config: &Config, requests: &[Request], options: &Options) -> Result<()> {
    config.expect_language_head()?;
    options.choice.check()?;
    ensure!(options.max_new_tokens > 0, "max_new_tokens is zero");
    ensure!(options.batch_rows > 0, "batch_rows is zero");
    let vocabulary = config.vocab_size;
    for (i, request) in requests.iter().enumerate() {
        ensure!(!request.prompt.is_empty(), "prompt {i} has no tokens");
        if let Some(id) = request.prompt.iter().find(|&&id| id as usize >= vocabulary) {
            anyhow::bail!(
                "prompt {i} holds token {id}, and the model has {vocabulary} embeddings: tokenizer and weights are not of one model"
            );
        }
    }
    Ok(())
}

struct Done {
    request: usize,
    number: usize,
    sample: Sample,
}

/// A sample under way.
struct Row {
    request: usize,
    number: usize,
    prompt: Arc<Prompt>,
    own: Cache,
    /// Prompt and own tokens, kept where a penalty asks for them.
    seen: Vec<u32>,
    sample: Sample,
}

/// What there is so far, and whom to tell.
type Progress<'a> = (Tally, &'a mut (dyn FnMut(&Tally) + Send));

struct Shared<'a> {
    decoder: &'a Decoder<'a>,
    requests: &'a [Request],
    options: &'a Options,
    prompts: Prompts<'a>,
    progress: Mutex<Progress<'a>>,
    /// Rows in all; rows that a team has at most, and at first.
    total: usize,
    width: usize,
    first: usize,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Shared<'_> {
    /// The share of the team at this place.
    fn work(&self, place: usize, team: &Team) -> Result<Vec<Done>, Halt> {
        let mut buffers = Buffers::new(team);
        let (mut rows, mut done, mut free): (Vec<Row>, Vec<Done>, Vec<Cache>) = Default::default();
        let (mut logits, mut last, mut steps) = (vec![], None, 0);
        loop {
            if (self.stop)() {
                return Err(Halt::Stopped);
            }
            let (mut started, width) = (0, self.room(steps));
            while rows.len() < width {
                let next = self.prompts.next(width - rows.len());
                if next.is_empty() {
                    break;
                }
                let computed = |prompt| self.report(&mut |tally| tally.computed(prompt));
                let prompts = self.prompts.take(&next, &mut last, &mut buffers, &computed);
                for ((request, number), prompt) in next.into_iter().zip(prompts) {
                    let own = free
                        .pop()
                        .unwrap_or_else(|| self.decoder.cache(self.options.max_new_tokens));
                    let mut row = Row::new(self, request, number, prompt, own);
                    logits.clear();
                    logits.extend_from_slice(&row.prompt.logits);
                    self.choose(&mut row, &mut logits)?;
                    started += 1;
                    rows.push(row);
                    self.report(&mut Tally::begun);
                }
                if (self.stop)() {
                    return Err(Halt::Stopped);
                }
            }
            self.retire(place, &mut rows, &mut done, &mut free);
            if rows.is_empty() {
                match started {
                    0 => return Ok(done),
                    _ => continue,
                }
            }
            self.step(&mut rows, &mut buffers, &mut logits)?;
            steps += 1;
            self.report(&mut |tally| tally.step(rows.iter().map(Row::length)));
            self.retire(place, &mut rows, &mut done, &mut free);
        }
    }

    /// Rows that a team has at most after so many steps.
    fn room(&self, steps: usize) -> usize {
        if self.first == self.width || steps >= self.options.max_new_tokens {
            return self.width;
        }
        let ended = self
            .progress
            .lock()
            .expect("a progress report does not panic")
            .0
            .ended;
        match ended * ENOUGH < self.total {
            true => self.first,
            false => self.width,
        }
    }

    fn step(
        &self,
        rows: &mut [Row],
        buffers: &mut Buffers,
        logits: &mut Vec<f32>,
    ) -> Result<(), Halt> {
        let mut inputs: Vec<_> = rows
            .iter_mut()
            .map(|row| {
                let last = *row.sample.ids.last().expect("a row has its first token");
                (last, &row.prompt.cache, &mut row.own)
            })
            .collect();
        self.decoder.step(&mut inputs, buffers);
        let v = self.decoder.vocabulary();
        let chunk = (LOGITS / v).max(1);
        for (i, rows) in rows.chunks_mut(chunk).enumerate() {
            let first = i * chunk;
            logits.resize(rows.len() * v, 0.0);
            self.decoder
                .logits(first..first + rows.len(), buffers, logits);
            for (row, logits) in rows.iter_mut().zip(logits.chunks_exact_mut(v)) {
                self.choose(row, logits)?;
            }
        }
        Ok(())
    }

    /// Draws the row's next token.
    fn choose(&self, row: &mut Row, logits: &mut [f32]) -> Result<(), Halt> {
        if let Some(value) = choose::not_finite(logits) {
            return Err(Halt::NotFinite(NotFinite {
                request: row.request,
                sample: row.number,
                step: row.sample.ids.len(),
                prompt: self.requests[row.request].prompt.len(),
                value,
            }));
        }
        let Options {
            choice, stop_ids, ..
        } = self.options;
        let position = row.sample.ids.len() as u64;
        let seed = self.requests[row.request].seed;
        let unit = seed.at(row.number as u64).at(position).unit();
        let (token, logp) = choice.pick(logits, &row.seen, unit);
        row.sample.ids.push(token);
        row.sample.logps.push(logp);
        row.sample.finished = stop_ids.contains(&token);
        if choice.penalises() {
            row.seen.push(token);
        }
        Ok(())
    }

    /// Moves ended rows to `done`.
    fn retire(
        &self,
        place: usize,
        rows: &mut Vec<Row>,
        done: &mut Vec<Done>,
        free: &mut Vec<Cache>,
    ) {
        let before = done.len();
        let mut i = 0;
        while i < rows.len() {
            let sample = &rows[i].sample;
            if !sample.finished && sample.ids.len() < self.options.max_new_tokens {
                i += 1;
                continue;
            }
            let row = rows.swap_remove(i);
            free.push(row.own);
            done.push(Done {
                request: row.request,
                number: row.number,
                sample: row.sample,
            });
        }
        self.report(&mut |tally| {
            for Done { sample, .. } in &done[before..] {
                tally.ended(sample.ids.len(), sample.finished);
            }
            tally.keeps(place, rows.iter().map(Row::length));
        });
    }

    fn report(&self, change: &mut dyn FnMut(&mut Tally)) {
        let mut progress = self
            .progress
            .lock()
            .expect("a progress report does not panic");
        let (tally, on_progress) = &mut *progress;
        change(tally);
        on_progress(tally);
    }
}

impl Row {
    fn length(&self) -> usize {
        self.sample.ids.len()
    }

    fn new(
        shared: &Shared,
        request: usize,
        number: usize,
        prompt: Arc<Prompt>,
        mut own: Cache,
    ) -> Row {
        own.len = 0;
        let seen = match shared.options.choice.penalises() {
            true => shared.requests[request].prompt.clone(),
            false => vec![],
        };
        Row {
            request,
            number,
            prompt,
            own,
            seen,
            sample: Sample {
                ids: vec![],
                logps: vec![],
                finished: false,
            },
        }
    }
}
