//! Nodes that are to be made again on another device than before: the bytes will be others, and what was made from them is no hit any more.

use super::decision::Decision;
use super::planned::Planned;
use crate::graph::{Graph, NodeId};
use crate::store::Store;
use crate::system::gpus;
use base::device::{self, DeviceName, DeviceUsed, Moved};
use std::collections::BTreeMap;

/// By node, of those that run although they have a record: what that was computed on, and what is to compute.
pub(super) fn moved(store: &Store, graph: &Graph, plan: &[Planned]) -> BTreeMap<NodeId, Moved> {
    let each = plan.iter().map(|planned| &planned.decision);
    each.filter_map(|decision| Some((decision.id, of(store, graph, decision)?)))
        .collect()
}

fn of(store: &Store, graph: &Graph, decision: &Decision) -> Option<Moved> {
    let node = graph.node(decision.id);
    let said = node.said()?;
    let key = decision.key.as_ref().filter(|_| decision.verdict.runs())?;
    let record = store.record(key).ok().flatten()?;
    // What somebody answers for was computed by nobody of ours.
    if record.accepted.is_some() || record.adopted.is_some() {
        return None;
    }
    let before = &record.provenance.origin.devices;
    if said == DeviceUsed::cpu() {
        return Moved::between(before, &[]);
    }
    if let Some(now) = node.used() {
        return Moved::between(before, &as_before(now, before));
    }
    let same = !before.is_empty() && before.iter().all(|used| is_like(used, &said));
    (!same).then(|| Moved {
        before: device::told(before),
        now: said.told(),
    })
}

/// What is to compute, with what its model decides of it as it was before: in a plan nobody looks at that.
fn as_before(now: DeviceUsed, before: &[DeviceUsed]) -> Vec<DeviceUsed> {
    let same = before
        .iter()
        .filter(|used| used.computed_by(&now.numerics))
        .map(|used| DeviceUsed {
            numerics: used.numerics.clone(),
            ..now.clone()
        });
    let same: Vec<DeviceUsed> = same.collect();
    match same.is_empty() {
        true => vec![now],
        false => same,
    }
}

/// Whether a device that cannot be asked here is such a one, as far as can be told.
fn is_like(used: &DeviceUsed, said: &DeviceUsed) -> bool {
    if !used.computed_by(&said.numerics) {
        return false;
    }
    let [before, now] = [used, said].map(|one| DeviceName::parse(&one.name));
    match (before, now) {
        (Some(DeviceName::Cuda(_)), Some(DeviceName::Cuda(_))) => {
            let here = gpus::models();
            here.is_empty() || used.model.is_empty() || here.contains(&used.model)
        }
        (before, now) => before == now,
    }
}
