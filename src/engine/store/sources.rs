//! Content digests of files and folders, with a memo so that an unchanged file is read once. Used for what lies outside the
//! store, and for objects that serve as inputs.
//!
//! The memo believes a file unchanged by (device, inode, size, mtime, ctime). A file modified just before its entry was
//! recorded could change again without a trace in its times, so such entries are not believed (git's racy rule).

use crate::system::clock;
use crate::system::files;
use crate::system::files::Blob;
use anyhow::{Context, Result, bail, ensure};
use base::bounded;
use base::hash::Digest;
use base::threads;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Coarser than the clock of any file system we expect.
const RACY_NS: i128 = 2_000_000_000;

/// A memo with more entries than this is begun anew: files come and go, and nobody tells it.
const MOST: usize = 100_000;

/// The memo: rebuildable, so a missing or unreadable file is an empty memo. Read when it is first asked.
pub struct Sources {
    file: PathBuf,
    entries: Option<BTreeMap<String, Entry>>,
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

impl Entry {
    fn tells_of(&self, meta: &fs::Metadata) -> bool {
        let (mtime_ns, ctime_ns) = times(meta);
        (self.size, self.mtime_ns, self.ctime_ns) == (meta.len(), mtime_ns, ctime_ns)
            && self.recorded_ns - mtime_ns.max(ctime_ns) > RACY_NS
    }
}

impl Sources {
    pub fn open(file: PathBuf) -> Sources {
        Sources {
            file,
            entries: None,
            changed: false,
        }
    }

    /// `file:…` or `tree:…`: what stands for the content of this path in a manifest.
    pub fn content(&mut self, path: &Path) -> Result<String> {
        let shown = || format!("reading {}", path.display());
        bounded::special(path).with_context(shown)?;
        let meta = fs::metadata(path).with_context(shown)?;
        if meta.is_file() {
            return Ok(format!("file:{}", self.file_digest(path)?.1));
        }
        let files = files::walk(path, true)?;
        ensure!(!files.is_empty(), "{} holds no file", path.display());
        let paths: Vec<&Path> = files.iter().map(|(_, path)| path.as_path()).collect();
        let digests = self.digests(&paths)?;
        let blobs = files
            .iter()
            .zip(digests)
            .map(|((relative, _), (meta, digest))| Blob {
                path: relative.clone(),
                size: meta.len(),
                exec: false,
                digest,
            });
        Ok(format!(
            "tree:{}",
            files::tree_digest(&blobs.collect::<Vec<_>>())
        ))
    }

    /// blake3 of a file's bytes.
    pub fn digest(&mut self, path: &Path) -> Result<Digest> {
        Ok(self.file_digest(path)?.1)
    }

    /// Writes the memo if it learned something. A store that cannot be written keeps its old memo.
    pub fn save(&mut self, tmp: &Path) {
        if !self.changed {
            return;
        }
        let entries = self.entries();
        if entries.len() > MOST {
            entries.clear();
        }
        if let Ok(text) = serde_json::to_string(entries) {
            let sealed = format!("{}\n{text}", blake3::hash(text.as_bytes()));
            self.changed = files::replace(tmp, &self.file, sealed.as_bytes()).is_err();
        }
    }

    fn file_digest(&mut self, path: &Path) -> Result<(fs::Metadata, Digest)> {
        let mut all = self.digests(&[path])?;
        Ok(all.pop().expect("a digest for every path"))
    }

    /// What is not known is read, several files at once.
    fn digests(&mut self, paths: &[&Path]) -> Result<Vec<(fs::Metadata, Digest)>> {
        let entries = self.entries();
        let look = |path: &&Path| -> Result<(fs::Metadata, Option<Digest>)> {
            let shown = || format!("reading {}", path.display());
            bounded::special(path).with_context(shown)?;
            let meta = fs::metadata(path).with_context(shown)?;
            ensure!(meta.is_file(), "{} is a folder", path.display());
            let entry = entries.get(&name(&meta)).filter(|e| e.tells_of(&meta));
            let known = entry.map(|e| e.digest.clone());
            Ok((meta, known))
        };
        let looked: Vec<_> = paths.iter().map(look).collect::<Result<_>>()?;
        let recorded_ns = clock::now_ns();
        let read = |(path, (meta, known)): (&&Path, &(fs::Metadata, Option<Digest>))| match known {
            Some(digest) => Ok((meta.clone(), digest.clone())),
            None => read_whole(path, meta),
        };
        let unknown = looked.iter().filter(|(_, known)| known.is_none());
        let read: Vec<(fs::Metadata, Digest)> = match unknown.count() {
            0 | 1 => paths.iter().zip(&looked).map(read).collect::<Result<_>>()?,
            _ => {
                threads::ready(None)?;
                // One by one, or threads would be given neighbours, and the last one the only large file.
                let each = paths.par_iter().zip(&looked).with_max_len(1);
                each.map(read).collect::<Result<_>>()?
            }
        };
        let mut found = vec![];
        for ((_, known), (meta, digest)) in looked.into_iter().zip(read) {
            if known.is_none() {
                let (mtime_ns, ctime_ns) = times(&meta);
                let entry = Entry {
                    size: meta.len(),
                    mtime_ns,
                    ctime_ns,
                    recorded_ns,
                    digest: digest.clone(),
                };
                self.entries().insert(name(&meta), entry);
                self.changed = true;
            }
            found.push((meta, digest));
        }
        Ok(found)
    }

    fn entries(&mut self) -> &mut BTreeMap<String, Entry> {
        self.entries.get_or_insert_with(|| {
            let sealed = fs::read_to_string(&self.file).unwrap_or_default();
            unsealed(&sealed).unwrap_or_default()
        })
    }
}

/// Nothing where the file is not as it was written: a wrong digest would be believed.
fn unsealed(text: &str) -> Option<BTreeMap<String, Entry>> {
    let (seal, text) = text.split_once('\n')?;
    let written = blake3::hash(text.as_bytes());
    let entries = || serde_json::from_str(text).ok();
    (seal == written.to_hex().as_str()).then(entries).flatten()
}

/// Its digest, and the file as it was all the while. Who gave it another name meanwhile, or took one away, wrote nothing: it is read
/// again.
fn read_whole(path: &Path, before: &fs::Metadata) -> Result<(fs::Metadata, Digest)> {
    const TRIES: usize = 3;
    let shown = || format!("reading {}", path.display());
    let mut before = before.clone();
    for _ in 0..TRIES {
        let digest = files::hash_file(path).with_context(shown)?;
        let after = fs::metadata(path).with_context(shown)?;
        if times(&after) == times(&before) && after.len() == before.len() {
            return Ok((after, digest));
        }
        if times(&after).0 != times(&before).0 || after.len() != before.len() {
            break;
        }
        before = after;
    }
    bail!("{} was written to while it was being read", path.display())
}

fn name(meta: &fs::Metadata) -> String {
    format!("{}:{}", meta.dev(), meta.ino())
}

fn times(meta: &fs::Metadata) -> (i128, i128) {
    let ns = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    (
        ns(meta.mtime(), meta.mtime_nsec()),
        ns(meta.ctime(), meta.ctime_nsec()),
    )
}
