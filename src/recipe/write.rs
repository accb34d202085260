//! A resolved graph as a recipe again: every default written out, every variable replaced, nothing extended. Reading it
//! gives the same graph.

use crate::base::value::{Value, Values};
use crate::engine::graph::Graph;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// TOML text; nodes in the graph's order. `notes` are the nodes' descriptions.
pub fn text(
    name: &str,
    description: Option<&str>,
    graph: &Graph,
    notes: &BTreeMap<String, String>,
) -> String {
    let mut out = format!("name = {}\n", basic(name));
    if let Some(description) = description {
        line(&mut out, "description", &basic(description));
    }
    for node in graph.nodes() {
        let _ = writeln!(out, "\n[node.{}]", node.name);
        if let Some(note) = notes.get(&node.name) {
            line(&mut out, "description", &quoted(note));
        }
        line(&mut out, "kind", &quoted(node.kind.name));
        if !node.inputs.is_empty() {
            let ports: Vec<String> = node
                .inputs
                .iter()
                .map(|(port, edge)| {
                    let from = &graph.node(edge.node).name;
                    format!("{port} = {}", quoted(&format!("{from}.{}", edge.output)))
                })
                .collect();
            line(&mut out, "in", &format!("{{ {} }}", ports.join(", ")));
        }
        values(&mut out, &node.params);
        values(&mut out, &node.exec);
    }
    out
}

fn values(out: &mut String, values: &Values) {
    for (name, value) in values {
        line(out, name, &toml(value));
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key} = {value}");
}

fn toml(value: &Value) -> String {
    match value {
        // Shortest text that reads back as the same float.
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => value.canon(),
        Value::Str(s) => quoted(s),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(map) if map.is_empty() => "{}".into(),
        Value::Table(map) => {
            let items: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{} = {}", basic(k), toml(v)))
                .collect();
            format!("{{ {} }}", items.join(", "))
        }
    }
}

/// A string where variables are replaced.
fn quoted(text: &str) -> String {
    basic(&text.replace("${", "$${"))
}

/// A basic string on one line.
fn basic(text: &str) -> String {
    let mut out = String::from("\"");
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
    out
}
