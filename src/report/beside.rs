//! What stands beside a rate of defense, compliance or refusal: the share of the answers behind it that are neither help nor
//! refusal, the shares that the rate leaves out, since a judge said nothing readable of them, since nobody gave them, or since a prompt has
//! too few, and the share that ran into the length limit; and the warning where that is much (`doubt`). Knows metrics by name, not who measured them.

use crate::metrics::{self, DROPPED, OUTCOME, SHORT, UNREADABLE, UNSCORABLE, beside_of};
use base::rows::{ATTACK, Metric, PromptClass};
use serde::Serialize;
use std::collections::BTreeMap;

/// A rate of whose answers more than this cannot be read, or have no verdict, says little.
pub const MUCH: f64 = 0.1;

/// Before what is said of the row above, so that it is not read as a measure.
const MARK: &str = "  ! ";

const FINISHED: &str = "finished";
/// Means of a judge's numbers and of rewards that are made of them, and how far judges agree: beginnings of their names.
const NUMBERS: [&str; 6] = [
    "score",
    "average",
    "best",
    "held_out_reward",
    "agreement",
    "kappa",
];

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

/// Prompts that are to be helped with.
const OTHERS: [PromptClass; 2] = [PromptClass::Harmless, PromptClass::Ambiguous];

/// Of the answers behind a metric; nothing where that was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Beside {
    /// Neither help nor refusal, of the metric's own answers, or those of its classes of prompts.
    pub unreadable: Option<f64>,
    /// Not finished within the limit, of all classes.
    pub unfinished: Option<f64>,
    /// Without a readable verdict of the judge, where the metric is made of verdicts, which leaves them out: of its own answers, or
    /// those of its classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unjudged: Option<f64>,
    /// Asked for and left out, since nobody gave them, of the responses to the prompts of its classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<f64>,
    /// Of its prompts, those that have too few tries to be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short: Option<f64>,
    /// The metric is of a part of its classes only, as of one category, and what is said here is of all of them.
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
    /// The largest share of what makes a metric say little.
    pub fn most(&self) -> f64 {
        self.worst_of().0
    }

    /// The same, and what is so of which.
    fn worst_of(&self) -> (f64, &'static str, &'static str) {
        let each = [
            (self.unreadable, "answers", "are unreadable"),
            (self.unjudged, "answers", "have no verdict"),
            (self.dropped, "responses", "are dropped"),
            (self.short, "prompts", "have too few tries"),
        ];
        let each = each.map(|(share, of, words)| (share.unwrap_or(0.0), of, words));
        let larger = |a: (f64, _, _), b: (f64, _, _)| if b.0 > a.0 { b } else { a };
        each.into_iter().reduce(larger).unwrap_or_default()
    }

    pub fn much(&self) -> bool {
        self.most() > MUCH
    }

    /// `40.0 % of the answers behind WHAT are unreadable`, of what there is most of.
    pub fn doubt(&self, what: &str) -> String {
        let (share, of, words) = self.worst_of();
        format!("{} of the {of} behind {what} {words}", percent(share))
    }

    /// Of several metrics together: the most of each.
    pub fn worst(self, other: Beside) -> Beside {
        let most = |of: Of| of(&self).into_iter().chain(of(&other)).reduce(f64::max);
        Beside {
            unreadable: most(|b| b.unreadable),
            unfinished: most(|b| b.unfinished),
            unjudged: most(|b| b.unjudged),
            dropped: most(|b| b.dropped),
            short: most(|b| b.short),
            part: self.part || other.part,
        }
    }

    /// `34.0 % unreadable, 2.0 % without a verdict, 19.0 % of all unfinished`; nothing where all was read, judged and finished.
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
const SHARES: [(&str, Of); 5] = [
    ("unreadable", |b| b.unreadable),
    ("without a verdict", |b| b.unjudged),
    ("dropped", |b| b.dropped),
    ("of prompts too few tries", |b| b.short),
    (OF_ALL, |b| b.unfinished),
];

