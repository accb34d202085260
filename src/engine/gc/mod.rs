//! The care of what a store holds: what has to stay and why (`roots`, `pins`, `workspaces`), what there is (`holdings`, `sizes`),
//! what may go and in which order (`gc`), how it goes (`sweep`, `evict`), whether it is whole (`verify`), and outputs that
//! somebody answers for (`vouch`, `accept`, `adopt`).
//!
//! Records, metrics and scores are never removed; what goes is blobs, and only while nobody shares the store.

pub mod accept;
pub mod adopt;
pub mod collect;
pub mod evict;
pub mod inventory;
pub mod pins;
pub mod roots;
pub mod settings;
pub mod sizes;
pub mod sweep;
pub mod verify;
pub mod vouch;
