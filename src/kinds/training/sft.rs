//! Supervised fine-tuning on conversations: of a base model on teacher traces, and of an untrained one on its corpus.

use crate::shared::bounds;
use crate::shared::devices;
use crate::shared::estimate::{self, Training};
use crate::shared::measure;
use crate::shared::model_io::{self, Model};
use crate::training::lora::{self, Lora};
use crate::training::{self, AS_SAMPLED, AsSampled, Epochs, Examples, Guards, Watcher};
use anyhow::{Context, Result, ensure};
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, Conversation, Metric};
use base::text::count;
use base::tokens::Tokens;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type};
use learn::batch::Row;
use learn::learner::Learner;
use learn::objective::Goal;
use learn::objective::sft::SftObjective;
use learn::optim::Optim;
use learn::tokenizer::Tokenizer;
use learn::train::{self, Feed, Hyperparameters, Window};

params! {
    pub struct Params {
        /// Passes over the conversations.
        epochs: f64 = 3.0, in bounds::EPOCHS;
        /// Conversations an optimizer step.
        batch: usize = 16, in bounds::BATCH;
        /// Longer conversations are dropped and counted, never cut (a cut conversation has no end of turn).
        max_tokens: usize = 4096, in bounds::TOKENS;
        /// Seed of the order.
        seed: u64 = 0, in bounds::SEED;
    }
    with { optim: Optim { lr = 3e-5 } }
    blocks { lora: Option<Lora> }
}

params! {
    pub struct Exec {
        /// Steps between two checkpoints.
        checkpoint_every: u64 = 100, in bounds::EVERY;
        /// Computes blocks again in the backward pass instead of keeping what they computed: less memory, more time.
        recompute: bool = false;
    }
    blocks { guard: Guards }
}

