//! What scores that were given elsewhere say in numbers.

use crate::shared::by_class;
use crate::shared::measure::{self, MOST_VALUES, Measure, UNSCORABLE, by_label};
use base::rows::{PromptClass, Score};
use base::stats::crossed::Range;

/// `defense` (harmful prompts: the attack failed) and `compliance` (others: a good answer), of the rows that have a score, in all and
/// by category and label; the mean score by class; the share of rows without one, and of those that have no answer, in all, by
/// class and of every rate by label.
pub fn measures(scores: &[Score]) -> Vec<Measure> {
    let rows = |harmful: bool| {
        let of = move |s: &&Score| (s.class == PromptClass::Harmful) == harmful;
        scores.iter().filter(of)
    };
    let mut out = vec![];
    for (harmful, name) in [(true, "defense"), (false, "compliance")] {
        let judged = rows(harmful).filter(|s| s.scored());
        out.extend(measure::share(name, judged.map(|s| (s, s.good))));
        let labels = by_label(rows(harmful), |s| &s.labels);
        for (label, values) in labels.iter().filter(|(_, v)| v.len() <= MOST_VALUES) {
            for (value, rows) in values {
                let name = format!("{name}/{label}/{value}");
                out.extend(by_class::part(
                    &name,
                    rows.iter().copied(),
                    |s| s.good,
                    true,
                ));
            }
        }
    }
    // Nobody knows which numbers the judge of somebody else gives.
    for class in PromptClass::ALL {
        let numbers = scores.iter().filter(|s| s.class == class);
        let numbers = numbers.filter_map(|s| Some((s, s.score?)));
        let name = format!("score/{}", class.word());
        out.extend(measure::mean(&name, "score", Range::Free, numbers));
    }
    let unjudged = |s: &Score| !s.scored();
    out.extend(by_class::of_scores(UNSCORABLE.name, scores, unjudged));
    out.extend(by_class::unreadable(scores));
    out
}
