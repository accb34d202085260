//! What makes runs differ: the variance components of every metric of evaluations over crossed axes of seeds. A reader of records.

use crate::asked::{self, Head};
use crate::beside::{self, Beside};
use crate::doubt;
use crate::missing;
use crate::reading::{self, Reading};
use crate::side::{self, Side};
use anyhow::Result;
use base::claim::{self, Axes};
use base::diag::{Diag, Diags};
use base::hash::Key;
use base::stats::components::{self, Components, components};
use base::stats::crossed::Range;
use base::text::{did_you_mean, listed};
use engine::graph::Node;
use engine::kind::Kind;
use engine::store::Store;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeSet;

pub mod show;

#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    pub metrics: Vec<Head>,
    pub rows: Vec<Row>,
    /// Runs without an artifact, and what makes them: a line a recipe.
    pub missing: Vec<String>,
}

/// An evaluation of a recipe under one choice of the axes that are no seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub recipe: String,
    pub axes: Axes,
    pub node: String,
    /// Other recipes, and other variants, whose evaluation this is as well.
    pub also: Vec<String>,
    /// The axes of seeds that it depends on.
    pub seeds: Vec<Seeds>,
    /// The axes of seeds that change nothing of it.
    pub fixed: Vec<String>,
    pub runs: usize,
    /// In the order of the metrics.
    pub cells: Vec<Option<Cell>>,
    /// Why there are no cells.
    pub problem: Option<String>,
    /// Which metrics are of some of the runs only, or of none, as those lack a value; and why.
    pub notes: Vec<String>,
    #[serde(skip)]
    keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seeds {
    pub axis: String,
    pub values: Vec<String>,
}

