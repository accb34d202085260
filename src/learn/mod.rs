//! The learning core: text to ids, the decoder and its gradient, objectives, the optimizer, the loop and the sampler. Knows
//! no store, recipe, clock or environment.

pub mod json;
pub mod template;
pub mod tokenizer;

pub mod chat;

pub mod config;
pub mod kernels;
pub mod weights;

pub mod checkpoint;

pub mod decoder;
pub mod decoder_backward;
mod head;

pub mod objective;
pub mod optim;
pub mod train;

pub mod sample;
