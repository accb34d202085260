//! A reward model from a Hugging Face folder on this machine.

use crate::shared::estimate;
use crate::shared::model_io;
use anyhow::Result;
use base::params;
use base::params::ParamSet;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Output, Role, Type};
use learn::reward::RewardModel;
use std::path::PathBuf;

params! {
    pub struct Params {
        /// The folder: config.json, tokenizer.json, tokenizer_config.json, and safetensors as one file or in shards.
        path: PathBuf;
    }
}

pub const KIND: Kind = Kind {
    name: "local-reward-model",
    revision: 2,
    role: Role::Imports,
    summary: "imports a reward model folder: Llama, Qwen2/2.5, Qwen3 or Mistral ForSequenceClassification with one label",
    about: "A decoder with `score.weight` on top, whose number at the last token of [user: prompt, assistant: answer] says how good \
            the answer is, as of GRM-llama3-8B-distill. It stands on the port `reward_model` of whoever has the scorer \
            `reward_model` in a reward, and of `evaluate`. Identity is the content of the folder, not its path. The folder is \
            checked whole (configuration, tokenizer, chat template, every tensor), then its model files are taken into the \
            store as they are. Weights compute in f32: four bytes a parameter in memory.",
    example: r#"
[node.preference]
kind = "local-reward-model"
path = "models/GRM-llama3-8B-distill"
"#,
    outputs: &[Output::always(
        "reward_model",
        Type::RewardModel,
        "the folder's model files",
    )],
    params: Params::specs,
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let from = ctx.params::<Params>()?.path;
    let model = RewardModel::load(&from)?;
    ctx.log(&format!("{} parameters", model.parameters()));
    model_io::copy_files(&from, &ctx.output("reward_model"))
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let model = estimate::model_at(preview, "path");
    let mut work = estimate::only("reward_model", estimate::same_model(model));
    work.memory = model.map_or(0.0, |m| 4.0 * m.parameters);
    Ok(work)
}
