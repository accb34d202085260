//! Figures by the labels of the prompts: a chart a label, its values along an axis, a series an evaluation. Which labels there are is
//! read from the names of metrics, as `defense/lookups/3`; every number is `reading`'s.

use crate::beside;
use crate::html::axis::Axis;
use crate::html::plot::{Chart, Form, Mark, Series};
use crate::html::series::{Method, Variant, shown, words};
use crate::html::source::Styles;
use crate::html::study::Study;
use crate::reading::{Reading, mean_of};
use base::rows::{Metric, PromptClass};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The metrics' name of the category, which outside data often repeat as a label.
const TYPE: &str = "type";

/// The label that every prompt has. In the names of metrics its values stand alone, as in `reasoning/harmful`.
const CLASS: &str = "class";

/// What is drawn by label.
pub struct Figure {
    /// The names of its charts begin so.
    pub name: &'static str,
    pub title: &'static str,
    pub axis: Axis,
    pub unit: &'static str,
    /// It is the mean of these metrics, and of prompts for which all are measured.
    pub of: &'static [&'static str],
}

/// A label, and its values in the order of an axis; at least two.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    pub name: String,
    pub values: Vec<String>,
    /// All values are numbers.
    pub ordered: bool,
}

/// A chart, and the numbers of seeds behind its marks.
pub struct Drawn {
    pub label: Label,
    pub chart: Chart,
    pub seeds: Vec<usize>,
}

/// A series in a legend of several charts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    pub label: String,
    pub style: usize,
}

/// Every series that any of the charts has.
pub fn legend<'a>(charts: impl Iterator<Item = &'a Chart>) -> Vec<Key> {
    let mut keys: Vec<Key> = vec![];
    for series in charts.flat_map(|chart| &chart.series) {
        let key = Key {
            label: series.label.clone(),
            style: series.style,
        };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|key| key.style);
    keys
}

/// What is a series: every variant once, by its label.
pub fn variants(evaluations: &[Method]) -> Vec<(String, &Variant)> {
    let each = evaluations
        .iter()
        .flat_map(|m| m.news().map(|v| (m.label_of(v), v)));
    each.collect()
}

/// Charts of all labels by which an evaluation measures it, those first by whose values there is an order.
pub fn drawn(
    study: &Study,
    variants: &[(String, &Variant)],
    figure: &Figure,
    styles: &mut Styles,
) -> Vec<Drawn> {
    let items = variants.iter().flat_map(|(_, v)| &v.items);
    let readings = items.map(|i| &study.items[*i].reading);
    let mut names = BTreeSet::new();
    let mut all = vec![];
    for label in labels(readings, figure.unit, figure.of) {
        let (mut series, mut seeds) = (vec![], vec![]);
        for (name, variant) in variants {
            let readings: Vec<&Reading> = variant
                .items
                .iter()
                .map(|i| &study.items[*i].reading)
                .collect();
            let marks = marks(&readings, figure, &label, &mut seeds);
            if !marks.is_empty() {
                series.push(Series {
                    label: name.clone(),
                    style: styles.of(name),
                    line: label.ordered,
                    dots: true,
                    marks,
                    threads: vec![],
                });
            }
        }
        let chart = chart(figure, &label, series, &mut names);
        all.push(Drawn {
            label,
            chart,
            seeds,
        });
    }
    all
}

/// The metrics whose mean is the figure at this value of a label.
pub fn metrics(of: &[&str], label: &str, value: &str) -> Vec<String> {
    let name = |m: &&str| match label == CLASS && is_class(value) {
        true => format!("{m}/{value}"),
        false => format!("{m}/{label}/{value}"),
    };
    of.iter().map(name).collect()
}

/// The labels by at least two of whose values all these metrics are measured in this unit.
pub fn labels<'a>(
    readings: impl Iterator<Item = &'a Reading>,
    unit: &str,
    of: &[&str],
) -> Vec<Label> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for reading in readings {
        let known = |name: &String| reading.metric(name).is_some_and(|m| m.unit == unit);
        for (label, value) in reading.metrics.iter().filter_map(|m| split(m, of[0])) {
            if metrics(of, label, value).iter().all(known) {
                found.entry(label).or_default().insert(value);
            }
        }
    }
    found.retain(|_, values| values.len() > 1);
    let types = found.get(TYPE).cloned();
    let double = |label: &str, values| label != TYPE && Some(values) == types.as_ref();
    if found.iter().any(|(label, values)| double(label, values)) {
        found.remove(TYPE);
    }
    let mut labels: Vec<Label> = found.into_iter().map(ordered).collect();
    labels.sort_by_key(|label| !label.ordered);
    labels
}

