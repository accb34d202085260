//! The kinds of nodes: the one place where the engine meets models and the world. A file a kind, a line in `REGISTRY`.

pub mod command;
pub mod data;
pub mod evaluation;
pub mod models;
pub mod scorers;
pub mod shared;
pub mod training;
pub mod world;

use engine::kind::Registry;

/// Every kind, in the order `pipe kinds` lists them.
pub const REGISTRY: Registry = Registry(&[
    &world::model::KIND,
    &world::corpus::KIND,
    &world::prompts::KIND,
    &world::knowledge::KIND,
    &world::teacher::KIND,
    &models::local_model::KIND,
    &models::local_adapter::KIND,
    &models::local_reward_model::KIND,
    &models::merge::KIND,
    &data::dataset::KIND,
    &data::prompts_file::KIND,
    &data::completions_file::KIND,
    &data::import::KIND,
    &data::filter::KIND,
    &data::pool::KIND,
    &data::dedup::KIND,
    &data::decontaminate::KIND,
    &data::mix::KIND,
    &data::mix_sources::KIND,
    &training::sft::KIND,
    &training::grpo::KIND,
    &data::preferences::KIND,
    &training::dpo::KIND,
    &training::rerouting::KIND,
    &evaluation::probe::KIND,
    &evaluation::generate::KIND,
    &evaluation::evaluate::KIND,
    &evaluation::agreement::KIND,
    &evaluation::lengths::KIND,
    &command::KIND,
]);
