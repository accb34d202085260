//! What the kinds that use a model share: loading and copying a folder, rendering prompts, sampling responses as rows.

use crate::base::rng::Seed;
use crate::base::rows::{Completion, Message, Prompt};
use crate::base::tokens::Tokens;
use crate::engine::worker::{Interrupted, NodeCtx, Sampled};
use crate::kinds::ahead;
use crate::learn::adapter::Net;
use crate::learn::chat;
use crate::learn::checkpoint;
use crate::learn::sample::choose::Choice;
use crate::learn::sample::forecast::Tally;
use crate::learn::sample::{self, Options, Request, Sample, Stopped};
use crate::learn::tokenizer::Tokenizer;
use crate::learn::weights::Weights;
use anyhow::{Context, Result};
use std::path::Path;

/// Rows that are sampled at the same time, where a node does not say: memory, not results.
pub const BATCH_ROWS: usize = 256;

/// A model folder in memory.
pub struct Model {
    pub weights: Weights,
    pub tokenizer: Tokenizer,
}

impl Model {
    pub fn load(folder: &Path) -> Result<Model> {
        Ok(Model {
            weights: checkpoint::load(folder)?,
            tokenizer: Tokenizer::load(folder)?,
        })
    }
}

/// Token ids up to where the response begins; `prefill` is a beginning of the response that is given.
pub fn prompt_ids(tokenizer: &Tokenizer, prompt: &str, prefill: Option<&str>) -> Result<Vec<u32>> {
    chat::render_prompt(tokenizer, &[Message::new("user", prompt)], prefill)
}

/// What the model of a folder is asked; `then`: what it writes after that.
pub fn prompt_tokens(
    model: &Path,
    prompts: &[Prompt],
    prefill: Option<&str>,
    then: &'static str,
    most: usize,
) -> Result<Tokens> {
    let tokenizer = Tokenizer::load(model)?;
    let mut tokens = Tokens::new("prompts", most);
    tokens.then = Some(then);
    for prompt in prompts {
        let ids = prompt_ids(&tokenizer, &prompt.prompt, prefill)
            .with_context(|| format!("prompt {}", prompt.id))?;
        let mask = vec![false; ids.len()];
        tokens.push(&prompt.id, &ids, &mask, |ids| tokenizer.decode(ids, false))?;
    }
    Ok(tokens)
}

/// The text of sampled tokens, special tokens (the end of turn) left out.
pub fn text(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String> {
    tokenizer.decode(ids, true)
}

/// Plain sampling at this temperature, ended by the model's own stop tokens.
pub fn plain(tokenizer: &Tokenizer, temperature: f64, max_new_tokens: usize) -> Options {
    Options {
        choice: Choice::plain(temperature as f32),
        max_new_tokens,
        stop_ids: tokenizer.stop_ids().clone(),
        batch_rows: BATCH_ROWS,
    }
}

/// Lets the kernels use the threads that the engine granted. One node is one process, so the pool is the process's own.
pub fn use_threads(ctx: &NodeCtx) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(ctx.threads())
        .build_global()
        .context("failed to start the threads")
}

/// How far a node is that samples, over all parts that it samples one after the other.
pub struct Course<'a> {
    ctx: &'a NodeCtx,
    unit: &'static str,
    /// Rows of the node, and those that are done by earlier attempts or parts.
    total: usize,
    before: usize,
    /// Rows, tokens and work of earlier parts of this attempt.
    earlier: (usize, usize, f64),
    /// Of the part under way, as it was last.
    last: (usize, f64),
    /// It is a part of one unit of the node's progress.
    part: bool,
}

impl<'a> Course<'a> {
    /// Of the node's own progress; `saved`: rows of earlier attempts.
    pub fn new(ctx: &'a NodeCtx, unit: &'static str, total: usize, saved: usize) -> Course<'a> {
        Course {
            ctx,
            unit,
            total,
            before: saved,
            earlier: (0, 0, 0.0),
            last: (0, 0.0),
            part: false,
        }
    }

    /// Of what is sampled for one unit of it, called `unit`.
    pub fn part(ctx: &'a NodeCtx, unit: &'static str, total: usize) -> Course<'a> {
        Course {
            part: true,
            ..Course::new(ctx, unit, total, 0)
        }
    }

    /// To be told whenever there is more of a part that has so many rows.
    pub fn tell(&mut self, tally: &Tally, rows: usize) {
        self.last = (tally.tokens, tally.done());
        let done = self.before + tally.ended;
        let sampled = || self.sampled(tally, rows);
        match self.part {
            false => {
                let counted = (done as u64, self.total as u64);
                self.ctx.sampled(counted, self.unit, &sampled);
            }
            true => {
                let note = || format!("{done}/{} {}", self.total, self.unit);
                self.ctx.sampled_part(&note, &sampled);
            }
        }
    }

    /// A part of so many rows is done.
    pub fn passed(&mut self, rows: usize) {
        let (tokens, work) = std::mem::take(&mut self.last);
        let before = self.earlier;
        self.earlier = (before.0 + rows, before.1 + tokens, before.2 + work);
        self.before += rows;
    }

    /// Rows of other parts and attempts are as those that are known.
    fn sampled(&self, tally: &Tally, rows: usize) -> Sampled {
        let work = tally.work();
        let (own, tokens, earlier) = self.earlier;
        let done = earlier + work.done;
        let mean = (done + work.left) / (own + rows).max(1) as f64;
        let later = self.total.saturating_sub(self.before + rows);
        let left = work.left + mean * later as f64;
        let saved = mean * self.before.saturating_sub(own) as f64;
        let all = saved + done + left;
        Sampled {
            tokens: (tokens + tally.tokens) as u64,
            share: if all > 0.0 { (saved + done) / all } else { 0.0 },
            done,
            left,
            at_most: work.at_most,
            part: self.part,
        }
    }
}

