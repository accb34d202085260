//! What became of the claims of recipes: reproduced, contradicted, inconclusive, or not answered and why. The numbers
//! stand beside every verdict. A reader of records.

use crate::beside::{self, MUCH, Sided};
use crate::compare::measures::{self, Numbers};
use crate::metrics;
use crate::page::Page;
use crate::pairing;
use crate::side::Side;
use crate::table::{Table, left, right};
use anyhow::Result;
use base::claim::{Claim, Condition, Expect};
use base::text::{count, did_you_mean, listed};
use engine::store::Store;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Reproduced,
    Contradicted,
    Inconclusive,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Reproduced => "reproduced",
            Verdict::Contradicted => "contradicted",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

impl Answer {
    /// There is a verdict, and it says little.
    pub fn doubtful(&self) -> bool {
        self.verdict.is_some() && self.conditions.iter().any(|c| c.doubtful)
    }
}

/// What the records say to a claim.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    pub recipe: String,
    pub about: String,
    /// The other recipe.
    pub against: String,
    /// Pairs of trainings behind it.
    pub seeds: usize,
    /// Absent where it is not answered.
    pub verdict: Option<Verdict>,
    /// Why not.
    pub unanswered: Option<String>,
    /// Seeds that are left out, and why.
    pub notes: Vec<String>,
    /// That so many of the answers behind a verdict cannot be read that it says little.
    pub warnings: Vec<String>,
    pub conditions: Vec<Weighed>,
}

/// One condition and its numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Weighed {
    pub metric: String,
    pub label: String,
    pub unit: String,
    pub node: String,
    pub against_node: String,
    /// `lower`, `higher`, `within`.
    pub expect: &'static str,
    pub by: f64,
    /// `first` is the other recipe, `second` the own one.
    #[serde(flatten)]
    pub numbers: Numbers,
    pub verdict: Verdict,
    /// Of the answers behind it, where it is a rate; `first` and `second` as those of the numbers.
    pub beside: Option<Sided>,
    /// On a side, more of the answers cannot be read than a verdict bears.
    pub doubtful: bool,
}

/// Every claim of every recipe among `sides`, in their order.
pub fn answers(store: &Store, sides: &[&Side]) -> Result<Vec<Answer>> {
    let mut found = vec![];
    for own in recipes(sides) {
        for claim in &own[0].claims {
            let others = of_file(sides, &claim.against);
            found.push(answer(store, claim, &own, &others)?);
        }
    }
    Ok(found)
}

/// The claims of one recipe about the other; both sides are the variants of one.
pub fn between(store: &Store, own: &[&Side], others: &[&Side]) -> Result<Vec<Answer>> {
    let mut found = vec![];
    for claim in own.first().map_or(&[][..], |s| s.claims.as_slice()) {
        let against = of_file(others, &claim.against);
        if !against.is_empty() {
            found.push(answer(store, claim, own, &against)?);
        }
    }
    Ok(found)
}

/// The variants of each recipe, by its file, in their order.
pub fn recipes<'a>(sides: &[&'a Side]) -> Vec<Vec<&'a Side>> {
    let mut found: Vec<Vec<&Side>> = vec![];
    for side in sides {
        match found.iter_mut().find(|f| f[0].file == side.file) {
            Some(variants) => variants.push(side),
            None => found.push(vec![side]),
        }
    }
    found
}

/// The variants of the recipe in this file, however its path is written.
pub fn of_file<'a>(sides: &[&'a Side], file: &Path) -> Vec<&'a Side> {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    let wanted = whole(file);
    let of = sides.iter().filter(|s| whole(&s.file) == wanted);
    of.copied().collect()
}

