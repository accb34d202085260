//! Whether a folder looks like an artifact of its type: cheap checks on what comes from elsewhere.

use anyhow::{Context, Result};
use base::rows::{self, METRICS, ROWS};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// No header of a model we know comes near.
const LONGEST_HEADER: u64 = 100 << 20;

/// The name of the file, where a type is a single one.
pub fn file(ty: &str) -> Option<&'static str> {
    match ty {
        "model" | "reward-model" | "adapter" => None,
        "metrics" => Some(METRICS),
        _ => Some(ROWS),
    }
}

/// What is wrong with it, if anything.
pub fn problem(ty: &str, dir: &Path) -> Result<Option<String>> {
    let found = match ty {
        "model" | "reward-model" => weights(dir, "config.json", None)?,
        "adapter" => weights(
            dir,
            "adapter_config.json",
            Some("adapter_model.safetensors"),
        )?,
        "metrics" => rows::read_metrics(dir).err().map(|e| words(&e, dir)),
        "prompts" => unreadable::<rows::Prompt>(dir),
        "conversations" => unreadable::<rows::Conversation>(dir),
        "pairs" => unreadable::<rows::Pair>(dir),
        "completions" => unreadable::<rows::Completion>(dir),
        _ => unreadable::<Map<String, Value>>(dir),
    };
    Ok(found)
}

fn unreadable<T: DeserializeOwned>(dir: &Path) -> Option<String> {
    rows::read_rows::<T>(dir).err().map(|e| words(&e, dir))
}

/// The copy's place says nothing to who made the original.
fn words(error: &anyhow::Error, dir: &Path) -> String {
    format!("{error:#}").replace(&format!("{}/", dir.display()), "")
}

fn weights(dir: &Path, config: &str, wanted: Option<&str>) -> Result<Option<String>> {
    let Ok(text) = fs::read(dir.join(config)) else {
        return Ok(Some(format!("it has no `{config}`")));
    };
    if serde_json::from_slice::<Map<String, Value>>(&text).is_err() {
        return Ok(Some(format!("`{config}` is not a JSON object")));
    }
    let mut tensors = 0;
    for name in crate::system::files::names(dir)? {
        if name.ends_with(".safetensors") && wanted.is_none_or(|wanted| name == wanted) {
            tensors += 1;
            let broken = tensors_problem(&dir.join(&name));
            if let Some(problem) = broken.with_context(|| format!("reading {name}"))? {
                return Ok(Some(format!("`{name}` {problem}")));
            }
        }
    }
    let name = wanted.unwrap_or("*.safetensors");
    Ok((tensors == 0).then(|| format!("it has no `{name}`")))
}

/// The header of a safetensors file against the file's length.
fn tensors_problem(path: &Path) -> Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = [0; 8];
    if length < 8 {
        return Ok(Some("is too short".into()));
    }
    file.read_exact(&mut head)?;
    let header = u64::from_le_bytes(head);
    if header > LONGEST_HEADER || header > length - 8 {
        return Ok(Some("has a header longer than the file".into()));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text)?;
    let Ok(tensors) = serde_json::from_slice::<Map<String, Value>>(&text) else {
        return Ok(Some("has a header that cannot be read".into()));
    };
    let ends = tensors
        .values()
        .filter_map(|t| t["data_offsets"][1].as_u64());
    let end = ends.max().unwrap_or(0);
    Ok((end != length - 8 - header)
        .then(|| "is cut short or has more bytes than its header says".into()))
}
