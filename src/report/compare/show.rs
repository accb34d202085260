//! A comparison for reading: what was changed, what came of it and whether that is more than noise, what it cost.

use crate::beside::{self, Beside};
use crate::compare::measures::{Compared, Evaluation};
use crate::compare::numbers::Numbers;
use crate::compare::structure::{Change, Lone, Structure};
use crate::compare::{Comparison, spent};
use crate::page::Page;
use crate::reading::Over;
use crate::table::{Table, left, right};
use crate::verdicts::show::p_value;
use crate::{metrics, words};
use base::text::count;
use std::collections::BTreeSet;

/// More seeds than this are not shown one by one.
const NAMED_SEEDS: usize = 5;

/// From so many measures on, some are expected to stand out by chance.
const MANY: usize = 10;

/// Which metrics are shown; the others are counted.
pub enum Shown {
    All,
    /// Those of the headline, and these.
    Main(BTreeSet<String>),
    Only(BTreeSet<String>),
}

impl Shown {
    fn has(&self, metric: &str) -> bool {
        match self {
            Shown::All => true,
            Shown::Only(named) => named.contains(metric),
            Shown::Main(named) => metrics::main(metric) || named.contains(metric),
        }
    }

    /// Something of what an evaluation measured, or nobody knows what it measured.
    fn any(&self, e: &Evaluation) -> bool {
        match (&e.refused, e.known.is_empty()) {
            (Some(_), true) => true,
            (Some(_), false) => e.known.iter().any(|name| self.has(name)),
            (None, _) => {
                let names = e.metrics.iter().map(|m| &m.metric);
                names.chain(e.without.keys()).any(|name| self.has(name))
            }
        }
    }
}

pub fn page(c: &Comparison, shown: &Shown) -> Page {
    // Where nothing of the headline was measured, what was is all there is to show.
    let differing = || c.evaluations.iter().filter(|e| !e.one_artifact);
    let shown = match shown {
        Shown::Main(_) if !differing().any(|e| shown.any(e)) => &Shown::All,
        shown => shown,
    };
    let mut page = Page::default();
    let (first, second) = heads(c);
    // The same recipe twice needs no names for its sides.
    page.head(match c.same && first == "first" {
        true => title(c, &c.first.label, &c.second.label),
        false => title(c, &first, &second),
    });
    if !c.alone.is_empty() {
        let alone = c.alone.join("; ");
        page.line(format!("without a partner on the other side: {alone}"));
    }
    if c.same {
        page.line(match c.alone.is_empty() {
            true => "nothing differs",
            false => "nothing else differs",
        });
        return page;
    }
    changed(&mut page, &c.structure, (&first, &second));
    let mut left = Left::default();
    for evaluation in differing() {
        let (own, others): (Vec<_>, Vec<_>) = evaluation
            .metrics
            .iter()
            .cloned()
            .partition(|m| shown.has(&m.metric));
        // A node without a metric that is shown has nothing to stand under its name, but for lack of verdicts.
        let heading =
            evaluation.refused.is_some() || !own.is_empty() || !evaluation.without.is_empty();
        if heading && shown.any(evaluation) {
            let evaluation = Evaluation {
                metrics: own,
                ..evaluation.clone()
            };
            measured(&mut page, &evaluation, (&first, &second));
        } else if evaluation.refused.is_some() {
            left.refused.push(&evaluation.node);
        }
        left.metrics += others.iter().filter(|m| says(m)).count();
    }
    if matches!(shown, Shown::Main(_)) {
        left.told(&mut page);
    }
    unmeasured(&mut page, c);
    spent::told(&mut page, c, (&first, &second));
    page
}

/// What is not shown where nobody asked for all.
#[derive(Default)]
struct Left<'a> {
    metrics: usize,
    /// Evaluations that are not compared.
    refused: Vec<&'a str>,
}

impl Left<'_> {
    fn told(&self, page: &mut Page) {
        if self.metrics > 0 {
            let metrics = count(self.metrics as u64, "more metric", "more metrics");
            page.line(format!("{metrics}: `--all`"));
        }
        if !self.refused.is_empty() {
            let refused = self.refused.join(", ");
            page.line(format!(
                "not compared, and of other metrics: {refused}: `--all`"
            ));
        }
    }
}

/// Whether a metric has anything to say: numbers that are not idle, or why it has none.
fn says(metric: &Compared) -> bool {
    let idle = |n: &Numbers| metrics::idle(&metric.metric, [n.first, n.second].into_iter());
    match &metric.numbers {
        Some(numbers) => !idle(numbers),
        None => metric.refused.is_some(),
    }
}

