//! The shape of a decoder, read from a Hugging Face `config.json` and written back to one.
//!
//! Owns what may differ between Qwen2, Qwen3, Llama and Mistral. Nothing that changes numbers has a default: an absent
//! key is an error. Knows no weights and no files.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Qwen2,
    Qwen3,
    Llama,
    Mistral,
}

/// What stands on top of the last norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The embedding table again.
    Tied,
    /// `lm_head.weight`.
    Untied,
    /// `score.weight` [labels, hidden]: a sequence classifier (reward model).
    Score { labels: usize },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Frequency bands of Llama 3.1 (transformers: rope type `llama3`).
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_max_position_embeddings: usize,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub family: Family,
    pub head: Head,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    pub max_position_embeddings: usize,
    pub initializer_range: f64,
    /// Carried from file to file; the decoder does not read them.
    pub bos_token_id: Value,
    pub eos_token_id: Value,
    pub pad_token_id: Value,
}

impl Config {
    /// Bias on the q, k and v projections.
    pub fn qkv_bias(&self) -> bool {
        self.family == Family::Qwen2
    }

    /// RMSNorm over each head of q and k before the rotation.
    pub fn qk_norm(&self) -> bool {
        self.family == Family::Qwen3
    }

    /// Width of the query heads side by side.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of the key (or value) heads side by side.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Width of q, k and v side by side.
    pub fn qkv_width(&self) -> usize {
        self.q_width() + 2 * self.kv_width()
    }

    /// Parameters of its matrices; norms and biases are left out.
    pub fn parameters(&self) -> u128 {
        let wide = |n: usize| n as u128;
        let d = wide(self.hidden_size);
        let (q, kv) = (wide(self.q_width()), wide(self.kv_width()));
        let block = d * (2 * q + 2 * kv) + 3 * d * wide(self.intermediate_size);
        let table = d * wide(self.vocab_size);
        let head = match self.head {
            Head::Tied => 0,
            Head::Untied => table,
            Head::Score { labels } => d * wide(labels),
        };
        table + head + wide(self.layers) * block
    }

    /// Reads a `config.json`.
    ///
    /// Errors: an architecture, activation, rope type, bias or window this decoder does not compute; a key that
    /// changes numbers and is absent; sizes that do not fit each other.
    pub fn from_json(value: &Value) -> Result<Config> {
        let object = value.as_object().context("config is not a JSON object")?;
        let (family, scored) = architecture(object)?;
        refuse_unsupported(object, family)?;
        let hidden_size = size(object, "hidden_size")?;
        let heads = size(object, "num_attention_heads")?;
        let head_dim = match present(object, "head_dim") {
            Some(_) => size(object, "head_dim")?,
            None => {
                ensure!(
                    family != Family::Qwen3,
                    "config key head_dim is absent: Qwen3 needs it"
                );
                ensure!(
                    hidden_size % heads == 0,
                    "config: hidden_size {hidden_size} is not a multiple of num_attention_heads {heads}"
                );
                hidden_size / heads
            }
        };
        let (rope_theta, rope_scaling) = rope(object)?;
        let config = Config {
            family,
            head: head(object, scored)?,
            vocab_size: size(object, "vocab_size")?,
            hidden_size,
            intermediate_size: size(object, "intermediate_size")?,
            layers: size(object, "num_hidden_layers")?,
            heads,
            kv_heads: size(object, "num_key_value_heads")?,
            head_dim,
            rms_norm_eps: number(object, "rms_norm_eps")?,
            rope_theta,
            rope_scaling,
            max_position_embeddings: size(object, "max_position_embeddings")?,
            initializer_range: match present(object, "initializer_range") {
                Some(_) => number(object, "initializer_range")?,
                None => 0.02,
            },
            bos_token_id: object.get("bos_token_id").cloned().unwrap_or(Value::Null),
            eos_token_id: object.get("eos_token_id").cloned().unwrap_or(Value::Null),
            pad_token_id: object.get("pad_token_id").cloned().unwrap_or(Value::Null),
        };
        config.check()?;
        Ok(config)
    }

