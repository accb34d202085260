//! The folder that keeps everything: its layout, its format version, records, hints, locks. Small immutable files are
//! the truth; the hints and the memo can be deleted at any time.
//!
//! ```text
//! format                       the version of this layout
//! objects/ab/DIGEST            blobs, read-only
//! actions/ab/KEY.json          records: the only commit point, create-only
//! actions/ab/KEY.evicted       the blobs of this record were removed on purpose
//! actions/ab/KEY.found         where this record was found, of one that was made elsewhere
//! plans/ab/PLANKEY             hint: the key this place of a graph had last
//! attempts/KEY12-N/            out/NAME/ in/PORT/ resume/ logs/ attempt.json
//! runs/ID/                     recipes, events.jsonl
//! locks/KEY                    flock of whoever executes this key; the file itself means nothing
//! shared.toml                  claims are links: machines share this store whose locks do not exclude each other
//! claims/KEY/N                 the claim of the N-th holder, in such a store
//! memo/                        digests of source files and of used objects, the index: all rebuildable
//! pins/NAME.json               records to be kept, named by somebody
//! workspaces/ID.json           folders that runs were called in
//! settings.toml                the cap
//! quarantine/ tmp/
//! ```

mod ahead;
pub mod attempts;
pub mod claims;
pub mod commit;
pub mod evicted;
mod folder;
mod found;
pub mod hub;
pub mod index;
mod mending;
pub mod objects;
pub mod origin;
pub mod paths;
pub mod record;
mod records;
pub mod remote;
mod second;
mod shards;
pub mod sources;
mod transfer;
pub mod workspaces;

pub use found::Found;

use crate::kind::failure::Failure;
use crate::store::claims::{Claim, Claims, Whose};
use crate::store::objects::Objects;
use crate::store::record::{Artifact, Record};
use crate::store::second::Second;
use crate::store::shards::Shards;
use crate::store::sources::Sources;
use crate::system::clock;
use crate::system::fault;
use crate::system::files;
use anyhow::{Context, Result};
use base::hash::{Key, PlanKey};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Ending of the mark beside a record whose blobs were removed to make room.
pub(crate) const EVICTED: &str = "evicted";

/// What the store knows of a key.
pub enum Lookup {
    Absent,
    Whole(Box<Record>),
    /// Its blobs were removed to make room; its digests still stand.
    Evicted(Box<Record>),
    /// There is a record, but the record or these files of it cannot be used.
    Damaged(Vec<String>),
}

pub struct Store {
    root: PathBuf,
    objects: Objects,
    actions: Shards,
    sources: Mutex<Sources>,
    seen: Mutex<Sources>,
    claims: Box<dyn Claims>,
    second: Option<Second>,
}

impl Store {
    /// Whether a folder is marked as a store, of whatever version.
    pub fn is_at(root: &Path) -> bool {
        let mark = fs::read_to_string(root.join("format"));
        mark.is_ok_and(|text| text.trim().parse::<u32>().is_ok())
    }

    /// Opens a store, making one where there is nothing yet.
    pub fn open(root: &Path) -> Result<Store, Failure> {
        let root = folder::absolute(root)?;
        if !root.join("format").exists() {
            folder::make(&root)
                .with_context(|| format!("cannot make a store at {}", root.display()))?;
        }
        folder::check_format(&root)?;
        Ok(Store::new(root)?)
    }

    /// For whoever only looks: a store that is not there yet holds nothing, and none is made.
    pub fn look(root: &Path) -> Result<Store, Failure> {
        let root = folder::absolute(root)?;
        match root.join("format").exists() {
            true => folder::check_format(&root)?,
            false => folder::is_free(&root)
                .with_context(|| format!("there can be no store at {}", root.display()))?,
        }
        Ok(Store::new(root)?)
    }

    fn new(root: PathBuf) -> Result<Store> {
        Ok(Store {
            objects: Objects::new(&root),
            actions: Shards::new(root.join("actions")),
            sources: Mutex::new(Sources::open(root.join("memo/sources.json"))),
            seen: Mutex::new(Sources::open(root.join("memo/objects.json"))),
            claims: claims::shared::of(&root)?,
            second: None,
            root,
        })
    }

    /// From now on, for this and for every engine that opens it, claims are links which last so long without a sign of life.
    pub fn share(&mut self, lasts: Duration) -> Result<()> {
        claims::shared::share(&self.root, lasts)?;
        self.claims = claims::shared::of(&self.root)?;
        Ok(())
    }

