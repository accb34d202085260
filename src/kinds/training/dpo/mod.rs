//! Preference optimisation on pairs of answers: DPO and its kin (`learn/objective/dpo.rs` has the formulas).
//!
//! The reference is the model it begins as. Its log-probabilities are computed once, before the first step, and kept with
//! the resume state, so that training holds one model. The defaults are those of TARS's DPO baseline (arXiv 2507.00971):
//! RPO with beta 0.01 and weight 3, learning rate 3e-4, batch 16, 3 epochs. Whether that baseline trained all parameters
//! is not published; the RPO paper's own learning rate is 7e-7.

mod dataset;

use crate::shared::bounds;
use crate::shared::devices;
use crate::shared::estimate::{self, Training};
use crate::shared::measure;
use crate::shared::model_io::{self, Model};
use crate::training::lora::{self, Lora};
use crate::training::{self, AS_SAMPLED, Epochs, Guards, Watcher};
use anyhow::Result;
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, Pair};
use base::tokens::Tokens;
use base::value::Values;
use dataset::{Dataset, reference};
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type};
use learn::batch::Row;
use learn::learner::Learner;
use learn::objective::Goal;
use learn::objective::dpo::{self, DpoObjective, Loss};
use learn::optim::Optim;
use learn::tokenizer::Tokenizer;
use learn::train::{self, Feed, Hyperparameters, Window};

params! {
    pub struct Params {
        /// Passes over the pairs.
        epochs: f64 = 3.0, in bounds::EPOCHS;
        /// Pairs an optimizer step.
        batch: usize = 16, in bounds::BATCH;
        /// Pairs with an answer that is longer, prompt included, are dropped and counted, never cut.
        max_tokens: usize = 4096, in bounds::TOKENS;
        /// Seed of the order.
        seed: u64 = 0, in bounds::SEED;
    }
    with { objective: dpo::Options, optim: Optim { lr = 3e-4 } }
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
    name: "dpo",
    revision: 2,
    role: Role::Trains,
    summary: "direct preference optimisation (DPO, cDPO, robust, IPO, RPO) on pairs of answers",
    about: "The reference is the model it begins as; its log-probabilities are computed once. At step 1 the margins are 0 and \
            the loss of a pair is ln 2 (sigmoid). Metrics have TRL's names; watch `logps/chosen`, which DPO alone lets \
            fall. Pairs with an empty answer and pairs that are too long are named, dropped and counted. The defaults are \
            those of TARS's DPO baseline, which is RPO: beta 0.01, weight 3 of the chosen answers' negative \
            log-probability. A response that ran into its length limit is learned without an end of turn.",
    example: r#"
[node.dpo]
kind = "dpo"
in = { model = "sft", pairs = "pairs" }
beta = 0.01
nll_coefficient = 3.0
"#,
    inputs: &[
        Port::required("model", Type::Model, "where it begins, and the reference"),
        Port::required("pairs", Type::Pairs, "chosen and rejected answers"),
    ],
    outputs: &[
        Output::always("model", Type::Model, "the trained model"),
        Output::always(
            "metrics",
            Type::Metrics,
            "last values, dropped pairs; every step in `curve.jsonl` and in an event file for TensorBoard",
        ),
        lora::ADAPTER,
    ],
    metrics: &[
        MetricInfo::plain("pairs/trained", "pairs", "pairs trained on"),
        MetricInfo::lower("pairs/too_long", "pairs", "pairs dropped as too long"),
        MetricInfo::lower("pairs/empty", "pairs", "pairs dropped as empty"),
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
        let smoothing = p.objective.label_smoothing;
        if smoothing != 0.0 && !matches!(p.objective.loss, Loss::Cdpo | Loss::Robust) {
            found.push(Problem {
                path: "label_smoothing".into(),
                message: "only `cdpo` and `robust` smooth labels: here it would do nothing".into(),
                help: Some("loss = \"cdpo\" is the sigmoid loss with smoothed labels".into()),
            });
        }
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let model = Model::load(ctx.input("model"))?;
    let pairs: Vec<Pair> = rows::read_rows(ctx.input("pairs"))?;
    let dataset = Dataset::new(&model.tokenizer, &pairs, p.max_tokens)?;
    dataset.say(ctx, p.max_tokens);
    training::say_reach(ctx, &model.weights.config, "answers", &dataset.rows);
    let config = &model.weights.config;
    let adapter = lora::adapter(p.lora.as_ref(), config, Seed::new(p.seed));
    let mut state = training::begin(ctx, model.weights, adapter, false, exec.recompute)?;
    let reference = reference(ctx, state.learner.as_mut(), &dataset)?;
    let n = dataset.rows.len() / 2;
    let steps = ((n as f64 * p.epochs / p.batch as f64).round() as u64).max(1);
    let with = Hyperparameters {
        optim: p.optim.clone(),
        steps,
        temperature: 1.0,
    };
    let (every, limits) = (exec.checkpoint_every, exec.guard.limits());
    let shown = &["loss", "rewards/margins"];
    let mut watcher = Watcher::start(ctx, &mut state, steps, every, limits, shown)?;
    let mut feed = PairFeed {
        dataset: &dataset,
        last: vec![],
        reference: &reference,
        options: p.objective.clone(),
        batch: p.batch as u64,
        epochs: Epochs::new(n, Seed::new(p.seed).child("order")),
    };
    let end = train::train(&mut state, &mut feed, &with, &mut watcher);
    watcher.end(&state, end)?;
    watcher.finish(
        state.learner.finish()?,
        ctx.input("model"),
        dataset.metrics(pairs.len()),
    )
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let p: Params = preview.params()?;
    let tokenizer = Tokenizer::load(preview.input("model"))?;
    let pairs: Vec<Pair> = rows::read_rows(preview.input("pairs"))?;
    let dataset = Dataset::new(&tokenizer, &pairs, p.max_tokens)?;
    dataset.tokens(&tokenizer, p.max_tokens, preview.most)
}

/// Every pair once an epoch.
struct PairFeed<'r> {
    dataset: &'r Dataset,
    /// The pairs of the last window.
    last: Vec<usize>,
    reference: &'r [f64],
    options: dpo::Options,
    batch: u64,
    epochs: Epochs,
}

