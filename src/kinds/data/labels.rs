//! Labels of other people's rows against the words of a recipe that name some of them. A label counts as it is written; one that no word
//! names is told with its number of rows, and one that is nearly a word is an error, since what hangs on it would silently be something
//! else.

use anyhow::{Result, bail};
use base::params::Problem;
use base::rows::{Metric, PromptClass};
use base::text::{count, thousands};
use engine::kind::MetricInfo;
use std::collections::BTreeMap;

/// Labels that are kept apart; a column with more of them holds no labels.
const MOST_LABELS: usize = 1000;
/// Labels that a line or an error names.
const MOST_TOLD: usize = 20;
/// Characters of a label in a message.
const LONGEST: usize = 60;

/// Whether two labels differ in nothing but case, white space, punctuation or a plural; or are the same number, written in two ways.
pub fn nearly(a: &str, b: &str) -> bool {
    if a == b {
        return false;
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a == b;
    }
    if number(a).is_some() || number(b).is_some() {
        return false;
    }
    let (bare_a, bare_b) = (singular(bare(a)), singular(bare(b)));
    match bare_a.is_empty() {
        true => a.trim() == b.trim(),
        false => bare_a == bare_b,
    }
}

fn number(label: &str) -> Option<f64> {
    label.trim().parse().ok().filter(|x: &f64| x.is_finite())
}

/// Letters and digits, in lower case; wide forms as plain ones.
fn bare(label: &str) -> String {
    let plain = |c: char| match c as u32 {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(c),
        _ => c,
    };
    let kept = label.chars().map(plain).filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

fn singular(mut word: String) -> String {
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y");
    }
    if word.len() > 1 && word.ends_with('s') {
        word.pop();
    }
    word
}

/// The first label of some that is nearly one of the names, and that name; labels that are names themselves are none.
pub(crate) fn first_nearly<'a>(
    labels: impl IntoIterator<Item = &'a str>,
    names: &[&'a str],
) -> Option<(&'a str, &'a str)> {
    let others = labels.into_iter().filter(|label| !names.contains(label));
    let mut near = others.filter_map(|label| {
        let name = names.iter().find(|name| nearly(label, name))?;
        Some((label, *name))
    });
    near.next()
}

/// `"Unsafe "`, in quotes, so that white space is seen.
pub fn quoted(label: &str) -> String {
    match label.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &label[..end]),
        None => format!("{label:?}"),
    }
}

/// `"safe" (12), "mixed" (3)`, the most frequent first; of many the beginning.
pub(crate) fn tallied<'a>(labels: impl IntoIterator<Item = (&'a str, u64)>) -> String {
    let mut labels: Vec<(&str, u64)> = labels.into_iter().collect();
    labels.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let summary = labels.iter().take(MOST_TOLD);
    let summary = summary.map(|(label, n)| format!("{} ({})", quoted(label), thousands(*n)));
    let mut summary: Vec<String> = summary.collect();
    if labels.len() > MOST_TOLD {
        summary.push(format!("{} more", labels.len() - MOST_TOLD));
    }
    summary.join(", ")
}

/// What to do about a label that is nearly one of a list that gives a class, where it is of another.
pub(crate) const OR_ANOTHER_CLASS: &str =
    "or in another of `harmful`, `harmless` and `ambiguous` if it means something else";

/// The class that a list of labels gives, by the name of its parameter.
pub fn class(list: Option<&str>) -> Option<PromptClass> {
    PromptClass::ALL
        .into_iter()
        .find(|c| Some(c.word()) == list)
}

/// What `classes` counts.
pub const ROWS: MetricInfo = MetricInfo::plain("rows", "rows", "rows read");
pub const KEPT: MetricInfo = MetricInfo::plain("kept/*", "rows", "kept, *");
/// What `Named::metric` counts, by the label in question.
pub(crate) const UNNAMED: MetricInfo =
    MetricInfo::plain("labels/unnamed", "rows", "with a label that nobody named");

/// `rows`, `kept/CLASS`: how many rows there are.
pub fn classes(rows: usize, classes: &BTreeMap<PromptClass, usize>) -> Vec<Metric> {
    let metric = |name: String, value: usize| Metric {
        name,
        value: value as f64,
        n: rows,
        interval: None,
        unit: "rows".into(),
    };
    let mut metrics = vec![metric("rows".into(), rows)];
    metrics.extend(PromptClass::ALL.map(|class| {
        let n = classes.get(&class).copied().unwrap_or(0);
        metric(format!("kept/{}", class.word()), n)
    }));
    metrics
}

/// Labels that two lists name.
pub fn problems(found: &mut Vec<Problem>, lists: &[(&'static str, &[String])]) {
    for (i, (name, list)) in lists.iter().enumerate() {
        for (other, earlier) in &lists[..i] {
            for label in list.iter().filter(|label| earlier.contains(label)) {
                found.push(Problem {
                    path: (*name).into(),
                    message: format!("the label `{label}` is in `{other}` as well"),
                    help: None,
                });
            }
        }
    }
}

/// A word of the recipe, and the parameter that it stands in.
struct Word<'a> {
    param: &'static str,
    text: &'a str,
    /// Rows that it names.
    rows: u64,
}

impl Word<'_> {
    /// What stands before a `*` at the end, where that means anything that begins so.
    fn start(&self, stars: bool) -> Option<&str> {
        self.text.strip_suffix('*').filter(|_| stars)
    }
}

