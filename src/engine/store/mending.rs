//! What is wrong at a remote is found, so that who pushes puts it right: records that its index lacks, and bytes that are not those of their
//! names. What is pushed then is `transfer`'s.

use super::Store;
use super::remote::{Reconciled, Remote};
use super::second::checked;
use super::transfer::{at_once, lock};
use crate::system::files::Blob;
use anyhow::{Context, Result};
use base::hash::{Digest, Key};
use std::sync::{Mutex, PoisonError};

impl Store {
    /// Makes the index of the remote say what lies there. `whole`: every record that lies there is read.
    pub fn reconcile(&self, whole: bool) -> Result<Reconciled> {
        let Some(remote) = self.remote() else {
            return Ok(Reconciled::default());
        };
        let sound = |key: &Key, text: &str| checked(text, key).map(drop);
        let reconciled = remote.reconcile(whole, &sound);
        reconciled.with_context(|| format!("reading what lies at {}", remote.name()))
    }

    /// Reads these blobs at the remote, without keeping them: those whose bytes are not those of their names are doubted, and written again
    /// by the next push. All of them are there, in their size. How many are doubted.
    pub fn doubt_remote(&self, blobs: &[&Blob]) -> Result<usize> {
        let Some(remote) = self.remote() else {
            return Ok(0);
        };
        let (waiting, doubted) = (Mutex::new(blobs.iter()), Mutex::new(Ok(0)));
        let next = || lock(&waiting).next();
        let work = || {
            while let Some(blob) = next() {
                let looked = has_bytes(remote, blob);
                if matches!(looked, Ok(false)) {
                    remote.doubt(&blob.digest);
                }
                let mut doubted = lock(&doubted);
                match looked {
                    Ok(true) => {}
                    Ok(false) => *doubted = std::mem::replace(&mut *doubted, Ok(0)).map(|n| n + 1),
                    Err(error) => *doubted = Err(error),
                }
            }
        };
        at_once(&work);
        doubted.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the bytes of a blob at the remote are those of its name.
fn has_bytes(remote: &dyn Remote, blob: &Blob) -> Result<bool> {
    let mut hasher = blake3::Hasher::new();
    let mut take = |bytes: &[u8]| {
        hasher.update(bytes);
        Ok(())
    };
    remote.pull(blob, 0, &mut take)?;
    Ok(Digest::new(hasher.finalize()) == blob.digest)
}
