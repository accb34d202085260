//! What a worker says to its engine: lines of JSON on stdout, and its exit status.

use super::failure::Class;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;

/// A line a worker sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Message {
    Progress {
        done: u64,
        total: u64,
        unit: String,
        note: String,
        /// As in the event.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sampled: Option<Sampled>,
    },
    Metric(Metric),
    Log {
        text: String,
    },
    Failed {
        error: String,
        class: Class,
    },
}

impl Message {
    /// A line that is no message is a word: a library may print what it likes.
    pub fn read(line: &[u8]) -> Message {
        serde_json::from_slice(line).unwrap_or_else(|_| Message::Log {
            text: String::from_utf8_lossy(line).trim_end().to_string(),
        })
    }
}

/// A line of `logs/metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub step: u64,
    /// JSON has no NaN: what is not finite is absent.
    pub values: BTreeMap<String, f64>,
}

/// How far sampling is, by tokens. Rows say little of it: many are under way at a time, and each ends at a length that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Tokens that this attempt sampled so far.
    pub tokens: u64,
    /// Of all that the node is to sample, between 0 and 1: what is done by all attempts.
    pub share: f64,
    /// Work that this attempt has done, and work that is probably left, in a unit of their own.
    pub done: f64,
    pub left: f64,
    /// Too few rows have ended yet to say more than that no more is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_most: bool,
    /// Of a part of one unit of the node's progress: the rollouts of a step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub part: bool,
}

/// How far a worker had come, in `logs/progress.json` and in each checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
    pub unit: String,
    pub note: String,
}

impl Progress {
    /// Between 0 and 1, where the total is known.
    pub fn fraction(&self) -> Option<f64> {
        (self.total > 0).then(|| (self.done as f64 / self.total as f64).min(1.0))
    }
}

/// Says it to the engine.
pub(crate) fn send(message: &Message) {
    let mut line = serde_json::to_string(message).expect("a message always has a JSON form");
    line.push('\n');
    // An engine that is gone hears nothing; its death signal stops this worker.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}
