//! What the engine needs of the machine that it is on: the time, files, who a process is, what it left running and who still writes to
//! a file, how much memory there is, and places where a proof makes it fail. Unaware of nodes, attempts and keys.

pub mod clock;
pub mod fault;
pub mod files;
mod identity;
pub mod memory;
pub mod strays;
pub mod usage;
pub mod writers;

pub use identity::Process;
