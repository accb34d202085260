//! What is seen of a worker that runs, from outside: its memory, and whether it is silent.

use crate::kind::messages::Message;
use crate::run::pulse::Pulse;
use std::time::Instant;

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

    /// Of a job elsewhere: nobody is silent before he has a machine.
    pub(super) fn placed(&mut self, has_machine: bool) {
        let now = self.since.elapsed().as_secs_f64();
        self.pulse = Pulse::new(now);
        self.next = match has_machine {
            true => 0.0,
            false => f64::INFINITY,
        };
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    pub(super) fn note_peak(&mut self, peak: Option<u64>) {
        self.peak = self.peak.max(peak.unwrap_or_default());
    }

    /// How long it has been silent, if that is to be said now: when it begins to be long, and whenever it has doubled.
    pub(super) fn silence(&mut self) -> Option<f64> {
        let now = self.since.elapsed().as_secs_f64();
        let silence = self.pulse.silent(now)?;
        if silence < self.next {
            return None;
        }
        self.next = 2.0 * silence;
        Some(silence)
    }
}
