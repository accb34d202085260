//! Content digests of files and folders outside the store, with a memo so that an unchanged file is read once.
//!
//! The memo believes a file unchanged by (device, inode, size, mtime, ctime). A file modified just before its entry was
//! recorded could change again without a trace in its times, so such entries are not believed (git's racy rule).

use crate::engine::clock;
use crate::engine::key::Digest;
use crate::engine::objects::{self, Blob};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Coarser than the clock of any file system we expect.
const RACY_NS: i128 = 2_000_000_000;

/// The memo: rebuildable, so a missing or unreadable file is an empty memo.
pub struct Sources {
    file: PathBuf,
    entries: BTreeMap<String, Entry>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    size: u64,
    mtime_ns: i128,
    ctime_ns: i128,
    recorded_ns: i128,
    digest: Digest,
}

impl Sources {
    pub fn open(file: PathBuf) -> Sources {
        let entries = fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Sources {
            file,
            entries,
            changed: false,
        }
    }

    /// `file:…` or `tree:…`: what stands for the content of this path in a manifest.
    pub fn content(&mut self, path: &Path) -> Result<String> {
        let meta = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
        if meta.is_file() {
            return Ok(format!("file:{}", self.file_digest(path)?.1));
        }
        let files = objects::walk(path, true)?;
        ensure!(!files.is_empty(), "{} holds no file", path.display());
        let mut blobs = vec![];
        for (relative, path) in files {
            let (meta, digest) = self.file_digest(&path)?;
            let exec = meta.permissions().mode() & 0o111 != 0;
            blobs.push(Blob {
                path: relative,
                size: meta.len(),
                exec,
                digest,
            });
        }
        Ok(format!("tree:{}", objects::tree_digest(&blobs)))
    }

    /// Writes the memo if it learned something. A store that cannot be written keeps its old memo.
    pub fn save(&mut self, tmp: &Path) {
        if !self.changed {
            return;
        }
        if let Ok(bytes) = serde_json::to_vec(&self.entries) {
            self.changed = objects::replace(tmp, &self.file, &bytes).is_err();
        }
    }

    fn file_digest(&mut self, path: &Path) -> Result<(fs::Metadata, Digest)> {
        let shown = || format!("reading {}", path.display());
        let meta = fs::metadata(path).with_context(shown)?;
        ensure!(
            meta.is_file(),
            "{} is neither a file nor a folder",
            path.display()
        );
        let name = format!("{}:{}", meta.dev(), meta.ino());
        let (mtime_ns, ctime_ns) = times(&meta);
        if let Some(entry) = self.entries.get(&name)
            && (entry.size, entry.mtime_ns, entry.ctime_ns) == (meta.len(), mtime_ns, ctime_ns)
            && entry.recorded_ns - mtime_ns.max(ctime_ns) > RACY_NS
        {
            return Ok((meta, entry.digest.clone()));
        }
        let recorded_ns = clock::now_ns();
        let digest = objects::hash_file(path).with_context(shown)?;
        let after = fs::metadata(path).with_context(shown)?;
        ensure!(
            times(&after) == (mtime_ns, ctime_ns) && after.len() == meta.len(),
            "{} was written to while it was being read",
            path.display()
        );
        let entry = Entry {
            size: meta.len(),
            mtime_ns,
            ctime_ns,
            recorded_ns,
            digest: digest.clone(),
        };
        self.entries.insert(name, entry);
        self.changed = true;
        Ok((meta, digest))
    }
}

fn times(meta: &fs::Metadata) -> (i128, i128) {
    let ns = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    (
        ns(meta.mtime(), meta.mtime_nsec()),
        ns(meta.ctime(), meta.ctime_nsec()),
    )
}
