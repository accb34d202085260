//! Training curves from the `curve.jsonl` of training nodes: a chart a quantity, a line a method, thin lines its seeds.

use crate::html::axis::Axis;
use crate::html::plot::{Chart, Form, Mark, Series};
use crate::html::runs::{self, Curve, Run};
use crate::html::series::methods;
use crate::html::source::Styles;
use crate::html::study::{Item, Study};
use anyhow::{Context, Result};
use engine::kind::Type;
use engine::store::Store;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub const FILE: &str = "curve.jsonl";

/// Points a line has at most; each is the mean of its steps. Among many lines fewer, as what moves less is easier to follow.
const MOST_POINTS: u64 = 100;
const MOST_AMONG_MANY: u64 = 40;
const MANY: usize = 6;

const RL_TITLE: &str = "Reinforcement learning";
/// What RL is watched by, and how a reader calls it.
const RL: Quantities = &[
    ("reward", "reward"),
    ("kl", "KL to the reference, nats a token"),
    ("entropy", "entropy, nats a token"),
    ("completions/mean_length", "completion length, tokens"),
];
/// What other training is watched by.
const OTHERS: Quantities = &[
    ("loss", "loss"),
    ("rewards/margins", "reward margin"),
    ("rewards/accuracies", "share of pairs ranked right"),
];

#[derive(Serialize)]
pub struct Curves {
    pub groups: Vec<Group>,
    /// Every training by itself, for the view that compares them.
    #[serde(skip)]
    pub runs: Vec<Run>,
}

/// Charts with the same lines.
#[derive(Serialize)]
pub struct Group {
    pub title: String,
    pub charts: Vec<Chart>,
    /// Several quantities of the same lines, which share a legend.
    pub shared: bool,
    /// Steps behind a point, at most.
    pub steps: u64,
    pub seeds: usize,
}

/// A metric's name, and what a reader calls it.
type Quantities = &'static [(&'static str, &'static str)];
/// A label, and the curves of its seeds.
type Line = (String, Vec<Curve>);

pub fn is_training(item: &Item) -> bool {
    item.file(Type::Metrics, FILE).is_some()
}

pub fn curves(store: &Store, study: &Study, styles: &mut Styles) -> Result<Curves> {
    let mut groups: Vec<(String, Quantities, Vec<Line>)> = vec![];
    let (mut runs, axes) = (vec![], runs::axes(study));
    for method in methods(study, is_training) {
        for variant in method.news() {
            let (mut curves, mut items) = (vec![], vec![]);
            for item in &variant.items {
                if let Some(curve) = load(store, &study.items[*item])? {
                    curves.push(curve);
                    items.push(*item);
                }
            }
            let Some(first) = curves.first() else {
                continue;
            };
            let item = &study.items[variant.items[0]];
            let (title, quantities) = match first.contains_key("reward") {
                true => (RL_TITLE.to_string(), RL),
                false if item.name == item.node.kind.name => (item.name.to_string(), OTHERS),
                false => (format!("{} ({})", item.name, item.node.kind.name), OTHERS),
            };
            let line = method.label_of(variant);
            for (item, curve) in items.iter().zip(&curves) {
                runs.push(Run {
                    group: title.clone(),
                    line: line.clone(),
                    style: 0,
                    recipe: study.recipes[study.items[*item].recipes[0]].name.into(),
                    node: study.items[*item].name.into(),
                    axes: axes[*item].clone(),
                    curves: thinned(curve),
                });
            }
            match groups.iter_mut().find(|g| g.0 == title) {
                Some(group) => group.2.push((line, curves)),
                None => groups.push((title, quantities, vec![(line, curves)])),
            }
        }
    }
    // What is learned last is looked at first.
    groups.sort_by_key(|(_, quantities, _)| quantities[0].0 != RL[0].0);
    let place = |run: &Run| groups.iter().position(|g| g.0 == run.group);
    runs.sort_by_key(place);
    let groups = groups
        .into_iter()
        .map(|(title, quantities, lines)| group(title, quantities, &lines, styles));
    let groups = groups.collect();
    for run in &mut runs {
        run.style = styles.of(&run.line);
    }
    Ok(Curves { groups, runs })
}

