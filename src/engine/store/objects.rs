//! Blobs and folders of blobs: hashing, putting files into `objects/`, laying them out again. Knows no nodes.

use super::remote::Remote;
use super::shards::Shards;
use crate::system::files::{Blob, hash_file, link_new, sync_dir};
use crate::system::{clock, fault};
use anyhow::{Context, Result, bail, ensure};
use base::bounded;
use base::hash::Digest;
use base::threads;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

/// Before the digest in the name of what has arrived of a blob.
const PARTIAL: &str = "pull-";

/// Bytes that arrive before the disk is asked to write them down.
const STRIDE: u64 = 32 << 20;

/// Whether a draft is a part of a blob that is on its way from a remote.
pub(super) fn is_partial(draft: &str) -> bool {
    draft.starts_with(PARTIAL)
}

/// The folder of blobs. `tmp` and `quarantine` are its neighbours on the same file system.
pub struct Objects {
    shards: Shards,
    quarantine: PathBuf,
    tmp: PathBuf,
    /// Where blobs may be that are not here.
    behind: Option<Arc<dyn Remote>>,
}

impl Objects {
    pub fn new(store: &Path) -> Objects {
        Objects {
            shards: Shards::new(store.join("objects")),
            quarantine: store.join("quarantine"),
            tmp: store.join("tmp"),
            behind: None,
        }
    }

    /// From now on whoever reads a blob that is not here gets it from there.
    pub(super) fn pull_from(&mut self, remote: Arc<dyn Remote>) {
        self.behind = Some(remote);
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
        if let Some(bytes) = self.afar(blob)? {
            return Ok(bytes);
        }
        self.reach(blob)?;
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
        let held = self.afar(blob)?;
        if held.is_none() {
            self.reach(blob)?;
        }
        let path = self.path(&blob.digest);
        let shown = || format!("reading `{}` at {}", blob.path, path.display());
        let mut file: Box<dyn BufRead> = match held {
            Some(bytes) => Box::new(io::Cursor::new(bytes)),
            None => Box::new(BufReader::new(File::open(&path).with_context(shown)?)),
        };
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
        self.name(file, &blob, taken).with_context(shown)?;
        Ok(blob)
    }

    /// Gives a durable file that has these bytes its name under `objects/`.
    fn name(&self, file: &Path, blob: &Blob, taken: &mut Taken) -> Result<()> {
        let shard = self.shards.ready(blob.digest.shard())?;
        let target = shard.join(blob.digest.as_str());
        if target.exists() && !self.has(blob) {
            self.quarantine(&blob.digest)?;
        }
        link_new(file, &target)?;
        fault::point("object-linked")?;
        taken.folders.insert(shard);
        Ok(())
    }

    /// The bytes of a small blob at the remote, looked at, where there is no store to lay it down: who only looks makes none.
    fn afar(&self, blob: &Blob) -> Result<Option<Vec<u8>>> {
        const MOST: u64 = 64 << 20;
        let Some(remote) = self.behind.as_ref().filter(|r| r.is_open()) else {
            return Ok(None);
        };
        if self.tmp.is_dir() || blob.size > MOST {
            return Ok(None);
        }
        let mut bytes = vec![];
        let shown = || format!("reading `{}` of {}", blob.path, remote.name());
        if blob.size > 0 {
            let mut take = |more: &[u8]| {
                bytes.extend_from_slice(more);
                ensure!(
                    bytes.len() as u64 <= blob.size,
                    "it has more bytes than its record says"
                );
                Ok(())
            };
            remote.pull(blob, 0, &mut take).with_context(shown)?;
        }
        let fits = Digest::new(blake3::hash(&bytes)) == blob.digest;
        if !fits {
            remote.doubt(&blob.digest);
        }
        ensure!(
            fits,
            "{}: its bytes are not those of its name {}",
            shown(),
            blob.digest.short()
        );
        Ok(Some(bytes))
    }

    /// Makes sure that a blob is here, if it can be had; where it cannot, whoever reads it says so.
    pub fn reach(&self, blob: &Blob) -> Result<()> {
        if self.behind.is_some() && !self.has(blob) {
            self.fetch(blob, &|| None)?;
        }
        Ok(())
    }

