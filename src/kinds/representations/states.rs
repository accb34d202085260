//! The hidden states of prompts: what a model makes of a text before it answers. The papers of TARS
//! (arXiv 2507.00971) and of the circuit breakers (arXiv 2406.04313) argue with them.

use crate::shared::bounds;
use crate::shared::devices;
use crate::shared::estimate;
use crate::shared::model_checks;
use crate::shared::model_io::{self, Prefills};
use crate::shared::states::{self, Layers, Taken};
use anyhow::{Context, Result, ensure};
use base::params;
use base::params::ParamSet;
use base::rows::{self, Prompt};
use base::tokens::Tokens;
use engine::kind::context::{Interrupted, NodeCtx};
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Needs, Output, Port, Role, Type};
use learn::learner::Policy;
use learn::states::{Position, Wanted};

params! {
    pub struct Params {
        /// Layers that are kept: 0 are the embeddings, i the output of block i, and the last one is after the final norm, as transformers
        /// counts `hidden_states`. Empty: all.
        layers: Vec<usize> = vec![], in bounds::BLOCKS;
        /// The state of the prompt's last token, from which the model writes on; or the mean over its tokens, those of the template
        /// included.
        position: Position = Position::Last;
        /// What every response begins with, as in `generate`: `"<think>\n"` where the model is made to reason. It is part of the prompt here.
        prefill: Option<String> = None;
    }
}

params! {
    pub struct Exec {
        /// Prompts that are computed at the same time, each by itself.
        rows: usize = 64, in bounds::AT_ONCE;
    }
}

pub const KIND: Kind = Kind {
    name: "states",
    revision: 1,
    role: Role::Generates,
    summary: "hidden states of a model at prompts: any layers, last token or mean",
    about: "Prompts are rendered as `generate` renders them, up to where the model would begin to write. `states.safetensors` has a tensor \
            `layer.N` [prompts, hidden] a layer in single precision, `rows.jsonl` the prompts in the same order. A prompt is computed by \
            itself: its states hang on no other prompt. Where a generation prompt ends every prompt, the last token is the same \
            everywhere, and layer 0 at `position = \"last\"` is one point.",
    example: r#"
[node.rl-states]
kind = "states"
in = { model = "rl", prompts = "prompts.eval" }
"#,
    inputs: &[
        Port::required("model", Type::Model, "whose states are read"),
        Port::required("prompts", Type::Prompts, "what it is asked"),
    ],
    outputs: &[Output::always(
        "states",
        Type::States,
        "in the order of the prompts",
    )],
    params: Params::specs,
    exec: Exec::specs,
    computes: Some(devices::ANYWHERE),
    needs: |_| Needs::ALL_THREADS,
    tokens: Some(tokens),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let (mut learner, tokenizer) = model_io::open(ctx, ctx.input("model"))?;
    let config = learner.config().clone();
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let layers = chosen(&p.layers, config.layers)?;
    let prefills = Prefills::same(p.prefill.clone());
    model_checks::say_reach(ctx, &tokenizer, &prompts, Some(&prefills), 0)?;
    let ids = prompts
        .iter()
        .map(|prompt| {
            let asked = model_io::asked(&tokenizer, &prompt.prompt, p.prefill.as_deref());
            let ids = asked.with_context(|| format!("prompt {}", prompt.id))?.ids;
            ensure!(!ids.is_empty(), "prompt {} has no token", prompt.id);
            Ok(ids)
        })
        .collect::<Result<Vec<_>>>()?;
    let wanted = Wanted {
        layers: &layers,
        position: p.position,
    };
    let total = prompts.len() as u64;
    let mut done = |n: usize| {
        ctx.progress(n as u64, total, "prompts", "");
        !ctx.stop()
    };
    let found = learner.states(Policy::Live, &ids, wanted, exec.rows, &mut done)?;
    let found = found.ok_or(Interrupted)?;
    let tokens = ids.iter().map(Vec::len).sum();
    ctx.record_flops(estimate::sampling(&config, tokens));
    let layers = Layers {
        width: config.hidden_size,
        numbers: &layers,
        states: &found,
    };
    let taken = Taken::new(p.position, p.prefill);
    states::write(&ctx.output("states"), &prompts, &taken, &layers)
}

/// The layers that are kept, ascending. Errors: one that a model of so many blocks does not have.
fn chosen(layers: &[usize], blocks: usize) -> Result<Vec<usize>> {
    if layers.is_empty() {
        return Ok((0..=blocks).collect());
    }
    let mut chosen = layers.to_vec();
    chosen.sort_unstable();
    chosen.dedup();
    let last = *chosen.last().expect("a layer is named");
    ensure!(
        last <= blocks,
        "`layers` names layer {last}, and the model has layers 0 (the embeddings) to {blocks} (after the last block and the final norm)"
    );
    Ok(chosen)
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let p: Params = preview.params()?;
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let prefills = Prefills::same(p.prefill);
    let then = "nothing: its states are read";
    model_io::prompt_tokens(
        preview.input("model"),
        &prompts,
        None,
        Some(&prefills),
        then,
        preview.most,
    )
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let prompts = preview.expected("prompts");
    let mut work = estimate::only("states", prompts.clone());
    if let Some(model) = preview.expected("model").model {
        let rows = prompts.rows.unwrap_or(0.0);
        let length = prompts.tokens.unwrap_or(estimate::PROMPT);
        let exec: Exec = preview.exec()?;
        let p: Params = preview.params()?;
        let sequences = estimate::device::Sequences {
            rows,
            length,
            at_once: Some(exec.rows as f64),
            kept: match p.layers.len() {
                0 => model.layers + 1.0,
                some => some as f64,
            },
        };
        work.flop = estimate::sample_flop(&model, rows * length);
        estimate::device::read(&mut work, preview, &model, sequences);
    }
    Ok(work)
}
