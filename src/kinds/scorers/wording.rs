//! What a judge or another model that has a part in a study is told: a text with places for the prompt, the answer and the like. The
//! built-in ones are in our own words; a lab that has a published text puts it in a file, as it was published, and names it.

use super::neutral::neutral;
use anyhow::{Context, Result, ensure};
use base::bounded;
use std::path::Path;

/// The largest file of a template, in bytes.
const MOST: u64 = 1 << 20;

/// Names of the places, as published rubrics have them: HarmBench's `{behavior}` and `{generation}`, StrongREJECT's
/// `{forbidden_prompt}` and `{response}`.
pub const PROMPT: Place = &["{prompt}", "{behavior}", "{forbidden_prompt}", "{question}"];
pub const ANSWER: Place = &["{answer}", "{generation}", "{response}"];

pub struct Wording {
    text: String,
}

/// A text ready for a judge.
pub struct Worded {
    pub text: String,
    /// Control strings in what was filled in that lost their meaning.
    pub controls: usize,
}

/// A place of a text: the names that it goes by, in braces.
pub type Place = &'static [&'static str];

impl Wording {
    /// Of a judge. Errors: no place for the answer.
    pub fn new(text: &str) -> Result<Wording> {
        Wording::needing(text, ("a judge's template", "the answer"), ANSWER)
    }

    /// A text of ours, whose places are known.
    pub fn plain(text: &str) -> Wording {
        Wording { text: text.into() }
    }

    /// `who`: whose text, and what the place is for that has to be there.
    fn needing(text: &str, (who, what): (&str, &str), place: Place) -> Result<Wording> {
        ensure!(
            place.iter().any(|name| text.contains(name)),
            "{who} has a place for {what}, one of {}",
            place.join(", ")
        );
        Ok(Wording { text: text.into() })
    }

    /// The lab's own where there is one, else ours.
    pub fn of(file: Option<&Path>, ours: &str) -> Result<Wording> {
        Wording::read(file, ours, ("a judge's template", "the answer"), ANSWER)
    }

    /// The same for another text; `who` and `place` as in `needing`.
    pub fn read(
        file: Option<&Path>,
        ours: &str,
        who: (&str, &str),
        place: Place,
    ) -> Result<Wording> {
        let Some(path) = file else {
            return Wording::needing(ours, who, place);
        };
        let read = || -> Result<Wording> {
            let text = String::from_utf8(bounded::read(path, MOST)?);
            Wording::needing(&text.context("it is not UTF-8")?, who, place)
        };
        read().with_context(|| format!("{} {}", who.0.replacen("a ", "the ", 1), path.display()))
    }

    /// Fills the places of a judge's text.
    pub fn fill(&self, prompt: &str, answer: &str) -> Worded {
        self.fill_places(&[(PROMPT, prompt), (ANSWER, answer)])
    }

    /// Fills the places, each with its text; whatever else has braces stays as it is, in what is filled in as well.
    pub fn fill_places(&self, places: &[(Place, &str)]) -> Worded {
        let neutral = places.iter().map(|(names, text)| (*names, neutral(text)));
        let places: Vec<(Place, (String, usize))> = neutral.collect();
        let mut text = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(at) = rest.find('{') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let found = places.iter().find_map(|(names, (filled, _))| {
                let name = names.iter().find(|name| rest.starts_with(**name))?;
                Some((filled.as_str(), name.len()))
            });
            let (filled, length) = found.unwrap_or(("{", 1));
            text.push_str(filled);
            rest = &rest[length..];
        }
        text.push_str(rest);
        Worded {
            text,
            controls: places.iter().map(|(_, (_, controls))| controls).sum(),
        }
    }
}
