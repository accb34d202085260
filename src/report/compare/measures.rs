//! One evaluation on two sides, metric by metric, in pairs of prompts and over seeds; or why that would compare what is
//! not comparable.

use crate::beside::{self, Beside, Sided};
use crate::compare::numbers::{self, Numbers, Seeded};
use crate::devices;
use crate::doubt::{self, Doubt};
use crate::metrics;
use crate::missing;
use crate::reading::{Reading, read};
use crate::side::Side;
use crate::words;
use anyhow::Result;
use base::claim::SEED;
use base::hash::Key;
use base::rows::{Measured, Metric};
use base::stats::{self, crossed::Values};
use engine::graph::changes::Reason;
use engine::graph::changes::changes;
use engine::kind::{Kind, Written};
use engine::store::Store;
use engine::store::record::Record;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A node that measures, on both sides.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evaluation {
    pub node: String,
    /// Its name on the other side.
    pub against_node: String,
    /// Why nothing is compared.
    pub refused: Option<String>,
    /// Both sides have one artifact: there is nothing to compare.
    pub one_artifact: bool,
    /// That one artifact stands on a side of all seeds.
    #[serde(skip)]
    pub shared: Option<String>,
    /// That both sides were computed under different numerics.
    #[serde(skip)]
    pub numerics: Option<String>,
    /// That answers have no verdict, so that no rate counts them.
    #[serde(skip)]
    pub unjudged: Option<String>,
    /// That responses were left out, so that no rate counts them.
    #[serde(skip)]
    pub dropped: Option<String>,
    /// Pairs of trainings that were compared.
    pub seeds: usize,
    /// What there is to be said of seeds that are not among them.
    pub notes: Vec<String>,
    pub metrics: Vec<Compared>,
    /// That much of the answers of a side cannot be read or has no verdict.
    pub warnings: Vec<String>,
    /// Why no side has metrics that are asked for, or those of the headline, though it could: nothing behind them has a verdict.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub without: BTreeMap<String, String>,
    /// All metrics that were found, also where nothing was compared.
    #[serde(skip)]
    pub known: BTreeSet<String>,
}

/// One metric.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub metric: String,
    pub label: String,
    pub unit: String,
    /// Why it is not compared; then there are no numbers.
    pub refused: Option<String>,
    /// Of the answers behind it, where it is a rate: means over seeds.
    pub beside: Option<Sided>,
    /// What is of no use of the answers behind a metric of any kind, where it can be told.
    #[serde(skip)]
    pub behind: [Option<Beside>; 2],
    #[serde(flatten)]
    pub numbers: Option<Numbers>,
}

