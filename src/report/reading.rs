//! What a node measured, out of its record: the metrics, and the values of every prompt behind them; and their estimate over
//! seeds. The one place from which tables, comparisons, claims and the page have a number with its interval.

use crate::metrics::{DROPPED, UNREADABLE, UNSCORABLE, beside_of};
use anyhow::{Context, Result};
use base::rows::{self, METRICS, Measured, Metric, Metrics, VALUES};
use base::stats::{
    self,
    crossed::{self, ALPHA, Estimate, Range, Values},
};
use engine::kind::Type;
use engine::store::Store;
use engine::store::record::Record;
use serde::Serialize;
use std::collections::BTreeSet;

/// What an interval is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// One training: other prompts would give another value. Says nothing of other seeds.
    Prompts,
    /// Trainings repeated, and prompts.
    Both,
}

impl Over {
    pub fn of(seeds: usize) -> Over {
        match seeds {
            0 | 1 => Over::Prompts,
            _ => Over::Both,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Over::Prompts => "prompts",
            Over::Both => "both",
        }
    }
}

/// What a number may be off the mean of its values, of its size: some who write it round it to three digits.
const ROUNDED: f64 = 5e-4;

/// What one node measured.
#[derive(Default)]
pub struct Reading {
    pub metrics: Vec<Metric>,
    /// None where they were not kept.
    pub values: Option<Vec<Measured>>,
}

pub fn read(store: &Store, record: &Record) -> Result<Reading> {
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

impl Reading {
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|m| m.name == name)
    }

    /// By prompt, whose text is part of what it is called: two that share an id alone are two.
    fn by_prompt(&self, name: &str) -> Option<Values> {
        let rows = self.values.as_ref()?.iter();
        let known = rows.filter_map(|row| Some((prompt(row), *row.values.get(name)?)));
        let known: Values = known.collect();
        (!known.is_empty()).then_some(known)
    }

    /// Prompts of which an answer has no readable verdict, or was left out.
    pub fn unjudged(&self) -> BTreeSet<String> {
        let rows = self.values.iter().flatten();
        let any = |row: &Measured, what: &str| row.values.get(what).is_some_and(|x| *x > 0.0);
        let lacks = |row: &&Measured| any(row, UNSCORABLE) || any(row, DROPPED);
        rows.filter(lacks).map(prompt).collect()
    }

    /// The share of these prompts that cannot be read, of the very answers that a metric is of where that was measured.
    pub fn unreadable(&self, name: &str, prompts: &Values) -> Option<f64> {
        let own = self.by_prompt(&beside_of(UNREADABLE, name));
        let all = own.or_else(|| self.by_prompt(UNREADABLE))?;
        let each = prompts.keys().map(|id| all.get(id).copied());
        stats::mean(&each.collect::<Option<Vec<f64>>>()?)
    }

    /// The values of which a metric is the mean; or why there are none: they are not kept, or are those of something else, which explain
    /// nothing of it.
    pub fn behind(&self, name: &str) -> Result<Values, String> {
        let found = self.metric(name).zip(self.by_prompt(name));
        let (metric, values) = found.ok_or("the values behind it were not kept")?;
        let mean = values.values().sum::<f64>() / values.len() as f64;
        let size = match metric.unit.as_str() {
            "share" => 1.0,
            _ => metric.value.abs(),
        };
        match (mean - metric.value).abs() <= ROUNDED * size + 1e-12 {
            true => Ok(values),
            false => Err(format!(
                "the values that were kept for it have the mean {mean}, and it is {}: they are those of something else",
                metric.value
            )),
        }
    }
}

fn prompt(row: &Measured) -> String {
    format!("{} {}", row.id, row.fingerprint)
}

/// A metric over seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    pub value: f64,
    /// 95 %.
    pub interval: Option<(f64, f64)>,
    pub over: Over,
    pub seeds: usize,
    /// Prompts, of the seed that has fewest.
    pub n: usize,
    pub unit: String,
}

/// Of the readings that have it. A single one's interval is what its node wrote, within what can be.
pub fn mean<'a>(readings: impl IntoIterator<Item = &'a Reading>, name: &str) -> Option<Mean> {
    mean_of(readings, &[name])
}

/// The mean of several metrics, at least one, each over its own prompts, of the readings that have all of them. None where they are
/// not of one unit.
pub fn mean_of<'a>(
    readings: impl IntoIterator<Item = &'a Reading>,
    names: &[&str],
) -> Option<Mean> {
    let all = |r: &'a Reading| -> Option<Vec<&'a Metric>> {
        names.iter().map(|name| r.metric(name)).collect()
    };
    let readings = readings.into_iter();
    let found: Vec<(&Reading, Vec<&Metric>)> =
        readings.filter_map(|r| Some((r, all(r)?))).collect();
    let unit = &found.first()?.1.first()?.unit;
    let metrics = found.iter().flat_map(|(_, m)| m);
    if names.len() > 1 && metrics.into_iter().any(|m| m.unit != *unit) {
        return None;
    }
    let n = found
        .iter()
        .map(|(_, m)| m.iter().map(|m| m.n).sum())
        .min()?;
    let range = Range::of(unit);
    let each = found.iter().map(|(_, metrics)| {
        let values: Vec<f64> = metrics.iter().map(|m| m.value).collect();
        base::stats::mean(&values)
    });
    let each: Vec<f64> = each.collect::<Option<_>>()?;
    let behind = |i: usize| -> Option<Vec<Values>> {
        found
            .iter()
            .map(|(r, m)| r.behind(&m[i].name).ok())
            .collect()
    };
    let values: Option<Vec<Vec<Values>>> = (0..names.len()).map(behind).collect();
    let estimate = || -> Option<Estimate> {
        let by_means = || crossed::of_means(&each, n, range).filter(|_| each.len() > 1);
        values
            .and_then(|v| crossed::estimate(&v, range))
            .or_else(by_means)
    };
    let interval = match found.as_slice() {
        [(_, one)] if one.len() == 1 => one[0].interval.map(|i| range.within(i)),
        _ => estimate().and_then(|e| e.interval(ALPHA)),
    };
    Some(Mean {
        value: base::stats::mean(&each)?,
        interval: interval.filter(|(low, high)| low < high),
        over: Over::of(found.len()),
        seeds: found.len(),
        n,
        unit: unit.clone(),
    })
}
