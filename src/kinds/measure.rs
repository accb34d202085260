//! Metrics over the rows of judges: shares and means with their intervals, and the values of every prompt behind them. With several
//! samples a prompt, the prompt's mean is one observation. Knows nothing of what is measured.

use crate::base::rows::{CompletedPrompt, Measured, Metric};
use crate::base::stats;
use std::collections::{BTreeMap, BTreeSet};

/// A metric, and the value of every prompt behind it, by the prompt's id.
pub struct Measure {
    pub metric: Metric,
    pub values: BTreeMap<String, f64>,
}

/// The values behind the measures, prompt by prompt, in the order in which the prompts first come.
pub fn values<'a>(
    prompts: impl Iterator<Item = &'a CompletedPrompt>,
    measures: &[Measure],
) -> Vec<Measured> {
    let mut seen = BTreeSet::new();
    let once = prompts.filter(|p| seen.insert(p.prompt_id.as_str()));
    once.map(|prompt| Measured {
        id: prompt.prompt_id.clone(),
        fingerprint: prompt.fingerprint(),
        values: measures
            .iter()
            .filter_map(|m| Some((m.metric.name.clone(), *m.values.get(&prompt.prompt_id)?)))
            .collect(),
    })
    .collect()
}

/// Share of prompts with a property, of rows of (prompt id, whether it has it); nothing where there are no rows. Where every
/// prompt has it whole or not at all the interval is Wilson's, else Student's over the prompts.
pub fn share<'a>(name: &str, rows: impl Iterator<Item = (&'a str, bool)>) -> Option<Measure> {
    let rows = rows.map(|(id, has)| (id, f64::from(has)));
    measure(name, "share", rows, |means| {
        if means.iter().all(|m| *m == 0.0 || *m == 1.0) {
            let k = means.iter().sum::<f64>() as usize;
            return Some(stats::wilson(k, means.len()));
        }
        stats::mean_interval(means).map(|(low, high)| (low.max(0.0), high.min(1.0)))
    })
}

/// The mean over prompts, with Student's interval; nothing where there are no rows.
pub fn mean<'a>(
    name: &str,
    unit: &str,
    rows: impl Iterator<Item = (&'a str, f64)>,
) -> Option<Measure> {
    measure(name, unit, rows, stats::mean_interval)
}

fn measure<'a>(
    name: &str,
    unit: &str,
    rows: impl Iterator<Item = (&'a str, f64)>,
    interval: impl Fn(&[f64]) -> Option<(f64, f64)>,
) -> Option<Measure> {
    let values = by_prompt(rows);
    let means: Vec<f64> = values.values().copied().collect();
    let n = means.len();
    (n > 0).then(|| Measure {
        metric: Metric {
            name: name.into(),
            value: means.iter().sum::<f64>() / n as f64,
            n,
            interval: interval(&means),
            unit: unit.into(),
        },
        values,
    })
}

/// The mean over the samples of each prompt, by its id.
fn by_prompt<'a>(rows: impl Iterator<Item = (&'a str, f64)>) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (id, value) in rows {
        let sum = sums.entry(id).or_default();
        sum.0 += value;
        sum.1 += 1.0;
    }
    sums.into_iter()
        .map(|(id, (sum, n))| (id.to_string(), sum / n))
        .collect()
}
