//! Hugging Face folders in and out, and exact training state.
//!
//! Reads `model.safetensors` or shards with an index (f32, bf16, f16); writes f32 with the same bytes for the same
//! weights. Errors name the file and the tensor. Knows no training loop: a state is named flat arrays and a header.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::config::{Config, Head};
use crate::folders;
use crate::tensors::{self, TensorFile, Tensors};
use crate::weights::{Layout, Weights};
use base::bounded::{self, MOST_CONFIG};

/// Weights of a Hugging Face folder (`config.json`, `model.safetensors` or `model.safetensors.index.json`).
///
/// Errors: an unreadable, truncated or unsupported file; a tensor that is missing, has another shape or another type
/// than f32, bf16, f16, or holds a number that is not finite; tensors the decoder does not know, listed.
pub fn load(folder: &Path) -> Result<Weights> {
    let config = load_config(folder)?;
    let files = tensor_files(folder)?;
    fits(&config, &files)?;
    let mut weights = Weights::zeros(config);
    let mut found = BTreeSet::new();
    let mut unexpected = Vec::new();
    let mut spare_head = None;
    for file in files {
        let mut tensors = TensorFile::open(&file)?;
        for name in tensors.names() {
            let place = || format!("{}: tensor {name}", file.display());
            if let Some(param) = weights.layout.clone().param(&name) {
                ensure!(
                    tensors.shape(&name) == param.shape,
                    "{} has shape {:?}, the config asks for {:?}",
                    place(),
                    tensors.shape(&name),
                    param.shape
                );
                let numbers = &mut weights.data[param.range.clone()];
                tensors.read(&name, numbers)?;
                tensors::expect_finite(&file, &name, numbers)?;
                ensure!(found.insert(name.clone()), "{} occurs twice", place());
            } else if name == "lm_head.weight" && weights.config.head == Head::Tied {
                spare_head = Some((tensors.array(&name)?, file.clone()));
            } else if !ignorable(&name) {
                unexpected.push(name);
            }
        }
    }
    unexpected.sort();
    let missing: Vec<&str> = weights
        .layout
        .params
        .iter()
        .map(|param| param.name.as_str())
        .filter(|name| !found.contains(*name))
        .collect();
    ensure!(
        missing != ["lm_head.weight"],
        "{}: lm_head.weight is missing although the config does not tie it to the embeddings; a model that ties them says \
         tie_word_embeddings = true in its config.json, any other folder is not whole",
        folder.display()
    );
    ensure!(
        missing.is_empty(),
        "{}: missing tensors: {}",
        folder.display(),
        missing.join(", ")
    );
    ensure!(
        unexpected.is_empty(),
        "{}: tensors this decoder does not know: {}",
        folder.display(),
        unexpected.join(", ")
    );
    if let Some((table, file)) = spare_head {
        ensure!(
            table == weights.embed(),
            "{}: lm_head.weight differs from the embeddings although the config ties them; a model with a head of its own \
             says tie_word_embeddings = false in its config.json",
            file.display()
        );
    }
    Ok(weights)
}

/// The config of a Hugging Face folder.
pub fn load_config(folder: &Path) -> Result<Config> {
    let path = folder.join("config.json");
    if let Some(problem) = folders::other_case(folder, "config.json").filter(|_| !path.is_file()) {
        bail!("{problem}");
    }
    ensure!(
        path.is_file(),
        "{} has no config.json: {}",
        folder.display(),
        if folder.join("adapter_config.json").is_file() {
            "it is an adapter, not a whole model"
        } else {
            "is it a model folder?"
        }
    );
    if let Some(problem) = folders::pointer(&path) {
        bail!("{problem}");
    }
    let text = bounded::read_text(&path, MOST_CONFIG)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let value: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not valid JSON", path.display()))?;
    Config::from_json(&value).with_context(|| format!("in {}", path.display()))
}

/// Writes `config.json` and `model.safetensors` (f32) into an existing folder. Equal weights give equal bytes.
pub fn save(weights: &Weights, folder: &Path) -> Result<()> {
    save_parts(&weights.config, &weights.layout, &weights.data, folder)
}

