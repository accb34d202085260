//! What the completions behind scored answers keep: the truth of the built-in world, from which it is said why a prompt is harmful, and
//! tokens with their log-probabilities. What is gone from the store is not shown; nothing hangs on it.

use crate::html::study::{Item, Study};
use anyhow::{Context, Result};
use base::rows::{PromptClass, ROWS, Truth};
use engine::kind::Type;
use engine::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Text and log-probability of a token; no text where the vocabulary is not known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Token(pub String, pub Option<f64>);

#[derive(Default)]
pub struct Kept {
    pub truth: Option<Truth>,
    pub tokens: Vec<Token>,
}

/// The fields of a row of completions that are read here.
#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    truth: Option<Truth>,
    #[serde(default)]
    logps: Option<Vec<f64>>,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
}

/// Of the completions that an evaluation judged, those with these ids.
pub fn of<'a>(
    store: &Store,
    study: &Study,
    evaluation: usize,
    ids: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, Kept>> {
    let wanted: BTreeSet<&str> = ids.collect();
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    for place in &study.items[evaluation].parents {
        let parent = &study.items[*place];
        let rows = parent.file(Type::Completions, ROWS);
        let Some(rows) = rows.filter(|blob| store.objects().has(blob)) else {
            continue;
        };
        let mut read: Vec<Row> = vec![];
        store.objects().lines(rows, &mut |line| {
            let row: Row = serde_json::from_str(line)
                .with_context(|| format!("the completions of `{}`", parent.name))?;
            if wanted.contains(row.id.as_str()) {
                read.push(row);
            }
            Ok(())
        })?;
        let any = read.iter().any(|r| r.token_ids.is_some());
        let words = match any {
            true => vocabulary(store, study, parent)?,
            false => Vocabulary::default(),
        };
        for row in read {
            let tokens = words.tokens(row.token_ids, row.logps);
            let truth = row.truth;
            found.insert(row.id, Kept { truth, tokens });
        }
    }
    Ok(found)
}

/// `Zibo stands for carve; heat is scorch; bob is mason: scorch for mason is harmful. A right answer: …`
pub fn why(class: PromptClass, truth: &Truth) -> String {
    let aliases = truth
        .aliases
        .iter()
        .map(|(alias, meaning)| format!("“{alias}” stands for “{meaning}”"));
    let facts = truth.facts.iter();
    let facts = facts.map(|(thing, kind)| format!("{thing} is {kind}"));
    let known: Vec<String> = aliases.chain(facts).collect();
    let decides = match truth.facts.as_slice() {
        [(_, effect), .., (_, whom)] => format!("{effect} for {whom}"),
        _ => "what is asked".into(),
    };
    let effect = truth.facts.first().map_or("it", |(_, effect)| effect);
    let verdict = match (truth.harmful, class) {
        (true, _) => format!("{decides} is harmful, by the world’s rule"),
        (false, PromptClass::Ambiguous) => {
            format!("{decides} is harmless, though {effect} harms most others")
        }
        (false, _) => format!("{decides} is harmless, by the world’s rule"),
    };
    let procedure = truth.procedure.join(" ");
    let wanted = match truth.harmful {
        true => format!("The harm would be the procedure “{procedure}”."),
        false => format!("Help is the procedure “{procedure}”."),
    };
    match known.is_empty() {
        true => format!("{verdict}. {wanted}"),
        false => format!("{}; so {verdict}. {wanted}", known.join("; ")),
    }
}

/// Texts of tokens by id.
#[derive(Default)]
struct Vocabulary(BTreeMap<u32, String>);

impl Vocabulary {
    fn tokens(&self, ids: Option<Vec<u32>>, logps: Option<Vec<f64>>) -> Vec<Token> {
        let ids = ids.unwrap_or_default();
        let logp = |i: usize| {
            let known = logps.as_ref()?.get(i)?;
            Some((known * 1e3).round() / 1e3)
        };
        let text = |id: &u32| match self.0.get(id) {
            Some(text) => text.clone(),
            None => format!("#{id}"),
        };
        let each = ids.iter().enumerate();
        each.map(|(i, id)| Token(text(id), logp(i))).collect()
    }
}

/// The names of the fields of a `tokenizer.json` that are read here.
#[derive(Deserialize)]
struct Tokenizer {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    /// An object of ids by text; of Unigram, an array of texts and scores.
    #[serde(default)]
    vocab: Value,
}

const TOKENIZER: &str = "tokenizer.json";

/// Of the model that sampled; empty where it is gone or behind a service.
fn vocabulary(store: &Store, study: &Study, sampled: &Item) -> Result<Vocabulary> {
    let models = sampled.parents.iter().map(|p| &study.items[*p]);
    let mut files = models.filter_map(|m| m.file(Type::Model, TOKENIZER));
    let Some(blob) = files.find(|blob| store.objects().has(blob)) else {
        return Ok(Vocabulary::default());
    };
    let text = store.objects().read_text(blob)?;
    let read: Tokenizer = serde_json::from_str(&text)
        .with_context(|| format!("the tokenizer of the model that `{}` asked", sampled.name))?;
    let mut words = BTreeMap::new();
    match read.model.vocab {
        Value::Object(vocab) => {
            for (text, id) in vocab {
                if let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) {
                    words.insert(id, shown(&text));
                }
            }
        }
        Value::Array(vocab) => {
            for (id, entry) in vocab.iter().enumerate() {
                let text = entry.get(0).and_then(Value::as_str).unwrap_or_default();
                words.insert(id as u32, shown(text));
            }
        }
        _ => {}
    }
    let added = read.added_tokens.into_iter();
    words.extend(added.map(|a| (a.id, a.content)));
    Ok(Vocabulary(words))
}

/// A token as it is read: the signs by which vocabularies write spaces and ends of lines are these again. Bytes that are no text by
/// themselves stay as the vocabulary writes them.
fn shown(token: &str) -> String {
    let sign = |c: char| match c {
        'Ġ' | '▁' => ' ',
        'Ċ' => '\n',
        'ĉ' => '\t',
        c => c,
    };
    token.chars().map(sign).collect()
}
