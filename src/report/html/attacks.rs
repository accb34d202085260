//! What attacks come to: success by attack and within so many tries, a chart a node with a series a model or recipe. Which attacks there
//! are is read from the names of metrics, as `success/attack/gcg` and `success/within/8`.

use crate::beside::SUCCESS;
use crate::html::axis::Axis;
use crate::html::frontier::bars;
use crate::html::labels::{self, Key};
use crate::html::losses::losses;
use crate::html::plot::{Chart, Form, Mark, Series};
use crate::html::samples::lead;
use crate::html::series::{Estimate, Method, Variant, estimate, words};
use crate::html::source::Styles;
use crate::html::study::Study;
use anyhow::Result;
use base::rows::ATTACK;
use engine::store::Store;
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Default, Serialize)]
pub struct Attacks {
    /// By attack.
    pub charts: Vec<Chart>,
    /// Within k tries.
    pub within: Vec<Chart>,
    /// What the searches come to, step by step.
    pub losses: Vec<Chart>,
    /// The legend of all charts.
    pub series: Vec<Key>,
    pub numbers: Vec<Number>,
    /// Numbers that say little, since more than a tenth of the answers behind them cannot be read or has no verdict: the worst, and how many more there are.
    pub doubtful: Vec<String>,
    /// All of them, with the largest share of the answers that makes them so.
    #[serde(skip)]
    doubted: Vec<(f64, String)>,
    /// What the error bars are.
    pub bars: String,
}

#[derive(Serialize)]
pub struct Number {
    /// Label of the evaluation.
    pub evaluation: String,
    /// The attack, all of them together, or a number of tries.
    pub what: String,
    pub success: Estimate,
}

/// A metric, what it is of, and where it stands in a chart.
struct Measured {
    metric: String,
    what: String,
    /// The attack, where it is one alone.
    attack: Option<String>,
    place: f64,
}

/// An evaluation: its method, and one variant of it.
type Evaluated<'a> = (&'a Method, &'a Variant);

/// The data, or nothing where no evaluation measured an attack.
pub fn attacks(
    store: &Store,
    study: &Study,
    evaluations: &[Method],
    styles: &mut Styles,
) -> Result<Attacks> {
    let mut nodes: Vec<(&str, Vec<Evaluated>)> = vec![];
    for method in evaluations {
        for variant in method.news() {
            match nodes.iter_mut().find(|(node, _)| *node == method.node) {
                Some((_, all)) => all.push((method, variant)),
                None => nodes.push((&method.node, vec![(method, variant)])),
            }
        }
    }
    let mut found = Attacks::default();
    let mut names = BTreeSet::new();
    for (node, of) in &nodes {
        found.node(study, node, of, &mut names, styles);
    }
    found.losses = losses(store, study, &mut names, styles)?;
    let all = found.charts.iter().chain(&found.within);
    found.series = labels::legend(all.chain(&found.losses));
    found.doubtful = worst(std::mem::take(&mut found.doubted));
    found.bars = bars(found.numbers.iter().map(|n| n.success.seeds));
    Ok(found)
}

impl Attacks {
    fn node(
        &mut self,
        study: &Study,
        node: &str,
        of: &[Evaluated],
        names: &mut BTreeSet<String>,
        styles: &mut Styles,
    ) {
        let metrics = metrics(study, of);
        let attacks = attacks_of(&metrics);
        let rows = by_attack(&metrics, &attacks);
        let success = Axis::share("attack success").with(0.0);
        if !rows.is_empty() {
            let series = self.series(study, of, &rows, false, styles);
            self.charts.push(Chart {
                name: labels::unused(&format!("attacks-{}", labels::slug(node)), names),
                title: format!("Success by attack: {node}"),
                x: success.clone(),
                y: Axis::new("attack"),
                rows: rows.into_iter().map(|row| row.what).collect(),
                series,
                form: Form::Plot,
            });
        }
        // Of a single attack, its curve is that of all.
        let single = attacks.iter().filter(|_| attacks.len() > 1);
        for attack in std::iter::once(None).chain(single.map(|a| Some(*a))) {
            let tries = within(&metrics, attack);
            let series = self.series(study, of, &tries, true, styles);
            if tries.len() < 2 {
                continue;
            }
            let what = match attack {
                Some(attack) => format!("{node}, {attack}"),
                None => node.to_string(),
            };
            self.within.push(Chart {
                name: labels::unused(&format!("within-{}", labels::slug(&what)), names),
                title: format!("Success within k tries: {what}"),
                x: Axis::new("tries k").doubling(),
                y: success.clone(),
                rows: vec![],
                series,
                form: Form::Plot,
            });
        }
    }

