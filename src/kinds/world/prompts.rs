//! The prompts of the built-in world, in splits that share no prompt, no disguise and no held-out combination.

use crate::shared::bounds;
use crate::shared::estimate;
use anyhow::Result;
use base::params;
use base::params::ParamSet;
use base::rows::{self, Prompt, PromptClass};
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Labels, Output, Role, Type};
use world::{Form, Forms, Split, World};

params! {
    pub struct Params {
        /// Seed of the world's facts.
        world: u64 = 0, in bounds::SEED;
        /// Most lookups, one after the other, that lead to the fact which decides about a request: 0 to so many, evenly.
        depth: usize = 3, in bounds::DEPTH;
        /// Seed of the draw.
        seed: u64 = 0, in bounds::SEED;
        /// Weight of plain prompts; the four disguises share the rest.
        plain: f64 = 0.4, in bounds::SHARE;
        /// Harmful prompts for the teacher.
        sft: usize = 400, in bounds::ROWS;
        /// Prompts of each class in the RL pool.
        rl: usize = 1000, in bounds::ROWS;
        /// Prompts of each class held out of the RL pool, to see whether RL learns.
        validation: usize = 60, in bounds::ROWS;
        /// Prompts of each class for the evals.
        eval: usize = 300, in bounds::ROWS;
        /// Prompts of each class with one lookup more than any other has.
        deeper: usize = 60, in bounds::ROWS;
    }
}

pub const KIND: Kind = Kind {
    name: "world-prompts",
    revision: 4,
    role: Role::Generates,
    synthetic: true,
    disjoint: true,
    summary: "harmful, harmless and ambiguous prompts of the built-in world, in disjoint splits",
    about: "`sft` is harmful only, as in TARS; `rl`, `validation` and `eval` have all classes. The (verb, object) pairs, \
            the chains of lookups and the disguises of `sft`, of `rl` with `validation`, and of `eval` with `deeper` are disjoint, and \
            disjoint from the base corpus. Every disguise occurs in every class, so that a disguise says nothing. The labels \
            `lookups` and `form` say what a prompt takes: evaluations are split by both.",
    example: r#"
[node.prompts]
kind = "world-prompts"
rl = 1000
"#,
    outputs: &[
        Output::always("sft", Type::Prompts, "harmful prompts for the teacher"),
        Output::always("rl", Type::Prompts, "the RL pool, all classes"),
        Output::always("validation", Type::Prompts, "held out of the RL pool"),
        Output::always(
            "eval",
            Type::Prompts,
            "unseen combinations, chains and disguises",
        ),
        Output::always(
            "deeper",
            Type::Prompts,
            "as `eval`, with one lookup more than any of these",
        ),
    ],
    params: Params::specs,
    labels: Some(labels),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let world = World::new(p.world);
    let forms = Forms::with_plain(p.plain);
    let lookups: Vec<usize> = (0..=p.depth).collect();
    let draw = |split, class, n| world.prompts(split, class, n, &lookups, &forms, p.seed);

    rows::write_rows(
        &ctx.output("sft"),
        &draw(Split::Sft, PromptClass::Harmful, p.sft)?,
    )?;
    let [mut rl, mut validation, mut eval, mut deeper]: [Vec<Prompt>; 4] = Default::default();
    for class in PromptClass::ALL {
        // One draw for both: what is drawn together differs in every prompt.
        let mut pool = draw(Split::Rl, class, p.rl + p.validation)?;
        validation.extend(pool.split_off(p.rl));
        rl.extend(pool);
        eval.extend(draw(Split::Eval, class, p.eval)?);
        let further = [p.depth + 1];
        let drawn = world.prompts(Split::Eval, class, p.deeper, &further, &forms, p.seed)?;
        deeper.extend(drawn.into_iter().map(|mut prompt| {
            // Of the split `eval`, whose own prompts have these ids.
            prompt.id = prompt.id.replacen(Split::Eval.word(), "deeper", 1);
            prompt
        }));
    }
    rows::write_rows(&ctx.output("rl"), &rl)?;
    rows::write_rows(&ctx.output("validation"), &validation)?;
    rows::write_rows(&ctx.output("eval"), &eval)?;
    rows::write_rows(&ctx.output("deeper"), &deeper)
}

fn labels(values: &Values, output: &str) -> Labels {
    let Ok(p) = Params::read(values) else {
        return Labels::new(); // The recipe is wrong, and its author is told.
    };
    let lookups = match output {
        "deeper" => p.depth + 1..=p.depth + 1,
        _ => 0..=p.depth,
    };
    let forms = Form::ALL.map(|form| form.word().to_string());
    Labels::from([
        (world::LOOKUPS, lookups.map(|n| n.to_string()).collect()),
        (world::FORM, forms.into()),
    ])
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let mut work = Work::default();
    for (output, rows) in [
        ("sft", p.sft),
        ("rl", 3 * p.rl),
        ("validation", 3 * p.validation),
        ("eval", 3 * p.eval),
        ("deeper", 3 * p.deeper),
    ] {
        let likely = estimate::rows(Some(rows as f64), None);
        work.outputs.insert(output, likely);
    }
    Ok(work)
}
