//! One evaluation on two sides, metric by metric, in pairs of prompts and over seeds; or why that would compare what is
//! not comparable.

use crate::beside::{self, Sided};
use crate::side::Side;
use crate::words;
use anyhow::{Context, Result};
use base::claim::SEED;
use base::rng::Seed;
use base::rows::{self, METRICS, Measured, Metric, Metrics, VALUES};
use base::stats::mean;
use base::stats::paired::{self, Difference, RESAMPLES};
use engine::graph::changes::Reason;
use engine::graph::changes::changes;
use engine::kind::{Kind, Type};
use engine::store::Store;
use engine::store::record::Record;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Prompts in pairs, of the seed that has fewest.
    pub pairs: usize,
    pub seeds: usize,
    /// McNemar's exact p, of one seed and shares with values 0 and 1.
    pub p: Option<f64>,
    pub each: Vec<Each>,
}

/// What an interval is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// One training on each side: other prompts would give another difference. Says nothing of other seeds.
    Prompts,
    /// Trainings repeated.
    Seeds,
}

/// One seed's difference and its paired bootstrap over prompts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Each {
    pub seed: Option<String>,
    pub pairs: usize,
    pub first: f64,
    pub second: f64,
    pub difference: f64,
    pub interval: Option<(f64, f64)>,
    pub standard_error: Option<f64>,
    pub share_not_positive: Option<f64>,
    pub p: Option<f64>,
}

impl Numbers {
    /// More than noise: the interval leaves 0 out.
    pub fn clear(&self) -> bool {
        self.interval
            .is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    }
}

/// What a node measured.
struct Reading {
    metrics: Vec<Metric>,
    values: Option<Vec<Measured>>,
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
        seeds: 0,
        notes: vec![],
        metrics: vec![],
        warnings: vec![],
        known: BTreeSet::new(),
    };
    let mut readings = vec![];
    let mut seen = BTreeSet::new();
    let mut same = 0;
    for (a, b) in sides {
        let (one, two) = match (a.record(node), b.record(against)) {
            (Some(one), Some(two)) => (one, two),
            (None, _) => {
                out.notes.push(a.missing(node));
                continue;
            }
            (_, None) => {
                out.notes.push(b.missing(against));
                continue;
            }
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
    if readings.is_empty() {
        out.refused = Some(out.notes.join("; "));
        out.notes.clear();
        return Ok(out);
    }
    if let Some(why) = readings.iter().find_map(|(_, a, b)| incomparable(a, b)) {
        out.refused = Some(why);
        return Ok(out);
    }
    out.one_artifact = same == readings.len();
    let pairs: Vec<Sides> = readings
        .iter()
        .map(|(seed, (_, a), (_, b))| (seed.as_deref(), a, b))
        .collect();
    let firsts = beside::over_seeds(pairs.iter().map(|p| p.1.metrics.as_slice()));
    let seconds = beside::over_seeds(pairs.iter().map(|p| p.2.metrics.as_slice()));
    out.warnings = warnings([node, against], sides, [&firsts, &seconds]).collect();
    let kind = sides.first().and_then(|(a, _)| a.kind(node));
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

fn read(store: &Store, record: &Record) -> Result<Reading> {
    let mut reading = Reading {
        metrics: vec![],
        values: None,
    };
    let metrics = record.outputs.values().filter(|a| a.ty == Type::Metrics);
    for file in metrics.flat_map(|a| &a.files) {
        let bytes = || store.objects().read(file);
        let of = || format!("{} of `{}`", file.path, record.provenance.node);
        if file.path == METRICS {
            let parsed: Metrics =
                serde_json::from_slice(&bytes().with_context(of)?).with_context(of)?;
            reading.metrics.extend(parsed.metrics);
        } else if file.path == VALUES {
            reading.values = Some(rows::parse_lines(&bytes().with_context(of)?).with_context(of)?);
        }
    }
    Ok(reading)
}

/// Why two records do not measure the same: another judge, other prompts, no values.
fn incomparable(a: &(&Record, Reading), b: &(&Record, Reading)) -> Option<String> {
    if a.0.key == b.0.key {
        return None;
    }
    let judge: Vec<String> = changes(&a.0.manifest, &b.0.manifest)
        .iter()
        .filter(|r| !matches!(r, Reason::Input { .. } | Reason::Output { .. }))
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
                names.push(&metric.name);
            }
        }
    }
    names
}

