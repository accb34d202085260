//! What the recipes claim of each other, and what the numbers say to it: the answers of `verdicts`, put for a reader.

use crate::beside::Sided;
use crate::metrics;
use crate::side::Side;
use crate::verdicts::decide::Verdict;
use crate::verdicts::{self, Answer, Weighed, show};
use anyhow::Result;
use base::claim::Expect;
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
    /// What stands beside the own value and the other one.
    pub beside: [Option<String>; 2],
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
    let value = |x: f64| metrics::one(&c.unit, x);
    let difference = metrics::difference(&c.unit, c.numbers.difference, c.numbers.interval);
    let (difference, interval) = match difference.split_once(" [") {
        Some((value, interval)) => (value.to_string(), Some(format!("[{interval}"))),
        None => (difference, None),
    };
    let whole = Condition {
        expected: format!("{}: {}", c.label, show::expected(c)),
        p: c.p_verdict.map(show::p_value),
        parts: c.parts.iter().map(|part| part_of(c, part)).collect(),
        correlation: c.correlation.map(|r| format!("{r:.2}")),
        own: value(c.numbers.second),
        other: value(c.numbers.first),
        beside: beside(c.beside),
        difference,
        interval,
        n: c.numbers.pairs,
        verdict: c.verdict.word(),
        doubtful: c.doubtful,
    };
    match c.asked {
        // Several are looked at side by side, and their mean is nothing that was asked about.
        Expect::Dominates => Condition {
            own: String::new(),
            other: String::new(),
            difference: String::new(),
            interval: None,
            ..whole
        },
        _ => whole,
    }
}

/// In words, the own side first.
fn beside(sided: Option<Sided>) -> [Option<String>; 2] {
    let own = sided.and_then(|b| b.second.text());
    [own, sided.and_then(|b| b.first.text())]
}

fn part_of(c: &Weighed, part: &verdicts::Part) -> Part {
    let value = |x: f64| metrics::one(&c.unit, x);
    let n = &part.numbers;
    Part {
        label: part.label.clone(),
        own: value(n.second),
        other: value(n.first),
        beside: beside(part.beside),
        difference: metrics::difference(&c.unit, n.difference, n.interval),
    }
}
