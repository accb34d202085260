//! The JSON Schema of recipes, for editors: made of the table of kinds, so it cannot fall behind. Draft 7, which taplo
//! reads. Says less than `pipe check`: no edge, no type of a port, no check of a kind's own.
//!
//! A node is described twice. What an editor offers is the union over all kinds, which taplo walks without looking at
//! `kind`; nothing in it can fail. What a node is judged by hangs on its kind, in `if` and `then`, which taplo does not
//! walk but whose errors name one key and one reason. `oneOf` would serve the first and spoil the second.

mod sides;

use base::params::{Default, ParamSpec, Ty};
use base::value::Value as Param;
use engine::kind::{Kind, Need, Registry};
use serde_json::{Map, Value, json};
use sides::only;
use std::collections::BTreeMap;

/// A string that is a variable and nothing else, in the place of a value of another type.
const VARIABLE: &str = r"^\$\{[^}]*\}$";
/// A string with a variable in it.
const WITH_VARIABLE: &str = r"\$\{";
const NODE_NAME: &str = "^[a-z0-9_-]+$";

/// The schema as one document.
pub fn schema(registry: &Registry) -> Value {
    let kinds: Vec<&Kind> = registry.iter().collect();
    let mut definitions = Map::new();
    for kind in &kinds {
        definitions.insert(kind.name.into(), of_kind(kind));
    }
    definitions.insert("node".into(), node(&kinds));
    definitions.insert("whole-node".into(), whole_node(&kinds));
    definitions.insert("claim".into(), sides::claim());
    definitions.insert("axis".into(), sides::axis());
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A recipe of `pipe`",
        "type": "object",
        "properties": {
            "name": { "type": "string", "description": "Name of the study; else the file's." },
            "description": { "type": "string", "description": "What the study is for." },
            "extends": { "type": "string", "description": "One parent recipe, a path from here or `pipe:NAME`: tables merge, arrays replace, this file wins." },
            "drop": {
                "type": "array", "items": { "type": "string" },
                "description": "Nodes of the parent that this recipe leaves out.",
            },
            "vars": { "type": "object", "description": "Variables: `${NAME}` stands for the value, with its type; `--set vars.NAME=…` changes it." },
            "matrix": sides::matrix(),
            "claim": {
                "type": "array", "items": { "$ref": "#/definitions/claim" },
                "description": "What this recipe is expected to show against another.",
            },
            "node": {
                "type": "object", "description": "The nodes of the study, by name.",
                "patternProperties": { NODE_NAME: { "$ref": "#/definitions/node" } },
                "additionalProperties": only("a name of `a`-`z`, `0`-`9`, `_` and `-`"),
            },
        },
        "additionalProperties": only("a key of a recipe"),
        // A child may say of a node only what it changes.
        "if": { "required": ["extends"] },
        "else": { "properties": { "node": { "patternProperties": { NODE_NAME: { "$ref": "#/definitions/whole-node" } } } } },
        "definitions": definitions,
    })
}

/// What is offered, and the judge that the kind decides on.
fn node(kinds: &[&Kind]) -> Value {
    let names: Vec<&str> = kinds.iter().map(|k| k.name).collect();
    let kind_docs: Vec<String> = kinds
        .iter()
        .map(|k| format!("`{}`: {}", k.name, k.summary))
        .collect();
    let mut offered = Map::new();
    offered.insert(
        "kind".into(),
        offer(
            &format!("What the node does.\n\n{}", kind_docs.join("\n\n")),
            vec![json!({ "enum": names })],
        ),
    );
    let ports: Map<String, Value> = union(kinds.iter().flat_map(|kind| {
        kind.inputs
            .iter()
            .map(|port| (port.name, kind.name, port_doc(port.ty.word(), port.doc)))
    }))
    .into_iter()
    .map(|(name, doc)| {
        (
            name.to_string(),
            offer(
                &doc,
                vec![json!({ "type": "string" }), json!({ "const": false })],
            ),
        )
    })
    .collect();
    offered.insert(
        "in".into(),
        offer(
            "Inputs: port to `node`, or to `node.output`.",
            vec![json!({ "type": "object", "properties": ports })],
        ),
    );
    offered.insert(
        "description".into(),
        offer("What the node is for.", vec![json!({ "type": "string" })]),
    );
    let specs: Vec<(&str, ParamSpec)> = kinds
        .iter()
        .flat_map(|kind| specs(kind).into_iter().map(|spec| (kind.name, spec)))
        .collect();
    let keyed = specs.iter().map(|(kind, spec)| (*kind, spec.key(), spec));
    offered.extend(offered_params(&keyed.collect::<Vec<_>>()));
    let any: Map<String, Value> = offered.keys().map(|k| (k.clone(), json!(true))).collect();
    // Without a kind (a child that changes a node) every kind's words are right.
    let mut judge = json!({
        "if": { "required": ["kind"] },
        "then": { "properties": { "kind": word(&names) } },
        "else": { "properties": any, "additionalProperties": only("a parameter of some kind") },
    });
    for kind in kinds.iter().rev() {
        judge = json!({
            "if": is(kind),
            "then": { "$ref": format!("#/definitions/{}", kind.name) },
            "else": judge,
        });
    }
    let mut node = json!({ "type": "object", "properties": offered });
    node.as_object_mut()
        .expect("the schema of a node is a table")
        .extend(judge.as_object().cloned().unwrap_or_default());
    node
}

