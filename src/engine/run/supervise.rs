//! Watches nodes that run, and says whether another try of one is worth it.

use super::exec::{Exec, Running};
use super::keeper::Keeper;
use super::queue::Ready;
use crate::events::event::{Event, State};
use crate::events::life;
use crate::graph::NodeId;
use crate::kind::failure::Class;
use std::time::{Duration, Instant};

/// Among tries: nothing happened to a node whose job never came to it.
pub(super) const UNREACHED: &str = "unreached";

const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Exec<'_> {
    /// Once a second.
    pub(super) fn poll_workers(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        if life::take_request(self.store, &self.run) {
            self.settings.stop.request();
        }
        self.stop_left();
        let mut silent = vec![];
        for (id, running) in &mut self.running {
            // Who cannot say that he lives has to end: somebody else may begin the same.
            let Some(task) = &running.task else {
                continue;
            };
            if running.keeper.as_ref().is_some_and(Keeper::lost) {
                task.kill();
            }
            running.watch.note_peak(task.peak());
            silent.extend(running.watch.silence().map(|seconds| (*id, seconds)));
        }
        for (id, seconds) in silent {
            let node = self.name(id);
            self.emit(Event::Silent { node, seconds });
        }
    }

    /// Whether the node was given another try; it is ready again then, after a pause.
    pub(super) fn try_again(
        &mut self,
        id: NodeId,
        running: &Running,
        class: Class,
        message: &str,
    ) -> bool {
        if self.stopping.is_some() || self.trouble.is_some() || self.halted.is_some() {
            return false;
        }
        let saved = running.attempt.resumable();
        if class == Class::Evicted {
            // What goes on is no try: only those that saved nothing new are counted.
            let now = running.attempt.saved(&running.spec.earlier);
            let before = self.saved.insert(id, now).unwrap_or_default();
            if now > before {
                self.tries.remove(&(id, class.words()));
            }
        }
        let counted = match running.unreached {
            true => UNREACHED,
            false => class.words(),
        };
        let tries = self.tries.entry((id, counted)).or_default();
        let salt = format!("{} {}", self.run, running.spec.node);
        let pause = match running.unreached {
            true => Some(Duration::ZERO),
            false => self.settings.retries.pause(class, *tries, saved, &salt),
        };
        let Some(pause) = pause else {
            return false;
        };
        *tries += 1;
        let attempt = *tries;
        self.emit(Event::Retry {
            node: self.name(id),
            class,
            message: message.to_string(),
            attempt,
            pause_seconds: pause.as_secs_f64(),
        });
        self.later.insert(id, Instant::now() + pause);
        let resumed = running.attempt.fraction();
        self.set(
            id,
            State::Ready {
                key: running.key.clone(),
                reasons: vec![],
                resumable: saved,
                resumed,
            },
        );
        let ready = Ready {
            key: running.key.clone(),
            manifest: running.manifest.clone(),
        };
        self.ready.insert(id, self.remaining[id], ready);
        true
    }
}
