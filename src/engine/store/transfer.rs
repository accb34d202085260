//! A second tier behind the store: records and blobs that other machines made, on a shared folder or an object store. The local store
//! stays the truth of its machine. What comes from a remote is believed only after it was checked here, and what a remote cannot give
//! is made here.
//!
//! A record that was found at a remote is one whose blobs were evicted: its digests stand, its bytes are not here. Who only reads keeps
//! it in memory; a run writes it down, and where it was found beside it. Bytes are pulled when a node that runs needs them, or
//! somebody reads them.

use super::claims::lease::Leases;
use super::found::{Elsewhere, Found};
use super::index::RecordSummary;
use super::remote::{Published, Remote, Signed, Terms, Trust};
use super::second::{Second, checked};
use crate::store::record::{Artifact, Record};
use crate::store::{Lookup, Store};
use crate::system::fault;
use crate::system::files::{self, Blob};
use anyhow::{Context, Result, anyhow, ensure};
use base::hash::Key;
use base::threads;
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Why a record has a mark of eviction that was never evicted here.
const ELSEWHERE: &str = "made elsewhere";

/// Ending of the file beside a record that was found at a remote.
const FOUND: &str = "found";

/// From so many records on, what is written is made durable together.
const MANY: usize = 16;

/// Records whose blobs have fewer bytes are pushed without a look at whether the remote has the record.
const SMALL: u64 = 4 << 20;

impl Store {
    /// This store with a second tier.
    pub fn with_remote(mut self, remote: Arc<dyn Remote>, trust: Arc<dyn Trust>) -> Store {
        self.objects.pull_from(remote.clone());
        self.second = Some(Second::new(remote, trust));
        self
    }

    /// The second tier, while it answers.
    pub fn remote(&self) -> Option<&dyn Remote> {
        let remote = &self.second.as_ref()?.remote;
        remote.is_open().then_some(remote.as_ref())
    }

    pub(crate) fn has_remote(&self) -> bool {
        self.remote().is_some()
    }

    /// The leases that are held there, and on which terms; nothing where keys are not leased.
    pub(crate) fn leases(&self) -> Option<(&Leases, Terms)> {
        let leases = &self.second.as_ref()?.leases;
        Some((leases, leases.terms()?))
    }

    /// Waits until the leases that were held are given up; not for long.
    pub(crate) fn settle_leases(&self, most: Duration) {
        if let Some(second) = &self.second {
            second.leases.settle(most);
        }
    }

    /// What is to be told of the remote as a whole, once.
    pub fn remote_remark(&self) -> Option<String> {
        self.second.as_ref()?.remote.remark()
    }

    /// Something went wrong with the remote: for `new_remarks`.
    pub(crate) fn remark(&self, text: String) {
        if let Some(second) = &self.second {
            second.remark(text);
        }
    }

    /// What went wrong with the remote since this was last asked, for who reads through this store and keeps no journal.
    pub fn new_remarks(&self) -> Vec<String> {
        let second = self.second.as_ref();
        second.map_or_else(Vec::new, Second::new_remarks)
    }

    /// What was told of the remote.
    pub fn remarks(&self) -> Vec<String> {
        let second = self.second.as_ref();
        second.map_or_else(Vec::new, Second::all_remarks)
    }

    /// Whether bytes that are not here may be at the remote.
    pub(crate) fn may_pull(&self, key: &Key) -> bool {
        let Some(second) = self.second.as_ref().filter(|s| s.remote.is_open()) else {
            return false;
        };
        second.one(key).is_some()
            || self.found(key).is_some()
            || !second.remote.known(key).is_empty()
    }

