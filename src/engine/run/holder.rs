//! Who executes a key that somebody else wants: read from the newest attempt of the key, whose lock is taken.

use crate::events::event::Holder;
use crate::events::journal;
use base::hash::Key;
use crate::system::Process;
use crate::system::strays;
use crate::store::Store;
use crate::kind::attempt::Attempt;
use rustix::process::Signal;

/// The holder of a key whose lock could not be had. Nothing where it left no trace, as between a lock and its attempt.
pub fn find(store: &Store, key: &Key) -> Option<Holder> {
    let attempt = Attempt::of(store, key).ok()?.into_iter().next()?;
    let spec = attempt.spec().ok()?;
    let engine = spec.engine_process?;
    let worker = attempt.worker();
    // An engine elsewhere shows that it lives by the lock of its run alone.
    let gone = engine.lives() == Some(false) && !journal::alive(store, &spec.run);
    // The lock may be another engine's, which has taken it just now and made no attempt yet.
    let works = || {
        let worker = worker.as_ref().is_some_and(|w| w.lives() == Some(true));
        worker || !strays::marked(&attempt.dir).is_empty()
    };
    let orphan = gone && works();
    Some(Holder {
        run: spec.run,
        node: spec.node,
        attempt: attempt.name(),
        host: engine.host.clone(),
        pid: worker.as_ref().map_or(engine.pid, |w| w.pid),
        since_ms: spec.started_ms,
        orphan,
    })
}

/// Kills an orphan and all that it started, if they are of this machine. Its process id is not enough: only who was started at
/// the same moment of the same boot is killed.
pub fn kill(store: &Store, holder: &Holder) -> bool {
    let attempt = Attempt {
        dir: store.attempts().join(&holder.attempt),
    };
    let Ok(spec) = attempt.spec() else {
        return false;
    };
    if !spec.engine_process.is_some_and(|e| e.is_of_here()) {
        return false;
    }
    let worker = attempt
        .worker()
        .is_some_and(|worker: Process| worker.signal(Signal::KILL));
    strays::kill_everywhere(&attempt.dir) > 0 || worker
}
