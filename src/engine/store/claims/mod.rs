//! Who may execute a key. A claim saves work and no more: what counts is the record, which is created once. One machine has file
//! locks; where a folder is shared by machines whose locks do not exclude each other, the store says so in `shared.toml`, and claims
//! are hard links that their holders renew. Machines with stores of their own that share a remote have leases there, each above the
//! claim that its holder has in his own store.

mod flock;
pub mod lease;
mod link;
pub(super) mod shared;

pub use shared::SECONDS;

use anyhow::Result;
use base::hash::Key;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

/// For whom a key is claimed, as others are told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whose<'a> {
    pub run: &'a str,
    /// What that run calls the node.
    pub node: &'a str,
}

/// A claim that is held; given up when it is dropped.
pub trait Claim: Send + Sync {
    /// Counts up over the holders of the key; 0 where nobody counts.
    fn number(&self) -> u64;

    /// Says that the holder lives. False: the claim is somebody else's by now, and what was begun under it must end.
    fn renew(&self) -> Result<bool>;

    /// What a worker holds as long as it lives, even where its engine does not; a lease has none.
    fn file(&self) -> Option<&File>;
}

/// How keys are claimed in a store.
pub trait Claims: Send + Sync {
    /// Nothing where somebody else has it.
    fn take(&self, key: &Key, whose: Whose) -> Result<Option<Arc<dyn Claim>>>;

    /// After how long without a renewal a claim is given up; none: it is held as long as its holder lives.
    fn lasts(&self) -> Option<Duration>;

    /// What is seen of a key's claim from outside; equal as long as nobody gives a sign of life. None: nobody has it.
    fn sign(&self, key: &Key) -> Option<String>;
}
