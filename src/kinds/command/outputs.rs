//! What a program left, read as the types that it was declared to be, and moved to where it is committed: rows parsed one by one,
//! models and adapters loaded whole. Everything else that lies there is left behind.

use super::ground::Ground;
use super::progress::Curve;
use super::{Delivered, Params};
use crate::models::model_checks;
use crate::training::curve;
use anyhow::{Context, Result, bail, ensure};
use base::bounded::{self, MOST_CONFIG};
use base::rows::{
    self, Completion, Conversation, METRICS, Measured, Metric, Pair, Prompt, ROWS, Score, VALUES,
};
use engine::kind::context::NodeCtx;
use learn::checkpoint;
use learn::peft;
use learn::reward::RewardModel;
use learn::tokenizer;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The longest row, in bytes.
const MOST_ROW: u64 = 64 << 20;

/// The longest file of metrics.
const MOST_METRICS: u64 = 64 << 20;

/// Checks every output and moves it to its place.
pub fn take(ctx: &NodeCtx, p: &Params, ground: &Ground, curve: &Curve) -> Result<()> {
    for output in &p.outputs {
        let name = output.word();
        let (from, to) = (&ground.outputs[name], ctx.output(name));
        let taken = match output {
            Delivered::Prompts => rows_file::<Prompt>(from, &to, ground),
            Delivered::Conversations => rows_file::<Conversation>(from, &to, ground),
            Delivered::Pairs => rows_file::<Pair>(from, &to, ground),
            Delivered::Completions => rows_file::<Completion>(from, &to, ground),
            Delivered::Scores => rows_file::<Score>(from, &to, ground),
            Delivered::Metrics => metrics(from, &to, ground, curve),
            Delivered::Model => model(from, &to, ground),
            Delivered::RewardModel => {
                let parameters = RewardModel::load(from).map(|m| m.weights.data.len());
                parameters.and_then(|n| model_files(from, &to, ground, n))
            }
            Delivered::Adapter => adapter(ctx, from, &to),
        };
        let said = taken.with_context(|| format!("output `{name}`"))?;
        ctx.log(&format!("{name}: {said}"));
    }
    Ok(())
}

fn rows_file<T: DeserializeOwned>(from: &Path, to: &Path, ground: &Ground) -> Result<String> {
    ensure!(
        from.is_file(),
        "the program did not write {}",
        from.display()
    );
    let rows = read::<T>(from, true)?;
    keep(from, &to.join(ROWS), ground)?;
    Ok(format!("{rows} rows"))
}

/// Parses every line, holding one; returns how many. Errors name the line and the field.
fn read<T: DeserializeOwned>(path: &Path, named: bool) -> Result<usize> {
    let file = File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut ids = BTreeSet::new();
    let mut line = String::new();
    let mut number = 0;
    loop {
        line.clear();
        let read = reader.by_ref().take(MOST_ROW).read_line(&mut line);
        let place = || format!("line {}", number + 1);
        if read.with_context(place)? == 0 {
            break;
        }
        ensure!(
            (line.len() as u64) < MOST_ROW,
            "{}: it is too long",
            place()
        );
        let row: Result<T, _> = serde_json::from_str(&line);
        drop(
            row.map_err(|e| without_line(&e))
                .map_err(anyhow::Error::msg)
                .with_context(place)?,
        );
        if named {
            let Id { id } = serde_json::from_str(&line).with_context(place)?;
            let hash = *blake3::hash(id.as_bytes()).as_bytes();
            ensure!(
                ids.insert(hash),
                "{}: the id `{id}` was there before",
                place()
            );
        }
        number += 1;
    }
    ensure!(number > 0, "{} has no rows", path.display());
    Ok(number)
}

#[derive(serde::Deserialize)]
struct Id {
    id: String,
}

/// The line is ours: to the parser every row is its first.
fn without_line(error: &serde_json::Error) -> String {
    error
        .to_string()
        .replace(" at line 1 column ", " at column ")
}

