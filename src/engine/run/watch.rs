//! Looks after nodes that run: their memory, their silence, the end they came to, and whether it is worth another try.

use super::{Exec, Running};
use crate::events::event::{Event, State};
use crate::kind::failure;
use crate::kind::failure::Class;
use crate::kind::failure::Evidence;
use crate::graph::NodeId;
use crate::run::pulse::Pulse;
use crate::system::memory::{self, Kills};
use crate::kind::messages::Message;
use crate::kind::attempt;
use std::process::ExitStatus;
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
    /// The least free memory of the machine.
    free: Option<u64>,
    kills: Kills,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch {
            since: Instant::now(),
            pulse: Pulse::new(0.0),
            answers: None,
            next: 0.0,
            peak: 0,
            free: None,
            kills: Kills::now(),
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

    pub(super) fn at_end(&mut self, peak: Option<u64>) {
        self.peak = self.peak.max(peak.unwrap_or_default());
    }

    fn sample(&mut self, peak: Option<u64>, free: Option<u64>) {
        self.at_end(peak);
        self.free = [self.free, free].into_iter().flatten().min();
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
    pub(super) fn look_after(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let free = memory::available();
        let mut silent = vec![];
        for (id, running) in &mut self.running {
            let Some(worker) = &running.worker else {
                continue;
            };
            running.watch.sample(worker.peak(), free);
            silent.extend(running.watch.silence().map(|seconds| (*id, seconds)));
        }
        for (id, seconds) in silent {
            let node = self.name(id);
            self.emit(Event::Silent { node, seconds });
        }
    }

    /// The class of a worker's end that was no success, and the cause in words.
    pub(super) fn judge_end(&self, id: NodeId, status: ExitStatus) -> (Class, String) {
        let running = &self.running[&id];
        let watch = &running.watch;
        let tail = attempt::tail(&running.attempt.logs().join("stderr.txt"), 20);
        let died = status.code().is_none();
        failure::classify(&Evidence {
            status: Some(status),
            complaint: running.complaint.as_ref(),
            tail: &tail,
            asked: self.stopping.is_some() || running.told_to_stop,
            kernel_killed: died && Kills::now().since(&watch.kills),
            peak: Some(watch.peak).filter(|peak| *peak > 0),
            free: watch.free.zip(memory::total()),
        })
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