    /// Errors where the sizes contradict each other, or are beyond any model.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 20),
            ("intermediate_size", self.intermediate_size, 1 << 22),
            ("num_hidden_layers", self.layers, 10_000),
            ("num_attention_heads", self.heads, 1 << 16),
            ("num_key_value_heads", self.kv_heads, 1 << 16),
            ("head_dim", self.head_dim, 1 << 16),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                1 << 32,
            ),
        ];
        for (name, size, most) in sizes {
            ensure!(size <= most, "config: {name} {size} is above {most}");
        }
        if let Head::Score { labels } = self.head {
            ensure!(labels <= 1 << 20, "config: {labels} labels are too many");
        }
        ensure!(
            self.heads.is_multiple_of(self.kv_heads),
            "config: num_attention_heads {} is not a multiple of num_key_value_heads {}",
            self.heads,
            self.kv_heads
        );
        ensure!(
            self.head_dim.is_multiple_of(2),
            "config: head_dim {} is odd, the rotation needs pairs",
            self.head_dim
        );
        ensure!(
            self.rope_theta > 0.0,
            "config: rope_theta must be above zero, not {}",
            self.rope_theta
        );
        ensure!(
            self.rms_norm_eps >= 0.0 && self.initializer_range >= 0.0,
            "config: rms_norm_eps and initializer_range cannot be negative"
        );
        Ok(())
    }

    /// A `config.json` that transformers 4 and 5 load. Keys are sorted: equal configs give equal bytes.
    pub fn to_json(&self) -> Value {
        let (name, model_type) = match self.family {
            Family::Qwen2 => ("Qwen2", "qwen2"),
            Family::Qwen3 => ("Qwen3", "qwen3"),
            Family::Llama => ("Llama", "llama"),
            Family::Mistral => ("Mistral", "mistral"),
        };
        let task = match self.head {
            Head::Score { .. } => "ForSequenceClassification",
            _ => "ForCausalLM",
        };
        let scaling = match self.rope_scaling {
            RopeScaling::None => Value::Null,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => json!({
                "factor": factor,
                "high_freq_factor": high_freq_factor,
                "low_freq_factor": low_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
                "rope_type": "llama3",
            }),
        };
        let mut object = json!({
            "architectures": [format!("{name}{task}")],
            "attention_dropout": 0.0,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": self.eos_token_id,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "initializer_range": self.initializer_range,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_position_embeddings,
            "model_type": model_type,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "pad_token_id": self.pad_token_id,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_scaling": scaling,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.head == Head::Tied,
            "torch_dtype": "float32",
            "use_cache": true,
            "vocab_size": self.vocab_size,
        });
        match self.family {
            Family::Qwen2 | Family::Qwen3 => object["use_sliding_window"] = json!(false),
            Family::Mistral => object["sliding_window"] = Value::Null,
            Family::Llama => object["mlp_bias"] = json!(false),
        }
        if matches!(self.family, Family::Llama | Family::Qwen3) {
            object["attention_bias"] = json!(false);
        }
        if let Head::Score { labels } = self.head {
            // transformers derives num_labels from the length of this table.
            let names: Map<String, Value> = (0..labels)
                .map(|i| (i.to_string(), json!(format!("LABEL_{i}"))))
                .collect();
            object["id2label"] = Value::Object(names);
        }
        object.sort_all_objects();
        object
    }
}

fn architecture(object: &Map<String, Value>) -> Result<(Family, bool)> {
    let names = object
        .get("architectures")
        .and_then(Value::as_array)
        .context("config key architectures is absent or not a list")?;
    let [Value::String(name)] = names.as_slice() else {
        bail!("config key architectures must hold exactly one name");
    };
    let known = [
        ("Qwen2", Family::Qwen2),
        ("Qwen3", Family::Qwen3),
        ("Llama", Family::Llama),
        ("Mistral", Family::Mistral),
    ];
    for (prefix, family) in known {
        match name.strip_prefix(prefix) {
            Some("ForCausalLM") => return Ok((family, false)),
            Some("ForSequenceClassification") => return Ok((family, true)),
            _ => {}
        }
    }
    bail!(
        "architecture {name} is not supported: only Qwen2, Qwen3, Llama and Mistral as ForCausalLM or ForSequenceClassification"
    )
}

fn refuse_unsupported(object: &Map<String, Value>, family: Family) -> Result<()> {
    ensure!(
        present(object, "quantization_config").is_none(),
        "config: the weights are quantised (quantization_config); use the model's folder in bf16, f16 or f32"
    );
    let activation = present(object, "hidden_act").context("config key hidden_act is absent")?;
    ensure!(
        activation == "silu",
        "hidden_act {activation} is not supported: only silu"
    );
    for key in ["attention_bias", "mlp_bias"] {
        ensure!(
            !present(object, key).is_some_and(|v| v != &json!(false)),
            "config key {key} is on: not supported"
        );
    }
    if let Some(factor) = present(object, "partial_rotary_factor") {
        ensure!(
            factor.as_f64() == Some(1.0),
            "partial_rotary_factor {factor} is not supported"
        );
    }
    if let Some(types) = present(object, "layer_types") {
        let full = types
            .as_array()
            .is_some_and(|list| list.iter().all(|t| t == "full_attention"));
        ensure!(
            full,
            "layer_types {types}: only full_attention is supported"
        );
    }
    let window = present(object, "sliding_window").and_then(Value::as_u64);
    let switched_on = match family {
        Family::Qwen2 | Family::Qwen3 => {
            present(object, "use_sliding_window") == Some(&json!(true))
        }
        Family::Mistral => true,
        Family::Llama => false,
    };
    let reach = present(object, "max_position_embeddings").and_then(Value::as_u64);
    if let (Some(window), true) = (window, switched_on) {
        ensure!(
            reach.is_some_and(|reach| window >= reach),
            "sliding_window {window} is in use: not supported; it computes the same without one up to {window} tokens, so set \
             max_position_embeddings to at most that to say that no text will be longer"
        );
    }
    Ok(())
}

