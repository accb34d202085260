//! The runs behind training curves as data for the view that compares them: every training by itself, with what it can be grouped by.

use crate::html::lines::Points;
use crate::html::study::Study;
use base::claim::Axes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// By quantity, (step, value).
pub type Curve = BTreeMap<String, Vec<(u64, f64)>>;

/// Points that all runs together may have; with more, only what the page draws anyway is carried.
const MOST: usize = 150_000;

/// One training.
pub struct Run {
    /// The heading that its curves stand under.
    pub group: String,
    /// As its line in a chart.
    pub line: String,
    /// Of that line.
    pub style: usize,
    /// All that it is part of.
    pub recipes: Vec<String>,
    pub node: String,
    /// The axes that it hangs on.
    pub axes: Axes,
    /// Thinned, by quantity, with the steps behind a point, which all runs of a group share.
    pub curves: BTreeMap<String, (u64, Points)>,
}

/// Whether only what the page draws anyway is carried.
pub fn too_many(runs: &[Run]) -> bool {
    let curves = runs.iter().flat_map(|r| r.curves.values());
    curves.map(|(_, points)| points.len()).sum::<usize>() > MOST
}

/// For the script. Names are in the order in which quantities are looked at; a run is group, line, recipes, node, axes, by quantity the
/// steps behind a point, its steps and its values, and the style of its line.
pub fn compact(runs: &[Run], named: &[(&str, &str)]) -> Value {
    let all = !too_many(runs);
    let known = |name: &str| all || named.iter().any(|(n, _)| *n == name);
    let run = |run: &Run| {
        let curves = run.curves.iter().filter(|(name, _)| known(name));
        let curves: BTreeMap<&str, (u64, Vec<f64>, Vec<f64>)> = curves
            .map(|(name, (wide, points))| {
                let (steps, values) = points.iter().copied().unzip();
                (name.as_str(), (*wide, steps, values))
            })
            .collect();
        json!([
            run.group,
            run.line,
            run.recipes,
            run.node,
            run.axes,
            curves,
            run.style
        ])
    };
    json!({ "names": named, "runs": runs.iter().map(run).collect::<Vec<_>>() })
}

/// By item of the study, the axes that it hangs on: those of which it has one value alone, in the sides that use it.
pub fn axes(study: &Study) -> Vec<Axes> {
    let mut found: Vec<BTreeMap<&str, BTreeSet<&str>>> = vec![BTreeMap::new(); study.items.len()];
    for (at, side) in study.sides.iter().enumerate() {
        for id in side.graph.ids() {
            let of = &mut found[study.place(at, id)];
            for (axis, value) in &side.axes {
                of.entry(axis).or_default().insert(value);
            }
        }
    }
    let single = |of: BTreeMap<&str, BTreeSet<&str>>| {
        let single = of.into_iter().filter(|(_, values)| values.len() == 1);
        single
            .flat_map(|(axis, values)| values.into_iter().map(move |v| (axis.into(), v.into())))
            .collect()
    };
    found.into_iter().map(single).collect()
}