/// The components of one metric. In the metric's unit, a share as a fraction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Those that it is over: of the row's, the most that have a value and are fully crossed.
    pub runs: usize,
    /// How many values of each axis they have.
    #[serde(skip)]
    pub levels: Vec<usize>,
    pub mean: f64,
    /// Prompts, of the run that has fewest.
    pub n: usize,
    /// Of the answers behind it, where it is a rate: mean over runs.
    pub beside: Option<Beside>,
    /// Between runs all of whose seeds differ.
    pub total: Part,
    pub axes: Vec<OfAxis>,
    /// What axes do together, and what runs of the same seeds would differ by; none of a single axis.
    pub together: Option<Part>,
    /// Of the finite number of prompts; none where not every run kept its values.
    pub prompts: Option<Part>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfAxis {
    pub axis: String,
    /// Whatever the others are at.
    pub alone: Part,
    /// Between runs that differ in this axis only.
    pub only: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Part {
    /// As it is estimated: below zero now and then.
    pub variance: f64,
    /// 0 where the variance is below.
    pub sd: f64,
    /// 95 %, of the standard deviation.
    pub interval: Option<(f64, f64)>,
    /// Of the total variance, which axes alone, together and prompts add up to; none of what is no part of it, and where it is 0.
    pub share: Option<f64>,
}

const HELP: &str = "cross some, as recipes/spread.toml does, or vary one with `--matrix seed=0,1,2`; an axis that is not called `seed` or \
                    `…_seed` is named: `--spread=AXIS`";

/// `seeds`: these axes; where none is named, all that are called as seeds are. `nodes` and `asked` as in a grid.
pub fn spread(
    store: &Store,
    sides: &[&Side],
    seeds: &[String],
    asked: &[String],
    nodes: &[String],
) -> Result<Spread> {
    asked::known_nodes(sides, nodes)?;
    known_seeds(sides, seeds)?;
    let of_seeds = |axis: &str| match seeds.is_empty() {
        true => claim::of_seeds(axis),
        false => seeds.iter().any(|s| s == axis),
    };
    let mut found: Vec<Measured> = vec![];
    let mut lacking = vec![];
    for variants in side::repeated(sides, of_seeds) {
        for node in asked::chosen(variants[0], nodes) {
            let own = measured(store, &variants, node, of_seeds, &mut lacking)?;
            let twin = |m: &&mut Measured| !own.row.keys.is_empty() && m.row.keys == own.row.keys;
            match found.iter_mut().find(twin) {
                Some(first) => first.row.also.push(own.row.label()),
                None => found.push(own),
            }
        }
    }
    let readings = found.iter();
    let readings = readings.flat_map(|m| m.runs.iter().map(|run| (m.kind, run)));
    let heads = asked::heads(&readings.collect::<Vec<_>>(), asked, |metric| {
        asked::elsewhere(store, sides, nodes, metric)
    })?;
    let rows = found.into_iter().map(
        |Measured {
             mut row,
             runs,
             kind,
         }| {
            for head in &heads {
                let places = places(&row, &runs, head);
                let cell = places
                    .as_ref()
                    .and_then(|places| cell(&row, &runs, head, places));
                row.notes
                    .extend(note(kind, &row, &runs, head, cell.as_ref()));
                row.cells.push(cell);
            }
            row
        },
    );
    Ok(Spread {
        rows: rows.collect(),
        metrics: heads,
        missing: missing::lines(&lacking),
    })
}

/// Every recipe has an axis of seeds, and every named one is an axis of one.
fn known_seeds(sides: &[&Side], seeds: &[String]) -> Result<()> {
    let mut diags = Diags::default();
    let axes = || sides.iter().flat_map(|s| s.axes.keys().map(String::as_str));
    for seed in seeds.iter().filter(|s| !axes().any(|a| a == s.as_str())) {
        let diag = Diag::plain(format!("no recipe has an axis `{seed}`"));
        diags.push(diag.suggest(did_you_mean(seed, axes())));
    }
    let by_name = |side: &Side| side.axes.keys().any(|axis| claim::of_seeds(axis));
    for of in side::repeated(sides, |_| true) {
        if seeds.is_empty() && !by_name(of[0]) {
            let message = format!("`{}` has no axis of seeds", of[0].recipe);
            diags.push(Diag::plain(message).help(HELP));
        }
    }
    match diags.is_empty() {
        true => Ok(()),
        false => Err(diags.finish().into()),
    }
}

/// A row without cells, its runs, and the kind of node that wrote them.
struct Measured {
    row: Row,
    /// One for each choice of the seeds that it depends on, the last axis varies fastest; none where some are missing.
    runs: Vec<Reading>,
    kind: &'static Kind,
}

fn measured<'a>(
    store: &Store,
    variants: &[&'a Side],
    node: &'a Node,
    of_seeds: impl Fn(&str) -> bool,
    lacking: &mut Vec<(&'a Side, &'a str)>,
) -> Result<Measured> {
    let mut own = Measured {
        row: Row {
            recipe: variants[0].recipe.clone(),
            axes: variants[0].axes_without(&of_seeds),
            node: node.name.clone(),
            also: vec![],
            seeds: vec![],
            fixed: vec![],
            runs: 0,
            cells: vec![],
            problem: None,
            notes: vec![],
            keys: vec![],
        },
        runs: vec![],
        kind: node.kind,
    };
    let row = &mut own.row;
    let all = levels(variants, of_seeds);
    let crossed = match crossed(variants, &all) {
        Ok(crossed) => crossed,
        Err(problem) => {
            row.problem = Some(problem);
            return Ok(own);
        }
    };
    let absent = crossed
        .iter()
        .filter(|side| side.record(&node.name).is_none());
    let absent: Vec<&Side> = absent.copied().collect();
    if !absent.is_empty() {
        let (some, all) = (absent.len(), crossed.len());
        row.problem = Some(format!("{some} of {all} runs are missing"));
        lacking.extend(absent.into_iter().map(|side| (side, node.name.as_str())));
        return Ok(own);
    }
    let records: Vec<_> = (crossed.iter())
        .filter_map(|side| side.record(&node.name))
        .collect();
    let keys: Vec<&Key> = records.iter().map(|r| &r.key).collect();
    let (kept, fixed) = depends(&all, &keys);
    row.fixed = fixed;
    for i in kept {
        row.keys.push(keys[i].clone());
        own.runs.push(reading::read(store, records[i])?);
    }
    row.runs = own.runs.len();
    let depends = |seeds: &Seeds| !row.fixed.contains(&seeds.axis);
    row.seeds = all.into_iter().filter(depends).collect();
    if row.seeds.is_empty() {
        row.problem = Some("nothing of it depends on a seed that varies".into());
    }
    Ok(own)
}

/// The axes of seeds among these, and their values, in the order in which they come.
fn levels(variants: &[&Side], of_seeds: impl Fn(&str) -> bool) -> Vec<Seeds> {
    let mut found: Vec<Seeds> = vec![];
    for side in variants {
        for (axis, value) in side.axes.iter().filter(|(axis, _)| of_seeds(axis)) {
            match found.iter_mut().find(|s| s.axis == *axis) {
                Some(seeds) if seeds.values.contains(value) => {}
                Some(seeds) => seeds.values.push(value.clone()),
                None => found.push(Seeds {
                    axis: axis.clone(),
                    values: vec![value.clone()],
                }),
            }
        }
    }
    found
}

/// The value of every axis in the i-th choice of all; the last axis varies fastest.
fn choice(all: &[Seeds], mut i: usize) -> Vec<usize> {
    let mut at = vec![0; all.len()];
    for (k, seeds) in all.iter().enumerate().rev() {
        at[k] = i % seeds.values.len();
        i /= seeds.values.len();
    }
    at
}

/// A variant for every choice, or why that cannot be.
fn crossed<'a>(variants: &[&'a Side], all: &[Seeds]) -> Result<Vec<&'a Side>, String> {
    let choices: usize = all.iter().map(|s| s.values.len()).product();
    let mut found = vec![];
    for i in 0..choices {
        let at = choice(all, i);
        let value = |k: usize| (&all[k].axis, &all[k].values[at[k]]);
        let fits =
            |side: &&&Side| (0..all.len()).all(|k| side.axes.get(value(k).0) == Some(value(k).1));
        match variants.iter().find(fits) {
            Some(side) => found.push(*side),
            None => {
                let named = (0..all.len()).map(|k| format!("{}={}", value(k).0, value(k).1));
                let named: Vec<String> = named.collect();
                return Err(format!(
                    "{} are not fully crossed: `[matrix]` has no choice {}",
                    listed(all.iter().map(|s| s.axis.as_str())),
                    named.join(", ")
                ));
            }
        }
    }
    Ok(found)
}

