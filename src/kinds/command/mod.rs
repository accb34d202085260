//! Any program as a node: a trainer of one's own, TRL, verl, an evaluation harness. What it is made of is declared and becomes its
//! key; what it leaves is read as the type it was declared to be, or it is no artifact.

mod outputs;
mod params;
mod placeholders;
mod preflight;
mod program;
mod progress;
mod sandbox;

use crate::shared::measure;
use anyhow::{Context, Result, anyhow, bail};
use base::params::{ParamSet, ParamValue, Problem};
use base::value::Values;
use engine::kind::context::{Interrupted, NodeCtx, Transient};
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type};
use engine::system::strays;
use params::{Exec, Params};
pub use preflight::missing;
use program::End;
pub use progress::{Said, said};
use sandbox::Sandbox;
use std::collections::BTreeSet;

const ABOUT: &str = "\
The program runs in a scratch folder of its own, with these placeholders in `command` and `env`: `{in.PORT}` is an input (rows and \
metrics are a file, models and adapters a folder), `{out.NAME}` where an output is to be written (the same), `{file.NAME}` or \
`{file.0}` a copy of one of `files`, `{values}` the table `values` as a JSON file, `{values.NAME}` one of them, `{job}` a JSON file \
with all of that (also PIPE_JOB), `{python}` the interpreter, `{threads}` how many, `{resume}` a folder that later attempts find as \
it was left. `{{` is a brace. \
Its environment is PATH, LD_LIBRARY_PATH, CUDA_VISIBLE_DEVICES and certificates as they are here, HOME and TMPDIR of the attempt, \
LANG, TZ, PYTHONHASHSEED, thread counts, then `env` and `pass_env`; nothing else. \
What it writes is logged; lines such as `{\"step\": 3, \"of\": 100, \"loss\": 1.2}`, `PIPE step=3 of=100 loss=1.2`, `3/100` and \
those of tqdm are progress, and the numbers beside a step its curve. Exit status 75 asks for another try. \
Rows are parsed, models and adapters loaded whole before anything is kept; whatever else lies there is left behind. Metrics that \
are not written are the last of the curve. \
The key holds command, files by content, values, env and outputs; not what is installed, which `files` may lock and `version` \
may name.";

macro_rules! port {
    ($name:literal, $ty:ident, $doc:literal) => {
        Port::required_where(
            $name,
            Type::$ty,
            $doc,
            concat!("where `{in.", $name, "}` is written"),
            |values| placeholders::mentions(values, concat!("in.", $name)),
        )
    };
}

macro_rules! output {
    ($name:literal, $ty:ident, $doc:literal) => {
        Output::only_with(
            $name,
            Type::$ty,
            $doc,
            concat!("write `", $name, "` into `outputs`"),
            |values| delivers(values, Type::$ty),
        )
    };
}

/// A program may write what it likes; these have a meaning here.
const METRICS: [MetricInfo; measure::EVALUATION.len() + 1] =
    measure::beside_evaluation(&[measure::LAST]);

pub const KIND: Kind = Kind {
    name: "exec",
    revision: 1,
    role: Role::Runs,
    summary: "runs a program: a trainer of one's own, TRL, an evaluation harness",
    about: ABOUT,
    example: r#"
[node.sft]
kind = "exec"
in = { model = "base", conversations = "traces" }
command = ["{python}", "{file.0}", "--lr", "{values.lr}", "--job", "{job}"]
files = ["trl_sft.py"]
values = { lr = 1e-3, epochs = 3 }
outputs = ["model", "metrics"]
"#,
    inputs: &[
        port!("prompts", Prompts, "as a file of rows"),
        port!("conversations", Conversations, "as a file of rows"),
        port!("pairs", Pairs, "as a file of rows"),
        port!("completions", Completions, "as a file of rows"),
        port!("scores", Scores, "as a file of rows"),
        Port::required_where(
            "model",
            Type::Model,
            "as a folder",
            "where `{in.model}` is written or an adapter is delivered",
            |values| placeholders::mentions(values, "in.model") || delivers(values, Type::Adapter),
        ),
        port!("adapter", Adapter, "as a folder"),
        port!("reward-model", RewardModel, "as a folder"),
        port!("cases", Cases, "as a file"),
        port!("attack-log", AttackLog, "as a file of rows"),
        port!("archives", Archives, "as a folder"),
        port!("states", States, "as a folder"),
        port!("metrics", Metrics, "as a file"),
        port!(
            "prompts-2",
            Prompts,
            "more prompts; of a program that trains, those that it evaluates with and does not learn from"
        )
        .only_measured(),
        port!(
            "model-2",
            Model,
            "another model, such as a reference or a judge"
        ),
    ],
    outputs: &[
        output!("prompts", Prompts, "rows that it wrote"),
        output!("conversations", Conversations, "rows that it wrote"),
        output!("pairs", Pairs, "rows that it wrote"),
        output!("completions", Completions, "rows that it wrote"),
        output!("scores", Scores, "rows that it wrote"),
        output!("model", Model, "the model files of a folder that it wrote"),
        output!("adapter", Adapter, "the adapter in a folder that it wrote"),
        output!(
            "reward-model",
            RewardModel,
            "the model files of a folder that it wrote"
        ),
        output!("cases", Cases, "the file of test cases that it wrote"),
        output!("attack-log", AttackLog, "rows that it wrote"),
        output!(
            "archives",
            Archives,
            "the .json files of a folder that it wrote, a grid of `prompt` and `score` each"
        ),
        output!(
            "states",
            States,
            "hidden states in a folder that it wrote: `states.safetensors` with a tensor `layer.N` [prompts, hidden] a layer, and the \
             prompts in `rows.jsonl`"
        ),
        output!(
            "metrics",
            Metrics,
            "what it wrote, else the last of its curve; the curve as in training"
        ),
    ],
    metrics: &METRICS,
    params: Params::specs,
    exec: Exec::specs,
    check: Some(check),
    needs,
    estimate: Some(estimate),
    preflight: Some(missing),
    run,
    ..Kind::DEFAULTS
};

