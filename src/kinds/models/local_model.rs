//! A model from a Hugging Face folder on this machine.

use crate::shared::estimate;
use crate::shared::model_checks;
use crate::shared::model_io;
use anyhow::Result;
use base::params;
use base::params::ParamSet;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Output, Role, Type};
use std::path::PathBuf;

params! {
    pub struct Params {
        /// The folder: config.json, tokenizer.json, tokenizer_config.json, and safetensors as one file or in shards.
        path: PathBuf;
    }
}

pub const KIND: Kind = Kind {
    name: "local-model",
    revision: 2,
    role: Role::Imports,
    summary: "imports a Hugging Face model folder: Qwen2/2.5, Qwen3, Llama 3, Mistral",
    about: "Identity is the content of the folder, not its path. The folder is checked whole (configuration, tokenizer, chat \
            template, every tensor, and that they are of one model), then its model files are taken into the store as they \
            are; pictures, readmes and other formats are left behind. Special tokens are read as transformers reads them: \
            tokenizer_config.json, special_tokens_map.json where the first has no added_tokens_decoder, then what the \
            tokenizer's class is born with; ids that end a turn from generation_config.json, or config.json. A tokenizer with \
            more ids than the model has embeddings, a number that is not finite, and a template whose turns end with what no \
            answer ends with are errors.",
    example: r#"
[node.model]
kind = "local-model"
path = "models/Qwen2.5-0.5B-Instruct"
"#,
    outputs: &[Output::always(
        "model",
        Type::Model,
        "the folder's model files",
    )],
    params: Params::specs,
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let from = ctx.params::<Params>()?.path;
    let into = ctx.output("model");
    let parameters = model_checks::check_folder(&from)?;
    ctx.log(&format!("{parameters} parameters"));
    model_io::copy_files(&from, &into)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let model = estimate::model_at(preview, "path");
    let mut work = Work::default();
    work.outputs.insert("model", estimate::same_model(model));
    work.memory = model.map_or(0.0, |m| 4.0 * m.parameters);
    Ok(work)
}
