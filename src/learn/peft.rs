//! PEFT adapter folders in and out: `adapter_config.json` and `adapter_model.safetensors` under PEFT's own names.
//!
//! What PEFT can do and this decoder cannot (DoRA, biases, ranks by pattern, saved modules …) is an error by name, never
//! ignored. Knows no training.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::base::bounded::{self, MOST_CONFIG};
use crate::learn::adapter::{Adapter, Linear, Options};
use crate::learn::config::Config;
use crate::learn::tensors::{self, TensorFile, Tensors};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// No linear layer is as wide.
const MOST_RANK: u64 = 1 << 16;
/// So many numbers need no file that is as large.
const SMALL: u64 = 1 << 24;

/// Settings that must be off or empty: each changes what an adapter computes.
const OFF: [&str; 17] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "exclude_modules",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
    "kasa_config",
];

/// The adapter of a PEFT folder, for a model of this configuration.
///
/// Errors: an unreadable or torn file; a setting this decoder does not compute; tensors that are missing, unknown or of
/// another shape than the model asks for.
pub fn load(folder: &Path, config: &Config) -> Result<Adapter> {
    let options = read_config(&folder.join(CONFIG))?;
    let path = folder.join(TENSORS);
    let mut file = TensorFile::open(&path)?;
    let names: BTreeSet<String> = file.names().into_iter().collect();
    let sites = sites(&names).with_context(|| path.display().to_string())?;
    if let Some((block, _)) = sites.iter().find(|(block, _)| *block >= config.layers) {
        bail!(
            "{} adapts block {block}, the model has {}",
            path.display(),
            config.layers
        );
    }
    let length = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let width = |(_, linear): &(usize, Linear)| {
        let (out, inner) = linear.shape(config);
        (out + inner) as u128
    };
    let asked = options.rank as u128 * sites.iter().map(width).sum::<u128>();
    ensure!(
        asked <= u128::from(length.len().max(SMALL)),
        "{}: the model and r = {} ask for {asked} numbers, more than the file has",
        path.display(),
        options.rank
    );
    let mut adapter = Adapter::zeros(config, &options, |block, linear| {
        sites.contains(&(block, linear))
    });
    for param in &adapter.params {
        ensure!(
            names.contains(&param.name),
            "{}: missing tensor {}",
            path.display(),
            param.name
        );
        ensure!(
            file.shape(&param.name) == param.shape,
            "{}: tensor {} has shape {:?}, the model and r = {} ask for {:?}",
            path.display(),
            param.name,
            file.shape(&param.name),
            options.rank,
            param.shape
        );
        file.read(&param.name, &mut adapter.data[param.range.clone()])?;
    }
    Ok(adapter)
}

/// Writes an existing folder. Equal adapters give equal bytes; no path of the base model is in them.
pub fn save(adapter: &Adapter, folder: &Path) -> Result<()> {
    let path = folder.join(CONFIG);
    let mut text = serde_json::to_string_pretty(&to_json(adapter)).context("config to JSON")?;
    text.push('\n');
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let all: Tensors = adapter
        .params
        .iter()
        .map(|param| {
            let data = &adapter.data[param.range.clone()];
            (param.name.as_str(), (param.shape.as_slice(), data))
        })
        .collect();
    tensors::write(&folder.join(TENSORS), &all, ("format", "pt"))
}

fn read_config(path: &Path) -> Result<Options> {
    let text = bounded::read_text(path, MOST_CONFIG)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let json: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not valid JSON", path.display()))?;
    options(&json).with_context(|| format!("in {}", path.display()))
}

fn options(json: &Value) -> Result<Options> {
    ensure!(
        json["peft_type"] == "LORA",
        "`peft_type` is {}: only LORA is supported",
        json["peft_type"]
    );
    for name in OFF {
        let value = &json[name];
        let off = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        ensure!(off, "`{name}` is {value}, which is not supported");
    }
    ensure!(
        matches!(&json["bias"], Value::Null) || json["bias"] == "none",
        "`bias` is {}: only \"none\" is supported",
        json["bias"]
    );
    let rank = json["r"].as_u64().filter(|r| *r > 0);
    let rank = rank.with_context(|| format!("`r` is {}, not a rank", json["r"]))?;
    ensure!(rank <= MOST_RANK, "`r` is {rank}, above {MOST_RANK}");
    let alpha = json["lora_alpha"].as_f64();
    Ok(Options {
        rank: rank as usize,
        alpha: alpha.with_context(|| format!("`lora_alpha` is {}", json["lora_alpha"]))?,
        rank_stabilised: json["use_rslora"] == true,
        // The tensors say where it acts.
        targets: vec![],
        blocks: 0..0,
    })
}

/// Where the tensors of a file act. Errors: names that are no A or B of a linear layer of a block.
fn sites(names: &BTreeSet<String>) -> Result<BTreeSet<(usize, Linear)>> {
    let site = |name: &str| {
        let rest = name.strip_prefix("base_model.model.model.layers.")?;
        let (block, rest) = rest.split_once('.')?;
        let block: usize = block.parse().ok()?;
        let half = rest
            .strip_suffix(".lora_A.weight")
            .or(rest.strip_suffix(".lora_B.weight"))?;
        let linear = Linear::ALL
            .into_iter()
            .find(|linear| linear.path(block) == format!("model.layers.{block}.{half}"))?;
        Some((block, linear))
    };
    let mut found = BTreeSet::new();
    let mut unknown = vec![];
    for name in names {
        match site(name) {
            Some(site) => drop(found.insert(site)),
            None => unknown.push(name.as_str()),
        }
    }
    ensure!(
        unknown.is_empty(),
        "tensors that are no adapter of a linear layer of a block: {}",
        unknown.join(", ")
    );
    ensure!(!found.is_empty(), "there is no adapter in it");
    Ok(found)
}

fn to_json(adapter: &Adapter) -> Value {
    let mut by_block: BTreeMap<usize, Vec<Linear>> = BTreeMap::new();
    for (block, sites) in adapter.sites.iter().enumerate() {
        for (linear, _) in Linear::ALL.iter().zip(sites).filter(|(_, s)| s.is_some()) {
            by_block.entry(block).or_default().push(*linear);
        }
    }
    let first = by_block.values().next().cloned().unwrap_or_default();
    let uniform = by_block.values().all(|linears| *linears == first);
    // PEFT reads a target as the end of a module's path, so a whole path names one module.
    let mut targets: Vec<String> = match uniform {
        true => first.iter().map(|l| l.word().to_string()).collect(),
        false => by_block
            .iter()
            .flat_map(|(block, linears)| linears.iter().map(|l| l.path(*block)))
            .collect(),
    };
    targets.sort();
    let all = by_block.len() == adapter.sites.len() || !uniform;
    let blocks: Vec<usize> = by_block.keys().copied().collect();
    let alpha = match adapter.alpha.fract() == 0.0 {
        true => json!(adapter.alpha as i64),
        false => json!(adapter.alpha),
    };
    json!({
        "base_model_name_or_path": null,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_to_transform": if all { Value::Null } else { json!(blocks) },
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": adapter.rank,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": adapter.rank_stabilised,
    })
}
