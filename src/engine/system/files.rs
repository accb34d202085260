//! Files and folders as bytes: walking, hashing, writing so that a file is whole or absent. Knows no store.

use super::{clock, fault};
use anyhow::{Context, Result, bail, ensure};
use base::bounded;
use base::hash::Digest;
use base::threads;
use rayon::prelude::*;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

const TREE: &str = "pipe tree v1";

/// A file of a committed folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Relative, `/` between the parts, and never out of the folder.
    #[serde(deserialize_with = "inner_path")]
    pub path: String,
    pub size: u64,
    /// How a copy out of the store is laid; no part of what it is.
    pub exec: bool,
    pub digest: Digest,
}

fn inner_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    match bounded::is_inner(&path) {
        true => Ok(path),
        false => Err(D::Error::custom(format!(
            "{path:?} is no path inside an artifact"
        ))),
    }
}

/// The digest of a folder: over its files' paths, sizes and digests, sorted by path. No mode is in it: another file system,
/// or another program that copied the folder, would make it another one.
pub fn tree_digest(blobs: &[Blob]) -> Digest {
    tree_with(blobs, |_| false)
}

/// What it was while exec bits were in it: records of that time are whole.
pub fn tree_digest_with_modes(blobs: &[Blob]) -> Digest {
    tree_with(blobs, |blob| blob.exec)
}

fn tree_with(blobs: &[Blob], bit: impl Fn(&Blob) -> bool) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(TREE);
    for blob in blobs {
        hasher.update(&(blob.path.len() as u64).to_le_bytes());
        hasher.update(blob.path.as_bytes());
        hasher.update(&[u8::from(bit(blob))]);
        hasher.update(&blob.size.to_le_bytes());
        hasher.update(blob.digest.as_str().as_bytes());
    }
    Digest::new(hasher.finalize())
}

/// The files below a folder, sorted by relative path. Links are followed only where `follow` says so; otherwise they
/// are an error, like everything that is neither a file nor a folder.
pub fn walk(root: &Path, follow: bool) -> Result<Vec<(String, PathBuf)>> {
    let mut found = vec![];
    if !follow {
        let meta = fs::symlink_metadata(root);
        let meta = meta.with_context(|| format!("reading {}", root.display()))?;
        ensure!(meta.is_dir(), "{} is a link, not a folder", root.display());
    }
    walk_into(root, String::new(), follow, 0, &mut found)?;
    found.sort();
    Ok(found)
}

/// The files below a folder with their digests, sorted by path. Links are an error.
pub fn contents(root: &Path) -> Result<Vec<Blob>> {
    let blob = |(relative, path): (String, PathBuf)| {
        let shown = || format!("reading `{relative}`");
        let meta = fs::metadata(&path).with_context(shown)?;
        let digest = hash_file(&path).with_context(shown)?;
        Ok(Blob {
            size: meta.len(),
            exec: meta.permissions().mode() & 0o111 != 0,
            digest,
            path: relative,
        })
    };
    walk(root, false)?.into_iter().map(blob).collect()
}

/// blake3 of a file's bytes; large files by all threads. Read and not mapped: a file that is cut meanwhile must not kill us.
pub(crate) fn hash_file(path: &Path) -> io::Result<Digest> {
    const PIECE: usize = 1 << 18;
    const LARGE: usize = 1 << 22;
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let size = file.metadata()?.len();
    let mut buffer = vec![];
    // Where memory is short, in small pieces.
    if size > LARGE as u64 && buffer.try_reserve_exact(LARGE).is_ok() {
        buffer.resize(LARGE, 0);
        threads::ready(None).map_err(std::io::Error::other)?;
        let mut at = 0;
        while at < size {
            let wanted = usize::try_from(size - at).map_or(LARGE, |left| left.min(LARGE));
            let pieces = buffer[..wanted].par_chunks_mut(PIECE).enumerate();
            pieces.try_for_each(|(i, piece)| file.read_exact_at(piece, at + (i * PIECE) as u64))?;
            hasher.update_rayon(&buffer[..wanted]);
            at += wanted as u64;
        }
        return Ok(Digest::new(hasher.finalize()));
    }
    let mut buffer = vec![0; PIECE.min(size as usize + 1)];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::new(hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        };
    }
}

