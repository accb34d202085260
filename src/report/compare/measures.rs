//! One evaluation on two sides, metric by metric, in pairs of prompts and over seeds; or why that would compare what is
//! not comparable.

use crate::beside::{self, Sided};
use crate::metrics;
use crate::missing;
use crate::reading::{self, Over, Reading, read};
use crate::side::Side;
use crate::words;
use anyhow::Result;
use base::claim::SEED;
use base::hash::Key;
use base::rows::{Measured, Metric};
use base::stats::crossed::{self, ALPHA, Estimate, Range, Values};
use base::stats::mean;
use engine::graph::changes::Reason;
use engine::graph::changes::changes;
use engine::kind::Kind;
use engine::store::Store;
use engine::store::record::Record;
use serde::Serialize;
use std::collections::BTreeSet;

/// A node that measures, on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    pub node: String,
    /// Its name on the other side.
    pub against_node: String,
    /// Why nothing is compared.
    pub refused: Option<String>,
    /// Both sides have one artifact: there is nothing to compare.
    pub one_artifact: bool,
    /// That one artifact stands on a side of all seeds.
    #[serde(skip)]
    pub shared: Option<String>,
    /// Pairs of trainings that were compared.
    pub seeds: usize,
    /// What there is to be said of seeds that are not among them.
    pub notes: Vec<String>,
    pub metrics: Vec<Compared>,
    /// That much of the answers of a side cannot be read.
    pub warnings: Vec<String>,
    /// All metrics that were found, also where nothing was compared.
    #[serde(skip)]
    pub known: BTreeSet<String>,
}

/// One metric.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub metric: String,
    pub label: String,
    pub unit: String,
    /// Why it is not compared; then there are no numbers.
    pub refused: Option<String>,
    /// Of the answers behind it, where it is a rate: means over seeds.
    pub beside: Option<Sided>,
    /// What is read of a metric of any kind, where it can be told.
    #[serde(skip)]
    pub unreadable: [Option<f64>; 2],
    #[serde(flatten)]
    pub numbers: Option<Numbers>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Numbers {
    /// Means over seeds.
    pub first: f64,
    pub second: f64,
    /// `second - first`.
    pub difference: f64,
    /// 95 %, over what `over` says.
    pub interval: Option<(f64, f64)>,
    pub over: Over,
    /// Prompts in pairs, of the seed that has fewest; of two metrics of one node, prompts of the one that has fewer.
    pub pairs: usize,
    pub seeds: usize,
    /// Two-sided, of no difference. It is above 0.05 where the interval holds 0: one test says both.
    pub p: Option<f64>,
    /// The difference that so many seeds and prompts tell from none in four of five studies.
    pub detectable: Option<f64>,
    pub each: Vec<Each>,
    /// Of the difference.
    #[serde(skip)]
    pub estimate: Estimate,
    /// Differences by seed and prompt.
    #[serde(skip)]
    pub values: Vec<Values>,
}

/// One seed's difference and its interval over prompts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Each {
    pub seed: Option<String>,
    pub pairs: usize,
    pub first: f64,
    pub second: f64,
    pub difference: f64,
    pub interval: Option<(f64, f64)>,
}

impl Numbers {
    /// More than noise.
    pub fn clear(&self) -> bool {
        self.p.is_some_and(|p| p <= ALPHA)
    }
}