/// Metrics that it wrote, or the last of its curve; and the curve.
fn metrics(from: &Path, to: &Path, ground: &Ground, said: &Curve) -> Result<String> {
    let steps = &said.steps;
    let mut told = String::new();
    if from.is_file() {
        let text = bounded::read(from, MOST_METRICS)
            .with_context(|| format!("failed to read {}", from.display()))?;
        let metrics: rows::Metrics =
            serde_json::from_slice(&text).with_context(|| format!("in {}", from.display()))?;
        let mut names = BTreeSet::new();
        for metric in &metrics.metrics {
            ensure!(
                names.insert(&metric.name),
                "`{}` is there twice",
                metric.name
            );
        }
        ensure!(
            !metrics.metrics.is_empty(),
            "{} has no metric",
            from.display()
        );
        told += &format!("{} metrics", metrics.metrics.len());
        keep(from, &to.join(METRICS), ground)?;
        let values = from.with_file_name(VALUES);
        if values.is_file() {
            let rows = read::<Measured>(&values, true).context(VALUES)?;
            told += &format!(", {rows} rows of values");
            keep(&values, &to.join(VALUES), ground)?;
        }
    } else {
        let Some((_, last)) = steps.last_key_value() else {
            bail!(
                "the program neither wrote {} nor printed a step with numbers",
                from.display()
            );
        };
        let last = last.iter().map(|(name, value)| Metric {
            name: format!("last/{name}"),
            value: *value,
            n: 1,
            interval: None,
            unit: String::new(),
        });
        rows::write_metrics(to, last.collect())?;
        told += "the last of its curve";
    }
    if !steps.is_empty() {
        let mut curve = curve::Curve::default();
        for (step, values) in steps {
            let values: Vec<(String, f64)> = values.iter().map(|(n, v)| (n.clone(), *v)).collect();
            curve.push(*step, &values)?;
        }
        curve.show(to)?;
        curve.save(to)?;
        told += &format!(", {} steps", steps.len());
    }
    Ok(told)
}

/// Files of a model folder that are no weights.
fn is_text(name: &str) -> bool {
    ["config.json", "model.safetensors.index.json"].contains(&name)
        || tokenizer::FILES.contains(&name)
}

fn model(from: &Path, to: &Path, ground: &Ground) -> Result<String> {
    let parameters = model_checks::check_folder(from)?;
    model_files(from, to, ground, parameters)
}

fn model_files(from: &Path, to: &Path, ground: &Ground, parameters: usize) -> Result<String> {
    let names = engine::system::files::names(from)?;
    let is_weights = |n: &str| n.ends_with(".safetensors") && !n.starts_with("adapter_");
    let (taken, left): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|n| is_text(n) || is_weights(n));
    for name in &taken {
        let file = from.join(name);
        if ["config.json", "tokenizer_config.json"].contains(&name.as_str()) {
            without_path(&file)?;
        }
        keep(&file, &to.join(name), ground)?;
    }
    let left = match left.is_empty() {
        true => String::new(),
        false => format!("; left behind: {}", left.join(", ")),
    };
    Ok(format!("{parameters} parameters{left}"))
}

/// Where a model was loaded from is no part of it, and differs from attempt to attempt.
fn without_path(file: &Path) -> Result<()> {
    let place = || format!("in {}", file.display());
    let text = bounded::read(file, MOST_CONFIG).with_context(place)?;
    let mut object: Map<String, Value> = serde_json::from_slice(&text).with_context(place)?;
    let named = ["_name_or_path", "name_or_path"];
    let before = object.len();
    object.retain(|name, _| !named.contains(&name.as_str()));
    if object.len() < before {
        let text = serde_json::to_string_pretty(&object)? + "\n";
        fs::write(file, text).with_context(place)?;
    }
    Ok(())
}

/// Written anew, as PEFT's own file names the folder of its base model.
fn adapter(ctx: &NodeCtx, from: &Path, to: &Path) -> Result<String> {
    let config = checkpoint::load_config(ctx.input("model"))?;
    let adapter = peft::load(from, &config)
        .with_context(|| format!("failed to read the adapter in {}", from.display()))?;
    peft::save(&adapter, to)?;
    Ok(format!(
        "{} parameters, rank {}",
        adapter.data.len(),
        adapter.rank
    ))
}

/// Moves a file to its place. Fails where the value of a secret is in it.
fn keep(from: &Path, to: &Path, ground: &Ground) -> Result<()> {
    let place = || format!("failed to take over {}", from.display());
    if let Some(name) = holds_any(from, &ground.secrets).with_context(place)? {
        bail!("{} holds the value of `{name}`", from.display());
    }
    let meta = fs::symlink_metadata(from).with_context(place)?;
    if meta.is_symlink() {
        return fs::copy(from, to).map(drop).with_context(place);
    }
    fs::rename(from, to).with_context(place)
}

/// Which of the secrets is in a file, read in pieces.
fn holds_any(path: &Path, secrets: &BTreeMap<String, String>) -> std::io::Result<Option<String>> {
    const PIECE: usize = 1 << 20;
    let secret = |value: &String| value.trim().len() >= 6;
    let secrets: Vec<_> = secrets.iter().filter(|(_, value)| secret(value)).collect();
    let Some(longest) = secrets.iter().map(|(_, value)| value.trim().len()).max() else {
        return Ok(None);
    };
    let mut file = File::open(path)?;
    let mut seen: Vec<u8> = vec![];
    loop {
        // The end of the piece before may be the beginning of a secret.
        seen.drain(..seen.len().saturating_sub(longest));
        if file.by_ref().take(PIECE as u64).read_to_end(&mut seen)? == 0 {
            return Ok(None);
        }
        for (name, value) in &secrets {
            let value = value.trim().as_bytes();
            if seen.windows(value.len()).any(|w| w == value) {
                return Ok(Some(name.to_string()));
            }
        }
    }
}
