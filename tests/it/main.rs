//! The one integration test binary.

mod base;
mod engine;
mod layers;
mod learn_golden;
mod numerics;
mod recipe;
mod sampler;
mod study;
mod table;
mod text;
mod training;
mod world;
