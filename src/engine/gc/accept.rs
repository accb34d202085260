//! Old outputs under a new key: somebody says that what changed is harmless. The record tells who said so, why, and what changed.

use crate::gc::vouch::{self, OverrideSource, Refusal};
use crate::graph::changes::changes;
use crate::graph::{Graph, NodeId};
use crate::store::record::{Accepted, Cost, Provenance, Record};
use crate::store::{Lookup, Store};
use crate::system::clock;
use anyhow::anyhow;
use base::hash::Key;

/// `from`: the record whose outputs they are; without it the nearest earlier one of this node, as `why` compares.
pub fn accept(
    store: &Store,
    graph: &Graph,
    id: NodeId,
    from: Option<&Key>,
    voucher: &OverrideSource,
) -> Result<Record, Refusal> {
    let node = graph.node(id);
    let no = |message: String| Err(Refusal::No(message));
    let open = vouch::open(store, graph, id)?;
    let Some(from) = from.or(open.compared.as_ref()) else {
        return no(format!(
            "there is no earlier record of `{}` to accept",
            node.name
        ));
    };
    // From here on nothing is evicted.
    let _shared = store.sharing()?;
    let Some(old) = store.record(from)? else {
        return no(format!("there is no record {}", from.short()));
    };
    if old.kind != node.kind.name {
        return no(format!(
            "record {} is of kind `{}`, `{}` of `{}`",
            from.short(),
            old.kind,
            node.name,
            node.kind.name
        ));
    }
    let delivered = old.outputs.iter().map(|(n, a)| (n.as_str(), a.ty));
    if !delivered.eq(node.kind.types(&node.params)) {
        return no(format!(
            "record {} has other outputs than `{}` delivers now",
            from.short(),
            node.name
        ));
    }
    if !matches!(store.lookup(from), Lookup::Whole(_)) || !store.verify(&old)?.is_empty() {
        return no(format!(
            "the artifact of record {} is not whole, so it cannot be accepted",
            from.short()
        ));
    }
    let now = clock::now_ms();
    let record = Record {
        key: open.key.clone(),
        kind: old.kind.clone(),
        manifest: open.manifest.text().to_string(),
        outputs: old.outputs.clone(),
        cost: Cost {
            started_ms: now,
            ..Cost::default()
        },
        provenance: Provenance {
            recipe: voucher.recipe.into(),
            node: node.plain_name().into(),
            version: voucher.version.into(),
            ..Provenance::default()
        },
        logs: vec![],
        accepted: Some(Accepted {
            from: from.clone(),
            reason: voucher.reason.into(),
            at_ms: now,
            changes: changes(&old.manifest, open.manifest.text()),
        }),
        adopted: None,
    };
    if !store.add_record(&record)? {
        return Err(Refusal::World(anyhow!("another process was faster")));
    }
    store.remember(&open.plan_key, &open.key);
    Ok(record)
}
