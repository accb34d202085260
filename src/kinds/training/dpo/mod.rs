//! Preference optimisation on pairs of answers: DPO and its kin (`learn/objective/dpo.rs` has the formulas).
//!
//! The reference is the model it begins as. Its log-probabilities are computed once, before the first step, and kept with
//! the resume state, so that training holds one model. The defaults are those of TARS's DPO baseline (arXiv 2507.00971):
//! RPO with beta 0.01 and weight 3, learning rate 3e-4, batch 16, 3 epochs. Whether that baseline trained all parameters
//! is not published; the RPO paper's own learning rate is 7e-7.

mod dataset;

use crate::shared::ahead::{self, Training};
use crate::shared::bounds;
use crate::shared::model_io::{self, Model};
use crate::training::lora::{self, Lora};
use crate::training::{self, Epochs, Guards, LrSchedule, Watcher};
use anyhow::Result;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, Pair};
use base::setup::Acts;
use base::tokens::Tokens;
use base::value::Values;
use base::{choice, params};
use dataset::{Dataset, reference};
use engine::kind::{Cpu, Kind, Output, Port, Type};
use engine::kind::estimate::Look;
use engine::kind::estimate::{Ahead, Outlook};
use engine::kind::context::NodeCtx;
use learn::adapter::Net;
use learn::decoder::Workspace;
use learn::objective::dpo::{self, DpoWindow};
use learn::optim::{AdamW, Schedule};
use learn::tokenizer::Tokenizer;
use learn::train::{self, Feed, Goal, Row, Settings, Window};

choice! {
    /// What a pair loses.
    pub enum Loss {
        Sigmoid = "sigmoid",
        Cdpo = "cdpo",
        Robust = "robust",
        Ipo = "ipo",
        SigmoidNorm = "sigmoid-norm",
    }
}
choice! {
    /// Over what the chosen answers' negative log-probability is a mean.
    pub enum NllMean { Pair = "pair", Token = "token" }
}

const ADDED: Acts = Acts::only("where `nll_coefficient` is above 0", |s| {
    s.exceeds("nll_coefficient", 0.0)
});

params! {
    pub struct Params {
        /// `sigmoid` is DPO, `cdpo` and `robust` assume wrong labels, `ipo` regresses to a margin, `sigmoid-norm` compares
        /// log-probabilities per token.
        loss: Loss = Loss::Sigmoid;
        /// How strongly the reference holds: rewards are beta times the log-ratio to it.
        beta: f64 = 0.01, in bounds::BETA;
        /// Share of pairs whose label is taken to be wrong; `cdpo` and `robust` only.
        label_smoothing: f64 = 0.0, in bounds::SMOOTHING;
        /// Weight of the chosen answers' negative log-probability per token: above 0, sigmoid is RPO.
        nll_coefficient: f64 = 3.0, in bounds::NLL;
        /// Mean over a pair's tokens and then over pairs (`pair`), or over all tokens of the step (`token`).
        nll_mean: NllMean = NllMean::Pair, if ADDED;
        /// Peak learning rate.
        lr: f64 = 3e-4, in bounds::LR;
        /// Passes over the pairs.
        epochs: f64 = 3.0, in bounds::EPOCHS;
        /// Pairs an optimizer step.
        batch: usize = 16, in bounds::BATCH;
        /// How the learning rate goes after warm-up.
        schedule: LrSchedule = LrSchedule::Constant;
        /// Share of the steps in which the learning rate rises linearly.
        warmup: f64 = 0.0, in bounds::SHARE;
        /// AdamW's decoupled weight decay; norms and biases have none.
        weight_decay: f64 = 0.01, in bounds::DECAY;
        /// Global gradient norm that is clipped to.
        grad_clip: f64 = 1.0, in bounds::GRAD_CLIP;
        /// Pairs with an answer that is longer, prompt included, are dropped and counted, never cut.
        max_tokens: usize = 4096, in bounds::TOKENS;
        /// Seed of the order.
        seed: u64 = 0, in bounds::SEED;
    }
    with { lora: Lora }
}

params! {
    pub struct Exec {
        /// Steps between two checkpoints.
        checkpoint_every: u64 = 100, in bounds::EVERY;
        /// Computes blocks again in the backward pass instead of keeping what they computed: less memory, more time.
        recompute: bool = false;
    }
    with { guards: Guards }
}

