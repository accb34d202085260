//! The learning core: text to ids, the decoder, its objectives and its sampler. Knows no store, recipe, clock or
//! environment.

pub mod chat;
pub mod json;
pub mod template;
pub mod tokenizer;
