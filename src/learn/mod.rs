//! The learning core: decoders, their gradients, objectives and the optimizer. Knows no store, recipe or clock.
pub mod checkpoint;
pub mod config;
pub mod decoder;
pub mod decoder_backward;
mod head;
pub mod kernels;
pub mod objective;
pub mod optim;
pub mod weights;
