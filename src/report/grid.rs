//! Metrics of many recipes in one table: a row an evaluation, a column a metric, a mean over seeds in every cell. A
//! reader of records.

use crate::asked::{self, Head};
use crate::beside::{self, Beside};
use crate::compare::measures;
use crate::devices;
use crate::doubt::{self, Doubt};
use crate::metrics;
use crate::missing;
use crate::page::Page;
use crate::reading::{self, Over, Reading};
use crate::side::{self, Side};
use crate::table::{Table, left, right};
use anyhow::{Context, Result};
use base::claim::{Axes, SEED};
use base::hash::Key;
use engine::graph::Node;
use engine::kind::Kind;
use engine::store::Store;
use engine::store::record::Record;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Grid {
    pub metrics: Vec<Head>,
    pub rows: Vec<Row>,
    /// What has no artifact, and what makes it: a line a recipe.
    pub missing: Vec<String>,
    /// That rows were computed under different numerics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numerics: Option<String>,
    /// That rows of one node were not measured in the same way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<String>,
}

/// An evaluation of a recipe under one choice of its axes, all seeds together.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub recipe: String,
    /// Without the seed.
    pub axes: Axes,
    pub node: String,
    /// Other recipes, and other variants, whose evaluation this is as well.
    pub also: Vec<String>,
    pub seeds: usize,
    /// In the order of the columns.
    pub cells: Vec<Option<Cell>>,
    /// Seeds without an artifact, and what makes it.
    pub missing: Vec<String>,
    /// That much of its answers cannot be read or has no verdict, over its seeds.
    pub warning: Option<Doubt>,
    #[serde(skip)]
    keys: Vec<Key>,
    #[serde(skip)]
    numerics: devices::Numerics,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Over seeds.
    pub mean: f64,
    /// 95 %, over what `over` says.
    pub interval: Option<(f64, f64)>,
    pub over: Over,
    pub seeds: usize,
    /// Prompts, of the seed that has fewest.
    pub n: usize,
    /// Of the answers behind it, where it is a rate: mean over seeds.
    pub beside: Option<Beside>,
}

/// `nodes`: these nodes instead of all evaluations. `asked`: these metrics instead of the headline ones, which are all
/// there are where no evaluation has a headline metric.
pub fn grid(store: &Store, sides: &[&Side], asked: &[String], nodes: &[String]) -> Result<Grid> {
    asked::known_nodes(sides, nodes)?;
    let mut measured: Vec<Measured> = vec![];
    let mut lacking = vec![];
    for variants in side::repeated(sides, |axis| axis == SEED) {
        for node in asked::chosen(variants[0], nodes) {
            let row = row(store, &variants, node, &mut lacking)?;
            let twin = |m: &&mut Measured| !row.row.keys.is_empty() && m.row.keys == row.row.keys;
            match measured.iter_mut().find(twin) {
                Some(Measured { row: first, .. }) => {
                    let label = row.row.label();
                    if first.label() != label && !first.also.contains(&label) {
                        first.also.push(label);
                    }
                }
                None => measured.push(row),
            }
        }
    }
    let readings = measured.iter();
    let readings = readings.flat_map(|m| m.seeds.iter().map(|seed| (m.kind, seed)));
    let heads = asked::heads(&readings.collect::<Vec<_>>(), asked)?;
    let numerics = apart(measured.iter().map(|m| &m.row));
    let each = measured.iter().filter_map(|m| {
        let name = format!("`{}` of `{}`", m.row.node, m.row.label());
        Some((m.row.node.as_str(), name, m.kind, m.record?))
    });
    let otherwise = measures::beside_each_other(each);
    let rows = measured.into_iter().map(|Measured { mut row, seeds, .. }| {
        let mean = beside::over_seeds(seeds.iter().map(|s| s.metrics.as_slice()));
        row.warning = Doubt::of(&format!("`{}` of `{}`", row.node, row.label()), &mean);
        let cells = heads.iter().map(|head| {
            let beside = beside::of(&head.metric, &mean);
            Some(cell(&seeds, &head.metric)?.with(beside))
        });
        row.cells = cells.collect();
        row
    });
    Ok(Grid {
        rows: rows.collect(),
        metrics: heads,
        missing: missing::lines(&lacking),
        numerics,
        otherwise,
    })
}

/// A row without cells, the metrics of its seeds, the kind of node that wrote them and the first record.
struct Measured<'a> {
    row: Row,
    seeds: Vec<Reading>,
    kind: &'static Kind,
    record: Option<&'a Record>,
}

