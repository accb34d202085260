//! What a committed node left: the shape of `actions/ab/KEY.json`. Part of the store's format.
//!
//! The last member of the file, `seal`, is the blake3 of the text without it: a record whose bytes have changed is noticed when it
//! is read. Records of before there were seals have none.

use crate::graph::changes::Reason;
use crate::graph::manifest::Manifest;
use crate::kind::Type;
use crate::kind::attempt::{Usage, is_zero};
use crate::system::files::{self, Blob};
use anyhow::{Context, Result, ensure};
use base::bounded;
use base::calls::Calls;
use base::device::DeviceUsed;
use base::hash::{Digest, Key};
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
    /// Nobody executed this key: somebody answers for these outputs of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// Nobody executed this key here: somebody answers for files that were made elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adopted>,
}

/// The outputs of an earlier record, said to be right for this key as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The record that the outputs and their cost are of.
    pub from: Key,
    pub reason: String,
    pub at_ms: u64,
    /// What differs between the two keys: what was said to be harmless.
    pub changes: Vec<Reason>,
}

/// Files that were made elsewhere, said to be what this key gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adopted {
    /// Where they were copied from, by output.
    pub from: BTreeMap<String, String>,
    pub reason: String,
    pub at_ms: u64,
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
        if let Some(parts) = text.rsplit_once(SEAL) {
            fits(parts)?;
        }
        Ok(serde_json::from_str(text)?)
    }
}

/// Whether the seal is that of what stands before it.
fn fits((open, rest): (&str, &str)) -> Result<()> {
    let seal = rest.strip_suffix(END).and_then(|s| s.strip_suffix('"'));
    let mut written = blake3::Hasher::new();
    written.update(open.as_bytes()).update(END.as_bytes());
    ensure!(
        seal == Some(written.finalize().to_hex().as_str()),
        "it is not as it was written: its seal does not fit"
    );
    Ok(())
}

impl Record {
    /// Refuses one without a seal as well: it comes from outside.
    pub(crate) fn from_sealed(text: &str) -> Result<Record> {
        fits(text.rsplit_once(SEAL).context("it has no seal")?)?;
        Ok(serde_json::from_str(text)?)
    }

    /// What is wrong with it by itself, whatever its blobs are.
    pub fn problem(&self) -> Option<String> {
        if Manifest::from_text(&self.manifest).key() != self.key {
            return Some("its manifest is that of another key".into());
        }
        for (name, artifact) in &self.outputs {
            let digests = [files::tree_digest, files::tree_digest_with_modes];
            if digests
                .iter()
                .all(|of| of(&artifact.files) != artifact.digest)
            {
                return Some(format!(
                    "the digest of output `{name}` is not that of its files"
                ));
            }
        }
        let files = self.outputs.values().flat_map(|a| &a.files);
        files
            .chain(&self.logs)
            .find(|blob| !bounded::is_inner(&blob.path))
            .map(|blob| format!("it names a path outside of it: {:?}", blob.path))
    }
}

const SEAL: &str = ",\n  \"seal\": \"";
const END: &str = "\n}";

/// A committed output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    #[serde(rename = "type")]
    pub ty: Type,
    pub digest: Digest,
    /// Sorted by path.
    pub files: Vec<Blob>,
}

/// What several attempts took together. In a record: all that went into it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// What was paid for, to an endpoint say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dollars: f64,
    /// Calls to services.
    #[serde(default, skip_serializing_if = "Calls::is_zero")]
    pub calls: Calls,
    /// Floating-point operations of its models, where it counted them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flop: f64,
    /// Highest resident memory of a worker.
    pub peak_bytes: u64,
    /// Of the attempt that was committed; milliseconds since 1970.
    pub started_ms: u64,
    pub threads: usize,
    pub attempts: usize,
}

impl Cost {
    /// Adds a later attempt, given so many threads at that time.
    pub(crate) fn follow(&mut self, usage: &Usage, threads: usize, started_ms: u64) {
        self.seconds += usage.seconds;
        self.cpu_seconds += usage.cpu_seconds;
        self.dollars += usage.dollars;
        self.calls.follow(&usage.calls);
        self.flop += usage.flop;
        self.peak_bytes = self.peak_bytes.max(usage.peak_bytes);
        self.attempts += 1;
        (self.threads, self.started_ms) = (threads, started_ms);
    }
}

/// Who made it; for people, never in a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    pub recipe: String,
    pub node: String,
    pub run: String,
    pub version: String,
    #[serde(default)]
    pub origin: Origin,
    /// By address on the hub that the node names: the commit that it stood for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: BTreeMap<String, String>,
}

/// Of which binary, workspace and processor. Empty in records of before it was kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The first digits of the digest of the binary.
    pub build: String,
    /// Of the repository that the run was called in.
    pub commit: Option<String>,
    /// Whether tracked files of it differed from that commit.
    pub dirty: Option<bool>,
    pub cpu: String,
    pub features: Vec<String>,
    /// Operating system and architecture.
    pub system: String,
    /// Of the machine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Those that the node was given, by model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// What it computed on with its models, attempts that it goes on from included; none: the processor, in single precision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceUsed>,
}
