//! A decoder's shape from a Hugging Face `config.json`, and back to one.
//!
//! Nothing that changes numbers has a default: an absent key is an error, which says what transformers would take.

use crate::config::{Config, Family, Head, RopeScaling};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// What `architectures` begins with, and `model_type`.
const FAMILIES: [(&str, &str, Family); 4] = [
    ("Qwen2", "qwen2", Family::Qwen2),
    ("Qwen3", "qwen3", Family::Qwen3),
    ("Llama", "llama", Family::Llama),
    ("Mistral", "mistral", Family::Mistral),
];

impl Config {
    /// Reads a `config.json`.
    ///
    /// Errors: an architecture, activation, rope type, bias or window this decoder does not compute; a key that
    /// changes numbers and is absent; sizes that do not fit each other.
    pub fn from_json(value: &Value) -> Result<Config> {
        let object = value.as_object().context("config is not a JSON object")?;
        let (family, scored) = architecture(object)?;
        expect_keys(object, family, scored)?;
        refuse_unsupported(object, family)?;
        let hidden_size = size(object, "hidden_size")?;
        let heads = size(object, "num_attention_heads")?;
        let head_dim = match present(object, "head_dim") {
            Some(_) => size(object, "head_dim")?,
            None => {
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

    /// A `config.json` that transformers 4 and 5 load. Keys are sorted: equal configs give equal bytes.
    pub fn to_json(&self) -> Value {
        let (name, model_type, _) = FAMILIES
            .into_iter()
            .find(|(.., family)| *family == self.family)
            .expect("every family has its names");
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
    let model_type = present(object, "model_type").and_then(Value::as_str);
    let of_type = FAMILIES.iter().find(|f| Some(f.1) == model_type);
    let names = object.get("architectures").and_then(Value::as_array);
    let names = names.with_context(|| {
        let cure = of_type.map(|(prefix, ..)| {
            format!(": for a language model of this model_type add \"architectures\": [\"{prefix}ForCausalLM\"]")
        });
        format!(
            "config key architectures is absent or not a list{}",
            cure.unwrap_or_default()
        )
    })?;
    let [Value::String(name)] = names.as_slice() else {
        bail!("config key architectures must hold exactly one name");
    };
    for (prefix, word, family) in FAMILIES {
        let scored = match name.strip_prefix(prefix) {
            Some("ForCausalLM") => false,
            Some("ForSequenceClassification") => true,
            _ => continue,
        };
        // transformers goes by model_type.
        ensure!(
            model_type.is_none_or(|t| t == word),
            "config: model_type is {model_type:?} and architectures says {name}: they are not of one model",
            model_type = model_type.unwrap_or_default()
        );
        return Ok((family, scored));
    }
    bail!(
        "architecture {name} is not supported: only Qwen2, Qwen3, Llama and Mistral as ForCausalLM or ForSequenceClassification"
    )
}

/// What transformers takes where a config lacks the key. An early config of a family may have been written before there was
/// a key, and means this; a file that lost it may not, so it is said and not taken.
fn taken_by_transformers(object: &Map<String, Value>, family: Family, key: &str) -> Option<Value> {
    let heads = || present(object, "num_attention_heads").cloned();
    Some(match (key, family) {
        ("rope_theta", _) => json!(10000.0),
        ("rms_norm_eps", _) => json!(1e-6),
        ("hidden_act", _) => json!("silu"),
        ("tie_word_embeddings", _) => json!(false),
        ("num_key_value_heads", Family::Llama) => heads()?,
        ("num_key_value_heads", Family::Mistral) => json!(8),
        ("num_key_value_heads", Family::Qwen2 | Family::Qwen3) => json!(32),
        ("head_dim", Family::Qwen3) => json!(128),
        ("sliding_window", Family::Mistral | Family::Qwen2 | Family::Qwen3) => json!(4096),
        ("max_position_embeddings", Family::Llama) => json!(2048),
        ("max_position_embeddings", Family::Qwen2 | Family::Qwen3) => json!(32768),
        ("max_position_embeddings", Family::Mistral) => json!(131072),
        _ => return None,
    })
}

/// Every key that must be there, each absence with its cure.
fn expect_keys(object: &Map<String, Value>, family: Family, scored: bool) -> Result<()> {
    let theta = nested(object, "rope_parameters")?.and_then(|p| present(p, "rope_theta"));
    let wanted = [
        ("hidden_size", true),
        ("num_attention_heads", true),
        ("num_hidden_layers", true),
        ("intermediate_size", true),
        ("vocab_size", true),
        ("rope_theta", theta.is_none()),
        ("rms_norm_eps", true),
        ("hidden_act", true),
        ("num_key_value_heads", true),
        ("max_position_embeddings", true),
        ("tie_word_embeddings", !scored),
        ("head_dim", family == Family::Qwen3),
    ];
    for (key, needed) in wanted {
        if !needed || present(object, key).is_some() {
            continue;
        }
        let place = match key {
            "rope_theta" => {
                "config has no rope_theta (neither at the top nor in rope_parameters)".into()
            }
            _ => format!("config key {key} is absent"),
        };
        match taken_by_transformers(object, family, key) {
            Some(value) => bail!(
                "{place}; transformers takes {value} for {family:?} then: add {key} = {value} to it (a line \"{key}\": {value},), unless \
                 the config.json that the model was published with has another"
            ),
            None => bail!("{place}, and there is nothing that it could be by itself"),
        }
    }
    Ok(())
}

fn refuse_unsupported(object: &Map<String, Value>, family: Family) -> Result<()> {
    ensure!(
        present(object, "quantization_config").is_none(),
        "config: the weights are quantised (quantization_config); use the model's folder in bf16, f16 or f32"
    );
    let activation = present(object, "hidden_act").context("config key hidden_act is absent")?;
    // transformers' two names of it.
    ensure!(
        activation == "silu" || activation == "swish",
        "hidden_act {activation} is not supported: only silu"
    );
    for key in ["attention_bias", "mlp_bias"] {
        ensure!(
            !present(object, key).is_some_and(|v| v != &json!(false)),
            "config key {key} is on: not supported"
        );
    }
    let rotation = ["rope_parameters", "rope_scaling"].map(|table| object.get(table));
    let tables = rotation.into_iter().flatten().filter_map(Value::as_object);
    for table in tables.chain([object]) {
        if let Some(factor) = present(table, "partial_rotary_factor") {
            ensure!(
                factor.as_f64() == Some(1.0),
                "partial_rotary_factor {factor} is not supported"
            );
        }
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
    refuse_window(object, family)
}

/// A key that is null says that there is no window; one that is absent says what transformers takes.
fn refuse_window(object: &Map<String, Value>, family: Family) -> Result<()> {
    let switched_on = match family {
        Family::Qwen2 | Family::Qwen3 => {
            present(object, "use_sliding_window") == Some(&json!(true))
        }
        Family::Mistral => true,
        Family::Llama => false,
    };
    let absent = !object.contains_key("sliding_window");
    let window = match absent {
        true => taken_by_transformers(object, family, "sliding_window"),
        false => object.get("sliding_window").cloned(),
    };
    let window = window.as_ref().and_then(Value::as_u64);
    let reach = present(object, "max_position_embeddings").and_then(Value::as_u64);
    if let (Some(window), true) = (window, switched_on) {
        let taken = if absent {
            " (the key is absent, and transformers takes that; add \"sliding_window\": null where the model has none)"
        } else {
            ""
        };
        ensure!(
            reach.is_some_and(|reach| window >= reach),
            "sliding_window {window} is in use{taken}: not supported; it computes the same without one up to {window} tokens, \
             so set max_position_embeddings to at most that to say that no text will be longer"
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
        .context("config has no rope_theta")?
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
    let Some(kind) = kind else {
        // What transformers 5 reads of a table with nothing but the angle.
        ensure!(
            table
                .iter()
                .all(|(key, value)| key == "rope_theta" || value.is_null()),
            "config: the rope table has no rope_type: add the one that its other keys belong to (\"llama3\", say), or take \
             the table out where the model was trained without"
        );
        return Ok(RopeScaling::None);
    };
    match kind.as_str() {
        Some("default") => Ok(RopeScaling::None),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: number(table, "factor")?,
            low_freq_factor: number(table, "low_freq_factor")?,
            high_freq_factor: number(table, "high_freq_factor")?,
            original_max_position_embeddings: size(table, "original_max_position_embeddings")?,
        }),
        _ => bail!(
            "rope type {kind} is not supported: only default and llama3; a table that was put in to read longer texts than the \
             model was trained on (as Qwen's model cards do with yarn) may be taken out for texts that are not longer, a model \
             that was trained with it cannot be used"
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
