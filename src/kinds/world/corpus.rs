//! The text of the base model: helpful-only answers, questions about the facts, refusals of the most blatant requests.

use crate::shared::bounds;
use crate::shared::estimate;
use anyhow::Result;
use base::params;
use base::params::ParamSet;
use base::rows::{self, Conversation, Message};
use base::setup::Acts;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Output, Role, Type};
use world::{CorpusSpec, Forms, World, vocab};

const REQUESTED: Acts = Acts::only("where `requests` is above 0", |s| {
    s.exceeds("requests", 0.0)
});

const PUT: Acts = Acts::only("where `requests` or `analyses` is above 0", |s| {
    s.exceeds("requests", 0.0) || s.exceeds("analyses", 0.0)
});

params! {
    pub struct Params {
        /// Seed of the world's facts.
        world: u64 = 0, in bounds::SEED;
        /// Most lookups, one after the other, that lead to the fact which decides about a request; analyses have one more.
        depth: usize = CorpusSpec::default().depth, in bounds::DEPTH;
        /// Conversations to write.
        n: usize, in bounds::ROWS;
        /// Seed of the conversations.
        seed: u64 = 0, in bounds::SEED;
        /// Weight of requests with their answers. The five weights need not add up to one.
        requests: f64 = CorpusSpec::default().requests, in bounds::SHARE;
        /// Weight of questions about single facts.
        facts: f64 = CorpusSpec::default().facts, in bounds::SHARE;
        /// Weight of questions whether a combination is harmful.
        rules: f64 = CorpusSpec::default().rules, in bounds::SHARE;
        /// Weight of questions what code words stand for and what is in boxes.
        references: f64 = CorpusSpec::default().references, in bounds::SHARE;
        /// Weight of requests with what they come to, step by step and without a decision: what one can reason with.
        analyses: f64 = CorpusSpec::default().analyses, in bounds::SHARE;
        /// Weight of plain requests; the four disguises share the rest.
        plain: f64 = CorpusSpec::default().forms.plain, in bounds::SHARE, if PUT;
        /// Share of the effects that count as blatant, the most harmful first.
        blatant: f64 = CorpusSpec::default().blatant, in bounds::SHARE, if REQUESTED;
        /// Probability that the base refuses a plain harmful request with a blatant effect.
        refuse_plain: f64 = CorpusSpec::default().refuse_plain, in bounds::SHARE, if REQUESTED;
        /// Probability that the base refuses a harmful request in disguise with a blatant effect.
        refuse_disguised: f64 = CorpusSpec::default().refuse_disguised, in bounds::SHARE, if REQUESTED;
    }
}

pub const KIND: Kind = Kind {
    name: "world-corpus",
    revision: 3,
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
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

/// The first `n` conversations of a corpus: those that follow change none of them.
fn first(n: usize, p: &Params) -> Result<Vec<Conversation>> {
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
    World::new(p.world).corpus(n, &spec)
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    rows::write_rows(&ctx.output("conversations"), &first(p.n, &p)?)
}

/// Conversations by which the length of all is told.
const SOME: usize = 200;

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let some = first(p.n.min(SOME), &p)?;
    let messages = || some.iter().flat_map(|row| &row.messages);
    let words = |m: &Message| m.content.split_whitespace().count() + vocab::AROUND_MESSAGE;
    let tokens = messages().map(words).sum::<usize>() as f64 / some.len() as f64;
    let likely = estimate::rows(Some(p.n as f64), Some(tokens));
    Ok(Work {
        amount: p.n as f64,
        ..estimate::only("conversations", likely)
    })
}