    /// Gets a blob from where others are, its bytes looked at on arrival; goes on with what arrived of it before. False where there
    /// is no such place. `enough` says why to give up; what has arrived is kept then.
    pub(super) fn fetch(
        &self,
        blob: &Blob,
        enough: &dyn Fn() -> Option<&'static str>,
    ) -> Result<bool> {
        let Some(remote) = self.behind.as_ref().filter(|r| r.is_open()) else {
            return Ok(false);
        };
        // Where there is no store yet, who only looks makes none.
        if !self.tmp.is_dir() {
            return Ok(false);
        }
        let fetched = self.fetch_from(remote.as_ref(), blob, enough);
        fetched.with_context(|| format!("pulling `{}` from {}", blob.path, remote.name()))?;
        Ok(true)
    }

    fn fetch_from(
        &self,
        remote: &dyn Remote,
        blob: &Blob,
        enough: &dyn Fn() -> Option<&'static str>,
    ) -> Result<()> {
        let mut partial = Partial::open(&self.tmp, blob)?;
        let mut hasher = blake3::Hasher::new();
        let mut have = io::copy(&mut partial.file, &mut hasher)?;
        let arrived = have;
        let file = partial.file.try_clone()?;
        let pulled = std::thread::scope(|scope| {
            // What has arrived goes to the disk while more arrives.
            let (tell, told) = mpsc::sync_channel::<()>(1);
            if blob.size > STRIDE {
                // Where no thread is given, all of it goes at the end; so does what cannot, which is told then.
                let _ = threads::start_in(scope, move || {
                    while told.recv().is_ok() {
                        let _ = file.sync_data();
                    }
                });
            }
            let mut settled = have;
            let mut take = |bytes: &[u8]| {
                have += bytes.len() as u64;
                ensure!(have <= blob.size, "it has more bytes than its record says");
                hasher.update(bytes);
                partial.file.write_all(bytes)?;
                if have - settled >= STRIDE {
                    settled = have;
                    let _ = tell.try_send(()); // It is at work on what came before.
                }
                fault::point("pull-part")?;
                match enough() {
                    Some(why) => bail!(why),
                    None => Ok(()),
                }
            };
            match arrived < blob.size {
                true => remote.pull(blob, arrived, &mut take),
                false => Ok(()),
            }
        });
        if let Err(error) = pulled {
            if have == 0 {
                partial.remove();
            }
            return Err(error);
        }
        if have != blob.size || Digest::new(hasher.finalize()) != blob.digest {
            partial.remove();
            // What was here of it may have been the wrong part.
            if arrived == 0 {
                remote.doubt(&blob.digest);
            }
            bail!(
                "its bytes are not those of its name {}",
                blob.digest.short()
            );
        }
        partial.file.sync_all()?;
        fs::set_permissions(&partial.path, fs::Permissions::from_mode(0o444))?;
        let mut taken = Taken::default();
        self.name(&partial.path, blob, &mut taken)?;
        taken.settle()?;
        partial.remove();
        Ok(())
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
            self.reach(blob)?;
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

/// What has arrived of a blob. Kept when its way breaks off; of two who get the same blob at once, the second has one of its own.
struct Partial {
    path: PathBuf,
    /// At its beginning.
    file: File,
}

impl Partial {
    fn open(tmp: &Path, blob: &Blob) -> io::Result<Partial> {
        let path = tmp.join(format!("{PARTIAL}{}", blob.digest));
        let open = |path: &Path| {
            let mut options = File::options();
            options.create(true).truncate(false).read(true).write(true);
            options.open(path)
        };
        let file = open(&path);
        if let Ok(file) = file
            && file.try_lock().is_ok()
            // Who had the lock may have removed it.
            && fs::metadata(&path).is_ok_and(|m| file.metadata().is_ok_and(|f| f.ino() == m.ino()))
        {
            if file.metadata()?.len() > blob.size {
                file.set_len(0)?;
            }
            return Ok(Partial { path, file });
        }
        let path = tmp.join(clock::unique());
        let file = open(&path)?;
        Ok(Partial { path, file })
    }

    /// It is not needed any more; what stays is litter.
    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
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
