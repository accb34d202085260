//! What the kinds that use a model share: loading and copying a folder, rendering prompts, sampling responses as rows.

pub use super::asked::{Asked, Prefills, asked, asked_after};
use crate::shared::devices;
use crate::shared::estimate;
use crate::shared::model_checks::of_prompt;
use anyhow::{Context, Result};
use base::response;
use base::rng::Seed;
use base::rows::{Completion, Prompt};
use base::threads;
use base::tokens::Tokens;
use engine::kind::context::{Interrupted, NodeCtx};
use engine::kind::messages::Sampled;
use learn::checkpoint;
use learn::learner::{Learner, Policy};
use learn::sample::choose::Choice;
use learn::sample::forecast::Tally;
use learn::sample::{Options, Request, Sample, Stopped};
use learn::tokenizer::Tokenizer;
use learn::weights::Weights;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows that are sampled at the same time, where a node does not say: memory, not results.
pub(crate) const BATCH_ROWS: usize = 256;

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

/// The model of a folder on the node's device, to be asked and not trained.
pub fn open(ctx: &NodeCtx, folder: &Path) -> Result<(Box<dyn Learner>, Tokenizer)> {
    let Model { weights, tokenizer } = Model::load(folder)?;
    Ok((devices::asked(ctx, weights)?, tokenizer))
}

/// Samples of one prompt.
pub struct Group {
    pub asked: Asked,
    pub samples: Vec<Sample>,
}

/// What the model of a folder is asked; `then`: what it writes after that.
pub fn prompt_tokens(
    model: &Path,
    prompts: &[Prompt],
    system: Option<&str>,
    prefills: Option<&Prefills>,
    then: &'static str,
    most: usize,
) -> Result<Tokens> {
    let tokenizer = Tokenizer::load(model)?;
    let mut tokens = Tokens::new("prompts", most);
    tokens.then = Some(then);
    let mut begun: BTreeMap<String, usize> = BTreeMap::new();
    for prompt in prompts {
        let prefill = prefills.and_then(|p| p.of(prompt));
        let asked = asked_after(&tokenizer, system, &prompt.prompt, prefill)
            .with_context(|| format!("prompt {}", prompt.id))?;
        let mask = vec![false; asked.ids.len()];
        tokens.push(&prompt.id, &asked.ids, &mask, |ids| {
            tokenizer.decode(ids, false)
        })?;
        *begun.entry(asked.begun).or_default() += 1;
    }
    begun.remove("");
    for (begun, count) in begun {
        tokens.notes.push(format!(
            "the response to {count} of {} prompts begins with the end of the prompt: {begun:?}",
            prompts.len()
        ));
    }
    Ok(tokens)
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
pub(crate) fn use_threads(ctx: &NodeCtx) -> Result<()> {
    threads::ready(Some(ctx.threads()))
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

    /// Whether it is of one unit of the node's progress.
    pub fn is_part(&self) -> bool {
        self.part
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
    pub learner: &'a mut dyn Learner,
    pub policy: Policy,
    pub tokenizer: &'a Tokenizer,
    pub samples: usize,
    /// A message before the prompt.
    pub system: Option<&'a str>,
    pub prefills: Option<&'a Prefills>,
    pub options: Options,
    pub seed: Seed,
}

impl Sampling<'_> {
    /// The samples of each prompt. A prompt's randomness hangs on its id, not on its place.
    pub fn groups(
        &mut self,
        ctx: &NodeCtx,
        prompts: &[Prompt],
        course: &mut Course,
    ) -> Result<Vec<Group>> {
        let asked = prompts
            .iter()
            .map(|prompt| {
                let prefill = self.prefills.and_then(|p| p.of(prompt));
                asked_after(self.tokenizer, self.system, &prompt.prompt, prefill)
                    .with_context(|| format!("prompt {}", prompt.id))
            })
            .collect::<Result<Vec<_>>>()?;
        let rows = prompts.len() * self.samples;
        let requests: Vec<Request> = prompts
            .iter()
            .zip(&asked)
            .map(|(prompt, asked)| Request {
                prompt: asked.ids.clone(),
                samples: self.samples,
                seed: self.seed.child(&prompt.id),
            })
            .collect();
        let groups = self.learner.sample(
            self.policy,
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
            ctx.record_flops(estimate::sampling(self.learner.config(), tokens));
        }
        let groups = match groups {
            Err(error) if error.is::<Stopped>() => return Err(Interrupted.into()),
            groups => groups.map_err(|error| of_prompt(error, |i| prompts[i].id.clone()))?,
        };
        let of = |(asked, samples)| Group { asked, samples };
        Ok(asked.into_iter().zip(groups).map(of).collect())
    }

    /// The texts of a prompt's responses, what each is given to begin with included.
    fn texts(&self, group: &Group) -> Result<Vec<String>> {
        let samples = group.samples.iter();
        samples
            .map(|s| Ok(group.asked.begun.clone() + &self.tokenizer.response(&s.ids)?))
            .collect()
    }

    /// The texts of groups of samples.
    pub fn responses(&self, groups: &[Group]) -> Result<Vec<Vec<String>>> {
        groups.iter().map(|group| self.texts(group)).collect()
    }

    /// `logprobs`: the rows hold every token's id and log-probability.
    pub fn completions(
        &mut self,
        ctx: &NodeCtx,
        prompts: &[Prompt],
        logprobs: bool,
        course: &mut Course,
    ) -> Result<Vec<Completion>> {
        let groups = self.groups(ctx, prompts, course)?;
        let mut rows = vec![];
        for (prompt, group) in prompts.iter().zip(&groups) {
            let texts = self.texts(group)?;
            for (i, (sample, response)) in group.samples.iter().zip(texts).enumerate() {
                rows.push(Completion {
                    id: format!("{}#{i}", prompt.id),
                    sample: i as u32,
                    prompt: prompt.clone().into(),
                    response,
                    begun: response::begins_answer(&group.asked.begun).map(String::from),
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

/// The bytes and no more: a mode is whose file it was, not what is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = std::fs::File::open(from).and_then(|mut from| {
        let mut to = std::fs::File::create(to)?;
        std::io::copy(&mut from, &mut to)
    });
    copied
        .map(drop)
        .with_context(|| format!("failed to copy {}", from.display()))
}