/// Compares a node of the first sides with one of the second. `only`: these metrics; empty: all.
pub fn evaluation(
    store: &Store,
    sides: &[(&Side, &Side)],
    (node, against): (&str, &str),
    only: &[String],
) -> Result<Evaluation> {
    let mut out = Evaluation {
        node: node.into(),
        against_node: against.into(),
        refused: None,
        one_artifact: false,
        shared: None,
        seeds: 0,
        notes: vec![],
        metrics: vec![],
        warnings: vec![],
        known: BTreeSet::new(),
    };
    let mut readings = vec![];
    let mut seen = BTreeSet::new();
    let mut same = 0;
    let mut lacking: Vec<(&Side, &str)> = vec![];
    for (a, b) in sides {
        let found = (a.record(node), b.record(against));
        let (Some(one), Some(two)) = found else {
            let lack = [
                found.0.is_none().then_some((*a, node)),
                found.1.is_none().then_some((*b, against)),
            ];
            for (side, node) in lack.into_iter().flatten() {
                let same = |(s, n): &(&Side, &str)| std::ptr::eq(*s, side) && *n == node;
                if !lacking.iter().any(same) {
                    lacking.push((side, node));
                }
            }
            continue;
        };
        // What does not hang on the seed is no repetition.
        if !seen.insert((&one.key, &two.key)) {
            continue;
        }
        same += usize::from(one.key == two.key);
        readings.push((
            seed_of(a),
            (one, read(store, one)?),
            (two, read(store, two)?),
        ));
    }
    let all = readings
        .iter()
        .flat_map(|(_, a, b)| a.1.metrics.iter().chain(&b.1.metrics));
    out.known = all.map(|m| m.name.clone()).collect();
    out.seeds = readings.len();
    out.notes = missing::lines(&lacking);
    if readings.is_empty() {
        out.refused = Some(out.notes.join("; "));
        out.notes.clear();
        return Ok(out);
    }
    let kind = sides.first().and_then(|(a, _)| a.kind(node));
    let measured_by = kind.map_or(Kind::DEFAULTS.measured_by, |k| k.measured_by);
    let refused = |a, b| incomparable(a, b, measured_by);
    if let Some(why) = readings.iter().find_map(|(_, a, b)| refused(a, b)) {
        out.refused = Some(why);
        return Ok(out);
    }
    out.one_artifact = same == readings.len();
    let of = |node: &str, side: &Side| format!("`{node}` of `{}`", side.label_without(SEED));
    let (a, b) = sides[0];
    let of_one = [
        single(&of(node, a), readings.iter().map(|(_, a, _)| &a.0.key)),
        single(&of(against, b), readings.iter().map(|(_, _, b)| &b.0.key)),
    ];
    if !out.one_artifact && readings.len() > 1 {
        out.shared = of_one.into_iter().flatten().next();
    }
    let pairs: Vec<Sides> = readings
        .iter()
        .map(|(seed, (_, a), (_, b))| (seed.as_deref(), a, b))
        .collect();
    let firsts = beside::over_seeds(pairs.iter().map(|p| p.1.metrics.as_slice()));
    let seconds = beside::over_seeds(pairs.iter().map(|p| p.2.metrics.as_slice()));
    out.warnings = warnings([node, against], sides, [&firsts, &seconds]).collect();
    out.warnings.extend(out.shared.clone());
    for name in order(&pairs) {
        if only.is_empty() || only.iter().any(|n| n == name) {
            let numbers = compared(kind, name, &pairs);
            out.metrics.push(Compared {
                beside: Sided::of(name, &firsts, &seconds),
                unreadable: [&firsts, &seconds].map(|m| beside::behind(name, m)),
                ..numbers
            });
        }
    }
    Ok(out)
}

/// That one artifact stands on a side of every pair, so that pairs are no seeds of that side.
fn single<'k>(what: &str, mut keys: impl Iterator<Item = &'k Key>) -> Option<String> {
    let first = keys.next()?;
    keys.all(|k| k == first).then(|| {
        format!(
            "every seed is compared with one artifact of {what}: the interval says nothing about the noise of that training"
        )
    })
}

/// That much cannot be read, a line a side. `all`: the variants that are compared, at least one pair.
fn warnings(
    nodes: [&str; 2],
    all: &[(&Side, &Side)],
    measured: [&[Metric]; 2],
) -> impl Iterator<Item = String> {
    let (a, b) = all[0];
    let labels = [a, b].map(|side| side.label_without(SEED));
    let of = match labels[0] == labels[1] {
        true => ["the first side".to_string(), "the second side".to_string()],
        false => labels.map(|label| format!("`{label}`")),
    };
    let named = nodes.into_iter().zip(of).zip(measured);
    let each: Vec<Option<String>> = named
        .map(|((node, of), metrics)| beside::warning(&format!("`{node}` of {of}"), metrics))
        .collect();
    each.into_iter().flatten()
}

