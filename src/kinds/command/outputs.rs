//! What a program left, checked as the types that it was declared to be (`Type::check`; models and adapters are loaded whole besides),
//! and moved to where it is committed. Everything else that lies there is left behind.

use super::params::Params;
use super::progress::Curve;
use super::sandbox::Sandbox;
use crate::shared::model_checks;
use crate::training::curve;
use anyhow::{Context, Result, bail, ensure};
use base::bounded::{self, MOST_CONFIG};
use base::rows::{self, METRICS, Metric, ROWS, STATES, VALUES};
use base::text::count;
use engine::kind::Type;
use engine::kind::context::NodeCtx;
use learn::checkpoint;
use learn::peft;
use learn::reward::RewardModel;
use learn::tokenizer;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Checks every output and moves it to its place.
pub fn take(ctx: &NodeCtx, p: &Params, sandbox: &Sandbox, curve: &Curve) -> Result<()> {
    for ty in &p.outputs {
        let name = ty.word();
        let (from, to) = (&sandbox.outputs[name], ctx.output(name));
        let taken = match ty {
            Type::Prompts
            | Type::Conversations
            | Type::Pairs
            | Type::Completions
            | Type::Scores
            | Type::AttackLog
            | Type::Cases => one_file(*ty, from, &to, sandbox),
            Type::Metrics => metrics(from, &to, sandbox, curve),
            Type::Model => model_checks::check_folder(from)
                .and_then(|parameters| model_files(from, &to, sandbox, parameters)),
            Type::RewardModel => RewardModel::load(from)
                .and_then(|m| model_files(from, &to, sandbox, m.parameters())),
            Type::Adapter => adapter(ctx, from, &to),
            Type::Archives => archives(from, &to, sandbox),
            Type::States => states(from, &to, sandbox),
        };
        let said = taken.with_context(|| format!("output `{name}`"))?;
        ctx.log(&format!("{name}: {said}"));
    }
    Ok(())
}

/// Of a type that is one file.
fn one_file(ty: Type, from: &Path, to: &Path, sandbox: &Sandbox) -> Result<String> {
    let shown = from.display();
    ensure!(from.is_file(), "the program did not write {shown}");
    let held = ty.check(folder(from))?;
    let name = ty.file().context("the type is a folder, not a file")?;
    keep(from, &to.join(name), sandbox)?;
    Ok(held)
}

/// The folder of an output that is a file.
fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

/// Metrics that it wrote, or the last of its curve; and the curve.
fn metrics(from: &Path, to: &Path, sandbox: &Sandbox, said: &Curve) -> Result<String> {
    let steps = &said.steps;
    let mut held = "the last of its curve".to_string();
    if from.is_file() {
        held = Type::Metrics.check(folder(from))?;
        keep(from, &to.join(METRICS), sandbox)?;
        let values = from.with_file_name(VALUES);
        if values.is_file() {
            keep(&values, &to.join(VALUES), sandbox)?;
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
    }
    if !steps.is_empty() {
        let mut curve = curve::Curve::default();
        for (step, values) in steps {
            let values: Vec<(String, f64)> = values.iter().map(|(n, v)| (n.clone(), *v)).collect();
            curve.push(*step, &values)?;
        }
        curve.show(to)?;
        curve.save(to)?;
        held += &format!(", {}", count(steps.len() as u64, "step", "steps"));
    }
    Ok(held)
}

/// Files of a model folder that are no weights.
fn is_text(name: &str) -> bool {
    ["config.json", "model.safetensors.index.json"].contains(&name)
        || tokenizer::FILES.contains(&name)
}

fn model_files(from: &Path, to: &Path, sandbox: &Sandbox, parameters: usize) -> Result<String> {
    let names = engine::system::files::names(from)?;
    let is_weights = |n: &str| n.ends_with(".safetensors") && !n.starts_with("adapter_");
    let (taken, left): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|n| is_text(n) || is_weights(n));
    for name in &taken {
        let file = from.join(name);
        if ["config.json", "tokenizer_config.json"].contains(&name.as_str()) {
            without_path(&file)?;
        }
        keep(&file, &to.join(name), sandbox)?;
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

fn states(from: &Path, to: &Path, sandbox: &Sandbox) -> Result<String> {
    let held = Type::States.check(from)?;
    for name in [ROWS, STATES] {
        keep(&from.join(name), &to.join(name), sandbox)?;
    }
    Ok(held)
}

fn archives(from: &Path, to: &Path, sandbox: &Sandbox) -> Result<String> {
    let held = Type::Archives.check(from)?;
    let names = engine::system::files::names(from)?;
    for name in names.iter().filter(|name| name.ends_with(".json")) {
        keep(&from.join(name), &to.join(name), sandbox)?;
    }
    Ok(held)
}

/// Moves a file to its place. Fails where the value of a secret is in it.
fn keep(from: &Path, to: &Path, sandbox: &Sandbox) -> Result<()> {
    let place = || format!("failed to take over {}", from.display());
    if let Some(name) = holds_any(from, &sandbox.secrets).with_context(place)? {
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
