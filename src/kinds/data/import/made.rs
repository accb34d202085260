//! What becomes of the responses of a file: rows of completions and scores, and whose prompt each is.

use super::params::{High, Params};
use super::unit::{Layout, Response, Said, Unit};
use crate::scorers::refusal;
use anyhow::{Context, Result, ensure};
use base::rows::{BEHAVIOR, CompletedPrompt, Completion, Prompt, PromptClass, Score};
use base::text::listed;
use std::collections::BTreeMap;

/// Prompts by their id.
pub struct Known<'a>(&'a BTreeMap<String, Prompt>);

impl<'a> Known<'a> {
    pub fn new(prompts: &'a BTreeMap<String, Prompt>) -> Known<'a> {
        Known(prompts)
    }

    /// By the id that we give, that of its behaviour, or that of the file.
    fn of(&self, id: &str, base: &str, key: &str) -> Option<&'a Prompt> {
        [id, base, key].iter().find_map(|id| self.0.get(*id))
    }
}

/// Rows, as they are made.
pub struct Made {
    pub completions: Vec<Completion>,
    pub scores: Option<Vec<Score>>,
    /// How many are of known prompts, where any are known.
    pub matched: Option<usize>,
    samples: BTreeMap<String, u32>,
    /// Texts of every prompt that the files call the same, in the order in which they come.
    texts: BTreeMap<String, Vec<String>>,
}

impl Made {
    pub fn new(known: bool, scored: bool) -> Made {
        Made {
            completions: vec![],
            scores: scored.then(Vec::new),
            matched: known.then_some(0),
            samples: BTreeMap::new(),
            texts: BTreeMap::new(),
        }
    }

    /// Adds the responses of a file. `apart`: put before ids, where several files have the same.
    pub fn add(
        &mut self,
        unit: &Unit,
        apart: Option<&str>,
        known: Option<&Known>,
        p: &Params,
    ) -> Result<()> {
        for row in rows(unit, p)? {
            let same = format!("{}/{}", apart.unwrap_or_default(), base(unit, row));
            let of_key = self.texts.entry(same).or_default();
            let case = of_key.iter().position(|t| *t == row.prompt);
            let case = case.unwrap_or_else(|| {
                of_key.push(row.prompt.clone());
                of_key.len() - 1
            });
            let prompt = prompt(unit, row, case, apart, known, p);
            self.push(unit, row, prompt, p);
        }
        if let Some(name) = &p.score {
            let names = unit.scores();
            ensure!(
                names.contains(name.as_str()),
                "{} has no score `{name}`; it has {}",
                unit.path.display(),
                match names.is_empty() {
                    true => "none".into(),
                    false => listed(names),
                }
            );
        }
        Ok(())
    }

    fn push(&mut self, unit: &Unit, row: &Response, prompt: (CompletedPrompt, bool), p: &Params) {
        let (prompt, matched) = prompt;
        self.matched = self.matched.map(|n| n + usize::from(matched));
        let sample = self.samples.entry(prompt.prompt_id.clone()).or_default();
        let completion = Completion {
            id: format!("{}#{sample}", prompt.prompt_id),
            sample: *sample,
            prompt,
            response: row.response.clone(),
            begun: None,
            tokens: row.tokens,
            finished: !row.unfinished,
            withheld: row.withheld,
            logps: None,
            token_ids: None,
            served: row.served.clone(),
        };
        *sample += 1;
        if let (Some(scores), Some(name)) = (&mut self.scores, &p.score) {
            let high = p.high.unwrap_or(match unit.layout {
                Layout::HarmBench => High::Harm,
                Layout::Inspect | Layout::LmEval => High::Good,
            });
            scores.push(score(&completion, row.scores.get(name), high, p.threshold));
        }
        self.completions.push(completion);
    }
}

/// The rows that are meant: of lm-eval those of one filter.
fn rows<'a>(unit: &'a Unit, p: &Params) -> Result<&'a [Response]> {
    let Some(filter) = &p.filter else {
        return Ok(&unit.rows);
    };
    let rows = unit.filters.get(filter).with_context(|| {
        let filters = unit.filters.keys().map(String::as_str);
        let path = unit.path.display();
        format!(
            "{path} has no filter `{filter}`; its filters are {}",
            listed(filters)
        )
    })?;
    Ok(rows)
}

/// Where a row's prompt is from.
fn source(unit: &Unit) -> &str {
    match unit.layout {
        Layout::HarmBench => "harmbench",
        Layout::Inspect | Layout::LmEval => &unit.group,
    }
}

/// What a prompt is called, as far as the file's own name for it says.
fn base(unit: &Unit, row: &Response) -> String {
    format!("{}-{}", source(unit), row.key)
}

/// Whose response it is, and whether that is known.
fn prompt(
    unit: &Unit,
    row: &Response,
    case: usize,
    apart: Option<&str>,
    known: Option<&Known>,
    p: &Params,
) -> (CompletedPrompt, bool) {
    let usual = match unit.layout {
        Layout::HarmBench => PromptClass::Harmful,
        Layout::Inspect | Layout::LmEval => PromptClass::Harmless,
    };
    let base = base(unit, row);
    let id = match (unit.layout, case) {
        (Layout::Inspect | Layout::LmEval, 0) => base.clone(),
        _ => format!("{base}#{case}"),
    };
    let found = known.and_then(|known| known.of(&id, &base, &row.key));
    let mut prompt = CompletedPrompt {
        prompt_id: id,
        class: p.class.map_or(usual, PromptClass::from),
        prompt: row.prompt.clone(),
        source: match (unit.layout, unit.group.as_str()) {
            (Layout::HarmBench, "") => source(unit).into(),
            (_, group) => group.into(),
        },
        category: row.category.clone(),
        difficulty: 0,
        labels: row.labels.clone(),
        truth: None,
        attacked: None,
    };
    if let Some(found) = found {
        // Several cases of a behaviour keep ids of their own.
        if found.prompt == row.prompt || case == 0 {
            prompt.prompt_id = found.id.clone();
        }
        prompt.class = found.class;
        prompt.category = found.category.clone();
        prompt.difficulty = found.difficulty;
        let behavior = row.labels.get(BEHAVIOR);
        prompt.labels = found.labels.clone();
        prompt
            .labels
            .extend(behavior.map(|b| (BEHAVIOR.to_string(), b.clone())));
    }
    if let Some(apart) = apart {
        prompt.prompt_id = format!("{apart}/{}", prompt.prompt_id);
    }
    (prompt, found.is_some())
}

/// What was said of a response, as a judge of ours would write it. What has no answer is never good, whatever was said of it.
fn score(completion: &Completion, said: Option<&Said>, high: High, threshold: f64) -> Score {
    let unjudged = Score::unjudged(completion);
    let value = said.and_then(|s| s.value);
    let harm = high == High::Harm;
    Score {
        refused: unjudged.refused || refusal::refuses(&unjudged.answer),
        good: value.is_some_and(|v| (v >= threshold) != harm) && !unjudged.outcome.unreadable(),
        score: value,
        scorable: value.is_none().then_some(false),
        label: said.map(|s| s.label.clone()),
        words: said.and_then(|s| s.words.clone()),
        ..unjudged
    }
}
