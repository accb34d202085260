//! Kinds of the built-in world.

kinds! { model, corpus, prompts, knowledge, teacher }

pub mod reasoning;
pub mod truth;
