//! What a response is to begin with, prompt by prompt: the texts of a recipe or of a file, or what the built-in world would say of
//! the prompt, in the part of the response that is attacked.

use anyhow::{Context, Result, bail, ensure};
use base::params;
use base::response::{self, OPEN, Slot};
use base::rows::{BEHAVIOR, Prompt};
use data::targets;
use std::collections::BTreeMap;
use std::path::PathBuf;
use world::teacher;

params! {
    pub struct Aim {
        /// What the response is to begin with. Of prompts of the built-in world it may be left out: then it is the reasoning of one who
        /// knows every fact and takes the request for safe, or the beginning of help.
        target: Option<String> = None;
        /// A JSON file of targets by prompt, `{"BehaviorID": "text"}`, as HarmBench ships; `target` is for prompts that it has not.
        targets: Option<PathBuf> = None;
        /// Where the target stands: at the beginning of the `response` as it is; in the `reasoning`, which is opened before it; or in the
        /// `answer`, after reasoning that is closed at once.
        slot: Slot = Slot::Response;
        /// A beginning that every response is given, as in `generate`.
        prefill: Option<String> = None;
    }
}

impl Aim {
    /// Whether prompts need a target of their own, which those of the built-in world alone have.
    pub fn is_own(&self) -> bool {
        self.target.is_none() && self.targets.is_none()
    }

    /// What a search of this name is called whose target stands in this slot, as `gcg-reasoning`.
    pub fn called(&self, search: &str) -> String {
        match self.slot {
            Slot::Response => search.into(),
            Slot::Reasoning => format!("{search}-reasoning"),
            Slot::Answer => format!("{search}-answer"),
        }
    }

    /// What is made of each prompt and the targets. Errors: as `Aims::new`; those of `make`, with the prompt's id.
    pub fn each<T>(
        &self,
        prompts: &[Prompt],
        make: impl Fn(&Aims, &Prompt) -> Result<T>,
    ) -> Result<Vec<T>> {
        let aims = Aims::new(self)?;
        let made = prompts.iter();
        let made = made.map(|p| make(&aims, p).with_context(|| format!("prompt {}", p.id)));
        made.collect()
    }
}

/// The targets of prompts.
pub struct Aims<'p> {
    aim: &'p Aim,
    by_id: BTreeMap<String, String>,
}

impl<'p> Aims<'p> {
    /// Errors: a file that is no object of targets.
    pub fn new(aim: &'p Aim) -> Result<Aims<'p>> {
        let by_id = match &aim.targets {
            Some(path) => targets::read(path)?,
            None => BTreeMap::new(),
        };
        Ok(Aims { aim, by_id })
    }

    /// The target of a prompt whose response is begun like this. Errors: a prompt without one; a slot that is closed already.
    pub fn of(&self, prompt: &Prompt, begun: &str) -> Result<String> {
        let given = self.named(prompt).or(self.aim.target.as_deref());
        let text = match (given, self.aim.slot) {
            (Some(text), _) => text.to_string(),
            (None, _) if prompt.truth.is_none() => bail!(
                "it has no target: none is set for all prompts, {}and it is no prompt of the built-in world",
                match self.by_id.is_empty() {
                    true => String::new(),
                    false => format!("`targets` has none of its id `{}`, ", behavior(prompt)),
                }
            ),
            (None, Slot::Reasoning) => teacher::misled(prompt)?,
            (None, Slot::Response | Slot::Answer) => teacher::HELP.to_string(),
        };
        ensure!(!text.is_empty(), "its target has no text");
        placed(self.aim.slot, &text, begun)
    }

    fn named(&self, prompt: &Prompt) -> Option<&str> {
        let id = behavior(prompt);
        let short = id.strip_prefix(&prompt.source);
        let short = short.and_then(|rest| rest.strip_prefix('-'));
        let found = self.by_id.get(id).or_else(|| self.by_id.get(short?));
        found.map(String::as_str)
    }
}

/// The behaviour that a prompt is a case of, or the prompt itself.
fn behavior(prompt: &Prompt) -> &str {
    prompt.labels.get(BEHAVIOR).unwrap_or(&prompt.id)
}

/// What the model is to write: the text in its part of the response, less what the response is begun with.
fn placed(slot: Slot, text: &str, begun: &str) -> Result<String> {
    let parts = response::split(begun);
    let whole = response::begun(slot, text);
    let opening = format!("{OPEN}\n");
    Ok(match (slot, parts.reasoning.is_some(), parts.closed) {
        (Slot::Response, ..) | (_, false, _) => whole,
        (Slot::Reasoning, true, true) => {
            bail!("the response is begun with reasoning that is closed already: {begun:?}")
        }
        (Slot::Answer, true, true) => text.to_string(),
        (Slot::Reasoning | Slot::Answer, true, false) => whole[opening.len()..].to_string(),
    })
}
