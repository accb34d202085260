//! Which ids came already, in some 30 bytes an id however long it is.

use std::collections::BTreeSet;

/// Ids by 128 bits of their hash: two different ones meet with a chance of 1 in 10^26 among a million.
#[derive(Default)]
pub struct Seen(BTreeSet<u128>);

impl Seen {
    /// False where it was there before.
    pub fn insert(&mut self, id: &str) -> bool {
        let hash = blake3::hash(id.as_bytes());
        let half = hash.as_bytes()[..16].try_into();
        self.0
            .insert(u128::from_le_bytes(half.expect("a hash has 32 bytes")))
    }
}