/// Compares a node of the first sides with one of the second. `only`: these metrics; empty: all.
pub fn evaluation(
    store: &Store,
    sides: &[(&Side, &Side)],
    (node, against): (&str, &str),
    only: &[String],
) -> Result<Evaluation> {
    let mut out = Evaluation {
        node: node.into(),
        against_node: against.into(),
        ..Evaluation::default()
    };
    let mut readings = vec![];
    let mut seen = BTreeSet::new();
    let mut same = 0;
    let mut lacking: Vec<(&Side, &str)> = vec![];
    for (a, b) in sides {
        let found = (a.record(node), b.record(against));
        let (Some(one), Some(two)) = found else {
            let lack = [
                found.0.is_none().then_some((*a, node)),
                found.1.is_none().then_some((*b, against)),
            ];
            for (side, node) in lack.into_iter().flatten() {
                let same = |(s, n): &(&Side, &str)| std::ptr::eq(*s, side) && *n == node;
                if !lacking.iter().any(same) {
                    lacking.push((side, node));
                }
            }
            continue;
        };
        // What does not hang on the seed is no repetition.
        if !seen.insert((&one.key, &two.key)) {
            continue;
        }
        same += usize::from(one.key == two.key);
        readings.push((a.seed(), (one, read(store, one)?), (two, read(store, two)?)));
    }
    let all = readings
        .iter()
        .flat_map(|(_, a, b)| a.1.metrics.iter().chain(&b.1.metrics));
    out.known = all.map(|m| m.name.clone()).collect();
    out.seeds = readings.len();
    out.notes = missing::lines(&lacking);
    if readings.is_empty() {
        out.refused = Some(out.notes.join("; "));
        out.notes.clear();
        return Ok(out);
    }
    let kind = sides.first().and_then(|(a, _)| a.kind(node));
    let of_kind = kind.unwrap_or(&Kind::DEFAULTS);
    let mut each = readings.iter();
    let why = each.find_map(|(_, a, b)| incomparable(of_kind, (a.0, &a.1), (b.0, &b.1)));
    if let Some(why) = why {
        out.refused = Some(why);
        return Ok(out);
    }
    out.one_artifact = same == readings.len();
    let of = |node: &str, side: &Side| format!("`{node}` of `{}`", side.label_without(SEED));
    let (a, b) = sides[0];
    let of_one = [
        single(&of(node, a), readings.iter().map(|(_, a, _)| &a.0.key)),
        single(&of(against, b), readings.iter().map(|(_, _, b)| &b.0.key)),
    ];
    if !out.one_artifact && readings.len() > 1 {
        out.shared = of_one.into_iter().flatten().next();
    }
    let pairs: Vec<Sides> = readings
        .iter()
        .map(|(seed, (_, a), (_, b))| (*seed, a, b))
        .collect();
    let firsts = beside::over_seeds(pairs.iter().map(|p| p.1.metrics.as_slice()));
    let seconds = beside::over_seeds(pairs.iter().map(|p| p.2.metrics.as_slice()));
    let both = beside::over_seeds([firsts.as_slice(), seconds.as_slice()]);
    let wanted: Vec<&str> = match only.is_empty() {
        true => metrics::HEADLINE.to_vec(),
        false => only.iter().map(String::as_str).collect(),
    };
    for name in wanted.into_iter().filter(|name| !out.known.contains(*name)) {
        let why = doubt::without(kind, name, &both);
        out.without.extend(why.map(|why| (name.to_string(), why)));
    }
    let doubts = doubts([node, against], sides, [&firsts, &seconds]);
    let told = doubts
        .each_ref()
        .map(|doubt| doubt.as_ref().is_some_and(Doubt::of_unjudged));
    out.warnings = doubt::warnings(doubts.into_iter().flatten());
    if !out.one_artifact {
        let lacks = [(of(node, a), &firsts), (of(against, b), &seconds)];
        out.unjudged = unjudged(&lacks, [false; 2]);
        out.warnings.extend(unjudged(&lacks, told));
        out.dropped = dropped(&lacks);
        out.warnings.extend(out.dropped.clone());
    }
    out.warnings.extend(out.shared.clone());
    out.numerics = devices::apart(
        (&of(node, a), &under(sides.iter().map(|(a, _)| (*a, node)))),
        (
            &of(against, b),
            &under(sides.iter().map(|(_, b)| (*b, against))),
        ),
    );
    out.warnings.extend(out.numerics.clone());
    for name in order(&pairs) {
        if only.is_empty() || only.iter().any(|n| n == name) {
            let means = [firsts.as_slice(), seconds.as_slice()];
            out.metrics.push(compared(kind, name, &pairs, means));
        }
    }
    Ok(out)
}

/// The numerics of all that stands on a side.
fn under<'a>(nodes: impl Iterator<Item = (&'a Side, &'a str)>) -> devices::Numerics {
    nodes
        .flat_map(|(side, node)| devices::numerics(side, node))
        .collect()
}

/// What judges said nothing readable of, where that was anything of a side, and what becomes of it; the share of a side that is `told` is
/// not said again.
fn unjudged(sides: &[(String, &Vec<Metric>); 2], told: [bool; 2]) -> Option<String> {
    const THEN: &str = "rates are compared where both sides have a verdict";
    let lacking = sides.iter().zip(told).filter_map(|((of, metrics), told)| {
        let share = beside::some(beside::unjudged(metrics))?;
        Some((told, (share, format!("the answers of {of}"))))
    });
    let (told, open): (Vec<_>, Vec<_>) = lacking.partition(|(told, _)| *told);
    // Where nothing of a side has a verdict nothing is compared.
    let mut whole = sides.iter().map(|(_, m)| beside::unjudged(m) >= Some(1.0));
    let then = !whole.any(|whole| whole);
    let open: Vec<(f64, String)> = open.into_iter().map(|(_, share)| share).collect();
    match (told.is_empty(), open.is_empty()) {
        (true, true) => None,
        (false, true) => then.then(|| THEN.into()),
        (_, false) if !then => Some(doubt::unjudged(&open)),
        (_, false) => Some(format!("{}: {THEN}", doubt::unjudged(&open))),
    }
}

/// What of a side nobody gave, where that was anything, and what becomes of it.
fn dropped(sides: &[(String, &Vec<Metric>); 2]) -> Option<String> {
    let each = sides.iter().filter_map(|(of, metrics)| {
        let share = beside::some(beside::dropped(metrics))?;
        Some((share, format!("the responses of {of}")))
    });
    let each: Vec<(f64, String)> = each.collect();
    let told = doubt::dropped(&each);
    (!each.is_empty()).then(|| format!("{told}: rates are compared where both sides have some"))
}

/// That one artifact stands on a side of every pair, so that pairs are no seeds of that side.
fn single<'k>(what: &str, mut keys: impl Iterator<Item = &'k Key>) -> Option<String> {
    let first = keys.next()?;
    keys.all(|k| k == first).then(|| {
        format!(
            "every seed is compared with one artifact of {what}: the interval says nothing about the noise of that training"
        )
    })
}

