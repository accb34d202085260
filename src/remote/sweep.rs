//! Taking away at a remote what `collect` proposes. One maintainer at a time, held by `gc/lock`; who is killed leaves it, and what was
//! not taken away stays.

use crate::bucket::Bucket;
use crate::care::{FOLDER, FRESH, LOCK};
use crate::collect::{DAY_MS, Eye, Item, MOST, Policy, blobs};
use crate::leases;
use anyhow::{Context, Result, bail};
use base::hash::Digest;
use engine::system::{clock, fault};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Before the nonce of who made room last, in the name of an empty object.
const SWEPT: &str = "gc/swept-";

/// What became of it.
#[derive(Default)]
pub struct Swept {
    pub blobs: u64,
    pub bytes: u64,
    /// Needed, or written again, since the proposal.
    pub spared: u64,
    /// That nobody holds any more.
    pub leases: u64,
}

/// Who makes room, as it stands in `gc/lock`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub who: String,
    /// By its own clock.
    pub since_ms: u64,
    /// No two are the same.
    pub nonce: String,
}

/// The right to remove, given back when it is dropped.
pub struct Lock<'a> {
    bucket: &'a Bucket,
    text: Vec<u8>,
    /// By the clock of the remote, when it was taken.
    pub at_ms: u64,
}

/// What was said where somebody else has it.
pub enum Taken<'a> {
    Ours(Lock<'a>),
    By(Holder),
}

/// `over`: whoever has it is known to be gone.
pub fn lock<'a>(bucket: &'a Bucket, who: &str, over: bool) -> Result<Taken<'a>> {
    let holder = Holder {
        who: who.into(),
        since_ms: clock::now_ms(),
        nonce: clock::unique(),
    };
    let text = serde_json::to_vec_pretty(&holder).context("writing a lock")?;
    if over {
        bucket.remove(LOCK)?;
    }
    if !bucket.add(LOCK, text.clone())? {
        let there = bucket.read(LOCK, MOST)?.unwrap_or_default();
        // A create whose answer was lost is ours.
        if there != text {
            let by = serde_json::from_slice(&there);
            return Ok(Taken::By(by.unwrap_or_else(|_| Holder {
                who: "somebody whose lock cannot be read".into(),
                since_ms: 0,
                nonce: String::new(),
            })));
        }
    }
    let own = bucket
        .entries(FOLDER)?
        .into_iter()
        .find(|entry| entry.path == LOCK);
    let at_ms = own
        .context("the lock that was just taken is not there")?
        .modified_ms;
    Ok(Taken::Ours(Lock {
        bucket,
        text,
        at_ms,
    }))
}

impl Lock<'_> {
    /// So that who gives meanwhile sees that room was made, however that ends. There before anything goes.
    fn leave_mark(&self) -> Result<()> {
        let before = self.bucket.entries(FOLDER)?;
        let own = format!("{SWEPT}{}", clock::unique());
        self.bucket.write(&own, vec![])?;
        for mark in before.iter().filter(|e| e.path.starts_with(SWEPT)) {
            self.bucket.remove(&mark.path)?;
        }
        Ok(())
    }

    fn held(&self) -> Result<()> {
        match self.bucket.read(LOCK, MOST)? {
            Some(there) if there == self.text => Ok(()),
            _ => bail!("somebody has taken over the lock {LOCK}; what is left stays"),
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // One that stays says who left it.
        if self.held().is_ok() {
            let _ = self.bucket.remove(LOCK);
        }
    }
}

/// Removes what was proposed under this lock, a shard of blobs at a time; before each looks again at what has come to be needed.
pub fn sweep(lock: &Lock, policy: &Policy, items: &[Item]) -> Result<Swept> {
    let bucket = lock.bucket;
    fault::point("remote-locked")?;
    lock.leave_mark()?;
    let mut going: BTreeMap<&str, BTreeSet<&Digest>> = BTreeMap::new();
    for digest in items.iter().flat_map(|item| &item.blobs) {
        going.entry(digest.shard()).or_default().insert(digest);
    }
    let mut eye = Eye::open(bucket, policy, lock.at_ms)?;
    let mut needed = eye.needed();
    let mut swept = Swept::default();
    for (shard, digests) in going {
        lock.held()?;
        if eye.refresh(bucket)? {
            eye.find_roots(bucket, policy)?;
            needed = eye.needed();
        }
        let there = blobs(bucket.entries(&format!("objects/{shard}"))?);
        for digest in digests {
            let Some(blob) = there.get(digest) else {
                continue;
            };
            let age = lock.at_ms.saturating_sub(blob.modified_ms);
            if needed.contains(digest) || age < policy.grace_ms {
                swept.spared += 1;
                continue;
            }
            // Whoever pushes it writes an old one again first.
            let looked = Instant::now();
            let now = bucket.entry(&blob.path)?;
            if now.is_none_or(|now| now.modified_ms != blob.modified_ms) {
                swept.spared += 1;
                continue;
            }
            fault::point("remote-remove")?;
            // Who gives counts on it (`care`). It goes the next time.
            if looked.elapsed() > FRESH {
                swept.spared += 1;
                continue;
            }
            bucket.remove(&blob.path)?;
            fault::point("remote-removed")?;
            swept.blobs += 1;
            swept.bytes += blob.size;
        }
    }
    // Whoever holds one writes it again within the hour.
    for lease in bucket.entries(leases::FOLDER)? {
        if lock.at_ms.saturating_sub(lease.modified_ms) >= DAY_MS {
            bucket.remove(&lease.path)?;
            swept.leases += 1;
        }
    }
    fault::point("remote-swept")?;
    Ok(swept)
}
