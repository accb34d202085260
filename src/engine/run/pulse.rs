//! How often a node reports, and since when it has been silent for too long. Knows no clock: times are given in seconds.

/// Nobody is called silent before this.
const LEAST: f64 = 60.0;
/// Of who has not come further since it began, a word is said after so long: it may be loading, or have too little of the machine to make
/// its first step.
const FIRST: f64 = 10.0;
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

    /// The same, where a word is to be said of it. `first`: nothing is done yet that was not done when it began.
    pub fn worth_saying(&self, now: f64, first: bool) -> Option<f64> {
        let still = self.still(now);
        let early = (first && still > FIRST).then_some(still);
        self.silent(now).or(early)
    }
}
