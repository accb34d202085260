//! What the completions behind scored answers keep: the truth of the built-in world, from which it is said why a prompt is harmful, what
//! of an answer was written for the model, and tokens with their log-probabilities. What is gone from the store is not shown; nothing hangs on it.

use crate::html::study::{Item, Study};
use anyhow::Result;
use base::rows::{PromptClass, ROWS, Truth};
use engine::kind::{Edge, Type};
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
    pub begun: Option<String>,
    pub tokens: Tokens,
}

/// Of a response, the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens {
    pub shown: Vec<Token>,
    /// How many there are.
    pub of: usize,
}

/// Tokens of one response that a page carries at most, and those of all.
const MOST_OF_A_RESPONSE: usize = 2000;
pub const MOST: usize = 300_000;

/// A `tokenizer.json` that is larger is none.
const LARGEST_TOKENIZER: u64 = 256 << 20;

/// The fields of a row of completions that are read here.
#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    truth: Option<Truth>,
    #[serde(default)]
    begun: Option<String>,
    #[serde(default)]
    logps: Option<Vec<f64>>,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
}

/// Of the completions that an evaluation judged, those with these ids; `room`: tokens that there is room for.
pub fn of<'a>(
    store: &Store,
    study: &Study,
    evaluation: usize,
    ids: impl Iterator<Item = &'a str>,
    room: &mut usize,
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
            // A row that cannot be read shows no more than one that is gone.
            let row = serde_json::from_str::<Row>(line).ok();
            read.extend(row.filter(|row| wanted.contains(row.id.as_str())));
            Ok(())
        })?;
        let any = read.iter().any(|r| r.token_ids.is_some());
        let words = match any {
            true => vocabulary(store, study, parent).unwrap_or_default(),
            false => Vocabulary::default(),
        };
        for row in read {
            let most = MOST_OF_A_RESPONSE.min(*room);
            let tokens = words.tokens(row.token_ids, row.logps, most);
            *room -= tokens.shown.len();
            let kept = Kept {
                truth: row.truth,
                begun: row.begun,
                tokens,
            };
            found.insert(row.id, kept);
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
    /// At most so many; log-probabilities that are not as many as the tokens are those of something else.
    fn tokens(&self, ids: Option<Vec<u32>>, logps: Option<Vec<f64>>, most: usize) -> Tokens {
        let ids = ids.unwrap_or_default();
        let logps = logps.filter(|logps| logps.len() == ids.len());
        let logp = |i: usize| {
            let known = logps.as_ref()?.get(i)?;
            Some((known * 1e3).round() / 1e3)
        };
        let text = |id: &u32| match self.0.get(id) {
            Some(text) => text.clone(),
            None => format!("#{id}"),
        };
        let each = ids.iter().enumerate().take(most);
        Tokens {
            shown: each.map(|(i, id)| Token(text(id), logp(i))).collect(),
            of: ids.len(),
        }
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

/// Of the model that sampled. None where it is gone or behind a service, where several could have sampled, and where its file is
/// damaged: then tokens are shown by their ids.
fn vocabulary(store: &Store, study: &Study, sampled: &Item) -> Option<Vocabulary> {
    let node = sampled.node;
    // The model that it cannot do without: any other port brings one for something else, as for its template.
    let needed = node.inputs.iter().filter(|(name, _)| {
        let port = node.kind.port(name);
        port.is_some_and(|p| p.ty == Type::Model && p.need.of(&node.params))
    });
    let needed: Vec<&Edge> = needed.map(|(_, edge)| edge).collect();
    let [edge] = needed.as_slice() else {
        return None;
    };
    let model = &study.items[study.place(sampled.side, edge.node)];
    let blob = model.file(Type::Model, TOKENIZER)?;
    if blob.size > LARGEST_TOKENIZER || !store.objects().has(blob) {
        return None;
    }
    let text = store.objects().read_text(blob).ok()?;
    let read: Tokenizer = serde_json::from_str(&text).ok()?;
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
    Some(Vocabulary(words))
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