/// One claim of a recipe, `own` its variants, `others` those of the recipe it is against.
pub fn answer(store: &Store, claim: &Claim, own: &[&Side], others: &[&Side]) -> Result<Answer> {
    let mut out = Answer {
        recipe: own[0].recipe.clone(),
        about: claim.about.clone(),
        against: claim.against.display().to_string(),
        seeds: 0,
        verdict: None,
        unanswered: None,
        notes: vec![],
        warnings: vec![],
        conditions: vec![],
    };
    let Some(other) = others.first() else {
        let file = claim.against.display();
        out.unanswered = Some(format!("`{file}` is not among the recipes that were read"));
        return Ok(out);
    };
    out.against.clone_from(&other.recipe);
    let pairing = match pairing::pair(others, own, &claim.against_at, &claim.at) {
        Ok(pairing) => pairing,
        Err(why) => {
            out.unanswered = Some(format!(
                "{why}: the claim says which with `at` and `against_at`"
            ));
            return Ok(out);
        }
    };
    let [group] = pairing.groups.as_slice() else {
        let axes = pairing.groups[0].axes.keys().map(String::as_str);
        out.unanswered = Some(format!(
            "there are several variants, in {}: the claim says which with `at`",
            listed(axes)
        ));
        return Ok(out);
    };
    for condition in &claim.conditions {
        match weigh(store, condition, &group.pairs)? {
            Ok((weighed, notes, unreadable)) => {
                out.notes.extend(notes);
                let recipes = [&other.recipe, &out.recipe];
                let warnings = warnings(&weighed, recipes, unreadable);
                out.warnings.extend(warnings);
                out.conditions.push(weighed);
            }
            Err(why) => {
                out.unanswered = Some(why);
                return Ok(out);
            }
        }
    }
    out.notes.dedup();
    out.warnings.dedup();
    let seeds = out.conditions.iter().map(|c| c.numbers.seeds);
    out.seeds = seeds.min().unwrap_or_default();
    out.verdict = Some(together(out.conditions.iter().map(|c| c.verdict)));
    Ok(out)
}

/// A condition with its numbers, what was left out, and what cannot be read on the other side and the own one; or why it cannot be
/// weighed.
type Weighing = Result<(Weighed, Vec<String>, [Option<f64>; 2]), String>;

fn weigh(store: &Store, c: &Condition, pairs: &[(&Side, &Side)]) -> Result<Weighing> {
    let nodes = (c.against_node.as_str(), c.node.as_str());
    let only = std::slice::from_ref(&c.metric);
    let evaluation = measures::evaluation(store, pairs, nodes, only)?;
    if let Some(why) = evaluation.refused {
        return Ok(Err(why));
    }
    let Some(found) = evaluation.metrics.into_iter().next() else {
        let known = evaluation.known.iter().map(String::as_str);
        let near = did_you_mean(&c.metric, known);
        let near = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        let message = format!("`{}` measures no `{}`{near}", c.node, c.metric);
        return Ok(Err(message));
    };
    let Some(numbers) = found.numbers else {
        let why = found.refused.unwrap_or_default();
        return Ok(Err(format!("`{}`: {why}", c.metric)));
    };
    let weighed = Weighed {
        metric: found.metric,
        label: found.label,
        unit: found.unit,
        node: c.node.clone(),
        against_node: c.against_node.clone(),
        expect: c.expect.word(),
        by: c.by,
        verdict: verdict(c.expect, c.by, numbers.interval),
        numbers,
        beside: found.beside,
        doubtful: found.unreadable.iter().flatten().any(|x| *x > MUCH),
    };
    Ok(Ok((weighed, evaluation.notes, found.unreadable)))
}

/// A line for every side of a condition of which too much cannot be read; the other side comes first, as its numbers do.
fn warnings(c: &Weighed, recipes: [&String; 2], unreadable: [Option<f64>; 2]) -> Vec<String> {
    let nodes = [&c.against_node, &c.node];
    let sides = nodes.into_iter().zip(recipes).zip(unreadable);
    let doubted = sides.filter_map(|((node, recipe), share)| {
        let share = metrics::number("share", share.filter(|x| *x > MUCH)?);
        Some(format!(
            "{share} % of the answers behind {} of `{node}` of `{recipe}` are unreadable: the verdict says little",
            c.label
        ))
    });
    doubted.collect()
}

/// Of a difference (own less other) with this interval. `by` is not negative.
pub fn verdict(expect: Expect, by: f64, interval: Option<(f64, f64)>) -> Verdict {
    let Some((low, high)) = interval else {
        return Verdict::Inconclusive;
    };
    let (holds, fails) = match expect {
        Expect::Lower => (high < -by, low > -by),
        Expect::Higher => (low > by, high < by),
        Expect::Within => (-by <= low && high <= by, low > by || high < -by),
    };
    match (holds, fails) {
        (true, _) => Verdict::Reproduced,
        (_, true) => Verdict::Contradicted,
        _ => Verdict::Inconclusive,
    }
}

/// Of a claim: it holds if all its conditions do, and fails if one does.
pub fn together(conditions: impl IntoIterator<Item = Verdict>) -> Verdict {
    let mut all = Verdict::Reproduced;
    for one in conditions {
        match one {
            Verdict::Contradicted => return one,
            Verdict::Inconclusive => all = one,
            Verdict::Reproduced => {}
        }
    }
    all
}

