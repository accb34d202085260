//! What the page says first, in words: how many claims hold, the largest difference that a claim found with its interval, and what
//! the recipes differ by. Every number is `verdicts`', every difference of recipes `compare`'s.

use crate::compare::measures::Numbers;
use crate::compare::show::differences;
use crate::compare::structure::structure;
use crate::html::frontier::{Frontier, Point};
use crate::html::series::Estimate;
use crate::html::study::{Recipe, Study};
use crate::metrics;
use crate::pairing;
use crate::side::Side;
use crate::verdicts::decide::Verdict;
use crate::verdicts::{self, Answer, Weighed};
use base::claim::{Axes, Expect};
use base::text::count;
use serde::Serialize;

#[derive(Serialize)]
pub struct Story {
    /// `5 of 8 claims are reproduced, 1 is contradicted, 2 are inconclusive.`
    pub headline: String,
    /// The largest difference that a claim is about; of no claims, the ends of the frontier.
    pub main: Option<String>,
    pub differs: Vec<Differs>,
}

/// What makes a recipe another than the one that it is compared with.
#[derive(Debug, PartialEq, Serialize)]
pub struct Differs {
    pub recipe: String,
    pub from: String,
    /// `rl (grpo): kl_coefficient: 0.001 -> 0.01`, `only in kl: rl-deeper (grpo)`.
    pub lines: Vec<String>,
    /// Nodes that are the same by themselves and have other inputs.
    pub below: usize,
}

pub fn story(study: &Study, answers: &[Answer], frontier: &Frontier) -> Story {
    Story {
        headline: headline(answers),
        main: main(answers).or_else(|| ends(&frontier.points)),
        differs: differs(study),
    }
}

fn headline(answers: &[Answer]) -> String {
    if answers.is_empty() {
        return "The recipes make no claims.".into();
    }
    let all = answers.len();
    let of = |verdict: Option<Verdict>| answers.iter().filter(|a| a.verdict == verdict).count();
    let parts = [
        (of(Some(Verdict::Reproduced)), "reproduced"),
        (of(Some(Verdict::Contradicted)), "contradicted"),
        (of(Some(Verdict::Inconclusive)), "inconclusive"),
        (of(None), "not answered"),
    ];
    let is = |n: usize| if n == 1 { "is" } else { "are" };
    // `1 of 3 claims is`, `0 of 1 claim is`: of none the verb goes with all of them.
    let first = |n: usize| is(if n == 0 { all } else { n });
    let told: Vec<String> = parts
        .iter()
        .enumerate()
        .filter(|(i, (n, _))| *i == 0 || *n > 0)
        .map(|(i, (n, word))| match i {
            0 => {
                let claims = count(all as u64, "claim", "claims");
                format!("{n} of {claims} {} {word}", first(*n))
            }
            _ => format!("{n} {} {word}", is(*n)),
        })
        .collect();
    format!("{}.", told.join(", "))
}

/// A difference that a claim is about, of one metric or of the mean of several.
struct Found<'a> {
    answer: &'a Answer,
    unit: &'a str,
    label: &'a str,
    /// The other metric, where two of one node are compared.
    than: Option<&'a str>,
    numbers: &'a Numbers,
}

/// Of what is settled before what is open, of what can be read before what cannot, of shares before other units: the largest.
fn main(answers: &[Answer]) -> Option<String> {
    let found = answers
        .iter()
        .flat_map(|answer| answer.conditions.iter().map(move |c| (answer, c)));
    let found = found.filter(|(_, c)| c.asked != Expect::Within);
    let found = found.flat_map(|(answer, c)| parts(answer, c));
    let rank = |f: &Found| {
        let open = matches!(f.answer.verdict, None | Some(Verdict::Inconclusive));
        let order = [open, f.answer.doubtful(), f.unit != "share"];
        (order.map(|bad| !bad), f.numbers.difference.abs())
    };
    let found = found.max_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        // Of equals the first is taken.
        let order = a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
        order.then(std::cmp::Ordering::Greater)
    })?;
    Some(sentence(&found))
}

fn parts<'a>(answer: &'a Answer, c: &'a Weighed) -> Vec<Found<'a>> {
    let found = |label, numbers| Found {
        answer,
        unit: &c.unit,
        label,
        than: c.than_label.as_deref(),
        numbers,
    };
    match c.asked {
        Expect::Dominates => {
            let each = c.parts.iter();
            each.map(|p| found(p.label.as_str(), &p.numbers)).collect()
        }
        _ => vec![found(&c.label, &c.numbers)],
    }
}

