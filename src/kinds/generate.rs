//! Samples completions of a model for prompts.

use crate::base::rng::Seed;
use crate::base::rows::{self, Completion, Prompt};
use crate::base::tokens::Tokens;
use crate::base::value::Values;
use crate::engine::kind::{Cpu, Kind, Look, Need, Output, Port, Problem, Type};
use crate::engine::params::ParamSet;
use crate::engine::worker::NodeCtx;
use crate::kinds::model_io::{self, Model, Sampling};
use crate::kinds::{positive, range};
use crate::learn::sample::Options;
use crate::learn::sample::choose::Choice;
use crate::params;
use anyhow::Result;

params! {
    pub struct Params {
        /// Responses a prompt.
        samples: usize = 1;
        /// 0 takes the most likely token.
        temperature: f64 = 1.0;
        /// Nucleus: the most likely tokens up to this mass.
        top_p: f64 = 1.0;
        /// Only so many most likely tokens; 0 is all.
        top_k: usize = 0;
        /// Tokens a response may have.
        max_new_tokens: usize = 256;
        /// A beginning that every response is given, such as `"<think>\n"` to force reasoning.
        prefill: Option<String> = None;
        /// Seed of the samples.
        seed: u64 = 0;
    }
}

params! {
    pub struct Exec {
        /// Prompts between two saves of what is done.
        save_every: usize = 512;
    }
}

pub const KIND: Kind = Kind {
    name: "generate",
    revision: 1,
    summary: "samples completions of a model for prompts",
    about: "Prompts are rendered with the model folder's own chat template. A row's randomness is counted by (seed, prompt \
            id, sample, position): it does not depend on the other rows. Settings of generation_config.json are not \
            applied, only its end-of-turn tokens. An interrupted node keeps what it had.",
    example: r#"
[node.answers]
kind = "generate"
in = { model = "rl", prompts = "prompts.eval" }
temperature = 0.7
"#,
    inputs: &[
        Port {
            name: "model",
            ty: Type::Model,
            need: Need::Always,
            doc: "who answers",
        },
        Port {
            name: "prompts",
            ty: Type::Prompts,
            need: Need::Always,
            doc: "what is asked",
        },
    ],
    outputs: &[Output {
        name: "completions",
        ty: Type::Completions,
        doc: "in the order of the prompts",
        only_with: None,
    }],
    params: Params::specs,
    exec: Exec::specs,
    check,
    cpu: Cpu::All,
    hidden: false,
    tokens: Some(tokens),
    forecast: None,
    run,
};

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let Ok(p) = Params::read(values) {
        positive(&mut found, "samples", p.samples as f64);
        positive(&mut found, "max_new_tokens", p.max_new_tokens as f64);
        range(&mut found, "temperature", p.temperature, 0.0, 100.0);
        range(&mut found, "top_p", p.top_p, f64::MIN_POSITIVE, 1.0);
    }
    if let Ok(e) = Exec::read(values) {
        positive(&mut found, "save_every", e.save_every as f64);
    }
    found
}

/// Name of the saved rows under the attempt's resume folder, before their number.
const SAVED: &str = "rows";

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let model = Model::load(ctx.input("model"))?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let sampling = Sampling {
        net: (&model.weights).into(),
        tokenizer: &model.tokenizer,
        samples: p.samples,
        prefill: p.prefill.as_deref(),
        options: Options {
            choice: Choice {
                top_p: p.top_p as f32,
                top_k: p.top_k,
                ..Choice::plain(p.temperature as f32)
            },
            ..model_io::plain(&model.tokenizer, p.temperature, p.max_new_tokens)
        },
        seed: Seed::new(p.seed).child("generate"),
    };
    let mut done = saved(ctx);
    let total = (prompts.len() * p.samples) as u64;
    while done.len() < prompts.len() * p.samples {
        let start = done.len() / p.samples;
        let end = (start + exec.save_every).min(prompts.len());
        let before = done.len();
        let more = sampling.completions(ctx, &prompts[start..end], &mut |rows| {
            ctx.progress((before + rows) as u64, total, "responses", "");
        })?;
        done.extend(more);
        let name = format!("{SAVED}-{}", done.len());
        ctx.save_checkpoint(&name, &|folder| rows::write_rows(folder, &done))?;
    }
    rows::write_rows(&ctx.output("completions"), &done)
}

fn tokens(look: &Look) -> Result<Tokens> {
    let p: Params = look.params()?;
    let prompts: Vec<Prompt> = rows::read_rows(look.input("prompts"))?;
    let then = "the response";
    model_io::prompt_tokens(
        look.input("model"),
        &prompts,
        p.prefill.as_deref(),
        then,
        look.most,
    )
}

/// Rows that an earlier attempt finished: whole prompts only, since it saves between prompts.
fn saved(ctx: &NodeCtx) -> Vec<Completion> {
    let found = ctx
        .latest_checkpoint(SAVED)
        .find_map(|saved| rows::read_rows(&saved).ok());
    found.unwrap_or_default()
}