/// Sampling as a kind wants it: prompts in, completions out, in the order of the prompts.
pub struct Sampling<'a> {
    pub net: Net<'a>,
    pub tokenizer: &'a Tokenizer,
    pub samples: usize,
    pub prefill: Option<&'a str>,
    pub options: Options,
    pub seed: Seed,
}

impl Sampling<'_> {
    /// The groups of samples of each prompt. A prompt's randomness hangs on its id, not on its place.
    pub fn groups(
        &self,
        ctx: &NodeCtx,
        prompts: &[Prompt],
        course: &mut Course,
    ) -> Result<Vec<Vec<Sample>>> {
        let requests = prompts
            .iter()
            .map(|prompt| {
                let ids = prompt_ids(self.tokenizer, &prompt.prompt, self.prefill);
                Ok(Request {
                    prompt: ids.with_context(|| format!("prompt {}", prompt.id))?,
                    samples: self.samples,
                    seed: self.seed.child(&prompt.id),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let rows = requests.len() * self.samples;
        let groups = sample::sample(
            self.net,
            &requests,
            &self.options,
            &mut |tally| course.tell(tally, rows),
            &|| ctx.stop(),
        );
        course.passed(rows);
        if let Ok(groups) = &groups {
            let new = groups.iter().flatten().map(|s| s.ids.len());
            let given = requests.iter().map(|r| r.prompt.len());
            let tokens = new.sum::<usize>() + given.sum::<usize>();
            ctx.computed(ahead::sampling(self.net, tokens));
        }
        match groups {
            Err(error) if error.is::<Stopped>() => Err(Interrupted.into()),
            groups => groups,
        }
    }

    /// The response's text, prefill included.
    pub fn response(&self, sample: &Sample) -> Result<String> {
        Ok(self.prefill.unwrap_or("").to_string() + &text(self.tokenizer, &sample.ids)?)
    }

    /// The texts of groups of samples.
    pub fn responses(&self, groups: &[Vec<Sample>]) -> Result<Vec<Vec<String>>> {
        let of = |group: &Vec<Sample>| group.iter().map(|s| self.response(s)).collect();
        groups.iter().map(of).collect()
    }

    /// `logprobs`: the rows hold every token's id and log-probability.
    pub fn completions(
        &self,
        ctx: &NodeCtx,
        prompts: &[Prompt],
        logprobs: bool,
        course: &mut Course,
    ) -> Result<Vec<Completion>> {
        let groups = self.groups(ctx, prompts, course)?;
        let mut rows = vec![];
        for (prompt, group) in prompts.iter().zip(&groups) {
            for (i, sample) in group.iter().enumerate() {
                rows.push(Completion {
                    id: format!("{}#{i}", prompt.id),
                    sample: i as u32,
                    prompt: prompt.clone().into(),
                    response: self.response(sample)?,
                    tokens: sample.ids.len() as u32,
                    finished: sample.finished,
                    withheld: None,
                    logps: logprobs.then(|| sample.logps.iter().map(|l| f64::from(*l)).collect()),
                    token_ids: logprobs.then(|| sample.ids.clone()),
                    served: None,
                });
            }
        }
        Ok(rows)
    }
}

/// The files that make up a model, as they are.
pub fn copy_files(from: &Path, into: &Path) -> Result<()> {
    let entries =
        std::fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))?;
    let mut names: Vec<String> = vec![];
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names.iter().filter(|n| is_model_file(n)) {
        copy(&from.join(name), &into.join(name))?;
    }
    Ok(())
}

fn is_model_file(name: &str) -> bool {
    let text = [".json", ".jinja", ".model"]
        .iter()
        .any(|end| name.ends_with(end));
    text || name == "merges.txt" || name.ends_with(".safetensors") && !name.starts_with("adapter_")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("failed to copy {}", from.display()))
}
