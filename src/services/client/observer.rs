//! Who is told how the calls of a client go.

use base::calls::Calls;

/// Who hears how it goes, and may say that it is enough.
pub trait Ear {
    fn stop(&self) -> bool;
    /// `done` of `total` answers are there. Called often.
    fn progress(&mut self, done: usize, total: usize, calls: &Calls);
    /// Something worth a line of the log: a pause that the service asked for, say.
    fn say(&mut self, text: &str);
}