/// A seed and what both sides measured.
type Sides<'a> = (Option<&'a str>, &'a Reading, &'a Reading);

/// Why two records do not measure the same: another judge, other prompts, no values.
fn incomparable(
    a: &(&Record, Reading),
    b: &(&Record, Reading),
    measured_by: fn(&str) -> bool,
) -> Option<String> {
    if a.0.key == b.0.key {
        return None;
    }
    let judge: Vec<String> = changes(&a.0.manifest, &b.0.manifest)
        .iter()
        .filter(|r| match r {
            Reason::Input { .. } | Reason::Output { .. } => false,
            Reason::Param { name, .. } | Reason::Source { name } => measured_by(name),
            _ => true,
        })
        .map(words::reason)
        .collect();
    if !judge.is_empty() {
        return Some(format!(
            "not measured in the same way: {}",
            judge.join("; ")
        ));
    }
    let (Some(one), Some(two)) = (&a.1.values, &b.1.values) else {
        return Some("the values behind the metrics were not kept, so nothing pairs".into());
    };
    let prompts = |rows: &[Measured]| -> BTreeSet<(String, String)> {
        let pair = |r: &Measured| (r.id.clone(), r.fingerprint.clone());
        rows.iter().map(pair).collect()
    };
    let (one, two) = (prompts(one), prompts(two));
    let equal = one.intersection(&two).count();
    (one != two).then(|| {
        format!(
            "not measured on the same prompts: {equal} are the same, of {} and {}",
            one.len(),
            two.len()
        )
    })
}

/// Metrics in their own order; what only a second side has comes last.
fn order<'a>(pairs: &[Sides<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = vec![];
    let firsts = pairs.iter().map(|p| p.1);
    for reading in firsts.chain(pairs.iter().map(|p| p.2)) {
        for metric in &reading.metrics {
            if !names.contains(&metric.name.as_str()) {
                let at = metrics::numbered(&metric.name, names.iter().copied());
                names.insert(at.unwrap_or(names.len()), &metric.name);
            }
        }
    }
    names
}

fn compared(kind: Option<&Kind>, name: &str, pairs: &[Sides]) -> Compared {
    let unit = pairs
        .iter()
        .find_map(|(_, a, b)| a.metric(name).or_else(|| b.metric(name)));
    let unit = unit.map_or_else(String::new, |m| m.unit.clone());
    let mut out = Compared {
        metric: name.into(),
        label: kind.map_or_else(|| name.into(), |kind| kind.label(name)),
        unit: unit.clone(),
        refused: None,
        beside: None,
        unreadable: [None; 2],
        numbers: None,
    };
    let mut each = vec![];
    for (seed, a, b) in pairs {
        let refused = match (a.metric(name), b.metric(name)) {
            (Some(x), Some(y)) if x.unit == unit && y.unit == unit => None,
            (Some(x), Some(y)) => Some(format!("other units: {} and {}", x.unit, y.unit)),
            _ => Some("only one side measures it".to_string()),
        };
        let values = match refused {
            None => paired_values(name, a, b),
            Some(why) => Err(why),
        };
        match values {
            Ok((first, second)) => each.push(Seeded {
                seed: seed.map(String::from),
                first,
                second,
            }),
            Err(why) => {
                let of = seed.map_or(String::new(), |s| format!(" (seed {s})"));
                out.refused = Some(why + &of);
                return out;
            }
        }
    }
    out.numbers = numbers(&unit, &each);
    out
}

/// One seed's values on both sides, of the same prompts.
pub(crate) struct Seeded {
    pub seed: Option<String>,
    pub first: Values,
    pub second: Values,
}

