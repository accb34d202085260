//! What stands beside a rate of defense, compliance or refusal: the share of the answers behind it that are neither help nor
//! refusal, the share that ran into the length limit, and the share that the rate leaves out, since a judge said nothing readable of
//! them; and the warning where that is much (`doubt`). Knows metrics by name, not who measured them.

use crate::metrics::{self, OUTCOME, UNREADABLE, UNSCORABLE, unreadable_of};
use base::rows::{ATTACK, Metric, PromptClass};
use serde::Serialize;
use std::collections::BTreeMap;

/// A rate of whose answers more than this cannot be read, or have no verdict, says little.
pub const MUCH: f64 = 0.1;

/// Before what is said of the row above, so that it is not read as a measure.
const MARK: &str = "  ! ";

const FINISHED: &str = "finished";
/// Means of a judge's number: beginning of their names.
const SCORE: &str = "score";

/// How many attacks succeed: beginning of the names of its metrics.
pub const SUCCESS: &str = "success";

/// Rates of what answers do, by the beginning of their names, and what a warning calls them.
pub const RATES: [(&str, &str); 5] = [
    ("defense", "defense success"),
    (SUCCESS, "attack success"),
    ("compliance", "compliance"),
    ("safe", "share of safe answers"),
    ("refusal", "refusal rate"),
];

/// Of the answers behind a rate; nothing where that was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Beside {
    /// Neither help nor refusal, of the rate's classes of prompts.
    pub unreadable: Option<f64>,
    /// Not finished within the limit, of all classes.
    pub unfinished: Option<f64>,
    /// Without a readable verdict of the judge, of all classes: no rate counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unjudged: Option<f64>,
    /// The rate is of a part of its classes only, as of one category, and what is said here is of all of them.
    #[serde(skip)]
    pub part: bool,
}

/// What stands beside a rate on two sides that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sided {
    pub first: Beside,
    pub second: Beside,
}

impl Sided {
    pub fn of(name: &str, first: &[Metric], second: &[Metric]) -> Option<Sided> {
        let (first, second) = (of(name, first), of(name, second));
        (first.is_some() || second.is_some()).then(|| Sided {
            first: first.unwrap_or_default(),
            second: second.unwrap_or_default(),
        })
    }
}

impl Beside {
    /// The larger share of what makes a rate say little.
    pub fn most(&self) -> Option<f64> {
        let each = self.unreadable.into_iter().chain(self.unjudged);
        each.max_by(f64::total_cmp)
    }

    /// `34.0 % unreadable, 19.0 % of all unfinished, 2.0 % of all without a verdict`; nothing where all was read, finished and judged.
    pub fn text(&self) -> Option<String> {
        self.worded(" %")
    }

    /// The text where a column's title says the unit.
    pub fn in_percent(&self) -> Option<String> {
        self.worded("")
    }

    fn worded(&self, unit: &str) -> Option<String> {
        let share = |x: f64| format!("{}{unit}", metrics::number("share", x));
        let told = |(what, of): &(&str, Of)| Some(format!("{} {what}", share(some(of(self))?)));
        let words: Vec<String> = SHARES.iter().filter_map(told).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

type Of = fn(&Beside) -> Option<f64>;

/// What there is, in the order in which it is said.
const SHARES: [(&str, Of); 3] = [
    ("unreadable", |b| b.unreadable),
    ("of all unfinished", |b| b.unfinished),
    ("of all without a verdict", |b| b.unjudged),
];

pub fn some(share: Option<f64>) -> Option<f64> {
    share.filter(|x| *x > 0.0)
}

/// The line under a rate in a table with a column a side: its label, which is marked, and a cell a side. None where all was read, finished
/// and judged, or the following rate, `next`, has the same line and both are parts of the same.
pub fn line(
    own: &[Option<Beside>],
    next: Option<&[Option<Beside>]>,
) -> Option<(String, Vec<String>)> {
    let each = || own.iter().flatten();
    let part = each().any(|b| b.part);
    if part && next == Some(own) {
        return None;
    }
    let there = |(_, of): &(&str, Of)| each().any(|b| some(of(b)).is_some());
    let shown: Vec<(&str, Of)> = SHARES.into_iter().filter(there).collect();
    let names: Vec<&str> = shown.iter().map(|(what, _)| *what).collect();
    let of = match names.first()? {
        // What is said of all is not said of a class.
        &"unreadable" if part => "of the class ",
        _ => "",
    };
    let cell = |b: &Option<Beside>| {
        let b = b.unwrap_or_default();
        let share = |x: Option<f64>| x.map_or("-".into(), percent);
        let shown: Vec<String> = shown.iter().map(|(_, of)| share(of(&b))).collect();
        shown.join(", ")
    };
    let label = format!("{MARK}{of}{}", names.join(", "));
    Some((label, own.iter().map(cell).collect()))
}

pub fn percent(share: f64) -> String {
    format!("{} %", metrics::number("share", share))
}

/// What stands beside a metric; nothing where it is no rate, or was measured without it.
pub fn of(name: &str, all: &[Metric]) -> Option<Beside> {
    let classes = classes(name, all)?;
    let own = own(name, all);
    let part = own.is_none() && is_part(name);
    let found = Beside {
        unreadable: own.or_else(|| unreadable(&classes, all)),
        unfinished: unfinished(all),
        unjudged: unjudged(all),
        part,
    };
    let known = SHARES.iter().any(|(_, of)| of(&found).is_some());
    known.then_some(found)
}

/// What stands beside each rate among these, by its name.
pub fn all(metrics: &[Metric]) -> BTreeMap<&str, Beside> {
    let each = metrics.iter();
    each.filter_map(|m| Some((m.name.as_str(), of(&m.name, metrics)?)))
        .collect()
}

/// Of the answers behind a metric of any kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Behind {
    /// Cannot be read: of a rate's classes, or of all.
    pub unreadable: f64,
    /// Have no verdict, where the metric is made of verdicts.
    pub unjudged: f64,
}

impl Behind {
    pub fn most(self) -> f64 {
        self.unreadable.max(self.unjudged)
    }

