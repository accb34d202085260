//! Which prompts are on which side, and the states of another model at the same ones.

use super::params::Params;
use crate::shared::states::States;
use analysis::points::Points;
use anyhow::{Result, ensure};
use base::rows::{CompletedPrompt, Prompt};
use base::text::{count, listed};
use engine::kind::context::NodeCtx;
use std::collections::{BTreeMap, BTreeSet};

/// The prompts of both sides, in the order of the states.
pub struct Sides {
    pub prompts: Vec<CompletedPrompt>,
    /// Their places among all prompts of the states.
    pub places: Vec<usize>,
    /// Whether a prompt is on the positive side.
    pub labels: Vec<bool>,
    /// Their values of the label.
    pub values: Vec<String>,
    left_out: usize,
}

/// The least that leaving one out leaves a spread to.
const FEWEST: usize = 3;

impl Sides {
    /// Errors: a side with nothing or next to nothing on it.
    pub fn of(prompts: &[Prompt], p: &Params) -> Result<Sides> {
        let mut sides = Sides {
            prompts: vec![],
            places: vec![],
            labels: vec![],
            values: vec![],
            left_out: 0,
        };
        let mut known = BTreeSet::new();
        for (place, prompt) in prompts.iter().enumerate() {
            let value = value(prompt, &p.label);
            known.insert(value);
            let on = |side: &[String]| side.iter().any(|v| v == value);
            let positive = on(&p.positive);
            if !positive && !on(&p.negative) {
                sides.left_out += 1;
                continue;
            }
            sides.prompts.push(prompt.clone().into());
            sides.places.push(place);
            sides.labels.push(positive);
            sides.values.push(value.to_string());
        }
        for (name, side, label) in [
            ("positive", &p.positive, true),
            ("negative", &p.negative, false),
        ] {
            let members = sides.labels.iter().filter(|l| **l == label).count();
            let known = known.iter().map(|v| if v.is_empty() { "\"\"" } else { v });
            ensure!(
                members > 0,
                "no prompt is on the side `{name}`: `{}` is {} there, and the prompts have {}",
                p.label,
                listed(side.iter().map(String::as_str)),
                listed(known)
            );
            ensure!(
                members >= FEWEST,
                "the side `{name}` has {}, and a spread takes at least {FEWEST}",
                count(members as u64, "prompt", "prompts")
            );
        }
        Ok(sides)
    }

    /// What is one observation, by prompt.
    pub fn observed(&self) -> Vec<&str> {
        self.prompts.iter().map(CompletedPrompt::observed).collect()
    }

    pub fn say(&self, ctx: &NodeCtx, p: &Params) {
        let positive = self.labels.iter().filter(|l| **l).count();
        let mut text = format!(
            "{positive} prompts with {} {:?}, {} with {:?}",
            p.label,
            p.positive,
            self.labels.len() - positive,
            p.negative
        );
        if self.left_out > 0 {
            text += &format!("; {} of neither side left out", self.left_out);
        }
        ctx.log(&text);
    }
}

/// A prompt's value of a label, `""` where it has none.
fn value<'a>(prompt: &'a Prompt, label: &str) -> &'a str {
    match label {
        "class" => prompt.class.word(),
        "category" => &prompt.category,
        "source" => &prompt.source,
        _ => prompt.labels.get(label).map_or("", String::as_str),
    }
}

/// Another model's states, and where it has the prompts of the sides.
pub struct Against {
    pub states: States,
    places: Vec<usize>,
}

/// Errors: prompts that the others are not of, or states that were taken in another way.
pub fn against(own: &States, sides: &Sides, others: States) -> Result<Against> {
    own.expect_alike(&others)?;
    let by_id: BTreeMap<&str, (usize, &Prompt)> = others
        .prompts
        .iter()
        .enumerate()
        .map(|(i, prompt)| (prompt.id.as_str(), (i, prompt)))
        .collect();
    let (mut places, mut absent, mut other_text) = (vec![], vec![], vec![]);
    for prompt in &sides.prompts {
        let id = prompt.prompt_id.as_str();
        match by_id.get(id) {
            Some((place, other)) if other.prompt == prompt.prompt => places.push(*place),
            Some(_) => other_text.push(id),
            None => absent.push(id),
        }
    }
    for (what, ids) in [
        ("are not on the port `against`", absent),
        ("have another text there", other_text),
    ] {
        let Some(first) = ids.first() else {
            continue;
        };
        anyhow::bail!(
            "the states are of different prompts: of {} on the two sides {} {what}, the first is `{first}`; both models are asked the \
             same prompts where both `states` nodes take the same ones",
            sides.prompts.len(),
            ids.len()
        );
    }
    Ok(Against {
        states: others,
        places,
    })
}

impl Against {
    /// Of the prompts of the sides, in their order.
    pub fn points(&mut self, layer: usize) -> Result<Points> {
        let layer = self.states.layer(Some(layer), "against")?;
        self.states.points(layer, &self.places)
    }
}
