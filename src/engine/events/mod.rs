//! What happened: events, the journal they are kept in, and the classes of failures.

pub mod clock;
pub mod event;
pub mod failure;
pub mod journal;
