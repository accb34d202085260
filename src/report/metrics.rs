//! Metrics for people: values with their intervals, and which of them stand on one line. What they are called is said by the kinds
//! that write them.

use anyhow::Result;
use base::diag::{Diag, Diags};
use base::rows::{Metric, PromptClass};
use base::stats::crossed::Range;
use base::text::{did_you_mean, nearest};
use engine::kind::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Shares that are neither defense nor compliance, and their classes.
pub const UNREADABLE: &str = "unreadable";
/// The share of answers that a judge said nothing readable of.
pub const UNSCORABLE: &str = "unscorable";
/// The share of responses that were asked for and left out, since nobody gave them.
pub const DROPPED: &str = "dropped";
/// The share of prompts that have too few tries for a rate.
pub const SHORT: &str = "short";
/// Shares of what the responses came to.
pub const OUTCOME: &str = "outcome";

/// What a study of safety is read by: shown where nobody asks for other metrics.
pub const HEADLINE: [&str; 2] = ["defense", "compliance"];

/// What is shown where there is room for little: the headline, and the refusals of each class of prompts.
pub fn main(metric: &str) -> bool {
    let class = metric.strip_prefix("refusal/");
    HEADLINE.contains(&metric) || class.is_some_and(|class| !class.contains('/'))
}

const BEFORE: &str = "/before";
const AFTER: &str = "/after";

/// `43.0 % [37.4, 48.7]`, `17.5 [17.4, 17.6]`; the interval without what no value can be, whoever wrote it.
pub fn value(metric: &Metric) -> String {
    let interval = metric.interval.map(|i| Range::of(&metric.unit).within(i));
    with_interval(&metric.unit, metric.value, interval, "%", number)
}

/// `-3.3 points [-6.1, -0.5]`, `+1.5 [+1.4, +1.6]`: what one value has more than another.
pub fn difference(unit: &str, difference: f64, interval: Option<(f64, f64)>) -> String {
    with_interval(unit, difference, interval, "points", signed)
}

/// A value alone: `43.0 %`, `17.5`.
pub fn one(unit: &str, value: f64) -> String {
    with_interval(unit, value, None, "%", number)
}

fn with_interval(
    unit: &str,
    value: f64,
    interval: Option<(f64, f64)>,
    share: &str,
    number: impl Fn(&str, f64) -> String,
) -> String {
    let word = match unit {
        "share" => format!(" {share}"),
        _ => String::new(),
    };
    let interval = interval.map_or(String::new(), |(low, high)| {
        format!(" [{}, {}]", number(unit, low), number(unit, high))
    });
    format!("{}{word}{interval}", number(unit, value))
}

/// A number in the unit's usual digits; a share in percent.
pub fn number(unit: &str, x: f64) -> String {
    match unit {
        "share" => format!("{:.1}", x * 100.0),
        "words" => format!("{x:.1}"),
        "prompts" if x.fract() == 0.0 => format!("{x}"),
        _ if x != 0.0 && x.abs() < 1e-3 => format!("{x:.2e}"),
        _ => format!("{x:.3}"),
    }
}

/// A number in the unit's usual digits, with its sign; what rounds to nothing has none.
fn signed(unit: &str, x: f64) -> String {
    let text = number(unit, x);
    let nothing = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
    match (nothing, x > 0.0) {
        (true, _) => text.trim_start_matches('-').into(),
        (false, true) => format!("+{text}"),
        (false, false) => text,
    }
}

/// What is measured, and its value in every column that has it.
pub struct Row<'a> {
    /// Without `/before` and `/after`, where it is one row.
    pub name: String,
    pub label: String,
    pub cells: Vec<Option<Cell<'a>>>,
}

/// One value; or two, where something was measured before and after.
pub struct Cell<'a> {
    pub before: Option<&'a Metric>,
    pub metric: &'a Metric,
}

impl Cell<'_> {
    pub fn n(&self) -> usize {
        self.metric.n
    }

    /// As in `0.312 [0.290, 0.334] -> 0.871 [0.850, 0.892]`.
    pub fn text(&self) -> String {
        match self.before {
            Some(before) => format!("{} -> {}", value(before), value(self.metric)),
            None => value(self.metric),
        }
    }
}

impl Row<'_> {
    /// Nothing in it says anything: a count of what did not happen in any column.
    pub fn idle(&self) -> bool {
        let values = self.cells.iter().flatten().map(|c| c.metric.value);
        idle(&self.name, values)
    }

    /// The n of all these columns, where they have the same.
    pub fn n(&self, columns: std::ops::Range<usize>) -> Option<usize> {
        let mut all = self.cells[columns].iter().flatten().map(Cell::n);
        let first = all.next()?;
        all.all(|n| n == first).then_some(first)
    }
}

