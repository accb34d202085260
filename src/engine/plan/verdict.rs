//! What is to be done with a node, and why, as data: said by `plan`, carried by events, shown by whoever likes.

use crate::graph::NodeId;
use crate::graph::changes::Reason;
use crate::store::index::RecordSummary;
use crate::store::paths::Absent;

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The record is there; its blobs are too, or were evicted and nothing needs them.
    Hit(Box<RecordSummary>),
    Run(Vec<Reason>),
    /// To be run, and an earlier attempt left something. `fraction`: how far it had come, where that is known.
    Resume {
        reasons: Vec<Reason>,
        fraction: Option<f64>,
    },
    /// Depends on the bytes these nodes will give. `reasons`: why it runs whatever they give, as no record can be its own; empty where
    /// that is open.
    Maybe {
        after: Vec<NodeId>,
        reasons: Vec<Reason>,
    },
    /// Files that it names are not on this machine, so nobody can say what it is.
    Needs {
        absent: Vec<Absent>,
    },
}

impl Verdict {
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Hit(_) => "hit",
            Verdict::Run(_) => "run",
            Verdict::Resume { .. } => "resume",
            Verdict::Maybe { reasons, .. } if !reasons.is_empty() => "run",
            Verdict::Maybe { .. } => "maybe",
            Verdict::Needs { .. } => "needs",
        }
    }

    /// Whether it will run, whatever the nodes above it give.
    pub fn runs(&self) -> bool {
        match self {
            Verdict::Run(_) | Verdict::Resume { .. } => true,
            Verdict::Maybe { reasons, .. } => !reasons.is_empty(),
            Verdict::Hit(_) | Verdict::Needs { .. } => false,
        }
    }

    pub fn reasons(&self) -> &[Reason] {
        match self {
            Verdict::Run(reasons)
            | Verdict::Resume { reasons, .. }
            | Verdict::Maybe { reasons, .. } => reasons,
            Verdict::Hit(_) | Verdict::Needs { .. } => &[],
        }
    }
}
