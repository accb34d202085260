//! What is to be done with a node, and why, as data: said by `plan`, carried by events, shown by whoever likes.

use crate::engine::graph::NodeId;
use crate::engine::index::Brief;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The record is there; its blobs are too, or were evicted and nothing needs them.
    Hit(Box<Brief>),
    Run(Vec<Reason>),
    /// To be run, and an earlier attempt left something. `fraction`: how far it had come, where that is known.
    Resume {
        reasons: Vec<Reason>,
        fraction: Option<f64>,
    },
    /// Depends on the bytes these nodes will give.
    Maybe {
        after: Vec<NodeId>,
    },
}

impl Verdict {
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Hit(_) => "hit",
            Verdict::Run(_) => "run",
            Verdict::Resume { .. } => "resume",
            Verdict::Maybe { .. } => "maybe",
        }
    }

    pub fn reasons(&self) -> &[Reason] {
        match self {
            Verdict::Run(reasons) | Verdict::Resume { reasons, .. } => reasons,
            Verdict::Hit(_) | Verdict::Maybe { .. } => &[],
        }
    }
}

/// Why a node has to run, against the nearest earlier record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reason {
    /// No node of this kind ran before.
    NeverRun,
    Forced,
    /// Canonical texts; absent on one side: an optional parameter.
    Param {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// The content behind a path parameter.
    Source {
        name: String,
    },
    /// Digests; absent on one side: the port was or is unconnected.
    Input {
        port: String,
        was: Option<String>,
        now: Option<String>,
    },
    Revision {
        old: String,
        new: String,
    },
    /// The node of this name was of another kind.
    Kind {
        old: String,
        new: String,
    },
    Output {
        name: String,
    },
    /// The record is there, its blobs were removed to make room, and they are needed.
    Evicted,
    /// The record is there, these parts of its artifact are not.
    Missing {
        what: Vec<String>,
    },
}
