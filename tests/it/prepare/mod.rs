//! Preparing prompts: what is picked, what is like what, and that what goes is told with its reason.

mod alike;
mod nodes;
mod overlaps;
mod picked;

use pipe::base::params::{ParamSet, defaults};
use pipe::base::rng::{Rng, Seed};
use pipe::base::rows::{Prompt, PromptClass};
use pipe::base::value::{Value, Values};
use pipe::kinds::data::removed::Picked;
use std::collections::BTreeMap;

/// The kind's defaults with some parameters set.
fn params<P: ParamSet>(set: &[(&str, Value)]) -> P {
    let mut values: Values = defaults::<P>();
    for (name, value) in set {
        values.insert(name.to_string(), value.clone());
    }
    P::read(&values).unwrap()
}

fn word(text: &str) -> Value {
    Value::Str(text.into())
}

fn words(list: &[&str]) -> Value {
    Value::List(list.iter().map(|w| word(w)).collect())
}

fn prompt(id: &str, text: &str) -> Prompt {
    Prompt {
        id: id.into(),
        class: PromptClass::Harmful,
        prompt: text.into(),
        source: "here".into(),
        category: String::new(),
        difficulty: 0,
        labels: BTreeMap::new(),
        truth: None,
        attacked: None,
    }
}

/// Prompts `0`, `1`, … of these texts.
fn prompts(texts: &[impl AsRef<str>]) -> Vec<Prompt> {
    let row = |(i, text): (usize, &_)| prompt(&i.to_string(), AsRef::<str>::as_ref(text));
    texts.iter().enumerate().map(row).collect()
}

fn ids(prompts: &[Prompt]) -> Vec<&str> {
    prompts.iter().map(|p| p.id.as_str()).collect()
}

/// Id to (reason, details as JSON) of what was removed.
fn why(picked: &Picked) -> BTreeMap<&str, (&str, String)> {
    let row = |r: &'_ pipe::kinds::data::removed::Removed<Prompt>| {
        (r.reason, serde_json::to_string(&r.details).unwrap())
    };
    let removed = picked.removed().iter();
    removed.map(|r| (r.row.id.as_str(), row(r))).collect()
}

/// A sentence of so many words out of a vocabulary of `of`.
fn sentence(rng: &mut Rng, words: usize, of: usize) -> Vec<String> {
    (0..words).map(|_| spelt(rng.below(of))).collect()
}

/// The word of a number: four letters and more, no two alike.
fn spelt(number: usize) -> String {
    let mut rest = Seed::new(7).at(number as u64).rng().next_u64();
    let mut word = String::new();
    for _ in 0..4 + number % 5 {
        word.push((b'a' + (rest % 26) as u8) as char);
        rest /= 26;
    }
    format!("{word}{number}")
}
