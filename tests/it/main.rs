//! The one integration test binary.

mod base;
mod cli;
mod device;
mod engine;
mod golden;
mod kinds;
mod layers;
mod learn_golden;
mod local;
mod numerics;
mod prompts_file;
mod recipe;
mod report;
mod sampler;
mod study;
mod table;
mod text;
mod training;
mod world;
