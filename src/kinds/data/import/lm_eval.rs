//! Sample logs of lm-evaluation-harness (github.com/EleutherAI/lm-evaluation-harness; written by 0.4.13 with `--log_samples`):
//! `samples_TASK_TIME.jsonl`, a line a document and filter. Only tasks that generate text have completions.

use super::file::{self, read_json};
use super::unit::{Layout, NoText, Response, Said, Unit};
use anyhow::{Context, Result, anyhow};
use data::cell;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Line {
    doc_id: Json,
    /// `{"gen_args_0": {"arg_0": prompt, "arg_1": {…}}}`; in older versions `[[prompt, {…}]]`.
    arguments: Json,
    /// A list of repeats for every request.
    resps: Json,
    #[serde(default)]
    filter: Option<String>,
    /// Names of members that hold a score each.
    #[serde(default)]
    metrics: Vec<String>,
    #[serde(flatten)]
    rest: Map<String, Json>,
}

/// A log and what `results_*.json` beside it says of the model.
pub fn read(path: &Path) -> Result<Unit> {
    let text = file::text(path)?;
    let mut filters: BTreeMap<String, Vec<Response>> = BTreeMap::new();
    let mut first = None;
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = i + 1;
        let line: Line = file::parsed(line)
            .with_context(|| format!("line {number} is no sample of lm-evaluation-harness"))?;
        let filter = line.filter.clone().unwrap_or_default();
        first.get_or_insert_with(|| filter.clone());
        let rows = rows(&line).map_err(|error| match error.is::<NoText>() {
            true => error,
            false => error.context(format!("line {number}")),
        })?;
        filters.entry(filter).or_default().extend(rows);
    }
    let first = first.context("it has no line")?;
    let (task, time) = named(path);
    let (model, note) = model(path, &time);
    Ok(Unit {
        model,
        notes: note.into_iter().collect(),
        group: task,
        rows: filters[&first].clone(),
        filters,
        ..Unit::new(Layout::LmEval, path, vec![])
    })
}

/// One for every repeat; the scores are at the first.
fn rows(line: &Line) -> Result<Vec<Response>> {
    let first = match &line.arguments {
        Json::Object(arguments) => arguments.get("gen_args_0").and_then(|a| a.get("arg_0")),
        Json::Array(arguments) => arguments.first().and_then(|a| a.get(0)),
        _ => None,
    };
    let prompt = first.context("its `arguments` hold no prompt")?;
    // A chat of an endpoint is a list of one text, which is its messages in JSON.
    let prompt = cell::prompt(prompt).map_err(|e| anyhow!("its prompt is {e:#}"))?;
    let requests = line.resps.as_array();
    let repeats = requests.and_then(|r| r.first()).and_then(Json::as_array);
    let repeats = repeats.context("its `resps` hold no response")?;
    let texts: Option<Vec<&str>> = repeats.iter().map(Json::as_str).collect();
    let texts = texts.filter(|_| requests.is_some_and(|r| r.len() == 1));
    let texts = texts.ok_or(NoText(
        "its `resps` are no texts but likelihoods: a task of multiple choice has no completions to import",
    ))?;
    let scores = line.metrics.iter().filter_map(|name| {
        let value = line.rest.get(name)?;
        Some((name.clone(), Said::of(value)))
    });
    let scores: BTreeMap<String, Said> = scores.collect();
    let key = match &line.doc_id {
        Json::String(id) => id.clone(),
        other => other.to_string(),
    };
    let row = |(i, text): (usize, &&str)| Response {
        key: key.clone(),
        prompt: prompt.clone(),
        response: text.to_string(),
        scores: if i == 0 {
            scores.clone()
        } else {
            BTreeMap::new()
        },
        ..Response::default()
    };
    Ok(texts.iter().enumerate().map(row).collect())
}

/// Task and time of `samples_TASK_TIME.jsonl`.
fn named(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.find(".jsonl").map_or(&*name, |at| &name[..at]);
    let name = stem.strip_prefix("samples_").unwrap_or(stem);
    let is_time = |t: &str| t.contains('T') && t.starts_with(|c: char| c.is_ascii_digit());
    match name.rsplit_once('_') {
        Some((task, time)) if is_time(time) => (task.into(), time.into()),
        _ => (name.into(), String::new()),
    }
}

/// The results that belong to a log.
fn beside(path: &Path, time: &str) -> PathBuf {
    path.with_file_name(format!("results_{time}.json"))
}

/// Where the name of a log's model was looked for.
pub fn results(unit: &Unit) -> Option<PathBuf> {
    let (_, time) = named(&unit.path);
    (unit.layout == Layout::LmEval).then(|| beside(&unit.path, &time))
}

/// The model's name, which the results of the same time say, else that of the folder; and what is to be said of results that cannot be
/// read.
fn model(path: &Path, time: &str) -> (String, Option<String>) {
    let results = beside(path, time);
    let (found, note) = match results.is_file().then(|| read_json(&results)) {
        Some(Ok(found)) => (Some(found), None),
        Some(Err(error)) => (None, Some(format!("whose it is, is not known: {error:#}"))),
        None => (None, None),
    };
    let name = found
        .as_ref()
        .and_then(|r| r.get("model_name"))
        .and_then(Json::as_str);
    let folder = path.parent().and_then(Path::file_name);
    let folder = folder.map(|f| f.to_string_lossy().into_owned());
    let name = name.filter(|n| !n.is_empty()).map(String::from);
    (name.or(folder).unwrap_or_default(), note)
}