/// What a reader calls the quantities that the page draws.
pub fn named() -> Vec<(&'static str, &'static str)> {
    RL.iter().chain(OTHERS).copied().collect()
}

/// All quantities of a run, each by itself.
fn thinned(curve: &Curve) -> BTreeMap<String, Vec<(f64, f64)>> {
    let each = curve.iter().map(|(name, points)| {
        let last = points.last().map_or(0, |p| p.0);
        (
            name.clone(),
            thin(points, last.div_ceil(MOST_POINTS).max(1)),
        )
    });
    each.collect()
}

fn load(store: &Store, item: &Item) -> Result<Option<Curve>> {
    let Some(blob) = item.file(Type::Metrics, FILE) else {
        return Ok(None);
    };
    let mut curve = Curve::new();
    for line in store.objects().read_text(blob)?.lines() {
        let object: Map<String, Value> = serde_json::from_str(line)
            .with_context(|| format!("failed to parse the curve of `{}`", item.name))?;
        let Some(step) = object.get("step").and_then(Value::as_u64) else {
            continue;
        };
        for (name, value) in object.iter().filter(|(name, _)| *name != "step") {
            if let Some(value) = value.as_f64() {
                curve.entry(name.clone()).or_default().push((step, value));
            }
        }
    }
    Ok(Some(curve))
}

fn group(title: String, quantities: Quantities, lines: &[Line], styles: &mut Styles) -> Group {
    let steps = lines
        .iter()
        .flat_map(|(_, curves)| curves)
        .flat_map(BTreeMap::values);
    let last = steps.filter_map(|points| points.last()).map(|p| p.0).max();
    let most = match lines.len() {
        n if n > MANY => MOST_AMONG_MANY,
        _ => MOST_POINTS,
    };
    let wide = last.unwrap_or(0).div_ceil(most).max(1);
    let slug: String = title
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let slug = match title == RL_TITLE {
        true => "rl",
        false => slug.trim_matches('-'),
    };
    let mut charts = vec![];
    for (name, label) in quantities {
        let mut series = vec![];
        for (name_of_line, curves) in lines {
            let seeds = curves.iter().filter_map(|c| c.get(*name));
            let seeds: Vec<Vec<(f64, f64)>> = seeds.map(|points| thin(points, wide)).collect();
            if !seeds.is_empty() {
                series.push(line(name_of_line, styles.of(name_of_line), seeds));
            }
        }
        if !series.is_empty() {
            charts.push(Chart {
                name: format!("curve-{slug}-{}", name.replace('/', "-")),
                title: format!("{label}: {title}"),
                x: Axis::new("step").with(0.0).whole(),
                y: Axis::new(label),
                rows: vec![],
                series,
                form: Form::Plot,
            });
        }
    }
    Group {
        shared: charts.len() > 1,
        title,
        charts,
        steps: wide,
        seeds: lines
            .iter()
            .map(|(_, curves)| curves.len())
            .max()
            .unwrap_or(0),
    }
}

/// Means of so many steps each, at the middle of their steps.
fn thin(points: &[(u64, f64)], wide: u64) -> Vec<(f64, f64)> {
    let mut bins: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for (step, value) in points {
        let bin = bins.entry(step.saturating_sub(1) / wide).or_default();
        bin.0 += value;
        bin.1 += 1.0;
    }
    let middle = |bin: u64| bin as f64 * wide as f64 + (wide as f64 + 1.0) / 2.0;
    bins.iter()
        .map(|(bin, (sum, n))| (middle(*bin), rounded(sum / n)))
        .collect()
}

/// Six digits: what a picture can show, and what a file need not be larger for.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// The mean over the seeds where all have a value.
fn line(label: &str, style: usize, seeds: Vec<Vec<(f64, f64)>>) -> Series {
    let points = seeds.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |i: usize| {
        let sum: f64 = seeds.iter().map(|s| s[i].1).sum();
        rounded(sum / seeds.len() as f64)
    };
    let marks = (0..points).map(|i| Mark {
        x: seeds[0][i].0,
        y: mean(i),
        ..Mark::default()
    });
    Series {
        label: label.into(),
        style,
        line: true,
        dots: false,
        marks: marks.collect(),
        threads: if seeds.len() > 1 { seeds } else { vec![] },
    }
}
