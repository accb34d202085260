//! What is asked of a remote while a run goes on, and what came of it: what waits, and how much is under way. How it is done is
//! `sharing`'s.

use crate::graph::NodeId;
use crate::run::leases::Answer;
use crate::store::claims::lease::Tenant;
use crate::store::index::RecordSummary;
use crate::store::record::Record;
use crate::store::remote::Published;
use anyhow::Result;
use base::hash::Key;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

pub(super) enum Errand {
    /// A node is about to start.
    Before(NodeId),
    /// A node that could start now asks for its lease.
    Lease {
        id: NodeId,
        key: Key,
        run: String,
        node: String,
    },
    /// Somebody wants the bytes of a hit.
    Bytes(NodeId, Box<RecordSummary>),
    Publish(NodeId, Box<Record>),
    /// What was published goes into the index.
    Settle,
}

/// What came of an errand.
pub(super) enum Back {
    Before(NodeId, Fetched),
    Lease(NodeId, Answer),
    Bytes(NodeId, Box<RecordSummary>, Fetched),
    Published(NodeId, Box<Record>, Result<Option<Published>>),
    Settled(Result<()>),
}

/// What was fetched for a node.
#[derive(Default)]
pub(super) struct Fetched {
    /// Somebody made it.
    pub(super) found: Option<Box<RecordSummary>>,
    /// Another machine makes it right now.
    pub(super) theirs: Option<Tenant>,
    /// Its lease was looked at, and could be read.
    pub(super) read: bool,
    /// Another machine made it, and whether it still does could not be read.
    pub(super) unread: bool,
    /// Nodes whose bytes the remote could not give.
    pub(super) lost: BTreeSet<NodeId>,
    /// What went wrong, by the node that it is of.
    pub(super) told: Vec<(NodeId, String)>,
}

#[derive(Default)]
pub(super) struct Errands {
    pub(super) waiting: VecDeque<Errand>,
    /// Of nodes whose room is kept for them: they wait for nobody.
    pub(super) first: VecDeque<Errand>,
    pub(super) under_way: usize,
    pub(super) publishing: usize,
    /// Nodes that are asked for.
    pub(super) before: BTreeSet<NodeId>,
    /// How often a node was asked for.
    pub(super) asked: BTreeMap<NodeId, usize>,
    /// Given, and not looked at again since: some are in no index yet.
    pub(super) unsettled: usize,
    pub(super) arrived: usize,
    /// When was looked at what moves, and what had moved.
    pub(super) looked: Option<(Instant, u64, usize)>,
    /// Of a remote that takes nothing, once.
    pub(super) refusal_told: bool,
}

impl Errands {
    pub fn ask(&mut self, errand: Errand) {
        self.waiting.push_back(errand);
    }

    pub fn busy(&self) -> bool {
        let waits = !self.waiting.is_empty() || !self.first.is_empty();
        self.under_way > 0 || waits || self.unsettled > 0
    }

    /// To fetch the inputs of a node once more, unless that was done.
    pub fn again(&mut self, id: NodeId) -> bool {
        match self.asked.get_mut(&id) {
            Some(times) if *times < 2 => {
                self.before.insert(id);
                *times += 1;
                self.waiting.push_back(Errand::Before(id));
                true
            }
            Some(_) => self.before.contains(&id),
            None => true,
        }
    }
}
