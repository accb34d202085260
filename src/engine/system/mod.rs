//! What the engine needs of the machine that it is on: the time, files, who a process is, what it left running, who still writes to a
//! file or holds a lock, how much memory there is, and places where a proof makes it fail. Unaware of nodes, attempts and keys.

pub mod clock;
pub mod fault;
pub mod files;
pub mod gpus;
mod identity;
pub mod locks;
pub mod memory;
pub mod probe;
pub mod programs;
pub mod silence;
pub mod strays;
pub mod usage;
pub mod writers;

pub use identity::{Process, host};

/// The number of the user that this process belongs to.
pub fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The model of the processor, for people; empty where it is not told.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|l| {
        let (name, value) = l.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_string())
    });
    model.unwrap_or_default()
}