/// That much cannot be read or has no verdict, of each side. `all`: the variants that are compared, at least one pair.
fn doubts(
    nodes: [&str; 2],
    all: &[(&Side, &Side)],
    measured: [&[Metric]; 2],
) -> [Option<Doubt>; 2] {
    let (a, b) = all[0];
    let labels = [a, b].map(|side| side.label_without(SEED));
    let of = match labels[0] == labels[1] {
        true => ["the first side".to_string(), "the second side".to_string()],
        false => labels.map(|label| format!("`{label}`")),
    };
    let doubt = |side: usize| {
        let what = format!("`{}` of {}", nodes[side], of[side]);
        Doubt::of(&what, measured[side])
    };
    [doubt(0), doubt(1)]
}

/// A seed and what both sides measured.
type Sides<'a> = (Option<&'a str>, &'a Reading, &'a Reading);

/// Why these numbers of two records of a kind are not measured in the same way: by another judge, say.
pub fn otherwise(kind: &Kind, of: Written, a: &Record, b: &Record) -> Option<String> {
    let apart: Vec<String> = changes(&a.manifest, &b.manifest)
        .iter()
        .filter(|r| match r {
            Reason::Input { port, .. } => kind.judges_with(port),
            Reason::Output { .. } => false,
            Reason::Param { name, .. } | Reason::Source { name } => kind.is_measured_by(of, name),
            _ => true,
        })
        .map(words::reason)
        .collect();
    (!apart.is_empty()).then(|| format!("not measured in the same way: {}", apart.join("; ")))
}

/// What stands beside others of its node, all seeds together.
pub struct Shown<'a> {
    pub node: &'a str,
    /// As messages call it.
    pub name: String,
    pub kind: &'static Kind,
    /// Under its seed, where there are seeds.
    pub records: Vec<(Option<&'a str>, &'a Record)>,
}

impl<'a> Shown<'a> {
    /// Under this seed; what knows no seeds agrees with any.
    fn at(&self, seed: Option<&str>) -> Option<&'a Record> {
        let agrees = |own: Option<&str>| own.is_none() || seed.is_none() || own == seed;
        let found = self.records.iter().find(|(own, _)| agrees(*own));
        found.map(|(_, record)| *record)
    }
}

/// What is to be said of several that stand beside each other: of those of one node the first two of which these numbers are not
/// measured in the same way. Two are held against each other under a seed that both have, since other seeds are no other way.
pub fn beside_each_other<'a>(of: Written, all: impl IntoIterator<Item = Shown<'a>>) -> Vec<String> {
    // Of each node as many as have its seeds between them; and whether something was said of it.
    let mut nodes: Vec<(Vec<Shown>, bool)> = vec![];
    let mut told = vec![];
    for one in all {
        let same = |(firsts, _): &&mut (Vec<Shown>, bool)| {
            firsts[0].node == one.node && firsts[0].kind.name == one.kind.name
        };
        let Some((firsts, said)) = nodes.iter_mut().find(same) else {
            nodes.push((vec![one], false));
            continue;
        };
        let against = |first: &Shown| {
            let mut each = one.records.iter();
            let (record, own) = each.find_map(|(seed, own)| Some((first.at(*seed)?, own)))?;
            let why = otherwise(one.kind, of, record, own)?;
            Some(format!("{} and {} are {why}", first.name, one.name))
        };
        if !*said {
            let found = firsts.iter().find_map(against);
            *said = found.is_some();
            told.extend(found);
        }
        let known = |seed: Option<&str>| firsts.iter().any(|first| first.at(seed).is_some());
        if one.records.iter().any(|(seed, _)| !known(*seed)) {
            firsts.push(one);
        }
    }
    told
}

/// Why two records do not measure the same: another judge, other prompts, no values.
pub fn incomparable(kind: &Kind, a: (&Record, &Reading), b: (&Record, &Reading)) -> Option<String> {
    if a.0.key == b.0.key {
        return None;
    }
    if let found @ Some(_) = otherwise(kind, Written::Metrics, a.0, b.0) {
        return found;
    }
    let (Some(one), Some(two)) = (&a.1.values, &b.1.values) else {
        return Some("the values behind the metrics were not kept, so nothing pairs".into());
    };
    let prompts = |rows: &[Measured]| -> BTreeSet<(String, String)> {
        let pair = |r: &Measured| (r.id.clone(), r.fingerprint.clone());
        rows.iter().map(pair).collect()
    };
    let (one, two) = (prompts(one), prompts(two));
    let equal = one.intersection(&two).count();
    (one != two).then(|| {
        format!(
            "not measured on the same prompts: {equal} are the same, of {} and {}",
            one.len(),
            two.len()
        )
    })
}