    /// Does something that asks `find_remote`, while others look at who signed what that gives. Nothing of what comes of it may be told or
    /// kept before this returns; nothing where somebody is not believed, and all is as before: it is to be done again without this.
    pub(crate) fn ahead<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        match self.second.as_ref().filter(|s| s.remote.is_open()) {
            Some(second) => second.ahead(work),
            None => Some(work()),
        }
    }

    /// Of the record of a key that has none here, by the remote's index; nothing where that has none, or there is no remote. A record
    /// that is not what it should be is an error.
    pub fn find_remote(&self, key: &Key) -> Result<Option<RecordSummary>> {
        match self.second.as_ref().filter(|s| s.remote.is_open()) {
            Some(second) if !second.refused(key) => {
                let found = second.take_ahead(key, second.remote.known(key))?;
                Ok(found.map(|one| RecordSummary::of(&one.record, true)))
            }
            _ => Ok(None),
        }
    }

    /// As `find_remote`, by asking the remote for this key: what the index has of it may be older, or of somebody else.
    pub fn ask_remote(&self, key: &Key) -> Result<Lookup> {
        let mut asked = self.ask_remote_for(&[key]);
        asked.pop().expect("an answer for each key")
    }

    /// As `ask_remote`, for several keys at once, in their order.
    pub fn ask_remote_for(&self, keys: &[&Key]) -> Vec<Result<Lookup>> {
        let Some(second) = self.second.as_ref().filter(|s| s.remote.is_open()) else {
            return keys.iter().map(|_| Ok(Lookup::Absent)).collect();
        };
        let found = second.remote.records(keys, &second.trust.trusted());
        let judged = keys.iter().zip(found).map(|(key, found)| {
            let told = second.refused(key);
            let shown = || format!("record {} of {}", key.short(), second.remote.name());
            let found = found.with_context(shown);
            let found = found.inspect_err(|_| second.refuse(key));
            let taken = found.and_then(|signed| second.take(key, signed.into_iter().collect()));
            match taken {
                Err(_) if told => Ok(Lookup::Absent),
                taken => taken.map(looked_up),
            }
        });
        judged.collect()
    }

    /// Whether the remote may have a record of a key that its index does not have, believed or not.
    pub(crate) fn is_unindexed(&self, key: &Key) -> bool {
        let known = |remote: &dyn Remote| !remote.known(key).is_empty();
        !self.remote().is_none_or(known)
    }

    /// Whether this record was made elsewhere and its bytes were never asked for here.
    pub(crate) fn never_had(&self, key: &Key) -> bool {
        match self.evicted(key) {
            Some(mark) => mark.reason == ELSEWHERE,
            None => self.found(key).is_some(),
        }
    }

    /// Where a record was found, if it was not made here.
    pub fn found(&self, key: &Key) -> Option<Found> {
        let in_memory = self.second.as_ref().and_then(|s| s.one(key));
        match in_memory {
            Some(one) => Some(one.found.clone()),
            None => serde_json::from_slice(&fs::read(self.found_path(key)).ok()?).ok(),
        }
    }

    /// Writes down records that were found, durable when this returns: first their marks, as without them their blobs would be
    /// missing, then they themselves. What was made here meanwhile counts.
    pub fn keep<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Result<()> {
        let Some(second) = &self.second else {
            return Ok(());
        };
        let new = keys.filter_map(|key| second.one(key));
        let new: Vec<_> = new
            .filter(|one| !self.record_path(&one.record.key).exists())
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let many = new.len() >= MANY;
        let shown = || format!("keeping records of {}", second.remote.name());
        let _shared = self.sharing()?;
        for one in &new {
            let key = &one.record.key;
            self.actions.ready(key.shard()).with_context(shown)?;
            let outputs: BTreeSet<String> = one.record.outputs.keys().cloned().collect();
            let found = serde_json::to_vec_pretty(&one.found).with_context(shown)?;
            let at = self.found_path(key);
            match many {
                true => {
                    files::replace(&self.tmp(), &at, &found).with_context(shown)?;
                    self.mark_evicted_soon(key, &outputs, ELSEWHERE)?;
                }
                false => {
                    files::put(&self.tmp(), &at, &found).with_context(shown)?;
                    self.mark_evicted(key, &outputs, 0, ELSEWHERE)?;
                }
            }
        }
        fault::point("found-marked").with_context(shown)?;
        if many {
            files::sync_all_of(self.root()).with_context(shown)?;
        }
        for one in &new {
            let (key, text) = (&one.record.key, one.signed.text.as_bytes());
            let added = match many {
                true => files::add_new(&self.tmp(), &self.record_path(key), text),
                false => files::write_new(&self.tmp(), &self.record_path(key), text),
            };
            // It was made here meanwhile.
            if !added.with_context(shown)? {
                let _ = fs::remove_file(self.found_path(key));
                if matches!(self.lookup(key), Lookup::Whole(_)) {
                    self.unevict(key)?;
                }
            }
        }
        fault::point("found-kept").with_context(shown)?;
        if many {
            files::sync_all_of(self.root()).with_context(shown)?;
        }
        Ok(())
    }

    /// Gets the bytes of an output that are not here, each blob checked on arrival. False where there is no remote. `enough` says why
    /// to give up.
    pub fn pull(
        &self,
        key: &Key,
        output: &str,
        artifact: &Artifact,
        enough: &dyn Fn() -> Option<&'static str>,
    ) -> Result<bool> {
        if !self.has_remote() {
            return Ok(false);
        }
        self.keep([key].into_iter())?;
        // Nobody may sweep what arrives before the mark says that it counts.
        let _shared = self.sharing()?;
        for blob in &artifact.files {
            if !self.objects().has(blob) && !self.objects().fetch(blob, enough)? {
                return Ok(false);
            }
        }
        self.unmark(key, output)?;
        Ok(true)
    }

    /// Makes sure that blobs are here as far as they can be had, several at once; who reads one that is not says so.
    pub fn reach_all(&self, blobs: &[&Blob]) {
        let missing = blobs.iter().filter(|blob| !self.objects().has(blob));
        let missing: Vec<&&Blob> = match self.has_remote() {
            true => missing.collect(),
            false => return,
        };
        let waiting = Mutex::new(missing.into_iter());
        let next = || lock(&waiting).next();
        let work = || {
            while let Some(blob) = next() {
                let _ = self.objects().reach(blob);
            }
        };
        at_once(&work);
    }

    /// Gives a record to the remote, its blobs first. Nothing where there is no remote that takes anything, or the record came from it.
    /// `bytes`: whether those of its outputs go there although the remote has the record, which may lack them. A record that came from
    /// there is signed by who made it, and by nobody else. `stop` is asked before each blob: one that is under way is not broken off.
    pub fn publish(
        &self,
        record: &Record,
        bytes: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Published>> {
        let Some(second) = self.second.as_ref().filter(|s| s.remote.is_open()) else {
            return Ok(None);
        };
        let (remote, key) = (second.remote.as_ref(), &record.key);
        if !remote.takes() {
            return Ok(None);
        }
        let shown = || format!("publishing record {}", key.short());
        let came = self.found(key).is_some_and(|f| f.remote == remote.name());
        if came && !bytes {
            return Ok(None);
        }
        let text = self.record_text(key)?.with_context(shown)?;
        let outputs: Vec<&Blob> = record.outputs.values().flat_map(|a| &a.files).collect();
        let blobs: Vec<&Blob> = outputs.iter().copied().chain(&record.logs).collect();
        let mut known = remote.known(key);
        let large = || blobs.iter().map(|b| b.size).sum::<u64>() >= SMALL;
        if known.is_empty() && (came || large()) {
            let asked = remote.records(&[key], &second.trust.trusted()).pop();
            match asked.expect("an answer for each key") {
                Ok(found) => known.extend(found),
                Err(error) if came => return Err(error).with_context(shown),
                // What cannot be read, or is none, is met again when ours is given.
                Err(_) => {}
            }
        }
        if came && known.is_empty() {
            let gone = "it came from there and lies there no more; whoever made it gives it again";
            return Err(anyhow!(gone)).with_context(shown);
        }
        let signature = match came {
            true => None,
            false => second.trust.sign(&text).with_context(shown)?,
        };
        // Ours, where it is there; else what is whole.
        known.retain(|there| checked(&there.text, key).is_ok());
        let own = known.iter().position(|there| there.text == text);
        let there = (!known.is_empty()).then(|| known.swap_remove(own.unwrap_or(0)));
        let unsigned = there.as_ref().is_some_and(|there| {
            let signed = |own: &super::remote::Signature| {
                there.signatures.iter().any(|s| s.signer == own.signer)
            };
            there.text == text && !signature.as_ref().is_none_or(signed)
        });
        if let Some(there) = there.filter(|_| !unsigned) {
            if bytes && same_outputs(record, &there.text) {
                // Its logs are those of this text, and may never have been here.
                let own = |blob: &&Blob| there.text == text && self.objects().has(blob);
                let logs = record.logs.iter().filter(own);
                let blobs: Vec<&Blob> = outputs.iter().copied().chain(logs).collect();
                push_blobs(remote, self, &blobs, stop).with_context(shown)?;
            }
            return Ok(Some(match there.text == text {
                true => Published::Same,
                false => Published::Other(there.text),
            }));
        }
        if !unsigned || bytes {
            push_blobs(remote, self, &blobs, stop).with_context(shown)?;
        }
        let signed = Signed {
            text,
            signatures: signature.into_iter().collect(),
        };
        fault::point("push-record").with_context(shown)?;
        let sound = |text: &str| checked(text, key).is_ok();
        let published = remote.publish(key, &signed, &sound);
        fault::point("pushed").with_context(shown)?;
        published.with_context(shown).map(Some)
    }

    /// Its record is of this machine from now on. What stays of the file says too much of a record's origin, and no more.
    pub(super) fn forget_found(&self, key: &Key) {
        if let Some(second) = &self.second {
            second.forget(key);
        }
        let _ = fs::remove_file(self.found_path(key));
    }

    fn found_path(&self, key: &Key) -> std::path::PathBuf {
        self.record_path(key).with_extension(FOUND)
    }
}

fn looked_up(found: Option<Arc<Elsewhere>>) -> Lookup {
    let evicted = |one: Arc<Elsewhere>| Lookup::Evicted(Box::new(one.record.clone()));
    found.map_or(Lookup::Absent, evicted)
}

pub(super) fn lock<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On several threads, until each has nothing to do.
pub(super) fn at_once(work: &(dyn Fn() + Sync)) {
    const AT_ONCE: usize = 8;
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE {
            // Where no thread is given, the others do its part.
            let _ = threads::start_in(scope, work);
        }
        work();
    });
}

fn push_blobs(
    remote: &dyn Remote,
    store: &Store,
    blobs: &[&Blob],
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    for blob in blobs {
        ensure!(!stop(), "nobody waits for it any more");
        fault::point("push-blob")?;
        remote.push(blob, &store.objects().path(&blob.digest))?;
    }
    Ok(())
}

fn same_outputs(record: &Record, there: &str) -> bool {
    Record::from_text(there).is_ok_and(|there| {
        let digests = |r: &Record| -> Vec<_> {
            let outputs = r.outputs.iter();
            outputs
                .map(|(n, a)| (n.clone(), a.digest.clone()))
                .collect()
        };
        digests(&there) == digests(record)
    })
}
