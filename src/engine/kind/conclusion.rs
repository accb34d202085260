//! How an attempt ended where it ran, by whoever attended to it: `end.json` in its folder, linked there last and once. After the
//! record it is what is believed of an attempt.

use super::class::Class;
use base::device::Moved;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conclusion {
    pub result: Result,
    /// The machine it ran on.
    pub host: String,
    /// What the scheduler calls the job, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Of the claim that it was made under; they count up over the holders of a key.
    pub claim: u64,
    pub seconds: f64,
    /// The highest resident memory of the worker, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Result {
    /// The record is there. `same`: its bytes came out again; `different`: the outputs that did not, where the node was forced.
    Committed {
        #[serde(default)]
        same: bool,
        #[serde(default)]
        beaten: bool,
        #[serde(default)]
        different: Vec<String>,
        /// They were computed on something else than before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved: Option<Moved>,
    },
    /// There was a record already; nothing was executed.
    Hit,
    Failed {
        class: Class,
        message: String,
    },
}