/// The verdicts, the numbers behind them, and what is to be said of claims without an answer.
pub fn page(answers: &[Answer]) -> Page {
    let mut page = Page::default();
    if answers.is_empty() {
        return page;
    }
    page.head("claims");
    let mut claims = Table::new([
        left("verdict"),
        left("recipe"),
        right("seeds"),
        left("claim"),
    ]);
    let mut numbers = Table::new([
        left("recipe"),
        left("condition"),
        right("own"),
        right("other"),
        right("difference [95 %]"),
        left("verdict"),
    ]);
    for answer in answers {
        let seeds = match answer.verdict {
            Some(_) => answer.seeds.to_string(),
            None => String::new(),
        };
        let verdict = answer.verdict.map_or("not answered", Verdict::word);
        claims.push([
            &marked(verdict, answer.doubtful()),
            &answer.recipe,
            &seeds,
            &answer.about,
        ]);
        for one in &answer.conditions {
            let recipe = std::iter::once(answer.recipe.clone());
            numbers.push(recipe.chain(condition(one)));
            let own = one.beside.map(|b| [Some(b.second), Some(b.first)]);
            if let Some((label, shares)) = own.and_then(|own| beside::line(&own, None)) {
                let shares = shares.into_iter();
                let mut cells: Vec<String> =
                    [String::new(), label].into_iter().chain(shares).collect();
                cells.resize(6, String::new());
                numbers.push(cells);
            }
        }
    }
    page.table(claims);
    page.table(numbers);
    for answer in answers {
        let about = format!("{}: {}", answer.recipe, answer.about);
        for warning in &answer.warnings {
            page.item(format!("warning: {about}: {warning}"));
        }
        if let Some(why) = &answer.unanswered {
            page.item(format!("{about}: not answered: {why}"));
        }
        for note in &answer.notes {
            page.item(format!("{about}: left out: {note}"));
        }
    }
    let one = answers
        .iter()
        .filter(|a| a.verdict.is_some() && a.seeds == 1);
    if one.count() > 0 {
        page.line("one seed: the interval is over prompts and says nothing about training noise");
    }
    page
}

/// What was expected, both values, the difference, the verdict.
fn condition(c: &Weighed) -> [String; 5] {
    let value = |x: f64| match c.unit.as_str() {
        "share" => format!("{} %", metrics::number("share", x)),
        unit => metrics::number(unit, x),
    };
    [
        format!("{} {}", c.label, expected(c)),
        value(c.numbers.second),
        value(c.numbers.first),
        metrics::difference(&c.unit, c.numbers.difference, c.numbers.interval),
        marked(c.verdict.word(), c.doubtful),
    ]
}

/// A verdict that says little is not read without its mark.
fn marked(verdict: &str, doubtful: bool) -> String {
    match doubtful {
        true => format!("{verdict} (!)"),
        false => verdict.into(),
    }
}

/// `lower`, `higher by 2.0 points`, `within 5.0 points`.
fn expected(c: &Weighed) -> String {
    let unit = if c.unit == "share" { " points" } else { "" };
    let by = format!("{}{unit}", metrics::number(&c.unit, c.by));
    match (c.expect, c.by == 0.0) {
        ("within", _) => format!("within {by}"),
        (word, true) => word.to_string(),
        (word, false) => format!("{word} by {by}"),
    }
}

/// `2 reproduced, 1 inconclusive of 3 claims`.
pub fn summary(answers: &[Answer]) -> String {
    let all = [
        Some(Verdict::Reproduced),
        Some(Verdict::Contradicted),
        Some(Verdict::Inconclusive),
        None,
    ];
    let told: Vec<String> = all
        .into_iter()
        .map(|v| (v, answers.iter().filter(|a| a.verdict == v).count()))
        .filter(|(_, n)| *n > 0)
        .map(|(v, n)| format!("{n} {}", v.map_or("not answered", Verdict::word)))
        .collect();
    let claims = count(answers.len() as u64, "claim", "claims");
    let doubtful = match answers.iter().filter(|a| a.doubtful()).count() {
        0 => String::new(),
        n => format!(
            "; {} on answers of which more than a tenth are unreadable",
            count(n as u64, "verdict rests", "verdicts rest")
        ),
    };
    match told.is_empty() {
        true => claims,
        false => format!("{} of {claims}{doubtful}", told.join(", ")),
    }
}