pub const KIND: Kind = Kind {
    name: "dpo",
    revision: 2,
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
    params: Params::specs,
    exec: Exec::specs,
    check: Some(check),
    cpu: |_| Cpu::All,
    tokens: Some(tokens),
    outlook: Some(outlook),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let Ok(p) = Params::read(values) {
        p.lora.problems(&mut found);
        let smoothing = p.label_smoothing;
        if smoothing != 0.0 && !matches!(p.loss, Loss::Cdpo | Loss::Robust) {
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
    let reference = reference(ctx, &model.weights, &dataset)?;
    let n = dataset.rows.len() / 2;
    let steps = ((n as f64 * p.epochs / p.batch as f64).round() as u64).max(1);
    let settings = Settings {
        schedule: Schedule {
            shape: p.schedule.into(),
            lr: p.lr,
            warmup: (steps as f64 * p.warmup).round() as u64,
            steps,
        },
        adamw: AdamW {
            decay: p.weight_decay,
            ..AdamW::default()
        },
        grad_clip: p.grad_clip,
        temperature: 1.0,
        keep: training::keep(exec.recompute),
    };
    let mut state = p.lora.state(model.weights, Seed::new(p.seed));
    let (every, limits) = (exec.checkpoint_every, exec.guards.limits());
    let shown = &["loss", "rewards/margins"];
    let mut watcher = Watcher::start(ctx, &mut state, steps, every, limits, shown)?;
    let mut feed = PairFeed {
        dataset: &dataset,
        last: vec![],
        reference: &reference,
        options: options(&p),
        batch: p.batch as u64,
        epochs: Epochs::new(n, Seed::new(p.seed).child("order")),
    };
    let end = train::train(&mut state, &mut feed, &settings, &mut watcher);
    watcher.end(&state, end)?;
    watcher.finish(state, ctx.input("model"), dataset.metrics(pairs.len()))
}

fn tokens(look: &Look) -> Result<Tokens> {
    let p: Params = look.params()?;
    let tokenizer = Tokenizer::load(look.input("model"))?;
    let pairs: Vec<Pair> = rows::read_rows(look.input("pairs"))?;
    let dataset = Dataset::new(&tokenizer, &pairs, p.max_tokens)?;
    dataset.tokens(&tokenizer, p.max_tokens, look.most)
}

fn options(p: &Params) -> dpo::Options {
    dpo::Options {
        loss: match p.loss {
            Loss::Sigmoid => dpo::Loss::Sigmoid,
            Loss::Cdpo => dpo::Loss::Cdpo(p.label_smoothing),
            Loss::Robust => dpo::Loss::Robust(p.label_smoothing),
            Loss::Ipo => dpo::Loss::Ipo,
            Loss::SigmoidNorm => dpo::Loss::SigmoidNorm,
        },
        beta: p.beta,
        nll: p.nll_coefficient,
        anchor: match p.nll_mean {
            NllMean::Pair => dpo::Anchor::Pair,
            NllMean::Token => dpo::Anchor::Token,
        },
    }
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
    fn window<'a>(&'a mut self, step: u64, _: Net, _: &mut Workspace) -> Result<Window<'a>> {
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
        let objective = DpoWindow {
            options: self.options,
            window: dpo::Window {
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

fn outlook(ahead: &Ahead) -> Result<Outlook> {
    let p: Params = ahead.params()?;
    let exec: Exec = ahead.exec()?;
    let pairs = ahead.input("pairs");
    let model = ahead.input("model").model;
    let mut outlook = ahead::only("model", ahead::same_model(model));
    let Some(model) = model else {
        return Ok(outlook);
    };
    let tokens = pairs.tokens.unwrap_or(0.0).min(p.max_tokens as f64);
    outlook.memory = ahead::train_memory(
        &model,
        &Training {
            rank: p.lora.lora_rank,
            recompute: exec.recompute,
            reference: false,
            longest: 2.0 * tokens,
        },
    );
    let seen = 2.0 * pairs.rows.unwrap_or(0.0) * tokens;
    let frozen = p.lora.lora_rank > 0;
    outlook.flop =
        ahead::sample_flop(&model, seen) + ahead::train_flop(&model, frozen, seen * p.epochs);
    Ok(outlook)
}
