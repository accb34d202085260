//! What the recipes claim of each other, and what the numbers say to it: the answers of `verdicts`, put for a reader.

use crate::metrics;
use crate::side::Side;
use crate::verdicts::decide::Verdict;
use crate::verdicts::{self, Answer, Weighed, show};
use anyhow::Result;
use base::stats::crossed::ALPHA;
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
    /// Nothing where the claim is within its recipe.
    pub against: Option<String>,
    /// Also the name of a class of the style.
    pub verdict: &'static str,
    /// As if it were the only claim, where that is another.
    pub alone: Option<&'static str>,
    /// Corrected for all claims.
    pub p: Option<String>,
    pub seeds: usize,
    /// What would settle it, where it is open.
    pub open: Option<String>,
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
    /// Of the bound that the verdict is about.
    pub p: Option<String>,
    /// Where it is about several metrics: each.
    pub parts: Vec<Part>,
    pub correlation: Option<String>,
    pub own: String,
    pub other: String,
    /// What stands beside the own value and the other one.
    pub beside: [Option<String>; 2],
    pub difference: String,
    pub interval: Option<String>,
    /// Prompts in pairs, of the seed that has fewest.
    pub n: usize,
    pub verdict: &'static str,
    pub doubtful: bool,
}

/// One metric of several: both values, the difference.
#[derive(Serialize)]
pub struct Part {
    pub label: String,
    pub own: String,
    pub other: String,
    pub difference: String,
}

pub fn claims(store: &Store, sides: &[Side]) -> Result<Claims> {
    let sides: Vec<&Side> = sides.iter().collect();
    let answers = verdicts::answers(store, &sides, ALPHA, |_| true)?;
    Ok(Claims {
        summary: show::summary(&answers),
        shown: answers.iter().map(shown).collect(),
        answers,
    })
}

fn shown(answer: &Answer) -> Shown {
    Shown {
        recipe: answer.recipe.clone(),
        about: answer.about.clone(),
        against: (!answer.within).then(|| answer.against.clone()),
        verdict: answer.verdict.map_or("unanswered", Verdict::word),
        alone: answer
            .raw_verdict
            .filter(|raw| answer.verdict != Some(*raw))
            .map(Verdict::word),
        p: answer.p.map(show::p_value),
        open: show::open(answer),
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
    let difference = metrics::difference(&c.unit, c.numbers.difference, c.numbers.interval);
    let (difference, interval) = match difference.split_once(" [") {
        Some((value, interval)) => (value.to_string(), Some(format!("[{interval}"))),
        None => (difference, None),
    };
    Condition {
        expected: format!("{}: {}", c.label, show::expected(c)),
        p: c.p_verdict.map(show::p_value),
        parts: c.parts.iter().map(|part| part_of(c, part)).collect(),
        correlation: c.correlation.map(|r| format!("{r:.2}")),
        own: value(c.numbers.second),
        other: value(c.numbers.first),
        beside: [
            c.beside.and_then(|b| b.second.text()),
            c.beside.and_then(|b| b.first.text()),
        ],
        difference,
        interval,
        n: c.numbers.pairs,
        verdict: c.verdict.word(),
        doubtful: c.doubtful,
    }
}

fn part_of(c: &Weighed, part: &verdicts::Part) -> Part {
    let value = |x: f64| match c.unit.as_str() {
        "share" => format!("{} %", metrics::number("share", x)),
        unit => metrics::number(unit, x),
    };
    let n = &part.numbers;
    Part {
        label: part.label.clone(),
        own: value(n.second),
        other: value(n.first),
        difference: metrics::difference(&c.unit, n.difference, n.interval),
    }
}