/// The choices that differ in what the keys depend on, and the axes that they do not depend on.
fn depends(all: &[Seeds], keys: &[&Key]) -> (Vec<usize>, Vec<String>) {
    let at: Vec<Vec<usize>> = (0..keys.len()).map(|i| choice(all, i)).collect();
    // The choice with this axis at its first value.
    let first = |i: usize, k: usize| {
        let after: usize = all[k + 1..].iter().map(|s| s.values.len()).product();
        i - at[i][k] * after
    };
    let fixed: Vec<usize> = (0..all.len())
        .filter(|k| (0..keys.len()).all(|i| keys[i] == keys[first(i, *k)]))
        .collect();
    let kept = (0..keys.len()).filter(|i| fixed.iter().all(|k| at[*i][*k] == 0));
    let names = fixed.iter().map(|k| all[*k].axis.clone());
    (kept.collect(), names.collect())
}

/// The places of the runs that a metric is shown over: all, less those of a value of an axis under which the largest share lacks one, one
/// such value after the other until none lacks one, which may be more than have to go. None where of an axis less than two values are left.
fn places(row: &Row, runs: &[Reading], head: &Head) -> Option<Vec<usize>> {
    if row.problem.is_some() {
        return None;
    }
    let at: Vec<Vec<usize>> = (0..runs.len()).map(|i| choice(&row.seeds, i)).collect();
    let lacks = |i: &usize| runs[*i].metric(&head.metric).is_none();
    let mut left: Vec<usize> = (0..runs.len()).collect();
    while left.iter().any(lacks) {
        let values = row.seeds.iter().enumerate();
        let values = values.flat_map(|(k, seeds)| (0..seeds.values.len()).map(move |v| (k, v)));
        // Of equals, the one under which are fewer.
        let under = values.map(|(k, v)| {
            let own = || left.iter().filter(|i| at[**i][k] == v);
            let share = own().filter(|i| lacks(i)).count() as f64 / own().count().max(1) as f64;
            (share, Reverse(own().count()), (k, v))
        });
        let worst = under.max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
        let (k, v) = worst.2;
        left.retain(|i| at[*i][k] != v);
    }
    let several = levels_of(row, &left).into_iter().all(|n| n > 1);
    several.then_some(left)
}

