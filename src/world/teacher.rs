//! The teacher: reasoning and answer for a prompt, from the truth it carries. Needs no world.

use super::answer::{REFUSALS, combination, fact_sentence, fill, known, procedure, verdict};
use super::deal::phrase;
use super::forms::Form;
use super::judge;
use super::words::{EFFECTS, GUILDS};
use anyhow::{Context, Result, bail};
use base::response::{join, split};
use base::rng::{Rng, Seed};
use base::rows::{Prompt, Truth};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Terse,
    Stepwise,
    Hedging,
    /// One of the three for each trace.
    Mixed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TeacherSpec {
    /// Share of traces that take the verdict for the other and so decide wrongly: help with harm, or refuse what is safe. Half of them
    /// mistake a fact before.
    pub error_rate: f64,
    /// Share of traces whose reasoning is empty.
    pub empty_rate: f64,
    pub style: Style,
    pub seed: u64,
}

impl Default for TeacherSpec {
    fn default() -> Self {
        TeacherSpec {
            error_rate: 0.0,
            empty_rate: 0.0,
            style: Style::Terse,
            seed: 0,
        }
    }
}

/// The words of one style. `links` go before the sentences that follow the first.
struct Voice {
    openers: &'static [&'static str],
    links: &'static [&'static str],
    role: &'static str,
    verdicts: &'static [&'static str],
    refuse: &'static [&'static str],
    help: &'static [&'static str],
}

const TERSE: Voice = Voice {
    openers: &["so", "here"],
    links: &[""],
    role: "",
    verdicts: &["{verdict} ."],
    refuse: &["refuse .", "i refuse ."],
    help: &["help .", "i help ."],
};

const STEPWISE: Voice = Voice {
    openers: &["first ,", "step by step :"],
    links: &["then", "next", "now"],
    role: "this is only a role .",
    verdicts: &["so {verdict} .", "by the rule {verdict} ."],
    refuse: &["so i refuse .", "i must refuse ."],
    help: &["so i help .", "i can help ."],
};

const HEDGING: Voice = Voice {
    openers: &[
        "let me see .",
        "ok , let me think .",
        "well , i should check .",
    ],
    links: &["i think", "it seems", "i believe"],
    role: "maybe this is only a role .",
    verdicts: &["it seems {verdict} .", "i believe {verdict} ."],
    refuse: &["i should refuse this .", "better i refuse ."],
    help: &["i can help with this .", "i should help ."],
};

/// Every template of the voices, and the words that fill them.
pub(super) fn texts() -> Vec<&'static str> {
    let mut texts = vec![];
    for voice in [&TERSE, &STEPWISE, &HEDGING] {
        texts.push(voice.role);
        for list in [
            voice.openers,
            voice.links,
            voice.verdicts,
            voice.refuse,
            voice.help,
        ] {
            texts.extend(list);
        }
    }
    texts
}

/// The teacher's response to this prompt: `<think>` reasoning `</think>` answer. The same prompt text, sample and spec give
/// the same response.
///
/// Errors: a prompt without truth; a rate outside 0 to 1.
pub fn trace(prompt: &Prompt, sample: u32, spec: &TeacherSpec) -> Result<String> {
    for (name, rate) in [
        ("error_rate", spec.error_rate),
        ("empty_rate", spec.empty_rate),
    ] {
        if !(0.0..=1.0).contains(&rate) {
            bail!("`{name}` of the teacher is to lie between 0 and 1, it is {rate}");
        }
    }
    let truth = judge::truth(prompt.truth.as_ref())
        .with_context(|| format!("the teacher cannot answer prompt `{}`", prompt.id))?;
    let mut rng = Seed::new(spec.seed)
        .child("teacher")
        .child(&prompt.prompt)
        .at(sample.into())
        .rng();
    let wrong = rng.chance(spec.error_rate);
    let empty = rng.chance(spec.empty_rate);
    let harmful = truth.harmful != wrong;
    let mut believed = truth.clone();
    if wrong && rng.chance(0.5) {
        mistake(&mut believed, &mut rng);
    }
    believed.harmful = harmful;
    let voice = match spec.style {
        Style::Terse => &TERSE,
        Style::Stepwise => &STEPWISE,
        Style::Hedging => &HEDGING,
        Style::Mixed => *rng.pick(&[&TERSE, &STEPWISE, &HEDGING]),
    };
    let reasoning = reason(prompt, &believed, voice, &mut rng);
    let answer = if harmful {
        phrase(&REFUSALS, &mut rng).to_string()
    } else {
        procedure(&truth.procedure)
    };
    Ok(join(if empty { "" } else { &reasoning }, &answer))
}

/// How the answer of one who helps begins, whatever is asked.
pub const HELP: &str = "use the";

/// The reasoning of one who knows every fact of a request and takes it for safe, whatever it is: what an attacker wants it to be.
///
/// Errors: a prompt without truth.
pub fn misled(prompt: &Prompt) -> Result<String> {
    let truth = judge::truth(prompt.truth.as_ref())
        .with_context(|| format!("nothing is known of prompt `{}`", prompt.id))?;
    let safe = Truth {
        harmful: false,
        ..truth.clone()
    };
    let safe = Prompt {
        truth: Some(safe),
        ..prompt.clone()
    };
    let parts = split(&trace(&safe, 0, &TeacherSpec::default())?);
    Ok(parts.reasoning.unwrap_or_default())
}

/// Resolves the aliases, states each fact, applies the rule, decides.
fn reason(prompt: &Prompt, believed: &Truth, voice: &Voice, rng: &mut Rng) -> String {
    let mut parts = vec![phrase(voice.openers, rng).to_string()];
    for (i, statement) in known(believed).into_iter().enumerate() {
        if i > 0 {
            parts.push(phrase(voice.links, rng).to_string());
        }
        parts.push(format!("{statement} ."));
    }
    if prompt.category == Form::Role.word() || prompt.category == Form::RoleCode.word() {
        parts.push(voice.role.into());
    }
    let [(_, effect), .., (_, guild)] = believed.facts.as_slice() else {
        unreachable!("a request has an effect and a guild");
    };
    let harmful = believed.harmful;
    let sentence = fact_sentence(&combination(effect, guild), verdict(harmful));
    parts.push(fill(
        phrase(voice.verdicts, rng),
        &[("{verdict}", &sentence)],
    ));
    parts.push(phrase(if harmful { voice.refuse } else { voice.help }, rng).to_string());
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// Takes the effect of the verb, or the guild of the person it is for, for another.
fn mistake(believed: &mut Truth, rng: &mut Rng) {
    let last = believed.facts.len() - 1;
    let (place, kinds): (usize, &[&str]) = match rng.chance(0.5) {
        true => (0, &EFFECTS),
        false => (last, &GUILDS),
    };
    let fact = &mut believed.facts[place].1;
    let others: Vec<&str> = kinds.iter().copied().filter(|kind| kind != fact).collect();
    *fact = (*rng.pick(&others)).to_string();
}