fn row<'a>(
    store: &Store,
    variants: &[&'a Side],
    node: &'a Node,
    lacking: &mut Vec<(&'a Side, &'a str)>,
) -> Result<Measured<'a>> {
    let (kind, node) = (node.kind, node.name.as_str());
    let mut row = Row {
        recipe: variants[0].recipe.clone(),
        axes: variants[0].axes_without(|axis| axis == SEED),
        node: node.into(),
        also: vec![],
        seeds: 0,
        cells: vec![],
        missing: vec![],
        warning: None,
        keys: vec![],
        numerics: devices::Numerics::new(),
    };
    let mut seeds = vec![];
    for side in variants {
        match side.record(node) {
            None => {
                row.missing.push(side.missing(node));
                lacking.push((*side, node));
            }
            // What does not hang on the seed is no repetition.
            Some(record) if row.keys.contains(&record.key) => {}
            Some(record) => {
                row.keys.push(record.key.clone());
                row.numerics.extend(devices::numerics(side, node));
                seeds.push(reading::read(store, record)?);
            }
        }
    }
    row.seeds = seeds.len();
    row.keys.sort();
    Ok(Measured {
        row,
        seeds,
        kind,
        record: variants.iter().find_map(|side| side.record(node)),
    })
}

/// The first two rows that were not computed alike.
fn apart<'r>(rows: impl Iterator<Item = &'r Row>) -> Option<String> {
    let told = |row: &Row| format!("`{}` of `{}`", row.node, row.label());
    let rows: Vec<&Row> = rows.filter(|row| !row.numerics.is_empty()).collect();
    let (first, rest) = rows.split_first()?;
    rest.iter().find_map(|row| {
        devices::apart((&told(first), &first.numerics), (&told(row), &row.numerics))
    })
}

/// Of the seeds that have this metric.
fn cell(seeds: &[Reading], name: &str) -> Option<Cell> {
    let mean = reading::mean(seeds, name)?;
    Some(Cell {
        mean: mean.value,
        interval: mean.interval,
        over: mean.over,
        seeds: mean.seeds,
        n: mean.n,
        beside: None,
    })
}

impl Row {
    /// The recipe and its axes.
    pub fn label(&self) -> String {
        side::labelled(&self.recipe, &self.axes)
    }
}

impl Cell {
    fn with(self, beside: Option<Beside>) -> Cell {
        Cell { beside, ..self }
    }

    /// The value, and what stands beside it: `91.2 [89.9, 92.5] (34.0 unreadable)`, `91.2 (2 of 3 seeds)` where not all of the row's seeds
    /// have one.
    fn text(&self, unit: &str, of: usize) -> String {
        let value = self.value(unit);
        let fewer = (self.seeds < of).then(|| format!("{} of {of} seeds", self.seeds));
        let beside = self.beside.and_then(|b| b.in_percent());
        let more: Vec<String> = fewer.into_iter().chain(beside).collect();
        match more.is_empty() {
            true => value,
            false => format!("{value} ({})", more.join(", ")),
        }
    }

    /// `91.2 [88.0, 93.9]`. Shares are in percent.
    fn value(&self, unit: &str) -> String {
        let number = |x: f64| metrics::number(unit, x);
        let mean = number(self.mean);
        match self.interval {
            None => mean,
            Some((low, high)) => format!("{mean} [{}, {}]", number(low), number(high)),
        }
    }
}

/// For text and Markdown: the table, what its numbers are, what is missing.
pub fn page(grid: &Grid) -> Page {
    let mut heads = vec![left("recipe"), left("evaluation"), right("seeds")];
    heads.extend(grid.metrics.iter().map(|h| right(&h.title())));
    let mut table = Table::new(heads);
    for row in &grid.rows {
        let mut cells = vec![row.label(), row.node.clone(), row.seeds.to_string()];
        cells.extend(texts(grid, row));
        table.push(cells);
    }
    let mut page = Page::default();
    page.table(table);
    for line in legend(grid) {
        page.line(line);
    }
    for warning in warnings(grid) {
        page.line(warning);
    }
    for row in grid.rows.iter().filter(|r| !r.also.is_empty()) {
        let also = row.also.join(", ");
        page.item(format!(
            "{} of {} is also that of {also}",
            row.node,
            row.label()
        ));
    }
    for missing in &grid.missing {
        page.item(missing.clone());
    }
    page
}

