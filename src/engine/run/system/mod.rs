//! What the kernel says of processes: who one is, what it left running, who still writes to a file, how much memory there is.
//! Unaware of attempts, keys and runs.

mod identity;
pub mod memory;
pub mod strays;
pub mod writers;

pub use identity::Process;