/// Metrics in their own order; what only a second side has comes last.
fn order<'a>(pairs: &[Sides<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = vec![];
    let firsts = pairs.iter().map(|p| p.1);
    for reading in firsts.chain(pairs.iter().map(|p| p.2)) {
        for metric in &reading.metrics {
            if !names.contains(&metric.name.as_str()) {
                let at = metrics::numbered(&metric.name, names.iter().copied());
                names.insert(at.unwrap_or(names.len()), &metric.name);
            }
        }
    }
    names
}

/// `means`: of both sides over seeds.
fn compared(kind: Option<&Kind>, name: &str, pairs: &[Sides], means: [&[Metric]; 2]) -> Compared {
    let unit = pairs
        .iter()
        .find_map(|(_, a, b)| a.metric(name).or_else(|| b.metric(name)));
    let unit = unit.map_or_else(String::new, |m| m.unit.clone());
    let mut out = Compared {
        metric: name.into(),
        label: kind.map_or_else(|| name.into(), |kind| kind.label(name)),
        unit: unit.clone(),
        refused: None,
        beside: Sided::of(name, means[0], means[1]),
        behind: means.map(|m| beside::behind(name, m)),
        numbers: None,
    };
    let mut each = vec![];
    for (seed, a, b) in pairs {
        let refused = match (a.metric(name), b.metric(name)) {
            (Some(x), Some(y)) if x.unit == unit && y.unit == unit => None,
            (Some(x), Some(y)) => Some(format!("other units: {} and {}", x.unit, y.unit)),
            (Some(_), None) => Some(format!(
                "only one side measures it{}",
                unscored(kind, name, b)
            )),
            (None, _) => Some(format!(
                "only one side measures it{}",
                unscored(kind, name, a)
            )),
        };
        let values = match refused {
            None => paired_values(name, a, b),
            Some(why) => Err(why),
        };
        match values {
            Ok((first, second)) => each.push(Seeded {
                seed: seed.map(String::from),
                first,
                second,
            }),
            Err(why) => {
                let of = seed.map_or(String::new(), |s| format!(" (seed {s})"));
                out.refused = Some(why + &of);
                return out;
            }
        }
    }
    out.numbers = numbers::paired(&unit, &each);
    let read = |side: usize| {
        let both = pairs.iter().zip(&each);
        let shares = both.map(|((_, a, b), of)| [a, b][side].unreadable(name, &of.first));
        let shares: Option<Vec<f64>> = shares.collect();
        stats::mean(&shares?)
    };
    let left_out = |(_, a, b): &Sides| {
        let n = |r: &Reading| r.metric(name).map(|m| m.n);
        n(a).into_iter()
            .chain(n(b))
            .any(|n| each.iter().any(|of| of.first.len() < n))
    };
    if pairs.iter().any(left_out) {
        out.of_pairs([read(0), read(1)]);
    }
    out
}

impl Compared {
    /// Where some prompts are in no pair, that what cannot be read is of those which are.
    fn of_pairs(&mut self, unreadable: [Option<f64>; 2]) {
        let own = |side: usize, b: &mut Beside| {
            b.unreadable = b.unreadable.and(unreadable[side]).or(b.unreadable);
        };
        for (side, behind) in self.behind.iter_mut().enumerate() {
            behind.iter_mut().for_each(|b| own(side, b));
        }
        if let Some(sided) = &mut self.beside {
            own(0, &mut sided.first);
            own(1, &mut sided.second);
        }
    }
}

/// Of whoever does not measure a metric: that nobody judged what it is of.
fn unscored(kind: Option<&Kind>, name: &str, lacks: &Reading) -> String {
    let why = doubt::without(kind, name, &lacks.metrics);
    why.map_or(String::new(), |why| format!("; on the other side {why}"))
}

/// The values of both sides by prompt; the same prompts on both. One that has no verdict on a side is compared with nothing.
fn paired_values(name: &str, a: &Reading, b: &Reading) -> Result<(Values, Values), String> {
    let (mut first, mut second) = (a.behind(name)?, b.behind(name)?);
    let all = [first.len(), second.len()];
    let (of_first, of_second) = (a.unjudged(), b.unjudged());
    second.retain(|id, _| first.contains_key(id) || !of_first.contains(id));
    first.retain(|id, _| second.contains_key(id) || !of_second.contains(id));
    let both = first.keys().filter(|id| second.contains_key(*id)).count();
    if both != first.len() || both != second.len() {
        return Err(format!(
            "not measured on the same prompts: {both} are the same, of {} and {}",
            all[0], all[1]
        ));
    }
    match both {
        0 => Err("no prompt has a readable verdict on both sides".into()),
        _ => Ok((first, second)),
    }
}
