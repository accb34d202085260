//! What differs between two recipes, or two runs: parameters, measures with their uncertainty, costs. A reader of
//! records; a measure is compared in pairs of prompts, or refused with the reason.

pub mod contrast;
pub mod measures;
pub mod numbers;
pub mod show;
mod spent;
pub mod structure;

use crate::compare::measures::Evaluation;
use crate::compare::structure::Structure;
use crate::metrics;
use crate::pairing::{self, Group};
use crate::side::Side;
use anyhow::Result;
use base::calls::Calls;
use base::claim::{Axes, SEED};
use base::diag::{Diag, Diags};
use base::hash::Key;
use base::rows::VALUES;
use base::text::did_you_mean;
use engine::graph::NodeId;
use engine::kind::Role;
use engine::store::Store;
use engine::store::record::Record;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What to compare; empty: everything.
#[derive(Default)]
pub struct Asked {
    pub metrics: Vec<String>,
    /// Evaluations of different names, first and second.
    pub nodes: Vec<(String, String)>,
    /// Only variants with these values.
    pub first_at: Axes,
    pub second_at: Axes,
}

/// Everything between the variants of two recipes that agree in their axes. A difference is what the second has more.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub first: Named,
    pub second: Named,
    /// What both have in common, without the seed.
    pub axes: Axes,
    /// Labels of what was compared with each other; several are seeds.
    pub pairs: Vec<(String, String)>,
    /// Variants without a partner.
    pub alone: Vec<String>,
    /// Nothing differs in any pair.
    pub same: bool,
    /// Of the first pair.
    pub structure: Structure,
    pub evaluations: Vec<Evaluation>,
    /// Evaluations that have no partner of their name.
    pub lone_evaluations: Vec<String>,
    /// Of what the other does not have, first and second.
    pub costs: [Costs; 2],
    /// Nodes of the first pair that asked services on some side, where their records differ.
    pub called: Vec<Called>,
}

/// What a node asked on each side; nothing where that side has no record of it, or it asked nobody.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Called {
    pub node: String,
    pub first: Option<Calls>,
    pub second: Option<Calls>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Named {
    pub recipe: String,
    pub file: String,
    /// The recipe and its axes without the seed.
    pub label: String,
}

/// What some nodes took, all variants together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Costs {
    pub nodes: usize,
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub dollars: f64,
    pub calls: Calls,
    /// The highest of any.
    pub peak_bytes: u64,
    /// Nodes without an artifact, whose cost is not known.
    pub unknown: usize,
}

/// A comparison for every value of the axes that both have, seeds together. Both sides are the variants of one recipe, at
/// least one each. `Diags` where something was asked for that is not there.
pub fn compare(
    store: &Store,
    first: &[&Side],
    second: &[&Side],
    asked: &Asked,
) -> Result<Vec<Comparison>> {
    let pairing = pairing::pair(first, second, &asked.first_at, &asked.second_at)
        .map_err(|why| Diags::from(Diag::plain(why)))?;
    let mut found = vec![];
    for group in &pairing.groups {
        let mut one = of_group(store, group, asked)?;
        one.alone = pairing.alone.iter().map(|s| s.label()).collect();
        found.push(one);
    }
    known(&found, &asked.metrics)?;
    Ok(found)
}

fn of_group(store: &Store, group: &Group, asked: &Asked) -> Result<Comparison> {
    let (a, b) = group.pairs[0];
    let mut evaluations = vec![];
    for (one, other) in nodes(a, b, asked)? {
        evaluations.push(measures::evaluation(
            store,
            &group.pairs,
            (&one, &other),
            &asked.metrics,
        )?);
    }
    let lone = |side: &Side, other: &Side| -> Vec<String> {
        let evals = measuring(side).into_iter();
        let named = |n: &str| asked.nodes.iter().any(|(x, y)| x == n || y == n);
        evals
            .filter(|n| other.graph.find(n).is_none() && !named(n))
            .map(|n| format!("`{n}` of `{}`", side.recipe))
            .collect()
    };
    let mut lone_evaluations = lone(a, b);
    lone_evaluations.extend(lone(b, a));
    Ok(Comparison {
        first: named(a),
        second: named(b),
        axes: group.axes.clone(),
        pairs: group
            .pairs
            .iter()
            .map(|(x, y)| (x.label(), y.label()))
            .collect(),
        alone: vec![],
        // Two nodes of one recipe may be compared: they are not the same because the recipe is.
        same: asked.nodes.iter().all(|(x, y)| x == y)
            && group
                .pairs
                .iter()
                .all(|(x, y)| structure::structure(x, y).same()),
        structure: structure::structure(a, b),
        evaluations,
        lone_evaluations,
        costs: costs(group),
        called: called(a, b),
    })
}

