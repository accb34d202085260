//! The inputs of a node laid out as it would find them, for whoever looks at it before it runs.

use crate::store::Store;
use crate::store::record::Artifact;
use crate::system::clock;
use anyhow::Result;
use std::path::PathBuf;

/// A folder of links to blobs, gone with this value.
pub struct Layout<'a> {
    store: &'a Store,
    at: PathBuf,
}

impl<'a> Layout<'a> {
    pub fn new(store: &'a Store) -> Layout<'a> {
        Layout {
            store,
            at: store.tmp().join(clock::unique()),
        }
    }

    /// The folder of this input.
    pub fn add(&self, port: &str, artifact: &Artifact) -> Result<PathBuf> {
        let at = self.at.join(port);
        self.store.objects().link(&artifact.files, &at)?;
        Ok(at)
    }
}

impl Drop for Layout<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.at); // Links in the store's own folder for such things.
    }
}
