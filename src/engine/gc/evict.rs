//! Removing the blobs of one record on purpose.

use crate::gc::inventory::Inventory;
use crate::store::Store;
use crate::store::record::Record;
use anyhow::Result;
use base::hash::Digest;
use std::collections::{BTreeMap, BTreeSet};

impl Store {
    /// Removes the blobs of a record that no other record needs; how many bytes that gave. The caller is `alone`.
    pub fn evict(&self, record: &Record, reason: &str) -> Result<u64> {
        let mut inventory = Inventory::default();
        inventory.refresh(self)?;
        let outputs: BTreeSet<String> = record.outputs.keys().cloned().collect();
        let going = BTreeMap::from([(record.key.clone(), outputs.clone())]);
        let needed = inventory.needed(&going, |_| true);
        let blobs: BTreeMap<&Digest, u64> = record
            .outputs
            .values()
            .flat_map(|a| &a.files)
            .filter(|blob| !needed.contains(&blob.digest))
            .map(|blob| (&blob.digest, blob.size))
            .collect();
        self.mark_evicted(&record.key, &outputs, blobs.values().sum(), reason)?;
        let mut freed = 0;
        for digest in blobs.keys() {
            freed += self.drop_blob(digest)?;
        }
        Ok(freed)
    }
}
