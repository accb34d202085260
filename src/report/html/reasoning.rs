//! Length of the reasoning by the class and the labels of the prompts, a series an evaluation that reasons: in words, and in tokens where
//! these were counted.

use crate::html::axis::Axis;
use crate::html::frontier::bars;
use crate::html::labels::{self, Figure, Key};
use crate::html::plot::Chart;
use crate::html::series::{Method, Variant};
use crate::html::source::Styles;
use crate::html::study::Study;
use serde::Serialize;

const WORDS: &str = "words";
const REASONING: &str = "reasoning";
const TOKENS: &str = "tokens";
/// What nodes write that count tokens, and the beginning of what splits it.
pub const IN_TOKENS: &str = "reasoning/tokens";

#[derive(Serialize)]
pub struct Reasoning {
    pub charts: Vec<Chart>,
    /// The legend of all charts.
    pub series: Vec<Key>,
    /// Some model reasons, though it may be that no label splits it.
    pub some: bool,
    /// Evaluations of models that do not reason.
    pub silent: Vec<String>,
    pub bars: String,
}

/// `lengths`: what counts tokens.
pub fn reasoning(
    study: &Study,
    evaluations: &[Method],
    lengths: &[Method],
    styles: &mut Styles,
) -> Reasoning {
    let (mut silent, mut loud) = (vec![], vec![]);
    for (label, variant) in labels::variants(evaluations) {
        let words: Vec<f64> = words(study, variant).collect();
        match words.iter().all(|words| *words == 0.0) {
            true if words.is_empty() => {}
            true => silent.push(label),
            false => loud.push((label, variant)),
        }
    }
    let figure = Figure {
        name: REASONING,
        title: "Length of the reasoning",
        axis: Axis::new("words of reasoning").with(0.0),
        unit: WORDS,
        of: &[REASONING],
    };
    let mut drawn = labels::drawn(study, &loud, &figure, styles);
    let figure = Figure {
        name: "reasoning-tokens",
        title: "Tokens of reasoning",
        axis: Axis::new("tokens of reasoning").with(0.0),
        unit: TOKENS,
        of: &[IN_TOKENS],
    };
    let counted = labels::variants(lengths);
    drawn.extend(labels::drawn(study, &counted, &figure, styles));
    Reasoning {
        series: labels::legend(drawn.iter().map(|d| &d.chart)),
        bars: bars(drawn.iter().flat_map(|d| d.seeds.iter().copied())),
        some: !loud.is_empty(),
        charts: drawn.into_iter().map(|d| d.chart).collect(),
        silent,
    }
}

/// Every mean of words of reasoning that a variant has, of whatever prompts.
fn words<'a>(study: &'a Study, variant: &'a Variant) -> impl Iterator<Item = f64> + 'a {
    let readings = variant.items.iter().map(|i| &study.items[*i].reading);
    let metrics = readings.flat_map(|r| &r.metrics);
    let of_words =
        metrics.filter(|m| m.unit == WORDS && m.name.split('/').next() == Some(REASONING));
    of_words.map(|m| m.value)
}
