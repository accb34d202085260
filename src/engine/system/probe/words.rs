//! What the two sides say to each other, and what comes of it.

use serde::{Deserialize, Serialize};

/// Who one side is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    pub host: String,
    pub boot: String,
    /// Of the binary.
    pub version: String,
    pub now_ms: u64,
    pub cpus: usize,
    /// Bytes that can be had.
    pub memory: Option<u64>,
    pub gpus: usize,
    /// Bytes that are free where the folder lies.
    pub free: Option<u64>,
    /// The type of its file system, as the kernel calls it.
    pub filesystem: String,
    /// Of the variables that were asked for, those that are set.
    pub variables: Vec<String>,
}

/// A thing that was tried, and how it came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// One word.
    pub name: String,
    /// Whether it holds; nothing where it could not be tried.
    pub holds: Option<bool>,
    /// What was seen.
    pub told: String,
}

/// Which lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lock {
    /// Of an open file: `flock`.
    Flock,
    /// Of a process: `fcntl`.
    Record,
}

/// How a name is given to one of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Taking {
    Link,
    /// `O_CREAT | O_EXCL`.
    Create,
}

/// What is asked of the other side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Question {
    Who {
        variables: Vec<String>,
    },
    /// Nothing but an answer.
    Echo,
    /// Whether this lock can be had now; it is given back.
    Try {
        lock: Lock,
    },
    /// To take this lock, and to keep it until the next question.
    Hold {
        lock: Lock,
    },
    /// To take names as fast as it can, as this side does at the same time. It says which it got.
    Race {
        taking: Taking,
    },
    /// To read a file again and again while this side replaces it. It says how often it was there and whole, absent, torn.
    Read,
    End,
}
