//! A store that others can reach: records and blobs on a shared folder or an object store (S3 and what speaks it, Google Cloud Storage,
//! Azure). Moves bytes and judges nothing: what is believed is the engine's.
//!
//! In reading order: what time it is there (`clock`), where it is (`address`), how long it may keep one waiting (`patience`), single
//! requests (`place`), the index (`pack`, `catalogue`), where leases lie (`leases`), all of it as the engine's `Remote` (`bucket`), how
//! records are given to it (`give`), how what is wrong there is put right (`reconcile`, `care`), and who looks after it (`tend`); who signs and who is believed (`keys`), and where both are said (`settings`); which blobs
//! may go (`collect`), and that one maintainer at a time removes them (`sweep`).

mod address;
mod bucket;
mod care;
mod catalogue;
mod clock;
pub mod collect;
mod give;
pub mod keys;
mod leases;
mod pack;
mod patience;
mod place;
mod reconcile;
pub mod settings;
pub mod sweep;
mod tend;

pub use address::Address;
pub use bucket::Bucket;
pub use pack::{Pack, name, pack, sealed};
pub use place::Entry;
