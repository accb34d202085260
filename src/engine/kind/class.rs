//! The classes of what can go wrong with a node.

use serde::{Deserialize, Serialize};

/// Why a node did not end well. Told apart because they call for different answers: a changed recipe, a larger machine, or just
/// another try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The node itself: it said so, panicked, or crashed. Another try would end in the same way.
    #[default]
    Error,
    /// A signal from outside ended its worker.
    Killed,
    /// There was not enough memory, said the kernel or the worker.
    OutOfMemory,
    /// The disk is full or read-only, the store or the executor cannot be used.
    Environment,
    /// It may go better in a while: the worker said so, of an endpoint that was busy, say, or its machine is gone.
    Transient,
    /// Asked to stop; what it had saved is kept.
    Interrupted,
    /// It ended well, but its outputs are missing, incomplete or still being written to.
    LostOutputs,
    /// Whoever schedules the machine took it away: preempted, out of time, a machine that failed. What it had saved is kept, and
    /// another try goes on from there.
    Evicted,
}

impl Class {
    /// In a sentence that says how something failed.
    pub fn words(self) -> &'static str {
        match self {
            Class::Error => "error",
            Class::Killed => "killed",
            Class::OutOfMemory => "out of memory",
            Class::Environment => "environment",
            Class::Transient => "transient",
            Class::Interrupted => "interrupted",
            Class::LostOutputs => "lost outputs",
            Class::Evicted => "evicted",
        }
    }
}