/// A label that is nearly a word, where it first stands.
struct Near {
    label: String,
    place: String,
    /// The word and its parameter.
    word: String,
    param: &'static str,
}

/// The labels of a column, as they are looked up.
pub struct Named<'a> {
    words: Vec<Word<'a>>,
    stars: bool,
    /// Rows of the labels that no word names.
    others: BTreeMap<String, u64>,
    /// Rows of further labels, beyond those that are kept apart.
    beyond: u64,
    rows: u64,
    near: Vec<Near>,
}

impl<'a> Named<'a> {
    /// `lists`: parameters and their words. `stars`: a word may end in `*`.
    pub fn new(lists: &[(&'static str, &'a [String])], stars: bool) -> Named<'a> {
        let words = lists.iter().flat_map(|&(param, list)| {
            list.iter().map(move |text| Word {
                param,
                text,
                rows: 0,
            })
        });
        Named {
            words: words.collect(),
            stars,
            others: BTreeMap::new(),
            beyond: 0,
            rows: 0,
            near: vec![],
        }
    }

    /// The parameter that names the label, if any does: as it is written, or else by the longest beginning.
    pub fn of(&mut self, label: &str, place: impl FnOnce() -> String) -> Option<&'static str> {
        self.rows += 1;
        let stars = self.stars;
        let whole = |w: &Word| w.text == label && w.start(stars).is_none();
        let begun = |w: &Word| match w.start(stars) {
            Some(start) if label.starts_with(start) => Some(start.len()),
            _ => None,
        };
        let found = self.words.iter().position(whole).or_else(|| {
            let words = self.words.iter().enumerate();
            let lengths = words.filter_map(|(i, w)| Some((begun(w)?, i)));
            lengths.max().map(|(_, i)| i)
        });
        if let Some(word) = found.map(|i| &mut self.words[i]) {
            word.rows += 1;
            return Some(word.param);
        }
        self.other(label, place);
        None
    }

    fn other(&mut self, label: &str, place: impl FnOnce() -> String) {
        if let Some(rows) = self.others.get_mut(label) {
            *rows += 1;
            return;
        }
        match self.others.len() < MOST_LABELS {
            true => {
                self.others.insert(label.into(), 1);
            }
            false => self.beyond += 1,
        }
        let near = self.words.iter().find(|w| match w.start(self.stars) {
            Some(start) => {
                let start = bare(start);
                !start.is_empty() && bare(label).starts_with(&start)
            }
            None => nearly(label, w.text),
        });
        if let Some(word) = near.filter(|_| self.near.len() < MOST_TOLD) {
            self.near.push(Near {
                label: label.into(),
                place: place(),
                word: word.text.into(),
                param: word.param,
            });
        }
    }

    /// Errors: labels that are nearly a word. `or`: what else may be written, where such a label means something else.
    pub(crate) fn ensure_none_nearly(&self, or: &str) -> Result<()> {
        let summary = self.near.iter().map(|near| {
            let Near {
                label, place, word, ..
            } = near;
            format!("{} ({place}) is nearly {}", quoted(label), quoted(word))
        });
        let summary: Vec<String> = summary.collect();
        let Some(first) = self.near.first() else {
            return Ok(());
        };
        bail!(
            "{}. A label counts as it is written: write it in `{}` as well, {or}",
            summary.join("; "),
            first.param
        )
    }

    /// The first word that no row has, and its parameter.
    pub fn missed(&self) -> Option<(&'static str, &str)> {
        let missed = self.words.iter().find(|w| w.rows == 0);
        missed.map(|w| (w.param, w.text))
    }

    /// Whether a word named a row.
    pub fn any(&self) -> bool {
        self.words.iter().any(|w| w.rows > 0)
    }

    /// Rows whose label no word names.
    pub fn unnamed(&self) -> u64 {
        self.others.values().sum::<u64>() + self.beyond
    }

    /// All labels, each with its rows; those that a word names by their beginning as this word.
    pub fn all(&self) -> String {
        let hit = self.words.iter().filter(|w| w.rows > 0);
        self.tallied(hit.map(|w| (w.text, w.rows)))
    }

    /// The labels that no word names, each with its rows.
    pub fn others(&self) -> String {
        self.tallied(std::iter::empty())
    }

    fn tallied<'b>(&'b self, more: impl Iterator<Item = (&'b str, u64)>) -> String {
        let others = self.others.iter();
        let others = others.map(|(label, n)| (label.as_str(), *n));
        let mut summary = tallied(others.chain(more));
        if self.beyond > 0 {
            summary += &format!(
                ", and {} of further labels",
                count(self.beyond, "row", "rows")
            );
        }
        summary
    }

    /// `labels nobody asked for: "safe" (250); these are ambiguous`.
    pub fn summary(&self, so: &str) -> Option<String> {
        let any = self.unnamed() > 0;
        any.then(|| format!("labels nobody asked for: {}; these are {so}", self.others()))
    }

    /// How many rows have a label that no word names.
    pub fn metric(&self, name: &str) -> Metric {
        Metric {
            name: name.into(),
            value: self.unnamed() as f64,
            n: self.rows as usize,
            interval: None,
            unit: "rows".into(),
        }
    }
}
