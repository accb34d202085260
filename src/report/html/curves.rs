//! Training curves from the `curve.jsonl` of training nodes: a chart a quantity, a line a method, thin lines its seeds. A curve that
//! cannot be read costs its lines, not the page.

use crate::compare::measures::{Shown, beside_each_other};
use crate::html::axis::Axis;
use crate::html::lines::{self, Points, rounded};
use crate::html::plot::{Chart, Form};
use crate::html::runs::{self, Curve, Run};
use crate::html::series::methods;
use crate::html::source::Styles;
use crate::html::study::{Item, Study};
use crate::steps::{FILE, Lines};
use engine::kind::{Type, Written};
use engine::store::Store;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Some training wrote a curve.
    pub some: bool,
    /// There are too many runs for the view that compares them to have all quantities.
    pub few: bool,
    /// What could not be read of them, and which rewards are not of one sort.
    pub remarks: Vec<String>,
    /// Every training by itself, for that view.
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
    /// Of each chart, steps behind a point.
    pub steps: Vec<u64>,
    /// The same in words.
    pub points: String,
    pub seeds: usize,
}

/// A metric's name, and what a reader calls it.
type Quantities = &'static [(&'static str, &'static str)];

/// One training: the heading that it stands under, its line there, its place in `Study::items`.
struct Trained {
    title: String,
    quantities: Quantities,
    line: String,
    item: usize,
    curve: Curve,
}

pub fn is_training(item: &Item) -> bool {
    item.file(Type::Metrics, FILE).is_some()
}

pub fn curves(store: &Store, study: &Study, styles: &mut Styles) -> Curves {
    let mut remarks = vec![];
    let mut all = trained(store, study, &mut remarks);
    // What is learned last is looked at first; otherwise as they come.
    let mut titles: Vec<String> = vec![];
    for one in &all {
        if !titles.contains(&one.title) {
            titles.push(one.title.clone());
        }
    }
    // The seeds of a line come one after the other.
    let seeds = all.chunk_by(|a, b| (&a.line, &a.title) == (&b.line, &b.title));
    let rewarded = seeds.filter(|own| own[0].title == RL_TITLE).map(|own| {
        let items: Vec<usize> = own.iter().map(|one| one.item).collect();
        let first = &study.items[items[0]];
        Shown {
            node: first.name,
            name: format!("the rewards of {}", own[0].line),
            kind: first.node.kind,
            records: study.records(&items),
        }
    });
    remarks.extend(beside_each_other(Written::Curve, rewarded));
    titles.sort_by_key(|title| title != RL_TITLE);
    all.sort_by_key(|one| titles.iter().position(|title| *title == one.title));
    let (mut groups, mut runs, axes) = (vec![], vec![], runs::axes(study));
    for own in all.chunk_by(|a, b| a.title == b.title) {
        groups.push(group(own, styles));
        let grids = grids(own);
        runs.extend(own.iter().map(|one| {
            let item = &study.items[one.item];
            Run {
                group: one.title.clone(),
                line: one.line.clone(),
                style: styles.of(&one.line),
                recipes: (item.recipes.iter())
                    .map(|r| study.recipes[*r].name.into())
                    .collect(),
                node: item.name.into(),
                axes: axes[one.item].clone(),
                curves: (one.curve.iter())
                    .map(|(name, points)| {
                        let wide = grids[name.as_str()];
                        (name.clone(), (wide, thin(points, wide)))
                    })
                    .collect(),
            }
        }));
    }
    groups.retain(|g: &Group| !g.charts.is_empty());
    Curves {
        groups,
        some: !runs.is_empty(),
        few: runs::too_many(&runs),
        remarks,
        runs,
    }
}

fn trained(store: &Store, study: &Study, remarks: &mut Vec<String>) -> Vec<Trained> {
    let mut all = vec![];
    for method in methods(study, is_training) {
        for variant in method.news() {
            let mut own = vec![];
            for item in &variant.items {
                if let Some(curve) = load(store, &study.items[*item], remarks) {
                    own.push((*item, curve));
                }
            }
            let rewarded = own.iter().any(|(_, curve)| curve.contains_key(RL[0].0));
            all.extend(own.into_iter().map(|(at, curve)| {
                let item = &study.items[at];
                let (title, quantities) = match rewarded {
                    true => (RL_TITLE.to_string(), RL),
                    false if item.name == item.node.kind.name => (item.name.to_string(), OTHERS),
                    false => (format!("{} ({})", item.name, item.node.kind.name), OTHERS),
                };
                Trained {
                    title,
                    quantities,
                    line: method.label_of(variant),
                    item: at,
                    curve,
                }
            }));
        }
    }
    all
}