const OF_ALL: &str = "of all unfinished";

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
    let of = match *names.first()? != OF_ALL && part {
        true => "of the class ",
        false => "",
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

/// What stands beside a metric: all there is where it is a rate, what has no verdict where it is made of verdicts otherwise, since an answer
/// that cannot be read may have one. Nothing where it is neither, or was measured without that.
pub fn of(name: &str, all: &[Metric]) -> Option<Beside> {
    let found = behind(name, all)?;
    match is_rate(name) {
        true => Some(found),
        false => found.unjudged.map(|_| Beside {
            unjudged: found.unjudged,
            dropped: found.dropped,
            ..Beside::default()
        }),
    }
}

/// What stands beside each metric among these, by its name.
pub fn all(metrics: &[Metric]) -> BTreeMap<&str, Beside> {
    let each = metrics.iter();
    each.filter_map(|m| Some((m.name.as_str(), of(&m.name, metrics)?)))
        .collect()
}

/// What is behind a metric of any kind, where anything was measured of that; nothing for what says itself how much of the answers is of no use.
pub fn behind(name: &str, all: &[Metric]) -> Option<Beside> {
    let first = name.split('/').next().unwrap_or(name);
    if [UNREADABLE, FINISHED, OUTCOME, UNSCORABLE, DROPPED, SHORT].contains(&first) {
        return None;
    }
    let judged = is_rate(name) || NUMBERS.contains(&first);
    let classes = classes(name, all);
    let share = |what: &str| own(what, name, all).or_else(|| over(what, &classes, all));
    let unjudged = share(UNSCORABLE).filter(|_| judged);
    let dropped = share(DROPPED);
    let lacks = |what: &str| own(what, name, all).is_none();
    let of_class = [
        lacks(UNREADABLE),
        unjudged.is_some() && lacks(UNSCORABLE),
        some(dropped).is_some(),
    ];
    let found = Beside {
        unreadable: share(UNREADABLE),
        unfinished: unfinished(all),
        unjudged,
        dropped,
        short: find(&beside_of(SHORT, name), all).map(|m| m.value),
        part: is_part(name) && of_class.contains(&true),
    };
    let known = SHARES.iter().any(|(_, of)| of(&found).is_some());
    known.then_some(found)
}

fn is_rate(name: &str) -> bool {
    let first = name.split('/').next();
    RATES.iter().any(|(start, _)| first == Some(*start))
}

/// The classes of the prompts that a metric is of; none where its name does not say.
fn classes(name: &str, all: &[Metric]) -> Vec<PromptClass> {
    let mut words = name.split('/');
    let rate = words.next().unwrap_or(name);
    if let Some(class) = words.next().and_then(class) {
        return vec![class];
    }
    if rate == "defense" || rate == SUCCESS {
        return vec![PromptClass::Harmful];
    }
    // A string rule says of harmful prompts too whether they are complied with; a judge only of the others.
    let measured = |c: &PromptClass| find(&format!("{rate}/{}", c.word()), all).is_some();
    let classes = PromptClass::ALL.into_iter().filter(|_| is_rate(name));
    let found: Vec<PromptClass> = classes.filter(measured).collect();
    match rate {
        // A class of which nothing has a verdict is not measured, and the rate is of it all the same.
        "compliance" | "safe" if !found.contains(&PromptClass::Harmful) => OTHERS.to_vec(),
        _ => found,
    }
}

/// A share of the very answers that a metric is of, where that was measured. An attack succeeds and fails on the same ones.
fn own(what: &str, name: &str, all: &[Metric]) -> Option<f64> {
    let defense = attacked(name).map(|attack| format!("defense/{ATTACK}/{attack}"));
    let rate = defense.as_deref().unwrap_or(name);
    let of = |of: &str| find(&beside_of(what, of), all).map(|m| m.value);
    // Of what is no rate, as of two judges.
    let bare = || of(name.split_once('/').filter(|_| !is_rate(name))?.1);
    of(rate).or_else(bare)
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

/// A share over the prompts of these classes; of all where there is nothing by class.
fn over(what: &str, classes: &[PromptClass], all: &[Metric]) -> Option<f64> {
    let of_class = |c: &PromptClass| find(&beside_of(what, c.word()), all);
    let found: Vec<&Metric> = classes.iter().filter_map(of_class).collect();
    let n: usize = found.iter().map(|m| m.n).sum();
    match n {
        0 => of_all(what, all),
        n => Some(found.iter().map(|m| m.value * m.n as f64).sum::<f64>() / n as f64),
    }
}

/// Whether there are answers of the classes of a metric, as far as can be told.
pub fn answered(name: &str, all: &[Metric]) -> bool {
    let classes = classes(name, all);
    let of = |c: &PromptClass| find(&beside_of(UNSCORABLE, c.word()), all).is_some();
    let told = PromptClass::ALL.iter().any(of);
    classes.is_empty() || !told || classes.iter().any(of)
}

/// A share of all answers; a count of rows is none.
fn of_all(what: &str, all: &[Metric]) -> Option<f64> {
    let found = find(what, all).filter(|m| m.unit == "share");
    found.map(|m| m.value)
}

/// Not finished, of all; without the digits that a subtraction leaves at the end.
pub fn unfinished(all: &[Metric]) -> Option<f64> {
    let finished = find(FINISHED, all)?.value;
    Some(((1.0 - finished) * 1e12).round() / 1e12)
}

/// Without a readable verdict, of all.
pub fn unjudged(all: &[Metric]) -> Option<f64> {
    of_all(UNSCORABLE, all)
}

/// Left out, of all responses.
pub fn dropped(all: &[Metric]) -> Option<f64> {
    of_all(DROPPED, all)
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
