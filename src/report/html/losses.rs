//! How searches of attacks go: what they make small (or large) by step, a chart a node that attacks, a line a model or recipe, thin lines
//! its seeds. Read from the attacks' logs.

use crate::html::axis::Axis;
use crate::html::labels;
use crate::html::lines::{self, Points};
use crate::html::plot::{Chart, Form};
use crate::html::series::methods;
use crate::html::source::Styles;
use crate::html::study::{Item, Study};
use anyhow::{Context, Result};
use base::rows::{AttackStep, ROWS};
use engine::kind::Type;
use engine::store::Store;
use std::collections::{BTreeMap, BTreeSet};

/// What is drawn of a step, where the search has it.
type Of = fn(&AttackStep) -> Option<f64>;

const LOSS: (&str, &str, Of) = ("loss", "Loss of the search by step", |step| step.loss);
const SCORE: (&str, &str, Of) = ("score", "Score in the search by step", |step| step.score);

/// By search, which is a prompt and a stream: the best value until each step.
type Searches = BTreeMap<(String, u32), Vec<(u32, f64)>>;

/// Of every node that searches; a variant that another recipe has as well is a line of either, so that each finds its own in the legend.
pub fn losses(
    store: &Store,
    study: &Study,
    names: &mut BTreeSet<String>,
    styles: &mut Styles,
) -> Result<Vec<Chart>> {
    let mut charts: BTreeMap<(String, &str), Chart> = BTreeMap::new();
    for method in methods(study, is_search) {
        for variant in &method.variants {
            let mut logs = vec![];
            for item in variant.items.iter().map(|i| &study.items[*i]) {
                logs.extend(log(store, item)?);
            }
            for (what, title, of) in [LOSS, SCORE] {
                let small = what == LOSS.0;
                let seeds: Vec<Points> = logs.iter().map(|log| means(log, of, small)).collect();
                let seeds: Vec<Points> = seeds.into_iter().filter(|s| !s.is_empty()).collect();
                if seeds.is_empty() {
                    continue;
                }
                let label = method.apart_of(variant);
                let series = lines::mean(&label, styles.of(&label), seeds, lines::until);
                let place = (method.node.clone(), what);
                let chart = charts.entry(place).or_insert_with(|| Chart {
                    name: labels::unused(
                        &format!("search-{what}-{}", labels::slug(&method.node)),
                        names,
                    ),
                    title: format!("{title}: {}", method.node),
                    x: Axis::new("step").with(0.0).whole(),
                    y: Axis::new(&format!("best {what} so far, mean over searches")),
                    rows: vec![],
                    series: vec![],
                    form: Form::Plot,
                });
                chart.series.push(series);
            }
        }
    }
    Ok(charts.into_values().collect())
}

fn is_search(item: &Item) -> bool {
    item.file(Type::AttackLog, ROWS).is_some()
}

fn log(store: &Store, item: &Item) -> Result<Option<Vec<AttackStep>>> {
    let blob = item.file(Type::AttackLog, ROWS);
    let Some(blob) = blob.filter(|blob| store.objects().has(blob)) else {
        return Ok(None);
    };
    let mut steps = vec![];
    store.objects().lines(blob, &mut |line| {
        let step = serde_json::from_str(line);
        steps.push(step.with_context(|| format!("the log of `{}`", item.name))?);
        Ok(())
    })?;
    Ok(Some(steps))
}

/// The mean over searches by step; one that ended stays at what it reached.
fn means(log: &[AttackStep], of: Of, small: bool) -> Points {
    let mut searches = Searches::new();
    for step in log {
        let Some(value) = of(step).filter(|v| v.is_finite()) else {
            continue;
        };
        let search = (step.prompt_id.clone(), step.stream);
        let so_far = searches.entry(search).or_default();
        let best = so_far.last().map_or(value, |(_, best)| match small {
            true => best.min(value),
            false => best.max(value),
        });
        so_far.push((step.step, best));
    }
    // Those that were logged: a log of few steps may have large numbers.
    let steps: BTreeSet<u32> = searches.values().flatten().map(|(step, _)| *step).collect();
    let at = |step: u32| {
        let known = searches.values().filter_map(|s| {
            let until = s.partition_point(|(at, _)| *at <= step);
            Some(s[until.checked_sub(1)?].1)
        });
        let known: Vec<f64> = known.collect();
        let mean = base::stats::mean(&known)?;
        // All of them, so that the line does not move because others begin.
        (known.len() == searches.len()).then_some((f64::from(step), mean))
    };
    steps.into_iter().filter_map(at).collect()
}
