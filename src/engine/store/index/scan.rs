//! Reading a shard from its folder. Entries of records whose file is the same as before are taken over.

use super::brief::{self, Identity, RecordSummary};
use super::pack;
use crate::store::{EVICTED, Store};
use base::hash::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The sharded folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Folder {
    Actions,
    Objects,
    Plans,
}

impl Folder {
    pub const ALL: [Folder; 3] = [Folder::Actions, Folder::Objects, Folder::Plans];

    fn word(self) -> &'static str {
        match self {
            Folder::Actions => "actions",
            Folder::Objects => "objects",
            Folder::Plans => "plans",
        }
    }
}

/// A folder and its shard.
pub type Place = (Folder, usize);

pub fn dir(store: &Store, (folder, n): Place) -> PathBuf {
    store.root().join(folder.word()).join(format!("{n:02x}"))
}

/// The shard's entries, packed. What cannot be read is left out.
pub fn read(store: &Store, place: Place, old: &[u8]) -> Vec<u8> {
    let dir = dir(store, place);
    match place.0 {
        Folder::Actions => actions(store, &dir, old),
        Folder::Objects => objects(&dir),
        Folder::Plans => plans(&dir),
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|e| e.file_name().into_string().ok())
        .collect()
}

fn objects(dir: &Path) -> Vec<u8> {
    let mut all: BTreeMap<[u8; 32], u64> = BTreeMap::new();
    for name in names(dir) {
        if let (Some(raw), Ok(meta)) = (pack::raw(&name), fs::metadata(dir.join(&name)))
            && meta.is_file()
        {
            all.insert(raw, meta.len());
        }
    }
    let mut out = pack::Pack::default();
    for (raw, size) in all {
        out.0.extend(raw);
        out.u64(size);
    }
    out.0
}

fn plans(dir: &Path) -> Vec<u8> {
    let mut all: BTreeMap<[u8; 32], [u8; 32]> = BTreeMap::new();
    for name in names(dir) {
        let key = fs::read_to_string(dir.join(&name)).unwrap_or_default();
        if let (Some(plan), Some(key)) = (pack::raw(&name), pack::raw(key.trim())) {
            all.insert(plan, key);
        }
    }
    let pairs = all.into_iter().flat_map(|(plan, key)| [plan, key]);
    pairs.flatten().collect()
}

fn actions(store: &Store, dir: &Path, old: &[u8]) -> Vec<u8> {
    let names: BTreeSet<String> = names(dir).into_iter().collect();
    let known: BTreeMap<[u8; 32], _> = brief::entries(old).map(|e| (e.raw, e)).collect();
    let mut out = vec![];
    for name in &names {
        let Some(key) = name.strip_suffix(".json").and_then(Key::parse) else {
            continue;
        };
        let (Some(raw), Ok(meta)) = (pack::raw(key.as_str()), fs::metadata(dir.join(name))) else {
            continue;
        };
        let identity = Identity {
            inode: meta.ino(),
            mtime: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
        };
        let evicted = names.contains(&format!("{key}.{EVICTED}"));
        match known.get(&raw).filter(|e| e.identity == identity) {
            Some(same) => brief::write_entry(&mut out, &raw, identity, evicted, same.rest),
            None => {
                if let Ok(Some(record)) = store.record(&key) {
                    let rest = brief::pack_rest(&RecordSummary::of(&record, evicted));
                    brief::write_entry(&mut out, &raw, identity, evicted, &rest);
                }
            }
        }
    }
    out
}
