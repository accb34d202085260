//! The table at the end of a study: every evaluate node a column, every measure a row; then what other nodes measured.
//! A reader of records.

use crate::base::rows::{self, Metric};
use crate::base::text::{bytes, duration};
use crate::engine::record::Record;
use crate::engine::store::Store;
use crate::report::table::{Table, left, right};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A node with a record, in graph order.
pub struct Item<'a> {
    pub node: &'a str,
    pub record: &'a Record,
    pub hit: bool,
}

/// The metrics that a record's outputs hold.
pub fn metrics(store: &Store, record: &Record) -> Result<Vec<Metric>> {
    let mut all = vec![];
    for artifact in record.outputs.values().filter(|a| a.ty == "metrics") {
        let blob = artifact.files.iter().find(|f| f.path == rows::METRICS);
        let blob = blob.with_context(|| {
            format!(
                "the metrics of `{}` have no {}",
                record.provenance.node,
                rows::METRICS
            )
        })?;
        let path = store.objects().path(&blob.digest);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        let parsed: rows::Metrics =
            serde_json::from_str(&text).context("failed to parse metrics")?;
        all.extend(parsed.metrics);
    }
    Ok(all)
}

/// What a reader calls a measure.
fn label(name: &str) -> String {
    let known = [
        ("defense/plain", "defense success, plain harmful"),
        ("defense/disguised", "defense success, disguised harmful"),
        ("compliance/harmless", "compliance, harmless"),
        ("compliance/ambiguous", "compliance, ambiguous"),
        ("compliance/harmful", "compliance, harmful"),
        ("refusal/harmful", "refusals, harmful"),
        ("refusal/harmless", "refusals, harmless"),
        ("refusal/ambiguous", "refusals, ambiguous"),
        ("well_formed", "well-formed think tags"),
        ("finished", "finished within the limit"),
    ];
    if let Some((_, text)) = known.iter().find(|(n, _)| *n == name) {
        return (*text).to_string();
    }
    if let Some(level) = name.strip_prefix("reasoning/difficulty_") {
        return format!("reasoning words, difficulty {level}");
    }
    if let Some(class) = name.strip_prefix("reasoning/") {
        return format!("reasoning words, {class}");
    }
    if let Some(kind) = name.strip_prefix("compliance/type/") {
        return format!("compliance, type {kind}");
    }
    name.to_string()
}

/// `43.0 % [37.4, 48.7]`, `17.5 [17.4, 17.6]`.
pub fn value(metric: &Metric) -> String {
    let share = metric.unit == "share";
    let number = |x: f64| match (share, metric.unit.as_str()) {
        (true, _) => format!("{:.1}", x * 100.0),
        (_, "words") => format!("{x:.1}"),
        _ if x != 0.0 && x.abs() < 1e-3 => format!("{x:.2e}"),
        _ => format!("{x:.3}"),
    };
    let unit = if share { " %" } else { "" };
    match metric.interval {
        Some((low, high)) => format!(
            "{}{unit} [{}, {}]",
            number(metric.value),
            number(low),
            number(high)
        ),
        None => format!("{}{unit}", number(metric.value)),
    }
}

/// The study's tables.
pub fn text(store: &Store, items: &[Item]) -> Result<String> {
    let mut out = String::new();
    let evals: Vec<(&str, Vec<Metric>)> = of_kind(store, items, "evaluate")?;
    if !evals.is_empty() {
        let mut columns = vec![left("measure [95 % interval]"), right("n")];
        columns.extend(
            evals
                .iter()
                .map(|(node, _)| right(node.strip_suffix("-eval").unwrap_or(node))),
        );
        let mut table = Table::new(columns);
        for name in names(&evals) {
            let of_node = |ms: &[Metric]| ms.iter().find(|m| m.name == name).cloned();
            let found: Vec<Option<Metric>> = evals.iter().map(|(_, ms)| of_node(ms)).collect();
            let counts: Vec<usize> = found.iter().flatten().map(|m| m.n).collect();
            let same = counts.iter().all(|n| *n == counts[0]);
            let mut cells = vec![
                label(&name),
                if same {
                    counts[0].to_string()
                } else {
                    "varies".into()
                },
            ];
            cells.extend(found.iter().map(|m| match m {
                Some(m) if same => value(m),
                Some(m) => format!("{} n={}", value(m), m.n),
                None => "-".into(),
            }));
            table.push(cells);
        }
        out += &table.render();
        out += "\n";
    }
    for item in items.iter().filter(|i| i.record.kind != "evaluate") {
        let shown: Vec<Metric> = metrics(store, item.record)?
            .into_iter()
            .filter(|m| m.interval.is_some())
            .collect();
        if shown.is_empty() {
            continue;
        }
        let mut table = Table::new([
            left(&format!("{} ({})", item.node, item.record.kind)),
            right("n"),
            right("value"),
        ]);
        for metric in &shown {
            table.push([metric.name.clone(), metric.n.to_string(), value(metric)]);
        }
        out += &table.render();
        out += "\n";
    }
    Ok(out)
}

/// Every node: ran or hit, how long, how much memory.
pub fn costs(items: &[Item]) -> String {
    let mut table = Table::new([
        left("node"),
        left("kind"),
        left(""),
        right("time"),
        right("cpu"),
        right("memory"),
    ]);
    for item in items {
        let cost = &item.record.cost;
        table.push([
            item.node.to_string(),
            item.record.kind.clone(),
            (if item.hit { "hit" } else { "ran" }).to_string(),
            duration(cost.seconds),
            duration(cost.cpu_seconds),
            bytes(cost.peak_bytes),
        ]);
    }
    table.render()
}

/// The same as data.
pub fn json(store: &Store, items: &[Item]) -> Result<Value> {
    let mut nodes = vec![];
    for item in items {
        nodes.push(json!({
            "node": item.node,
            "kind": item.record.kind,
            "key": item.record.key,
            "hit": item.hit,
            "cost": item.record.cost,
            "outputs": item.record.outputs,
            "metrics": metrics(store, item.record)?,
        }));
    }
    Ok(Value::Array(nodes))
}

fn of_kind<'a>(
    store: &Store,
    items: &[Item<'a>],
    kind: &str,
) -> Result<Vec<(&'a str, Vec<Metric>)>> {
    items
        .iter()
        .filter(|i| i.record.kind == kind)
        .map(|i| Ok((i.node, metrics(store, i.record)?)))
        .collect()
}

/// Names of all measures, in the order of first appearance.
fn names(evals: &[(&str, Vec<Metric>)]) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for metric in evals.iter().flat_map(|(_, ms)| ms) {
        if !names.contains(&metric.name) {
            names.push(metric.name.clone());
        }
    }
    names
}