    pub fn claims(&self) -> &dyn Claims {
        &*self.claims
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn attempts(&self) -> PathBuf {
        self.root.join("attempts")
    }

    /// Answers of services, for all nodes: `services::journal`.
    pub fn calls(&self) -> PathBuf {
        self.root.join("calls")
    }

    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Digests of files outside the store, by the files' times.
    pub fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Digests of objects that were used as inputs, by the files' times.
    pub fn seen(&self) -> MutexGuard<'_, Sources> {
        self.seen
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Makes the folders and proves that the store can be written to.
    pub fn prepare(&self) -> Result<(), Failure> {
        if !self.root.join("format").exists() {
            folder::make(&self.root)
                .with_context(|| format!("cannot make a store at {}", self.root.display()))?;
        }
        let probe = || -> Result<()> {
            for name in folder::FOLDERS {
                fs::create_dir_all(self.root.join(name))?;
            }
            let file = self.tmp().join(clock::unique());
            fs::write(&file, b"writable?")?;
            fs::remove_file(&file)?;
            folder::clear_drafts(&self.tmp());
            Ok(())
        };
        probe()
            .with_context(|| format!("cannot write to the store at {}", self.root.display()))
            .map_err(Failure::Environment)
    }

    /// Whether every byte of an artifact is what it was when it was committed. Files whose times have not changed since they were
    /// last read are believed. What is not sound is quarantined.
    pub fn sound(&self, artifact: &Artifact) -> Result<bool> {
        let mut sound = true;
        for file in &artifact.files {
            if self.objects.has(file)
                && self.seen().digest(&self.objects.path(&file.digest))? == file.digest
            {
                continue;
            }
            self.objects.quarantine(&file.digest)?;
            sound = false;
        }
        Ok(sound)
    }

    /// Re-hashes everything a record names; what differs is quarantined, so the next plan sees it missing. Returns the
    /// damaged files as `output/path`.
    pub fn verify(&self, record: &Record) -> Result<Vec<String>> {
        let mut damaged = vec![];
        for (name, artifact) in &record.outputs {
            for file in &artifact.files {
                if !self.objects.verify(file)? {
                    self.objects.quarantine(&file.digest)?;
                    damaged.push(format!("{name}/{}", file.path));
                }
            }
        }
        Ok(damaged)
    }

    /// The key this place had last, if it is still written down.
    pub fn hint(&self, plan: &PlanKey) -> Option<Key> {
        Key::parse(fs::read_to_string(self.hint_path(plan)).ok()?.trim())
    }

    /// Remembers a hint. Losing one costs nothing, so failures are ignored.
    pub(crate) fn remember(&self, plan: &PlanKey, key: &Key) {
        if self.hint(plan).as_ref() == Some(key) {
            return;
        }
        if fault::point("hint").is_err() {
            return;
        }
        let path = self.hint_path(plan);
        let parent = path.parent().expect("a hint lies in a shard folder");
        let _ = fs::create_dir_all(parent)
            .and_then(|()| files::replace(&self.tmp(), &path, key.as_str().as_bytes()));
    }

    /// The claim of a key, or nothing while someone else holds it. It is held as long as it lives; where it is a lock, as long as a
    /// copy of its descriptor in a worker is open.
    pub fn try_lock(&self, key: &Key) -> Result<Option<Arc<dyn Claim>>> {
        self.claims.take(key, Whose::default())
    }

    /// Held while blobs are counted on that no record or run protects yet: while a commit goes on, while hits are decided. As long
    /// as anyone holds it, `alone` is refused.
    pub fn sharing(&self) -> Result<File> {
        let file = self.open_lock("sweep")?;
        match (file.lock_shared(), self.claims.lasts()) {
            // `gc` knows that locks say little where claims are links.
            (Ok(()), _) | (Err(_), Some(_)) => Ok(file),
            (locked, None) => locked
                .context("locking the store; its file system must support locks")
                .map(|()| file),
        }
    }

    /// For whoever removes blobs: nothing while somebody is `sharing`.
    pub fn alone(&self) -> Result<Option<File>> {
        let file = self.open_lock("sweep")?;
        exclusive(&file, &self.root.join("locks/sweep")).map(|got| got.then_some(file))
    }

    fn open_lock(&self, name: &str) -> Result<File> {
        let path = self.root.join("locks").join(name);
        File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .with_context(|| format!("opening lock {}", path.display()))
    }

    fn hint_path(&self, plan: &PlanKey) -> PathBuf {
        self.root
            .join("plans")
            .join(plan.shard())
            .join(plan.as_str())
    }
}

/// Takes a lock, or says that somebody else has it.
fn exclusive(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(e)) => Err(e).with_context(|| {
            format!(
                "locking {}; the file system of a store must support locks",
                path.display()
            )
        }),
    }
}
