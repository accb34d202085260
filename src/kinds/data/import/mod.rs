//! Results that were made elsewhere: folders of HarmBench, logs of inspect_ai and of lm-evaluation-harness, as completions, and what
//! was said of them there as scores. Columns of a table are the business of `completions-file`.

mod file;
pub mod found;
mod harmbench;
mod inspect;
mod lm_eval;
mod made;
mod measures;
mod params;
mod unit;

use crate::shared::measure;
use anyhow::{Result, bail, ensure};
use base::params::ParamSet;
use base::params::Problem;
use base::rows::{self, Metric, Prompt};
use base::text::{count, listed};
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::{Kind, MetricInfo, Output, Port, Role, Type};
use found::Found;
use made::{Known, Made};
pub use params::As;
use params::Params;
use std::collections::{BTreeMap, BTreeSet};
use unit::{Layout, Unit};

/// What it counts of its own.
const COUNTS: &[MetricInfo] = &[
    MetricInfo::plain("files", "files", "files read"),
    MetricInfo::plain("files/other_models", "files", "files of other models"),
    MetricInfo::plain("files/passed_over", "files", "files passed over"),
    MetricInfo::plain("files/not_whole", "files", "files of runs that did not end"),
    MetricInfo::plain("responses", "responses", "responses"),
    MetricInfo::plain("left_out", "responses", "responses left out"),
    MetricInfo::plain("of_known_prompts", "responses", "of prompts at the port"),
];
const METRICS: [MetricInfo; measure::EVALUATION.len() + COUNTS.len()] =
    measure::beside_evaluation(COUNTS);

