//! Variance components for people and for programs: a table a metric, whose columns stand side by side; a line a part as CSV.

use super::{Cell, Part, Row, Spread};
use crate::asked::Head;
use crate::beside;
use crate::metrics;
use crate::page::Page;
use crate::table::{Table, left, right};
use anyhow::{Context, Result};

/// Behind a standard deviation that is shown as 0.
const BELOW: &str = "*";

const NOTHING: &str = "-";

/// For text and Markdown: a table for every metric of every evaluation, a column a recipe under one choice of the axes that are no seeds.
pub fn page(spread: &Spread) -> Page {
    let mut page = Page::default();
    let mut nodes: Vec<&str> = vec![];
    for row in &spread.rows {
        if !nodes.contains(&row.node.as_str()) {
            nodes.push(&row.node);
        }
    }
    for node in nodes {
        for (i, head) in spread.metrics.iter().enumerate() {
            let own = spread.rows.iter().filter(|r| r.node == node);
            let cells = own.filter_map(|row| Some((row, row.cells.get(i)?.as_ref()?)));
            page.table(table(node, head, &cells.collect::<Vec<_>>()));
        }
    }
    for line in legend(spread) {
        page.line(line);
    }
    page.append(remarks(spread));
    page
}

/// What is to be known of the rows beside their numbers.
pub fn remarks(spread: &Spread) -> Page {
    let mut page = Page::default();
    for line in spread.rows.iter().flat_map(notes) {
        page.item(line);
    }
    for missing in &spread.missing {
        page.item(missing.clone());
    }
    page
}

/// Empty without cells.
fn table(node: &str, head: &Head, cells: &[(&Row, &Cell)]) -> Table {
    let columns = cells.iter().map(|(row, _)| right(&row.label()));
    let first = left(&format!("{node}: {}", head.title()));
    let mut table = Table::new([first].into_iter().chain(columns));
    if cells.is_empty() {
        return table;
    }
    let each = |text: &dyn Fn(&Row, &Cell) -> String| -> Vec<String> {
        let cells = cells.iter();
        cells.map(|(row, cell)| text(row, cell)).collect()
    };
    let mut push = |label: String, texts: Vec<String>| {
        table.push([label].into_iter().chain(texts));
    };
    let unit = head.unit.as_str();
    let part = |part: Option<&Part>| part.map_or(NOTHING.into(), |p| self::text(p, unit));
    push("runs".into(), each(&runs));
    push("prompts a run".into(), each(&|_, cell| cell.n.to_string()));
    push(
        "mean".into(),
        each(&|_, cell| metrics::number(unit, cell.mean)),
    );
    let besides: Vec<_> = cells.iter().map(|(_, cell)| cell.beside).collect();
    if let Some((label, shares)) = beside::line(&besides, None) {
        push(label, shares);
    }
    push(
        "between runs, sd".into(),
        each(&|_, cell| part(Some(&cell.total))),
    );
    let mut axes: Vec<&str> = vec![];
    for of in cells.iter().flat_map(|(_, cell)| &cell.axes) {
        if !axes.contains(&of.axis.as_str()) {
            axes.push(&of.axis);
        }
    }
    let find = |cell: &Cell, axis: &str| cell.axes.iter().find(|of| of.axis == axis).cloned();
    for axis in &axes {
        push(
            format!("  {axis}"),
            each(&|_, cell| part(find(cell, axis).map(|of| of.alone).as_ref())),
        );
    }
    if cells.iter().any(|(_, cell)| cell.together.is_some()) {
        push(
            "  together".into(),
            each(&|_, cell| part(cell.together.as_ref())),
        );
    }
    push(
        "  prompts".into(),
        each(&|_, cell| part(cell.prompts.as_ref())),
    );
    // Of a single axis that is the total.
    if axes.len() > 1 {
        for axis in &axes {
            push(
                format!("{axis} alone differs, sd"),
                each(&|_, cell| part(find(cell, axis).map(|of| of.only).as_ref())),
            );
        }
    }
    table
}

/// `8 = 2 x 2 x 2`; `6 of 8 = 3 x 2` of a metric that not all have.
fn runs(row: &Row, cell: &Cell) -> String {
    let runs = match cell.runs == row.runs {
        true => row.runs.to_string(),
        false => format!("{} of {}", cell.runs, row.runs),
    };
    let levels: Vec<String> = cell.levels.iter().map(usize::to_string).collect();
    match levels.len() {
        0 | 1 => runs,
        _ => format!("{runs} = {}", levels.join(" x ")),
    }
}

/// `4.1 [2.8, 50.0], 24 %`. Shares are in points.
fn text(part: &Part, unit: &str) -> String {
    let number = |x: f64| metrics::number(unit, x);
    let below = if part.variance < 0.0 { BELOW } else { "" };
    let interval = part
        .interval
        .map(|(low, high)| match high.is_finite() && high < 1e6 {
            true => format!(" [{}, {}]", number(low), number(high)),
            false => format!(" [{}, {high:.0e}]", number(low)),
        });
    let share = part.share.map(|s| format!(", {:.0} %", s * 100.0));
    format!(
        "{}{below}{}{}",
        number(part.sd),
        interval.unwrap_or_default(),
        share.unwrap_or_default()
    )
}

