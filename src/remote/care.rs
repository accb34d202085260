//! What a process remembers of a remote beside its index: bytes that are not those of their names, records that the index has and that do
//! not lie there, and what it gave while somebody may have been making room.
//!
//! Whoever makes room looks at a blob right before removing it, and a push that writes an old one again may come in between. So
//! who gives looks at `gc/` before and afterwards: where nothing happened there, nothing was removed; else it looks again at
//! what it gave, and gives back what went. A maintainer that looks and then waits for longer than `FRESH` looks again, and a request ends in
//! time, so that after `PAUSE` nobody can act on what he saw before.

use crate::place::{Place, in_background};
use anyhow::Result;
use base::hash::{Digest, Key};
use engine::system::files::Blob;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where whoever makes room says so.
pub(crate) const FOLDER: &str = "gc";
pub(crate) const LOCK: &str = "gc/lock";

/// How old the look at a blob may be when it is removed.
pub(crate) const FRESH: Duration = Duration::from_secs(5);

/// What was seen before so long ago is acted on by nobody: that, and what a request may take.
pub(crate) const PAUSE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct Care {
    doubted: Mutex<BTreeSet<Digest>>,
    gone: Mutex<BTreeSet<Key>>,
    pub given: Mutex<Given>,
}

/// What was given since `gc/` was looked at.
#[derive(Clone, Default)]
pub(crate) struct Given {
    /// The names there; nothing where they are not known.
    pub room: Option<BTreeSet<String>>,
    pub blobs: BTreeMap<Digest, Gift>,
    /// How many are on their way.
    coming: usize,
}

/// A blob that was given.
#[derive(Clone)]
pub(crate) struct Gift {
    pub blob: Blob,
    pub from: PathBuf,
    pub at: Instant,
}

/// One that is on its way, until it has arrived or this is dropped.
pub(crate) struct Coming<'a>(&'a Care);

impl Coming<'_> {
    pub fn arrived(self, blob: &Blob, from: &Path) {
        lock(&self.0.doubted).remove(&blob.digest);
        let gift = Gift {
            blob: blob.clone(),
            from: from.to_path_buf(),
            at: Instant::now(),
        };
        let mut given = lock(&self.0.given);
        given.blobs.insert(blob.digest.clone(), gift);
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        lock(&self.0.given).coming -= 1;
    }
}

impl Care {
    pub fn doubt(&self, digest: &Digest) {
        lock(&self.doubted).insert(digest.clone());
    }

    pub fn is_doubted(&self, digest: &Digest) -> bool {
        lock(&self.doubted).contains(digest)
    }

    /// What the index has of this key does not lie there.
    pub fn lose(&self, key: &Key) {
        lock(&self.gone).insert(key.clone());
    }

    pub fn is_gone(&self, key: &Key) -> bool {
        lock(&self.gone).contains(key)
    }

    pub fn is_back(&self, key: &Key) {
        lock(&self.gone).remove(key);
    }

    /// Before anything is given.
    pub async fn begin(&self, place: &Place) {
        let room = room(place).await.ok();
        let mut given = lock(&self.given);
        // Others may have begun at the same time: what was seen first counts.
        given.room = given.room.take().or(room);
    }

    /// Before a blob is written.
    pub fn gives(&self) -> Coming<'_> {
        lock(&self.given).coming += 1;
        Coming(self)
    }

    /// These are there, and stay. `room`: what was seen at `gc/` before they were looked at. Later ones are compared with that where
    /// nothing was given meanwhile: what was may have gone before it was seen.
    pub fn are_there(&self, those: &BTreeMap<Digest, Gift>, room: BTreeSet<String>) {
        let mut given = lock(&self.given);
        let same =
            |digest: &Digest, gift: &Gift| those.get(digest).is_some_and(|g| g.at == gift.at);
        given.blobs.retain(|digest, gift| !same(digest, gift));
        if given.blobs.is_empty() && given.coming == 0 {
            given.room = Some(room);
        }
    }
}

/// What shows that room is made, or was.
pub(crate) async fn room(place: &Place) -> Result<BTreeSet<String>> {
    let listed = place.list(FOLDER, in_background(0)).await?;
    Ok(listed.into_iter().map(|entry| entry.path).collect())
}

pub(crate) fn is_made(room: &BTreeSet<String>) -> bool {
    room.contains(LOCK)
}

pub(crate) fn lock<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}