/// The parameters of all kinds, or of all blocks of a name: one entry a key. Each comes with its kind and its key there.
fn offered_params(specs: &[(&str, &'static str, &ParamSpec)]) -> BTreeMap<String, Value> {
    let block = |key: &str, spec: &ParamSpec| spec.block.filter(|block| block.name == key);
    let told = specs.iter().map(|(kind, key, spec)| {
        let of_block = block(key, spec).map(|block| one_line(block.doc));
        (*key, *kind, of_block.unwrap_or_else(|| doc(spec)))
    });
    let mut offered = BTreeMap::new();
    for (key, doc) in union(told) {
        let mut shapes: Vec<Value> = vec![];
        let mut inner = vec![];
        for (kind, _, spec) in specs.iter().filter(|(_, k, _)| *k == key) {
            if block(key, spec).is_some() {
                inner.push((*kind, spec.field(), *spec));
                continue;
            }
            let shape = plain(&spec.ty);
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        if !inner.is_empty() {
            shapes.push(json!({ "type": "object", "properties": offered_params(&inner) }));
        }
        offered.insert(key.to_string(), offer(&doc, shapes));
    }
    offered
}

/// The words for one name: the kinds that say the same stand together.
fn union<'a>(all: impl Iterator<Item = (&'a str, &'a str, String)>) -> BTreeMap<&'a str, String> {
    let mut said: BTreeMap<&str, Vec<(String, Vec<&str>)>> = BTreeMap::new();
    for (name, kind, doc) in all {
        let docs = said.entry(name).or_default();
        match docs.iter_mut().find(|(known, _)| *known == doc) {
            Some((_, kinds)) if kinds.contains(&kind) => {}
            Some((_, kinds)) => kinds.push(kind),
            None => docs.push((doc, vec![kind])),
        }
    }
    said.into_iter()
        .map(|(name, docs)| {
            let lines: Vec<String> = docs
                .into_iter()
                .map(|(doc, kinds)| format!("{}: {doc}", kinds.join(", ")))
                .collect();
            (name, lines.join("\n\n"))
        })
        .collect()
}

/// Offered and never wrong.
fn offer(description: &str, mut shapes: Vec<Value>) -> Value {
    shapes.push(json!({ "x-taplo": { "hidden": true } }));
    json!({ "description": description, "anyOf": shapes })
}

/// What a node of this kind may say.
fn of_kind(kind: &Kind) -> Value {
    let ports: Map<String, Value> = kind
        .inputs
        .iter()
        .map(|port| {
            let doc = port_doc(port.ty.word(), port.doc);
            (
                port.name.into(),
                json!({ "anyOf": [{ "type": "string" }, { "const": false }], "description": doc }),
            )
        })
        .collect();
    let mut properties = Map::new();
    properties.insert("kind".into(), json!(true));
    properties.insert("description".into(), json!({ "type": "string" }));
    let inputs = or_variable(json!({
        "type": "object", "properties": ports,
        "additionalProperties": only(&format!("an input of `{}`", kind.name)),
    }));
    properties.insert("in".into(), inputs);
    for spec in specs(kind) {
        let shape = judged(&spec);
        let Some(block) = spec.block else {
            properties.insert(spec.name.into(), shape);
            continue;
        };
        let table = properties.entry(block.name).or_insert_with(|| {
            or_false(or_variable(json!({
                "type": "object", "description": one_line(block.doc), "properties": {},
                "additionalProperties": only(&format!("a parameter of `{}`", block.name)),
            })))
        });
        table["properties"][spec.field()] = shape;
    }
    json!({
        "description": kind.summary, "properties": properties,
        "additionalProperties": only(&format!("a parameter of `{}`", kind.name)),
    })
}

/// A value of a parameter.
fn judged(spec: &ParamSpec) -> Value {
    let mut shape = strict(&spec.ty);
    // As in `u64`: the field's own type says which integers it takes.
    if spec.ty == Ty::Int && (spec.fits)(&Param::Int(-1)).is_err() {
        shape["minimum"] = json!(0);
    }
    if spec.can_be_absent() {
        shape = or_false(shape);
    }
    shape["description"] = json!(doc(spec));
    if let Default::Value(value) = &spec.default {
        shape["default"] = json!(value);
    }
    shape
}

/// What a node of a recipe without a parent has to say.
fn whole_node(kinds: &[&Kind]) -> Value {
    let mut judge = json!({ "required": ["kind"] });
    for kind in kinds.iter().rev() {
        let ports = kind
            .inputs
            .iter()
            .filter(|p| matches!(p.need, Need::Always))
            .map(|p| p.name);
        let ports: Vec<&str> = ports.collect();
        let specs = specs(kind).into_iter();
        let mut properties = json!({ "in": { "required": ports } });
        let mut required = vec![];
        for spec in specs.filter(|s| matches!(s.default, Default::Required)) {
            match spec.block {
                None => required.push(spec.name),
                Some(block) => {
                    let inner = &mut properties[block.name]["required"];
                    match inner.as_array_mut() {
                        Some(inner) => inner.push(json!(spec.field())),
                        None => *inner = json!([spec.field()]),
                    }
                    if !block.optional && !required.contains(&block.name) {
                        required.push(block.name);
                    }
                }
            }
        }
        if !ports.is_empty() {
            required.push("in");
        }
        let then = json!({ "required": required, "properties": properties });
        judge = json!({ "if": is(kind), "then": then, "else": judge });
    }
    judge
}

fn is(kind: &Kind) -> Value {
    json!({ "required": ["kind"], "properties": { "kind": { "const": kind.name } } })
}

fn specs(kind: &Kind) -> Vec<ParamSpec> {
    (kind.params)()
        .into_iter()
        .chain(kind.execution())
        .collect()
}

fn port_doc(ty: &str, doc: &str) -> String {
    format!("{doc} ({ty})")
}

/// The doc comment as one line, with the default and what that means for the key.
fn doc(spec: &ParamSpec) -> String {
    let default = match &spec.default {
        Default::Required => "Required.".to_string(),
        Default::Absent => "Absent by default.".to_string(),
        Default::Value(value) => format!("Default {}.", value.canon()),
    };
    format!("{} {default}", one_line(spec.doc))
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value's shape, for an editor that completes it.
fn plain(ty: &Ty) -> Value {
    match ty {
        Ty::Bool => json!({ "type": "boolean" }),
        Ty::Int => json!({ "type": "integer" }),
        Ty::Float => json!({ "type": "number" }),
        Ty::Str | Ty::Path => json!({ "type": "string" }),
        Ty::Choice(words) => json!({ "enum": words }),
        Ty::Pattern(p) => json!({ "type": "string", "examples": p.examples }),
        Ty::List(of) => json!({ "type": "array", "items": plain(of) }),
        Ty::Map(of) => json!({ "type": "object", "additionalProperties": plain(of) }),
        Ty::Any => json!({}),
    }
}

/// The same for judging it.
fn strict(ty: &Ty) -> Value {
    match ty {
        Ty::Str | Ty::Path | Ty::Any => plain(ty),
        Ty::Choice(words) => word(words),
        Ty::Pattern(p) => unless_variable(json!({ "pattern": p.regex })),
        Ty::List(of) => or_variable(json!({ "type": "array", "items": strict(of) })),
        Ty::Map(of) => or_variable(json!({ "type": "object", "additionalProperties": strict(of) })),
        Ty::Bool | Ty::Int | Ty::Float => or_variable(plain(ty)),
    }
}

fn or_variable(mut shape: Value) -> Value {
    shape["type"] = json!([shape["type"], "string"]);
    shape["pattern"] = json!(VARIABLE);
    shape
}

/// What a parent wrote is taken back by `false`. No `anyOf`: of a value that is wrong it would say nothing.
fn or_false(mut shape: Value) -> Value {
    let mut types = match shape["type"].take() {
        Value::Array(types) => types,
        one => vec![one],
    };
    types.push(json!("boolean"));
    shape["type"] = json!(types);
    shape["not"] = json!({ "const": true });
    shape
}

fn word(words: &[&str]) -> Value {
    unless_variable(json!({ "enum": words }))
}

fn unless_variable(then: Value) -> Value {
    json!({ "type": "string", "if": { "not": { "pattern": WITH_VARIABLE } }, "then": then })
}
