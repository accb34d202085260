//! Metrics of many recipes in one table: a row an evaluation, a column a metric, a mean over seeds in every cell. A
//! reader of records.

use crate::asked::{self, Head};
use crate::beside::{self, Beside};
use crate::compare::measures::{Shown, beside_each_other};
use crate::devices;
use crate::doubt::{self, Doubt, NO_VERDICT, NOTHING};
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
use engine::kind::{Kind, Written};
use engine::store::Store;
use engine::store::record::Record;
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// That much of its answers cannot be read or has no verdict, over its seeds, where that is behind a column.
    pub warning: Option<Doubt>,
    /// Why it has no value of these metrics, or some of its seeds have none: nothing behind them has a verdict.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub without: BTreeMap<String, String>,
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
    /// Prompts, of the seed that has fewest; the mean counts every seed alike.
    pub n: usize,
    /// Of the answers behind it, where it is made of what they do or of verdicts: mean over seeds.
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
    let heads = asked::heads(&readings.collect::<Vec<_>>(), asked, |metric| {
        asked::elsewhere(store, sides, nodes, metric)
    })?;
    let numerics = apart(measured.iter().map(|m| &m.row));
    let each = measured.iter().map(|m| Shown {
        node: &m.row.node,
        name: format!("`{}` of `{}`", m.row.node, m.row.label()),
        kind: m.kind,
        records: m.records.clone(),
    });
    let otherwise = beside_each_other(Written::Metrics, each);
    let rows = measured.into_iter().map(|own| own.row(&heads, asked));
    Ok(Grid {
        rows: rows.collect(),
        metrics: heads,
        missing: missing::lines(&lacking),
        numerics,
        otherwise,
    })
}

/// A row without cells, the metrics of its seeds, the kind of node that wrote them and its records by seed.
struct Measured<'a> {
    row: Row,
    seeds: Vec<Reading>,
    kind: &'static Kind,
    records: Vec<(Option<&'a str>, &'a Record)>,
}

impl Measured<'_> {
    /// The row with its cells.
    fn row(self, heads: &[Head], asked: &[String]) -> Row {
        let Measured {
            mut row,
            seeds,
            kind,
            ..
        } = self;
        let each = || seeds.iter().map(|s| s.metrics.as_slice());
        let mean = beside::over_seeds(each());
        for Head { metric, .. } in heads {
            let cell = cell(&seeds, metric);
            row.cells
                .push(cell.map(|c| c.with(beside::of(metric, &mean))));
            let why = doubt::without_some(kind, metric, each());
            row.without.extend(why.map(|why| (metric.clone(), why)));
        }
        let much = |name: &String| beside::behind(name, &mean).is_some_and(|b| b.much());
        let concerns = asked.is_empty() || !row.without.is_empty() || asked.iter().any(much);
        let what = format!("`{}` of `{}`", row.node, row.label());
        row.warning = Doubt::of(&what, &mean).filter(|_| concerns);
        row
    }
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
        without: BTreeMap::new(),
        keys: vec![],
        numerics: devices::Numerics::new(),
    };
    let records = variants.iter();
    let records = records.filter_map(|side| Some((side.seed(), side.record(node)?)));
    let records = records.collect();
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
        records,
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

    fn of(&self) -> String {
        format!("{} of {}", self.node, self.label())
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
    page.append(remarks(grid));
    page
}

/// What is to be known of the rows beside their numbers.
pub fn remarks(grid: &Grid) -> Page {
    let mut page = Page::default();
    for warning in warnings(grid) {
        page.line(warning);
    }
    for (row, of) in grid.rows.iter().map(|row| (row, row.of())) {
        let both = row.cells.iter().zip(&grid.metrics);
        let some = both.filter(|(cell, _)| cell.is_some());
        let some = some.filter_map(|(_, head)| Some((head, row.without.get(&head.metric)?)));
        some.for_each(|(head, why)| page.item(format!("{of}: {}: {why}", head.label)));
        if !row.also.is_empty() {
            page.item(format!("{of} is also that of {}", row.also.join(", ")));
        }
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
        None if row.without.contains_key(&head.metric) => NO_VERDICT.into(),
        None => NOTHING.into(),
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

/// A line a cell, raw numbers, empty where there is none. What nothing has a verdict of has a line all the same, without a mean.
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
            if cell.is_none() && !row.without.contains_key(&head.metric) {
                continue;
            }
            let cell = cell.as_ref();
            let end = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
            let beside = |of: fn(Beside) -> Option<f64>| end(cell.and_then(|c| of(c.beside?)));
            let unjudged = match cell {
                Some(_) => beside(|b| b.unjudged),
                None => "1".into(),
            };
            out.write_record([
                &row.recipe,
                &axes.join(";"),
                &row.node,
                &head.metric,
                &head.unit,
                &end(cell.map(|c| c.mean)),
                &end(cell.and_then(|c| Some(c.interval?.0))),
                &end(cell.and_then(|c| Some(c.interval?.1))),
                &cell.map_or(String::new(), |c| c.over.word().into()),
                &cell.map_or(0, |c| c.seeds).to_string(),
                &cell.map_or(0, |c| c.n).to_string(),
                &beside(|b| b.unreadable),
                &beside(|b| b.unfinished),
                &unjudged,
                &beside(|b| b.dropped),
                &beside(|b| b.short),
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
            NOTHING => "--".to_string(),
            NO_VERDICT => text,
            _ => math(&text),
        }));
        out += &line(cells);
    }
    out += "\\bottomrule\n\\end{tabular}\n";
    let remarks = remarks(grid).text();
    for text in legend(grid)
        .into_iter()
        .chain(remarks.lines().filter(|l| !l.is_empty()))
    {
        out += &format!("% {}\n", text.trim_start());
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
