//! What the records name and what lies in `objects/`, read once and then only where a file changed: the sweep asks again before
//! every portion.

use crate::store::evicted::Evicted;
use crate::store::record::Record;
use crate::store::{EVICTED, Store};
use crate::system::clock;
use crate::system::files::Blob;
use crate::system::files::names;
use anyhow::{Context, Result};
use base::hash::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[derive(Default)]
pub struct Inventory {
    records: BTreeMap<Key, Held>,
    /// By record file that cannot be read, and of records in quarantine: everything in it that may be a digest. Whoever repairs the
    /// file will want those blobs.
    doubtful: BTreeMap<String, BTreeSet<Digest>>,
}

/// A record with what is known beside it.
pub struct Held {
    pub record: Record,
    pub evicted: Option<Evicted>,
    /// Changes when the record is replaced.
    pub stamp: Stamp,
    marked: Option<Stamp>,
}

/// Which file, and when it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    changed_ns: i128,
}

/// A blob that is there.
pub struct Found {
    pub digest: Digest,
    pub size: u64,
    /// When it was linked to its name, or last unlinked from another.
    pub changed_ms: u64,
}

impl Held {
    /// Whether the blobs of this output may be gone, or are to go.
    pub fn marked(&self, output: &str) -> bool {
        self.evicted
            .as_ref()
            .is_some_and(|mark| mark.outputs.contains(output))
    }

    /// The blobs of these outputs.
    pub fn files<'a>(&'a self, outputs: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Blob> {
        let named = self.record.outputs.iter();
        named
            .filter(|(name, _)| outputs.contains(*name))
            .flat_map(|(_, artifact)| &artifact.files)
    }
}

impl Inventory {
    /// Reads what is new and forgets what is gone.
    pub fn refresh(&mut self, store: &Store) -> Result<()> {
        let mut before = std::mem::take(&mut self.records);
        self.doubtful.clear();
        let actions = store.root().join("actions");
        for shard in names(&actions)? {
            let folder = actions.join(shard);
            let mut marks: BTreeMap<String, Stamp> = BTreeMap::new();
            let mut keys = vec![];
            for name in names(&folder)? {
                let Some(stamp) = Stamp::of(&folder.join(&name))? else {
                    continue; // Taken back between the list and now.
                };
                if let Some(key) = name.strip_suffix(&format!(".{EVICTED}")) {
                    marks.insert(key.to_string(), stamp);
                } else if let Some(key) = name.strip_suffix(".json").and_then(Key::parse) {
                    keys.push((key, stamp));
                }
            }
            for (key, stamp) in keys {
                let mark = marks.get(key.as_str()).copied();
                let known = before.remove(&key).filter(|h| h.stamp == stamp);
                match known {
                    Some(held) if held.marked == mark => {
                        self.records.insert(key, held);
                    }
                    _ => self.read(store, &folder, key, stamp, mark)?,
                }
            }
        }
        self.read_quarantine(store)
    }

    fn read(
        &mut self,
        store: &Store,
        folder: &Path,
        key: Key,
        stamp: Stamp,
        marked: Option<Stamp>,
    ) -> Result<()> {
        match store.record(&key) {
            Ok(Some(record)) => {
                let evicted = marked.and_then(|_| store.evicted(&key));
                let held = Held {
                    record,
                    evicted,
                    stamp,
                    marked,
                };
                self.records.insert(key, held);
            }
            Ok(None) => {}
            Err(_) => {
                let path = folder.join(format!("{key}.json"));
                let bytes =
                    fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                self.doubtful.insert(key.to_string(), digests(&bytes));
            }
        }
        Ok(())
    }

    fn read_quarantine(&mut self, store: &Store) -> Result<()> {
        let folder = store.root().join("quarantine");
        for name in names(&folder)? {
            if name.ends_with(".json")
                && let Ok(bytes) = fs::read(folder.join(&name))
            {
                self.doubtful.insert(name, digests(&bytes));
            }
        }
        Ok(())
    }

