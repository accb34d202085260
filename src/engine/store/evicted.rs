//! Eviction: the blobs of a record go on purpose, the record stays. A mark beside the record says so, durable before the first
//! blob goes; blobs that are gone without a mark are damage.

use crate::store::{EVICTED, Store};
use crate::system::clock;
use crate::system::fault;
use crate::system::files;
use anyhow::{Context, Result};
use base::hash::{Digest, Key};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

/// The mark: `actions/ab/KEY.evicted`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evicted {
    pub at_ms: u64,
    /// How much room it was to make; less where others turned out to share the blobs.
    pub bytes: u64,
    pub reason: String,
    /// The outputs whose blobs may be gone; those of the others are counted on.
    pub outputs: BTreeSet<String>,
}

impl Store {
    pub fn evicted(&self, key: &Key) -> Option<Evicted> {
        serde_json::from_slice(&fs::read(self.mark_path(key)).ok()?).ok()
    }

    /// The record's blobs are back, or it is of other bytes now.
    pub fn unevict(&self, key: &Key) -> Result<()> {
        match fs::remove_file(self.mark_path(key)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("unmarking record {}", key.short())),
        }
    }

    /// The blobs of this output are back.
    pub(crate) fn unmark(&self, key: &Key, output: &str) -> Result<()> {
        let Some(mut mark) = self.evicted(key) else {
            return Ok(());
        };
        mark.outputs.remove(output);
        match mark.outputs.is_empty() {
            true => self.unevict(key),
            false => self.write_mark(key, &mark),
        }
    }

    /// What is marked already stays marked.
    pub fn mark_evicted(
        &self,
        key: &Key,
        outputs: &BTreeSet<String>,
        bytes: u64,
        reason: &str,
    ) -> Result<()> {
        let mark = self.more_evicted(key, outputs, bytes, reason);
        self.write_mark(key, &mark)
    }

    /// As `mark_evicted`, for many: durable once somebody has synced the store. The folder is there.
    pub(crate) fn mark_evicted_soon(
        &self,
        key: &Key,
        outputs: &BTreeSet<String>,
        reason: &str,
    ) -> Result<()> {
        let shown = || format!("marking record {} as evicted", key.short());
        let mark = self.more_evicted(key, outputs, 0, reason);
        let text = serde_json::to_vec_pretty(&mark).with_context(shown)?;
        files::replace(&self.tmp(), &self.mark_path(key), &text).with_context(shown)
    }

    fn more_evicted(
        &self,
        key: &Key,
        outputs: &BTreeSet<String>,
        bytes: u64,
        reason: &str,
    ) -> Evicted {
        let before = self.evicted(key).unwrap_or_default();
        Evicted {
            at_ms: clock::now_ms(),
            bytes: before.bytes + bytes,
            reason: reason.to_string(),
            outputs: before.outputs.union(outputs).cloned().collect(),
        }
    }

    fn write_mark(&self, key: &Key, mark: &Evicted) -> Result<()> {
        let shown = || format!("marking record {} as evicted", key.short());
        fault::point("evict-mark").with_context(shown)?;
        let text = serde_json::to_vec_pretty(mark).with_context(shown)?;
        let path = self.mark_path(key);
        let shard = path.parent().expect("a mark lies in a shard folder");
        fs::create_dir_all(shard).with_context(shown)?;
        files::put(&self.tmp(), &path, &text).with_context(shown)
    }

    /// The bytes that were there. Only for blobs that nobody needs.
    pub(crate) fn drop_blob(&self, digest: &Digest) -> Result<u64> {
        let path = self.objects().path(digest);
        let shown = || format!("removing object {}", digest.short());
        fault::point("evict-blob").with_context(shown)?;
        let size = match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other.with_context(shown)?.len(),
        };
        fs::remove_file(&path).with_context(shown)?;
        Ok(size)
    }

    fn mark_path(&self, key: &Key) -> PathBuf {
        self.root()
            .join("actions")
            .join(key.shard())
            .join(format!("{key}.{EVICTED}"))
    }
}
