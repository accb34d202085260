//! Who executes a key that somebody else wants: read from the newest attempt of the key, whose lock is taken.

use crate::events::journal;
use crate::graph::key::Key;
use crate::run::executor::Executor;
use crate::store::Store;
use crate::store::attempt::Attempt;
use serde::{Deserialize, Serialize};

/// Another process that holds a key's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub run: String,
    /// What that run calls the node.
    pub node: String,
    pub attempt: String,
    pub host: String,
    /// What its executor calls the worker, `process 4711` say; the engine where there is no worker yet.
    pub worker: String,
    /// When the attempt began; milliseconds since 1970.
    pub since_ms: u64,
    /// Whether its engine is gone: it was told to save its state and end, and nobody will commit what it does.
    pub orphan: bool,
}

/// The holder of a key whose lock could not be had. Nothing where it left no trace, as between a lock and its attempt.
pub fn find(store: &Store, executor: &dyn Executor, key: &Key) -> Option<Holder> {
    let attempt = Attempt::of(store, key).ok()?.into_iter().next()?;
    let spec = attempt.spec().ok()?;
    let engine = spec.engine?;
    // An engine elsewhere shows that it lives by the lock of its run alone.
    let gone = engine.lives() == Some(false) && !journal::alive(store, &spec.run);
    // The lock may be another engine's, which has taken it just now and made no attempt yet.
    let orphan = gone && executor.runs(&attempt);
    Some(Holder {
        run: spec.run,
        node: spec.node,
        attempt: attempt.name(),
        host: engine.host.clone(),
        worker: executor
            .name(&attempt)
            .unwrap_or_else(|| engine.to_string()),
        since_ms: spec.started_ms,
        orphan,
    })
}

/// Kills an orphan and all that it started, if its engine was of this machine: of another nobody here can say that it is gone.
pub fn kill(store: &Store, executor: &dyn Executor, holder: &Holder) -> bool {
    let attempt = Attempt {
        dir: store.attempts().join(&holder.attempt),
    };
    let Ok(spec) = attempt.spec() else {
        return false;
    };
    spec.engine.is_some_and(|e| e.is_of_here()) && executor.kill_leftovers(&attempt)
}
