//! Where everything comes from: key, parameters, inputs, outputs, cost and maker of every node, and the recipes as they
//! were resolved.

use crate::html::graph::Group;
use crate::html::study::{Item, Study};
use crate::words;
use base::text::{bytes, dollars, duration};
use engine::kind::Type;
use engine::store::record::Record;
use serde::Serialize;

/// Of one group of the graph.
#[derive(Serialize)]
pub struct Entry {
    pub name: String,
    pub kind: String,
    pub about: Option<String>,
    pub recipes: Vec<String>,
    pub state: String,
    pub missing: bool,
    pub variants: Vec<Variant>,
}

#[derive(Serialize)]
pub struct Variant {
    /// `seed = 1`; empty for the only one.
    pub title: String,
    /// None where it is missing.
    pub key: Option<String>,
    pub revision: u32,
    pub params: Vec<(String, String)>,
    /// Port, and the node and output it gets.
    pub inputs: Vec<(String, String)>,
    /// Output, type, digest, size.
    pub outputs: Vec<Output>,
    pub cost: Option<String>,
    pub made_by: Option<String>,
}

#[derive(Serialize)]
pub struct Output {
    pub name: String,
    pub ty: Type,
    pub digest: String,
    pub size: String,
}

pub fn entries(study: &Study, groups: &[Group]) -> Vec<Entry> {
    let entry = |group: &Group| Entry {
        name: group.name.clone(),
        kind: group.kind.clone(),
        about: group.about.clone(),
        recipes: group.recipes.clone(),
        state: group.state(),
        missing: group.missing() > 0,
        variants: group
            .items
            .iter()
            .map(|i| variant(study, &study.items[*i], group))
            .collect(),
    };
    groups.iter().map(entry).collect()
}

fn variant(study: &Study, item: &Item, group: &Group) -> Variant {
    let side = &study.sides[item.side];
    // What tells the group's variants apart.
    let differs = |axis: &String| {
        let of = |i: &usize| study.sides[study.items[*i].side].axes.get(axis);
        group.items.iter().any(|i| of(i) != side.axes.get(axis))
    };
    let axes = side.axes.iter().filter(|(a, _)| differs(a));
    let axes: Vec<String> = axes.map(|(a, v)| format!("{a} = {v}")).collect();
    let graph = &side.graph;
    let inputs = item.node.inputs.iter();
    let outputs = item.record.into_iter().flat_map(|r| &r.outputs);
    Variant {
        title: axes.join(", "),
        key: item.record.map(|r| r.key.to_string()),
        revision: item.node.kind.revision,
        params: params(item),
        inputs: inputs
            .map(|(port, edge)| {
                (
                    port.to_string(),
                    format!("{}.{}", graph.node(edge.node).name, edge.output),
                )
            })
            .collect(),
        outputs: outputs
            .map(|(name, artifact)| Output {
                name: name.clone(),
                ty: artifact.ty,
                digest: artifact.digest.to_string(),
                size: bytes(artifact.files.iter().map(|f| f.size).sum()),
            })
            .collect(),
        cost: item.record.map(cost),
        made_by: item.record.map(|r| {
            let made = &r.provenance;
            format!(
                "recipe `{}`, node `{}`, run {}, version {}",
                made.recipe, made.node, made.run, made.version
            )
        }),
    }
}

fn cost(record: &Record) -> String {
    let cost = &record.cost;
    let paid = match cost.dollars > 0.0 {
        true => format!(", {}", dollars(cost.dollars)),
        false => String::new(),
    };
    let asked = words::calls(&cost.calls);
    let asked = asked.map_or(String::new(), |calls| format!("; asked services: {calls}"));
    format!(
        "{} (cpu {}, memory {}){paid}{asked}",
        duration(cost.seconds),
        duration(cost.cpu_seconds),
        bytes(cost.peak_bytes)
    )
}

/// As in the text whose hash is the key; of what is missing, as in the recipe.
fn params(item: &Item) -> Vec<(String, String)> {
    if let Some(record) = item.record {
        let lines = record.manifest.lines();
        let named = lines.filter_map(|l| {
            l.strip_prefix("param ")
                .or_else(|| l.strip_prefix("source "))
        });
        return named
            .filter_map(|l| l.split_once(" = "))
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
    }
    let params = item.node.params.iter();
    params
        .map(|(name, value)| (name.clone(), value.canon()))
        .collect()
}