fn title(c: &Comparison, first: &str, second: &str) -> String {
    let seeds = match c.pairs.len() {
        1 => String::new(),
        n => format!(", {n} seeds"),
    };
    let axes: String = c.axes.iter().map(|(a, v)| format!(", {a}={v}")).collect();
    format!("{first} -> {second}{axes}{seeds}")
}

/// What the sides are called: as short as tells them apart.
fn heads(c: &Comparison) -> (String, String) {
    let (a, b) = (&c.first, &c.second);
    let last = |file: &str| file.rsplit('/').next().unwrap_or_default().to_string();
    let pairs = [
        (a.recipe.clone(), b.recipe.clone()),
        (a.label.clone(), b.label.clone()),
        c.pairs[0].clone(),
        (last(&a.file), last(&b.file)),
        (a.file.clone(), b.file.clone()),
    ];
    let found = pairs.into_iter().find(|(x, y)| x != y);
    found.unwrap_or(("first".into(), "second".into()))
}

/// What differs by itself: a line a node that both have, and the nodes that one of them has alone.
pub fn differences(s: &Structure, (first, second): (&str, &str)) -> Vec<String> {
    let changed = s.changed.iter().map(|node| {
        let changes: Vec<String> = node.changes.iter().map(change).collect();
        format!("{} ({}): {}", node.node, node.kind, changes.join("; "))
    });
    let sides = [(first, &s.only_first), (second, &s.only_second)].into_iter();
    let alone = sides.filter(|(_, nodes)| !nodes.is_empty());
    let alone = alone.map(|(name, nodes)| {
        let nodes: Vec<String> = nodes.iter().map(lone).collect();
        format!("only in {name}: {}", nodes.join(", "))
    });
    changed.chain(alone).collect()
}

fn changed(page: &mut Page, s: &Structure, (first, second): (&str, &str)) {
    let vouched = s.vouched.iter().any(|nodes| !nodes.is_empty());
    // Two nodes of one recipe are compared.
    if s.same() && !vouched {
        return;
    }
    page.head("changed");
    for line in differences(s, (first, second)) {
        page.item(line);
    }
    for (name, nodes) in [first, second].into_iter().zip(&s.vouched) {
        for (node, vouched) in nodes {
            page.item(format!("in {name}, {node} was {}", words::vouched(vouched)));
        }
    }
    if let Some(at) = &s.parts_at {
        let below = match s.below.is_empty() {
            true => String::new(),
            false => format!("; below, with other inputs only: {}", s.below.join(", ")),
        };
        page.line(format!("they part at {at}{below}"));
    } else if !s.below.is_empty() {
        let below = s.below.join(", ");
        page.line(format!("the same recipe, other artifacts: {below}"));
    }
}

fn change(change: &Change) -> String {
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
    match (&change.first, &change.second) {
        (None, None) => change.what.clone(),
        (first, second) => format!("{}: {} -> {}", change.what, side(first), side(second)),
    }
}

fn lone(node: &Lone) -> String {
    match &node.same_as {
        Some(other) => format!("{} (the artifact of {other})", node.node),
        None => format!("{} ({})", node.node, node.kind),
    }
}

fn measured(page: &mut Page, e: &Evaluation, (first, second): (&str, &str)) {
    page.head(match e.node == e.against_node {
        true => e.node.clone(),
        false => format!("{} -> {}", e.node, e.against_node),
    });
    if let Some(why) = &e.refused {
        page.line(format!("not compared: {why}"));
        return;
    }
    for note in &e.notes {
        page.line(format!("left out: {note}"));
    }
    if let Some(line) = uncertainty(e) {
        page.line(line);
    }
    let tested = e.metrics.iter().filter_map(|m| m.numbers.as_ref());
    let tested = tested.into_iter().any(|n| n.p.is_some());
    let mut columns = vec![left("measure"), right("pairs"), right(first), right(second)];
    columns.extend([right("difference [95 %]"), left("")]);
    if tested {
        columns.push(right("p"));
    }
    let wide = columns.len();
    let mut table = Table::new(columns);
    let said = e.metrics.iter().filter(|m| says(m));
    let shown: Vec<(&Compared, &Numbers)> = said
        .filter_map(|m| Some((m, m.numbers.as_ref()?)))
        .collect();
    for (i, (metric, numbers)) in shown.iter().enumerate() {
        let mut cells = row(metric, numbers);
        if tested {
            cells.push(numbers.p.map_or(String::new(), p_value));
        }
        table.push(cells);
        let next = shown.get(i + 1).map(|(m, _)| sided(m));
        let next = next.as_ref().map(|next| next.as_slice());
        if let Some((label, shares)) = beside::line(&sided(metric), next) {
            let mut cells = vec![label, String::new()];
            cells.extend(shares);
            cells.resize(wide, String::new());
            table.push(cells);
        }
    }
    page.table(table);
    for warning in &e.warnings {
        page.line(format!("warning: {warning}"));
    }
    let several = shown.iter().filter(|(_, n)| n.p.is_some()).count();
    if several >= MANY {
        page.line(format!(
            "{several} measures with a p: by chance alone about one in twenty is not within noise"
        ));
    }
    seeds(page, e);
    for metric in &e.metrics {
        if let Some(why) = &metric.refused {
            page.item(format!("{}: not compared: {why}", metric.label));
        }
    }
    for (metric, why) in &e.without {
        page.item(format!("{metric}: not compared: {why}"));
    }
}

