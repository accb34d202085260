//! Which attempts share a job, one after the other: those that ask the same of a machine, and are expected to be over soon.

use super::super::Expected;
use crate::kind::Needs;
use crate::run::profile::{Partition, Profile};
use anyhow::Result;

/// So many attempts a job attends to at most: all are named on a command line.
const MOST: usize = 64;
/// Whatever is expected of an attempt, its process, its claim and its commit take this long, in seconds.
const LEAST: f64 = 0.5;

/// What is asked of a machine, for one attempt or for those that share a job.
#[derive(Clone, Debug)]
pub struct Load {
    /// Of the job: for one after the other.
    pub needs: Needs,
    pub cpus: usize,
    pub partition: Option<Partition>,
    attempts: usize,
    /// None: it has a job of its own.
    expected: Option<Expected>,
}

impl Load {
    /// Of one attempt. `Err`: no partition is large enough.
    pub fn new(
        profile: &Profile,
        needs: Needs,
        cpus: usize,
        expected: Option<Expected>,
    ) -> Result<Load> {
        let expected = expected.map(|expected| Expected {
            seconds: expected.seconds.max(LEAST),
            ..expected
        });
        Ok(Load {
            partition: profile.partition(&needs)?.cloned(),
            needs,
            cpus,
            attempts: 1,
            expected: expected.filter(|e| e.seconds <= profile.pack_seconds),
        })
    }

    /// Of both together, if they are to share a job.
    pub fn with(&self, other: &Load, profile: &Profile) -> Option<Load> {
        let (own, more) = (self.expected?, other.expected?);
        let seconds = own.seconds + more.seconds;
        let hours = match (own.hours, more.hours) {
            (None, None) => None,
            (Some(own), Some(more)) => Some(own + more),
            // Nobody can say how long both may take at most.
            _ => return None,
        };
        let needs = Needs {
            // One alone may take all of its time.
            hours: hours.map(|hours| hours.max(longer(self.needs.hours, other.needs.hours))),
            ..self.needs
        };
        let attempts = self.attempts + other.attempts;
        let few = attempts <= MOST && seconds <= profile.pack_seconds;
        let joined = Load {
            needs,
            attempts,
            expected: Some(Expected { seconds, hours }),
            ..self.clone()
        };
        (few && self.is_like(other) && joined.still_fits(profile)).then_some(joined)
    }

    /// Of attempts that are in one job, whatever is expected of them.
    pub fn in_one(&self, other: &Load) -> Load {
        let both = self.needs.hours.zip(other.needs.hours);
        Load {
            needs: Needs {
                hours: both.map(|(own, more)| own + more),
                ..self.needs
            },
            attempts: self.attempts + other.attempts,
            expected: None,
            ..self.clone()
        }
    }

    fn is_like(&self, other: &Load) -> bool {
        let asked = |load: &Load| Needs {
            hours: None,
            ..load.needs
        };
        let name = |load: &Load| load.partition.as_ref().map(|p| p.name.clone());
        self.cpus == other.cpus && asked(self) == asked(other) && name(self) == name(other)
    }

    fn still_fits(&self, profile: &Profile) -> bool {
        let name = |partition: Option<&Partition>| partition.map(|p| p.name.clone());
        let there = profile.partition(&self.needs);
        there.is_ok_and(|there| name(there) == name(self.partition.as_ref()))
    }
}

fn longer(one: Option<f64>, other: Option<f64>) -> f64 {
    one.unwrap_or_default().max(other.unwrap_or_default())
}
