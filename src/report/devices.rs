//! Under which numerics what is compared was computed: number types, and whose arithmetic. A reader of records.

use crate::side::Side;
use base::device::CPU_NUMERICS;
use base::text::listed;
use engine::graph::Node;
use engine::store::record::Record;
use std::collections::BTreeSet;

/// By kind of node, the numerics that nodes of it were computed under.
pub type Numerics = BTreeSet<(&'static str, String)>;

/// Of the models of this node and of all above it; nothing where none of them computes with one, or there is no record.
pub fn numerics(side: &Side, node: &str) -> Numerics {
    let Some(id) = side.graph.find(node) else {
        return Numerics::new();
    };
    let nodes = side.graph.closure(&[id]);
    let each = nodes.into_iter().flat_map(|id| {
        let node = side.graph.node(id);
        let record = side.records.get(&id);
        let used = record.map_or(vec![], |record| of(node, record));
        used.into_iter()
            .map(|numerics| (node.kind.name, numerics))
            .collect::<Vec<_>>()
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

/// What is to be said of two that were not computed alike: `first` is called so, and so on. Arms of one comparison have nodes of other
/// kinds; what both have is to be computed alike, and so is the whole.
pub fn apart(
    (first, its): (&str, &Numerics),
    (second, others): (&str, &Numerics),
) -> Option<String> {
    if its.is_empty() || others.is_empty() {
        return None;
    }
    let all = |of: &Numerics| BTreeSet::from_iter(of.iter().map(|(_, numerics)| numerics.clone()));
    let told = |all: &BTreeSet<String>| listed(all.iter().map(String::as_str));
    let said = |of: &str, its: &BTreeSet<String>, others: &BTreeSet<String>| {
        format!(
            "what is compared was computed under different numerics: {} for {of}{first}, {} for {of}{second}",
            told(its),
            told(others)
        )
    };
    let (own, theirs) = (all(its), all(others));
    if own != theirs {
        return Some(said("", &own, &theirs));
    }
    let kinds: BTreeSet<&str> = its.iter().map(|(kind, _)| *kind).collect();
    kinds.into_iter().find_map(|kind| {
        let of = |set: &Numerics| all(&set.iter().filter(|(k, _)| *k == kind).cloned().collect());
        let (own, theirs) = (of(its), of(others));
        let differ = !theirs.is_empty() && own != theirs;
        differ.then(|| said(&format!("`{kind}` of "), &own, &theirs))
    })
}
