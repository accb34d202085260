//! The one integration test binary.

mod learn_golden;
mod text;
mod world;
mod learn_golden;
mod sampler;
mod text;
mod engine;
mod base;
mod recipe;
mod table;