/// What stands beside a metric, first and second.
fn sided(metric: &Compared) -> [Option<Beside>; 2] {
    let beside = metric.beside;
    [beside.map(|b| b.first), beside.map(|b| b.second)]
}

/// What the intervals are over.
fn uncertainty(e: &Evaluation) -> Option<String> {
    let numbers = e.metrics.iter().find_map(|m| m.numbers.as_ref())?;
    Some(match numbers.over {
        Over::Prompts => {
            "one seed: intervals and p are over prompts, in pairs, and say nothing about training noise".into()
        }
        Over::Both => {
            let uneven = |n: &Numbers| n.each.iter().any(|each| each.pairs != n.pairs);
            let some = e.metrics.iter().filter_map(|m| m.numbers.as_ref()).any(uneven);
            let fewest = match some {
                true => "; seeds count alike, and pairs are those of the seed that has fewest",
                false => "",
            };
            format!("intervals and p are over {} seeds and their prompts, in pairs{fewest}", e.seeds)
        }
    })
}

fn row(metric: &Compared, n: &Numbers) -> Vec<String> {
    let value = |x: f64| metrics::one(&metric.unit, x);
    vec![
        metric.label.clone(),
        n.pairs.to_string(),
        value(n.first),
        value(n.second),
        metrics::difference(&metric.unit, n.difference, n.interval),
        word(n).to_string(),
    ]
}

/// Whether a difference is more than noise.
fn word(n: &Numbers) -> &'static str {
    match (n.clear(), n.difference > 0.0, n.interval) {
        (true, true, _) => "higher",
        (true, false, _) => "lower",
        (false, _, Some(_)) => "within noise",
        (false, _, None) if n.difference == 0.0 => "no pair differs",
        (false, _, None) => "noise not known",
    }
}

/// The headline metrics seed by seed, each with its own interval over prompts.
fn seeds(page: &mut Page, e: &Evaluation) {
    let several = |m: &&Compared| m.numbers.as_ref().is_some_and(|n| n.each.len() > 1);
    let shown: Vec<&Compared> = e.metrics.iter().filter(several).collect();
    let headline = shown
        .iter()
        .filter(|m| metrics::HEADLINE.contains(&m.metric.as_str()));
    let mut chosen: Vec<&&Compared> = headline.collect();
    if chosen.is_empty() {
        chosen = shown.iter().take(metrics::HEADLINE.len()).collect();
    }
    for metric in chosen {
        let numbers = metric.numbers.as_ref().expect("chosen for its numbers");
        let each = numbers.each.iter().take(NAMED_SEEDS).map(|one| {
            let seed = one.seed.as_deref().unwrap_or("?");
            let difference = metrics::difference(&metric.unit, one.difference, one.interval);
            format!("{seed}: {difference}")
        });
        let each: Vec<String> = each.collect();
        let more = match numbers.each.len().saturating_sub(NAMED_SEEDS) {
            0 => String::new(),
            n => format!("; {n} more"),
        };
        page.item(format!(
            "{}, by seed, over prompts: {}{more}",
            metric.label,
            each.join("; ")
        ));
    }
}

/// Evaluations that say nothing here, and why.
fn unmeasured(page: &mut Page, c: &Comparison) {
    let one: Vec<&str> = c
        .evaluations
        .iter()
        .filter(|e| e.one_artifact)
        .map(|e| e.node.as_str())
        .collect();
    if !one.is_empty() {
        page.line(format!("one artifact on both sides: {}", one.join(", ")));
    }
    if !c.lone_evaluations.is_empty() {
        page.line(format!(
            "without a partner of their name: {} (`--pair A=B` compares two)",
            c.lone_evaluations.join(", ")
        ));
    }
}
