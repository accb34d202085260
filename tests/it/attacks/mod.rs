//! Kinds that attack, and what they have in common.

mod cases;
