//! Records of a remote that a plan goes on with while other threads look at who signed them, many at a time: even so, signatures take a
//! good part of what a plan before a remote takes. Nothing that was made of the records is told, kept or used before all of them are
//! believed; where one is not, it is as if none had been taken, and each is judged where it is met.

use super::found::Elsewhere;
use super::remote::{Signed, Trust};
use base::hash::Key;
use base::threads;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Threads at most.
const MOST: usize = 8;
/// Records whose signatures are looked at together: more of them cost hardly less each.
const TOGETHER: usize = 128;

#[derive(Default)]
pub(super) struct Ahead {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Arc<Elsewhere>>,
    /// Nothing more comes.
    over: bool,
    /// Whoever is not believed is asked for anew, and told then.
    wrong: bool,
    taken: Vec<Key>,
    signers: Vec<(Key, Option<String>)>,
}

/// What came of it.
pub(super) struct Judged {
    pub taken: Vec<Key>,
    /// Who signed each; nothing where one of them is not believed.
    pub signers: Option<Vec<(Key, Option<String>)>>,
}

impl Ahead {
    /// Does some work that may give records to look at, and ends when all of them were looked at.
    pub fn beside<T>(&self, trust: &dyn Trust, work: impl FnOnce() -> T) -> (T, Judged) {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let done = thread::scope(|scope| {
            // Also where the work panics: the others would wait for more.
            let ending = Ending(self);
            for _ in 1..cores.min(MOST) {
                // Where no thread is given, this one does its part.
                let _ = threads::start_in(scope, move || self.look(trust));
            }
            let done = work();
            drop(ending);
            self.look(trust);
            done
        });
        let state = std::mem::take(&mut *self.state());
        let signers = (!state.wrong).then_some(state.signers);
        let taken = state.taken;
        (done, Judged { taken, signers })
    }

    pub fn give(&self, one: Arc<Elsewhere>) {
        let mut state = self.state();
        state.taken.push(one.record.key.clone());
        state.waiting.push(one);
        self.more.notify_one();
    }

    fn look(&self, trust: &dyn Trust) {
        while let Some(some) = self.next() {
            let signed: Vec<&Signed> = some.iter().map(|one| &one.signed).collect();
            let judged = trust.signers(&signed);
            let mut state = self.state();
            match judged {
                Ok(signers) => {
                    let keys = some.iter().map(|one| one.record.key.clone());
                    state.signers.extend(keys.zip(signers));
                }
                Err(_) => state.wrong = true,
            }
        }
    }

    /// Some that wait; nothing at the end, or where it is known what comes of it.
    fn next(&self) -> Option<Vec<Arc<Elsewhere>>> {
        let mut state = self.state();
        loop {
            if state.wrong || state.over && state.waiting.is_empty() {
                return None;
            }
            if !state.waiting.is_empty() {
                let rest = state.waiting.len().saturating_sub(TOGETHER);
                return Some(state.waiting.split_off(rest));
            }
            state = self
                .more
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Ending<'a>(&'a Ahead);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.state().over = true;
        self.0.more.notify_all();
    }
}
