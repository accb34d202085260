//! A model with an adapter folded in.

use crate::shared::estimate;
use crate::shared::model_io;
use crate::training;
use anyhow::Result;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Needs, Output, Port, Role, Type};
use learn::{checkpoint, peft};

pub const KIND: Kind = Kind {
    name: "merge",
    revision: 1,
    role: Role::Joins,
    summary: "folds an adapter into its model: W + scale B A",
    about: "The result is a whole Hugging Face folder in f32, with the tokenizer files of the model. Training kinds do this by \
            themselves; it is for adapters that come from elsewhere.",
    example: r#"
[node.tuned]
kind = "merge"
in = { model = "base", adapter = "adapter" }
"#,
    inputs: &[
        Port::required(
            "model",
            Type::Model,
            "the model that the adapter was trained on",
        ),
        Port::required("adapter", Type::Adapter, "the adapter"),
    ],
    outputs: &[Output::always(
        "model",
        Type::Model,
        "the model with the adapter folded in",
    )],
    needs: |_| Needs::ALL_THREADS,
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    model_io::use_threads(ctx)?;
    let from = ctx.input("model");
    let mut weights = checkpoint::load(from)?;
    let adapter = peft::load(ctx.input("adapter"), &weights.config)?;
    adapter.merge_into(&mut weights);
    training::write_model(&weights, from, &ctx.output("model"))
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let model = preview.expected("model").model;
    let mut work = estimate::only("model", estimate::same_model(model));
    work.memory = model.map_or(0.0, |m| 4.0 * m.parameters);
    Ok(work)
}
