//! Length of the reasoning by difficulty and by category of the prompts, a series per evaluation.

use crate::html::axis::Axis;
use crate::html::frontier::bars;
use crate::html::plot::{Chart, Mark, Series};
use crate::html::samples::{Row, Rows};
use crate::html::series::{Estimate, Method, shown};
use crate::html::source::Styles;
use crate::reading::over_seeds;
use base::rows::Metric;
use base::stats;
use base::stats::crossed::Values;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub struct Reasoning {
    pub by_difficulty: Option<Chart>,
    pub by_category: Option<Chart>,
    /// Evaluations of models that do not reason.
    pub silent: Vec<String>,
    pub bars: String,
}

/// By group of prompts, words of reasoning.
type Lengths = BTreeMap<String, Estimate>;

pub fn reasoning(rows: &Rows, evaluations: &[Method], styles: &mut Styles) -> Reasoning {
    let mut silent = vec![];
    let mut lines = vec![];
    for method in evaluations {
        for variant in method.news() {
            let scored: Vec<&Vec<Row>> = variant.items.iter().filter_map(|i| rows.get(i)).collect();
            if scored.is_empty() {
                continue;
            }
            let label = method.label_of(variant);
            if scored
                .iter()
                .all(|rows| rows.iter().all(|r| words(r) == 0.0))
            {
                silent.push(label);
                continue;
            }
            let of = |group: fn(&Row) -> Option<String>| lengths(&scored, group);
            let style = styles.of(&label);
            lines.push((label, style, of(difficulty), of(category)));
        }
    }
    let seeds = lines
        .iter()
        .flat_map(|l| l.2.values().chain(l.3.values()))
        .map(|e| e.seeds);
    Reasoning {
        bars: bars(seeds.collect::<Vec<_>>().into_iter()),
        by_difficulty: by_difficulty(lines.iter().map(|(l, s, d, _)| (l.as_str(), *s, d))),
        by_category: by_category(lines.iter().map(|(l, s, _, c)| (l.as_str(), *s, c))),
        silent,
    }
}

fn difficulty(row: &Row) -> Option<String> {
    (row.difficulty > 0).then(|| row.difficulty.to_string())
}

fn category(row: &Row) -> Option<String> {
    (!row.category.is_empty()).then(|| row.category.clone())
}

fn words(row: &Row) -> f64 {
    let reasoning = row.reasoning.as_deref().unwrap_or("");
    reasoning.split_whitespace().count() as f64
}

/// The mean over prompts; of the samples of a prompt, their mean is one observation.
fn lengths(seeds: &[&Vec<Row>], group: fn(&Row) -> Option<String>) -> Lengths {
    let mut found: BTreeMap<String, Vec<(Metric, Values)>> = BTreeMap::new();
    for rows in seeds {
        let mut prompts: BTreeMap<(String, &str), Vec<f64>> = BTreeMap::new();
        for row in rows.iter() {
            if let Some(group) = group(row) {
                prompts
                    .entry((group, &row.prompt_id))
                    .or_default()
                    .push(words(row));
            }
        }
        let mut groups: BTreeMap<String, Values> = BTreeMap::new();
        for ((group, prompt), samples) in prompts {
            let mean = stats::mean(&samples).unwrap_or_default();
            groups
                .entry(group)
                .or_default()
                .insert(prompt.to_string(), mean);
        }
        for (group, values) in groups {
            let all: Vec<f64> = values.values().copied().collect();
            let metric = Metric {
                name: group.clone(),
                value: stats::mean(&all).unwrap_or_default(),
                n: values.len(),
                interval: stats::mean_interval(&all),
                unit: "words".into(),
            };
            found.entry(group).or_default().push((metric, values));
        }
    }
    let mean = |(group, seeds): (String, Vec<(Metric, Values)>)| {
        let (metrics, values): (Vec<Metric>, Vec<Values>) = seeds.into_iter().unzip();
        let mean = over_seeds(&metrics.iter().collect::<Vec<_>>(), Some(values))?;
        Some((group, shown(mean)))
    };
    found.into_iter().filter_map(mean).collect()
}

fn by_difficulty<'a>(lines: impl Iterator<Item = (&'a str, usize, &'a Lengths)>) -> Option<Chart> {
    let series: Vec<Series> = lines
        .filter(|(_, _, lengths)| !lengths.is_empty())
        .map(|(label, style, lengths)| {
            let marks = lengths.iter().map(|(level, e)| Mark {
                x: level.parse().unwrap_or(0.0),
                y: e.value,
                y_interval: e.interval,
                ..Mark::default()
            });
            Series {
                label: label.into(),
                style,
                line: true,
                dots: true,
                marks: marks.collect(),
                threads: vec![],
            }
        })
        .collect();
    (!series.is_empty()).then(|| Chart {
        name: "reasoning-difficulty".into(),
        title: "Length of the reasoning by difficulty".into(),
        x: Axis::new("difficulty: steps a reader needs").whole(),
        y: Axis::new("words of reasoning").with(0.0),
        rows: vec![],
        series,
    })
}

fn by_category<'a>(lines: impl Iterator<Item = (&'a str, usize, &'a Lengths)>) -> Option<Chart> {
    let lines: Vec<_> = lines
        .filter(|(_, _, lengths)| !lengths.is_empty())
        .collect();
    let mut rows: Vec<String> = vec![];
    for category in lines.iter().flat_map(|(_, _, lengths)| lengths.keys()) {
        if !rows.contains(category) {
            rows.push(category.clone());
        }
    }
    let series = lines.iter().map(|(label, style, lengths)| {
        let marks = lengths.iter().filter_map(|(category, e)| {
            Some(Mark {
                x: e.value,
                y: rows.iter().position(|r| r == category)? as f64,
                x_interval: e.interval,
                ..Mark::default()
            })
        });
        Series {
            label: (*label).into(),
            style: *style,
            line: false,
            dots: true,
            marks: marks.collect(),
            threads: vec![],
        }
    });
    let series: Vec<Series> = series.collect();
    (!series.is_empty()).then(|| Chart {
        name: "reasoning-category".into(),
        title: "Length of the reasoning by category".into(),
        x: Axis::new("words of reasoning").with(0.0),
        y: Axis::new("category"),
        rows,
        series,
    })
}
