//! What an evaluation's reader has to know before its numbers: that much of it cannot be read, or that the judge said nothing readable of
//! much of it, so that its rates are of the rest, or that there are none. Knows metrics by name, not who measured them.

use crate::beside::{
    Beside, MUCH, RATES, answered, behind, find, over_seeds, percent, some, unfinished,
};
use crate::metrics::{DROPPED, UNREADABLE, UNSCORABLE, beside_of};
use base::rows::{Metric, PromptClass};
use engine::kind::Kind;
use serde::{Serialize, Serializer};

/// Data has its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// Whose answers, as in `` `rl-eval` ``.
    what: String,
    unreadable: Option<Unreadable>,
    unjudged: Option<Unjudged>,
    /// Asked for, and not there.
    dropped: Option<Share>,
}

/// What of the answers is of no use, of all and of each class.
#[derive(Clone, Debug, PartialEq)]
struct Share {
    of_all: f64,
    by_class: Vec<(&'static str, f64)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Unreadable {
    share: Share,
    unfinished: Option<f64>,
    /// The rates that say little.
    rates: Vec<String>,
}

/// Without a verdict of the judge.
#[derive(Clone, Debug, PartialEq)]
struct Unjudged {
    share: Share,
    /// The rates that say little.
    rates: Vec<String>,
    /// Classes of prompts of which no rate is measured, as nothing of them has a verdict.
    without: Vec<&'static str>,
}

impl Doubt {
    pub fn of(what: &str, all: &[Metric]) -> Option<Doubt> {
        let doubt = Doubt {
            what: what.into(),
            unreadable: Unreadable::of(all),
            unjudged: Unjudged::of(all),
            dropped: Share::of(DROPPED, all).filter(Share::much),
        };
        let any = doubt.unreadable.is_some() || doubt.unjudged.is_some();
        (any || doubt.dropped.is_some()).then_some(doubt)
    }

    /// Whether it says how much has no verdict.
    pub fn of_unjudged(&self) -> bool {
        self.unjudged.is_some()
    }

    /// By itself.
    pub fn text(&self) -> String {
        let unreadable = self.unreadable.iter().map(|part| part.text(&self.what));
        let unjudged = self.unjudged.iter().map(|part| part.text(&self.what));
        let all: Vec<String> = unreadable.chain(unjudged).chain(self.lost()).collect();
        all.join("; ")
    }

    fn lost(&self) -> Option<String> {
        let share = self.dropped.as_ref()?;
        let these = (share.of_all, format!("the responses of {}", self.what));
        Some(format!(
            "{}{}: no rate counts them",
            dropped(&[these]),
            share.classes()
        ))
    }
}

impl Share {
    /// A count of rows is none.
    fn of(what: &str, all: &[Metric]) -> Option<Share> {
        let of_class = |c: PromptClass| {
            let found = find(&beside_of(what, c.word()), all)?;
            Some((c.word(), found.value))
        };
        Some(Share {
            of_all: find(what, all).filter(|m| m.unit == "share")?.value,
            by_class: PromptClass::ALL.into_iter().filter_map(of_class).collect(),
        })
    }

    /// Of all, or of a class.
    fn much(&self) -> bool {
        let classes = self.by_class.iter().map(|c| c.1);
        classes.fold(self.of_all, f64::max) > MUCH
    }

    /// ` (harmful 40.0 %, harmless 0.0 %)`.
    fn classes(&self) -> String {
        let each = |(class, x): &(&str, f64)| format!("{class} {}", percent(*x));
        let classes: Vec<String> = self.by_class.iter().map(each).collect();
        match classes.len() {
            0 | 1 => String::new(),
            _ => format!(" ({})", classes.join(", ")),
        }
    }

    /// Among others of which the same is said: where there is not much of all, the class says where there is.
    fn short(&self, what: &str) -> String {
        let many = |(_, x): &&(&str, f64)| self.of_all <= MUCH && *x > MUCH;
        let classes = self.by_class.iter().filter(many);
        let classes: String = classes
            .map(|(c, x)| format!(", {c} {}", percent(*x)))
            .collect();
        format!("{what} {}{classes}", percent(self.of_all))
    }
}

impl Unreadable {
    fn of(all: &[Metric]) -> Option<Unreadable> {
        let share = Share::of(UNREADABLE, all)?;
        share.much().then(|| Unreadable {
            share,
            unfinished: some(unfinished(all)),
            rates: doubtful(all, |behind| behind.unreadable),
        })
    }