    pub fn get(&self, key: &Key) -> Option<&Held> {
        self.records.get(key)
    }

    pub fn all(&self) -> impl Iterator<Item = &Held> {
        self.records.values()
    }

    /// How many record files cannot be read, or lie in quarantine.
    pub fn doubtful(&self) -> usize {
        self.doubtful.len()
    }

    /// Everything that any record names, whatever is marked.
    pub fn named(&self) -> BTreeSet<Digest> {
        let blobs = self.all().flat_map(|held| {
            let outputs = held.record.outputs.values().flat_map(|a| &a.files);
            outputs.chain(&held.record.logs)
        });
        let doubtful = self.doubtful.values().flatten().cloned();
        blobs.map(|b| b.digest.clone()).chain(doubtful).collect()
    }

    /// The blobs that records count on when these outputs go as well. A mark that was left on a record which is a root means
    /// nothing: whatever is there of it is in use.
    pub fn needed(
        &self,
        going: &BTreeMap<Key, BTreeSet<String>>,
        root: impl Fn(&Key) -> bool,
    ) -> BTreeSet<Digest> {
        let mut needed: BTreeSet<Digest> = self.doubtful.values().flatten().cloned().collect();
        for held in self.all() {
            let key = &held.record.key;
            let (goes, root) = (going.get(key), root(key));
            for (name, artifact) in &held.record.outputs {
                let wanted = root || !held.marked(name);
                if wanted && !goes.is_some_and(|outputs| outputs.contains(name)) {
                    needed.extend(artifact.files.iter().map(|b| b.digest.clone()));
                }
            }
            needed.extend(held.record.logs.iter().map(|b| b.digest.clone()));
        }
        needed
    }
}

impl Stamp {
    fn of(path: &Path) -> Result<Option<Stamp>> {
        match fs::symlink_metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
            Ok(meta) => Ok(Some(Stamp {
                inode: meta.ino(),
                size: meta.len(),
                changed_ns: i128::from(meta.ctime()) * 1_000_000_000
                    + i128::from(meta.ctime_nsec()),
            })),
        }
    }
}

/// Every blob in `objects/`.
pub fn blobs(store: &Store) -> Result<Vec<Found>> {
    let root = store.root().join("objects");
    let mut found = vec![];
    for shard in names(&root)? {
        let folder = root.join(shard);
        for name in names(&folder)? {
            let Some(digest) = Digest::parse(&name) else {
                continue;
            };
            found.extend(blob(store, digest));
        }
    }
    Ok(found)
}

/// A blob, if it is there.
pub fn blob(store: &Store, digest: Digest) -> Option<Found> {
    let meta = fs::symlink_metadata(store.objects().path(&digest)).ok()?;
    meta.is_file().then(|| Found {
        digest,
        size: meta.len(),
        changed_ms: changed_ms(&meta),
    })
}

/// When a file, its names or its mode last changed; a clock that went back does not make it older.
pub(crate) fn changed_ms(meta: &fs::Metadata) -> u64 {
    let ms = meta.ctime().max(0) as u64 * 1000 + meta.ctime_nsec().max(0) as u64 / 1_000_000;
    ms.max(meta.mtime().max(0) as u64 * 1000)
}

/// Every word of 64 hexadecimal digits: digests and keys of a text in whatever shape it is.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    bytes
        .split(move |b| !hex(b))
        .filter(|word| word.len() == 64)
        .filter_map(|word| std::str::from_utf8(word).ok())
}

fn digests(bytes: &[u8]) -> BTreeSet<Digest> {
    words(bytes).filter_map(Digest::parse).collect()
}

/// How long ago, in milliseconds; nothing in the future is old.
pub fn age_ms(then_ms: u64) -> u64 {
    clock::now_ms().saturating_sub(then_ms)
}