/// The same of numbers that lie as those of a model of this configuration do.
pub fn save_numbers(config: &Config, numbers: &[f32], folder: &Path) -> Result<()> {
    let layout = Layout::new(config);
    assert_eq!(
        layout.len(),
        numbers.len(),
        "the numbers are those of a whole model"
    );
    save_parts(config, &layout, numbers, folder)
}

fn save_parts(config: &Config, layout: &Layout, numbers: &[f32], folder: &Path) -> Result<()> {
    let path = folder.join("config.json");
    let mut text = serde_json::to_string_pretty(&config.to_json()).context("config to JSON")?;
    text.push('\n');
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let all: Tensors = layout
        .params
        .iter()
        .map(|param| {
            let data = &numbers[param.range.clone()];
            (param.name.as_str(), (param.shape.as_slice(), data))
        })
        .collect();
    tensors::write(&folder.join("model.safetensors"), &all, ("format", "pt"))
}

/// An exact training state: named flat arrays (weights, moments) and a header.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub header: Value,
    pub arrays: BTreeMap<String, Vec<f32>>,
}

/// Writes one file. Equal states give equal bytes.
pub fn save_state(path: &Path, header: &Value, arrays: &BTreeMap<&str, &[f32]>) -> Result<()> {
    let shapes: Vec<[usize; 1]> = arrays.values().map(|a| [a.len()]).collect();
    let all = arrays
        .iter()
        .zip(&shapes)
        .map(|((name, data), shape)| (*name, (&shape[..], *data)))
        .collect();
    tensors::write(path, &all, ("state", &header.to_string()))
}

impl State {
    /// Errors: an unreadable or truncated file, or one that is not a state.
    pub fn load(path: &Path) -> Result<State> {
        let mut file = TensorFile::open(path)?;
        let header = file
            .note("state")
            .with_context(|| format!("{} holds no training state", path.display()))?;
        let header = serde_json::from_str(header)
            .with_context(|| format!("{}: the header is not JSON", path.display()))?;
        let mut arrays = BTreeMap::new();
        for name in file.names() {
            let data = file.array(&name)?;
            arrays.insert(name, data);
        }
        Ok(State { header, arrays })
    }
}

/// So many parameters need no file that is as large.
const SMALL: u128 = 1 << 24;

/// Before memory is taken for it: a number takes more than a byte of a file.
fn fits(config: &Config, files: &[PathBuf]) -> Result<()> {
    let mut bytes = 0;
    for file in files {
        let meta = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
        bytes += u128::from(meta.len());
    }
    let asked = config.parameters();
    ensure!(
        asked <= bytes.max(SMALL),
        "the config asks for {asked} parameters, and the tensors of the folder have {bytes} bytes: the folder is not whole, or \
         its config is another model's"
    );
    Ok(())
}

fn tensor_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    if single.exists() {
        return Ok(vec![single]);
    }
    if !index.exists() {
        bail!("{}", folders::no_weights(folder));
    }
    let text = bounded::read_text(&index, MOST_CONFIG)
        .with_context(|| format!("cannot read {}", index.display()))?;
    let value: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not valid JSON", index.display()))?;
    let map = value
        .get("weight_map")
        .and_then(Value::as_object)
        .with_context(|| format!("{} has no weight_map", index.display()))?;
    let mut files = BTreeSet::new();
    for (name, file) in map {
        let file = file
            .as_str()
            .with_context(|| format!("{}: the shard of {name} is not a name", index.display()))?;
        // A shard lies beside its index; a path could lead anywhere.
        ensure!(
            bounded::is_name(file),
            "{}: the shard {file} is not a plain file name",
            index.display()
        );
        files.insert(folder.join(file));
    }
    if let Some(problem) = folders::missing_shards(&index, &files) {
        bail!("{problem}");
    }
    Ok(files.into_iter().collect())
}

/// Buffers that old checkpoints carry and nobody trains.
fn ignorable(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
}
