//! Places where a proof may let the machine fail. What happens there is decided by a program of the tests; the one that is
//! installed passes them, and reads nothing for it.

use std::io;
use std::sync::OnceLock;

/// What a program of the tests does to its own process.
pub struct Proof {
    /// Called at every place, with its name.
    pub pass: fn(&str) -> io::Result<()>,
    /// By how much the clock is wrong, in seconds.
    pub clock_shift: i64,
    /// Variables that workers inherit.
    pub environment: &'static [&'static str],
}

static PROOF: OnceLock<Proof> = OnceLock::new();

/// To be called at most once, before any work.
pub fn arm(proof: Proof) {
    assert!(PROOF.set(proof).is_ok(), "a process is armed once");
}

/// To be called where a proof may want the machine to fail.
pub fn point(place: &str) -> io::Result<()> {
    PROOF.get().map_or(Ok(()), |proof| (proof.pass)(place))
}

/// In nanoseconds.
pub(crate) fn clock_shift() -> i128 {
    PROOF
        .get()
        .map_or(0, |proof| i128::from(proof.clock_shift) * 1_000_000_000)
}

/// Names of variables that workers inherit besides the usual ones.
pub(crate) fn environment() -> &'static [&'static str] {
    PROOF.get().map_or(&[], |proof| proof.environment)
}
