//! Circuit breakers by representation rerouting: a baseline that bends hidden states of harmful text away.

use crate::shared::bounds;
use crate::shared::devices;
use crate::shared::estimate::{self, Training};
use crate::shared::measure;
use crate::shared::model_io::{self, Model};
use crate::training::{self, Epochs, Examples, Guards, Watcher};
use anyhow::{Context, Result, ensure};
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, Completion, Message, Metric};
use base::text::count;
use base::tokens::Tokens;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type};
use learn::adapter::{Adapter, Linear, Options};
use learn::batch::Row;
use learn::learner::Learner;
use learn::objective::Goal;
use learn::objective::rerouting::{self, Divisor, Rerouting};
use learn::optim::Optim;
use learn::tokenizer::Tokenizer;
use learn::train::{self, Feed, Hyperparameters, Window};

params! {
    /// The adapters, on all linear layers up to the last rerouted block.
    pub struct Lora {
        /// Rank of the adapters.
        rank: usize = 16, in bounds::RANK;
        /// Their scale is alpha / rank.
        alpha: f64 = 16.0, in bounds::ALPHA;
        /// Standard deviation of the adapters' B at the beginning. At 0 both terms have no slope at all: the release leaves
        /// that point by dropout, which is not here.
        initial_sd: f64 = 0.01, in bounds::SPREAD;
    }
}

params! {
    pub struct Params {
        /// States that are rerouted, as the outputs of these blocks (counted from 1).
        layers: Vec<usize>, in bounds::BLOCKS;
        /// Size of both loss terms.
        alpha: f64 = 10.0, in bounds::ALPHA;
        /// Divides the cosines by tokens and layers (`released`), or by tokens alone (`tokens`), as the paper writes it.
        divisor: Divisor = Divisor::Released;
        /// Optimizer steps.
        steps: u64 = 150, in bounds::STEPS;
        /// Harmful completions a step, and as many to retain.
        batch: usize = 16, in bounds::BATCH;
        /// Longer completions are dropped and counted, never cut.
        max_tokens: usize = 1024, in bounds::TOKENS;
        /// Trains with the blocks up to the last rerouted one only, as the release does; the later ones are left as they are.
        drop_later_blocks: bool = true;
        /// Seed of the order and of the adapter.
        seed: u64 = 0, in bounds::SEED;
    }
    with { optim: Optim { lr = 1e-4, weight_decay = 0.0 } }
    blocks { lora: Lora }
}

params! {
    pub struct Exec {
        /// Steps between two checkpoints.
        checkpoint_every: u64 = 50, in bounds::EVERY;
        /// Computes blocks again in the backward pass instead of keeping what they computed: less memory, more time.
        recompute: bool = false;
    }
    blocks { guard: Guards }
}

/// `AS_SAMPLED` of the rows of one port.
const AS_SAMPLED_BY_PORT: MetricInfo = MetricInfo::plain(
    "template/as_sampled/*",
    "completions",
    "trained turn by turn, as sampled, *",
);

