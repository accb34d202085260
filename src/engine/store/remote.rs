//! What a second tier behind the store has to do.

use crate::system::files::Blob;
use anyhow::Result;
use base::hash::Key;
use std::path::Path;

/// Where others' records and blobs are. It moves bytes and judges nothing. Called from several threads. One that cannot be reached
/// has to say so soon, every time: a plan asks for each key that it does not know.
pub trait Remote: Send + Sync {
    /// The text of a record; nothing where the key has none.
    fn record(&self, key: &Key) -> Result<Option<String>>;

    /// Create-only: false where the key has a record already. All blobs that it names were pushed before.
    fn publish(&self, key: &Key, record: &str) -> Result<bool>;

    /// Writes the bytes of a blob to a new file.
    fn pull(&self, blob: &Blob, to: &Path) -> Result<()>;

    /// Takes the bytes of a blob, unless it has them.
    fn push(&self, blob: &Blob, from: &Path) -> Result<()>;
}