    pub fn much(self) -> bool {
        self.most() > MUCH
    }

    /// `40.0 % of the answers behind WHAT are unreadable`, of what there is more of.
    pub fn text(self, what: &str) -> String {
        let (share, words) = match self.unjudged > self.unreadable {
            true => (self.unjudged, "have no verdict"),
            false => (self.unreadable, "are unreadable"),
        };
        format!("{} of the answers behind {what} {words}", percent(share))
    }

    /// Of several metrics together: the most of each.
    pub fn worst(self, other: Behind) -> Behind {
        Behind {
            unreadable: self.unreadable.max(other.unreadable),
            unjudged: self.unjudged.max(other.unjudged),
        }
    }
}

/// Nothing for what says itself how much of the answers is of no use.
pub fn behind(name: &str, all: &[Metric]) -> Option<Behind> {
    let first = name.split('/').next().unwrap_or(name);
    if [UNREADABLE, FINISHED, OUTCOME, UNSCORABLE].contains(&first) {
        return None;
    }
    let classes = classes(name, all);
    let judged = classes.is_some() || first == SCORE;
    let unreadable = match classes {
        Some(classes) => own(name, all).or_else(|| unreadable(&classes, all)),
        None => find(UNREADABLE, all).map(|m| m.value),
    };
    let unjudged = unjudged(all).filter(|_| judged);
    (unreadable.is_some() || unjudged.is_some()).then(|| Behind {
        unreadable: unreadable.unwrap_or_default(),
        unjudged: unjudged.unwrap_or_default(),
    })
}

/// The prompts that a rate is of.
fn classes(name: &str, all: &[Metric]) -> Option<Vec<PromptClass>> {
    let mut words = name.split('/');
    let rate = words.next()?;
    RATES.iter().find(|(start, _)| *start == rate)?;
    if let Some(class) = words.next().and_then(class) {
        return Some(vec![class]);
    }
    if rate == "defense" || rate == SUCCESS {
        return Some(vec![PromptClass::Harmful]);
    }
    // A string rule says of harmful prompts too whether they are complied with; a judge only of the others.
    let measured = |c: &PromptClass| find(&format!("{rate}/{}", c.word()), all).is_some();
    Some(PromptClass::ALL.into_iter().filter(measured).collect())
}

/// What cannot be read of the very answers that a rate is of, where that was measured. An attack succeeds and fails on the same ones.
fn own(name: &str, all: &[Metric]) -> Option<f64> {
    let defense = attacked(name).map(|attack| format!("defense/{ATTACK}/{attack}"));
    let rate = defense.as_deref().unwrap_or(name);
    find(&unreadable_of(rate), all).map(|m| m.value)
}

/// The attack that a rate of success is of, if it is of one.
fn attacked(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(SUCCESS)?;
    Some(rest.split_once(&format!("/{ATTACK}/"))?.1)
}

/// Whether a rate is of a part of the prompts of its classes.
fn is_part(name: &str) -> bool {
    let mut words = name.split('/');
    match words.next() {
        // Its other words say how it is counted.
        Some(SUCCESS) => attacked(name).is_some(),
        _ => words.next().is_some_and(|w| class(w).is_none()),
    }
}

fn class(word: &str) -> Option<PromptClass> {
    PromptClass::ALL.into_iter().find(|c| c.word() == word)
}

/// Over the prompts of these classes; of all where there is nothing by class.
fn unreadable(classes: &[PromptClass], all: &[Metric]) -> Option<f64> {
    let name = |c: &PromptClass| format!("{UNREADABLE}/{}", c.word());
    let found: Vec<&Metric> = classes.iter().filter_map(|c| find(&name(c), all)).collect();
    let n: usize = found.iter().map(|m| m.n).sum();
    match n {
        0 => find(UNREADABLE, all).map(|m| m.value),
        n => Some(found.iter().map(|m| m.value * m.n as f64).sum::<f64>() / n as f64),
    }
}

/// Not finished, of all; without the digits that a subtraction leaves at the end.
pub fn unfinished(all: &[Metric]) -> Option<f64> {
    let finished = find(FINISHED, all)?.value;
    Some(((1.0 - finished) * 1e12).round() / 1e12)
}

/// Of all; a count of rows is no share of answers.
pub fn unjudged(all: &[Metric]) -> Option<f64> {
    let found = find(UNSCORABLE, all).filter(|m| m.unit == "share");
    found.map(|m| m.value)
}

pub fn find<'a>(name: &str, all: &'a [Metric]) -> Option<&'a Metric> {
    all.iter().find(|m| m.name == name)
}

/// Every metric's mean over seeds, of those that have it.
pub fn over_seeds<'a>(seeds: impl IntoIterator<Item = &'a [Metric]>) -> Vec<Metric> {
    let mut means: Vec<(Metric, f64)> = vec![];
    for metric in seeds.into_iter().flatten() {
        match means.iter_mut().find(|(m, _)| m.name == metric.name) {
            Some((mean, seeds)) => {
                mean.value += metric.value;
                mean.n += metric.n;
                *seeds += 1.0;
            }
            None => means.push((metric.clone(), 1.0)),
        }
    }
    let mean = |(mut metric, seeds): (Metric, f64)| {
        metric.value /= seeds;
        metric
    };
    means.into_iter().map(mean).collect()
}
