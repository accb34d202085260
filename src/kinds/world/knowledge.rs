//! Does a model know the facts it is to reason with, and can it walk from one to the next? Questions about single facts, lines of the
//! rule, references and whole requests, answered greedily. Where a model cannot, reasoning cannot pay.

use crate::shared::bounds;
use crate::shared::devices;
use crate::shared::estimate;
use crate::shared::model_checks;
use crate::shared::model_io::{self, Course};
use crate::world::truth;
use anyhow::Result;
use base::params;
use base::params::ParamSet;
use base::rng::Seed;
use base::rows::{self, Metric};
use base::stats;
use engine::kind::context::{Interrupted, NodeCtx};
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Output, Port, Role, Type};
use learn::learner::Policy;
use learn::sample::{Request, Stopped};
use std::collections::{BTreeMap, BTreeSet};
use world::{World, judge};

params! {
    pub struct Params {
        /// Seed of the world's facts.
        world: u64 = 0, in bounds::SEED;
        /// Most lookups of the study's prompts; one more is asked for as well.
        depth: usize = 3, in bounds::DEPTH;
        /// Questions of each sort; one that comes again is asked and counted once.
        n: usize = 200, in bounds::ROWS;
        /// Seed of the questions.
        seed: u64 = 0, in bounds::SEED;
    }
}

pub const KIND: Kind = Kind {
    name: "world-knowledge",
    revision: 4,
    role: Role::Measures,
    synthetic: true,
    summary: "asks a model for the facts of the built-in world: single facts, the rule, references, whole chains of lookups",
    about: "The most likely answer is to be the right one, word for word. `knows/fact` and `knows/rule` are single ones; `knows/code` and \
            `knows/box` what two code words or boxes stand for, in bindings that no other split has; `knows/lookups/K` is \
            everything about a plain request with K lookups, of the pairs and chains of the evals.",
    example: r#"
[node.base-knowledge]
kind = "world-knowledge"
in = { model = "base" }
"#,
    inputs: &[Port::required("model", Type::Model, "who is asked")],
    outputs: &[Output::always(
        "metrics",
        Type::Metrics,
        "share of right answers by sort of question",
    )],
    metrics: &[MetricInfo::higher("knows/*", "share", "knows, *")],
    params: Params::specs,
    above: Some(|graph, id| truth::one_world(graph, id, "world").into_iter().collect()),
    computes: Some(devices::ANYWHERE),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let mut work = Work {
        amount: p.n as f64,
        ..Work::default()
    };
    if let Some(model) = preview.expected("model").model {
        // Of every sort so many questions: facts, the rule, two of references, and each number of lookups from none on.
        let sorts = 4 + p.depth + 2;
        let rows = estimate::device::Rows {
            prompts: (p.n * sorts) as f64,
            samples: 1.0,
            at_once: model_io::BATCH_ROWS,
            prompt: estimate::PROMPT,
            written: MAX_NEW_TOKENS as f64,
        };
        estimate::device::sample(&mut work, preview, &model, rows);
    }
    Ok(work)
}

/// Tokens an answer may have; the longest right one has fewer.
const MAX_NEW_TOKENS: usize = 56;

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    model_io::use_threads(ctx)?;
    let (mut learner, tokenizer) = model_io::open(ctx, ctx.input("model"))?;
    let mut questions = World::new(p.world).knowledge(p.n, p.depth + 1, p.seed);
    let mut met = BTreeSet::new();
    questions.retain(|q| met.insert(q.messages[0].content.clone()));
    let requests = questions
        .iter()
        .map(|q| {
            Ok(Request {
                prompt: model_io::asked(&tokenizer, &q.messages[0].content, None)?.ids,
                samples: 1,
                seed: Seed::new(p.seed),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let options = model_io::plain(&tokenizer, 0.0, MAX_NEW_TOKENS);
    let mut course = Course::new(ctx, "answers", requests.len(), 0);
    let answers = learner.sample(
        Policy::Live,
        &requests,
        &options,
        &mut |tally| course.tell(tally, requests.len()),
        &|| ctx.stop(),
    );
    let answers = match answers {
        Err(e) if e.is::<Stopped>() => return Err(Interrupted.into()),
        other => other.map_err(|e| model_checks::of_prompt(e, |i| questions[i].id.clone()))?,
    };
    let mut metrics = vec![];
    let mut sorts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (question, group) in questions.iter().zip(&answers) {
        let (sort, _) = question
            .id
            .split_once('-')
            .expect("an id begins with the sort");
        let answer = tokenizer.response(&group[0].ids)?;
        let (right, asked) = sorts.entry(sort).or_default();
        *asked += 1;
        *right += usize::from(judge::knows(&question.messages[1].content, &answer));
    }
    for (sort, (right, asked)) in sorts {
        metrics.push(Metric {
            name: format!("knows/{sort}"),
            value: right as f64 / asked as f64,
            n: asked,
            interval: Some(stats::wilson(right, asked)),
            unit: "share".into(),
        });
    }
    rows::write_metrics(&ctx.output("metrics"), metrics)
}
