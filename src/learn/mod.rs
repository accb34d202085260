//! The learning core: text to ids, the decoder, its objectives and its sampler. Knows no store, recipe, clock or
//! environment.
//! The learning core: text to ids, decoders, their gradients, objectives, the optimizer and the sampler. Knows no
//! store, recipe, clock or environment.

pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod decoder;
pub mod decoder_backward;
mod head;
pub mod json;
pub mod kernels;
pub mod objective;
pub mod optim;
pub mod template;
pub mod tokenizer;
pub mod train;
pub mod sample;
pub mod template;
pub mod tokenizer;
pub mod weights;
