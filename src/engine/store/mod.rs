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

pub mod attempts;
pub mod claims;
pub mod commit;
pub mod evicted;
pub mod hub;
pub mod index;
pub mod objects;
pub mod origin;
pub mod paths;
pub mod record;
pub mod remote;
mod second;
mod shards;
pub mod sources;
mod transfer;
pub mod workspaces;

pub use second::Found;

use crate::kind::failure::Failure;
use crate::store::claims::{Claim, Claims};
use crate::store::objects::Objects;
use crate::store::record::{Artifact, Record};
use crate::store::second::Second;
use crate::store::shards::Shards;
use crate::store::sources::Sources;
use crate::system::clock;
use crate::system::fault;
use crate::system::files::{self, names};
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::hash::{Key, PlanKey};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The layout this binary reads and writes.
pub(crate) const FORMAT: u32 = 1;

const FOLDERS: [&str; 11] = [
    "objects",
    "actions",
    "plans",
    "attempts",
    "runs",
    "locks",
    "memo",
    "pins",
    "quarantine",
    "tmp",
    "workspaces",
];

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
        let root = absolute(root)?;
        if !root.join("format").exists() {
            found(&root).with_context(|| format!("cannot make a store at {}", root.display()))?;
        }
        check_format(&root)?;
        Ok(Store::new(root)?)
    }

    /// For whoever only looks: a store that is not there yet holds nothing, and none is made.
    pub fn look(root: &Path) -> Result<Store, Failure> {
        let root = absolute(root)?;
        match root.join("format").exists() {
            true => check_format(&root)?,
            false => is_free(&root)
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
            found(&self.root)
                .with_context(|| format!("cannot make a store at {}", self.root.display()))?;
        }
        let probe = || -> Result<()> {
            for folder in FOLDERS {
                fs::create_dir_all(self.root.join(folder))?;
            }
            let file = self.tmp().join(clock::unique());
            fs::write(&file, b"writable?")?;
            fs::remove_file(&file)?;
            self.clear_drafts();
            Ok(())
        };
        probe()
            .with_context(|| format!("cannot write to the store at {}", self.root.display()))
            .map_err(Failure::Environment)
    }

    /// Drafts of engines that were killed. A draft is written and placed within moments; what cannot be removed is litter.
    fn clear_drafts(&self) {
        const OLD: Duration = Duration::from_secs(600);
        /// What arrived of a blob is gone on with.
        const PARTIAL: Duration = Duration::from_secs(86_400);
        let drafts = fs::read_dir(self.tmp()).into_iter().flatten().flatten();
        for draft in drafts {
            let changed = draft.metadata().and_then(|m| m.modified());
            let name = draft.file_name();
            let most = match objects::is_partial(&name.to_string_lossy()) {
                true => PARTIAL,
                false => OLD,
            };
            if changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > most)) {
                let _ = fs::remove_file(draft.path());
            }
        }
    }

    pub fn lookup(&self, key: &Key) -> Lookup {
        let record = match self.record(key) {
            Ok(None) => return Lookup::Absent,
            Err(error) => return Lookup::Damaged(vec![format!("{error:#}")]),
            Ok(Some(record)) => record,
        };
        let missing: Vec<String> = record
            .outputs
            .iter()
            .flat_map(|(name, artifact)| artifact.files.iter().map(move |f| (name, f)))
            .filter(|(_, file)| !self.objects.has(file))
            .map(|(name, file)| format!("{name}/{}", file.path))
            .collect();
        if missing.is_empty() {
            Lookup::Whole(Box::new(record))
        } else if self.is_evicted(key) || !self.record_path(key).exists() {
            Lookup::Evicted(Box::new(record))
        } else {
            Lookup::Damaged(missing)
        }
    }

    /// Whether the key's blobs were removed to make room.
    pub fn is_evicted(&self, key: &Key) -> bool {
        self.record_path(key).with_extension(EVICTED).exists()
    }

    /// The record of a key, whatever the state of its files: here, else as it was found at the remote.
    pub fn record(&self, key: &Key) -> Result<Option<Record>> {
        let Some(text) = self.record_text(key)? else {
            return Ok(self.second.as_ref().and_then(|s| s.record(key)));
        };
        let record = Record::from_text(&text)
            .with_context(|| format!("record {} is not readable", key.short()))?;
        if record.key != *key {
            bail!("record {} is about another key", key.short());
        }
        Ok(Some(record))
    }

    /// A record as it was written.
    fn record_text(&self, key: &Key) -> Result<Option<String>> {
        match fs::read_to_string(self.record_path(key)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => {
                Ok(Some(other.with_context(|| {
                    format!("reading record {}", key.short())
                })?))
            }
        }
    }

    /// All readable records, by key.
    pub fn records(&self) -> Result<Vec<Record>> {
        let mut keys = vec![];
        for shard in names(&self.root.join("actions"))? {
            for name in names(&self.root.join("actions").join(shard))? {
                keys.extend(name.strip_suffix(".json").and_then(Key::parse));
            }
        }
        keys.sort();
        Ok(keys
            .iter()
            .filter_map(|key| self.record(key).ok().flatten())
            .collect())
    }

    /// Create-only: false where a record of this key exists already. Everything it names is durable by now.
    pub fn add_record(&self, record: &Record) -> Result<bool> {
        let text = record.to_text()?;
        let key = &record.key;
        let shown = || format!("writing record {}", key.short());
        self.actions.ready(key.shard()).with_context(shown)?;
        let path = self.record_path(key);
        if !path.exists() {
            self.forget_found(key);
        }
        fault::point("record-ready").with_context(shown)?;
        files::write_new(&self.tmp(), &path, text.as_bytes()).with_context(shown)
    }

    /// Takes a record back: it is kept in `quarantine/` for whoever wants to look.
    pub fn retire_record(&self, key: &Key) -> Result<()> {
        let aside = self
            .root
            .join("quarantine")
            .join(format!("{key}-{}.json", clock::unique()));
        fault::point("record-retire")?;
        self.forget_found(key);
        fs::rename(self.record_path(key), aside)
            .with_context(|| format!("moving record {} to quarantine", key.short()))
    }

    /// Removes what cannot be used of a damaged key, so that executing it again restores it.
    pub fn quarantine_damage(&self, key: &Key) -> Result<()> {
        let Ok(Some(record)) = self.record(key) else {
            return self.retire_record(key);
        };
        for file in record.outputs.values().flat_map(|a| &a.files) {
            if !self.objects.has(file) {
                self.objects.quarantine(&file.digest)?;
            }
        }
        Ok(())
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
        self.claims.take(key)
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

    fn record_path(&self, key: &Key) -> PathBuf {
        self.actions
            .root()
            .join(key.shard())
            .join(format!("{key}.json"))
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

fn absolute(root: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(root)
        .with_context(|| format!("the store path {} is not usable", root.display()))
        .map_err(Failure::Environment)
}

/// Refuses what cannot become a store: a file, and a folder that holds something else.
fn is_free(root: &Path) -> Result<()> {
    ensure!(
        !root.exists() || root.is_dir(),
        "it is a file, not a folder"
    );
    let strangers: Vec<String> = names(root)?
        .into_iter()
        // A `.gitignore` may keep an empty store's folder in a repository; our own drafts begin with a dot as well.
        .filter(|n| !n.starts_with('.') && n != "format")
        .collect();
    if !strangers.is_empty() && !root.join("format").exists() {
        bail!("the folder is not empty and is not a store");
    }
    Ok(())
}

/// Turns an empty or absent folder into a store. Two engines may do this at once.
fn found(root: &Path) -> Result<()> {
    is_free(root)?;
    fs::create_dir_all(root)?;
    let draft = root.join(format!(".format-{}", clock::unique()));
    fs::write(&draft, format!("{FORMAT}\n"))?;
    let linked = fs::hard_link(&draft, root.join("format"));
    fs::remove_file(&draft)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    Ok(())
}

fn check_format(root: &Path) -> Result<(), Failure> {
    let shown = format!("the store at {}", root.display());
    let text = fs::read_to_string(root.join("format"))
        .with_context(|| format!("{shown} has no readable format file"))?;
    let format: u32 = text
        .trim()
        .parse()
        .map_err(|_| anyhow!("{shown} has an unreadable format file: {:?}", text.trim()))?;
    if format > FORMAT {
        return Err(Failure::Environment(anyhow!(
            "{shown} has format {format}, made by a newer version; this one reads up to {FORMAT}"
        )));
    }
    Ok(())
}
