//! How often a node reports, and since when it has been silent for too long. Knows no clock: times are given in seconds.

/// Nobody is called silent before this: who loads a model and makes a first step, with little of the machine, may take some of it.
const LEAST: f64 = 60.0;
/// As a multiple of the usual distance between reports.
const LONG: f64 = 10.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pulse {
    last: f64,
    /// Mean distance between reports, the recent ones counting most.
    usual: Option<f64>,
}

impl Pulse {
    /// Of a node that starts now.
    pub fn new(now: f64) -> Pulse {
        Pulse {
            last: now,
            usual: None,
        }
    }

    pub fn beat(&mut self, now: f64) {
        let distance = (now - self.last).max(0.0);
        self.usual = Some(self.usual.map_or(distance, |u| 0.8 * u + 0.2 * distance));
        self.last = now;
    }

    /// For how long it has said nothing.
    pub fn still(&self, now: f64) -> f64 {
        now - self.last
    }

    /// The same, where that is unusual.
    pub fn silent(&self, now: f64) -> Option<f64> {
        let silence = self.still(now);
        let usual = self.usual.unwrap_or_default();
        (silence > LEAST.max(LONG * usual)).then_some(silence)
    }
}