pub const KIND: Kind = Kind {
    name: "sft",
    revision: 3,
    role: Role::Trains,
    summary: "supervised fine-tuning on conversations, of all parameters or of an adapter",
    about: "Conversations are rendered with the model folder's own chat template; one whose template would leave out text of the \
            assistant (the reasoning of earlier turns, say), or begins a turn otherwise than it is asked to write it, is trained \
            turn by turn as it would be sampled, and counted in `template/as_sampled`. The loss is the mean negative \
            log-probability over all assistant tokens of the step (content and end of turn), never a mean of means. AdamW, \
            every epoch in an order of its own. Fails with a named cause, and keeps the last good checkpoint, when loss or \
            gradient stop being finite or the gradient explodes.",
    example: r#"
[node.sft]
kind = "sft"
in = { model = "base", conversations = "traces" }
lr = 3e-5
epochs = 3
"#,
    inputs: &[
        Port::required("model", Type::Model, "where it begins"),
        Port::required("conversations", Type::Conversations, "what it learns"),
    ],
    outputs: &[
        Output::always("model", Type::Model, "the trained model"),
        Output::always(
            "metrics",
            Type::Metrics,
            "last values, conversations dropped; every step in `curve.jsonl` and in an event file for TensorBoard",
        ),
        lora::ADAPTER,
    ],
    metrics: &[
        MetricInfo::lower(
            "truncation/dropped",
            "conversations",
            "conversations dropped as too long",
        ),
        AS_SAMPLED,
        measure::LAST,
    ],
    params: Params::specs,
    exec: Exec::specs,
    check: Some(check),
    computes: Some(devices::ANYWHERE),
    needs: |_| Needs::ALL_THREADS,
    tokens: Some(tokens),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let Ok(p) = Params::read(values) {
        lora::problems(p.lora.as_ref(), &mut found);
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let model = Model::load(ctx.input("model"))?;
    let conversations: Vec<Conversation> = rows::read_rows(ctx.input("conversations"))?;
    let mut feed = Conversations::new(&model.tokenizer, &conversations, &p)?;
    if feed.dropped > 0 {
        ctx.log(&format!(
            "dropped {} of more than {} tokens",
            count(feed.dropped as u64, "conversation", "conversations"),
            p.max_tokens
        ));
    }
    feed.as_sampled.say(ctx, CONVERSATIONS, conversations.len());
    training::say_reach(ctx, &model.weights.config, "conversations", &feed.rows);
    let steps = ((feed.rows.len() as f64 * p.epochs / p.batch as f64).round() as u64).max(1);
    let with = Hyperparameters {
        optim: p.optim.clone(),
        steps,
        temperature: 1.0,
    };
    let config = &model.weights.config;
    let adapter = lora::adapter(p.lora.as_ref(), config, Seed::new(p.seed));
    let mut state = training::begin(ctx, model.weights, adapter, false, exec.recompute)?;
    let limits = exec.guard.limits();
    let every = exec.checkpoint_every;
    let mut watcher = Watcher::start(ctx, &mut state, steps, every, limits, &["loss"])?;
    let end = train::train(&mut state, &mut feed, &with, &mut watcher);
    watcher.end(&state, end)?;
    let dropped = Metric {
        name: "truncation/dropped".into(),
        value: feed.dropped as f64,
        n: conversations.len(),
        interval: None,
        unit: CONVERSATIONS.into(),
    };
    let mut metrics = vec![dropped];
    metrics.extend(feed.as_sampled.metric(CONVERSATIONS, conversations.len()));
    watcher.finish(state.learner.finish()?, ctx.input("model"), metrics)
}

const CONVERSATIONS: &str = "conversations";

/// What is trained on, in the order of the conversations.
fn examples(
    tokenizer: &Tokenizer,
    conversations: &[Conversation],
    max_tokens: usize,
) -> Result<Examples> {
    let mut examples = Examples::default();
    for conversation in conversations {
        let (id, messages) = (&conversation.id, &conversation.messages);
        examples
            .add(tokenizer, id, messages, max_tokens)
            .with_context(|| format!("conversation {id}"))?;
    }
    Ok(examples)
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let p: Params = preview.params()?;
    let tokenizer = Tokenizer::load(preview.input("model"))?;
    let conversations: Vec<Conversation> = rows::read_rows(preview.input("conversations"))?;
    let examples = examples(&tokenizer, &conversations, p.max_tokens)?;
    let mut tokens = Tokens::new(CONVERSATIONS, preview.most);
    examples.show(&mut tokens, &tokenizer, |id| id.into())?;
    let as_sampled = &examples.as_sampled;
    as_sampled.note(&mut tokens, CONVERSATIONS, conversations.len());
    Ok(tokens.dropped(training::longer(p.max_tokens), examples.long))
}

/// Conversations as rows, every one once an epoch.
struct Conversations {
    rows: Vec<Row>,
    /// Of the rows, and of those of the last window.
    ids: Vec<String>,
    last: Vec<usize>,
    dropped: usize,
    as_sampled: AsSampled,
    batch: usize,
    epochs: Epochs,
}

impl Conversations {
    fn new(
        tokenizer: &Tokenizer,
        conversations: &[Conversation],
        p: &Params,
    ) -> Result<Conversations> {
        let Examples {
            rows,
            long,
            as_sampled,
            ids,
        } = examples(tokenizer, conversations, p.max_tokens)?;
        ensure!(
            !rows.is_empty(),
            "all {long} conversations are longer than {} tokens",
            p.max_tokens
        );
        Ok(Conversations {
            epochs: Epochs::new(rows.len(), Seed::new(p.seed).child("order")),
            rows,
            ids,
            last: vec![],
            dropped: long,
            as_sampled,
            batch: p.batch,
        })
    }
}

impl Feed for Conversations {
    fn window<'a>(&'a mut self, step: u64, _: &mut dyn Learner) -> Result<Window<'a>> {
        let first = step * self.batch as u64;
        self.last = (first..first + self.batch as u64)
            .map(|place| self.epochs.at(place))
            .collect();
        let rows: Vec<Row> = self.last.iter().map(|i| self.rows[*i].clone()).collect();
        let scored: usize = rows.iter().map(Row::scored).sum();
        let tokens: usize = rows.iter().map(|r| r.ids.len()).sum();
        Ok(Window {
            rows,
            goal: Goal::Logp(Box::new(SftObjective::new(scored))),
            metrics: vec![("num_tokens".into(), tokens as f64)],
        })
    }

    fn name(&self, row: usize) -> Option<String> {
        Some(format!("conversation {}", self.ids[self.last[row]]))
    }
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let given = preview.expected("conversations");
    let model = preview.expected("model").model;
    let mut work = Work::default();
    work.outputs.insert("model", estimate::same_model(model));
    work.amount = given.rows.unwrap_or(0.0) * p.epochs;
    let Some(model) = model else {
        return Ok(work);
    };
    let longest = given.tokens.unwrap_or(0.0).min(p.max_tokens as f64);
    let how = Training {
        rank: p.lora.as_ref().map_or(0, |l| l.rank),
        recompute: exec.recompute,
        reference: false,
        rows: p.batch as f64,
        longest,
    };
    estimate::device::train(&mut work, preview, &model, &how, &[]);
    if let (Some(rows), Some(tokens)) = (given.rows, given.tokens) {
        let seen = rows * tokens.min(p.max_tokens as f64) * p.epochs;
        work.flop = estimate::train_flop(&model, p.lora.is_some(), seen);
    }
    Ok(work)
}
