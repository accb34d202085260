//! What happened in a run, and the journal that keeps it.

pub mod event;
pub mod journal;
pub mod life;
