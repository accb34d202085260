//! What stands beside a rate of defense, compliance or refusal: the share of the answers behind it that are neither help nor
//! refusal, and the share that ran into the length limit; and the warning where that is much. Knows metrics by name, not
//! who measured them.

use crate::metrics::{self, OUTCOME, UNREADABLE, unreadable_of};
use base::rows::{ATTACK, Metric, PromptClass};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A rate of whose answers more than this cannot be read says little.
pub const MUCH: f64 = 0.1;

/// Before what is said of the row above, so that it is not read as a measure.
const MARK: &str = "  ! ";

const FINISHED: &str = "finished";

/// How many attacks succeed: beginning of the names of its metrics.
pub const SUCCESS: &str = "success";

/// Rates of what answers do, by the beginning of their names, and what a warning calls them.
const RATES: [(&str, &str); 5] = [
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
    /// `34.0 % unreadable, 19.0 % of all unfinished`; nothing where all was read and finished.
    pub fn text(&self) -> Option<String> {
        self.worded(" %")
    }

    /// The text where a column's title says the unit.
    pub fn in_percent(&self) -> Option<String> {
        self.worded("")
    }

    fn worded(&self, unit: &str) -> Option<String> {
        let share = |x: f64| format!("{}{unit}", metrics::number("share", x));
        let unreadable = some(self.unreadable).map(|x| format!("{} unreadable", share(x)));
        let unfinished = some(self.unfinished).map(|x| format!("{} of all unfinished", share(x)));
        let words: Vec<String> = unreadable.into_iter().chain(unfinished).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

fn some(share: Option<f64>) -> Option<f64> {
    share.filter(|x| *x > 0.0)
}

/// The line under a rate in a table with a column a side: its label, which is marked, and a cell a side. None where all was read and
/// finished, or the following rate, `next`, has the same line and both are parts of the same.
pub fn line(
    own: &[Option<Beside>],
    next: Option<&[Option<Beside>]>,
) -> Option<(String, Vec<String>)> {
    let each = || own.iter().flatten();
    let part = each().any(|b| b.part);
    if part && next == Some(own) {
        return None;
    }
    let unreadable = each().any(|b| some(b.unreadable).is_some());
    let unfinished = each().any(|b| some(b.unfinished).is_some());
    let of = if part { "of the class " } else { "" };
    let label = match (unreadable, unfinished) {
        (false, false) => return None,
        (true, false) => format!("{MARK}{of}unreadable"),
        (false, true) => format!("{MARK}of all unfinished"),
        (true, true) => format!("{MARK}{of}unreadable, of all unfinished"),
    };
    let cell = |b: &Option<Beside>| {
        let b = b.unwrap_or_default();
        let shown = [(unreadable, b.unreadable), (unfinished, b.unfinished)];
        let share = |x: Option<f64>| x.map_or("-".into(), percent);
        let shown = shown.into_iter().filter(|(shown, _)| *shown);
        let shown: Vec<String> = shown.map(|(_, x)| share(x)).collect();
        shown.join(", ")
    };
    Some((label, own.iter().map(cell).collect()))
}

fn percent(share: f64) -> String {
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
        part,
    };
    (found.unreadable.is_some() || found.unfinished.is_some()).then_some(found)
}

/// What stands beside each rate among these, by its name.
pub fn all(metrics: &[Metric]) -> BTreeMap<&str, Beside> {
    let each = metrics.iter();
    each.filter_map(|m| Some((m.name.as_str(), of(&m.name, metrics)?)))
        .collect()
}

/// Of the answers behind a metric of any kind, what cannot be read: of a rate's classes, or of all. Nothing for what says how much
/// that is.
pub fn behind(name: &str, all: &[Metric]) -> Option<f64> {
    let first = name.split('/').next().unwrap_or(name);
    if [UNREADABLE, FINISHED, OUTCOME].contains(&first) {
        return None;
    }
    match classes(name, all) {
        Some(classes) => own(name, all).or_else(|| unreadable(&classes, all)),
        None => find(UNREADABLE, all).map(|m| m.value),
    }
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

/// Of all; without the digits that a subtraction leaves at the end.
fn unfinished(all: &[Metric]) -> Option<f64> {
    let finished = find(FINISHED, all)?.value;
    Some(((1.0 - finished) * 1e12).round() / 1e12)
}

fn find<'a>(name: &str, all: &'a [Metric]) -> Option<&'a Metric> {
    all.iter().find(|m| m.name == name)
}

/// What an evaluation's reader has to know before the numbers: that much of it cannot be read. Data has its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// Whose answers, as in `` `rl-eval` ``.
    what: String,
    unreadable: f64,
    by_class: Vec<(&'static str, f64)>,
    unfinished: Option<f64>,
    /// The rates that say little.
    rates: Vec<String>,
}

