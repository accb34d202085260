//! The table of evaluations: a row a measure, a column a method, each value with its interval.

use crate::beside;
use crate::compare::measures::{Shown, beside_each_other};
use crate::doubt;
use crate::html::series::{Estimate, Method, estimate};
use crate::html::study::Study;
use crate::metrics;
use engine::kind::Written;
use serde::Serialize;
use std::collections::BTreeSet;

const BESIDE: usize = 4;

#[derive(Serialize)]
pub struct Evaluations {
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    /// How many columns stand beside each other.
    pub beside: usize,
    /// That columns of one node were not measured in the same way.
    pub otherwise: Vec<String>,
    /// That much of the answers of a column cannot be read or has no verdict.
    pub warnings: Vec<String>,
}

#[derive(Serialize)]
pub struct Column {
    pub label: String,
    /// What the recipe says of the node.
    pub about: Option<String>,
    /// What else it is, under other names.
    pub also: Vec<String>,
    pub seeds: usize,
    /// Seeds without an artifact.
    pub missing: usize,
}

#[derive(Serialize)]
pub struct Row {
    pub metric: String,
    pub label: String,
    /// It counts what did not happen in any column: data, but nothing to read.
    pub idle: bool,
    /// Of every `Evaluations::beside` columns the prompts behind each cell, where they are as many in all; else the cells say it.
    pub n: Vec<Option<usize>>,
    pub cells: Vec<Option<Estimate>>,
    /// What stands in the place of each that there is not.
    pub nothing: Vec<&'static str>,
}

pub fn evaluations(study: &Study, methods: &[Method]) -> Evaluations {
    let mut columns = vec![];
    let mut sets = vec![];
    for method in methods {
        for variant in method.news() {
            let items = variant.items.iter().map(|i| &study.items[*i]);
            let there = items.filter(|i| i.record.is_some()).count();
            if there == 0 {
                continue;
            }
            columns.push(Column {
                label: method.label_of(variant),
                about: study.items[variant.items[0]].about.map(String::from),
                also: variant.also.clone(),
                seeds: there,
                missing: variant.items.len() - there,
            });
            sets.push(&variant.items);
        }
    }
    let mut names: Vec<(&str, String)> = vec![];
    let mut known = BTreeSet::new();
    for item in sets.iter().copied().flatten().map(|i| &study.items[*i]) {
        let names_of = item.reading.metrics.iter().map(|m| m.name.as_str());
        for name in names_of.filter(|name| known.insert(*name)) {
            let at = metrics::numbered(name, names.iter().map(|(known, _)| *known));
            let label = item.node.kind.label(name);
            names.insert(at.unwrap_or(names.len()), (name, label));
        }
    }
    let means = sets.iter().map(|items| {
        let seeds = items.iter().map(|i| &study.items[*i].reading);
        let mean = beside::over_seeds(seeds.map(|r| r.metrics.as_slice()));
        (study.items[items[0]].node.kind, mean)
    });
    let means: Vec<_> = means.collect();
    let row = |(name, label): (&str, String)| {
        let each = sets.iter().map(|items| estimate(study, items, name));
        let cells: Vec<Option<Estimate>> = each.collect();
        let nothing = cells
            .iter()
            .zip(&means)
            .map(|(cell, (kind, mean))| match cell {
                Some(_) => "",
                None => doubt::nothing(kind, name, mean),
            });
        Row {
            metric: name.into(),
            label,
            idle: metrics::idle(name, cells.iter().flatten().map(|e| e.value)),
            n: cells
                .chunks(BESIDE)
                .map(|part| common(part.iter().flatten().map(|e| e.n)))
                .collect(),
            nothing: nothing.collect(),
            cells,
        }
    };
    let warned = columns.iter().zip(&means);
    let warned = warned.filter_map(|(column, (_, mean))| doubt::warning(&column.label, mean));
    let each = columns.iter().zip(&sets).map(|(column, items)| Shown {
        node: study.items[items[0]].name,
        name: column.label.clone(),
        kind: study.items[items[0]].node.kind,
        records: study.records(items),
    });
    let otherwise = beside_each_other(Written::Metrics, each);
    Evaluations {
        warnings: warned.collect(),
        otherwise,
        beside: BESIDE,
        rows: names.into_iter().map(row).collect(),
        columns,
    }
}

/// What all are, where they are the same.
fn common(mut all: impl Iterator<Item = usize>) -> Option<usize> {
    let first = all.next()?;
    all.all(|n| n == first).then_some(first)
}
