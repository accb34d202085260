//! Metrics for people: labels of the well-known ones, values with their intervals, and which rows belong together.
//! Knows metrics by their names, not who measured them.

use crate::base::rows::Metric;
use std::collections::BTreeMap;

/// Where a name stands before `/`, as in `defense/plain`, and what a reader sees instead.
const GROUPS: &[(&str, &str)] = &[
    ("defense/", "defense success"),
    ("compliance/type/", "compliance, type"),
    ("compliance/", "compliance"),
    ("refusal/", "refusals"),
    ("reasoning/difficulty_", "reasoning, difficulty"),
    ("reasoning/", "reasoning"),
    ("held_out_reward/", "held-out reward"),
    ("average/", "average of the samples"),
    ("best/", "best of the samples"),
];

/// Whole names.
const NAMES: &[(&str, &str)] = &[
    ("well_formed", "well-formed responses"),
    ("finished", "finished responses"),
    ("held_out_reward", "held-out reward, all"),
    ("kept", "traces kept"),
];

/// Asks of a metric that was measured before and after: `NAME/before`, `NAME/before/CLASS`.
const BEFORE: &str = "/before";
const AFTER: &str = "/after";

/// As in `defense success, plain`; a name without a label is shown as it is.
pub fn label(name: &str) -> String {
    if let Some((_, label)) = NAMES.iter().find(|(whole, _)| *whole == name) {
        return (*label).into();
    }
    for (prefix, label) in GROUPS {
        if let Some(rest) = name.strip_prefix(prefix) {
            return format!("{label}, {}", rest.replace(['/', '_'], " "));
        }
    }
    name.into()
}

/// As in `43.0 % [37.4, 48.7]` or `12.31 [11.02, 13.60] words`.
pub fn value(metric: &Metric) -> String {
    let share = metric.unit == "share";
    let number = |v: f64| match share {
        true => format!("{:.1}", v * 100.0),
        false => plain(v),
    };
    let unit = match metric.unit.as_str() {
        "share" => " %",
        _ => "",
    };
    let interval = metric
        .interval
        .map(|(low, high)| format!(" [{}, {}]", number(low), number(high)))
        .unwrap_or_default();
    format!("{}{unit}{interval}", number(metric.value))
}

/// Three significant digits or more, never an exponent for numbers of a usual size.
fn plain(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        a if !(1e-4..1e6).contains(&a) => format!("{v:.2e}"),
        a if a >= 1000.0 && v.fract() == 0.0 => format!("{v:.0}"),
        a if a >= 100.0 => format!("{v:.1}"),
        a if a >= 0.1 => format!("{v:.2}"),
        _ => format!("{v:.4}"),
    }
}

/// A line of a table: what is measured, and by column the value.
pub struct Row<'a> {
    pub label: String,
    pub unit: &'a str,
    pub cells: Vec<Option<Cell<'a>>>,
}

/// One value, or a pair from before to after.
pub struct Cell<'a> {
    pub before: Option<&'a Metric>,
    pub metric: &'a Metric,
}

impl Cell<'_> {
    pub fn text(&self) -> String {
        match self.before {
            Some(before) => format!("{} -> {}", value(before), value(self.metric)),
            None => value(self.metric),
        }
    }

    pub fn n(&self) -> usize {
        self.metric.n
    }
}

/// Lines over columns of metrics, in the metrics' own order; what only a later column has comes where it comes there.
pub fn rows<'a>(columns: &[&'a [Metric]]) -> Vec<Row<'a>> {
    let mut order: Vec<(String, &'a str)> = vec![];
    let mut found: BTreeMap<String, Vec<Option<Cell<'a>>>> = BTreeMap::new();
    for (i, metrics) in columns.iter().enumerate() {
        let mut place = 0;
        for metric in metrics.iter() {
            let Some((name, cell)) = cell(metric, metrics) else {
                continue;
            };
            match order.iter().position(|(known, _)| *known == name) {
                Some(at) => place = at + 1,
                None => {
                    order.insert(place, (name.clone(), &metric.unit));
                    place += 1;
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
        .map(|(name, unit)| Row {
            label: label(&name),
            unit,
            cells: found.remove(&name).expect("a name in the order was found"),
        })
        .collect()
}

/// The line a metric belongs to; nothing for a `before` that its `after` shows.
fn cell<'a>(metric: &'a Metric, all: &'a [Metric]) -> Option<(String, Cell<'a>)> {
    let of = |name: &str| all.iter().find(|m| m.name == name);
    let name = &metric.name;
    let alone = |before| Cell { before, metric };
    if name.contains(BEFORE) && of(&name.replacen(BEFORE, AFTER, 1)).is_some() {
        return None;
    }
    if name.contains(AFTER)
        && let Some(before) = of(&name.replacen(AFTER, BEFORE, 1))
    {
        return Some((name.replacen(AFTER, "", 1), alone(Some(before))));
    }
    Some((name.clone(), alone(None)))
}
