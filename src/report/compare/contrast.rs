//! Two metrics of one evaluation against each other, each over its own prompts, over seeds: whether reasoning is longer where more is to
//! be looked up, say.

use crate::beside::{self, Sided};
use crate::compare::measures::{Compared, Evaluation};
use crate::compare::numbers::{self, Seeded};
use crate::doubt;
use crate::reading::{Reading, read};
use crate::side::Side;
use anyhow::Result;
use base::claim::SEED;
use base::rows::Metric;
use engine::kind::Kind;
use engine::store::Store;
use std::collections::BTreeSet;

/// Of the variants' node `node`: `metric`, the second, against `than`, the first, as the one metric that was compared.
pub fn evaluation(
    store: &Store,
    sides: &[&Side],
    node: &str,
    (metric, than): (&str, &str),
) -> Result<Evaluation> {
    let mut out = Evaluation {
        node: node.into(),
        against_node: node.into(),
        ..Evaluation::default()
    };
    let mut readings: Vec<(Option<String>, Reading)> = vec![];
    let mut seen = BTreeSet::new();
    for side in sides {
        match side.record(node) {
            None => out.notes.push(side.missing(node)),
            // What does not hang on the seed is no repetition.
            Some(record) if seen.insert(&record.key) => {
                let seed = side.seed().map(String::from);
                readings.push((seed, read(store, record)?));
            }
            Some(_) => {}
        }
    }
    out.seeds = readings.len();
    let measured = readings.iter().flat_map(|(_, r)| &r.metrics);
    out.known = measured.map(|m| m.name.clone()).collect();
    if readings.is_empty() {
        out.refused = Some(out.notes.join("; "));
        out.notes.clear();
        return Ok(out);
    }
    out.unjudged = unjudged(sides, node, &readings);
    let kind = sides.first().and_then(|side| side.kind(node));
    for name in [metric, than] {
        if !out.known.contains(name) {
            let means = beside::over_seeds(readings.iter().map(|(_, r)| r.metrics.as_slice()));
            let why = lacking(kind, name, &means);
            out.refused = Some(format!("`{node}` measures no `{name}`{why}"));
            return Ok(out);
        }
    }
    let compared = compared(kind, (metric, than), &readings);
    out.metrics.push(compared);
    Ok(out)
}

/// What a judge said nothing readable of, where that was anything.
fn unjudged(sides: &[&Side], node: &str, readings: &[(Option<String>, Reading)]) -> Option<String> {
    let means = beside::over_seeds(readings.iter().map(|(_, r)| r.metrics.as_slice()));
    let share = beside::some(beside::unjudged(&means))?;
    let label = sides.first()?.label_without(SEED);
    let these = format!("the answers of `{node}` of `{label}`");
    let told = doubt::unjudged(&[(share, these)]);
    Some(format!("{told}, which no rate counts"))
}

fn lacking(kind: Option<&Kind>, name: &str, all: &[Metric]) -> String {
    doubt::without(kind, name, all).map_or(String::new(), |why| format!(": {why}"))
}

fn compared(
    kind: Option<&Kind>,
    (metric, than): (&str, &str),
    readings: &[(Option<String>, Reading)],
) -> Compared {
    let unit_of = |name: &str| {
        readings
            .iter()
            .find_map(|(_, r)| Some(&r.metric(name)?.unit))
    };
    let (unit, other) = (unit_of(metric), unit_of(than));
    let all = || readings.iter().map(|(_, r)| r.metrics.as_slice());
    let means: Vec<Metric> = beside::over_seeds(all());
    let mut out = Compared {
        metric: metric.into(),
        label: kind.map_or_else(|| metric.into(), |kind| kind.label(metric)),
        unit: unit.cloned().unwrap_or_default(),
        refused: None,
        beside: sided(metric, than, &means),
        behind: [than, metric].map(|name| beside::behind(name, &means)),
        numbers: None,
    };
    if unit != other {
        let of = |unit: Option<&String>| unit.cloned().unwrap_or_default();
        out.refused = Some(format!("other units: {} and {}", of(unit), of(other)));
        return out;
    }
    let mut each = vec![];
    for (seed, reading) in readings {
        let of = |name: &str| {
            let values = match reading.metric(name) {
                Some(_) => reading.behind(name),
                None => Err(format!(
                    "it is not measured{}",
                    lacking(kind, name, &reading.metrics)
                )),
            };
            values.map_err(|why| format!("`{name}`: {why}"))
        };
        match of(than).and_then(|first| Ok((first, of(metric)?))) {
            Ok((first, second)) => each.push(Seeded {
                seed: seed.clone(),
                first,
                second,
            }),
            Err(why) => {
                let of = seed
                    .as_ref()
                    .map_or(String::new(), |s| format!(" (seed {s})"));
                out.refused = Some(why + &of);
                return out;
            }
        }
    }
    out.numbers = numbers::apart(&out.unit, &each);
    out
}

fn sided(metric: &str, than: &str, means: &[Metric]) -> Option<Sided> {
    let (first, second) = (beside::of(than, means), beside::of(metric, means));
    (first.is_some() || second.is_some()).then(|| Sided {
        first: first.unwrap_or_default(),
        second: second.unwrap_or_default(),
    })
}
