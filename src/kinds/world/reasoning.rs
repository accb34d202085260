//! What the reasoning of a response knows of the built-in world, and whether its answer follows from it. Measured beside what judges
//! say of the answer, and rewarded nowhere.

use crate::shared::measure::{self, At, MOST_VALUES, Measure, by_label};
use base::response::{self, Parts};
use base::rows::Truth;
use std::collections::BTreeMap;
use world::judge;

/// A response to a prompt of the world.
pub struct Reasoned<'a> {
    pub at: At<'a>,
    pub labels: &'a BTreeMap<String, String>,
    truth: &'a Truth,
    /// None of a response that does not reason.
    reasoning: Option<String>,
    answer: String,
}

impl<'a> Reasoned<'a> {
    /// None for a prompt without truth.
    pub fn read(
        at: At<'a>,
        labels: &'a BTreeMap<String, String>,
        truth: Option<&'a Truth>,
        response: &str,
    ) -> Option<Reasoned<'a>> {
        let Parts {
            reasoning, answer, ..
        } = response::split(response);
        Some(Reasoned {
            at,
            labels,
            truth: truth?,
            reasoning,
            answer,
        })
    }

    /// Of each fact, whether it is stated right.
    fn facts(&self) -> impl Iterator<Item = (At<'a>, bool)> + '_ {
        let at = self.at;
        let reasoning = self.reasoning.iter();
        let stated = reasoning.flat_map(|text| judge::stated(self.truth, text));
        stated.map(move |right| (at, right))
    }

    fn words(&self) -> f64 {
        let reasoning = self.reasoning.as_deref().unwrap_or("");
        reasoning.split_whitespace().count() as f64
    }

    /// None where there is no reasoning or it comes to nothing, or the answer is none of the two.
    fn follows(&self) -> Option<bool> {
        let refused = judge::refuses(&self.answer);
        let decided = refused || judge::proceeds(&self.answer);
        Some(judge::concluded(self.reasoning.as_deref()?).filter(|_| decided)? == refused)
    }
}

/// `facts_right` and `follows` of all responses that reason; by every label facts right, and words of reasoning of all responses, as
/// `evaluate` counts them by class.
pub fn measures(rows: &[Reasoned]) -> Vec<Measure> {
    let mut out = vec![];
    let right = rows.iter().flat_map(Reasoned::facts);
    out.extend(measure::share("facts_right", right));
    for (label, values) in by_label(rows.iter(), |r| r.labels) {
        for (value, rows) in values.iter().filter(|_| values.len() <= MOST_VALUES) {
            let right = rows.iter().flat_map(|r| r.facts());
            let name = format!("facts_right/{label}/{value}");
            out.extend(measure::share(&name, right));
            let words = rows.iter().map(|r| (r.at, r.words()));
            out.extend(measure::mean(
                &format!("reasoning/{label}/{value}"),
                "words",
                words,
            ));
        }
    }
    let follows = rows.iter().filter_map(|r| Some((r.at, r.follows()?)));
    out.extend(measure::share("follows", follows));
    out
}
