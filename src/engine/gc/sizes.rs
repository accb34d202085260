//! How big a store is, folder by folder. A blob with several names (its object and the attempt it came from) counts once.

use crate::store::Store;
use crate::system::files::names;
use anyhow::Result;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One folder of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    pub name: String,
    pub files: u64,
    pub bytes: u64,
}

/// Every folder of the store, `objects` first so that what it shares counts there; loose files are `.`.
pub fn folders(store: &Store) -> Result<Vec<Folder>> {
    let mut all = names(store.root())?;
    all.sort_by_key(|name| (name != "objects", name.clone()));
    let mut seen = BTreeSet::new();
    let mut folders = vec![];
    let mut loose = Folder {
        name: ".".into(),
        files: 0,
        bytes: 0,
    };
    for name in all {
        let path = store.root().join(&name);
        if fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
            let mut folder = Folder {
                name,
                files: 0,
                bytes: 0,
            };
            add(&path, &mut seen, &mut folder);
            folders.push(folder);
        } else {
            add(&path, &mut seen, &mut loose);
        }
    }
    folders.push(loose);
    Ok(folders)
}

pub fn total(store: &Store) -> Result<u64> {
    Ok(folders(store)?.iter().map(|f| f.bytes).sum())
}

/// Bytes below a path; what goes away while we look counts nothing.
pub fn below(path: &Path) -> u64 {
    let mut folder = Folder {
        name: String::new(),
        files: 0,
        bytes: 0,
    };
    add(path, &mut BTreeSet::new(), &mut folder);
    folder.bytes
}

fn add(path: &Path, seen: &mut BTreeSet<(u64, u64)>, into: &mut Folder) {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return;
    };
    if meta.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        for entry in entries {
            add(&entry.path(), seen, into);
        }
    } else if meta.nlink() < 2 || seen.insert((meta.dev(), meta.ino())) {
        into.files += 1;
        into.bytes += meta.len();
    }
}
