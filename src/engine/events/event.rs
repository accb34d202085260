//! Everything that can happen in a run, as data: the terminal, the journal and every report are readers of this.

use crate::graph::changes::Reason;
use crate::kind::failure::Class;
use crate::kind::messages::{Metric, Sampled};
use crate::plan::PlannedNode;
use crate::store::record::Cost;
use base::device::Moved;
use base::hash::{Digest, Key};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Event {
    /// First of all. `nodes` in graph order, as planned before anything ran.
    RunStarted {
        run: String,
        threads: usize,
        nodes: Vec<PlannedNode>,
    },
    /// Emitted for every change of a node's state, and for nothing else.
    State {
        node: String,
        state: State,
    },
    Progress {
        node: String,
        done: u64,
        total: u64,
        unit: String,
        note: String,
        /// How many of them this attempt had to ask others for: the rest was there at once and says nothing of its pace. Absent
        /// where it made all of them itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sampled: Option<Sampled>,
    },
    Metric {
        node: String,
        #[serde(flatten)]
        metric: Metric,
    },
    Log {
        node: String,
        text: String,
    },
    Committed {
        node: String,
        key: Key,
        /// Digest by output.
        outputs: BTreeMap<String, Digest>,
        /// What its attempts in this run took.
        cost: Cost,
        /// A forced node gave the bytes of its earlier record.
        reproduced: bool,
    },
    /// A node gave other bytes than its earlier record. That record is in quarantine; what was made from it reruns.
    NotReproducible {
        node: String,
        key: Key,
        outputs: Vec<String>,
    },
    /// The same, and no wonder: it was computed on something else.
    OtherDevice {
        node: String,
        key: Key,
        outputs: Vec<String>,
        moved: Moved,
    },
    /// A node failed in a way that may not come again: it will be tried once more, after a pause. `attempt`: the number of tries so far.
    Retry {
        node: String,
        class: Class,
        message: String,
        attempt: usize,
        pause_seconds: f64,
    },
    /// A key that this run needs is held by the worker of an engine that is gone.
    Orphan {
        node: String,
        holder: Holder,
        /// `deed` in journals of older versions.
        #[serde(alias = "deed")]
        action: OrphanAction,
    },
    /// Where a node is that is executed elsewhere.
    Placed {
        node: String,
        /// The profile.
        on: String,
        /// What its scheduler calls the job.
        job: Option<String>,
        /// The machine it runs on; none while it waits for one.
        host: Option<String>,
        /// Why it waits, in the scheduler's words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        word: String,
    },
    /// A running node has said nothing for much longer than it used to.
    Silent {
        node: String,
        seconds: f64,
    },
    /// Last of all; without it the run did not end by itself.
    RunEnded {
        end: End,
        seconds: f64,
        counts: Counts,
    },
}

impl Event {
    pub fn node(&self) -> Option<&str> {
        match self {
            Event::RunStarted { .. } | Event::RunEnded { .. } => None,
            Event::State { node, .. }
            | Event::Progress { node, .. }
            | Event::Metric { node, .. }
            | Event::Log { node, .. }
            | Event::Committed { node, .. }
            | Event::NotReproducible { node, .. }
            | Event::OtherDevice { node, .. }
            | Event::Retry { node, .. }
            | Event::Orphan { node, .. }
            | Event::Placed { node, .. }
            | Event::Silent { node, .. } => Some(node),
        }
    }
}

/// What became of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrphanAction {
    /// It was seen, and is left alone to save its state.
    Seen,
    /// It ended by itself.
    Ended,
    /// It was killed, after it had had its time.
    Killed,
}

/// Another process that holds a key's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub run: String,
    /// What that run calls the node.
    pub node: String,
    pub attempt: String,
    pub host: String,
    /// What its executor calls the worker, `process 4711` say; the engine where there is no worker yet.
    #[serde(alias = "pid", deserialize_with = "worker")]
    pub worker: String,
    /// When the attempt began; milliseconds since 1970.
    pub since_ms: u64,
    /// Whether its engine is gone: it was told to save its state and end, and nobody will commit what it does.
    pub orphan: bool,
    /// Where its lease was seen, of one that has another store; then nothing is known of its attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// It is on the machine of the run that says so.
    #[serde(default)]
    pub here: bool,
}

/// In journals of older versions it is a number, `pid`: workers were processes of their host.
fn worker<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Name(String),
        Pid(i32),
    }
    Ok(match Written::deserialize(from)? {
        Written::Name(name) => name,
        Written::Pid(pid) => format!("process {pid}"),
    })
}

/// Where a node is. Changed by `run::drive` alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// The content of some input is not known yet.
    Waiting,
    /// Has to be executed and waits for cpu. `resumed`: the fraction done by earlier attempts.
    Ready {
        key: Key,
        reasons: Vec<Reason>,
        resumable: bool,
        resumed: Option<f64>,
    },
    /// Someone else executes this key: another process, or a twin in this graph. Their record will do.
    /// `by`: who that is, where it can be told and is no twin.
    Held {
        key: Key,
        #[serde(default)]
        by: Option<Holder>,
    },
    Running {
        attempt: String,
        threads: usize,
    },
    /// There was a record. `saved_seconds`: what it took to make.
    Hit {
        key: Key,
        saved_seconds: f64,
    },
    Done {
        key: Key,
    },
    /// `tail`: the last lines of stderr. `peak_bytes`: the highest resident memory of its worker.
    Failed {
        message: String,
        tail: String,
        #[serde(default)]
        class: Class,
        #[serde(default)]
        peak_bytes: Option<u64>,
    },
    /// `because`: the node that failed; one above, or any where the run was to end at the first failure.
    Skipped {
        because: String,
    },
    /// Stopped on request, or never started because of the request; what it had saved is kept.
    Interrupted,
}

impl State {
    /// Nothing will change it any more in this run, but for a hit whose bytes turn out to be needed and gone.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            State::Waiting | State::Ready { .. } | State::Held { .. } | State::Running { .. }
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Whole,
    Failed,
    Environment,
    Interrupted,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub hit: usize,
    pub done: usize,
    pub failed: usize,
    pub skipped: usize,
    pub interrupted: usize,
}
