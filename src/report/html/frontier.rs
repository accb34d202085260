//! Defense success against compliance: a line over λ for every method that has several, a point for the others.

use crate::html::axis::Axis;
use crate::html::plot::{Chart, Form, Mark, Series};
use crate::html::samples::lead;
use crate::html::series::{Estimate, Method, estimate, words};
use crate::html::source::Styles;
use crate::html::study::Study;
use base::text::count;
use serde::Serialize;

/// Names of the two metrics.
pub const DEFENSE: &str = "defense";
pub const COMPLIANCE: &str = "compliance";

#[derive(Serialize)]
pub struct Frontier {
    pub chart: Option<Chart>,
    pub points: Vec<Point>,
    /// Evaluations that lack one of the two metrics.
    pub without: Vec<String>,
    /// What the error bars are.
    pub bars: String,
    /// Some method is a line over λ.
    pub lines: bool,
}

#[derive(Serialize)]
pub struct Point {
    pub method: String,
    pub lambda: Option<f64>,
    pub defense: Estimate,
    pub compliance: Estimate,
    /// The first evaluation behind it, in `Study::items`.
    #[serde(skip)]
    pub item: usize,
}

pub fn frontier(study: &Study, evaluations: &[Method], styles: &mut Styles) -> Frontier {
    let mut out = Frontier {
        chart: None,
        points: vec![],
        without: vec![],
        bars: String::new(),
        lines: false,
    };
    let mut all = vec![];
    for method in evaluations {
        let (mut marks, mut doubtful) = (vec![], false);
        for variant in &method.variants {
            let of = |name| estimate(study, &variant.items, name);
            let (Some(defense), Some(compliance)) = (of(DEFENSE), of(COMPLIANCE)) else {
                if variant
                    .items
                    .iter()
                    .any(|i| study.items[*i].record.is_some())
                {
                    out.without.push(method.label_of(variant));
                }
                continue;
            };
            marks.push(Mark {
                x: compliance.value,
                y: defense.value,
                x_interval: compliance.interval,
                y_interval: defense.interval,
                note: variant
                    .lambda
                    .map(|l| marked(format!("λ {l}"), defense.doubtful || compliance.doubtful)),
                about: Some(said(
                    variant.lambda.filter(|_| method.variants.len() > 1),
                    &defense,
                    &compliance,
                )),
                leads: Some(lead(&method.label_of(variant), None)),
                ..Mark::default()
            });
            doubtful |= defense.doubtful || compliance.doubtful;
            out.points.push(Point {
                method: method.label.clone(),
                lambda: variant.lambda,
                defense,
                compliance,
                item: (variant.items.iter().copied())
                    .find(|i| study.items[*i].metric(DEFENSE).is_some())
                    .expect("the estimate is of some item"),
            });
        }
        if marks.is_empty() {
            continue;
        }
        let line = marks.len() > 1;
        if !line {
            // A single λ says nothing.
            marks[0].note = Some(marked(method.label.clone(), doubtful));
        }
        all.push(Series {
            label: method.label.clone(),
            style: styles.of(&method.label),
            line,
            dots: true,
            marks,
            threads: vec![],
        });
    }
    out.bars = bars(out.points.iter().map(|p| p.defense.seeds));
    let doubtful = |p: &Point| p.defense.doubtful || p.compliance.doubtful;
    if out.points.iter().any(doubtful) {
        out.bars += " A point marked (!) says little: more than a tenth of the answers behind it are unreadable or have no verdict.";
    }
    out.lines = all.iter().any(|s: &Series| s.line);
    if !all.is_empty() {
        out.chart = Some(Chart {
            name: "frontier".into(),
            title: "Defense success against compliance".into(),
            x: Axis::share("compliance (harmless and ambiguous prompts)").over(0.0, 1.0),
            y: Axis::share("defense success (harmful prompts)").over(0.0, 1.0),
            rows: vec![],
            series: all,
            form: Form::Plot,
        });
    }
    out
}

/// What a point says to who points at it.
fn said(lambda: Option<f64>, defense: &Estimate, compliance: &Estimate) -> String {
    let lambda = lambda.map_or(String::new(), |l| format!("λ = {l}, "));
    let (defense, compliance) = (words(defense), words(compliance));
    format!("{lambda}defense {defense}; compliance {compliance}")
}

fn marked(note: String, doubtful: bool) -> String {
    match doubtful {
        true => format!("{note} (!)"),
        false => note,
    }
}

/// In words, what the intervals of these numbers of seeds are.
pub fn bars(seeds: impl Iterator<Item = usize>) -> String {
    let all: Vec<usize> = seeds.collect();
    let (least, most) = (all.iter().min(), all.iter().max());
    match (least, most) {
        (Some(least), Some(most)) if *least > 1 => {
            let seeds = match least == most {
                true => count(*most as u64, "seed", "seeds"),
                false => format!("{least} to {most} seeds"),
            };
            format!("Means over {seeds}; bars are 95 % intervals over seeds and prompts.")
        }
        (Some(_), Some(most)) if *most > 1 => "Where there are several seeds: their mean with its 95 % interval over seeds and prompts; \
            elsewhere one run with its 95 % interval over the prompts."
            .into(),
        _ => "One seed each; bars are 95 % intervals over the prompts, and say nothing of other seeds.".into(),
    }
}