fn compared(kind: Option<&Kind>, name: &str, pairs: &[Sides]) -> Compared {
    let find = |r: &&Reading| r.metrics.iter().find(|m| m.name == name).cloned();
    let unit = pairs
        .iter()
        .find_map(|(_, a, b)| find(a).or_else(|| find(b)));
    let unit = unit.map_or_else(String::new, |m| m.unit);
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
    for (i, (seed, a, b)) in pairs.iter().enumerate() {
        let refused = match (find(a), find(b)) {
            (Some(x), Some(y)) if x.unit == unit && y.unit == unit => None,
            (Some(x), Some(y)) => Some(format!("other units: {} and {}", x.unit, y.unit)),
            _ => Some("only one side measures it".to_string()),
        };
        let values = match refused {
            None => paired_values(name, a, b),
            Some(why) => Err(why),
        };
        match values {
            Ok(values) => each.push(one_seed(*seed, &values, unit == "share", i)),
            Err(why) => {
                let of = seed.map_or(String::new(), |s| format!(" (seed {s})"));
                out.refused = Some(why + &of);
                return out;
            }
        }
    }
    let mut numbers = over_seeds(each);
    if out.unit == "share" {
        // Student's t knows no bounds; shares do.
        numbers.interval = numbers
            .interval
            .map(|(low, high)| (low.max(-1.0), high.min(1.0)));
    }
    out.numbers = Some(numbers);
    out
}

/// The values of both sides by prompt; the same prompts on both.
fn paired_values(name: &str, a: &Reading, b: &Reading) -> Result<Vec<(f64, f64)>, String> {
    let none = || "the values behind it were not kept".to_string();
    let of = |r: &Reading| -> Option<BTreeMap<String, f64>> {
        let rows = r.values.as_ref()?.iter();
        let known = rows.filter_map(|row| Some((row.id.clone(), *row.values.get(name)?)));
        Some(known.collect()).filter(|m: &BTreeMap<_, _>| !m.is_empty())
    };
    let (a, b) = (of(a).ok_or_else(none)?, of(b).ok_or_else(none)?);
    let both: Vec<(f64, f64)> = a
        .iter()
        .filter_map(|(id, x)| Some((*x, *b.get(id)?)))
        .collect();
    if both.len() != a.len() || both.len() != b.len() {
        return Err(format!(
            "not measured on the same prompts: {} are the same, of {} and {}",
            both.len(),
            a.len(),
            b.len()
        ));
    }
    Ok(both)
}

fn one_seed(seed: Option<&str>, values: &[(f64, f64)], shares: bool, i: usize) -> Each {
    let stream = Seed::new(0).child("paired bootstrap").at(i as u64);
    let Difference {
        pairs,
        first,
        second,
        difference,
        interval,
        standard_error,
        share_not_positive,
        p,
    } = paired::difference(values, shares, stream, RESAMPLES);
    Each {
        seed: seed.map(String::from),
        pairs,
        first,
        second,
        difference,
        interval,
        standard_error,
        share_not_positive,
        p,
    }
}

fn over_seeds(each: Vec<Each>) -> Numbers {
    let of = |field: fn(&Each) -> f64| -> Vec<f64> { each.iter().map(field).collect() };
    let average = |values: &[f64]| mean(values).expect("a comparison has a seed");
    let differences = of(|e| e.difference);
    let within: Vec<_> = each.iter().map(|e| e.interval).collect();
    let (over, interval, p) = match each.as_slice() {
        [one] => (Over::Prompts, one.interval, one.p),
        _ => (
            Over::Seeds,
            paired::over_trainings(&differences, &within),
            None,
        ),
    };
    Numbers {
        first: average(&of(|e| e.first)),
        second: average(&of(|e| e.second)),
        difference: average(&differences),
        interval,
        over,
        pairs: each.iter().map(|e| e.pairs).min().unwrap_or_default(),
        seeds: each.len(),
        p,
        each,
    }
}

/// `seed` of a side, where it has one.
pub(super) fn seed_of(side: &Side) -> Option<String> {
    side.axes.get(SEED).cloned()
}