/// Rows over columns of metrics, in the metrics' own order; what an earlier column lacks comes after what it follows, or among those
/// that differ from it in a number at the end, where that number belongs. `NAME/before…` and `NAME/after…` are one row. Beside each
/// column the kind that wrote it.
pub fn rows<'a>(columns: &[(&Kind, &'a [Metric])]) -> Vec<Row<'a>> {
    let mut order: Vec<(String, String)> = vec![];
    let mut found: BTreeMap<String, Vec<Option<Cell<'a>>>> = BTreeMap::new();
    for (i, (kind, metrics)) in columns.iter().enumerate() {
        let mut place = 0;
        for (name, cell) in metrics.iter().filter_map(|m| cell(m, metrics)) {
            match order.iter().position(|(known, _)| *known == name) {
                Some(at) => place = at + 1,
                None => {
                    let at = numbered(&name, order.iter().map(|(known, _)| known.as_str()))
                        .unwrap_or(place);
                    order.insert(at, (name.clone(), kind.label(&name)));
                    place = place.max(at) + 1;
                }
            }
            let cells = found
                .entry(name)
                .or_insert_with(|| columns.iter().map(|_| None).collect());
            cells[i] = Some(cell);
        }
    }
    order
        .into_iter()
        .map(|(name, label)| Row {
            cells: found
                .remove(&name)
                .expect("every name in the order was found"),
            name,
            label,
        })
        .collect()
}

/// The place of `lookups/4` after `lookups/3` and before `lookups/10`; none where no other has its name but for the number.
pub fn numbered<'a>(name: &str, order: impl Iterator<Item = &'a str>) -> Option<usize> {
    let parts = |name: &str| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        Some((name[..stem].to_string(), name[stem..].parse::<u64>().ok()?))
    };
    let (stem, number) = parts(name)?;
    let siblings = order.enumerate().filter_map(|(at, known)| {
        let (of, other) = parts(known)?;
        (of == stem).then_some((at, other))
    });
    let siblings: Vec<(usize, u64)> = siblings.collect();
    let before = siblings.iter().rfind(|(_, other)| *other < number);
    let after = || siblings.first().map(|(at, _)| *at);
    before.map(|(at, _)| at + 1).or_else(after)
}

/// The row a metric belongs to; none for a `before` that is shown with its `after`.
fn cell<'a>(metric: &'a Metric, all: &'a [Metric]) -> Option<(String, Cell<'a>)> {
    let named = |name: String| all.iter().find(|m| m.name == name);
    let name = &metric.name;
    if name.contains(BEFORE) && named(name.replacen(BEFORE, AFTER, 1)).is_some() {
        return None;
    }
    let before = match name.contains(AFTER) {
        true => named(name.replacen(AFTER, BEFORE, 1)),
        false => None,
    };
    let row = match before {
        Some(_) => name.replacen(AFTER, "", 1),
        None => name.clone(),
    };
    Some((row, Cell { before, metric }))
}

/// A share of no use (`UNREADABLE`, `UNSCORABLE`, `DROPPED`, `SHORT`) of the answers behind a rate or of a class, where it was measured of this very one.
pub fn beside_of(what: &str, of: &str) -> String {
    format!("{what}/{of}")
}

/// Whether a metric is one of `beside_of` a rate. The share of a class is not.
fn is_beside_a_rate(name: &str) -> bool {
    let mut words = name.split('/');
    let first = words.next();
    let beside = [UNREADABLE, UNSCORABLE, SHORT].map(Some);
    beside.contains(&first) && words.count() > 1
}

/// Whether a metric says nothing in a line of its own where all its values are these: no response came to this, or it stands beside
/// its rate, which there is if anything is left behind it.
pub fn idle(name: &str, mut values: impl Iterator<Item = f64>) -> bool {
    let first = name.split('/').next().unwrap_or(name);
    let of_class = |c: PromptClass| {
        [UNSCORABLE, DROPPED].map(|what| beside_of(what, c.word()) == name) != [false; 2]
    };
    match name {
        _ if is_beside_a_rate(name) => first == UNREADABLE || values.all(|x| x < 1.0),
        "outcome/answered" => values.all(|x| x == 1.0),
        _ if first == OUTCOME || first == UNREADABLE => values.all(|x| x == 0.0),
        _ if PromptClass::ALL.into_iter().any(of_class) => values.all(|x| x == 0.0),
        _ => false,
    }
}

/// An error for every metric that was asked for and is not among those that are there; none where none are. `why`: why one is not there
/// that could be.
pub fn unknown(
    all: &BTreeSet<&str>,
    asked: &[String],
    why: impl Fn(&str) -> Option<String>,
) -> Result<()> {
    let mut diags = Diags::default();
    for name in asked.iter().filter(|n| !all.contains(n.as_str())) {
        if all.is_empty() {
            break;
        }
        let message = format!("nothing here measures `{name}`");
        if let Some(why) = why(name) {
            diags.push(Diag::plain(format!("{message}: {why}")));
            continue;
        }
        let near = did_you_mean(name, all.iter().copied());
        let diag = Diag::plain(message);
        diags.push(match near {
            Some(_) => diag.suggest(near),
            None => diag.help(format!("there is {}", nearest(name, all.iter().copied()))),
        });
    }
    match diags.is_empty() {
        true => Ok(()),
        false => Err(diags.finish().into()),
    }
}
