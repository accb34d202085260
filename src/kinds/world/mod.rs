//! Kinds of the built-in world.

kinds! { model, corpus, prompts, knowledge, teacher }

pub mod truth;
