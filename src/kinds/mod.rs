//! The kinds of nodes, one file each, and their table. The one place where the engine and the rest meet.

pub mod toy;

use crate::engine::kind::Registry;

/// In the order `pipe kinds` lists them.
pub const ALL: Registry = Registry(&[
    &toy::WRITE,
    &toy::JOIN,
    &toy::SLOW,
    &toy::FAIL,
    &toy::SOURCE,
]);
