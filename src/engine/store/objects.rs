//! Blobs and folders of blobs: hashing, putting files into `objects/`, laying them out again. Knows no nodes.

use super::shards::Shards;
use crate::system::files::{Blob, hash_file, sync_dir};
use crate::system::{clock, fault};
use anyhow::{Context, Result, ensure};
use base::bounded;
use base::hash::Digest;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder of blobs. `tmp` and `quarantine` are its neighbours on the same file system.
pub struct Objects {
    shards: Shards,
    quarantine: PathBuf,
}

impl Objects {
    pub fn new(store: &Path) -> Objects {
        Objects {
            shards: Shards::new(store.join("objects")),
            quarantine: store.join("quarantine"),
        }
    }

    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.shards
            .root()
            .join(digest.shard())
            .join(digest.as_str())
    }

    /// Present, with the right number of bytes.
    pub fn has(&self, blob: &Blob) -> bool {
        fs::metadata(self.path(&blob.digest)).is_ok_and(|m| m.is_file() && m.len() == blob.size)
    }

    /// Whether the bytes are those of its name.
    pub fn verify(&self, blob: &Blob) -> Result<bool> {
        if !self.has(blob) {
            return Ok(false);
        }
        let path = self.path(&blob.digest);
        let digest = hash_file(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(digest == blob.digest)
    }

    /// Its bytes, for as long as they are those that were stored.
    pub fn read(&self, blob: &Blob) -> Result<Vec<u8>> {
        let path = self.path(&blob.digest);
        let bytes = fs::read(&path)
            .with_context(|| format!("reading `{}` at {}", blob.path, path.display()))?;
        ensure!(
            Digest::new(blake3::hash(&bytes)) == blob.digest,
            "`{}` at {} is not what was stored; `pipe verify` puts it aside, and the next run makes it again",
            blob.path,
            path.display()
        );
        Ok(bytes)
    }

    /// Gives its lines one by one, and fails at the end where they were not those that were stored: until then nothing that
    /// was made of them may be shown. Holds one line.
    pub fn lines(&self, blob: &Blob, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        /// The longest line, in bytes.
        const MOST: u64 = 256 << 20;
        let path = self.path(&blob.digest);
        let shown = || format!("reading `{}` at {}", blob.path, path.display());
        let mut file = BufReader::new(File::open(&path).with_context(shown)?);
        let mut hasher = blake3::Hasher::new();
        let (mut line, mut wrong) = (vec![], None);
        loop {
            line.clear();
            let read = file.by_ref().take(MOST).read_until(b'\n', &mut line);
            if read.with_context(shown)? == 0 {
                break;
            }
            hasher.update(&line);
            // What is damaged is told to be so, and not what became of it.
            if wrong.is_none() {
                let text = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(&line));
                let text = text.with_context(|| format!("`{}` is not a text", blob.path));
                wrong = text.and_then(&mut *each).err();
            }
        }
        ensure!(
            Digest::new(hasher.finalize()) == blob.digest,
            "`{}` at {} is not what was stored; `pipe verify` puts it aside, and the next run makes it again",
            blob.path,
            path.display()
        );
        wrong.map_or(Ok(()), Err)
    }

    pub fn read_text(&self, blob: &Blob) -> Result<String> {
        let text = String::from_utf8(self.read(blob)?);
        text.with_context(|| format!("`{}` is not a text", blob.path))
    }

    /// Moves whatever lies under this name out of the way; nothing if there is nothing.
    pub fn quarantine(&self, digest: &Digest) -> Result<()> {
        let aside = self
            .quarantine
            .join(format!("{digest}-{}", clock::unique()));
        match fs::rename(self.path(digest), &aside) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("moving object {digest} to quarantine")),
        }
    }

    /// Takes a file into the store: durable, read-only, under its digest. The file keeps its old name as well; nobody may write to
    /// it afterwards.
    pub fn take(&self, file: &Path, relative: &str) -> Result<Blob> {
        let mut taken = Taken::default();
        let blob = self.add(file, relative, &mut taken)?;
        taken.settle()?;
        Ok(blob)
    }

    /// As `take`, but for its name under `objects/`, which is durable when `taken` is settled: before that, nothing may name it. So
    /// the folder of a shard is synced once for all that one commit puts there.
    pub fn add(&self, file: &Path, relative: &str, taken: &mut Taken) -> Result<Blob> {
        let shown = || format!("storing `{relative}`");
        let before = fs::metadata(file).with_context(shown)?;
        let digest = hash_file(file).with_context(shown)?;
        fault::point("object-hashed").with_context(shown)?;
        let handle = File::open(file).with_context(shown)?;
        handle.sync_all().with_context(shown)?;
        fault::point("object-synced").with_context(shown)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o444)).with_context(shown)?;
        let after = fs::metadata(file).with_context(shown)?;
        ensure!(
            before.len() == after.len()
                && before.mtime_nsec() == after.mtime_nsec()
                && before.mtime() == after.mtime(),
            "`{relative}` was written to while it was being stored"
        );
        let blob = Blob {
            path: relative.to_string(),
            size: after.len(),
            exec: before.permissions().mode() & 0o111 != 0,
            digest,
        };
        let shard = self.shards.ready(blob.digest.shard());
        let shard = shard.with_context(shown)?;
        let target = shard.join(blob.digest.as_str());
        if target.exists() && !self.has(&blob) {
            self.quarantine(&blob.digest)?;
        }
        match fs::hard_link(file, &target) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.with_context(shown)?,
        }
        fault::point("object-linked").with_context(shown)?;
        taken.folders.insert(shard);
        Ok(blob)
    }

    /// Lays a committed folder out as links to its blobs, which are read-only.
    pub fn link(&self, blobs: &[Blob], into: &Path) -> Result<()> {
        fs::create_dir_all(into).with_context(|| format!("creating {}", into.display()))?;
        for blob in blobs {
            let at = place(into, blob)?;
            std::os::unix::fs::symlink(self.path(&blob.digest), &at)
                .with_context(|| format!("linking {}", at.display()))?;
        }
        Ok(())
    }

    /// Copies a committed folder out of the store, writable, with its exec bits.
    pub fn copy(&self, blobs: &[Blob], into: &Path) -> Result<()> {
        fs::create_dir_all(into).with_context(|| format!("creating {}", into.display()))?;
        for blob in blobs {
            let at = place(into, blob)?;
            fs::copy(self.path(&blob.digest), &at)
                .with_context(|| format!("writing {}", at.display()))?;
            let mode = if blob.exec { 0o755 } else { 0o644 };
            fs::set_permissions(&at, fs::Permissions::from_mode(mode))
                .with_context(|| format!("writing {}", at.display()))?;
            let digest = hash_file(&at).with_context(|| format!("reading {}", at.display()))?;
            ensure!(
                digest == blob.digest,
                "`{}` is not what was stored; `pipe verify` puts it aside, and the next run makes it again",
                blob.path
            );
        }
        Ok(())
    }
}

/// Folders in which objects have names that may not be durable yet.
#[derive(Default)]
pub struct Taken {
    folders: BTreeSet<PathBuf>,
}

impl Taken {
    pub fn settle(self) -> Result<()> {
        for folder in &self.folders {
            sync_dir(folder).with_context(|| format!("syncing {}", folder.display()))?;
        }
        Ok(())
    }
}

/// Where a blob goes below a folder, the folders on the way made. Nothing on the way may be a link, which could lead anywhere.
fn place(into: &Path, blob: &Blob) -> Result<PathBuf> {
    let path = &blob.path;
    ensure!(
        bounded::is_inner(path),
        "{path:?} is no path inside an artifact"
    );
    let mut at = into.to_path_buf();
    for part in path.split('/') {
        if at != into {
            match fs::create_dir(&at) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.with_context(|| format!("creating {}", at.display()))?,
            }
        }
        at.push(part);
        ensure!(
            !at.is_symlink(),
            "{} is a link: it may lead anywhere",
            at.display()
        );
    }
    Ok(at)
}
