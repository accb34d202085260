//! What is seen of the reasoning of responses: whether there is any, and how long it is; and of prompts of the built-in world what it
//! knows, and whether the answer follows from it. Measured beside what judges say of the answer, and rewarded nowhere.

use crate::shared::measure::{self, At, ByLabel, MOST_VALUES, Measure, by_label};
use base::response;
use base::rows::{CompletedPrompt, PromptClass, Truth};
use base::stats::crossed::Range;
use std::collections::BTreeMap;
use world::judge;

/// The measures' name of what is a row's `category`.
const TYPE: &str = "type";

/// A response and what it answers.
pub struct Reasoned<'a> {
    pub at: At<'a>,
    pub class: PromptClass,
    pub category: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    /// Of prompts of the built-in world.
    pub truth: Option<&'a Truth>,
    /// At least a word; none of a response that does not reason.
    pub reasoning: Option<String>,
    pub answer: String,
}

impl<'a> Reasoned<'a> {
    /// `begun`: what of the answer was written for the model.
    pub fn read(prompt: &'a CompletedPrompt, response: &str, begun: Option<&str>) -> Reasoned<'a> {
        let parts = response::split(response);
        Reasoned {
            at: prompt.into(),
            class: prompt.class,
            category: &prompt.category,
            labels: &prompt.labels,
            truth: prompt.truth.as_ref(),
            reasoning: parts.reasoning.filter(|text| !text.is_empty()),
            answer: judge::answer(response, begun),
        }
    }

    fn words(&self) -> f64 {
        let reasoning = self.reasoning.as_deref().unwrap_or("");
        reasoning.split_whitespace().count() as f64
    }

    /// Of each fact of the world that there is to know, whether the reasoning states it; nothing without reasoning.
    fn facts(&self) -> impl Iterator<Item = (At<'a>, bool)> + '_ {
        let at = self.at;
        let known = self.truth.zip(self.reasoning.as_deref());
        let stated = known.map(|(truth, text)| judge::stated(truth, text));
        stated.into_iter().flatten().map(move |right| (at, right))
    }

    /// Whether the answer is the one of the two that the reasoning comes to, so false where it comes to nothing or the answer is neither.
    /// None without reasoning, and of prompts that are not the world's.
    fn follows(&self) -> Option<bool> {
        let (_, reasoning) = self.truth.zip(self.reasoning.as_deref())?;
        let refused = judge::refuses(&self.answer);
        let decided = refused || judge::proceeds(&self.answer);
        Some(decided && judge::concluded(reasoning) == Some(refused))
    }
}

/// Words of reasoning by class and label, and which share `reasons`, of all responses; of those that reason about the built-in world,
/// `facts_right` and `follows`.
pub fn measures(rows: &[Reasoned]) -> Vec<Measure> {
    let split = split(rows);
    let each = || {
        let some = split
            .iter()
            .filter(|(_, values)| values.len() <= MOST_VALUES);
        some.flat_map(|(label, values)| {
            let named = move |(value, rows)| (format!("{label}/{value}"), rows);
            values.iter().map(named)
        })
    };
    let mut out = vec![];
    for class in PromptClass::ALL {
        let own = rows.iter().filter(|r| r.class == class);
        out.extend(words(class.word(), own));
    }
    for (value, own) in each() {
        out.extend(words(&value, own.iter().copied()));
    }
    out.extend(reasons("reasons", rows.iter()));
    for (value, own) in each() {
        let of_world = own.iter().copied().filter(|r| r.truth.is_some());
        out.extend(reasons(&format!("reasons/{value}"), of_world));
    }
    let right = rows.iter().flat_map(Reasoned::facts);
    out.extend(measure::share("facts_right", right));
    for (value, own) in each() {
        let right = own.iter().flat_map(|r| r.facts());
        out.extend(measure::share(&format!("facts_right/{value}"), right));
    }
    let follows = rows.iter().filter_map(|r| Some((r.at, r.follows()?)));
    out.extend(measure::share("follows", follows));
    out
}

fn words<'a, 'b: 'a>(of: &str, rows: impl Iterator<Item = &'a Reasoned<'b>>) -> Option<Measure> {
    let words = rows.map(|r| (r.at, r.words()));
    measure::mean(&format!("reasoning/{of}"), "words", Range::Count, words)
}

fn reasons<'a, 'b: 'a>(
    name: &str,
    rows: impl Iterator<Item = &'a Reasoned<'b>>,
) -> Option<Measure> {
    measure::share(name, rows.map(|r| (r.at, r.reasoning.is_some())))
}

/// The rows by label; the category is one of the labels, unless another one says the same of every row.
fn split<'a, 'b>(rows: &'a [Reasoned<'b>]) -> ByLabel<'a, Reasoned<'b>> {
    let mut split = by_label(rows.iter(), |r| r.labels);
    let typed = || rows.iter().filter(|r| !r.category.is_empty());
    let says = |label: &str| typed().all(|r| r.labels.get(label).is_some_and(|v| v == r.category));
    if split.keys().any(|label| says(label)) {
        return split;
    }
    split.remove(TYPE);
    for row in typed() {
        let types = split.entry(TYPE).or_default();
        types.entry(row.category).or_default().push(row);
    }
    split
}
