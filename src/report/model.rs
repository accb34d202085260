//! What a model folder in the store holds, read from its config.json and the headers of its weights. Loads no weights
//! and knows no architecture.

use crate::base::text::thousands;
use crate::engine::record::Artifact;
use crate::engine::store::Store;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The fields of config.json that tell one model from another.
const FIELDS: [&str; 8] = [
    "architectures",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "tie_word_embeddings",
];

/// A larger header is a broken file; the format allows no more.
const MOST_HEADER: u64 = 100_000_000;

/// Lines of `field: value`, each ended by a newline; empty for a folder without weights or a config.
pub fn about(store: &Store, artifact: &Artifact) -> Result<String> {
    let mut out = String::new();
    if let Some(blob) = artifact.files.iter().find(|f| f.path == "config.json") {
        let text = store.objects().read(blob)?;
        let config: Map<String, Value> =
            serde_json::from_slice(&text).context("failed to parse config.json")?;
        for name in FIELDS {
            if let Some(value) = config.get(name) {
                out += &format!("  {name}: {value}\n");
            }
        }
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let weights = |path: &str| path.ends_with(".safetensors");
    for blob in artifact.files.iter().filter(|f| weights(&f.path)) {
        let counted = parameters(&store.objects().path(&blob.digest));
        for (dtype, n) in counted.with_context(|| format!("failed to read {}", blob.path))? {
            *counts.entry(dtype).or_default() += n;
        }
    }
    for (dtype, n) in counts {
        out += &format!("  parameters: {} ({dtype})\n", thousands(n));
    }
    Ok(out)
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
