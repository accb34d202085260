//! PEFT adapter folders in and out: `adapter_config.json` and `adapter_model.safetensors` under PEFT's own names.
//!
//! What PEFT can do and this decoder cannot (DoRA, biases, ranks by pattern, saved modules, beginnings that change the base …)
//! is an error by name, never ignored, and so is a setting that nobody here has heard of. Knows no training.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::adapter::{Adapter, Linear, Options};
use crate::config::Config;
use crate::folders;
use crate::tensors::{self, TensorFile, Tensors};
use base::bounded::{self, MOST_CONFIG};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// No linear layer is as wide.
const MOST_RANK: u64 = 1 << 16;
/// So many numbers need no file that is as large.
const SMALL: u64 = 1 << 24;

/// Settings that must be off or empty: each changes what an adapter computes.
const OFF: [&str; 16] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
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

/// Settings that a plain adapter may have at any value: they say how it was trained or found, and `sites` goes by the tensors.
const IDLE: [&str; 17] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "layers_pattern",
    "lora_dropout",
    "lora_ga_config",
    "loftq_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    "use_cache",
];

/// Settings that are read.
const READ: [&str; 9] = [
    "bias",
    "init_lora_weights",
    "layers_to_transform",
    "lora_alpha",
    "peft_type",
    "r",
    "target_modules",
    "use_rslora",
    "exclude_modules",
];

