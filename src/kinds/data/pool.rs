//! Makes one pool of several sets of prompts.

use crate::shared::estimate;
use anyhow::{Result, ensure};
use base::rows::{self, Metric, Prompt};
use base::text::count;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Need, Output, Port, Role, Type};
use std::collections::BTreeMap;

const PORTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

const fn port(place: usize, need: Need) -> Port {
    let more = Port::optional(PORTS[place], Type::Prompts, "prompts of the pool");
    Port { need, ..more }
}

pub const KIND: Kind = Kind {
    name: "pool",
    revision: 1,
    role: Role::Joins,
    summary: "joins up to eight sets of prompts",
    about: "The rows come in the order of the ports and keep everything of their own. An id that several rows have becomes \
            `SOURCE/ID` in all of them, and `PORT/SOURCE/ID` where that is taken as well. Equal prompts are all kept: see \
            `dedup`.",
    example: r#"
[node.evals]
kind = "pool"
in = { a = "harmbench", b = "xstest", c = "or-bench-hard" }
"#,
    inputs: &[
        port(0, Need::Always),
        port(1, Need::Never),
        port(2, Need::Never),
        port(3, Need::Never),
        port(4, Need::Never),
        port(5, Need::Never),
        port(6, Need::Never),
        port(7, Need::Never),
    ],
    outputs: &[
        Output::always("prompts", Type::Prompts, "all of them"),
        Output::always(
            "metrics",
            Type::Metrics,
            "how many prompts each source gives, and how many got another id",
        ),
    ],
    metrics: &[
        MetricInfo::plain("kept", "prompts", "prompts kept"),
        MetricInfo::plain("kept/*", "prompts", "kept, *"),
        MetricInfo::plain("renamed", "prompts", "with another id"),
    ],
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let mut parts = vec![];
    for port in PORTS {
        if let Some(folder) = ctx.input_opt(port) {
            parts.push((port, rows::read_rows(folder)?));
        }
    }
    let (pool, renamed) = pool(parts)?;
    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    for prompt in &pool {
        *sources.entry(&prompt.source).or_default() += 1;
    }
    let summary: Vec<String> = sources.iter().map(|(s, n)| format!("{n} {s}")).collect();
    let all = count(pool.len() as u64, "prompt", "prompts");
    ctx.log(&format!("{all}: {}; {renamed} renamed", summary.join(", ")));
    let metric = |name: String, value: usize| Metric {
        name,
        value: value as f64,
        n: pool.len(),
        interval: None,
        unit: "prompts".into(),
    };
    let mut metrics = vec![metric("kept".into(), pool.len())];
    metrics.extend(sources.iter().map(|(s, n)| metric(format!("kept/{s}"), *n)));
    metrics.push(metric("renamed".into(), renamed));
    rows::write_rows(&ctx.output("prompts"), &pool)?;
    rows::write_metrics(&ctx.output("metrics"), metrics)
}

/// All rows with ids of their own, and how many got another one. Errors: an id that stays taken.
pub fn pool(parts: Vec<(&str, Vec<Prompt>)>) -> Result<(Vec<Prompt>, usize)> {
    let rows = parts.iter().flat_map(|(_, rows)| rows);
    let often = times(rows.map(|p| p.id.clone()));
    let longer = |p: &Prompt| match often[&p.id] {
        1 => p.id.clone(),
        _ => format!("{}/{}", p.source, p.id),
    };
    let rows = parts.iter().flat_map(|(_, rows)| rows);
    let again = times(rows.map(longer));
    let (mut pool, mut renamed) = (vec![], 0);
    for (port, rows) in &parts {
        for prompt in rows {
            let id = longer(prompt);
            let id = match again[&id] == 1 || id == prompt.id {
                true => id,
                false => format!("{port}/{id}"),
            };
            renamed += usize::from(id != prompt.id);
            pool.push(Prompt {
                id,
                ..prompt.clone()
            });
        }
    }
    for (id, n) in times(pool.iter().map(|p| p.id.clone())) {
        ensure!(
            n == 1,
            "the id `{id}` is {n} times in the pool, whatever is put before it"
        );
    }
    Ok((pool, renamed))
}

fn times(ids: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for id in ids {
        *times.entry(id).or_default() += 1;
    }
    times
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let rows: Option<f64> = preview
        .expected
        .values()
        .map(|artifact| artifact.rows)
        .sum();
    Ok(estimate::only("prompts", estimate::rows(rows, None)))
}
