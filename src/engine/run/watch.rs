//! Watches nodes that run: their memory, their silence, and whether another try is worth it.

use super::{Exec, Running};
use crate::events::event::{Event, State};
use crate::kind::failure::Class;
use crate::graph::NodeId;
use crate::run::pulse::Pulse;
use crate::kind::messages::Message;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is seen of a worker from outside. It outlives whatever happens to the worker itself.
pub(super) struct Watch {
    since: Instant,
    pulse: Pulse,
    /// How many answers of others it had.
    answers: Option<(u64, u64)>,
    /// When its silence is said again.
    next: f64,
    peak: u64,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch {
            since: Instant::now(),
            pulse: Pulse::new(0.0),
            answers: None,
            next: 0.0,
            peak: 0,
        }
    }

    /// A node that waits for others' answers tells again and again that it does: that is no sign of life of theirs.
    pub(super) fn hear(&mut self, message: &Message) {
        if let Message::Progress {
            done,
            made: Some(made),
            ..
        } = message
            && self.answers.replace((*done, *made)) == Some((*done, *made))
        {
            return;
        }
        self.pulse.beat(self.since.elapsed().as_secs_f64());
        self.next = 0.0;
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    pub(super) fn note_peak(&mut self, peak: Option<u64>) {
        self.peak = self.peak.max(peak.unwrap_or_default());
    }

    /// How long it has been silent, if that is to be said now: when it begins to be long, and whenever it has doubled.
    fn silence(&mut self) -> Option<f64> {
        let silence = self.pulse.silent(self.since.elapsed().as_secs_f64())?;
        if silence < self.next {
            return None;
        }
        self.next = 2.0 * silence;
        Some(silence)
    }
}

impl Exec<'_> {
    /// Once a second.
    pub(super) fn poll_workers(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let mut silent = vec![];
        for (id, running) in &mut self.running {
            let Some(task) = &running.task else {
                continue;
            };
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
        let tries = self.tries.entry((id, class.words())).or_default();
        let salt = format!("{} {}", self.run, running.spec.node);
        let Some(pause) = self.settings.retries.pause(class, *tries, saved, &salt) else {
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
        let ready = super::Ready {
            key: running.key.clone(),
            manifest: running.manifest.clone(),
        };
        self.ready.insert(id, self.remaining[&id], ready);
        true
    }
}
