//! What is wrong at a remote is found, so that who pushes puts it right: records that its index lacks, and bytes that are not those of their
//! names. What is pushed then is `transfer`'s.

use super::Store;
use super::remote::{Reconciled, Remote};
use super::second::checked;
use super::transfer::{at_once, lock};
use crate::system::files::Blob;
use anyhow::{Context, Result};
use base::hash::{Digest, Key};
use std::collections::BTreeSet;
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
    /// by the next push. All of them are there, in their size.
    pub fn doubt_remote(&self, blobs: &[&Blob]) -> Doubted {
        let Some(remote) = self.remote() else {
            return Doubted::default();
        };
        let (waiting, doubted) = (Mutex::new(blobs.iter()), Mutex::new(Doubted::default()));
        let next = || lock(&waiting).next().filter(|_| remote.is_open());
        let work = || {
            while let Some(blob) = next() {
                let looked = has_bytes(remote, blob);
                let mut doubted = lock(&doubted);
                match looked {
                    Ok(true) => {}
                    Ok(false) => {
                        remote.doubt(&blob.digest);
                        doubted.blobs.insert(blob.digest.clone());
                    }
                    Err(error) => {
                        let told = format!("reading blob {}: {error:#}", blob.digest.short());
                        doubted.unread.push(told);
                    }
                }
            }
        };
        at_once(&work);
        doubted.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of reading blobs at a remote.
#[derive(Default)]
pub struct Doubted {
    /// Those that have other bytes.
    pub blobs: BTreeSet<Digest>,
    /// Of each that could not be read, why.
    pub unread: Vec<String>,
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
