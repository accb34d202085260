//! What is to be done with a node, and why, as data: said by `plan`, carried by events, shown by whoever likes.

use crate::graph::NodeId;
use crate::store::index::Brief;
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
    /// Files that it names are not on this machine, so nobody can say what it is.
    Needs {
        absent: Vec<Absent>,
    },
}

/// A file or folder that a node names and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// The parameter that names it.
    pub param: String,
    /// An absolute path, or an address on the hub.
    pub written: String,
    /// Where it was looked for.
    pub looked: String,
    /// The command that gets it, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub get: Option<String>,
}

impl Absent {
    /// In one line.
    pub fn told(&self) -> String {
        let Absent {
            written, looked, ..
        } = self;
        let looked = match looked == written {
            true => String::new(),
            false => format!(" (looked at {looked})"),
        };
        let get = self.get.as_ref().map(|g| format!("; get it with `{g}`"));
        format!("no {written}{looked}{}", get.unwrap_or_default())
    }
}

impl Verdict {
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Hit(_) => "hit",
            Verdict::Run(_) => "run",
            Verdict::Resume { .. } => "resume",
            Verdict::Maybe { .. } => "maybe",
            Verdict::Needs { .. } => "needs",
        }
    }

    pub fn reasons(&self) -> &[Reason] {
        match self {
            Verdict::Run(reasons) | Verdict::Resume { reasons, .. } => reasons,
            Verdict::Hit(_) | Verdict::Maybe { .. } | Verdict::Needs { .. } => &[],
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