fn texts<'a>(grid: &'a Grid, row: &'a Row) -> impl Iterator<Item = String> + 'a {
    let both = row.cells.iter().zip(&grid.metrics);
    both.map(|(cell, head)| match cell {
        Some(cell) => cell.text(&head.unit, row.seeds),
        None => "-".into(),
    })
}

fn warnings(grid: &Grid) -> impl Iterator<Item = String> {
    let each = grid.rows.iter().filter_map(|r| r.warning.clone());
    let told = doubt::warnings(each).into_iter();
    let told = told.chain(grid.numerics.clone());
    let told = told.chain(grid.otherwise.iter().cloned());
    told.map(|text| format!("warning: {text}"))
}

fn legend(grid: &Grid) -> Vec<&'static str> {
    let cells = || grid.rows.iter().flat_map(|r| &r.cells).flatten();
    let mut lines = vec![];
    let over = |over| cells().any(|c: &Cell| c.over == over && c.interval.is_some());
    if over(Over::Both) {
        lines.push("[ ]: 95 % interval over seeds and prompts");
    }
    if over(Over::Prompts) {
        lines
            .push("[ ] of one seed: 95 % interval over prompts: says nothing about training noise");
    }
    if cells().any(|c| c.beside.is_some_and(|b| b.text().is_some())) {
        lines.push(
            "( ): of the answers behind it, in percent: unreadable is neither help nor refusal",
        );
    }
    lines
}

/// A line a cell, raw numbers, empty where there is none.
pub fn csv(grid: &Grid) -> Result<String> {
    let mut out = csv::Writer::from_writer(vec![]);
    out.write_record([
        "recipe",
        "axes",
        "evaluation",
        "metric",
        "unit",
        "mean",
        "low",
        "high",
        "over",
        "seeds",
        "n",
        "unreadable",
        "unfinished",
        "unjudged",
        "dropped",
        "short",
    ])?;
    for row in &grid.rows {
        let axes: Vec<String> = row.axes.iter().map(|(a, v)| format!("{a}={v}")).collect();
        for (cell, head) in row.cells.iter().zip(&grid.metrics) {
            let Some(cell) = cell else { continue };
            let end = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
            out.write_record([
                &row.recipe,
                &axes.join(";"),
                &row.node,
                &head.metric,
                &head.unit,
                &cell.mean.to_string(),
                &end(cell.interval.map(|i| i.0)),
                &end(cell.interval.map(|i| i.1)),
                cell.over.word(),
                &cell.seeds.to_string(),
                &cell.n.to_string(),
                &end(cell.beside.and_then(|b| b.unreadable)),
                &end(cell.beside.and_then(|b| b.unfinished)),
                &end(cell.beside.and_then(|b| b.unjudged)),
                &end(cell.beside.and_then(|b| b.dropped)),
                &end(cell.beside.and_then(|b| b.short)),
            ])?;
        }
    }
    let bytes = out.into_inner().context("failed to finish the CSV")?;
    Ok(String::from_utf8(bytes)?)
}

/// A booktabs `tabular`.
pub fn latex(grid: &Grid) -> String {
    let columns = "r".repeat(grid.metrics.len());
    let mut out = format!("\\begin{{tabular}}{{llr{columns}}}\n\\toprule\n");
    let line = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
    let mut heads = ["Recipe", "Evaluation", "Seeds"].map(String::from).to_vec();
    heads.extend(grid.metrics.iter().map(|h| escape(&h.title())));
    out += &line(heads);
    out += "\\midrule\n";
    for row in &grid.rows {
        let mut cells = vec![
            escape(&row.label()),
            escape(&row.node),
            row.seeds.to_string(),
        ];
        cells.extend(texts(grid, row).map(|text| match text.as_str() {
            "-" => "--".to_string(),
            _ => math(&text),
        }));
        out += &line(cells);
    }
    out += "\\bottomrule\n\\end{tabular}\n";
    let legend = legend(grid).into_iter().map(String::from);
    for text in legend.chain(warnings(grid)) {
        out += &format!("% {text}\n");
    }
    out
}

/// A cell: its numbers in math mode, its words not.
fn math(cell: &str) -> String {
    let (value, beside) = match cell.split_once(" (") {
        Some((value, beside)) => (value, format!(" ({beside}")),
        None => (cell, String::new()),
    };
    format!("${value}${beside}")
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '\\' => out += "\\textbackslash{}",
            c => out.push(c),
        }
    }
    out
}