impl Doubt {
    pub fn of(what: &str, all: &[Metric]) -> Option<Doubt> {
        let of_class = |c: PromptClass| {
            let found = find(&format!("{UNREADABLE}/{}", c.word()), all)?;
            Some((c.word(), found.value))
        };
        let by_class: Vec<(&str, f64)> =
            PromptClass::ALL.into_iter().filter_map(of_class).collect();
        let unreadable = find(UNREADABLE, all)?.value;
        let most = by_class.iter().map(|c| c.1).fold(unreadable, f64::max);
        (most > MUCH).then(|| Doubt {
            what: what.into(),
            unreadable,
            by_class,
            unfinished: some(unfinished(all)),
            rates: doubtful(all),
        })
    }

    /// By itself.
    pub fn text(&self) -> String {
        let classes = self.by_class.iter();
        let classes: Vec<String> = classes
            .map(|(c, x)| format!("{c} {}", percent(*x)))
            .collect();
        let classes = match classes.len() {
            0 | 1 => String::new(),
            _ => format!(" ({})", classes.join(", ")),
        };
        let little = self
            .rates()
            .map(|(rates, say)| format!(": its {rates} {say} little"));
        let mut text = format!(
            "{} of the answers of {} are unreadable{classes}{}",
            percent(self.unreadable),
            self.what,
            little.unwrap_or_default()
        );
        if let Some(share) = self.unfinished {
            text += &format!("; {} did not finish within the limit", percent(share));
        }
        text
    }

    /// The rates in words, and their verb.
    fn rates(&self) -> Option<(String, &'static str)> {
        match self.rates.as_slice() {
            [] => None,
            [one] => Some((one.clone(), "says")),
            [before @ .., last] => Some((format!("{} and {last}", before.join(", ")), "say")),
        }
    }

    /// Among others of which the same is said.
    fn short(&self) -> String {
        let unfinished = self
            .unfinished
            .map(|x| format!(" ({} unfinished)", percent(x)));
        let unfinished = unfinished.unwrap_or_default();
        // Where all together are readable enough it is a class that is not.
        let classes = self
            .by_class
            .iter()
            .filter(|(_, x)| self.unreadable <= MUCH && *x > MUCH);
        let classes: String = classes
            .map(|(c, x)| format!(", {c} {}", percent(*x)))
            .collect();
        format!(
            "{} {}{classes}{unfinished}",
            self.what,
            percent(self.unreadable)
        )
    }
}

impl Serialize for Doubt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

/// What is to be said of several evaluations, each thing once.
pub fn warnings(doubts: impl IntoIterator<Item = Doubt>) -> Vec<String> {
    let mut alike: Vec<Vec<Doubt>> = vec![];
    for doubt in doubts {
        match alike.iter_mut().find(|group| group[0].rates == doubt.rates) {
            Some(group) => group.push(doubt),
            None => alike.push(vec![doubt]),
        }
    }
    let told = |group: &Vec<Doubt>| {
        let [one] = group.as_slice() else {
            let rates = group[0].rates();
            let little = rates.map(|(rates, say)| format!(", and their {rates} {say} little"));
            let each: Vec<String> = group.iter().map(Doubt::short).collect();
            return format!(
                "many answers of {} evaluations are unreadable{}: {}",
                group.len(),
                little.unwrap_or_default(),
                each.join(", ")
            );
        };
        one.text()
    };
    alike.iter().map(told).collect()
}

/// What is to be said of one.
pub fn warning(what: &str, all: &[Metric]) -> Option<String> {
    Doubt::of(what, all).map(|doubt| doubt.text())
}

/// The rates of which too much cannot be read, as people call them; where that is so of some of a rate's classes only, of these.
fn doubtful(all: &[Metric]) -> Vec<String> {
    let mut found = vec![];
    for (rate, called) in RATES {
        let much = |m: &&Metric| behind(&m.name, all).is_some_and(|x| x > MUCH);
        let whole = find(rate, all);
        let of = |c: PromptClass| Some((c, find(&format!("{rate}/{}", c.word()), all)?));
        let classes: Vec<(PromptClass, &Metric)> =
            PromptClass::ALL.into_iter().filter_map(of).collect();
        let doubted: Vec<PromptClass> = (classes.iter().filter(|(_, m)| much(m)))
            .map(|(class, _)| *class)
            .collect();
        let every = !doubted.is_empty() && doubted.len() == classes.len();
        if whole.as_ref().map_or(every, much) {
            found.push(called.to_string());
        } else {
            let on = |c: PromptClass| format!("{called} on {} prompts", c.word());
            found.extend(doubted.into_iter().map(on));
        }
    }
    found
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
