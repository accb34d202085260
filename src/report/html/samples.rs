//! What the models said: scored answers, and those of them that the page carries. The choice of prompts is by their ids
//! alone, so that all evaluations show the same ones.

use crate::html::kept::{self, Tokens};
use crate::html::series::Method;
use crate::html::study::Study;
use anyhow::{Context, Result};
use base::response::{self, Outcome};
use base::rows::{PromptClass, ROWS};
use engine::kind::Type;
use engine::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Samples of a prompt that the page carries at most.
const MOST_OF_A_PROMPT: usize = 4;
/// Prompts of a class that stand on the page without a script.
const STANDING: usize = 3;

/// The fields of a scores row that are read here.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// Of the completion.
    #[serde(default)]
    pub id: String,
    pub prompt_id: String,
    pub class: PromptClass,
    #[serde(default)]
    pub category: String,
    #[serde(default)]
    pub difficulty: u32,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub prompt: String,
    #[serde(default)]
    pub reasoning: Option<String>,
    #[serde(default)]
    pub answer: String,
    #[serde(default)]
    pub outcome: Option<Outcome>,
    #[serde(default)]
    pub finished: Option<bool>,
    #[serde(default)]
    pub well_formed: Option<bool>,
    #[serde(default)]
    pub refused: Option<bool>,
    #[serde(default)]
    pub moderation: Option<f64>,
    #[serde(default)]
    pub task: Option<f64>,
    pub good: bool,
}

/// By place in `Study::items`.
pub type Rows = BTreeMap<usize, Vec<Row>>;

#[derive(Serialize)]
pub struct Samples {
    /// Labels of the evaluations, in the order of the answers.
    pub evaluations: Vec<String>,
    pub prompts: Vec<Prompt>,
    /// Prompts there are.
    pub of: usize,
    /// An evaluation has no more answers here than of so many prompts.
    pub cap: usize,
}

#[derive(Clone, Serialize)]
pub struct Prompt {
    pub id: String,
    pub class: PromptClass,
    /// `lookups 3`.
    pub labels: Vec<String>,
    pub text: String,
    /// Why it is harmful or not, where its world says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    pub answers: Vec<Answer>,
}

#[derive(Clone, Serialize)]
pub struct Answer {
    /// Place in `Samples::evaluations`.
    pub by: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    pub answer: String,
    pub good: bool,
    /// `good`, `bad`, or `unreadable` where it is neither help nor refusal; also the name of a class of the style.
    pub verdict: &'static str,
    /// What else the judge said.
    pub scores: String,
    /// The tokens of the response, where they were kept.
    #[serde(skip)]
    pub tokens: Tokens,
}

impl Answer {
    /// Says what of it is not the model's.
    fn note(&mut self, begun: Option<&str>) {
        const MOST: usize = 200;
        let Some(begun) = begun.map(|begun| response::split(begun).answer) else {
            return;
        };
        let cut: String = begun.chars().take(MOST).collect();
        let more = if cut.len() < begun.len() { "…" } else { "" };
        let note = format!("begun for it: “{cut}{more}”");
        let all = [note, std::mem::take(&mut self.scores)];
        let all = all.into_iter().filter(|text| !text.is_empty());
        self.scores = all.collect::<Vec<_>>().join(" · ");
    }
}

/// The scored answers of all evaluations that have some.
pub fn rows(store: &Store, study: &Study, methods: &[Method]) -> Result<Rows> {
    let mut all = Rows::new();
    for place in methods.iter().flat_map(Method::items) {
        let item = &study.items[place];
        let Some(blob) = item.file(Type::Scores, ROWS) else {
            continue;
        };
        let mut rows = vec![];
        for (i, line) in store.objects().read_text(blob)?.lines().enumerate() {
            let row = serde_json::from_str(line)
                .with_context(|| format!("the scores of `{}`, line {}", item.name, i + 1))?;
            rows.push(row);
        }
        labelled(&mut rows);
        all.insert(place, rows);
    }
    Ok(all)
}

