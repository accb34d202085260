//! What is decided of one node, and what the nearest earlier record says of it.

use super::history::History;
use super::verdict::Verdict;
use crate::graph::manifest::Manifest;
use crate::graph::{Node, NodeId};
use crate::store::index::RecordSummary;
use crate::store::record::{Cost, Record};
use base::calls::Calls;
use base::hash::{Digest, Key, PlanKey};
use std::collections::BTreeMap;

/// What is decided of one node.
pub struct Decision {
    pub id: NodeId,
    pub plan_key: PlanKey,
    /// Known as soon as the content of every input is, as is the key, which is its hash. Not kept of a hit, whose record has it.
    pub manifest: Option<Manifest>,
    pub key: Option<Key>,
    pub verdict: Verdict,
    /// The key of the earlier record that the reasons compare with.
    pub compared: Option<Key>,
    /// Of what is to be made.
    pub earlier: Option<Box<Earlier>>,
}

/// What the nearest earlier record took; of what is left, where an attempt goes on from a known place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Earlier {
    /// Of the node itself, else of another of its kind, whose calls say nothing.
    pub own: bool,
    /// The record, where it is of the node itself with other parameters or below others.
    pub unlike: Option<Key>,
    pub seconds: f64,
    pub dollars: f64,
    /// Highest resident memory.
    pub peak_bytes: u64,
    /// Floating-point operations, where they were counted.
    pub flop: f64,
    pub calls: Calls,
}

impl Earlier {
    pub(super) fn own(cost: &Cost) -> Earlier {
        Earlier {
            own: true,
            unlike: None,
            seconds: cost.seconds,
            dollars: cost.dollars,
            peak_bytes: cost.peak_bytes,
            flop: cost.flop,
            calls: cost.calls,
        }
    }

    fn of_the_kind(cost: &Cost) -> Earlier {
        Earlier {
            own: false,
            calls: Calls::default(),
            ..Earlier::own(cost)
        }
    }

    /// Of what is left when this share is done.
    pub(super) fn after(self, fraction: f64) -> Earlier {
        let left = (1.0 - fraction).clamp(0.0, 1.0);
        Earlier {
            seconds: self.seconds * left,
            dollars: self.dollars * left,
            ..self
        }
    }
}

/// What the nearest record took: of the node itself, else of another of its kind, which tells memory and is no reason for anything.
pub(super) fn nearest(history: &History, node: &Node, own: Option<&Record>) -> Option<Earlier> {
    let of_the_kind = || history.newest(node.kind.name);
    let own = own.map(|r| Earlier {
        unlike: Some(r.key.clone()),
        ..Earlier::own(&r.cost)
    });
    own.or_else(|| of_the_kind().map(|b| Earlier::of_the_kind(&b.cost)))
}

/// The place of a node among decisions in graph order.
pub(super) fn place(all: &[Decision], id: NodeId) -> Option<usize> {
    all.binary_search_by_key(&id, |d| d.id).ok()
}

/// The record of a node that is a hit.
pub(super) fn hit(all: &[Decision], id: NodeId) -> Option<&RecordSummary> {
    match &find(all, id)?.verdict {
        Verdict::Hit(brief) => Some(brief),
        _ => None,
    }
}

/// What is decided of this node.
pub fn find(all: &[Decision], id: NodeId) -> Option<&Decision> {
    Some(&all[place(all, id)?])
}

/// Digest by output.
pub type Outputs = BTreeMap<String, Digest>;

pub fn outputs(brief: &RecordSummary) -> Outputs {
    let named = brief.outputs.iter();
    named.map(|o| (o.name.clone(), o.digest.clone())).collect()
}
