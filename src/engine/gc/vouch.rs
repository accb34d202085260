//! What `accept` and `adopt` have in common: a node whose key is known, has no record, and is executed by nobody at the moment;
//! and what is said of such records below them.

use crate::graph::manifest::Manifest;
use crate::graph::{Graph, NodeId};
use crate::plan::verdict::Verdict;
use crate::plan::{self, Wanted};
use crate::store::Store;
use crate::store::claims::Claim;
use crate::store::paths::Absent;
use anyhow::Result;
use base::hash::{Key, PlanKey};
use std::sync::Arc;

/// Why there is no record.
#[derive(Debug)]
pub enum Refusal {
    /// What was asked for cannot be.
    No(String),
    World(anyhow::Error),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Refusal {
        Refusal::World(error)
    }
}

/// Who answers for a record, and where.
pub struct OverrideSource<'a> {
    pub reason: &'a str,
    pub recipe: &'a str,
    /// Of the binary.
    pub version: &'a str,
}

/// A key that waits for a record; locked as long as this lives.
pub(super) struct Open {
    pub key: Key,
    pub plan_key: PlanKey,
    pub manifest: Manifest,
    /// The earlier record of this node.
    pub compared: Option<Key>,
    _lock: Arc<dyn Claim>,
}

pub(super) fn open(store: &Store, graph: &Graph, id: NodeId) -> Result<Open, Refusal> {
    let name = &graph.node(id).name;
    let no = |message: String| Err(Refusal::No(message));
    let wanted = Wanted {
        only: vec![id],
        ..Wanted::default()
    };
    let mut nodes = plan::decide(store, graph, &wanted)?;
    let at = nodes.iter().position(|p| p.id == id);
    let planned = nodes.swap_remove(at.expect("a plan holds what was asked for"));
    match &planned.verdict {
        Verdict::Run(_) | Verdict::Resume { .. } => {}
        Verdict::Maybe { after, .. } => {
            let above: Vec<String> = after
                .iter()
                .map(|id| format!("`{}`", graph.node(*id).name))
                .collect();
            return no(format!(
                "`{name}` has no key yet: it depends on the bytes {} will give; run or accept what is above first",
                above.join(", ")
            ));
        }
        Verdict::Needs { absent } => {
            let absent: Vec<String> = absent.iter().map(Absent::told).collect();
            return no(format!("`{name}` has no key: {}", absent.join("; ")));
        }
        Verdict::Hit(_) => {
            return no(format!(
                "`{name}` is a hit: it has an artifact under its key"
            ));
        }
    }
    let key = planned.key.clone().expect("a node that runs has a key");
    // What is refused until here has made no store.
    let prepared = store.prepare();
    prepared.map_err(|failure| Refusal::World(anyhow::Error::new(failure)))?;
    let Some(lock) = store.try_lock(&key)? else {
        return no(format!("`{name}` is being executed at this moment"));
    };
    // Somebody may have been faster, or the artifact is damaged.
    if store.record(&key).map_or(true, |record| record.is_some()) {
        return no(format!(
            "there is a record of `{name}` whose artifact is not whole; a run makes it again"
        ));
    }
    Ok(Open {
        key,
        plan_key: planned.plan_key,
        manifest: planned.manifest.expect("a node that runs has a manifest"),
        compared: planned.compared,
        _lock: lock,
    })
}
