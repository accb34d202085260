//! Logs of inspect_ai (github.com/UKGovernmentBEIS/inspect_ai; written by 0.3.285, log version 2): one JSON file, or a zip with the
//! same in pieces: `header.json`, `samples/ID_epoch_N.json`; of an evaluation that was cut off `_journal/start.json` instead of a header.

use super::file::{self, MOST_BYTES};
use super::unit::{FURTHER, Layout, NO_RESPONSE, Response, Said, TWICE, Unit};
use anyhow::{Context, Result, bail, ensure};
use base::response::{self, Withheld};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zip::ZipArchive;

/// The largest part of a zip, unpacked.
const MOST_PART: u64 = 1 << 30;

#[derive(Deserialize)]
struct Header {
    /// Absent where the evaluation has not ended.
    #[serde(default)]
    status: Option<String>,
    eval: Eval,
    #[serde(default)]
    results: Option<Results>,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Eval {
    model: String,
    task: String,
    /// Two logs of one evaluation that was tried again have the same.
    #[serde(default)]
    task_id: Option<String>,
    #[serde(default)]
    created: Option<String>,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    total_samples: u64,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    message: String,
}

/// What is read of a sample; events and the rest are passed over.
#[derive(Deserialize)]
struct Sample {
    id: Json,
    epoch: u64,
    input: Json,
    #[serde(default)]
    output: Option<Output>,
    #[serde(default)]
    scores: Option<BTreeMap<String, Score>>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Json>>,
    #[serde(default)]
    attachments: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    model: String,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Json,
    #[serde(default)]
    tool_calls: Option<Vec<Json>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    output_tokens: u32,
}

#[derive(Deserialize)]
struct Score {
    value: Json,
    #[serde(default)]
    explanation: Option<String>,
}

/// Whether a JSON file is a log.
pub(crate) fn is_log(value: &Json) -> bool {
    let eval = value.get("eval").and_then(Json::as_object);
    eval.is_some_and(|e| e.contains_key("model") && e.contains_key("task"))
}

/// A log in one file.
pub(crate) fn read_log(path: &Path, mut value: Json) -> Result<Unit> {
    let samples = value.get_mut("samples").map(Json::take);
    let header: Header = serde_json::from_value(value).context("the log's `eval`")?;
    let samples = match samples {
        Some(Json::Array(samples)) => samples,
        Some(Json::Null) | None => vec![],
        Some(_) => bail!("the log's `samples` are no array"),
    };
    let mut parsed = vec![];
    for (i, sample) in samples.into_iter().enumerate() {
        let sample = serde_json::from_value(sample);
        parsed.push(sample.with_context(|| format!("sample {}", i + 1))?);
    }
    unit(path, header, parsed)
}

/// A log in a zip.
pub(crate) fn read_eval(path: &Path) -> Result<Unit> {
    let file = File::open(path)?;
    ensure!(
        file.metadata()?.len() <= MOST_BYTES,
        "the log is larger than 2 GiB"
    );
    let mut archive = ZipArchive::new(file).context("it is no zip")?;
    let names = archive.file_names().map(|name| Ok(name?.into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    let head = ["header.json", "_journal/start.json"];
    let head = head.iter().find(|h| names.iter().any(|n| n == *h));
    let head = head.context("it has neither `header.json` nor `_journal/start.json`")?;
    let header: Header = part(&mut archive, head)?;
    let mut samples = vec![];
    let is_sample = |n: &&String| n.starts_with("samples/") && n.ends_with(".json");
    for name in names.iter().filter(is_sample) {
        samples.push(part(&mut archive, name)?);
    }
    unit(path, header, samples)
}

fn part<T: for<'de> Deserialize<'de>>(archive: &mut ZipArchive<File>, name: &str) -> Result<T> {
    let mut read = || -> Result<T> {
        let part = archive.by_name(name)?;
        ensure!(part.size() <= MOST_PART, "it is larger than 1 GiB");
        let mut bytes = vec![];
        part.take(MOST_PART).read_to_end(&mut bytes)?;
        file::parsed(&file::decoded(bytes)?)
    };
    read().with_context(|| format!("`{name}`"))
}

fn unit(path: &Path, header: Header, mut samples: Vec<Sample>) -> Result<Unit> {
    // In the order in which they were asked, whatever the order in the file.
    let place: BTreeMap<String, usize> = samples
        .iter()
        .rev()
        .enumerate()
        .map(|(i, s)| (key(&s.id), samples.len() - i))
        .collect();
    samples.sort_by_key(|s| (place[&key(&s.id)], s.epoch));
    let mut rows = vec![];
    let mut left_out: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for sample in &samples {
        if !seen.insert((key(&sample.id), sample.epoch)) {
            *left_out.entry(TWICE).or_default() += 1;
            continue;
        }
        let row = row(sample).with_context(|| {
            let id = key(&sample.id);
            format!("sample {id}, epoch {}", sample.epoch)
        })?;
        match row {
            Some(row) => {
                rows.push(row);
                let choices = sample.output.as_ref().map_or(0, |o| o.choices.len());
                if choices > 1 {
                    *left_out.entry(FURTHER).or_default() += choices - 1;
                }
            }
            None => *left_out.entry(NO_RESPONSE).or_default() += 1,
        }
    }
    Ok(Unit {
        notes: notes(&header, samples.len()),
        model: header.eval.model,
        group: header.eval.task,
        left_out,
        evaluation: header.eval.task_id,
        created: header.eval.created.unwrap_or_default(),
        ..Unit::new(Layout::Inspect, path, rows)
    })
}

/// That the evaluation did not end well, or that the log does not hold all of it.
fn notes(header: &Header, samples: usize) -> Vec<String> {
    let mut notes = vec![];
    match header.status.as_deref() {
        Some("success") => {}
        Some(status) => {
            let error = header.error.as_ref().map(|e| e.message.trim());
            let error = error.and_then(|e| e.lines().next()).unwrap_or_default();
            let error: String = error.chars().take(200).collect();
            let error = if error.is_empty() {
                error
            } else {
                format!(": {error}")
            };
            notes.push(format!(
                "its evaluation did not succeed, the status is `{status}`{error}"
            ));
        }
        None => notes.push("its evaluation did not end".into()),
    }
    let total = header.results.as_ref().map_or(0, |r| r.total_samples);
    if (samples as u64) < total {
        notes.push(format!("it holds {samples} of {total} samples"));
    }
    notes
}

fn key(id: &Json) -> String {
    match id {
        Json::String(id) => id.clone(),
        other => other.to_string(),
    }
}

/// Nothing where the model gave no answer.
fn row(sample: &Sample) -> Result<Option<Response>> {
    let output = sample.output.as_ref();
    let Some((output, choice)) = output.and_then(|o| Some((o, o.choices.first()?))) else {
        return Ok(None);
    };
    let attached = |text: &str| -> String {
        let id = text.strip_prefix("attachment://");
        let found = id.and_then(|id| sample.attachments.get(id));
        found.map_or(text, String::as_str).to_string()
    };
    let (reasoning, answer) = parts(&choice.message.content, &attached);
    let metadata = sample.metadata.as_ref();
    let category = metadata
        .and_then(|m| m.get("category"))
        .and_then(Json::as_str);
    let said = |score: &Score| Said {
        words: score
            .explanation
            .as_deref()
            .map(|w| w.chars().take(200).collect()),
        ..Said::of(&score.value)
    };
    let mut scores = BTreeMap::new();
    for (name, score) in sample.scores.iter().flatten() {
        // A scorer that says several things has a name for each.
        for (part, value) in score.value.as_object().into_iter().flatten() {
            scores.insert(format!("{name}.{part}"), Said::of(value));
        }
        if !score.value.is_object() {
            scores.insert(name.clone(), said(score));
        }
    }
    let stopped = choice.stop_reason.as_deref();
    let unfinished = matches!(stopped, Some("max_tokens" | "model_length"));
    let calls = choice.message.tool_calls.as_ref();
    Ok(Some(Response {
        key: key(&sample.id),
        prompt: asked(&sample.input, &attached)?,
        response: match (reasoning.is_empty(), answer.trim().is_empty()) {
            (true, _) => answer,
            // Cut off while it reasoned.
            (false, true) if unfinished => response::unfinished(&reasoning),
            (false, _) => response::join(&reasoning, &answer),
        },
        unfinished,
        withheld: match stopped {
            Some("content_filter") => Some(Withheld::Blocked),
            _ if stopped == Some("tool_calls") || calls.is_some_and(|c| !c.is_empty()) => {
                Some(Withheld::ToolCall)
            }
            _ => None,
        },
        tokens: output.usage.as_ref().map_or(0, |u| u.output_tokens),
        served: Some(output.model.clone()).filter(|m| !m.is_empty()),
        category: category.unwrap_or_default().to_string(),
        labels: BTreeMap::new(),
        scores,
    }))
}

/// Reasoning and text of a message: a text, or parts of several types. What is neither stands as its type in brackets.
fn parts(content: &Json, attached: &dyn Fn(&str) -> String) -> (String, String) {
    let Json::Array(parts) = content else {
        return (
            String::new(),
            attached(content.as_str().unwrap_or_default()),
        );
    };
    let (mut reasoning, mut text) = (vec![], vec![]);
    for part in parts {
        let field = |name: &str| part.get(name).and_then(Json::as_str);
        match field("type") {
            Some("reasoning") => {
                let redacted = part.get("redacted").and_then(Json::as_bool) == Some(true);
                // What is redacted is encrypted; a summary may be there instead.
                let shown = field("reasoning").filter(|r| !redacted && !r.is_empty());
                reasoning.extend(shown.or(field("summary")).map(attached));
            }
            Some("text") => text.push(attached(field("text").unwrap_or(""))),
            other => text.push(format!("[{}]", other.unwrap_or("part"))),
        }
    }
    (reasoning.join("\n\n"), text.join("\n"))
}

/// What was asked: the text, or the one message of the user, or every turn with its role.
fn asked(input: &Json, attached: &dyn Fn(&str) -> String) -> Result<String> {
    if let Json::String(text) = input {
        return Ok(attached(text));
    }
    let turns: Vec<Message> = serde_json::from_value(input.clone()).context("its `input`")?;
    let text = |m: &Message| parts(&m.content, attached).1;
    let users: Vec<&Message> = turns.iter().filter(|m| m.role == "user").collect();
    let answered = turns.iter().any(|m| m.role == "assistant");
    match users.as_slice() {
        [one] if !answered => Ok(text(one)),
        [] => anyhow::bail!("its `input` has no message of a user"),
        _ => {
            let turns = turns.iter().map(|m| format!("{}: {}", m.role, text(m)));
            Ok(turns.collect::<Vec<_>>().join("\n\n"))
        }
    }
}
