//! `pipe`: a declarative engine for LLM post-training studies.
//!
//! A recipe (TOML) is parsed and resolved into a graph of typed nodes; the engine gives every node a key made of what
//! it is, runs only what has no artifact yet, and keeps everything. `ARCHITECTURE.md` has the map; the modules are
//! declared in reading order, and an import points down only (`tests/it/layers.rs` holds that).

pub mod base;

pub mod engine;

pub mod world;

pub mod learn;

pub mod services;

pub mod data;

pub mod recipe;

pub mod kinds;

pub mod report;

pub mod cli;
