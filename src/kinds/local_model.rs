//! A model from a Hugging Face folder on this machine.

use crate::engine::kind::{Cpu, Kind, Output, Type, no_check};
use crate::engine::outlook::{Ahead, Outlook};
use crate::engine::params::{None_, ParamSet};
use crate::engine::worker::NodeCtx;
use crate::kinds::ahead;
use crate::learn::checkpoint;
use crate::learn::config::Head;
use crate::learn::tokenizer::Tokenizer;
use crate::params;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

params! {
    pub struct Params {
        /// The folder: config.json, tokenizer.json, tokenizer_config.json, and safetensors as one file or in shards.
        path: PathBuf;
    }
}

pub const KIND: Kind = Kind {
    name: "local-model",
    revision: 1,
    summary: "imports a Hugging Face model folder: Qwen2/2.5, Qwen3, Llama 3, Mistral",
    about: "Identity is the content of the folder, not its path. The folder is checked whole (configuration, tokenizer, chat \
            template, every tensor), then its model files are taken into the store as they are; pictures, readmes and \
            other formats are left behind.",
    example: r#"
[node.model]
kind = "local-model"
path = "models/Qwen2.5-0.5B-Instruct"
"#,
    inputs: &[],
    outputs: &[Output {
        name: "model",
        ty: Type::Model,
        doc: "the folder's model files",
        only_with: None,
    }],
    params: Params::specs,
    exec: None_::specs,
    check: no_check,
    cpu: |_| Cpu::One,
    hidden: false,
    tokens: None,
    forecast: None,
    outlook: Some(outlook),
    preflight: None,
    run,
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let from = ctx.params::<Params>()?.path;
    let into = ctx.output("model");
    let config = checkpoint::load_config(&from)?;
    ensure!(
        !matches!(config.head, Head::Score { .. }),
        "{} is a sequence classifier, not a language model; a reward model is imported by `local-reward-model`",
        from.display()
    );
    let weights = checkpoint::load(&from)?;
    Tokenizer::load(&from)?.template()?;
    ctx.say(&format!("{} parameters", weights.data.len()));
    copy_files(&from, &into)
}

/// The files that make up a model, as they are.
pub(super) fn copy_files(from: &Path, into: &Path) -> Result<()> {
    let entries =
        std::fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))?;
    let mut names: Vec<String> = vec![];
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names.iter().filter(|n| is_model_file(n)) {
        copy(&from.join(name), &into.join(name))?;
    }
    Ok(())
}

fn is_model_file(name: &str) -> bool {
    let text = [".json", ".jinja", ".model"]
        .iter()
        .any(|end| name.ends_with(end));
    text || name == "merges.txt" || name.ends_with(".safetensors") && !name.starts_with("adapter_")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("failed to copy {}", from.display()))
}

fn outlook(ahead: &Ahead) -> Result<Outlook> {
    let model = ahead::model_at(ahead, "path");
    let mut outlook = Outlook::default();
    outlook.outputs.insert("model", ahead::same_model(model));
    outlook.memory = model.map_or(0.0, |m| 4.0 * m.parameters);
    Ok(outlook)
}