fn sentence(f: &Found) -> String {
    let value = |x: f64| match f.unit {
        "share" => format!("{} %", metrics::number("share", x)),
        unit => metrics::number(unit, x),
    };
    let n = f.numbers;
    let (own, other) = match (f.than, f.answer.recipe == f.answer.against) {
        (Some(than), _) => (String::new(), format!(" of {than}")),
        (None, true) => (String::new(), String::new()),
        (None, false) => (
            format!(" in {}", f.answer.recipe),
            format!(" in {}", f.answer.against),
        ),
    };
    let difference = metrics::difference(f.unit, n.difference, None);
    let interval = n.interval.map_or(String::new(), |interval| {
        let whole = metrics::difference(f.unit, n.difference, Some(interval));
        let interval = whole.split_once(" [").map_or("", |(_, rest)| rest);
        format!(", 95 % interval [{interval}")
    });
    let seeds = count(n.seeds as u64, "seed", "seeds");
    let prompts = count(n.pairs as u64, "prompt", "prompts");
    let verdict = f.answer.verdict.map_or("not answered", Verdict::word);
    let doubt = match f.answer.doubtful() {
        true => ", though more than a tenth of the answers behind it are unreadable",
        false => "",
    };
    format!(
        "The largest difference that a claim is about: {}{own} is {}, {}{other}: {difference}{interval} ({seeds}, {prompts}). \
         “{}” is {verdict}{doubt}.",
        f.label,
        value(n.second),
        value(n.first),
        f.answer.about.trim_end_matches('.'),
    )
}

/// Without claims: what defends best and what helps most.
fn ends(points: &[Point]) -> Option<String> {
    let best = |of: fn(&Point) -> f64| {
        points.iter().reduce(|a, b| match of(b) > of(a) {
            true => b,
            false => a,
        })
    };
    let (safest, most) = (best(|p| p.defense.value)?, best(|p| p.compliance.value)?);
    if points.len() < 2 {
        return None;
    }
    let several = |p: &Point| points.iter().filter(|q| q.method == p.method).count() > 1;
    let name = |p: &Point| match p.lambda {
        Some(lambda) if several(p) => format!("{} (λ = {lambda})", p.method),
        _ => p.method.clone(),
    };
    let shown = |e: &Estimate| match &e.text.1 {
        Some(interval) => format!("{} {interval}", e.text.0),
        None => e.text.0.clone(),
    };
    Some(format!(
        "{} defends best, {} of the harmful prompts, and complies with {} of the others; {} complies most, with {}, and defends {}.",
        name(safest),
        shown(&safest.defense),
        shown(&safest.compliance),
        name(most),
        shown(&most.compliance),
        shown(&most.defense),
    ))
}

/// Of every recipe but the one that the others are compared with.
fn differs(study: &Study) -> Vec<Differs> {
    let own =
        |recipe: &Recipe| -> Vec<&Side> { recipe.sides.iter().map(|s| &study.sides[*s]).collect() };
    let mut found = vec![];
    for (at, recipe) in study.recipes.iter().enumerate() {
        let sides = own(recipe);
        let Some(from) = against(study, &sides).or_else(|| (at > 0).then_some(0)) else {
            continue;
        };
        if from == at {
            continue;
        }
        let others = own(&study.recipes[from]);
        let none = Axes::new();
        let pairing = pairing::pair(&others, &sides, &none, &none).ok();
        let pair = pairing.and_then(|p| p.groups.first().map(|g| g.pairs[0]));
        let (first, second) = pair.unwrap_or((others[0], sides[0]));
        let structure = structure(first, second);
        let names = (study.recipes[from].name, recipe.name);
        found.push(Differs {
            recipe: recipe.name.into(),
            from: names.0.into(),
            lines: differences(&structure, names),
            below: structure.below.len(),
        });
    }
    found
}

/// The other recipe of this study that its first claim is against.
fn against(study: &Study, sides: &[&Side]) -> Option<usize> {
    let all: Vec<&Side> = study.sides.iter().collect();
    sides[0].claims.iter().find_map(|claim| {
        let other = verdicts::of_file(&all, claim.against.as_ref()?)
            .into_iter()
            .next()?;
        let at = study
            .recipes
            .iter()
            .position(|r| r.file == other.file.as_path() && r.name == other.recipe)?;
        (other.file != sides[0].file).then_some(at)
    })
}
