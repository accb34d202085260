//! A resolved graph as a recipe again: every default written out, every variable replaced, nothing extended. Reading it
//! gives the same graph.

use base::value::{self, Value, Values};
use engine::graph::Graph;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// TOML text; nodes in the graph's order. `notes` are the nodes' descriptions.
pub fn text(
    name: &str,
    description: Option<&str>,
    graph: &Graph,
    notes: &BTreeMap<String, String>,
) -> String {
    let mut out = String::from("name = ");
    basic(&mut out, name);
    if let Some(description) = description {
        out.push_str("\ndescription = ");
        basic(&mut out, description);
    }
    out.push('\n');
    for node in graph.nodes() {
        let _ = write!(out, "\n[node.{}]", node.name);
        if let Some(note) = notes.get(&node.name) {
            out.push_str("\ndescription = ");
            quoted(&mut out, note);
        }
        let _ = write!(out, "\nkind = \"{}\"", node.kind.name);
        if !node.inputs.is_empty() {
            out.push_str("\nin = { ");
            for (i, (port, edge)) in node.inputs.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                let from = &graph.node(edge.node).name;
                let _ = write!(out, "{port} = \"{from}.{}\"", edge.output);
            }
            out.push_str(" }");
        }
        match node.exec.is_empty() {
            true => values(&mut out, &node.params),
            false => {
                let mut all = (*node.params).clone();
                value::merge(&mut all, &node.exec);
                values(&mut out, &all);
            }
        }
        out.push('\n');
    }
    out
}

fn values(out: &mut String, values: &Values) {
    for (name, value) in values {
        let _ = write!(out, "\n{name} = ");
        toml(out, value);
    }
}

fn toml(out: &mut String, value: &Value) {
    match value {
        // Shortest text that reads back as the same float.
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => value.write_canon(out),
        Value::Str(s) => quoted(out, s),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                toml(out, item);
            }
            out.push(']');
        }
        Value::Table(map) if map.is_empty() => out.push_str("{}"),
        Value::Table(map) => {
            out.push_str("{ ");
            for (i, (key, value)) in map.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                match is_bare(key) {
                    true => out.push_str(key),
                    false => basic(out, key),
                }
                out.push_str(" = ");
                toml(out, value);
            }
            out.push_str(" }");
        }
    }
}

/// A key that needs no quotes.
fn is_bare(key: &str) -> bool {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !key.is_empty() && key.bytes().all(bare)
}

/// A string where variables are replaced.
fn quoted(out: &mut String, text: &str) {
    match text.contains("${") {
        true => basic(out, &text.replace("${", "$${")),
        false => basic(out, text),
    }
}

/// A basic string on one line.
fn basic(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
