//! `pipe`: a declarative engine for LLM post-training studies.
//!
//! A recipe (TOML) is parsed and resolved into a graph of typed nodes; the engine gives every node a key made of what it
//! is, runs only what has no artifact yet, and keeps everything. Every room is a crate, so that an import points down only;
//! `ARCHITECTURE.md` has the map.

pub use base::{self, choice, params};
pub use {analysis, data, engine, kinds, learn, recipe, remote, report, services, world};

pub mod cli;
