//! A store that others can reach: records and blobs on a shared folder or an object store (S3 and what speaks it, Google Cloud Storage,
//! Azure). Moves bytes and judges nothing: what is believed is the engine's.
//!
//! In reading order: where it is (`address`), how long it may keep one waiting (`patience`), single requests (`place`), the index
//! (`pack`, `catalogue`), and all of it as the engine's `Remote` (`bucket`); who signs and who is believed (`keys`); which blobs may go
//! (`collect`).

mod address;
mod bucket;
mod catalogue;
pub mod collect;
pub mod keys;
mod pack;
mod patience;
mod place;
pub mod settings;

pub use address::Address;
pub use bucket::Bucket;
pub use pack::{Pack, pack};
pub use place::Entry;