    fn text(&self, what: &str) -> String {
        let little = little(&self.rates).map(|little| format!(": its {little}"));
        let mut text = format!(
            "{} of the answers of {what} are unreadable{}{}",
            percent(self.share.of_all),
            self.share.classes(),
            little.unwrap_or_default()
        );
        if let Some(share) = self.unfinished {
            text += &format!("; {} did not finish within the limit", percent(share));
        }
        text
    }

    /// Among others of which the same is said.
    fn short(&self, what: &str) -> String {
        let unfinished = self
            .unfinished
            .map(|x| format!(" ({} unfinished)", percent(x)));
        let unfinished = unfinished.unwrap_or_default();
        format!("{}{unfinished}", self.share.short(what))
    }
}

impl Unjudged {
    fn of(all: &[Metric]) -> Option<Unjudged> {
        let share = Share::of(UNSCORABLE, all).filter(|share| share.of_all > 0.0)?;
        let without = PromptClass::ALL.into_iter().filter(|class| {
            let of_class = |rate: &str| find(&format!("{rate}/{}", class.word()), all).is_some();
            let measured = match class {
                PromptClass::Harmful => find("defense", all).is_some(),
                _ => of_class("compliance") || of_class("safe"),
            };
            of_class(UNREADABLE) && !measured
        });
        let without: Vec<&str> = without.map(PromptClass::word).collect();
        (share.much() || !without.is_empty()).then(|| Unjudged {
            share,
            rates: doubtful(all, |behind| behind.unjudged),
            without,
        })
    }

    fn text(&self, what: &str) -> String {
        if self.share.of_all >= 1.0 {
            return format!("{SAID} any of the answers of {what}: no rate is measured");
        }
        let own = little(&self.rates).map(|little| format!("its {little}"));
        let own: Vec<String> = own.into_iter().chain(self.unmeasured()).collect();
        let own = match own.is_empty() {
            true => String::new(),
            false => format!(": {}", own.join("; ")),
        };
        let told = unjudged(&[(self.share.of_all, format!("the answers of {what}"))]);
        format!("{told}{}, which no rate counts{own}", self.share.classes())
    }