/// What a reader calls the quantities that the page draws.
pub fn named() -> Vec<(&'static str, &'static str)> {
    RL.iter().chain(OTHERS).copied().collect()
}

/// By quantity: steps behind a point, the same for all trainings of a group, so that their points stand at the same steps.
fn grids(all: &[Trained]) -> BTreeMap<&str, u64> {
    let names: BTreeSet<&str> = (all.iter())
        .flat_map(|one| one.curve.keys().map(String::as_str))
        .collect();
    let of = |name| (name, grid(all, name, MOST_POINTS));
    names.into_iter().map(of).collect()
}

/// Steps behind a point of this quantity: so many that there are no more than `most` points, and that who does not log it every step has
/// one in each.
fn grid(all: &[Trained], name: &str, most: u64) -> u64 {
    let curves = || {
        let each = all.iter().filter_map(|one| one.curve.get(name));
        each.filter(|points| !points.is_empty())
    };
    let last = curves().map(|points| points[points.len() - 1].0).max();
    let stride = curves().map(|points| stride(points)).max();
    last.unwrap_or(0)
        .div_ceil(most)
        .max(stride.unwrap_or(1))
        .max(1)
}

/// From one point to the next, mostly: the median.
fn stride(points: &[(u64, f64)]) -> u64 {
    let mut all: Vec<u64> = (points.windows(2))
        .map(|pair| pair[1].0.saturating_sub(pair[0].0))
        .collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(1)
}

fn load(store: &Store, item: &Item, remarks: &mut Vec<String>) -> Option<Curve> {
    let blob = item.file(Type::Metrics, FILE)?;
    let mut curve = Curve::new();
    let text = match store.objects().read_text(blob) {
        Ok(text) => text,
        Err(error) => {
            remarks.push(format!("`{}`: {FILE} cannot be read: {error:#}", item.name));
            return None;
        }
    };
    let mut lines = Lines::default();
    for line in text.lines() {
        let Some(object) = lines.object(line) else {
            continue;
        };
        let Some(step) = object.get("step").and_then(Value::as_u64) else {
            continue;
        };
        for (name, value) in object.iter().filter(|(name, _)| *name != "step") {
            if let Some(value) = value.as_f64() {
                curve.entry(name.clone()).or_default().push((step, value));
            }
        }
    }
    remarks.extend(
        lines
            .remark()
            .map(|text| format!("`{}`: {text}", item.name)),
    );
    Some(curve)
}

/// The charts of trainings under one heading, at least one.
fn group(all: &[Trained], styles: &mut Styles) -> Group {
    let (title, quantities) = (all[0].title.clone(), all[0].quantities);
    let mut labels: Vec<&str> = vec![];
    for one in all {
        if !labels.contains(&one.line.as_str()) {
            labels.push(&one.line);
        }
    }
    let most = match labels.len() {
        n if n > MANY => MOST_AMONG_MANY,
        _ => MOST_POINTS,
    };
    let slug: String = title
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let slug = match title == RL_TITLE {
        true => "rl",
        false => slug.trim_matches('-'),
    };
    let (mut charts, mut steps) = (vec![], vec![]);
    for (name, label) in quantities {
        let wide = grid(all, name, most);
        let mut series = vec![];
        for line in &labels {
            let own = all.iter().filter(|one| one.line == *line);
            let seeds = own.filter_map(|one| one.curve.get(*name));
            let seeds: Vec<Points> = seeds.map(|points| thin(points, wide)).collect();
            if !seeds.is_empty() {
                series.push(lines::mean(line, styles.of(line), seeds, lines::exactly));
            }
        }
        if !series.is_empty() {
            steps.push((*label, wide));
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
    let seeds = |line: &&str| all.iter().filter(|one| one.line == **line).count();
    Group {
        shared: charts.len() > 1,
        charts,
        points: points(&steps),
        steps: steps.into_iter().map(|(_, wide)| wide).collect(),
        seeds: labels.iter().map(seeds).max().unwrap_or(0),
        title,
    }
}

/// What a point of each chart is.
fn points(steps: &[(&str, u64)]) -> String {
    let alike = steps.windows(2).all(|pair| pair[0].1 == pair[1].1);
    match steps {
        [(_, 1), ..] if alike => "A point is a step.".into(),
        [(_, wide), ..] if alike => format!("A point is the mean of what {wide} steps logged."),
        _ => {
            let each: Vec<String> = steps
                .iter()
                .map(|(label, wide)| format!("{wide} of {label}"))
                .collect();
            format!(
                "A point is the mean of what so many steps logged: {}.",
                each.join("; ")
            )
        }
    }
}

/// Means of what so many steps logged, at their middle.
fn thin(points: &[(u64, f64)], wide: u64) -> Points {
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
