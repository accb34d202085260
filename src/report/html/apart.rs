//! Where two recipes begin to differ: defense and compliance together by the values of a label, and in words from which value on the
//! interval of the difference leaves 0 out.

use crate::compare::measures::Evaluation;
use crate::compare::numbers::{self, Numbers};
use crate::compare::{Asked, compare};
use crate::html::axis::Axis;
use crate::html::frontier::{COMPLIANCE, DEFENSE, bars};
use crate::html::labels::{self, Drawn, Figure, Key, Label};
use crate::html::plot::Chart;
use crate::html::series::Method;
use crate::html::source::Styles;
use crate::html::study::Study;
use crate::metrics::difference;
use crate::pairing;
use crate::side::Side;
use anyhow::Result;
use base::claim::Axes;
use engine::store::Store;
use serde::Serialize;

#[derive(Serialize)]
pub struct Apart {
    pub labels: Vec<Split>,
    /// The legend of all charts.
    pub series: Vec<Key>,
    /// What the error bars are.
    pub bars: String,
}

/// One label.
#[derive(Serialize)]
pub struct Split {
    pub chart: Chart,
    /// Where two recipes are compared: a sentence an evaluation.
    pub said: Vec<String>,
}

const OF: &[&str] = &[DEFENSE, COMPLIANCE];

pub fn apart(
    store: &Store,
    study: &Study,
    evaluations: &[Method],
    styles: &mut Styles,
) -> Result<Apart> {
    let figure = Figure {
        name: "mean",
        title: "Mean of defense and compliance",
        axis: Axis::share("mean of defense and compliance"),
        unit: "share",
        of: OF,
    };
    let drawn = labels::drawn(study, &labels::variants(evaluations), &figure, styles);
    let bars = bars(drawn.iter().flat_map(|d| d.seeds.iter().copied()));
    let pairs = match drawn.is_empty() {
        true => vec![],
        false => pairs(store, study)?,
    };
    let split = |Drawn { label, chart, .. }| Split {
        said: pairs.iter().filter_map(|p| p.said(&label)).collect(),
        chart,
    };
    Ok(Apart {
        series: labels::legend(drawn.iter().map(|d| &d.chart)),
        labels: drawn.into_iter().map(split).collect(),
        bars,
    })
}

/// An evaluation of two recipes.
struct Pair {
    /// `` `rl-eval`, tars against answers ``.
    what: String,
    evaluation: Evaluation,
}

/// All evaluations that both have; none where there are not two recipes whose variants pair.
fn pairs(store: &Store, study: &Study) -> Result<Vec<Pair>> {
    let [first, second] = study.recipes.as_slice() else {
        return Ok(vec![]);
    };
    let sides = |of: &[usize]| -> Vec<&Side> { of.iter().map(|i| &study.sides[*i]).collect() };
    let (first, second) = (sides(&first.sides), sides(&second.sides));
    if pairing::pair(&first, &second, &Axes::new(), &Axes::new()).is_err() {
        return Ok(vec![]);
    }
    let mut found = vec![];
    for group in compare(store, &first, &second, &Asked::default())? {
        let (a, b) = (&group.first.label, &group.second.label);
        let each = group.evaluations.into_iter().filter(|e| !e.one_artifact);
        found.extend(each.map(|evaluation| Pair {
            what: format!("`{}`, {b} against {a}", evaluation.node),
            evaluation,
        }));
    }
    Ok(found)
}

impl Pair {
    fn said(&self, label: &Label) -> Option<String> {
        let each = label.values.iter();
        let known: Vec<(&str, Numbers)> = each
            .filter_map(|value| Some((value.as_str(), self.numbers(&label.name, value)?)))
            .collect();
        let text = match label.ordered {
            true => begins(&label.name, &known)?,
            false => among(&label.name, &known)?,
        };
        Some(format!("{}: {text}.", self.what))
    }

    /// The difference in the mean, as of a claim on it.
    fn numbers(&self, label: &str, value: &str) -> Option<Numbers> {
        let all = self.evaluation.metrics.iter();
        let metric = |name: String| all.clone().find(|m| m.metric == name);
        let names = labels::metrics(OF, label, value).into_iter();
        let parts = names.map(|name| {
            let found = metric(name)?;
            Some((found.unit.as_str(), found.numbers.as_ref()?))
        });
        numbers::together(&parts.collect::<Option<Vec<_>>>()?)
    }
}

fn text(n: &Numbers) -> String {
    difference("share", n.difference, n.interval)
}

/// From which of the ascending values on there is a difference.
fn begins(label: &str, all: &[(&str, Numbers)]) -> Option<String> {
    let (least, first) = all.first()?;
    let (most, last) = all.last()?;
    let at = |value: &str, n: &Numbers| format!("at {label} {value} the difference is {}", text(n));
    let ends = match least == most {
        true => at(least, first),
        false => format!("{}, at {most} {}", at(least, first), text(last)),
    };
    let clear = all.iter().find(|(_, n)| n.clear());
    Some(match clear {
        None => format!("{ends}; at no value does its interval leave 0 out"),
        Some((value, _)) if value == least || value == most => {
            format!("{ends}; {value} is the first value at which its interval leaves 0 out")
        }
        Some((value, n)) => format!(
            "{ends}; {value} is the first value at which its interval leaves 0 out ({})",
            text(n)
        ),
    })
}

/// Of values without an order, which have a difference.
fn among(label: &str, all: &[(&str, Numbers)]) -> Option<String> {
    all.first()?;
    let clear = all.iter().filter(|(_, n)| n.clear());
    let clear: Vec<String> = clear.map(|(v, n)| format!("{v} ({})", text(n))).collect();
    Some(match clear.as_slice() {
        [] => format!("at no {label} does the interval of the difference leave 0 out"),
        some => format!(
            "the interval of the difference leaves 0 out at {label} {}",
            some.join(", ")
        ),
    })
}