fn named(side: &Side) -> Named {
    Named {
        recipe: side.recipe.clone(),
        file: side.file.display().to_string(),
        label: side.label_without(SEED),
    }
}

/// The nodes that are compared: what was asked for, and what both have under one name.
fn nodes(a: &Side, b: &Side, asked: &Asked) -> Result<Vec<(String, String)>> {
    let mut diags = Diags::default();
    for (one, other) in &asked.nodes {
        for (side, name) in [(a, one), (b, other)] {
            if side.graph.find(name).is_none() {
                let names = side.graph.nodes().iter().map(|n| n.name.as_str());
                let near = did_you_mean(name, names);
                let message = format!("`{}` has no node `{name}`", side.recipe);
                diags.push(Diag::plain(message).suggest(near));
            }
        }
    }
    if !diags.is_empty() {
        return Err(diags.finish().into());
    }
    let theirs = measuring(b);
    let both = measuring(a).into_iter().filter(|n| theirs.contains(n));
    let both = both.map(|n| (n.to_string(), n.to_string()));
    Ok(both.chain(asked.nodes.iter().cloned()).collect())
}

/// Nodes whose measures can be paired: evaluations, and what kept the values behind its metrics.
fn measuring(side: &Side) -> Vec<&str> {
    let keeps = |r: &Record| {
        let files = r.outputs.values().flat_map(|a| &a.files);
        files.into_iter().any(|f| f.path == VALUES)
    };
    let nodes = side.graph.ids().map(|id| (id, side.graph.node(id)));
    nodes
        .filter(|(id, n)| n.kind.role == Role::Evaluates || side.records.get(id).is_some_and(keeps))
        .map(|(_, n)| n.name.as_str())
        .collect()
}

/// A metric that nobody has is a slip of the hand.
fn known(found: &[Comparison], asked: &[String]) -> Result<()> {
    let all: BTreeSet<&str> = found
        .iter()
        .flat_map(|c| &c.evaluations)
        .flat_map(|e| e.known.iter().map(String::as_str))
        .collect();
    let each = || found.iter().flat_map(|c| &c.evaluations);
    metrics::unknown(&all, asked, |name| {
        each().find_map(|e| e.without.get(name).cloned())
    })
}

fn called(a: &Side, b: &Side) -> Vec<Called> {
    let of = |side: &Side, name: &str| {
        let id = side.graph.find(name)?;
        let record = side.records.get(&id)?;
        Some((record.key.clone(), record.cost.calls))
    };
    let names = |side: &Side| -> Vec<String> {
        let ids = side.records.keys();
        ids.map(|id| side.graph.node(*id).name.clone()).collect()
    };
    let mut all = names(a);
    let ours: BTreeSet<String> = all.iter().cloned().collect();
    all.extend(names(b).into_iter().filter(|n| !ours.contains(n)));
    let mut found = vec![];
    for node in all {
        let (first, second) = (of(a, &node), of(b, &node));
        if first == second {
            continue;
        }
        let asked = |side: Option<(Key, Calls)>| side.map(|s| s.1).filter(|c| !c.is_zero());
        let (first, second) = (asked(first), asked(second));
        if first.is_some() || second.is_some() {
            found.push(Called {
                node,
                first,
                second,
            });
        }
    }
    found
}

/// What each side has that no paired variant of the other has, every artifact once.
fn costs(group: &Group) -> [Costs; 2] {
    let first: Vec<&Side> = group.pairs.iter().map(|p| p.0).collect();
    let second: Vec<&Side> = group.pairs.iter().map(|p| p.1).collect();
    [own(&first, &second), own(&second, &first)]
}

fn own(sides: &[&Side], others: &[&Side]) -> Costs {
    let theirs: BTreeSet<&Key> = others
        .iter()
        .flat_map(|s| s.records.values())
        .map(|r| &r.key)
        .collect();
    let mut records: BTreeMap<&Key, &Record> = BTreeMap::new();
    let mut costs = Costs::default();
    for side in sides {
        let known = |id: &NodeId| side.records.contains_key(id);
        costs.unknown += side.graph.ids().filter(|id| !known(id)).count();
        let own = side.records.values().filter(|r| !theirs.contains(&r.key));
        records.extend(own.map(|r| (&r.key, r)));
    }
    for record in records.values() {
        costs.nodes += 1;
        costs.seconds += record.cost.seconds;
        costs.cpu_seconds += record.cost.cpu_seconds;
        costs.dollars += record.cost.dollars;
        costs.calls.add(&record.cost.calls);
        costs.peak_bytes = costs.peak_bytes.max(record.cost.peak_bytes);
    }
    costs
}
