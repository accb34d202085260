//! Nodes of one name under several choices of axes as one method: its variants over λ, each over seeds, and the mean of
//! a measure over the seeds.

use crate::beside::{self, Beside};
use crate::html::study::{Item, Study};
use crate::metrics;
use crate::reading::{Mean, mean};
use base::claim::{Axes, SEED};
use base::rows::Metric;
use base::text::count;
use engine::kind::Role;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The axis along which a method is a line.
const LAMBDA: &str = "lambda";

/// One node of a recipe under all values of λ and all seeds.
pub struct Method {
    pub label: String,
    /// The node's name without the ending of evaluations.
    pub node: String,
    /// What parts it from methods of the same node, `tars, model = rl`: the recipe, of several, and the axes; may be empty.
    pub apart: String,
    /// Ascending by λ.
    pub variants: Vec<Variant>,
}

/// Runs that differ in the seed only.
pub struct Variant {
    pub lambda: Option<f64>,
    /// Places in `Study::items`, in the order of the sides; at least one.
    pub items: Vec<usize>,
    /// An earlier method has all of it: it is a point of this line, and no news.
    pub repeats: bool,
    /// Labels of later variants that are all of this one's.
    pub also: Vec<String>,
}

/// A value with its uncertainty: over seeds and prompts where there are several seeds, else the measurement's own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    pub interval: Option<(f64, f64)>,
    pub unit: String,
    pub seeds: usize,
    /// Samples behind one seed's value.
    pub n: usize,
    /// `43.0 %` and `[37.4, 48.7]`.
    pub text: (String, Option<String>),
    /// Of the answers behind it, where it is a rate: mean over seeds.
    pub beside: Option<Beside>,
    /// The estimate in words, where there is something to say.
    pub said: Option<String>,
    /// More of the answers cannot be read than a rate bears.
    pub doubtful: bool,
}

impl Estimate {
    /// The value with its interval, and what stands beside it: `43.0 % [37.4, 48.7] (2.0 % unreadable)`.
    pub fn told(&self) -> String {
        let interval = self.text.1.iter().map(|i| format!(" {i}"));
        let said = self.said.iter().map(|said| format!(" ({said})"));
        let more: String = interval.chain(said).collect();
        format!("{}{more}", self.text.0)
    }
}

impl Method {
    pub fn items(&self) -> impl Iterator<Item = usize> {
        self.variants.iter().flat_map(|v| v.items.iter().copied())
    }

    /// The variants that no earlier method has.
    pub fn news(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter().filter(|v| !v.repeats)
    }

    /// The label of a variant: λ is said where the method has several.
    pub fn label_of(&self, variant: &Variant) -> String {
        match self.lambda_of(variant) {
            Some(lambda) => format!("{}, {lambda}", self.label),
            None => self.label.clone(),
        }
    }

    /// The label of a variant among those of nodes of the same name.
    pub fn apart_of(&self, variant: &Variant) -> String {
        let apart = Some(self.apart.clone()).filter(|apart| !apart.is_empty());
        let words: Vec<String> = apart.into_iter().chain(self.lambda_of(variant)).collect();
        match words.is_empty() {
            true => self.node.clone(),
            false => words.join(", "),
        }
    }

    fn lambda_of(&self, variant: &Variant) -> Option<String> {
        let lambda = variant.lambda.filter(|_| self.variants.len() > 1)?;
        Some(format!("λ = {lambda}"))
    }
}

/// The mean of a metric over the items; `None` where none has it.
pub fn estimate(study: &Study, items: &[usize], name: &str) -> Option<Estimate> {
    let seeds = items
        .iter()
        .map(|i| study.items[*i].reading.metrics.as_slice());
    let beside = beside::of(name, &beside::over_seeds(seeds));
    let there = items.iter().filter(|i| study.items[**i].record.is_some());
    let there = there.count();
    let mean = mean(items.iter().map(|i| &study.items[*i].reading), name)?;
    let fewer = (mean.seeds < there).then(|| format!("{} of {there} seeds", mean.seeds));
    let said: Vec<String> = { fewer.into_iter() }
        .chain(beside.and_then(|b| b.text()))
        .collect();
    Some(Estimate {
        beside,
        said: (!said.is_empty()).then(|| said.join(", ")),
        doubtful: beside.is_some_and(|b| b.much()),
        ..shown(mean)
    })
}

pub fn shown(mean: Mean) -> Estimate {
    let shown = Metric {
        name: String::new(),
        value: mean.value,
        n: mean.n,
        interval: mean.interval,
        unit: mean.unit.clone(),
    };
    let text = metrics::value(&shown);
    Estimate {
        text: match text.split_once(" [") {
            Some((value, interval)) => (value.into(), Some(format!("[{interval}"))),
            None => (text, None),
        },
        value: mean.value,
        interval: mean.interval,
        unit: mean.unit,
        seeds: mean.seeds,
        n: mean.n,
        beside: None,
        said: None,
        doubtful: false,
    }
}

/// `43.0 % [37.4, 48.7] (2.0 % unreadable), n 240, 3 seeds`.
pub fn words(e: &Estimate) -> String {
    let seeds = count(e.seeds as u64, "seed", "seeds");
    format!("{}, n {}, {seeds}", e.told(), e.n)
}

