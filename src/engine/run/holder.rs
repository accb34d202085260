//! Who executes a key that somebody else wants: read from the newest attempt of the key, whose lock is taken.

use crate::events::event::Holder;
use crate::events::life;
use crate::kind::attempt::Attempt;
use crate::run::executor::Executor;
use crate::store::Store;
use crate::system::host;
use base::hash::Key;

/// The holder of a key whose lock could not be had. Nothing where it left no trace, as between a lock and its attempt.
pub fn find(store: &Store, executor: &dyn Executor, key: &Key) -> Option<Holder> {
    let attempt = Attempt::of(store, key).ok()?.into_iter().next()?;
    let spec = attempt.spec().ok()?;
    let engine = spec.engine?;
    // An engine elsewhere shows that it lives by the lock of its run alone.
    let gone = engine.lives() == Some(false) && !life::alive(store, &spec.run);
    // The lock may be another engine's, which has taken it just now and made no attempt yet.
    let orphan = gone && executor.runs(&attempt);
    Some(Holder {
        run: spec.run,
        node: spec.node,
        attempt: attempt.name(),
        here: engine.host == host(),
        host: engine.host.clone(),
        worker: executor
            .name(&attempt)
            .unwrap_or_else(|| engine.to_string()),
        since_ms: spec.started_ms,
        orphan,
        remote: None,
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