/// Label and value in the name of a metric that is split by them.
fn split<'a>(metric: &'a Metric, of: &str) -> Option<(&'a str, &'a str)> {
    let rest = metric.name.strip_prefix(of)?.strip_prefix('/')?;
    let class = || is_class(rest).then_some((CLASS, rest));
    rest.split_once('/').or_else(class)
}

fn is_class(word: &str) -> bool {
    PromptClass::ALL.into_iter().any(|c| c.word() == word)
}

fn ordered((name, values): (&str, BTreeSet<&str>)) -> Label {
    let mut values: Vec<String> = values.into_iter().map(String::from).collect();
    let numbers = values.iter().all(|v| number(v).is_some());
    if numbers {
        let of = |v: &String| number(v).expect("every value is a number");
        values.sort_by(|a, b| of(a).total_cmp(&of(b)));
    }
    Label {
        name: name.into(),
        values,
        ordered: numbers,
    }
}

fn number(value: &str) -> Option<f64> {
    value.parse().ok().filter(|x: &f64| x.is_finite())
}

/// Where the readings, which are seeds, have the figure; `seeds` gets how many stand behind each mark.
fn marks(
    readings: &[&Reading],
    figure: &Figure,
    label: &Label,
    seeds: &mut Vec<usize>,
) -> Vec<Mark> {
    let places = label.values.iter().enumerate();
    let marks = places.filter_map(|(place, value)| {
        let names = metrics(figure.of, &label.name, value);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mean = mean_of(readings.iter().copied(), &names)?;
        seeds.push(mean.seeds);
        let rate = figure.unit == "share";
        let about = rate.then(|| {
            let at = format!("{} {value}", label.name);
            let beside = beside(readings, figure.of, &names);
            format!("{at}: {}{beside}", words(&shown(mean.clone())))
        });
        Some(match number(value).filter(|_| label.ordered) {
            Some(x) => Mark {
                x,
                y: mean.value,
                y_interval: mean.interval,
                about,
                ..Mark::default()
            },
            None => Mark {
                x: mean.value,
                y: place as f64,
                x_interval: mean.interval,
                about,
                ..Mark::default()
            },
        })
    });
    marks.collect()
}

/// Of the answers behind rates: `; defense: 3.0 % unreadable`.
fn beside(readings: &[&Reading], of: &[&str], names: &[&str]) -> String {
    let seeds = readings.iter().map(|r| r.metrics.as_slice());
    let means = beside::over_seeds(seeds);
    let each = of.iter().zip(names).filter_map(|(rate, name)| {
        let text = beside::of(name, &means)?.text()?;
        Some(format!("; {rate}: {text}"))
    });
    each.collect()
}

fn chart(
    figure: &Figure,
    label: &Label,
    series: Vec<Series>,
    names: &mut BTreeSet<String>,
) -> Chart {
    let along = Axis::new(&label.name);
    let whole = |v: &String| number(v).is_some_and(|x| x.fract() == 0.0);
    let along = match label.values.iter().all(whole) {
        true => along.whole(),
        false => along,
    };
    let (x, y, rows) = match label.ordered {
        true => (along, figure.axis.clone(), vec![]),
        false => (figure.axis.clone(), along, label.values.clone()),
    };
    Chart {
        name: unused(&format!("{}-{}", figure.name, slug(&label.name)), names),
        title: format!("{} by {}", figure.title, label.name),
        x,
        y,
        rows,
        series,
        form: Form::Plot,
    }
}

/// A label as a part of a chart's name.
pub fn slug(label: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    label.chars().map(plain).collect()
}

/// The name, or with a number where another label came to it before.
pub fn unused(name: &str, names: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|i| format!("{name}-{i}"));
    let mut all = std::iter::once(name.to_string()).chain(numbered);
    let free = all.find(|name| !names.contains(name));
    let free = free.expect("there are more numbers than labels");
    names.insert(free.clone());
    free
}
