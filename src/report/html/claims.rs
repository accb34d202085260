//! What the recipes claim of each other, and what the numbers say to it: the answers of `verdicts`, put for a reader.

use crate::metrics;
use crate::side::Side;
use crate::verdicts::{self, Answer, Verdict, Weighed};
use anyhow::Result;
use engine::store::Store;
use serde::Serialize;

#[derive(Serialize)]
pub struct Claims {
    /// `2 reproduced, 1 inconclusive of 3 claims`.
    pub summary: String,
    pub answers: Vec<Answer>,
    /// By answer, as shown.
    #[serde(skip)]
    pub shown: Vec<Shown>,
}

#[derive(Serialize)]
pub struct Shown {
    pub recipe: String,
    pub about: String,
    pub against: String,
    /// Also the name of a class of the style.
    pub verdict: &'static str,
    pub seeds: usize,
    pub unanswered: Option<String>,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
    pub doubtful: bool,
    pub conditions: Vec<Condition>,
}

#[derive(Serialize)]
pub struct Condition {
    /// `compliance lower by 2.0 points`.
    pub expected: String,
    pub own: String,
    pub other: String,
    /// What stands beside the own value and the other one.
    pub beside: [Option<String>; 2],
    pub difference: String,
    pub interval: Option<String>,
    pub verdict: &'static str,
    pub doubtful: bool,
}

pub fn claims(store: &Store, sides: &[Side]) -> Result<Claims> {
    let sides: Vec<&Side> = sides.iter().collect();
    let answers = verdicts::answers(store, &sides)?;
    Ok(Claims {
        summary: verdicts::summary(&answers),
        shown: answers.iter().map(shown).collect(),
        answers,
    })
}

fn shown(answer: &Answer) -> Shown {
    Shown {
        recipe: answer.recipe.clone(),
        about: answer.about.clone(),
        against: answer.against.clone(),
        verdict: answer.verdict.map_or("unanswered", Verdict::word),
        seeds: answer.seeds,
        unanswered: answer.unanswered.clone(),
        notes: answer.notes.clone(),
        warnings: answer.warnings.clone(),
        doubtful: answer.doubtful(),
        conditions: answer.conditions.iter().map(condition).collect(),
    }
}

fn condition(c: &Weighed) -> Condition {
    let share = c.unit == "share";
    let value = |x: f64| {
        let percent = if share { " %" } else { "" };
        format!("{}{percent}", metrics::number(&c.unit, x))
    };
    let by = match (c.by == 0.0, share) {
        (true, _) => String::new(),
        (_, true) => format!("{} points", metrics::number(&c.unit, c.by)),
        (_, false) => metrics::number(&c.unit, c.by),
    };
    let expected = match (c.expect, by.is_empty()) {
        (word, true) => word.to_string(),
        ("within", _) => format!("within {by}"),
        (word, false) => format!("{word} by {by}"),
    };
    let difference = metrics::difference(&c.unit, c.numbers.difference, c.numbers.interval);
    let (difference, interval) = match difference.split_once(" [") {
        Some((value, interval)) => (value.to_string(), Some(format!("[{interval}"))),
        None => (difference, None),
    };
    Condition {
        expected: format!("{}: {expected}", c.label),
        own: value(c.numbers.second),
        other: value(c.numbers.first),
        beside: [
            c.beside.and_then(|b| b.second.text()),
            c.beside.and_then(|b| b.first.text()),
        ],
        difference,
        interval,
        verdict: c.verdict.word(),
        doubtful: c.doubtful,
    }
}
