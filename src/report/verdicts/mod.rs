//! What became of the claims of recipes: reproduced, contradicted, inconclusive, or not answered and why. The numbers
//! stand beside every verdict. A reader of records.

pub mod decide;
pub mod show;

use crate::beside::{MUCH, Sided};
use crate::compare::measures::{self, Compared, Evaluation, Numbers};
use crate::metrics;
use crate::pairing;
use crate::side::Side;
use anyhow::Result;
use base::claim::{Claim, Condition, Expect};
use base::stats::crossed::{self, ALPHA, Enough, Estimate};
use base::text::{did_you_mean, listed};
use decide::{Decision, Verdict, decide};
use engine::store::Store;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
    /// Every seed was there, and they share what the claim is about.
    #[serde(skip)]
    pub fixed: bool,
    /// Of all claims that are answered at once, corrected together (Holm). Absent where it is not answered.
    pub verdict: Option<Verdict>,
    /// As if it were the only one.
    pub raw_verdict: Option<Verdict>,
    /// Of the only one, and corrected.
    pub raw_p: Option<f64>,
    pub p: Option<f64>,
    /// There is a verdict either way, and more seeds than one are behind it.
    pub settled: bool,
    /// What would settle it, where it is not.
    pub enough: Option<Needed>,
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
    /// `lower`, `higher`, `within`, `differs`, `dominates`.
    pub expect: &'static str,
    #[serde(skip)]
    pub asked: Expect,
    pub by: f64,
    /// Two-sided, of the bound that the verdict is about.
    pub p_verdict: Option<f64>,
    /// `first` is the other recipe, `second` the own one.
    #[serde(flatten)]
    pub numbers: Numbers,
    pub verdict: Verdict,
    /// Where there are several metrics: each of them.
    pub parts: Vec<Part>,
    /// Of the differences in two metrics, over seeds.
    pub correlation: Option<f64>,
    /// Of the answers behind it, where it is a rate; `first` and `second` as those of the numbers.
    pub beside: Option<Sided>,
    /// On a side, more of the answers cannot be read than a verdict bears.
    pub doubtful: bool,
}

/// One metric of several that a condition is about.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    pub metric: String,
    pub label: String,
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// What would settle a claim that is open, if its differences are as they seem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Needed {
    /// So many seeds in all.
    Seeds(usize),
    /// So many prompts; seeds alone would not do.
    Prompts(usize),
    /// Two seeds, before anything can be told.
    Another,
    /// Not seeds: all of them share the artifacts.
    Fixed,
    /// No number that anybody would run.
    Nothing,
}

/// Every claim of every recipe among `sides` whose name is wanted, in their order; what is answered is corrected together, and has a
/// verdict where its p is at most `alpha`.
pub fn answers(
    store: &Store,
    sides: &[&Side],
    alpha: f64,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Answer>> {
    let mut found = vec![];
    for own in recipes(sides) {
        if !wanted(&own[0].recipe) {
            continue;
        }
        for claim in &own[0].claims {
            let others = of_file(sides, &claim.against);
            found.push(answer(store, claim, &own, &others)?);
        }
    }
    Ok(corrected(found, alpha))
}

/// The claims of one recipe about the other, not yet corrected; both sides are the variants of one.
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
        fixed: false,
        verdict: None,
        raw_verdict: None,
        raw_p: None,
        p: None,
        settled: false,
        enough: None,
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
    let pairs = match paired(claim, own, others) {
        Ok(pairs) => pairs,
        Err(why) => {
            out.unanswered = Some(why);
            return Ok(out);
        }
    };
    for condition in &claim.conditions {
        match weigh(store, condition, &pairs)? {
            Ok((weighed, Evaluation { notes, shared, .. }, unreadable)) => {
                out.fixed |= notes.is_empty() && weighed.numbers.seeds < pairs.len();
                out.notes.extend(notes);
                let recipes = [&other.recipe, &out.recipe];
                let warnings = warnings(&weighed, recipes, unreadable);
                out.warnings.extend(warnings);
                out.warnings.extend(shared);
                out.conditions.push(weighed);
            }
            Err(why) => {
                out.unanswered = Some(why);
                return Ok(out);
            }
        }
    }
    for said in [&mut out.notes, &mut out.warnings] {
        let mut seen = BTreeSet::new();
        said.retain(|one| seen.insert(one.clone()));
    }
    let seeds = out.conditions.iter().map(|c| c.numbers.seeds);
    out.seeds = seeds.min().unwrap_or_default();
    let decision = out.decision();
    out.raw_verdict = Some(decision.verdict(ALPHA));
    out.raw_p = decision.p;
    Ok(out)
}

