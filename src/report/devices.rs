//! Under which numerics what is compared was computed: number types, and whose arithmetic. A reader of records.

use crate::side::Side;
use base::device::CPU_NUMERICS;
use base::text::listed;
use engine::graph::Node;
use engine::store::record::Record;
use std::collections::BTreeSet;

/// Of the models of this node and of all above it; nothing where none of them computes with one, or there is no record.
pub fn numerics(side: &Side, node: &str) -> BTreeSet<String> {
    let Some(id) = side.graph.find(node) else {
        return BTreeSet::new();
    };
    let nodes = side.graph.closure(&[id]);
    let each = nodes.into_iter().flat_map(|id| {
        let record = side.records.get(&id);
        record.map_or(vec![], |record| of(side.graph.node(id), record))
    });
    each.collect()
}

fn of(node: &Node, record: &Record) -> Vec<String> {
    let devices = &record.provenance.origin.devices;
    match (node.device(), devices.is_empty()) {
        (None, true) => vec![],
        (Some(_), true) => vec![CPU_NUMERICS.into()],
        (_, false) => devices.iter().map(|used| used.numerics.clone()).collect(),
    }
}

/// What is to be said of two that were not computed alike: `first` is called so, and so on.
pub fn apart(
    (first, its): (&str, &BTreeSet<String>),
    (second, others): (&str, &BTreeSet<String>),
) -> Option<String> {
    if its == others || its.is_empty() || others.is_empty() {
        return None;
    }
    let told = |all: &BTreeSet<String>| listed(all.iter().map(String::as_str));
    Some(format!(
        "what is compared was computed under different numerics: {} for {first}, {} for {second}",
        told(its),
        told(others)
    ))
}
