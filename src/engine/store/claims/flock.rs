//! Claims as locks of files, which the kernel gives back when the last process that has one open ends: the engine, or its worker.

use super::{Claim, Claims, Whose};
use anyhow::{Context, Result};
use base::hash::Key;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub struct Flock {
    folder: PathBuf,
}

struct Held {
    file: File,
}

impl Flock {
    pub fn new(root: &Path) -> Flock {
        let folder = root.join("locks");
        Flock { folder }
    }

    /// The lock of a key, or nothing while somebody else has it.
    pub fn lock(&self, key: &Key) -> Result<Option<File>> {
        let path = self.folder.join(key.as_str());
        let file = open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e).with_context(|| {
                format!(
                    "locking {}; the file system of a store must support locks",
                    path.display()
                )
            }),
        }
    }

    /// The same where locks may not work at all: then they say nothing.
    pub fn hint(&self, key: &Key) -> Result<Option<File>> {
        let file = open(&self.folder.join(key.as_str()))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .read(true)
        .open(path)
        .with_context(|| format!("opening lock {}", path.display()))
}

impl Claims for Flock {
    fn take(&self, key: &Key, _: Whose) -> Result<Option<Arc<dyn Claim>>> {
        let file = self.lock(key)?;
        Ok(file.map(|file| Arc::new(Held { file }) as Arc<dyn Claim>))
    }

    fn lasts(&self) -> Option<Duration> {
        None
    }

    fn sign(&self, _: &Key) -> Option<String> {
        None
    }
}

impl Claim for Held {
    fn number(&self) -> u64 {
        0
    }

    fn renew(&self) -> Result<bool> {
        Ok(true)
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }
}