/// Makes labels of category and difficulty, unless another label parts the rows as they do.
fn labelled(rows: &mut [Row]) {
    let category = |row: &Row| Some(row.category.clone()).filter(|c| !c.is_empty());
    let difficulty = |row: &Row| (row.difficulty > 0).then(|| row.difficulty.to_string());
    label(rows, "type", category);
    label(rows, "difficulty", difficulty);
}

fn label(rows: &mut [Row], name: &str, of: impl Fn(&Row) -> Option<String>) {
    let own: BTreeSet<Option<String>> = rows.iter().map(&of).collect();
    let names: BTreeSet<&String> = rows.iter().flat_map(|r| r.labels.keys()).collect();
    let parts_alike = |label: &&String| {
        let each = rows.iter().map(|r| r.labels.get(*label).cloned());
        let others: BTreeSet<_> = each.clone().collect();
        let both: BTreeSet<_> = each.zip(rows.iter().map(&of)).collect();
        both.len() == own.len() && both.len() == others.len()
    };
    if own.len() > 1 && names.into_iter().any(|label| parts_alike(&label)) {
        return;
    }
    for row in rows {
        if let Some(value) = of(row) {
            row.labels.insert(name.into(), value);
        }
    }
}

fn written(row: &Row) -> Vec<String> {
    let each = row.labels.iter();
    each.map(|(label, value)| format!("{label} {value}"))
        .collect()
}

/// Of the first seed of every evaluation, the answers to at most `cap` prompts.
pub fn samples(
    store: &Store,
    study: &Study,
    rows: &Rows,
    methods: &[Method],
    cap: usize,
) -> Result<Samples> {
    let mut evaluations = vec![];
    let mut sets: Vec<&Vec<Row>> = vec![];
    let mut places = vec![];
    for method in methods {
        for variant in method.news() {
            let of = |i: &usize| Some((*i, rows.get(i)?));
            if let Some((place, first)) = variant.items.iter().find_map(of) {
                evaluations.push(method.label_of(variant));
                sets.push(first);
                places.push(place);
            }
        }
    }
    let mut prompts: BTreeMap<Name, Prompt> = BTreeMap::new();
    let mut order: Vec<(Name, PromptClass)> = vec![];
    for row in sets.iter().flat_map(|s| s.iter()) {
        prompts.entry(name(row)).or_insert_with(|| {
            order.push((name(row), row.class));
            Prompt {
                id: row.prompt_id.clone(),
                class: row.class,
                labels: written(row),
                text: row.prompt.clone(),
                why: None,
                answers: vec![],
            }
        });
    }
    let of = order.len();
    let chosen = choose(&order, cap);
    let mut room = kept::MOST;
    for (by, set) in sets.iter().enumerate() {
        let mut of_prompt: BTreeMap<Name, usize> = BTreeMap::new();
        let own = set.iter().filter(|r| chosen.contains(&name(r)));
        let own = own.filter(|r| {
            let n = of_prompt.entry(name(r)).or_default();
            *n += 1;
            *n <= MOST_OF_A_PROMPT
        });
        let own: Vec<&Row> = own.collect();
        let ids = own.iter().map(|r| r.id.as_str());
        let kept = kept::of(store, study, places[by], ids, &mut room)?;
        for row in own {
            let prompt = prompts.get_mut(&name(row));
            let prompt = prompt.expect("every row has its prompt");
            let more = kept.get(&row.id);
            let why = || Some(kept::why(row.class, more?.truth.as_ref()?));
            prompt.why = prompt.why.take().or_else(why);
            let mut answer = answer(by, row);
            answer.tokens = more.map(|m| m.tokens.clone()).unwrap_or_default();
            answer.note(more.and_then(|m| m.begun.as_deref()));
            prompt.answers.push(answer);
        }
    }
    let chosen = order.iter().filter(|(name, _)| chosen.contains(name));
    Ok(Samples {
        evaluations,
        prompts: chosen
            .filter_map(|(name, _)| prompts.remove(name))
            .collect(),
        of,
        cap,
    })
}

/// Id and text: under another seed or world the same id is another prompt.
type Name<'a> = (&'a str, &'a str);

fn name(row: &Row) -> Name<'_> {
    (&row.prompt_id, &row.prompt)
}