    /// A series an evaluation; its numbers are kept.
    fn series(
        &mut self,
        study: &Study,
        of: &[Evaluated],
        measured: &[Measured],
        line: bool,
        styles: &mut Styles,
    ) -> Vec<Series> {
        let mut all = vec![];
        for (method, variant) in of {
            let evaluation = method.label_of(variant);
            let (mut marks, mut doubtful, mut most) = (vec![], vec![], 0.0_f64);
            for Measured {
                metric,
                what,
                attack,
                place,
            } in measured
            {
                let Some(success) = estimate(study, &variant.items, metric) else {
                    continue;
                };
                let label = attack.as_ref().map(|a| format!("{ATTACK} {a}"));
                marks.push(Mark {
                    leads: Some(lead(&evaluation, label.as_deref())),
                    about: Some(format!("{what}: {}", words(&success))),
                    ..mark(&success, *place, line)
                });
                if success.doubtful {
                    doubtful.push(what.as_str());
                    most = most.max(success.beside.unwrap_or_default().most());
                }
                self.numbers.push(Number {
                    evaluation: evaluation.clone(),
                    what: what.clone(),
                    success,
                });
            }
            if !doubtful.is_empty() {
                let whats = doubtful.join(", ");
                let told = format!("{evaluation} ({whats})");
                self.doubted.push((most, told));
            }
            if !marks.is_empty() {
                let label = method.apart_of(variant);
                all.push(Series {
                    style: styles.of(&label),
                    label,
                    line,
                    dots: true,
                    marks,
                    threads: vec![],
                });
            }
        }
        all
    }
}

/// So many evaluations are named.
const NAMED: usize = 4;

/// The most doubtful evaluations, and how many others there are.
fn worst(mut all: Vec<(f64, String)>) -> Vec<String> {
    all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let others = all.len().saturating_sub(NAMED);
    let named = all.into_iter().take(NAMED).map(|(_, told)| told);
    let others = (others > 0).then(|| format!("{others} more"));
    named.chain(others).collect()
}

/// Above its number of tries, or in its row.
fn mark(success: &Estimate, place: f64, line: bool) -> Mark {
    match line {
        true => Mark {
            x: place,
            y: success.value,
            y_interval: success.interval,
            ..Mark::default()
        },
        false => Mark {
            x: success.value,
            y: place,
            x_interval: success.interval,
            ..Mark::default()
        },
    }
}

/// What any of the evaluations measured of attacks, by the names without `success/`.
fn metrics<'a>(study: &'a Study, of: &[Evaluated]) -> BTreeSet<&'a str> {
    let items = of.iter().flat_map(|(_, variant)| &variant.items);
    let metrics = items.flat_map(|i| &study.items[*i].reading.metrics);
    let names = metrics.filter_map(|m| m.name.strip_prefix(SUCCESS)?.strip_prefix('/'));
    names.collect()
}

fn attacks_of<'a>(metrics: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let attack = |name: &&'a str| name.strip_prefix(ATTACK)?.strip_prefix('/');
    metrics.iter().filter_map(attack).collect()
}

/// A row an attack, and below them what they come to together.
fn by_attack(metrics: &BTreeSet<&str>, attacks: &[&str]) -> Vec<Measured> {
    let each = attacks
        .iter()
        .map(|attack| (format!("{ATTACK}/{attack}"), *attack, Some(attack)));
    let together = [("mean", "mean of attacks"), ("union", "any attack")];
    let together = together
        .into_iter()
        .filter(|(name, _)| metrics.contains(name))
        .map(|(name, what)| (name.to_string(), what, None));
    let rows = each.chain(together).enumerate();
    rows.map(|(row, (name, what, attack))| Measured {
        metric: format!("{SUCCESS}/{name}"),
        what: what.into(),
        attack: attack.map(|a| a.to_string()),
        place: row as f64,
    })
    .collect()
}

/// Success within every k, ascending, of one attack or of all tries.
fn within(metrics: &BTreeSet<&str>, attack: Option<&str>) -> Vec<Measured> {
    let mut found: Vec<(u32, &str)> = vec![];
    for name in metrics {
        found.extend(tries(name).filter(|t| t.1 == attack).map(|t| (t.0, *name)));
    }
    found.sort_unstable();
    let of = attack.map_or(String::new(), |a| format!("{a}, "));
    let measured = found.into_iter().map(|(k, name)| Measured {
        metric: format!("{SUCCESS}/{name}"),
        what: format!("{of}within {k}"),
        attack: attack.map(String::from),
        place: f64::from(k),
    });
    measured.collect()
}

/// The k and the attack of `within/K` and `within/K/attack/NAME`.
fn tries(name: &str) -> Option<(u32, Option<&str>)> {
    let rest = name.strip_prefix("within/")?;
    match rest.split_once('/') {
        Some((k, of)) => {
            let attack = of.strip_prefix(ATTACK)?.strip_prefix('/')?;
            Some((k.parse().ok()?, Some(attack)))
        }
        None => Some((rest.parse().ok()?, None)),
    }
}
