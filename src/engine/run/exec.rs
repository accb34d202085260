//! A run that goes on: its nodes, what is free, what is waited for. How that changes is in the files of what happens: `drive` decides,
//! `tokens` says who starts next, `lifecycle` is what happens to one node.

use super::errands::{Back, Errands};
use super::executor::{self, Resources, Task};
use super::keeper::Keeper;
use super::leases::{Lease, Leasing};
use super::queue::Queue;
use super::settings::Settings;
use super::watch::Watch;
use crate::events::event::{Event, Holder, State};
use crate::events::journal::Journal;
use crate::graph::manifest::Manifest;
use crate::graph::{Graph, NodeId, PerNode};
use crate::kind::Needs;
use crate::kind::attempt::{Attempt, Spec};
use crate::kind::failure::Class;
use crate::plan::{Decision, Planner};
use crate::store::Store;
use crate::store::claims::Claim;
use crate::store::commit::{CommitError, Committed};
use crate::store::index::RecordSummary;
use crate::store::origin;
use crate::store::record::Cost;
use anyhow::Result;
use base::calls::Calls;
use base::hash::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A worker that was asked to stop has this long to save its state.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(20);

/// A node whose key is held by somebody else.
pub(super) struct Held {
    pub(super) looked: Instant,
    pub(super) by: Option<Holder>,
    /// When the holder was first seen to be an orphan, and whether it was killed since.
    pub(super) orphan: Option<(Instant, bool)>,
}

/// How far a run is with its limit.
#[derive(Default)]
pub(super) struct Limited {
    pub(super) looked: Option<Instant>,
    /// Since when it is reached, and what to say of it.
    pub(super) reached: Option<(Instant, String)>,
}

/// News from jobs, and from the threads that commit.
pub(super) enum News {
    Job(NodeId, executor::News),
    Committed(NodeId, Box<Result<Committed, CommitError>>),
    /// The attempts of a key that was committed are gone, and its lock is free.
    Swept(Key),
    /// What was asked of a remote.
    Back(Back),
    /// Who took over its lease has a record of it, and nothing is committed here.
    Beaten(NodeId, Box<RecordSummary>),
}

/// A node whose worker runs, or whose outputs are being committed.
pub(super) struct Running {
    pub(super) key: Key,
    /// Given back when its worker has ended.
    pub(super) taken: Resources,
    pub(super) manifest: Manifest,
    pub(super) attempt: Attempt,
    pub(super) spec: Spec,
    pub(super) earlier: Vec<Attempt>,
    /// Until its worker has ended.
    pub(super) task: Option<Box<dyn Task>>,
    pub(super) watch: Watch,
    /// What the worker said before it failed.
    pub(super) complaint: Option<(String, Class)>,
    /// The job that it was in never came to it.
    pub(super) unreached: bool,
    /// The limit of the run was reached.
    pub(super) stop_requested: bool,
    /// What it has asked so far, where there is a limit.
    pub(super) calls: Calls,
    /// What it was let know, by the name of the variable: not to be repeated.
    pub(super) secrets: BTreeMap<String, String>,
    /// Held until the record is there; by whoever attends to it, where that is elsewhere.
    pub(super) lock: Option<Arc<dyn Claim>>,
    /// Renews it.
    pub(super) keeper: Option<Keeper>,
    /// Its lease at the remote, until the record is there.
    pub(super) lease: Lease,
    /// When it was asked to stop because that is somebody else's.
    pub(super) left: Option<Instant>,
}

pub(super) struct Exec<'a> {
    pub(super) store: &'a Store,
    pub(super) graph: &'a Graph,
    pub(super) settings: &'a Settings,
    pub(super) planner: &'a Planner<'a>,
    pub(super) listener: &'a mut dyn FnMut(&Event),
    pub(super) journal: Journal,
    pub(super) run: String,
    pub(super) sender: mpsc::Sender<News>,
    pub(super) states: PerNode<State>,
    /// Length of the longest path from the start of a node to the end of the run, in expected seconds.
    pub(super) remaining: PerNode<f64>,
    /// Verdicts from before the run, until they are used.
    pub(super) planned: PerNode<Decision>,
    pub(super) ready: Queue,
    /// Waiting nodes to be looked at: something above them has ended.
    pub(super) due: BTreeSet<NodeId>,
    /// Nodes whose state is not final.
    pub(super) open: usize,
    pub(super) users: PerNode<Vec<NodeId>>,
    pub(super) running: BTreeMap<NodeId, Running>,
    /// Of the nodes that have their outputs.
    pub(super) briefs: PerNode<RecordSummary>,
    /// Keys executed in this run: a forced twin is satisfied by them.
    pub(super) made: BTreeSet<Key>,
    /// Of these, those whose attempts are being removed under their lock.
    pub(super) sweeping: BTreeSet<Key>,
    /// What the nodes that run leave of the capacity; memory is not counted here, as it is expected and not given.
    pub(super) free: Resources,
    pub(super) peaks: PerNode<u64>,
    /// What is asked for a node that runs elsewhere.
    pub(super) needs: PerNode<Needs>,
    /// How many seconds a node is expected to take, where that is known.
    pub(super) lengths: PerNode<f64>,
    /// Of the nodes that ran elsewhere, by kind: the longest, in seconds.
    pub(super) longest: BTreeMap<&'static str, f64>,
    /// Of nodes that were evicted: what had been saved by then.
    pub(super) saved: BTreeMap<NodeId, u64>,
    /// Nodes that wait for another try, until then.
    pub(super) later: BTreeMap<NodeId, Instant>,
    /// What the ended attempts of this run took.
    pub(super) spent: BTreeMap<NodeId, Cost>,
    /// How often a node was tried again, by class.
    pub(super) tries: BTreeMap<(NodeId, &'static str), usize>,
    pub(super) held: BTreeMap<NodeId, Held>,
    /// When running nodes were looked at last.
    pub(super) looked: Instant,
    /// The failure after which nothing new starts.
    pub(super) halted: Option<String>,
    pub(super) trouble: Option<String>,
    /// Asked for when the first node starts.
    pub(super) origin: Option<origin::Asked>,
    pub(super) stopping: Option<Instant>,
    /// Nodes of which it was said that another one of this run has their GPU.
    pub(super) without_card: BTreeSet<NodeId>,
    pub(super) errands: Errands,
    pub(super) leasing: Leasing,
    pub(super) limited: Limited,
}
