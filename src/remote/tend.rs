//! What those ask of a bucket who look after it themselves, or keep other things there than records.

use crate::bucket::Bucket;
use crate::patience::{Answer, Waiting};
use crate::place::{Entry, Put, at_leisure};
use anyhow::Result;
use futures_util::{StreamExt, stream};
use object_store::Error;

/// Objects that are read at once.
const AT_ONCE: usize = 16;

impl Bucket {
    /// Everything below a folder; for who looks after the remote itself.
    pub fn entries(&self, folder: &str) -> Result<Vec<Entry>> {
        let place = self.place()?;
        place.block_on(place.list(folder, at_leisure()))
    }

    /// Of so many bytes at most; nothing where there is none.
    pub fn read(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let place = self.place()?;
        Ok(place.block_on(place.get(path, most))?.map(|got| got.bytes))
    }

    /// What lies there now.
    pub fn entry(&self, path: &str) -> Result<Option<Entry>> {
        let place = self.place()?;
        place.block_on(place.head(path))
    }

    /// What time it is there.
    pub fn now_ms(&self) -> Result<u64> {
        let place = self.place()?;
        place.block_on(place.now_ms())
    }

    /// Several, in their order; empty what is larger.
    pub fn read_all(&self, paths: &[String], most: u64) -> Result<Vec<Option<Vec<u8>>>> {
        let place = self.place()?;
        place.block_on(async {
            let each = stream::iter(paths).map(|path| place.get_any(Waiting::Somebody, path, most));
            let mut coming = each.buffered(AT_ONCE);
            let mut all = vec![];
            while let Some(got) = coming.next().await {
                all.push(got?.map(|got| got.bytes));
            }
            Ok(all)
        })
    }

    /// Create-only: false where there is something of this name.
    pub fn add(&self, path: &str, bytes: Vec<u8>) -> Result<bool> {
        let place = self.place()?;
        match place.block_on(place.put(path, bytes, Put::New))? {
            Answer::Given(()) => Ok(true),
            Answer::Refused(Error::AlreadyExists { .. }) => Ok(false),
            Answer::Refused(error) => Err(error.into()),
        }
    }

    pub fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let place = self.place()?;
        let answer = place.block_on(place.put(path, bytes, Put::Over))?;
        answer.given()
    }

    pub fn remove(&self, path: &str) -> Result<()> {
        let place = self.place()?;
        place.block_on(place.remove(path))
    }
}