/// The nodes that are wanted, as methods; what an earlier one holds is left out.
pub fn methods(study: &Study, wanted: impl Fn(&Item) -> bool) -> Vec<Method> {
    let mut found = vec![];
    for recipe in 0..study.recipes.len() {
        for name in names(study, recipe, &wanted) {
            found.extend(of_node(study, recipe, name));
        }
    }
    let sets: Vec<BTreeSet<usize>> = found.iter().map(|m| m.items().collect()).collect();
    for at in 0..found.len() {
        for v in 0..found[at].variants.len() {
            let variant = &found[at].variants[v];
            let within = |set: &BTreeSet<usize>| variant.items.iter().all(|i| set.contains(i));
            let repeats = sets[..at].iter().any(within);
            let label = found[at].label_of(variant);
            let twin = (found[..at].iter())
                .position(|m| m.variants.iter().any(|w| w.items == variant.items));
            let items = variant.items.clone();
            found[at].variants[v].repeats = repeats;
            if let Some(twin) = twin {
                let mut known = found[twin].variants.iter_mut();
                let first = known.find(|w| w.items == items);
                let also = &mut first.expect("it was found").also;
                also.extend(Some(label).filter(|l| !also.contains(l)));
            }
        }
    }
    found.retain(|m| m.variants.iter().any(|v| !v.repeats));
    found
}

fn names<'a>(study: &Study<'a>, recipe: usize, wanted: &impl Fn(&Item) -> bool) -> Vec<&'a str> {
    let mut names: Vec<&str> = vec![];
    for side in &study.recipes[recipe].sides {
        let sides = study.sides;
        let graph = &sides[*side].graph;
        for id in graph.ids() {
            let name = graph.node(id).name.as_str();
            if wanted(&study.items[study.place(*side, id)]) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn of_node(study: &Study, recipe: usize, name: &str) -> Vec<Method> {
    let sides = study.recipes[recipe].sides.iter();
    let found: Vec<(&Axes, usize)> = sides
        .filter_map(|s| {
            let id = study.sides[*s].graph.find(name)?;
            Some((&study.sides[*s].axes, study.place(*s, id)))
        })
        .collect();
    let axes: BTreeSet<&String> = found.iter().flat_map(|(a, _)| a.keys()).collect();
    let matter: Vec<&String> = axes.into_iter().filter(|a| matters(&found, a)).collect();
    // By the axes that make a method of its own, by λ's text.
    let mut groups: BTreeMap<Vec<(&str, &str)>, Vec<Variant>> = BTreeMap::new();
    for (axes, item) in found {
        let named = matter.iter().filter_map(|a| axes.get_key_value(*a));
        let others: Vec<(&str, &str)> = named
            .map(|(a, v)| (a.as_str(), v.as_str()))
            .filter(|(a, _)| *a != SEED && *a != LAMBDA)
            .collect();
        let axis = matter.iter().any(|a| *a == LAMBDA);
        let axis = axes.get(LAMBDA).filter(|_| axis);
        let lambda = study
            .above(item, Role::Selects, LAMBDA)
            .or_else(|| axis?.parse().ok());
        let variants = groups.entry(others).or_default();
        match variants.iter_mut().find(|v| v.lambda == lambda) {
            Some(variant) if variant.items.contains(&item) => {}
            Some(variant) => variant.items.push(item),
            None => variants.push(Variant {
                lambda,
                items: vec![item],
                repeats: false,
                also: vec![],
            }),
        }
    }
    let label = label(study, recipe, name);
    groups
        .into_iter()
        .map(|(axes, mut variants)| {
            variants.sort_by(|a, b| {
                let value = |v: &Variant| v.lambda.unwrap_or(f64::NEG_INFINITY);
                value(a).total_cmp(&value(b))
            });
            let axes: Vec<String> = axes.iter().map(|(a, v)| format!("{a} = {v}")).collect();
            let with = |first: Option<&str>| {
                let words = first.into_iter().chain(axes.iter().map(String::as_str));
                words.collect::<Vec<_>>().join(", ")
            };
            Method {
                label: with(Some(&label)),
                node: short(name).into(),
                apart: with((study.recipes.len() > 1).then_some(study.recipes[recipe].name)),
                variants,
            }
        })
        .collect()
}

/// Whether another value of this axis alone makes another node.
fn matters(found: &[(&Axes, usize)], axis: &str) -> bool {
    let rest = |axes: &Axes| {
        let mut rest = axes.clone();
        rest.remove(axis);
        rest
    };
    found.iter().enumerate().any(|(i, (a, one))| {
        let later = found[i + 1..].iter();
        let mut later = later.filter(|(b, _)| rest(a) == rest(b));
        later.any(|(_, other)| one != other)
    })
}

fn short(name: &str) -> &str {
    name.strip_suffix("-eval").unwrap_or(name)
}

/// `rl` of a single recipe, `tars rl` where there are several.
fn label(study: &Study, recipe: usize, name: &str) -> String {
    let short = short(name);
    let recipe = study.recipes[recipe].name;
    match study.recipes.len() {
        1 => short.into(),
        _ if recipe == short => short.into(),
        _ => format!("{recipe} {short}"),
    }
}
