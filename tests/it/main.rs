//! The one integration test binary.

mod base;
mod cli;
mod engine;
mod learn_golden;
mod numerics;
mod recipe;
mod sampler;
mod table;
mod text;
mod world;
