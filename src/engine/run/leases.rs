//! Leases of nodes at a remote: for which they are asked, what came of that, and what is held. How that goes on is `leasing`'s.

use super::executor::Resources;
use super::keeper::Keeper;
use crate::graph::NodeId;
use crate::store::claims::Claim;
use crate::store::claims::lease::Tenant;
use crate::store::index::RecordSummary;
use base::hash::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// How far leases are.
#[derive(Default)]
pub(super) struct Leasing {
    /// Nodes whose lease is asked for.
    pub asked: BTreeMap<NodeId, Waiting>,
    /// Nodes that start now: their claim here, and their lease if they have one.
    pub given: BTreeMap<NodeId, (Arc<dyn Claim>, Lease)>,
    /// Nodes that others make, since when that is known.
    pub theirs: BTreeMap<NodeId, Instant>,
    /// Of these, those of whose lease nothing can be read, since when that is so.
    pub unread: BTreeMap<NodeId, Instant>,
    /// Those that were waited for long enough: they are made here as well.
    pub over: BTreeSet<NodeId>,
    /// Of nodes whose records are on their way to the remote.
    publishing: BTreeMap<NodeId, Lease>,
}

/// Kept until it is dropped; none where a node has none.
pub(super) type Lease = Option<Arc<Keeper>>;

/// What a node holds whose lease is asked for.
pub(super) struct Waiting {
    pub key: Key,
    pub lock: Arc<dyn Claim>,
    pub taken: Resources,
}

/// What came of asking.
pub(super) enum Answer {
    Ours(Keeper),
    Theirs(Tenant),
    /// Somebody's, and nobody can tell whose; or whose it is by now, where it was read before.
    Unread {
        read: bool,
    },
    /// It was made meanwhile.
    Made(Box<RecordSummary>),
    /// Nobody knows: it is made without a lease.
    Unknown,
}

impl Leasing {
    /// What was held of a node when its lease was asked for, and what came of that.
    pub fn take(&mut self, id: NodeId) -> Option<(Arc<dyn Claim>, Lease)> {
        self.given.remove(&id)
    }

    pub fn is_asked(&self, id: NodeId) -> bool {
        self.asked.contains_key(&id)
    }

    pub fn has_key(&self, key: &Key) -> bool {
        self.asked.values().any(|waiting| waiting.key == *key)
    }

    /// Nodes that are about to start.
    pub fn count(&self) -> usize {
        self.asked.len()
    }

    /// Until the record is at the remote.
    pub fn publishes(&mut self, id: NodeId, lease: Lease) {
        if lease.is_some() {
            self.publishing.insert(id, lease);
        }
    }

    pub fn published(&mut self, id: NodeId) {
        self.publishing.remove(&id);
    }

    /// Everything is given up.
    pub fn end(&mut self) {
        *self = Leasing::default();
    }
}
