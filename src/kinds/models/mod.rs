//! Kinds that bring in models, and what is checked of a model folder.

pub mod local_adapter;
pub mod local_model;
pub mod local_reward_model;
pub mod merge;
