//! `pipe show --tokens`: what a node will be trained on or asked, with the loss mask, before it runs.

use super::hint::Hint;
use super::output::{Error, Outcome, colour_out, print, print_json};
use super::registry::registry;
use super::study;
use anyhow::Context;
use base::text::{count, listed, thousands};
use base::tokens::{Shown, Tokens};
use engine::graph::{Graph, NodeId};
use engine::kind::estimate::NodePreview;
use engine::plan::layout::Layout;
use engine::store::Store;
use engine::store::paths::located;
use recipe::study::Study;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub fn run(
    study: &Study,
    store: &Store,
    hint: Hint,
    name: &str,
    most: usize,
    as_json: bool,
) -> Outcome {
    let graph = &study.graph;
    let id = study::node(study, name)?;
    let node = graph.node(id);
    let Some(tokens) = node.kind.tokens else {
        let kinds = registry().iter().filter(|k| k.tokens.is_some());
        return Err(Error::Usage(format!(
            "`{name}` is of kind `{}`, which trains and asks no model; kinds that do: {}",
            node.kind.name,
            listed(kinds.map(|k| k.name))
        )));
    };
    let layout = Layout::new(store);
    let params = located(node.kind, &node.params);
    let preview = NodePreview {
        inputs: inputs(graph, store, hint, id, &layout)?,
        most,
        ..NodePreview::new(&node.params, &params, &node.exec)
    };
    let tokens = tokens(&preview).with_context(|| format!("node `{name}`"))?;
    if as_json {
        print_json(&data(name, node.kind.name, &tokens));
    } else {
        print(&text(name, node.kind.name, &tokens, colour_out()));
    }
    Ok(())
}

/// The inputs' artifacts, laid out as the node would find them.
fn inputs(
    graph: &Graph,
    store: &Store,
    hint: Hint,
    id: NodeId,
    layout: &Layout,
) -> Result<BTreeMap<&'static str, PathBuf>, Error> {
    let mut inputs = BTreeMap::new();
    let mut missing: Vec<&str> = vec![];
    for (port, edge) in &graph.node(id).inputs {
        match study::found(store, graph, edge.node)? {
            Ok(record) => {
                let at = layout.add(port, &record.outputs[edge.output])?;
                inputs.insert(*port, at);
            }
            Err(_) => missing.push(&graph.node(edge.node).name),
        }
    }
    if missing.is_empty() {
        return Ok(inputs);
    }
    missing.dedup();
    let only: Vec<&str> = missing.iter().flat_map(|n| ["--only", n]).collect();
    Err(Error::Usage(format!(
        "`{}` takes in what is not made yet: {}; make it with `{}`",
        graph.node(id).name,
        listed(missing.iter().copied()),
        hint.command("run", &only)
    )))
}

fn mean(tokens: &Tokens) -> f64 {
    match tokens.examples {
        0 => 0.0,
        n => tokens.tokens as f64 / n as f64,
    }
}

fn text(name: &str, kind: &str, tokens: &Tokens, colour: bool) -> String {
    let number = |n: usize| thousands(n as u64);
    // All of them are called so in the plural.
    let one_of = tokens.what.trim_end_matches('s');
    let examples = |n: usize| count(n as u64, one_of, tokens.what);
    let mut out = format!("{name}: {kind}, {}\n", examples(tokens.examples));
    out += &format!(
        "  {}, {} of them trained; {:.1} tokens on average, {} at most\n",
        count(tokens.tokens as u64, "token", "tokens"),
        number(tokens.trained),
        mean(tokens),
        number(tokens.longest)
    );
    for (why, dropped) in &tokens.dropped {
        out += &format!("  {} dropped: {why}\n", examples(*dropped));
    }
    for note in &tokens.notes {
        out += &format!("  {note}\n");
    }
    if tokens.trained > 0 {
        let mark = match colour {
            true => format!("in {}", trained("green", true)),
            false => format!("marked {}", trained("so", false)),
        };
        out += &format!("  what is trained is {mark}\n");
    }
    for example in &tokens.shown {
        out += &format!("\n{}", one(example, tokens.then, colour));
    }
    out
}

fn one(example: &Shown, then: Option<&str>, colour: bool) -> String {
    let trained_on = example.mask.iter().filter(|&&m| m).count();
    let mut out = format!(
        "--- {} ({}, {trained_on} trained)\n",
        example.id,
        count(example.ids.len() as u64, "token", "tokens")
    );
    for (text, is_trained) in &example.runs {
        match is_trained {
            true => out += &trained(text, colour),
            false => out += text,
        }
    }
    match then {
        Some(then) => out + &format!("[{then}]\n"),
        None => out + "\n",
    }
}

fn trained(text: &str, colour: bool) -> String {
    match colour {
        true => format!("\u{1b}[32m{text}\u{1b}[0m"),
        false => format!("{{+{text}+}}"),
    }
}

fn data(name: &str, kind: &str, tokens: &Tokens) -> Value {
    let shown = tokens.shown.iter().map(|example| {
        let runs = example.runs.iter();
        let runs: Vec<Value> = runs
            .map(|(text, trained)| json!({ "text": text, "trained": trained }))
            .collect();
        json!({ "id": example.id, "ids": example.ids, "trained": example.mask, "runs": runs })
    });
    let dropped = tokens.dropped.iter();
    let dropped: Vec<Value> = dropped
        .map(|(why, count)| json!({ "why": why, "count": count }))
        .collect();
    json!({
        "node": name, "kind": kind, "what": tokens.what, "examples": tokens.examples, "tokens": tokens.tokens,
        "trained": tokens.trained, "mean_tokens": mean(tokens), "longest": tokens.longest, "dropped": dropped,
        "notes": tokens.notes, "then": tokens.then, "shown": shown.collect::<Vec<_>>(),
    })
}