fn legend(spread: &Spread) -> Vec<&'static str> {
    let cells = || spread.rows.iter().flat_map(|r| &r.cells).flatten();
    let mut lines = vec![];
    if cells().next().is_none() {
        return lines;
    }
    lines.push(
        "sd: standard deviation, of a share in points; [ ]: its 95 % interval; percent: of the variance between runs",
    );
    let several = || spread.rows.iter().any(|r| r.seeds.len() > 1);
    if several() {
        lines.push(
            "an axis: its main effect, whatever the others are at; together: their interactions, and what runs of the same seeds would differ by",
        );
        lines.push(
            "alone differs: between runs that differ in this axis and in nothing else, prompts that are not the same and all",
        );
    }
    match cells().any(|c| c.prompts.is_none()) {
        true => lines.push(
            "prompts: not every run kept the values of its prompts, so that their number is in the other parts",
        ),
        false => lines.push(
            "prompts: that there are so many of them and no more; those that runs share move them together",
        ),
    }
    if cells().any(|c| parts(c).iter().any(|(_, _, p)| p.variance < 0.0)) {
        lines.push(
            "0*: the estimate is below zero and shown as 0; the percent may come to more than 100",
        );
    }
    let two = |r: &Row| r.seeds.iter().any(|s| s.values.len() == 2);
    if spread.rows.iter().any(two) {
        lines.push(
            "an axis of two values has one degree of freedom: its interval bounds next to nothing; four values or more do",
        );
    }
    lines
}

fn notes(row: &Row) -> Vec<String> {
    let (node, label) = (&row.node, row.label());
    let mut lines = vec![];
    if let Some(problem) = &row.problem {
        lines.push(format!("{node} of {label}: {problem}"));
    }
    let notes = row.notes.iter();
    lines.extend(notes.map(|note| format!("{node} of {label}: {note}")));
    for axis in row.fixed.iter().filter(|_| row.problem.is_none()) {
        lines.push(format!("{node} of {label} does not depend on {axis}"));
    }
    if !row.also.is_empty() {
        let also = row.also.join(", ");
        lines.push(format!("{node} of {label} is also that of {also}"));
    }
    lines
}

/// All parts of a cell: what it is, of which axis.
fn parts(cell: &Cell) -> Vec<(&'static str, &str, &Part)> {
    let mut all = vec![("total", "", &cell.total)];
    for of in &cell.axes {
        all.push(("axis", of.axis.as_str(), &of.alone));
    }
    all.extend(cell.together.iter().map(|p| ("together", "", p)));
    all.extend(cell.prompts.iter().map(|p| ("prompts", "", p)));
    for of in &cell.axes {
        all.push(("only", of.axis.as_str(), &of.only));
    }
    all
}

/// A line a part, raw numbers, empty where there is none.
pub fn csv(spread: &Spread) -> Result<String> {
    let mut out = csv::Writer::from_writer(vec![]);
    out.write_record([
        "recipe",
        "axes",
        "evaluation",
        "metric",
        "unit",
        "mean",
        "runs",
        "n",
        "part",
        "axis",
        "variance",
        "sd",
        "low",
        "high",
        "share",
        "unreadable",
        "unfinished",
        "unjudged",
        "dropped",
        "short",
    ])?;
    for row in &spread.rows {
        let axes: Vec<String> = row.axes.iter().map(|(a, v)| format!("{a}={v}")).collect();
        for (cell, head) in row.cells.iter().zip(&spread.metrics) {
            let Some(cell) = cell else { continue };
            let end = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
            for (part, axis, of) in parts(cell) {
                out.write_record([
                    &row.recipe,
                    &axes.join(";"),
                    &row.node,
                    &head.metric,
                    &head.unit,
                    &cell.mean.to_string(),
                    &cell.runs.to_string(),
                    &cell.n.to_string(),
                    part,
                    axis,
                    &of.variance.to_string(),
                    &of.sd.to_string(),
                    &end(of.interval.map(|i| i.0)),
                    &end(of.interval.map(|i| i.1)),
                    &end(of.share),
                    &end(cell.beside.and_then(|b| b.unreadable)),
                    &end(cell.beside.and_then(|b| b.unfinished)),
                    &end(cell.beside.and_then(|b| b.unjudged)),
                    &end(cell.beside.and_then(|b| b.dropped)),
                    &end(cell.beside.and_then(|b| b.short)),
                ])?;
            }
        }
    }
    let bytes = out.into_inner().context("failed to finish the CSV")?;
    Ok(String::from_utf8(bytes)?)
}