pub const KIND: Kind = Kind {
    name: "import",
    revision: 5,
    role: Role::Imports,
    summary: "imports completions and scores that HarmBench, inspect_ai or lm-evaluation-harness made",
    about: "Identity is the content, not the path. HarmBench: `completions/MODEL.json` and `results/MODEL.json`, in a folder or in one \
            for each attack. inspect_ai: `.eval` and `.json` logs; every epoch is a sample; reasoning parts become a think block. \
            lm-evaluation-harness: `samples_TASK_TIME.jsonl` of tasks that generate text (`--log_samples`); every repeat is a \
            sample, and the score, which is of them all, stands at the first. Samples without a response, which ended in an error, \
            are left out and counted. Files may be packed (.gz, .zst), have a byte order mark or NaN for a score, which is \
            unscorable then. In a folder a file that cannot be read is passed over; each is named with the reason, and counted in \
            `metrics`. Of several logs of one evaluation that was tried again the fullest is taken. A response that a filter kept \
            back, and one that is a tool call alone, are known as such. \
            Prompts are told apart by their text: the ids are `harmbench-BEHAVIOR#K`, `TASK-ID`, and `TASK-ID#K` where an id has \
            several. The port `prompts` gives class, category, labels and id of the prompts with the same id (or, without `#K`, that of \
            the behaviour); the text stays the one that was sent. `scores` is what `evaluate` would write; whether an answer refuses is \
            told by the string rule of the scorer `refusal`. `pipe import` writes the nodes.",
    example: r#"
[node.published]
kind = "import"
path = "completions/vicuna.json"
results = "results/vicuna.json"
score = "label"
"#,
    inputs: &[Port::optional(
        "prompts",
        Type::Prompts,
        "what is known of the prompts, by id",
    )],
    outputs: &[
        Output::always(
            "completions",
            Type::Completions,
            "one row a response, in the order of the files",
        ),
        Output::only_with(
            "scores",
            Type::Scores,
            "with `score`: one row a response, what was said of it",
            "set `score` to the name of what was measured",
            |values| Params::read(values).is_ok_and(|p| p.score.is_some()),
        ),
        Output::always(
            "metrics",
            Type::Metrics,
            "files taken and passed over, responses, samples left out; with `score`: `defense` and `compliance` by these scores, \
                  also by label, and the values of every prompt",
        ),
    ],
    metrics: &METRICS,
    params: Params::specs,
    check: Some(check),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let Ok(p) = Params::read(values)
        && p.results.is_some()
        && matches!(p.layout, As::Inspect | As::LmEval)
    {
        found.push(Problem {
            path: "results".into(),
            message: "`results` is of HarmBench's layout".into(),
            help: None,
        });
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let (units, mut counts) = units(&p, ctx)?;
    let known = match ctx.input_opt("prompts") {
        Some(folder) => Some(rows::read_rows::<Prompt>(folder)?),
        None => None,
    };
    for unit in &units {
        ctx.log(&unit.summary());
        for remark in unit.remarks() {
            ctx.log(&format!("{}: {remark}", unit.path.display()));
        }
    }
    for line in mixed(&units) {
        ctx.log(&line);
    }
    let made = made(&units, known, &p)?;
    counts.extend(left_out(&units, made.completions.len()));
    if let Some(matched) = made.matched {
        let all = made.completions.len();
        ctx.log(&format!("{matched} of {all} are of prompts at the port"));
        counts.push(counted("of_known_prompts", matched, all, "responses"));
    }
    rows::write_rows(&ctx.output("completions"), &made.completions)?;
    let folder = ctx.output("metrics");
    let Some(scores) = made.scores else {
        return rows::write_metrics(&folder, counts);
    };
    let unscored = scores.iter().filter(|s| !s.scored()).count();
    let good = scores.iter().filter(|s| s.good).count();
    let scored = count((scores.len() - unscored) as u64, "score", "scores");
    ctx.log(&format!("{scored}, {good} good; {unscored} unscorable"));
    rows::write_rows(&ctx.output("scores"), &scores)?;
    let measures = measures::measures(&scores);
    let prompts = made.completions.iter().map(|c| &c.prompt);
    rows::write_values(&folder, &measure::values(prompts, &measures))?;
    let measured = measures.into_iter().map(|m| m.metric);
    rows::write_metrics(&folder, measured.chain(counts).collect())
}

fn counted(name: &str, value: usize, n: usize, unit: &str) -> Metric {
    Metric {
        name: name.into(),
        value: value as f64,
        n,
        interval: None,
        unit: unit.into(),
    }
}

/// How many responses there are, and what was left out on the way to them.
fn left_out(units: &[Unit], responses: usize) -> Vec<Metric> {
    let left: usize = units.iter().map(Unit::left).sum();
    let all = responses + left;
    let unended = units.iter().filter(|u| !u.notes.is_empty()).count();
    vec![
        counted("files/not_whole", unended, units.len(), "files"),
        counted("responses", responses, all, "responses"),
        counted("left_out", left, all, "responses"),
    ]
}

/// Lines about files that are taken as one though they are of different tasks, or of one task several times.
fn mixed(units: &[Unit]) -> Vec<String> {
    let mut groups: BTreeMap<(Layout, &str), usize> = BTreeMap::new();
    for unit in units {
        *groups.entry((unit.layout, &unit.group)).or_default() += 1;
    }
    let mut lines = vec![];
    if groups.len() > 1 {
        let names = listed(groups.keys().map(|(_, group)| *group));
        lines.push(format!(
            "{} tasks are taken as one, told apart by their ids: {names}",
            groups.len()
        ));
    }
    for ((_, group), n) in groups.iter().filter(|(_, n)| **n > 1) {
        lines.push(format!(
            "{n} files are of `{group}`: what they answer to the same prompt counts as samples of it"
        ));
    }
    lines
}

/// What the node is to read, one model's, and how many files that is. Errors: nothing that is known, several models, none of this name.
fn units(p: &Params, ctx: &NodeCtx) -> Result<(Vec<Unit>, Vec<Metric>)> {
    let found = found::look(&p.path, p.layout.layout())?;
    found.summary().iter().for_each(|line| ctx.log(line));
    let Found { mut units, passed } = found;
    let (taken, all) = (units.len(), units.len() + passed.len());
    if let Some(results) = &p.results {
        let [unit] = units.as_mut_slice() else {
            bail!("with `results`, `path` has to be one file of completions");
        };
        found::label(unit, results)?;
    }
    let models: BTreeSet<String> = units.iter().map(|u| u.model.clone()).collect();
    let names = || listed(models.iter().map(String::as_str));
    match &p.model {
        Some(model) => {
            ensure!(
                models.contains(model),
                "{} has nothing of the model `{model}`; the models are {}",
                p.path.display(),
                names()
            );
            units.retain(|u| u.model == *model);
        }
        None => ensure!(
            models.len() == 1,
            "{} has completions of several models; `model` says whose: {}",
            p.path.display(),
            names()
        ),
    }
    let counts = vec![
        counted("files", units.len(), all, "files"),
        counted("files/other_models", taken - units.len(), all, "files"),
        counted("files/passed_over", passed.len(), all, "files"),
    ];
    Ok((units, counts))
}

/// The rows of all units.
fn made(units: &[Unit], known: Option<Vec<Prompt>>, p: &Params) -> Result<Made> {
    let known = known.map(|prompts| {
        let by_id = prompts
            .into_iter()
            .map(|prompt| (prompt.id.clone(), prompt));
        by_id.collect::<BTreeMap<_, _>>()
    });
    let known = known.as_ref().map(Known::new);
    let mut all = Made::new(known.is_some(), p.score.is_some());
    for unit in units {
        let apart = Some(unit.group.as_str()).filter(|g| units.len() > 1 && !g.is_empty());
        all.add(unit, apart, known.as_ref(), p)?;
    }
    ensure!(
        all.matched != Some(0),
        "no prompt at the port `prompts` has the id of a completion, as `{}`",
        all.completions[0].prompt.prompt_id
    );
    Ok(all)
}