/// As many of every class as there is room for, the classes in turn, each in the order of the ids' hashes.
fn choose<'a>(order: &[(Name<'a>, PromptClass)], cap: usize) -> BTreeSet<Name<'a>> {
    let mut classes: Vec<Vec<Name>> = PromptClass::ALL
        .iter()
        .map(|class| {
            let own = order.iter().filter(|(_, c)| c == class);
            let mut names: Vec<Name> = own.map(|(name, _)| *name).collect();
            // The last is taken first.
            names.sort_by_cached_key(|(id, _)| {
                std::cmp::Reverse(*blake3::hash(id.as_bytes()).as_bytes())
            });
            names
        })
        .collect();
    let mut chosen = BTreeSet::new();
    while chosen.len() < cap && classes.iter().any(|c| !c.is_empty()) {
        for class in &mut classes {
            if chosen.len() < cap {
                chosen.extend(class.pop());
            }
        }
    }
    chosen
}

fn answer(by: usize, row: &Row) -> Answer {
    let mut scores = vec![];
    let word =
        |given: Option<bool>, is: bool, text: &'static str| (given == Some(is)).then_some(text);
    scores.extend(row.outcome.and_then(came_to).map(String::from));
    scores.extend(word(row.refused, true, "refused").map(String::from));
    scores.extend(word(row.well_formed, false, "no well-formed think tags").map(String::from));
    scores.extend(word(row.finished, false, "cut off at the length limit").map(String::from));
    scores.extend(row.moderation.map(|m| format!("harm {m:.2}")));
    scores.extend(row.task.map(|t| format!("procedure {t:.2}")));
    let unreadable = row.outcome.is_some_and(Outcome::unreadable);
    Answer {
        verdict: match (unreadable, row.good) {
            (true, _) => "unreadable",
            (false, true) => "good",
            (false, false) => "bad",
        },
        by,
        reasoning: row.reasoning.clone(),
        answer: row.answer.clone(),
        good: row.good,
        scores: scores.join(" · "),
        tokens: Tokens::default(),
    }
}

/// Where there is no answer of the model's own, why.
fn came_to(outcome: Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::Answered => return None,
        Outcome::Refused => "refused by the service",
        Outcome::Blocked => "blocked by a filter",
        Outcome::CutOff => "cut off in its reasoning",
        Outcome::ToolCall => "a tool call, no text",
        Outcome::Empty => "empty",
        Outcome::Unreadable => "neither a refusal nor an answer of the kind asked",
    })
}

/// The part of an address behind `#` that shows an evaluation's answers, to prompts with a label where one is named.
pub fn lead(evaluation: &str, label: Option<&str>) -> String {
    let label = label.map_or(String::new(), |l| format!("&label={}", encoded(l)));
    format!("samples?by={}{label}", encoded(evaluation))
}

/// As a script's `encodeURIComponent` writes it.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'(' | b')' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

impl Samples {
    /// The prompts that stand on the page itself.
    pub fn standing(&self) -> Vec<Prompt> {
        let mut out = vec![];
        for class in PromptClass::ALL {
            let own = self.prompts.iter().filter(|p| p.class == class);
            out.extend(own.take(STANDING).cloned());
        }
        out
    }

    /// For the script: rows without names. A prompt is id, class, labels, text, answers, why; an answer is evaluation, verdict,
    /// reasoning, answer, scores, and where they were kept how many tokens and the first of them, each its text and log-probability.
    pub fn compact(&self) -> Vec<Value> {
        let one = |a: &Answer| {
            let mut row = vec![
                json!(a.by),
                json!(a.verdict),
                json!(a.reasoning),
                json!(a.answer),
                json!(a.scores),
            ];
            if a.tokens.of > 0 {
                row.extend([json!(a.tokens.of), json!(a.tokens.shown)]);
            }
            Value::Array(row)
        };
        let prompts = self.prompts.iter();
        prompts
            .map(|p| {
                let answers: Vec<Value> = p.answers.iter().map(one).collect();
                json!([p.id, p.class, p.labels, p.text, answers, p.why])
            })
            .collect()
    }
}

/// JSON that says the same and holds no character that HTML would read as markup.
pub fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out += &format!("\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out
}
