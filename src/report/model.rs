//! What a model or an adapter in the store is, read from its configuration and the headers of its weights. Loads no weights
//! and knows no architecture.

use anyhow::{Context, Result, bail, ensure};
use base::text::{bytes, count, thousands};
use engine::store::Store;
use engine::store::record::Artifact;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The fields of config.json that tell one model from another.
const FIELDS: [&str; 16] = [
    "architectures",
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "sliding_window",
    "tie_word_embeddings",
    "num_labels",
];

/// What is read of adapter_config.json.
const ADAPTER_FIELDS: [&str; 7] = [
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "target_modules",
    "task_type",
];

/// A larger header is a broken file; the format allows no more.
const MOST_HEADER: u64 = 100_000_000;

/// A model or an adapter by its numbers.
pub struct About {
    fields: Vec<(&'static str, Value)>,
    /// By number type.
    parameters: BTreeMap<String, u64>,
    /// Of its weights.
    bytes: u64,
    files: usize,
}

impl About {
    /// Lines of `field: value`, each ended by a newline.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let told = self.fields.iter().filter(|(_, value)| !value.is_null());
        for (name, value) in told {
            out += &format!("  {name}: {value}\n");
        }
        for (dtype, n) in &self.parameters {
            out += &format!("  parameters: {} ({dtype})\n", thousands(*n));
        }
        if self.files > 0 {
            let files = count(self.files as u64, "file", "files");
            out += &format!("  weights: {} in {files}\n", bytes(self.bytes));
        }
        out
    }

    pub fn json(&self) -> Value {
        let fields = self.fields.iter();
        let fields: Map<String, Value> = fields.map(|(n, v)| (n.to_string(), v.clone())).collect();
        json!({ "config": fields, "parameters": self.parameters, "bytes": self.bytes, "files": self.files })
    }
}

/// Nothing for a folder without weights and without a config.
pub fn about(store: &Store, artifact: &Artifact) -> Result<Option<About>> {
    let mut about = About {
        fields: vec![],
        parameters: BTreeMap::new(),
        bytes: 0,
        files: 0,
    };
    let configs: [(&str, &[&'static str]); 2] = [
        ("config.json", &FIELDS),
        ("adapter_config.json", &ADAPTER_FIELDS),
    ];
    for (file, names) in configs {
        let Some(blob) = artifact.files.iter().find(|f| f.path == file) else {
            continue;
        };
        let text = store.objects().read(blob)?;
        let mut config: Map<String, Value> =
            serde_json::from_slice(&text).with_context(|| format!("failed to parse {file}"))?;
        let named = names.iter().copied();
        about
            .fields
            .extend(named.filter_map(|name| Some((name, config.remove(name)?))));
    }
    let weights = |path: &str| path.ends_with(".safetensors");
    for blob in artifact.files.iter().filter(|f| weights(&f.path)) {
        let counted = parameters(&store.objects().path(&blob.digest));
        for (dtype, n) in counted.with_context(|| format!("failed to read {}", blob.path))? {
            *about.parameters.entry(dtype).or_default() += n;
        }
        about.bytes += blob.size;
        about.files += 1;
    }
    let empty = about.fields.is_empty() && about.files == 0;
    Ok((!empty).then_some(about))
}

/// Number of values by type of a safetensors file: its first 8 bytes are the length of a JSON header, little endian.
pub fn parameters(path: &Path) -> Result<BTreeMap<String, u64>> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    ensure!(length <= MOST_HEADER, "it is no safetensors file");
    let mut header = String::new();
    file.take(length).read_to_string(&mut header)?;
    let tensors: Map<String, Value> =
        serde_json::from_str(&header).context("its header is not JSON")?;
    let mut counts = BTreeMap::new();
    for (name, tensor) in tensors.iter().filter(|(name, _)| *name != "__metadata__") {
        let (Some(dtype), Some(shape)) = (tensor["dtype"].as_str(), tensor["shape"].as_array())
        else {
            bail!("tensor `{name}` has no dtype and shape");
        };
        let sides: Option<Vec<u64>> = shape.iter().map(Value::as_u64).collect();
        let count = sides.and_then(|s| s.into_iter().try_fold(1_u64, u64::checked_mul));
        let count = count.with_context(|| format!("tensor `{name}` has no usable shape"))?;
        *counts.entry(dtype.to_string()).or_default() += count;
    }
    Ok(counts)
}
