//! What the kinds that use a model share: loading and copying a folder, rendering prompts, sampling responses as rows.

use crate::base::rng::Seed;
use crate::base::rows::{Completion, Message, Prompt};
use crate::base::tokens::Tokens;
use crate::engine::worker::{Interrupted, NodeCtx};
use crate::kinds::ahead;
use crate::learn::adapter::Net;
use crate::learn::chat;
use crate::learn::checkpoint;
use crate::learn::config::Head;
use crate::learn::sample::choose::Choice;
use crate::learn::sample::{self, NotFinite, Options, Request, Sample, Stopped};
use crate::learn::template::Dialogue;
use crate::learn::tokenizer::Tokenizer;
use crate::learn::weights::Weights;
use anyhow::{Context, Result, bail, ensure};
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

/// A model folder of somebody else's, checked whole: configuration, every tensor, tokenizer, template, and that they are of
/// one model. Returns how many parameters it has.
pub fn check_folder(folder: &Path) -> Result<usize> {
    let config = checkpoint::load_config(folder)?;
    ensure!(
        !matches!(config.head, Head::Score { .. }),
        "{} is a sequence classifier, not a language model; a reward model is imported by `local-reward-model`",
        folder.display()
    );
    let tokenizer = Tokenizer::load(folder)?;
    tokenizer.template()?;
    tokenizer.expect_rows(config.vocab_size)?;
    let shown = || format!("{}: a prompt cannot be written", folder.display());
    prompt_ids(&tokenizer, WORD, None).with_context(shown)?;
    expect_end(&tokenizer).with_context(|| folder.display().to_string())?;
    let weights = checkpoint::load(folder)?;
    for (name, numbers) in [
        ("model.embed_tokens.weight", weights.embed()),
        ("model.norm.weight", weights.final_norm()),
        ("lm_head.weight", weights.head()),
    ] {
        ensure!(
            numbers.iter().any(|x| *x != 0.0),
            "{}: tensor {name} holds zeros only, so the model would say the same of everything: was it downloaded to its end?",
            folder.display()
        );
    }
    Ok(weights.data.len())
}

/// What a conversation is tried with.
const WORD: &str = "hello";

/// Errors where the template ends an assistant's turn with a token that ends no answer: what is sampled would never end.
fn expect_end(tokenizer: &Tokenizer) -> Result<()> {
    let message = |role: &str| serde_json::json!({ "role": role, "content": WORD });
    let rendered = tokenizer.template()?.render(Dialogue {
        messages: &[message("user"), message("assistant")],
        tools: None,
        add_generation_prompt: false,
    });
    // A template that wants more than this has its say where it is used.
    let Ok(rendered) = rendered else {
        return Ok(());
    };
    let Some((_, end)) = rendered.text.rsplit_once(WORD) else {
        return Ok(());
    };
    let stops = tokenizer.stop_texts();
    if stops.iter().any(|stop| end.contains(stop.as_str())) {
        return Ok(());
    }
    let Some((id, token)) = tokenizer.first_special(end)? else {
        return Ok(());
    };
    let ids: Vec<u32> = [id]
        .into_iter()
        .chain(tokenizer.stop_ids().iter().copied())
        .collect();
    bail!(
        "the chat template ends a turn with {token}, and what ends an answer is {}: no answer would end there, as in the folder of \
         a base model that has a chat template all the same; write \"eos_token\": \"{token}\" in tokenizer_config.json, or \
         \"eos_token_id\": {ids:?} in generation_config.json",
        stops.join(", ")
    );
}

/// Says once how many prompts a model was not made for, and how many may become that by their answers.
pub fn say_reach(
    ctx: &NodeCtx,
    tokenizer: &Tokenizer,
    prompts: &[Prompt],
    prefill: Option<&str>,
    max_new_tokens: usize,
) -> Result<()> {
    let Some(reach) = tokenizer.positions() else {
        return Ok(());
    };
    let mut lengths = vec![];
    for prompt in prompts {
        let ids = prompt_ids(tokenizer, &prompt.prompt, prefill);
        lengths.push(ids.with_context(|| format!("prompt {}", prompt.id))?.len());
    }
    if let Some(told) = beyond("prompts", &lengths, reach) {
        ctx.say(&told);
    }
    let over = |n: &&usize| **n <= reach && **n + max_new_tokens > reach;
    let near = lengths.iter().filter(over).count();
    if near > 0 {
        ctx.say(&format!(
            "{near} of {} prompts may go beyond the {reach} tokens of max_position_embeddings with an answer of {max_new_tokens} \
             tokens",
            lengths.len()
        ));
    }
    Ok(())
}

/// How many texts are longer than a model was made for, if any are.
pub fn beyond(what: &str, lengths: &[usize], reach: usize) -> Option<String> {
    let long = lengths.iter().filter(|n| **n > reach).count();
    let most = lengths.iter().max()?;
    (long > 0).then(|| {
        format!(
            "{long} of {} {what} are longer than the {reach} tokens that the model was made for (max_position_embeddings), the \
             longest has {most}: what it makes of the rest is not what it learned",
            lengths.len()
        )
    })
}

/// An error of the sampler with the prompt named.
pub fn of_prompt(error: anyhow::Error, id: impl Fn(usize) -> String) -> anyhow::Error {
    match error.downcast_ref::<NotFinite>() {
        Some(found) => {
            let id = id(found.request);
            error.context(format!("prompt {id}"))
        }
        None => error,
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
        report: &mut (dyn FnMut(usize) + Send),
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
        let groups = sample::sample(
            self.net,
            &requests,
            &self.options,
            &mut |rows, _tokens| report(rows),
            &|| ctx.stop(),
        );
        if let Ok(groups) = &groups {
            let new = groups.iter().flatten().map(|s| s.ids.len());
            let given = requests.iter().map(|r| r.prompt.len());
            let tokens = new.sum::<usize>() + given.sum::<usize>();
            ctx.computed(ahead::sampling(self.net, tokens));
        }
        match groups {
            Err(error) if error.is::<Stopped>() => Err(Interrupted.into()),
            groups => groups.map_err(|error| of_prompt(error, |i| prompts[i].id.clone())),
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
        report: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Completion>> {
        let groups = self.groups(ctx, prompts, report)?;
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