/// The pairs of variants that a claim compares, the other's first; or why there are none.
fn paired<'a>(
    claim: &Claim,
    own: &[&'a Side],
    others: &[&'a Side],
) -> Result<Vec<(&'a Side, &'a Side)>, String> {
    let pairing = pairing::pair(others, own, &claim.against_at, &claim.at)
        .map_err(|why| format!("{why}: the claim says which with `at` and `against_at`"))?;
    let mut groups = pairing.groups.into_iter();
    match (groups.next(), groups.next()) {
        (Some(group), None) => Ok(group.pairs),
        (Some(group), Some(_)) => {
            let axes = group.axes.keys().map(String::as_str);
            Err(format!(
                "there are several variants, in {}: the claim says which with `at`",
                listed(axes)
            ))
        }
        (None, _) => Err("no variants agree".into()),
    }
}

/// Claims that no records could answer, and why; none of those whose other recipe is not there.
pub fn unpaired<'a>(sides: &[&'a Side]) -> Vec<(&'a Claim, String)> {
    let mut found = vec![];
    for own in recipes(sides) {
        for claim in &own[0].claims {
            let others = of_file(sides, &claim.against);
            if let (false, Err(why)) = (others.is_empty(), paired(claim, &own, &others)) {
                found.push((claim, why));
            }
        }
    }
    found
}

impl Answer {
    fn decision(&self) -> Decision {
        let all: Vec<Decision> = self.conditions.iter().map(Weighed::decision).collect();
        decide::together(&all)
    }
}

/// Corrects the answers together; whoever asks several questions at once finds something by chance more often. A p of at most `alpha` makes
/// a verdict.
pub fn corrected(mut answers: Vec<Answer>, alpha: f64) -> Vec<Answer> {
    // What has no p cannot be found by chance either.
    let told = |a: &Answer| a.raw_p;
    let raw: Vec<f64> = answers.iter().filter_map(told).collect();
    let mut holm = crossed::holm(&raw).into_iter();
    for answer in answers.iter_mut().filter(|a| a.raw_verdict.is_some()) {
        answer.p = answer.raw_p.and_then(|_| holm.next());
        let leans = answer.decision().leans;
        let verdict = decide::at(leans, answer.p, alpha);
        answer.raw_verdict = Some(decide::at(leans, answer.raw_p, alpha));
        for one in &mut answer.conditions {
            one.verdict = one.decision().verdict(alpha);
        }
        answer.verdict = Some(verdict);
        answer.settled = verdict != Verdict::Inconclusive && answer.seeds > 1;
        // At how small a p it was asked, this many beside it.
        let share = answer.raw_p.zip(answer.p).map(|(raw, p)| raw / p);
        let alpha = alpha * share.filter(|s| *s > 0.0).unwrap_or(1.0);
        answer.enough = (!answer.settled).then(|| answer.needed(alpha));
    }
    answers
}

impl Answer {
    fn needed(&self, alpha: f64) -> Needed {
        if self.fixed {
            return Needed::Fixed;
        }
        let enough = match self.decision().leans {
            Verdict::Contradicted => self.to_fail(alpha),
            _ => self.to_hold(alpha),
        };
        match enough {
            None => Needed::Another,
            Some(Some(Enough::Prompts(n))) => Needed::Prompts(n),
            Some(Some(Enough::Nothing)) => Needed::Nothing,
            Some(Some(Enough::Seeds(n))) => Needed::Seeds(n.max(self.seeds + 1)),
            // Every condition is clear, but not so clear that the claim is.
            Some(None) => Needed::Seeds(self.seeds + 1),
        }
    }

    /// One condition that fails is enough, which of them was not said beforehand.
    fn to_fail(&self, alpha: f64) -> Option<Option<Enough>> {
        let alpha = alpha / self.conditions.len() as f64;
        let fails = self.conditions.iter().filter(|c| {
            let leans = c.decision().leans;
            leans == Verdict::Contradicted
        });
        let each = fails.map(|c| decide::enough(c.asked, c.by, &c.estimates(), alpha));
        let all: Vec<Enough> = each.collect::<Option<_>>()?;
        Some(all.into_iter().reduce(Enough::least))
    }

    fn to_hold(&self, alpha: f64) -> Option<Option<Enough>> {
        let open = self.conditions.iter().filter(|c| {
            let p = c.p_verdict.unwrap_or(1.0);
            p > alpha || self.seeds < 2
        });
        let each = open.map(|c| decide::enough(c.asked, c.by, &c.estimates(), alpha));
        let all: Vec<Enough> = each.collect::<Option<_>>()?;
        Some(all.into_iter().reduce(Enough::most))
    }
}

impl Weighed {
    /// What the verdict is about: the difference, or each of several.
    fn estimates(&self) -> Vec<&Estimate> {
        match self.asked {
            Expect::Dominates => self.parts.iter().map(|p| &p.numbers.estimate).collect(),
            _ => vec![&self.numbers.estimate],
        }
    }

