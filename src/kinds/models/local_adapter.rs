//! An adapter from a PEFT folder on this machine.

use anyhow::{Context, Result};
use base::params;
use base::params::ParamSet;
use engine::kind::context::NodeCtx;
use engine::kind::{Kind, Output, Port, Role, Type};
use learn::checkpoint;
use learn::peft;
use std::path::PathBuf;

params! {
    pub struct Params {
        /// The folder: adapter_config.json and adapter_model.safetensors.
        path: PathBuf;
    }
}

pub const KIND: Kind = Kind {
    name: "local-adapter",
    revision: 2,
    role: Role::Imports,
    summary: "imports a PEFT folder of low-rank adapters (LoRA) for a model",
    about: "Identity is the content of the folder, not its path. The adapter is checked against the model (layers, shapes, \
            rank) and written anew under PEFT's names. What PEFT can do and the decoder cannot (DoRA, biases, ranks by \
            pattern, saved modules, beginnings that change the base as PiSSA's) is an error by name, and so is a setting that \
            is unknown and on.",
    example: r#"
[node.adapter]
kind = "local-adapter"
in = { model = "base" }
path = "adapters/safe-lora"
"#,
    inputs: &[Port::required(
        "model",
        Type::Model,
        "the model it was trained on",
    )],
    outputs: &[Output::always(
        "adapter",
        Type::Adapter,
        "the adapter as a PEFT folder",
    )],
    params: Params::specs,
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let from = ctx.params::<Params>()?.path;
    let config = checkpoint::load_config(ctx.input("model"))?;
    let adapter = peft::load(&from, &config)
        .with_context(|| format!("failed to read the adapter in {}", from.display()))?;
    ctx.log(&format!(
        "{} parameters, rank {}",
        adapter.data.len(),
        adapter.rank
    ));
    peft::save(&adapter, &ctx.output("adapter"))
}