/// How many values of each axis these runs have.
fn levels_of(row: &Row, places: &[usize]) -> Vec<usize> {
    let at: Vec<Vec<usize>> = places.iter().map(|i| choice(&row.seeds, *i)).collect();
    let values = |k: usize| at.iter().map(|at| at[k]).collect::<BTreeSet<usize>>();
    (0..row.seeds.len()).map(|k| values(k).len()).collect()
}

/// That runs lack a value, where some have one or could have.
fn note(
    kind: &Kind,
    row: &Row,
    runs: &[Reading],
    head: &Head,
    cell: Option<&Cell>,
) -> Option<String> {
    let (lacking, having): (Vec<&Reading>, Vec<&Reading>) =
        { runs.iter() }.partition(|run| run.metric(&head.metric).is_none());
    if row.problem.is_some() || lacking.is_empty() {
        return None;
    }
    let lack = beside::over_seeds(lacking.iter().map(|run| run.metrics.as_slice()));
    let why = doubt::without(Some(kind), &head.metric, &lack);
    if having.is_empty() && why.is_none() {
        return None;
    }
    let have = format!("{} of {} runs have a value", having.len(), runs.len());
    let then = match cell {
        Some(cell) => format!(", and it is over {}", cell.runs),
        None => ", so nothing is shown".into(),
    };
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    Some(format!("{}: {have}{then}{why}", head.label))
}

/// Over the runs at these places, all of which have the metric.
fn cell(row: &Row, runs: &[Reading], head: &Head, places: &[usize]) -> Option<Cell> {
    let runs: Vec<&Reading> = places.iter().map(|i| &runs[*i]).collect();
    let metrics = runs.iter().map(|run| run.metric(&head.metric));
    let metrics: Vec<_> = metrics.collect::<Option<_>>()?;
    let cells = runs.iter().zip(&metrics).map(|(run, m)| components::Cell {
        value: m.value,
        values: run.behind(&m.name).ok(),
    });
    let cells: Vec<components::Cell> = cells.collect();
    let levels = levels_of(row, places);
    let found: Components = components(&levels, &cells, Range::of(&head.unit));
    let total = found.total.variance;
    let part = |part: components::Part, summand: bool| Part {
        variance: part.variance,
        sd: part.sd(),
        interval: part.interval,
        share: (summand && total > 0.0).then(|| part.variance.max(0.0) / total),
    };
    let axes = row.seeds.iter().zip(&found.axes);
    Some(Cell {
        runs: runs.len(),
        levels,
        mean: found.mean,
        n: metrics.iter().map(|m| m.n).min().unwrap_or_default(),
        beside: beside::of(
            &head.metric,
            &beside::over_seeds(runs.iter().map(|run| run.metrics.as_slice())),
        ),
        total: part(found.total, false),
        axes: axes
            .map(|(seeds, of)| OfAxis {
                axis: seeds.axis.clone(),
                alone: part(of.alone, true),
                only: part(of.only, false),
            })
            .collect(),
        together: found.together.map(|p| part(p, true)),
        prompts: found.prompts.map(|p| part(p, true)),
    })
}

impl Row {
    /// The recipe and its axes.
    pub fn label(&self) -> String {
        side::labelled(&self.recipe, &self.axes)
    }
}