/// The values of both sides by prompt; the same prompts on both.
fn paired_values(name: &str, a: &Reading, b: &Reading) -> Result<(Values, Values), String> {
    let none = || "the values behind it were not kept".to_string();
    let first = a.values(name).ok_or_else(none)?;
    let second = b.values(name).ok_or_else(none)?;
    let both = first.keys().filter(|id| second.contains_key(*id)).count();
    if both != first.len() || both != second.len() {
        return Err(format!(
            "not measured on the same prompts: {both} are the same, of {} and {}",
            first.len(),
            second.len()
        ));
    }
    Ok((first, second))
}

/// Which values a difference of this unit can have.
pub fn range(unit: &str) -> Range {
    match reading::range(unit) {
        Range::Share => Range::Difference,
        _ => Range::Free,
    }
}

fn numbers(unit: &str, seeds: &[Seeded]) -> Option<Numbers> {
    let range = range(unit);
    let each = seeds.iter().map(|one| {
        let values = difference(one);
        let estimate = crossed::estimate(&[vec![values.clone()]], range)?;
        let average = |values: &Values| mean(&values.values().copied().collect::<Vec<f64>>());
        let each = Each {
            seed: one.seed.clone(),
            pairs: values.len(),
            first: average(&one.first)?,
            second: average(&one.second)?,
            difference: estimate.value,
            interval: estimate.interval(ALPHA),
        };
        Some((each, values))
    });
    let (each, values): (Vec<Each>, Vec<Values>) =
        each.collect::<Option<Vec<_>>>()?.into_iter().unzip();
    let estimate = crossed::estimate(std::slice::from_ref(&values), range)?;
    let over = |of: fn(&Each) -> f64| mean(&each.iter().map(of).collect::<Vec<f64>>());
    Some(Numbers {
        first: over(|e| e.first)?,
        second: over(|e| e.second)?,
        difference: estimate.value,
        interval: estimate.interval(ALPHA),
        over: Over::of(each.len()),
        pairs: estimate.prompts,
        seeds: estimate.seeds,
        p: estimate.p(0.0),
        detectable: estimate.detectable(ALPHA),
        each,
        estimate,
        values,
    })
}

/// What the second has more, by prompt.
fn difference(one: &Seeded) -> Values {
    let both = one.second.iter();
    both.filter_map(|(id, b)| Some((id.clone(), b - one.first.get(id)?)))
        .collect()
}

/// Several metrics of one evaluation as one: the mean of them. The difference is of every seed's mean over metrics, each over its
/// own prompts. None where they are not of one unit, or not of the same seeds.
pub fn together(all: &[(&str, &Numbers)]) -> Option<Numbers> {
    let (unit, head) = *all.first()?;
    if all.iter().any(|(u, n)| *u != unit || n.seeds != head.seeds) {
        return None;
    }
    let parts: Vec<Vec<Values>> = all.iter().map(|(_, n)| n.values.clone()).collect();
    let estimate = crossed::estimate(&parts, range(unit))?;
    let average = |of: &dyn Fn(&Numbers) -> f64| {
        mean(&all.iter().map(|(_, n)| of(n)).collect::<Vec<f64>>()).unwrap_or_default()
    };
    let each = (0..head.each.len()).map(|i| {
        let one: Vec<Vec<Values>> = parts.iter().map(|p| vec![p[i].clone()]).collect();
        let own = crossed::estimate(&one, range(unit))?;
        Some(Each {
            seed: head.each[i].seed.clone(),
            pairs: own.prompts,
            first: average(&|n| n.each[i].first),
            second: average(&|n| n.each[i].second),
            difference: own.value,
            interval: own.interval(ALPHA),
        })
    });
    Some(Numbers {
        first: average(&|n| n.first),
        second: average(&|n| n.second),
        difference: estimate.value,
        interval: estimate.interval(ALPHA),
        over: head.over,
        pairs: estimate.prompts,
        seeds: estimate.seeds,
        p: estimate.p(0.0),
        detectable: estimate.detectable(ALPHA),
        each: each.collect::<Option<Vec<_>>>()?,
        estimate,
        values: vec![],
    })
}

/// `seed` of a side, where it has one.
pub(super) fn seed_of(side: &Side) -> Option<String> {
    side.axes.get(SEED).cloned()
}
