//! The kinds of nodes: the one place where the engine meets models and the world. A file a kind, a line in `REGISTRY`.

pub mod agreement;
pub mod ahead;
pub mod answers;
pub mod bounds;
pub mod completions_file;
pub mod dataset;
pub mod decontaminate;
pub mod dedup;
pub mod dpo;
pub mod evaluate;
pub mod exec;
pub mod filter;
pub mod generate;
pub mod grpo;
pub mod import;
pub mod labels;
pub mod leaks;
pub mod lengths;
pub mod likeness;
pub mod local_adapter;
pub mod local_model;
pub mod local_reward_model;
pub mod lora;
pub mod measure;
pub mod merge;
pub mod mix;
pub mod mix_sources;
pub mod model_checks;
pub mod model_io;
pub mod pool;
pub mod preferences;
pub mod probe;
pub mod prompts_file;
pub mod remote;
pub mod removed;
pub mod rerouting;
pub mod reward;
pub mod scorers;
pub mod sft;
pub mod table_file;
pub mod teacher;
pub mod toy;
pub mod training;
pub mod truth;
pub mod world_corpus;
pub mod world_knowledge;
pub mod world_model;
pub mod world_prompts;

use base::params::Problem;
use engine::kind::Registry;

/// Every kind, in the order `pipe kinds` lists them.
pub const REGISTRY: Registry = Registry(&[
    &world_model::KIND,
    &world_corpus::KIND,
    &world_prompts::KIND,
    &world_knowledge::KIND,
    &teacher::KIND,
    &local_model::KIND,
    &local_adapter::KIND,
    &local_reward_model::KIND,
    &merge::KIND,
    &dataset::KIND,
    &prompts_file::KIND,
    &completions_file::KIND,
    &import::KIND,
    &filter::KIND,
    &pool::KIND,
    &dedup::KIND,
    &decontaminate::KIND,
    &mix::KIND,
    &mix_sources::KIND,
    &sft::KIND,
    &grpo::KIND,
    &preferences::KIND,
    &dpo::KIND,
    &rerouting::KIND,
    &probe::KIND,
    &generate::KIND,
    &evaluate::KIND,
    &agreement::KIND,
    &lengths::KIND,
    &exec::KIND,
    &toy::WRITE,
    &toy::JOIN,
    &toy::SLOW,
    &toy::FAIL,
    &toy::SOURCE,
    &toy::ASK,
]);

/// Adds a problem unless `low <= value <= high`.
fn range(found: &mut Vec<Problem>, path: &str, value: f64, low: f64, high: f64) {
    if !(low..=high).contains(&value) {
        found.push(Problem {
            path: path.into(),
            message: format!("`{path}` is {value}, outside of {low} to {high}"),
            help: None,
        });
    }
}