fn head(object: &Map<String, Value>, scored: bool) -> Result<Head> {
    if scored {
        let labels = match (present(object, "id2label"), present(object, "num_labels")) {
            (Some(table), _) => table
                .as_object()
                .context("config key id2label is not an object")?
                .len(),
            (None, Some(_)) => size(object, "num_labels")?,
            (None, None) => {
                bail!("config: a sequence classifier needs id2label or num_labels")
            }
        };
        ensure!(labels > 0, "config: a sequence classifier without labels");
        return Ok(Head::Score { labels });
    }
    let tied = present(object, "tie_word_embeddings")
        .context("config key tie_word_embeddings is absent: the head would be a guess")?
        .as_bool()
        .context("config key tie_word_embeddings is not true or false")?;
    Ok(if tied { Head::Tied } else { Head::Untied })
}

/// Both spellings: `rope_theta` + `rope_scaling` (transformers 4) and `rope_parameters` (transformers 5). A file may have
/// both where they agree.
fn rope(object: &Map<String, Value>) -> Result<(f64, RopeScaling)> {
    let parameters = nested(object, "rope_parameters")?;
    let scaling = nested(object, "rope_scaling")?;
    let inner = parameters.and_then(|p| present(p, "rope_theta"));
    let outer = present(object, "rope_theta");
    if let (Some(inner), Some(outer)) = (inner, outer) {
        ensure!(
            inner.as_f64() == outer.as_f64(),
            "config: rope_theta is {outer} at the top and {inner} in rope_parameters; take out the wrong one"
        );
    }
    let theta = inner
        .or(outer)
        .context(
            "config has no rope_theta (neither at the top nor in rope_parameters); the original config.json of the model \
             has it",
        )?
        .as_f64()
        .context("config key rope_theta is not a number")?;
    let bands =
        |table: Option<&Map<String, Value>>| table.map_or(Ok(RopeScaling::None), rope_scaling);
    let (first, second) = (bands(parameters)?, bands(scaling)?);
    ensure!(
        parameters.is_none() || scaling.is_none() || first == second,
        "config: rope_parameters and rope_scaling disagree; take out the wrong one"
    );
    let chosen = if parameters.is_some() { first } else { second };
    Ok((theta, chosen))
}

fn rope_scaling(table: &Map<String, Value>) -> Result<RopeScaling> {
    let kind = present(table, "rope_type").or_else(|| present(table, "type"));
    let kind = kind.context(
        "config: the rope table has no rope_type; the original config.json of the model has it",
    )?;
    match kind.as_str() {
        Some("default") => Ok(RopeScaling::None),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: number(table, "factor")?,
            low_freq_factor: number(table, "low_freq_factor")?,
            high_freq_factor: number(table, "high_freq_factor")?,
            original_max_position_embeddings: size(table, "original_max_position_embeddings")?,
        }),
        _ => bail!(
            "rope type {kind} is not supported: only default and llama3; a model whose own context is long enough needs none"
        ),
    }
}

fn nested<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>> {
    match present(object, key) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(_) => bail!("config key {key} is not an object"),
    }
}

fn present<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn size(object: &Map<String, Value>, key: &str) -> Result<usize> {
    let value = present(object, key).with_context(|| format!("config key {key} is absent"))?;
    let number = value
        .as_u64()
        .with_context(|| format!("config key {key} is not a whole number: {value}"))?;
    ensure!(number > 0, "config key {key} is zero");
    usize::try_from(number).with_context(|| format!("config key {key} is too large"))
}

fn number(object: &Map<String, Value>, key: &str) -> Result<f64> {
    let value = present(object, key).with_context(|| format!("config key {key} is absent"))?;
    value
        .as_f64()
        .with_context(|| format!("config key {key} is not a number: {value}"))
}