/// Names in a folder, sorted; none where there is no folder.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        other => other.with_context(|| format!("reading {}", dir.display()))?,
    };
    let mut names = vec![];
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Gives a file one more name, unless somebody has it: then false. Not every file system has a word for that (SFTP answers "not
/// permitted"), so after any other error the name itself says whether it is taken.
pub(crate) fn link_new(file: &Path, name: &Path) -> io::Result<bool> {
    match fs::hard_link(file, name) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) if fs::symlink_metadata(name).is_ok() => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes a file appear under its final name, whole and durable, unless the name is taken: then false. `tmp` is a folder
/// on the same file system.
pub(crate) fn write_new(tmp: &Path, target: &Path, bytes: &[u8]) -> io::Result<bool> {
    let draft = tmp.join(clock::unique());
    let written = write_synced(&draft, bytes).and_then(|()| fault::point("record-drafted"));
    let linked = written.and_then(|()| link_new(&draft, target));
    let _ = fs::remove_file(&draft); // A leftover draft is only litter; the error that matters is in `linked`.
    if let (Ok(true), Some(dir)) = (&linked, target.parent()) {
        fault::point("record-linked")?;
        sync_dir(dir)?;
    }
    linked
}

/// As `write_new`, durable once somebody has synced the file system: for many.
pub(crate) fn add_new(tmp: &Path, target: &Path, bytes: &[u8]) -> io::Result<bool> {
    let draft = tmp.join(clock::unique());
    fs::write(&draft, bytes)?;
    let linked = link_new(&draft, target);
    let _ = fs::remove_file(&draft); // As in `write_new`.
    linked
}

/// Makes everything durable that was written to the file system of this folder.
pub(crate) fn sync_all_of(folder: &Path) -> io::Result<()> {
    let folder = File::open(folder)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder)?;
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        folder.sync_all()?;
    }
    Ok(())
}

/// Makes a file appear under its final name, whole and durable, replacing what was there.
pub fn put(tmp: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = tmp.join(clock::unique());
    write_synced(&draft, bytes)?;
    fault::point("put-drafted")?;
    fs::rename(&draft, target)?;
    target.parent().map_or(Ok(()), sync_dir)
}

/// Makes a file appear under its final name, whole, replacing what was there. Not fsynced: for what can be rebuilt.
pub fn replace(tmp: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = tmp.join(clock::unique());
    fs::write(&draft, bytes)?;
    fs::rename(&draft, target)
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn walk_into(
    dir: &Path,
    prefix: String,
    follow: bool,
    depth: usize,
    found: &mut Vec<(String, PathBuf)>,
) -> Result<()> {
    ensure!(
        depth < 64,
        "{} is too deep, or links to itself",
        dir.display()
    );
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            bail!("{} has a name that is not UTF-8", path.display());
        };
        let relative = format!("{prefix}{name}");
        // What is stored is laid out again, and maybe on another system.
        ensure!(
            follow || bounded::is_inner(&relative),
            "{relative:?} cannot be the name of a stored file"
        );
        let meta = if follow {
            fs::metadata(&path)
        } else {
            fs::symlink_metadata(&path)
        };
        let meta = meta.with_context(|| format!("reading {}", path.display()))?;
        if meta.is_dir() {
            walk_into(&path, format!("{relative}/"), follow, depth + 1, found)?;
        } else if meta.is_file() {
            found.push((relative, path));
        } else {
            let special =
                bounded::special(&path).with_context(|| format!("reading {}", path.display()));
            special.and_then(|()| bail!("`{relative}` is neither a file nor a folder"))?;
        }
    }
    Ok(())
}
