//! Kinds of the built-in world.

pub mod corpus;
pub mod knowledge;
pub mod model;
pub mod prompts;
pub mod teacher;
pub mod truth;
