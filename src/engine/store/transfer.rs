//! A second tier behind the store: records and blobs that other machines made, on a shared folder or an object store. The local store
//! stays the truth of its machine. What comes from a remote is believed only after it was checked here, and what a remote cannot give
//! is made here.
//!
//! A record that was found at a remote lies in the store like one whose blobs were evicted: its digests stand, its bytes are not here.
//! They are pulled when a node that runs needs them. Only its logs come at once, since every record in the store has its logs.
//!
//! Answers of services (`calls/`) have no part in this: they stay on the machine that paid for them. Prompts and answers may be private,
//! and that a call was made is agreed on by locks, which end at the machine. A node that runs on another machine asks, and pays, again;
//! a node whose record is at the remote does not run.

use super::remote::Remote;
use crate::store::record::{Artifact, Record};
use crate::store::{Lookup, Store};
use crate::system::clock;
use crate::system::files;
use crate::system::files::Blob;
use anyhow::{Context, Result, bail, ensure};
use base::hash::Key;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

/// Why a record has a mark of eviction that was never evicted here.
const ELSEWHERE: &str = "made elsewhere";

impl Store {
    /// This store with a second tier.
    pub fn with_remote(mut self, remote: Arc<dyn Remote>) -> Store {
        self.remote = Some(remote);
        self
    }

    pub(crate) fn has_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Takes over the record of a key that has none here, and says what the store has of the key then; nothing where the remote has none,
    /// or there is no remote. A record that is not what it should be is an error, and nothing of it stays.
    pub fn find_remote(&self, key: &Key) -> Result<Lookup> {
        let Some(remote) = &self.remote else {
            return Ok(Lookup::Absent);
        };
        let shown = || format!("record {} of the remote", key.short());
        let Some(text) = remote.record(key).with_context(shown)? else {
            return Ok(Lookup::Absent);
        };
        let record = checked(&text, key).with_context(shown)?;
        // Nobody may sweep its logs before the record protects them.
        let _shared = self.sharing()?;
        for log in &record.logs {
            self.pull_blob(remote.as_ref(), log).with_context(shown)?;
        }
        // Before the record: without the mark its blobs would be missing.
        let outputs: BTreeSet<String> = record.outputs.keys().cloned().collect();
        self.mark_evicted(key, &outputs, 0, ELSEWHERE)?;
        if self.add_text(key, &text)? {
            return Ok(Lookup::Evicted(Box::new(record)));
        }
        // It was made here meanwhile, and that record counts.
        let made = self.lookup(key);
        if matches!(made, Lookup::Whole(_)) {
            self.unevict(key)?;
        }
        Ok(made)
    }

    /// Gets the bytes of an output that are not here, each blob checked on arrival. False where there is no remote.
    pub fn pull(&self, key: &Key, output: &str, artifact: &Artifact) -> Result<bool> {
        let Some(remote) = &self.remote else {
            return Ok(false);
        };
        // Nobody may sweep what arrives before the mark says that it counts.
        let _shared = self.sharing()?;
        for blob in &artifact.files {
            if !self.objects().has(blob) {
                self.pull_blob(remote.as_ref(), blob)?;
            }
        }
        self.unmark(key, output)?;
        Ok(true)
    }

    /// Gives a record to the remote, its blobs first. False where the remote has one of the key already, or there is no remote.
    /// `stop` is asked before each blob: one that is under way is not broken off.
    pub fn publish(&self, record: &Record, stop: &dyn Fn() -> bool) -> Result<bool> {
        let Some(remote) = &self.remote else {
            return Ok(false);
        };
        let shown = || format!("publishing record {}", record.key.short());
        if remote.record(&record.key).with_context(shown)?.is_some() {
            return Ok(false);
        }
        for blob in record
            .outputs
            .values()
            .flat_map(|a| &a.files)
            .chain(&record.logs)
        {
            ensure!(!stop(), "{}: nobody waits for it any more", shown());
            let from = self.objects().path(&blob.digest);
            remote.push(blob, &from).with_context(shown)?;
        }
        let text = self.record_text(&record.key)?.with_context(shown)?;
        remote.publish(&record.key, &text).with_context(shown)
    }

    fn pull_blob(&self, remote: &dyn Remote, blob: &Blob) -> Result<()> {
        let draft = self.tmp().join(clock::unique());
        let pulled = || -> Result<()> {
            remote.pull(blob, &draft)?;
            let digest = files::hash_file(&draft)?;
            ensure!(
                digest == blob.digest,
                "its bytes are not those of its name {}",
                blob.digest.short()
            );
            self.objects().take(&draft, &blob.path)?;
            Ok(())
        };
        let pulled = pulled().with_context(|| format!("pulling `{}`", blob.path));
        let _ = fs::remove_file(&draft); // A leftover draft is litter; the object has a name of its own.
        pulled
    }
}

/// A record that was asked for by its key and came from who knows where.
fn checked(text: &str, key: &Key) -> Result<Record> {
    let record = Record::from_sealed(text)?;
    ensure!(record.key == *key, "it is about another key");
    match record.problem() {
        Some(problem) => bail!(problem),
        None => Ok(record),
    }
}