/// The adapter of a PEFT folder, for a model of this configuration.
///
/// Errors: an unreadable or torn file; a setting this decoder does not compute; tensors that are missing, unknown or of
/// another shape than the model asks for.
pub fn load(folder: &Path, config: &Config) -> Result<Adapter> {
    let place = folder.join(CONFIG);
    let json = read_config(folder)?;
    let options = options(&json).with_context(|| format!("in {}", place.display()))?;
    let path = folder.join(TENSORS);
    if let Some(problem) = folders::no_adapter(folder) {
        bail!("{problem}");
    }
    let mut file = TensorFile::open(&path)?;
    let names: BTreeSet<String> = file.names().into_iter().collect();
    let sites = sites(&names).with_context(|| path.display().to_string())?;
    targeted(&json, &sites).with_context(|| format!("in {}", place.display()))?;
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
        let numbers = &mut adapter.data[param.range.clone()];
        file.read(&param.name, numbers)?;
        tensors::expect_finite(&path, &param.name, numbers)?;
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

fn read_config(folder: &Path) -> Result<Value> {
    let path = folder.join(CONFIG);
    ensure!(
        path.is_file(),
        "{} has no {CONFIG}: {}",
        folder.display(),
        match folder.join("config.json").is_file() {
            true => "it is a whole model, which `local-model` imports, not an adapter",
            false => "is it a PEFT folder?",
        }
    );
    let text = bounded::read_text(&path, MOST_CONFIG)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let json: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not valid JSON", path.display()))?;
    ensure!(json.is_object(), "{} is not a JSON object", path.display());
    Ok(json)
}

fn options(json: &Value) -> Result<Options> {
    ensure!(
        json["peft_type"] == "LORA",
        "`peft_type` is {}: only LORA is supported",
        json["peft_type"]
    );
    for (name, value) in json.as_object().into_iter().flatten() {
        let known = IDLE.contains(&name.as_str()) || READ.contains(&name.as_str());
        let off = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if known || off {
            continue;
        }
        ensure!(
            !OFF.contains(&name.as_str()),
            "`{name}` is {value}, which is not supported"
        );
        bail!(
            "`{name}` is {value}: nobody here knows what that changes; take it out of the file if it says nothing of what the \
             adapter computes"
        );
    }
    begun(&json["init_lora_weights"])?;
    ensure!(
        matches!(&json["bias"], Value::Null) || json["bias"] == "none",
        "`bias` is {}: only \"none\" is supported",
        json["bias"]
    );
    let rank = json["r"].as_u64().filter(|r| *r > 0);
    let rank = rank.with_context(|| format!("`r` is {}, not a rank", json["r"]))?;
    ensure!(rank <= MOST_RANK, "`r` is {rank}, above {MOST_RANK}");
    let alpha = json["lora_alpha"].as_f64();
    let rank_stabilised = match &json["use_rslora"] {
        Value::Null => false,
        Value::Bool(on) => *on,
        other => bail!("`use_rslora` is {other}, not true or false"),
    };
    Ok(Options {
        rank: rank as usize,
        alpha: alpha.with_context(|| format!("`lora_alpha` is {}", json["lora_alpha"]))?,
        rank_stabilised,
        // The tensors say where it acts.
        targets: vec![],
        blocks: 0..0,
    })
}

/// How its numbers began. Some ways take from the base what they give to the adapter, and PEFT does that to the base again
/// whenever it loads one: on the base as it is, such an adapter is another function.
fn begun(value: &Value) -> Result<()> {
    let word = match value {
        Value::Null | Value::Bool(_) => return Ok(()),
        Value::String(word) => word.to_lowercase(),
        other => bail!("`init_lora_weights` is {other}: neither true, false nor a word"),
    };
    let converted = "in PEFT, convert it to a plain one: load it and call save_pretrained(folder, \
                     path_initial_model_for_weight_conversion = \"folder of the adapter as it was before training\")";
    match word.as_str() {
        "true" | "false" | "gaussian" | "orthogonal" => Ok(()),
        "loftq" => bail!(
            "`init_lora_weights` is {value}: it was trained on a base that was quantised for it, not on the model as it is; \
             merge it in PEFT (merge_and_unload, save_pretrained) and import the whole model by `local-model`"
        ),
        "eva" => bail!(
            "`init_lora_weights` is {value}, which is not supported by that name; EVA leaves the base as it is, so where \
             rank_pattern is empty write true in its place"
        ),
        word if word.starts_with("pissa") || word == "olora" || word == "corda" => bail!(
            "`init_lora_weights` is {value}: PEFT changes the base's weights when it loads such an adapter, so on the model as \
             it is it would be another function; {converted}"
        ),
        _ => bail!(
            "`init_lora_weights` is {value}, which is not supported: it may change the base's weights (lora_ga does); merge it in \
             PEFT (merge_and_unload, save_pretrained) and import the whole model by `local-model`, or write true in its place \
             if it leaves the base as it is"
        ),
    }
}

/// PEFT makes layers where the settings say, and passes over tensors of any other in silence.
fn targeted(json: &Value, sites: &BTreeSet<(usize, Linear)>) -> Result<()> {
    let blocks: Option<Vec<u64>> = match &json["layers_to_transform"] {
        Value::Null => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Array(list) => Some(list.iter().filter_map(Value::as_u64).collect()),
        one => Some(one.as_u64().into_iter().collect()),
    };
    let listed = |key: &str| -> Option<Vec<&str>> {
        Some(
            json[key]
                .as_array()?
                .iter()
                .filter_map(Value::as_str)
                .collect(),
        )
    };
    // A target is the end of a module's path. A text is a pattern, or all linear layers.
    let ends = |path: &str, target: &str| {
        path == target
            || path
                .strip_suffix(target)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    let targets = listed("target_modules");
    let excluded = listed("exclude_modules").unwrap_or_default();
    for (block, linear) in sites {
        let path = linear.path(*block);
        let chosen = targets
            .as_ref()
            .is_none_or(|list| list.iter().any(|t| ends(&path, t)));
        ensure!(
            chosen,
            "the file has tensors of {path}, which `target_modules` does not name: PEFT would leave them out; name it there or \
             take them out"
        );
        ensure!(
            blocks
                .as_ref()
                .is_none_or(|list| list.contains(&(*block as u64))),
            "the file has tensors of {path}, and `layers_to_transform` does not name block {block}: PEFT would leave them out"
        );
        ensure!(
            !excluded.iter().any(|t| ends(&path, t)),
            "the file has tensors of {path}, which `exclude_modules` names: PEFT would leave them out"
        );
    }
    let acts = |target: &&str| {
        sites
            .iter()
            .any(|(block, linear)| ends(&linear.path(*block), target))
    };
    let idle = targets.unwrap_or_default().into_iter().find(|t| !acts(t));
    if let Some(target) = idle {
        bail!("`target_modules` names {target}, and the file has no tensor of it: is it whole?");
    }
    Ok(())
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
