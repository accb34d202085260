//! What a judge is told: a text with places for the prompt and the answer. The built-in ones are in our own words; a lab that has a
//! published rubric puts it in a file, as it was published, and names it with `judge.template`.

use super::neutral::neutral;
use anyhow::{Context, Result, ensure};
use base::bounded;
use std::path::Path;

/// The largest file of a template, in bytes.
const MOST: u64 = 1 << 20;

/// Names of the places, as published rubrics have them: HarmBench's `{behavior}` and `{generation}`, StrongREJECT's
/// `{forbidden_prompt}` and `{response}`.
const PROMPT: &[&str] = &["{prompt}", "{behavior}", "{forbidden_prompt}", "{question}"];
const ANSWER: &[&str] = &["{answer}", "{generation}", "{response}"];

pub struct Wording {
    text: String,
}

/// A text ready for a judge.
pub struct Worded {
    pub text: String,
    /// Control strings in prompt and answer that lost their meaning.
    pub controls: usize,
}

impl Wording {
    pub fn new(text: &str) -> Result<Wording> {
        ensure!(
            ANSWER.iter().any(|place| text.contains(place)),
            "a judge's template has a place for the answer, one of {}",
            ANSWER.join(", ")
        );
        Ok(Wording { text: text.into() })
    }

    /// The lab's own where there is one, else ours.
    pub fn of(file: Option<&Path>, ours: &str) -> Result<Wording> {
        let Some(path) = file else {
            return Wording::new(ours);
        };
        let read = || -> Result<Wording> {
            let text = String::from_utf8(bounded::read(path, MOST)?);
            Wording::new(&text.context("it is not UTF-8")?)
        };
        read().with_context(|| format!("the judge's template {}", path.display()))
    }

    /// Fills the places; whatever else has braces stays as it is, in what is filled in as well.
    pub fn fill(&self, prompt: &str, answer: &str) -> Worded {
        let (prompt, of_prompt) = neutral(prompt);
        let (answer, of_answer) = neutral(answer);
        let mut text = String::with_capacity(self.text.len() + prompt.len() + answer.len());
        let mut rest = self.text.as_str();
        while let Some(at) = rest.find('{') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let place = |names: &[&str]| {
                names
                    .iter()
                    .find(|n| rest.starts_with(**n))
                    .map(|n| n.len())
            };
            let (filled, length) = match (place(PROMPT), place(ANSWER)) {
                (Some(length), _) => (prompt.as_str(), length),
                (_, Some(length)) => (answer.as_str(), length),
                _ => ("{", 1),
            };
            text.push_str(filled);
            rest = &rest[length..];
        }
        text.push_str(rest);
        Worded {
            text,
            controls: of_prompt + of_answer,
        }
    }
}
