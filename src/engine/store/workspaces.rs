//! The folders that runs are called in. They are written down in the store, so that several projects can share one: the last runs
//! of a folder protect their artifacts for as long as the folder is there.

use crate::store::Store;
use crate::system::clock;
use crate::system::files;
use crate::system::files::names;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Written again when the last time is older than this.
const SEEN_EVERY_MS: u64 = 3_600_000;

/// A folder that is not there may be a disk that is not mounted: it counts as gone when it was not used for so long.
pub(crate) const GONE_AFTER_MS: u64 = 7 * 86_400_000;

/// `workspaces/ID.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workspace {
    pub path: PathBuf,
    pub seen_ms: u64,
}

impl Workspace {
    /// Whether what it made is still wanted.
    pub fn lives(&self, now_ms: u64) -> bool {
        self.path.is_dir() || now_ms.saturating_sub(self.seen_ms) < GONE_AFTER_MS
    }
}

/// Remembers that the store was used from this folder.
pub fn register(store: &Store, folder: &Path) -> Result<()> {
    let now = clock::now_ms();
    let file = store
        .root()
        .join("workspaces")
        .join(format!("{}.json", id(folder)));
    let known = read(&file).is_ok_and(|w| {
        w.path == folder && now.saturating_sub(w.seen_ms) < SEEN_EVERY_MS && w.seen_ms <= now
    });
    if known {
        return Ok(());
    }
    let workspace = Workspace {
        path: folder.to_path_buf(),
        seen_ms: now,
    };
    let shown = || format!("registering {} with the store", folder.display());
    let text = serde_json::to_vec_pretty(&workspace).with_context(shown)?;
    files::replace(&store.tmp(), &file, &text).with_context(shown)
}

/// All that can be read, by path.
pub fn all(store: &Store) -> Result<Vec<Workspace>> {
    let folder = store.root().join("workspaces");
    let mut found: Vec<Workspace> = names(&folder)?
        .iter()
        .filter_map(|name| read(&folder.join(name)).ok())
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn read(file: &Path) -> Result<Workspace> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

fn id(folder: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    blake3::hash(folder.as_os_str().as_bytes()).to_hex()[..16].to_string()
}
