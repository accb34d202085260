//! What is looked at before a model is believed: whether its folder is whole and of one piece, and whether texts are longer
//! than it was made for.

use super::asked::{Prefills, asked};
use anyhow::{Context, Result, bail, ensure};
use base::rows::Prompt;
use engine::kind::context::NodeCtx;
use learn::checkpoint;
use learn::config::Head;
use learn::sample::NotFinite;
use learn::template::Dialogue;
use learn::tokenizer::Tokenizer;
use std::path::Path;

/// A model folder of somebody else's, checked whole: configuration, every tensor, tokenizer, template, and that they are of
/// one model. Returns how many parameters it has.
pub(crate) fn check_folder(folder: &Path) -> Result<usize> {
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
    asked(&tokenizer, WORD, None).with_context(shown)?;
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
pub(crate) fn say_reach(
    ctx: &NodeCtx,
    tokenizer: &Tokenizer,
    prompts: &[Prompt],
    prefills: Option<&Prefills>,
    max_new_tokens: usize,
) -> Result<()> {
    let Some(reach) = tokenizer.positions() else {
        return Ok(());
    };
    let mut lengths = vec![];
    for prompt in prompts {
        let prefill = prefills.and_then(|p| p.of(prompt));
        let asked = asked(tokenizer, &prompt.prompt, prefill);
        lengths.push(
            asked
                .with_context(|| format!("prompt {}", prompt.id))?
                .ids
                .len(),
        );
    }
    if let Some(summary) = beyond("prompts", &lengths, reach) {
        ctx.log(&summary);
    }
    let over = |n: &&usize| **n <= reach && **n + max_new_tokens > reach;
    let near = lengths.iter().filter(over).count();
    if near > 0 {
        ctx.log(&format!(
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
pub(crate) fn of_prompt(error: anyhow::Error, id: impl Fn(usize) -> String) -> anyhow::Error {
    match error.downcast_ref::<NotFinite>() {
        Some(found) => {
            let id = id(found.request);
            error.context(format!("prompt {id}"))
        }
        None => error,
    }
}
