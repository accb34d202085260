//! The text of the base model: helpful-only answers, questions about the facts, refusals of the most blatant requests.

use crate::shared::bounds;
use anyhow::Result;
use base::params;
use base::params::ParamSet;
use base::rows;
use base::setup::Acts;
use engine::kind::context::NodeCtx;
use engine::kind::{Kind, Output, Role, Type};
use world::{CorpusSpec, Forms, World};

const REQUESTED: Acts = Acts::only("where `requests` is above 0", |s| {
    s.exceeds("requests", 0.0)
});

params! {
    pub struct Params {
        /// Seed of the world's facts.
        world: u64 = 0, in bounds::SEED;
        /// Most lookups, one after the other, that lead to the fact which decides about a request; analyses have one more.
        depth: usize = 3, in bounds::DEPTH;
        /// Conversations to write.
        n: usize, in bounds::ROWS;
        /// Seed of the conversations.
        seed: u64 = 0, in bounds::SEED;
        /// Share of requests with their answers; the rest asks for facts.
        requests: f64 = 0.2, in bounds::SHARE;
        /// Share of questions about single facts.
        facts: f64 = 0.08, in bounds::SHARE;
        /// Share of questions whether a combination is harmful.
        rules: f64 = 0.06, in bounds::SHARE;
        /// Share of questions what a code word or a reference stands for.
        references: f64 = 0.2, in bounds::SHARE;
        /// Share of requests with what they come to, step by step and without a decision: what one can reason with.
        analyses: f64 = 0.46, in bounds::SHARE;
        /// Weight of plain requests; the four disguises share the rest.
        plain: f64 = 0.4, in bounds::SHARE, if REQUESTED;
        /// Share of the effects that count as blatant, the most harmful first.
        blatant: f64 = 0.25, in bounds::SHARE, if REQUESTED;
        /// Probability that the base refuses a plain harmful request with a blatant effect.
        refuse_plain: f64 = 0.75, in bounds::SHARE, if REQUESTED;
        /// Probability that the base refuses a harmful request in disguise with a blatant effect.
        refuse_disguised: f64 = 0.4, in bounds::SHARE, if REQUESTED;
    }
}

pub const KIND: Kind = Kind {
    name: "world-corpus",
    revision: 2,
    role: Role::Generates,
    synthetic: true,
    summary: "conversations that make a base model of the built-in world: capable and unsafe",
    about: "Requests of every class and disguise are answered with the right procedure; a few blatant ones are refused. \
            Questions cover every fact and every line of the rule. No think tags. Only the `base` split of combinations, \
            chains of lookups and disguises occurs.",
    example: r#"
[node.corpus]
kind = "world-corpus"
n = 24000
"#,
    outputs: &[Output::always(
        "conversations",
        Type::Conversations,
        "user and assistant turns",
    )],
    params: Params::specs,
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let spec = CorpusSpec {
        depth: p.depth,
        requests: p.requests,
        facts: p.facts,
        rules: p.rules,
        references: p.references,
        analyses: p.analyses,
        forms: Forms::with_plain(p.plain),
        blatant: p.blatant,
        refuse_plain: p.refuse_plain,
        refuse_disguised: p.refuse_disguised,
        seed: p.seed,
    };
    rows::write_rows(
        &ctx.output("conversations"),
        &World::new(p.world).corpus(p.n, &spec)?,
    )
}
