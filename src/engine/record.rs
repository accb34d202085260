//! What a committed node left: the shape of `actions/ab/KEY.json`. Part of the store's format.

use crate::engine::key::{Digest, Key};
use crate::engine::objects::Blob;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a committed node left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub key: Key,
    pub kind: String,
    /// The text whose hash is the key.
    pub manifest: String,
    pub outputs: BTreeMap<String, Artifact>,
    pub cost: Cost,
    pub provenance: Provenance,
    /// stderr, metrics and the worker's words; not identity.
    pub logs: Vec<Blob>,
}

/// A committed output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// `Type::word`.
    #[serde(rename = "type")]
    pub ty: String,
    pub digest: Digest,
    /// Sorted by path.
    pub files: Vec<Blob>,
}

/// What it took, all attempts together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// What was paid for, to an endpoint say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dollars: f64,
    /// Highest resident memory of a worker.
    pub peak_bytes: u64,
    /// Of the attempt that was committed; milliseconds since 1970.
    pub started_ms: u64,
    pub threads: usize,
    pub attempts: usize,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// Who made it; for people, never in a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    pub recipe: String,
    pub node: String,
    pub run: String,
    pub version: String,
}