    fn unmeasured(&self) -> Option<String> {
        let classes = self.without.join(" and ");
        (!classes.is_empty()).then(|| format!("no rate of {classes} prompts is measured"))
    }
}

impl Serialize for Doubt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

/// What is to be said of several evaluations, each thing once.
pub fn warnings(doubts: impl IntoIterator<Item = Doubt>) -> Vec<String> {
    let (mut unreadable, mut unjudged, mut lost) = (vec![], vec![], vec![]);
    for doubt in doubts {
        lost.extend(doubt.lost());
        let what = &doubt.what;
        unreadable.extend(doubt.unreadable.map(|part| (what.clone(), part)));
        unjudged.extend(doubt.unjudged.map(|part| (what.clone(), part)));
    }
    let of_unreadable = alike(unreadable, |part| part.rates.clone());
    let of_unreadable = of_unreadable.iter().map(|group| match group.as_slice() {
        [(what, one)] => one.text(what),
        several => {
            let little = little(&several[0].1.rates);
            let each: Vec<String> = several.iter().map(|(w, part)| part.short(w)).collect();
            format!(
                "many answers of {} evaluations are unreadable{}: {}",
                several.len(),
                little.map_or(String::new(), |little| format!(", and their {little}")),
                each.join(", ")
            )
        }
    });
    let of_unjudged = alike(unjudged, |part| (part.rates.clone(), part.without.clone()));
    let of_unjudged = of_unjudged.iter().map(|group| match group.as_slice() {
        [(what, one)] => one.text(what),
        several => {
            let first = &several[0].1;
            let little = little(&first.rates).map(|little| format!("their {little}"));
            let all: Vec<String> = little.into_iter().chain(first.unmeasured()).collect();
            let all: String = all.iter().map(|text| format!(", and {text}")).collect();
            let each = several.iter();
            let each: Vec<String> = each.map(|(what, part)| part.share.short(what)).collect();
            format!(
                "{SAID} many answers of {} evaluations, which no rate counts{all}: {}",
                several.len(),
                each.join(", ")
            )
        }
    });
    of_unreadable.chain(of_unjudged).chain(lost).collect()
}

/// In groups that have the same in common, in the order of the first of each.
fn alike<T, K: PartialEq>(
    all: Vec<(String, T)>,
    common: impl Fn(&T) -> K,
) -> Vec<Vec<(String, T)>> {
    let mut groups: Vec<Vec<(String, T)>> = vec![];
    for one in all {
        let key = common(&one.1);
        match groups.iter_mut().find(|group| common(&group[0].1) == key) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// `defense success and compliance say little`.
fn little(rates: &[String]) -> Option<String> {
    match rates {
        [] => None,
        [one] => Some(format!("{one} says little")),
        [before @ .., last] => Some(format!("{} and {last} say little", before.join(", "))),
    }
}

const SAID: &str = "the judge said nothing readable of";

/// `the judge said nothing readable of 2.5 % of THESE, and of 5.0 % of THOSE`.
pub fn unjudged(shares: &[(f64, String)]) -> String {
    let each = shares.iter();
    let each: Vec<String> = each
        .map(|(share, these)| format!("{} of {these}", percent(*share)))
        .collect();
    format!("{SAID} {}", each.join(", and of "))
}

/// `2.5 % of THESE, and 5.0 % of THOSE, were not given and are dropped`.
pub fn dropped(shares: &[(f64, String)]) -> String {
    let each = shares.iter();
    let each: Vec<String> = each
        .map(|(share, these)| format!("{} of {these}", percent(*share)))
        .collect();
    format!("{} were not given and are dropped", each.join(", and "))
}

/// Why a metric is not among these, which nodes of this kind could measure: none of the answers that it is of has a verdict. Whether there
/// are answers of a category or a value of a label, where none of its class has one, nobody knows.
pub fn without(kind: Option<&Kind>, name: &str, all: &[Metric]) -> Option<String> {
    let info = kind?.metric(name)?;
    let share = behind(name, all)?.unjudged?;
    let of = match info.name.ends_with('*') && info.among.is_empty() {
        true => "that it could be of",
        false => "behind it",
    };
    (share >= 1.0 && answered(name, all)).then(|| format!("{SAID} any of the answers {of}"))
}

/// The same of a metric that some of these nodes lack, which are repeated with other seeds.
pub fn without_some<'a>(
    kind: &Kind,
    name: &str,
    seeds: impl Iterator<Item = &'a [Metric]>,
) -> Option<String> {
    let (lacking, having): (Vec<&[Metric]>, Vec<_>) = seeds.partition(|m| find(name, m).is_none());
    let why = without(Some(kind), name, &over_seeds(lacking.iter().copied()))?;
    Some(match having.len() {
        0 => why,
        some => format!(
            "{some} of {} seeds have a value: {why}",
            some + lacking.len()
        ),
    })
}

/// What stands in the place of a value that there is not.
pub fn nothing(kind: &Kind, name: &str, all: &[Metric]) -> &'static str {
    match without(Some(kind), name, all) {
        Some(_) => NO_VERDICT,
        None => NOTHING,
    }
}

pub const NOTHING: &str = "-";
pub const NO_VERDICT: &str = "no verdict";

/// What is to be said of one.
pub fn warning(what: &str, all: &[Metric]) -> Option<String> {
    Doubt::of(what, all).map(|doubt| doubt.text())
}

/// The rates of which too much is of no use, as people call them; where that is so of some of a rate's classes only, of these.
fn doubtful(all: &[Metric], share: fn(&Beside) -> Option<f64>) -> Vec<String> {
    let mut found = vec![];
    for (rate, called) in RATES {
        let much = |m: &&Metric| behind(&m.name, all).is_some_and(|b| share(&b) > Some(MUCH));
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
