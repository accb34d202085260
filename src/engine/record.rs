//! What a committed node left: the shape of `actions/ab/KEY.json`. Part of the store's format.
//!
//! The last member of the file, `seal`, is the blake3 of the text without it: a record whose bytes have changed is noticed when it
//! is read. Records of before there were seals have none.

use crate::engine::key::{Digest, Key};
use crate::engine::objects::Blob;
use anyhow::{Context, Result, ensure};
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

impl Record {
    /// As it lies in the store.
    pub fn to_text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).context("writing a record")?;
        let seal = blake3::hash(text.as_bytes()).to_hex();
        let open = text
            .strip_suffix(END)
            .expect("a pretty object ends with its brace");
        Ok(format!("{open}{SEAL}{seal}\"{END}"))
    }

    /// Refuses what is not a record, and one that is not as it was written.
    pub fn from_text(text: &str) -> Result<Record> {
        if let Some((open, rest)) = text.rsplit_once(SEAL) {
            let seal = rest.strip_suffix(END).and_then(|s| s.strip_suffix('"'));
            let written = blake3::hash(format!("{open}{END}").as_bytes());
            ensure!(
                seal == Some(written.to_hex().as_str()),
                "it is not as it was written: its seal does not fit"
            );
        }
        Ok(serde_json::from_str(text)?)
    }
}

const SEAL: &str = ",\n  \"seal\": \"";
const END: &str = "\n}";

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