impl Feed for PairFeed<'_> {
    fn window<'a>(&'a mut self, step: u64, _: &mut dyn Learner) -> Result<Window<'a>> {
        let places = step * self.batch..(step + 1) * self.batch;
        self.last = places.map(|place| self.epochs.at(place)).collect();
        let picked = &self.last;
        let rows_of = |pair: &usize| [2 * pair, 2 * pair + 1];
        let rows: Vec<Row> = picked
            .iter()
            .flat_map(rows_of)
            .map(|i| self.dataset.rows[i].clone())
            .collect();
        let reference = picked
            .iter()
            .flat_map(rows_of)
            .map(|i| self.reference[i])
            .collect();
        let tokens: usize = rows.iter().map(|row| row.ids.len()).sum();
        let objective = DpoObjective {
            options: self.options.clone(),
            totals: dpo::Totals {
                pairs: picked.len(),
                chosen_tokens: rows.iter().step_by(2).map(Row::scored).sum(),
            },
            reference,
            sums: Default::default(),
        };
        Ok(Window {
            rows,
            goal: Goal::Logp(Box::new(objective)),
            metrics: vec![("num_tokens".into(), tokens as f64)],
        })
    }

    fn name(&self, row: usize) -> Option<String> {
        let pair = self.last[row / 2];
        Some(self.dataset.name(2 * pair + row % 2))
    }
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let pairs = preview.expected("pairs");
    let model = preview.expected("model").model;
    let mut work = estimate::only("model", estimate::same_model(model));
    work.amount = pairs.rows.unwrap_or(0.0) * p.epochs;
    let Some(model) = model else {
        return Ok(work);
    };
    let tokens = pairs.tokens.unwrap_or(0.0).min(p.max_tokens as f64);
    let how = Training {
        rank: p.lora.as_ref().map_or(0, |l| l.rank),
        recompute: exec.recompute,
        reference: false,
        rows: p.batch as f64,
        longest: 2.0 * tokens,
    };
    estimate::device::train(&mut work, preview, &model, &how, &[]);
    let seen = 2.0 * pairs.rows.unwrap_or(0.0) * tokens;
    let frozen = p.lora.is_some();
    work.flop =
        estimate::sample_flop(&model, seen) + estimate::train_flop(&model, frozen, seen * p.epochs);
    Ok(work)
}
