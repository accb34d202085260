//! Suffixes that nothing was searched for: what a search begins with, and the control that it is held against. Knows no model.

use super::params::{Filter, Method, Params};
use anyhow::{Context, Result, ensure};
use base::response::{CLOSE, OPEN};
use base::rng::Seed;
use learn::attack::allowed::Allowed;
use learn::attack::frame::{Frame, Survival};
use learn::tokenizer::Tokenizer;

/// What suffixes are made of since llm-attacks.
const FILLER: &str = " !";

/// Draws of a token until the suffix survives with it.
const TRIES: usize = 1_000;

/// Which tokens a suffix may have: none of a control string either, however a vocabulary writes it.
pub fn allowed(p: &Params, tokenizer: &Tokenizer, embeddings: usize) -> Result<Allowed> {
    let control = |text: &str| text.contains(OPEN) || text.contains(CLOSE);
    Allowed::new(tokenizer, embeddings, p.allow)?.whose(tokenizer, |text| !control(text))
}

/// Whether the filter keeps it.
pub fn keeps(filter: Filter, survival: Survival) -> bool {
    match filter {
        Filter::Prompt => survival.whole,
        Filter::Suffix => survival.alone,
        Filter::None => true,
    }
}

/// What the suffix of a case is at first.
///
/// Errors: an `init` without tokens, with a control token, or that the chat template does not write as it stands; nothing that
/// survives.
pub fn first(
    p: &Params,
    tokenizer: &Tokenizer,
    frame: &Frame,
    allowed: &Allowed,
    seed: Seed,
) -> Result<Vec<u32>> {
    if let (Some(init), true) = (&p.init, p.search != Method::None) {
        return given(init, tokenizer, frame);
    }
    let filler = tokenizer.encode(FILLER)?;
    if let ([filler], true) = (&filler[..], p.search != Method::None) {
        let suffix = vec![*filler; p.length];
        let text = FILLER.repeat(p.length);
        if allowed.has(*filler) && tokenizer.encode(&text)? == suffix {
            frame.expect(&text).context("the suffix cannot be sent")?;
            return Ok(suffix);
        }
    }
    drawn(p, frame, allowed, seed)
}

fn given(init: &str, tokenizer: &Tokenizer, frame: &Frame) -> Result<Vec<u32>> {
    let suffix = tokenizer.encode(init)?;
    ensure!(!suffix.is_empty(), "`init` has no token: a suffix has one");
    let control = tokenizer.control_ids();
    if let Some(id) = suffix.iter().find(|id| control.contains(id)) {
        let text = tokenizer.decode(&[*id], false)?;
        anyhow::bail!(
            "`init` {init:?} has the control token {text:?}, or a word that the vocabulary does not know: nobody can send it as a text"
        );
    }
    frame.expect(init).context("`init` cannot be sent")?;
    Ok(suffix)
}

/// Tokens drawn one after the other, each again until the suffix survives with it.
pub fn drawn(p: &Params, frame: &Frame, allowed: &Allowed, seed: Seed) -> Result<Vec<u32>> {
    let mut rng = seed.child("suffix").rng();
    // A search without a filter may still begin with what can be sent, but need not.
    let filter = if p.search == Method::Random {
        Filter::None
    } else {
        p.filter
    };
    let mut suffix: Vec<u32> = vec![];
    for _ in 0..p.length {
        let mut tries = 0..TRIES;
        let next = tries.find_map(|_| {
            suffix.push(*rng.pick(&allowed.ids));
            let kept = match filter {
                Filter::None => Ok(true),
                _ => frame.survival(&suffix).map(|s| keeps(filter, s)),
            };
            match kept {
                Ok(true) => Some(Ok(())),
                Ok(false) => {
                    suffix.pop();
                    None
                }
                Err(error) => Some(Err(error)),
            }
        });
        next.with_context(|| {
            format!(
                "after {} random tokens no other was found in {TRIES} draws with which the prompt is encoded as it was made: \
                 see `filter`",
                suffix.len()
            )
        })??;
    }
    Ok(suffix)
}
