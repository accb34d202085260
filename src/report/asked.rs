//! Which evaluations and which metrics a table is about: those that are asked for, or all evaluations and the headline metrics.

use crate::beside;
use crate::doubt;
use crate::metrics;
use crate::reading::{self, Reading};
use crate::side::Side;
use anyhow::Result;
use base::diag::{Diag, Diags};
use base::rows::Metric;
use base::text::did_you_mean;
use engine::graph::Node;
use engine::kind::{Kind, Role};
use engine::store::Store;
use serde::Serialize;
use std::collections::BTreeSet;

/// A metric that is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Head {
    pub metric: String,
    pub label: String,
    pub unit: String,
}

impl Head {
    /// The label, with the unit where the numbers are in percent.
    pub fn title(&self) -> String {
        match self.unit.as_str() {
            "share" => format!("{}, %", self.label),
            _ => self.label.clone(),
        }
    }
}

/// An error for every name that is no node of any of these.
pub fn known_nodes(sides: &[&Side], nodes: &[String]) -> Result<()> {
    let names: BTreeSet<&str> = sides
        .iter()
        .flat_map(|s| s.graph.nodes())
        .map(|n| n.name.as_str())
        .collect();
    let mut diags = Diags::default();
    for node in nodes.iter().filter(|n| !names.contains(n.as_str())) {
        let near = did_you_mean(node, names.iter().copied());
        diags.push(Diag::plain(format!("no recipe has a node `{node}`")).suggest(near));
    }
    match diags.is_empty() {
        true => Ok(()),
        false => Err(diags.finish().into()),
    }
}

/// The named nodes that it has, or its evaluations.
pub fn chosen<'a>(side: &'a Side, nodes: &[String]) -> impl Iterator<Item = &'a Node> {
    let all = side.graph.nodes().iter();
    all.filter(move |n| match nodes.is_empty() {
        true => n.kind.role == Role::Evaluates,
        false => nodes.contains(&n.name),
    })
}

/// The first node that is not shown and measures a metric.
pub fn elsewhere(store: &Store, sides: &[&Side], nodes: &[String], metric: &str) -> Option<String> {
    let mut all = sides.iter().flat_map(|side| {
        let shown = |name: &str| chosen(side, nodes).any(|n| n.name == name);
        let records = side.records.iter();
        let named = records.map(|(id, record)| (&side.graph.node(*id).name, record));
        named.filter(move |(name, _)| !shown(name))
    });
    let measures = |record| {
        let read = reading::read(store, record);
        read.is_ok_and(|read| read.metric(metric).is_some())
    };
    let (name, _) = all.find(|(_, record)| measures(*record))?;
    Some(name.clone())
}

/// Of what nodes of these kinds measured: the metrics that are asked for; else the headline ones, which are all there are where
/// no node has a headline metric. `elsewhere`: the node that measures one which none of these does.
pub fn heads(
    readings: &[(&'static Kind, &Reading)],
    asked: &[String],
    elsewhere: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Head>> {
    let all = || readings.iter().flat_map(|(_, r)| &r.metrics);
    let mut found: Vec<(&Kind, &Metric)> = vec![];
    for (kind, reading) in readings {
        for metric in &reading.metrics {
            if !found.iter().any(|(_, m)| m.name == metric.name) {
                found.push((kind, metric));
            }
        }
    }
    let names: BTreeSet<&str> = found.iter().map(|(_, m)| m.name.as_str()).collect();
    let mut diags = Diags::default();
    for metric in asked.iter().filter(|n| !names.contains(n.as_str())) {
        if let Some(node) = elsewhere(metric) {
            let message = format!("no node that is shown measures `{metric}`");
            diags.push(Diag::plain(message).help(format!("`{node}` does: `--node {node}`")));
        }
    }
    if !diags.is_empty() {
        return Err(diags.finish().into());
    }
    let means = beside::over_seeds(readings.iter().map(|(_, r)| r.metrics.as_slice()));
    metrics::unknown(&names, asked, |name| {
        let mut kinds = readings.iter().map(|(kind, _)| *kind);
        kinds.find_map(|kind| doubt::without(Some(kind), name, &means))
    })?;
    let headline = metrics::HEADLINE.iter().filter(|n| names.contains(**n));
    let mut wanted: Vec<&str> = match asked.is_empty() {
        true => headline.copied().collect(),
        false => asked.iter().map(String::as_str).collect(),
    };
    if wanted.is_empty() {
        let each = found.iter().map(|(_, m)| m.name.as_str());
        let idle = |n: &&str| {
            let own = all().filter(|m| m.name == **n);
            metrics::idle(n, own.map(|m| m.value))
        };
        wanted = each.filter(|n| !idle(n)).collect();
    }
    let head = |name: &str| {
        let found = found.iter().find(|(_, m)| m.name == name);
        // Before anything was measured nobody knows what is asked for.
        let label = found.map_or(name.into(), |(kind, _)| kind.label(name));
        let unit = found.map_or(String::new(), |(_, metric)| metric.unit.clone());
        Head {
            metric: name.into(),
            label,
            unit,
        }
    };
    Ok(wanted.into_iter().map(head).collect())
}