/// All threads, and the devices that are named.
fn needs(values: &Values) -> Needs {
    let named = Exec::read(values).ok().and_then(|exec| exec.gpus);
    Needs {
        gpus: named.map_or(0, |list| devices(&list)),
        ..Needs::ALL_THREADS
    }
}

/// How many GPUs a list as that of CUDA_VISIBLE_DEVICES names: a program sees none from the first that is no device on, and parts of
/// a GPU (`MIG-…`) are one, as they may be of the same.
fn devices(list: &str) -> usize {
    let seen = list.split(',').map(str::trim);
    let seen: BTreeSet<&str> = seen
        .take_while(|device| !device.is_empty() && !device.starts_with('-'))
        .map(|device| match device.starts_with("MIG-") {
            true => "MIG",
            false => device,
        })
        .collect();
    seen.len()
}

/// Whether these parameters ask for an output of that type; reads nothing else.
fn delivers(values: &Values, ty: Type) -> bool {
    let outputs = Vec::<Type>::read(values.get("outputs"));
    outputs.is_ok_and(|outputs| outputs.contains(&ty))
}

/// Variables that the engine knows a node's processes by, or that this kind sets by what it is told elsewhere.
const RESERVED: [&str; 3] = [strays::MARK, "PIPE_JOB", "CUDA_VISIBLE_DEVICES"];

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    let problem = |path: String, message: String, help: Option<String>| Problem {
        path,
        message,
        help,
    };
    if let Ok(p) = Params::read(values) {
        found.extend(placeholders::problems(&p, &KIND));
        if p.command.first().is_none_or(|program| program.is_empty()) {
            let message = "`command` names no program".into();
            found.push(problem("command".into(), message, None));
        }
        if p.outputs.is_empty() {
            let help = "what it makes has to be something; of an evaluation, `metrics`";
            let message = "`outputs` is empty".into();
            found.push(problem("outputs".into(), message, Some(help.into())));
        }
        let mut seen = BTreeSet::new();
        for (i, output) in p.outputs.iter().enumerate() {
            if !seen.insert(output) {
                let message = format!("`{output}` is in `outputs` twice");
                found.push(problem(format!("outputs.{i}"), message, None));
            }
        }
        let mut seen = BTreeSet::new();
        for (i, name) in placeholders::names(&p.files).into_iter().enumerate() {
            if !seen.insert(name.clone()) {
                let message = format!("two of `files` are called `{name}`");
                let help = "they lie side by side where the program runs".to_string();
                found.push(problem(format!("files.{i}"), message, Some(help)));
            }
        }
        for name in p.env.keys() {
            found.extend(variable(name).map(|m| problem(format!("env.{name}"), m, None)));
        }
        if let Ok(e) = Exec::read(values) {
            for (i, name) in e.pass_env.iter().enumerate() {
                let twice = format!("`{name}` is in `env` as well, which is identity");
                let twice = p.env.contains_key(name).then_some(twice);
                let wrong = variable(name).or(twice);
                found.extend(wrong.map(|m| problem(format!("pass_env.{i}"), m, None)));
            }
        }
    }
    found
}

/// What is wrong with the name of a variable, if anything.
fn variable(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Some(format!("`{name}` is no name of an environment variable"));
    }
    RESERVED
        .contains(&name)
        .then(|| format!("`{name}` is not to be set: the engine does"))
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    if let Some(list) = &exec.gpus {
        ctx.take_cards(list)?;
    }
    let sandbox = Sandbox::create(ctx, KIND.inputs, &p, &exec)?;
    let done = run_in(ctx, &p, &exec, &sandbox);
    if done.is_err() {
        sandbox.tidy();
    }
    done
}

fn run_in(ctx: &NodeCtx, p: &Params, exec: &Exec, sandbox: &Sandbox) -> Result<()> {
    let report = progress::Report::new(ctx, p, sandbox)?;
    let end = program::run(ctx, sandbox, &report, exec)?;
    let curve = report.finish();
    let shown = sandbox.shown();
    match end {
        End::Stopped => return Err(Interrupted.into()),
        End::TimedOut(seconds) => {
            bail!("{shown} was stopped after `timeout_seconds` = {seconds}");
        }
        End::Ended(status) => {
            if let Some(complaint) = program::complaint(status, curve.last_words()) {
                let error = anyhow!("{shown} {complaint}");
                return Err(match status.code() {
                    Some(program::TRY_AGAIN) => Transient(error).into(),
                    _ => error,
                });
            }
        }
    }
    outputs::take(ctx, p, sandbox, &curve).with_context(|| shown.to_string())
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    // What it does nobody knows; what it gives is most likely as large as what it takes.
    let mut work = Work::default();
    for output in KIND.outputs {
        work.outputs
            .insert(output.name, preview.expected(output.name));
    }
    Ok(work)
}
