//! Who is told how the calls of a client go.

use base::calls::Calls;

/// Follows calls, and may stop them.
pub trait CallObserver {
    fn stop(&self) -> bool;
    /// `done` of `total` answers are there. Called often.
    fn progress(&mut self, done: usize, total: usize, calls: &Calls);
    /// Something worth a line of the log: a pause that the service asked for, say.
    fn say(&mut self, text: &str);
}

/// For those who call nobody.
pub struct NoObserver;

impl CallObserver for NoObserver {
    fn stop(&self) -> bool {
        false
    }
    fn progress(&mut self, _: usize, _: usize, _: &Calls) {}
    fn say(&mut self, _: &str) {}
}
