//! What of a GPU's memory is given out: by its whole memory alone, never by what is free at the moment, so that the same work on the same
//! device is cut the same.

/// Where nobody says what a GPU has.
pub const CARD: u64 = 80_000_000_000;

/// In hundredths, what the ledger's buffers may take: its context, its libraries and what its allocator keeps have the rest.
const SHARE: u64 = 90;

/// Bytes of a GPU that has so many in all.
pub(super) fn all(total: Option<u64>) -> u64 {
    total.unwrap_or(CARD)
}

/// What the ledger's buffers may take of them.
pub(super) fn room(total: Option<u64>) -> u64 {
    all(total) / 100 * SHARE
}
