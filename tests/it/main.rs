//! The one integration test binary.

mod base;
mod cli;
mod device;
mod engine;
mod golden;
mod guards;
mod html;
mod kinds;
mod layers;
mod local;
mod lora;
mod numerics;
mod policy;
mod preferences;
mod prompts_file;
mod recipe;
mod reference;
mod report;
mod sampler;
mod statistics;
mod study;
mod table;
mod tensorboard;
mod text;
mod training;
mod world;
