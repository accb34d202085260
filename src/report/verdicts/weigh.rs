//! One claim against the records, as if it were the only one: the variants that it compares, and each of its conditions with its numbers.

use super::answer::{Answer, Part, Weighed};
use super::decide::Verdict;
use crate::beside::{Beside, Sided, some};
use crate::compare::contrast;
use crate::compare::measures::{self, Compared, Evaluation};
use crate::compare::numbers::{self, Numbers};
use crate::pairing;
use crate::side::Side;
use anyhow::Result;
use base::claim::{Claim, Condition, Expect, SEED};
use base::stats::crossed::ALPHA;
use base::text::{did_you_mean, listed};
use engine::store::Store;
use std::collections::{BTreeMap, BTreeSet};

/// One claim of a recipe, `own` its variants, `others` those of the recipe it is against, or its own again.
pub fn answer(store: &Store, claim: &Claim, own: &[&Side], others: &[&Side]) -> Result<Answer> {
    let mut out = Answer {
        recipe: own[0].recipe.clone(),
        about: claim.about.clone(),
        against: own[0].recipe.clone(),
        within: claim.against.is_none(),
        sides: [String::new(), own[0].recipe.clone()],
        seeds: 0,
        fixed: false,
        verdict: None,
        raw_verdict: None,
        raw_p: None,
        p: None,
        family: None,
        settled: false,
        enough: None,
        unanswered: None,
        notes: vec![],
        warnings: vec![],
        doubts: BTreeSet::new(),
        conditions: vec![],
    };
    let Some(other) = others.first() else {
        let file = claim.against.iter().map(|f| f.display().to_string());
        out.against = file.collect();
        let why = format!("`{}` is not among the recipes that were read", out.against);
        out.unanswered = Some(why);
        return Ok(out);
    };
    out.against.clone_from(&other.recipe);
    out.sides[0].clone_from(&other.recipe);
    let pairs = match paired(claim, own, others) {
        Ok(pairs) => pairs,
        Err(why) => {
            out.unanswered = Some(why);
            return Ok(out);
        }
    };
    if let Some((other, own)) = pairs.first() {
        out.sides = called([*other, *own]);
    }
    let mut unused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for condition in &claim.conditions {
        match weigh(store, condition, &pairs)? {
            Ok((weighed, evaluation, behind)) => {
                let Evaluation {
                    notes,
                    shared,
                    numerics,
                    unjudged,
                    dropped,
                    ..
                } = evaluation;
                out.fixed |= notes.is_empty() && weighed.numbers.seeds < pairs.len();
                out.notes.extend(notes);
                let any = |of: fn(&Beside) -> Option<f64>| {
                    behind.iter().flatten().any(|b| some(of(b)).is_some())
                };
                let unjudged = unjudged.filter(|_| any(|b| b.unjudged));
                let dropped = dropped.filter(|_| any(|b| b.dropped));
                for why in unjudged.into_iter().chain(dropped) {
                    unused.entry(why).or_default().extend(used(&weighed));
                }
                let recipes = [&other.recipe, &out.recipe];
                let warnings = warnings(&weighed, recipes, behind);
                out.doubts.extend(warnings.iter().cloned());
                out.warnings.extend(warnings);
                out.warnings.extend(shared);
                out.warnings.extend(numerics);
                out.conditions.push(weighed);
            }
            Err(why) => {
                out.unanswered = Some(why);
                return Ok(out);
            }
        }
    }
    let unused = unused.into_iter().map(|(why, used)| match used.is_empty() {
        true => why,
        false => format!("{why}; in pairs of prompts: {}", used.join(", ")),
    });
    out.notes.extend(unused);
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

/// Both sides by what is short and tells them apart: recipes, recipes with their axes, files; by their one recipe where nothing does.
fn called(sides: [&Side; 2]) -> [String; 2] {
    let ways: [fn(&Side) -> String; 3] = [
        |side| side.recipe.clone(),
        |side| side.label_without(SEED),
        |side| side.file.display().to_string(),
    ];
    let each = ways.into_iter().map(|way| sides.map(way));
    let apart = each.into_iter().find(|[other, own]| other != own);
    apart.unwrap_or_else(|| sides.map(|side| side.recipe.clone()))
}

/// The pairs of variants that a claim compares, the other's first; or why there are none.
pub(crate) fn paired<'a>(
    claim: &Claim,
    own: &[&'a Side],
    others: &[&'a Side],
) -> Result<Vec<(&'a Side, &'a Side)>, String> {
    // Within its recipe a variant is compared with itself.
    let (against_at, with) = match claim.against {
        Some(_) => (&claim.against_at, "`at` and `against_at`"),
        None => (&claim.at, "`at`"),
    };
    let pairing = pairing::pair(others, own, against_at, &claim.at)
        .map_err(|why| format!("{why}: the claim says which with {with}"))?;
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

/// A condition with its numbers, what they were read from, and what is of no use of the answers on the other side and the own one; or why it
/// cannot be weighed.
type Weighing = Result<(Weighed, Evaluation, [Option<Beside>; 2]), String>;

fn weigh(store: &Store, c: &Condition, pairs: &[(&Side, &Side)]) -> Result<Weighing> {
    let nodes = (c.against_node.as_str(), c.node.as_str());
    let evaluation = match (&c.than, c.metrics.as_slice()) {
        (Some(than), [metric]) => {
            let sides: Vec<&Side> = pairs.iter().map(|(_, own)| *own).collect();
            contrast::evaluation(store, &sides, &c.node, (metric, than))?
        }
        _ => measures::evaluation(store, pairs, nodes, &c.metrics)?,
    };
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
        several => match numbers::together(several) {
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
        let each = found.iter().filter_map(|(m, _)| m.behind[side]);
        each.reduce(Beside::worst)
    };
    let behind = [worst(0), worst(1)];
    let kind = pairs.first().and_then(|(_, own)| own.kind(&c.node));
    let label_of = |metric: &String| kind.map_or(metric.clone(), |kind| kind.label(metric));
    let mut weighed = Weighed {
        metric: c.metrics.join(", "),
        label: labels,
        than: c.than.clone(),
        than_label: c.than.as_ref().map(label_of),
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
        doubtful: behind.iter().flatten().any(|b| b.much()),
        parts: vec![],
        correlation,
    };
    if found.len() > 1 {
        let parts = found.into_iter().map(|(m, numbers)| Part {
            metric: m.metric,
            label: m.label,
            beside: m.beside,
            doubtful: m.behind.iter().flatten().any(|b| b.much()),
            numbers,
        });
        weighed.parts = parts.collect();
    }
    let decision = weighed.decision();
    (weighed.p_verdict, weighed.verdict) = (decision.p, decision.verdict(ALPHA));
    Ok(Ok((weighed, evaluation, behind)))
}

/// What was compared of a metric, or why it was not.
fn of_metric(e: &Evaluation, node: &str, metric: &str) -> Result<(Compared, Numbers), String> {
    let Some(found) = e.metrics.iter().find(|m| m.metric == metric) else {
        let near = did_you_mean(metric, e.known.iter().map(String::as_str));
        let near = near.map(|n| format!("; did you mean `{n}`?"));
        // What lacks verdicts is not misspelt.
        let why = e.without.get(metric).map(|why| format!(": {why}"));
        let more = why.or(near).unwrap_or_default();
        return Err(format!("`{node}` measures no `{metric}`{more}"));
    };
    match &found.numbers {
        Some(numbers) => Ok((found.clone(), numbers.clone())),
        None => {
            let why = found.refused.clone().unwrap_or_default();
            Err(format!("`{metric}`: {why}"))
        }
    }
}

/// How many pairs of prompts are behind each metric; nothing of two metrics of one node, whose prompts are in none.
fn used(c: &Weighed) -> Vec<String> {
    let of = |label: &str, n: &Numbers| {
        let each = n.each.iter().map(|each| each.pairs);
        match (each.clone().min(), each.max()) {
            (Some(least), Some(most)) if least < most => {
                format!("{label} {least} to {most} a seed")
            }
            _ => format!("{label} {}", n.pairs),
        }
    };
    match (&c.than, c.parts.as_slice()) {
        (Some(_), _) => vec![],
        (None, []) => vec![of(&c.label, &c.numbers)],
        (None, parts) => parts.iter().map(|p| of(&p.label, &p.numbers)).collect(),
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

/// A line for every side of a condition of whose answers too much is of no use; the other side comes first, as its numbers do.
fn warnings(c: &Weighed, recipes: [&String; 2], behind: [Option<Beside>; 2]) -> Vec<String> {
    let nodes = [&c.against_node, &c.node];
    let labels = [c.than_label.as_ref().unwrap_or(&c.label), &c.label];
    let sides = nodes.into_iter().zip(labels).zip(recipes).zip(behind);
    let doubted = sides.filter_map(|(((node, label), recipe), behind)| {
        let told = behind.filter(|b| b.much())?;
        let told = told.doubt(&format!("{label} of `{node}` of `{recipe}`"));
        // Of several metrics it is that of the worst.
        let up_to = if c.parts.is_empty() { "" } else { "up to " };
        Some(format!("{up_to}{told}: the verdict says little"))
    });
    doubted.collect()
}