pub const KIND: Kind = Kind {
    name: "rerouting",
    revision: 2,
    role: Role::Trains,
    summary: "circuit breakers: an adapter that reroutes the representations of harmful text",
    about: "Trains adapters on all linear layers up to the last rerouted block, so that hidden states of harmful completions lose \
            their direction while those of the retain set stay (Zou et al. 2024). The model with its adapter off is the \
            frozen one. Loss and schedule are the release's, except that padding does not count in the retain mean and \
            that the adapters begin with a little noise instead of dropout.",
    example: r#"
[node.breaker]
kind = "rerouting"
in = { model = "base", harmful = "harmful-answers", retain = "harmless-answers" }
layers = [2]
"#,
    inputs: &[
        Port::required(
            "model",
            Type::Model,
            "where it begins, and what is retained",
        ),
        Port::required(
            "harmful",
            Type::Completions,
            "prompts with harmful responses: what is rerouted",
        ),
        Port::required(
            "retain",
            Type::Completions,
            "prompts with good responses: what has to stay",
        ),
    ],
    outputs: &[
        Output::always("model", Type::Model, "the model with the adapter folded in"),
        Output::always("adapter", Type::Adapter, "the adapter as a PEFT folder"),
        Output::always(
            "metrics",
            Type::Metrics,
            "last values; every step in `curve.jsonl` and in an event file for TensorBoard",
        ),
    ],
    metrics: &[AS_SAMPLED_BY_PORT, measure::LAST],
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

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let model = preview.expected("model").model;
    let mut work = estimate::only("model", estimate::same_model(model));
    work.amount = p.steps as f64 * p.batch as f64;
    let Some(model) = model else {
        return Ok(work);
    };
    let longest = ["harmful", "retain"].map(|port| preview.expected(port).tokens);
    let longest = longest.into_iter().flatten().fold(0.0, f64::max);
    let how = Training {
        rank: p.lora.rank,
        recompute: exec.recompute,
        reference: false,
        rows: 2.0 * p.batch as f64,
        longest: (estimate::PROMPT + longest).min(p.max_tokens as f64),
    };
    let last = p.layers.iter().max().map_or(0.0, |last| *last as f64);
    let blocks = match p.drop_later_blocks {
        true => last.min(model.layers),
        false => model.layers,
    };
    estimate::device::reroute(&mut work, preview, &model, &how, blocks);
    Ok(work)
}

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let Ok(p) = Params::read(values)
        && (p.layers.is_empty() || p.layers.contains(&0))
    {
        found.push(Problem {
            path: "layers".into(),
            message: "`layers` names the blocks whose outputs are rerouted, counted from 1".into(),
            help: Some("for example layers = [10, 20]".into()),
        });
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let model = Model::load(ctx.input("model"))?;
    let blocks = model.weights.config.layers;
    let last = *p.layers.iter().max().expect("`layers` was checked");
    ensure!(
        last <= blocks,
        "`layers` names block {last}, the model has {blocks}"
    );
    let mut metrics = vec![];
    let mut set = |port: &str| -> Result<(Vec<Row>, Epochs)> {
        let read: Vec<Completion> = rows::read_rows(ctx.input(port))?;
        let found = examples(&model.tokenizer, &read, p.max_tokens)?;
        let what = format!("completions of `{port}`");
        found.as_sampled.say(ctx, &what, read.len());
        let counted = found.as_sampled.metric("completions", read.len());
        metrics.extend(counted.map(|metric| Metric {
            name: AS_SAMPLED_BY_PORT.name.replace('*', port),
            ..metric
        }));
        let Examples { rows, long, .. } = found;
        let max = p.max_tokens;
        if long > 0 {
            ctx.log(&format!(
                "dropped {} of `{port}` of more than {max} tokens",
                count(long as u64, "completion", "completions")
            ));
        }
        ensure!(
            !rows.is_empty(),
            "all {long} completions of `{port}` are longer than {max} tokens"
        );
        let what = format!("completions of `{port}`");
        training::say_reach(ctx, &model.weights.config, &what, &rows);
        let epochs = Epochs::new(rows.len(), Seed::new(p.seed).child("order").child(port));
        Ok((rows, epochs))
    };
    let mut feed = Sets {
        harmful: set("harmful")?,
        retain: set("retain")?,
        p: &p,
    };
    let (config, seed) = (&model.weights.config, Seed::new(p.seed).child("lora"));
    let options = Options {
        rank: p.lora.rank,
        alpha: p.lora.alpha,
        rank_stabilised: false,
        targets: Linear::ALL.into(),
        blocks: 0..last,
    };
    let mut adapter = Adapter::new(config, &options, seed);
    adapter.stir(p.lora.initial_sd, seed);
    let trained = match p.drop_later_blocks {
        true => model.weights.first_blocks(last),
        false => model.weights.clone(),
    };
    let mut state = training::begin(ctx, trained, Some(adapter), false, exec.recompute)?;
    let with = Hyperparameters {
        optim: p.optim.clone(),
        steps: p.steps,
        temperature: 1.0,
    };
    let (every, limits) = (exec.checkpoint_every, exec.guard.limits());
    let shown = &["reroute", "retain"];
    let mut watcher = Watcher::start(ctx, &mut state, p.steps, every, limits, shown)?;
    let end = train::train(&mut state, &mut feed, &with, &mut watcher);
    watcher.end(&state, end)?;
    let (_, adapter) = state.learner.finish()?;
    watcher.finish((model.weights, adapter), ctx.input("model"), metrics)
}

/// What is learned from, in the order of the completions.
fn examples(
    tokenizer: &Tokenizer,
    completions: &[Completion],
    max_tokens: usize,
) -> Result<Examples> {
    let mut examples = Examples::default();
    for completion in completions {
        let turns = [
            Message::new("user", &completion.prompt.prompt),
            Message::new("assistant", &completion.response),
        ];
        examples
            .add(tokenizer, &completion.id, &turns, max_tokens)
            .with_context(|| format!("completion {}", completion.id))?;
    }
    Ok(examples)
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let p: Params = preview.params()?;
    let tokenizer = Tokenizer::load(preview.input("model"))?;
    let mut tokens = Tokens::new("completions", preview.most);
    let mut long = 0;
    for port in ["harmful", "retain"] {
        let read: Vec<Completion> = rows::read_rows(preview.input(port))?;
        let examples = examples(&tokenizer, &read, p.max_tokens)?;
        examples.show(&mut tokens, &tokenizer, |id| format!("{id}, {port}"))?;
        let what = format!("completions of `{port}`");
        examples.as_sampled.note(&mut tokens, &what, read.len());
        long += examples.long;
    }
    Ok(tokens.dropped(training::longer(p.max_tokens), long))
}

/// Both sets, every completion of each once an epoch.
struct Sets<'a> {
    harmful: (Vec<Row>, Epochs),
    retain: (Vec<Row>, Epochs),
    p: &'a Params,
}

fn batch((rows, epochs): &mut (Vec<Row>, Epochs), size: usize, step: u64) -> Vec<Row> {
    let places = step * size as u64..(step + 1) * size as u64;
    places.map(|place| rows[epochs.at(place)].clone()).collect()
}

impl Feed for Sets<'_> {
    fn window<'a>(&'a mut self, step: u64, _: &mut dyn Learner) -> Result<Window<'a>> {
        let mut rows = batch(&mut self.harmful, self.p.batch, step);
        let harmful_rows = rows.len();
        rows.extend(batch(&mut self.retain, self.p.batch, step));
        let tokens = |rows: &[Row]| rows.iter().map(|r| r.ids.len()).sum::<usize>();
        let objective = Rerouting {
            layers: self.p.layers.clone(),
            divisor: self.p.divisor,
            coefficients: rerouting::coefficients(self.p.alpha, step, self.p.steps),
            harmful_rows,
            harmful_tokens: tokens(&rows[..harmful_rows]),
            retain_positions: tokens(&rows[harmful_rows..]),
            distances: vec![],
            cosines: 0.0,
        };
        let tokens = tokens(&rows) as f64;
        Ok(Window {
            rows,
            goal: Goal::States(Box::new(objective)),
            metrics: vec![("num_tokens".into(), tokens)],
        })
    }
}