    fn decision(&self) -> Decision {
        decide(self.asked, self.by, &self.estimates(), self.correlation)
    }
}

/// A condition with its numbers, what they were read from, and what cannot be read on the other side and the own one; or why it cannot be
/// weighed.
type Weighing = Result<(Weighed, Evaluation, [Option<f64>; 2]), String>;

fn weigh(store: &Store, c: &Condition, pairs: &[(&Side, &Side)]) -> Result<Weighing> {
    let nodes = (c.against_node.as_str(), c.node.as_str());
    let evaluation = measures::evaluation(store, pairs, nodes, &c.metrics)?;
    if let Some(why) = evaluation.refused {
        return Ok(Err(why));
    }
    let mut found: Vec<(Compared, Numbers)> = vec![];
    for metric in &c.metrics {
        match of_metric(&evaluation, &c.node, metric) {
            Ok(one) => found.push(one),
            Err(why) => return Ok(Err(why)),
        }
    }
    let units: Vec<(&str, &Numbers)> = found.iter().map(|(m, n)| (m.unit.as_str(), n)).collect();
    let numbers = match units.as_slice() {
        [(_, one)] => (*one).clone(),
        several => match measures::together(several) {
            Some(numbers) => numbers,
            None => {
                let names = listed(c.metrics.iter().map(String::as_str));
                return Ok(Err(format!("{names} are not of one unit")));
            }
        },
    };
    let correlation = match units.as_slice() {
        [(_, a), (_, b)] => a.estimate.correlation(&b.estimate),
        _ => None,
    };
    let (labels, unit) = (labels(c, &found), found[0].0.unit.clone());
    let sided = |of: fn(&Compared) -> Option<Sided>| match found.as_slice() {
        [(one, _)] => of(one),
        _ => None,
    };
    let worst = |side: usize| {
        let each = found.iter().filter_map(|(m, _)| m.unreadable[side]);
        each.max_by(f64::total_cmp)
    };
    let unreadable = [worst(0), worst(1)];
    let mut weighed = Weighed {
        metric: c.metrics.join(", "),
        label: labels,
        unit,
        node: c.node.clone(),
        against_node: c.against_node.clone(),
        expect: c.expect.word(),
        asked: c.expect,
        by: c.by,
        p_verdict: None,
        verdict: Verdict::Inconclusive,
        numbers,
        beside: sided(|m| m.beside),
        doubtful: unreadable.iter().flatten().any(|x| *x > MUCH),
        parts: vec![],
        correlation,
    };
    if found.len() > 1 {
        let parts = found.into_iter().map(|(m, numbers)| Part {
            metric: m.metric,
            label: m.label,
            numbers,
        });
        weighed.parts = parts.collect();
    }
    let decision = weighed.decision();
    (weighed.p_verdict, weighed.verdict) = (decision.p, decision.verdict(ALPHA));
    Ok(Ok((weighed, evaluation, unreadable)))
}

/// What was compared of a metric, or why it was not.
fn of_metric(e: &Evaluation, node: &str, metric: &str) -> Result<(Compared, Numbers), String> {
    let Some(found) = e.metrics.iter().find(|m| m.metric == metric) else {
        let near = did_you_mean(metric, e.known.iter().map(String::as_str));
        let near = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        return Err(format!("`{node}` measures no `{metric}`{near}"));
    };
    match &found.numbers {
        Some(numbers) => Ok((found.clone(), numbers.clone())),
        None => {
            let why = found.refused.clone().unwrap_or_default();
            Err(format!("`{metric}`: {why}"))
        }
    }
}

/// `compliance, harmless and ambiguous`; `mean of defense and compliance`.
fn labels(c: &Condition, found: &[(Compared, Numbers)]) -> String {
    let all = found.iter().map(|(m, _)| m.metric.as_str());
    let names: Vec<&str> = all.collect();
    match (names.as_slice(), c.expect) {
        ([_], _) => found[0].0.label.clone(),
        (_, Expect::Dominates) => names.join(" and "),
        _ => format!("mean of {}", names.join(" and ")),
    }
}

/// A line for every side of a condition of which too much cannot be read; the other side comes first, as its numbers do.
fn warnings(c: &Weighed, recipes: [&String; 2], unreadable: [Option<f64>; 2]) -> Vec<String> {
    let nodes = [&c.against_node, &c.node];
    let sides = nodes.into_iter().zip(recipes).zip(unreadable);
    let doubted = sides.filter_map(|((node, recipe), share)| {
        let share = metrics::number("share", share.filter(|x| *x > MUCH)?);
        // Of several metrics it is that of the worst.
        let up_to = if c.parts.is_empty() { "" } else { "up to " };
        Some(format!(
            "{up_to}{share} % of the answers behind {} of `{node}` of `{recipe}` are unreadable: the verdict says little",
            c.label
        ))
    });
    doubted.collect()
}
