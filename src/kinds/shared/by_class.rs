//! The share of rows with a property, of all and of each class of prompts: what of the answers is of no use, say, behind the rates
//! of a class.

use super::measure::{At, Measure, UNREADABLE, UNSCORABLE, share};
use base::rows::{PromptClass, Score};

/// Of rows of (where, of which class, whether it has the property); a share that is 0 is there too, so that two nodes pair.
pub(crate) fn shares<'a>(
    name: &str,
    rows: impl Iterator<Item = (impl Into<At<'a>>, PromptClass, bool)> + Clone,
) -> Vec<Measure> {
    let of_all = share(name, rows.clone().map(|(at, _, has)| (at, has)));
    let of_class = |class: PromptClass| {
        let rows = rows.clone().filter(|(_, of, _)| *of == class);
        let name = format!("{name}/{}", class.word());
        share(&name, rows.map(|(at, _, has)| (at, has)))
    };
    let by_class = PromptClass::ALL.into_iter().filter_map(of_class);
    of_all.into_iter().chain(by_class).collect()
}

pub(crate) fn of_scores(
    name: &str,
    scores: &[Score],
    property: impl Fn(&Score) -> bool + Copy,
) -> Vec<Measure> {
    shares(name, scores.iter().map(move |s| (s, s.class, property(s))))
}

/// What is neither help nor refusal, of the rows that have a verdict: those are the answers behind a rate.
pub(crate) fn unreadable(scores: &[Score]) -> Vec<Measure> {
    let judged = scores.iter().filter(|s| s.scored());
    let rows = judged.map(|s| (s, s.class, s.outcome.unreadable()));
    shares(UNREADABLE.name, rows)
}

/// A rate of a part of its prompts, of the rows that have a verdict, and of the answers behind it the shares that cannot be read, and, where
/// some `may_lack` one, that have no verdict: those of their class do not tell them. Where no row has a verdict there is the last alone.
pub(crate) fn part<'a>(
    name: &str,
    rows: impl Iterator<Item = &'a Score> + Clone,
    property: impl Fn(&Score) -> bool,
    may_lack: bool,
) -> Vec<Measure> {
    let judged = rows.clone().filter(|s| s.scored());
    let rate = share(name, judged.clone().map(|s| (s, property(s))));
    let beside = |what: &str| format!("{what}/{name}");
    let unreadable = judged.map(|s| (s, s.outcome.unreadable()));
    let mut out: Vec<Measure> = rate.into_iter().collect();
    out.extend(share(&beside(UNREADABLE.name), unreadable));
    if may_lack {
        out.extend(share(
            &beside(UNSCORABLE.name),
            rows.map(|s| (s, !s.scored())),
        ));
    }
    out
}
