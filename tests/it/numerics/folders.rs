//! Model folders and training states on disk: exact round trips, and whatever would need guessing is refused by name.

use super::{FAMILIES, tiny, weights};
use pipe::learn::checkpoint::{self, State};
use pipe::learn::config::{Config, Family, Head, RopeScaling};
use pipe::learn::weights::Weights;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::path::Path;

#[test]
fn a_config_survives_the_way_to_json_and_back() {
    for (family, head) in FAMILIES {
        let mut config = tiny(family, head);
        assert_eq!(Config::from_json(&config.to_json()).expect("read"), config);
        config.rope_scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        };
        config.head = Head::Score { labels: 1 };
        assert_eq!(Config::from_json(&config.to_json()).expect("read"), config);
    }
}

/// What is said of this config with one key changed; null takes it away.
fn refused(family: Family, key: &str, value: Value) -> String {
    let mut bad = tiny(family, Head::Untied).to_json();
    bad[key] = value;
    let error = Config::from_json(&bad).expect_err(&format!("{family:?} {key}"));
    format!("{error:#}")
}

#[test]
fn a_config_that_would_need_guessing_is_refused_by_name() {
    let llama3 = |missing: &str| {
        let mut table = json!({
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        });
        table[missing] = Value::Null;
        table
    };
    let sliding = json!(["full_attention", "sliding_attention"]);
    // Key, what it becomes, and words of the complaint.
    let cases: &[(&str, Value, &[&str])] = &[
        (
            "rope_theta",
            Value::Null,
            &[
                "no rope_theta",
                "rope_parameters",
                "add rope_theta = 10000.0",
            ],
        ),
        ("rope_theta", json!("big"), &["rope_theta is not a number"]),
        ("rope_theta", json!(0.0), &["rope_theta must be above zero"]),
        (
            "rope_scaling",
            json!({"rope_type": "yarn"}),
            &["rope type \"yarn\"", "only default and llama3"],
        ),
        (
            "rope_scaling",
            json!({"type": "linear", "factor": 2.0}),
            &["rope type \"linear\""],
        ),
        (
            "rope_scaling",
            json!({"factor": 2.0}),
            &["has no rope_type", "trained without"],
        ),
        (
            "rope_scaling",
            json!("llama3"),
            &["rope_scaling is not an object"],
        ),
        ("rope_scaling", llama3("factor"), &["factor is absent"]),
        (
            "rope_scaling",
            llama3("low_freq_factor"),
            &["low_freq_factor is absent"],
        ),
        (
            "rope_scaling",
            llama3("high_freq_factor"),
            &["high_freq_factor is absent"],
        ),
        (
            "rope_scaling",
            llama3("original_max_position_embeddings"),
            &["original_max_position_embeddings is absent"],
        ),
        (
            "rope_parameters",
            json!({"rope_type": "dynamic", "rope_theta": 10000.0}),
            &["rope type \"dynamic\""],
        ),
        (
            "rope_parameters",
            json!({"rope_type": "default", "rope_theta": 5.0}),
            &["rope_theta is 10000.0 at the top and 5.0 in rope_parameters"],
        ),
        (
            "architectures",
            json!(["GPT2LMHeadModel"]),
            &["GPT2LMHeadModel", "only Qwen2"],
        ),
        ("architectures", Value::Null, &["architectures is absent"]),
        ("hidden_act", json!("gelu"), &["gelu", "only silu"]),
        ("hidden_act", Value::Null, &["hidden_act is absent"]),
        (
            "tie_word_embeddings",
            Value::Null,
            &["tie_word_embeddings is absent"],
        ),
        (
            "tie_word_embeddings",
            json!("yes"),
            &["tie_word_embeddings is not true or false"],
        ),
        ("num_key_value_heads", json!(3), &["num_key_value_heads 3"]),
        (
            "num_key_value_heads",
            Value::Null,
            &["num_key_value_heads is absent"],
        ),
        ("rms_norm_eps", Value::Null, &["rms_norm_eps is absent"]),
        (
            "partial_rotary_factor",
            json!(0.5),
            &["partial_rotary_factor 0.5"],
        ),
        ("head_dim", json!(7), &["head_dim 7 is odd"]),
        (
            "layer_types",
            sliding,
            &["layer_types", "only full_attention"],
        ),
        (
            "quantization_config",
            json!({"bits": 4}),
            &["quantised", "bf16, f16 or f32"],
        ),
        ("attention_bias", json!(true), &["attention_bias is on"]),
        ("mlp_bias", json!(true), &["mlp_bias is on"]),
        ("vocab_size", json!(0), &["vocab_size is zero"]),
        (
            "vocab_size",
            json!(1.5),
            &["vocab_size is not a whole number"],
        ),
    ];
    for family in [Family::Qwen2, Family::Qwen3, Family::Llama, Family::Mistral] {
        for (key, value, words) in cases {
            let error = refused(family, key, value.clone());
            for word in *words {
                assert!(error.contains(word), "{family:?} {key}: {word} in: {error}");
            }
        }
    }
    let words = "sliding_window 64 is in use";
    assert!(refused(Family::Mistral, "sliding_window", json!(64)).contains(words));
    assert!(refused(Family::Qwen3, "head_dim", Value::Null).contains("add head_dim = 128"));
}

#[test]
fn a_window_counts_where_the_family_has_it_on_and_shorter_than_the_context() {
    let with = |family, keys: Value| {
        let mut config = tiny(family, Head::Untied).to_json();
        for (key, value) in keys.as_object().expect("keys") {
            config[key] = value.clone();
        }
        Config::from_json(&config)
    };
    // The context of these configs is 512.
    for family in [Family::Qwen2, Family::Qwen3] {
        let on = json!({"sliding_window": 64, "use_sliding_window": true});
        let error = format!("{:#}", with(family, on).expect_err("a window"));
        assert!(error.contains("at most that"), "{error}");
        let off = json!({"sliding_window": 64, "use_sliding_window": false});
        assert!(with(family, off).is_ok());
    }
    assert!(with(Family::Mistral, json!({"sliding_window": 512})).is_ok());
}

#[test]
fn both_spellings_of_the_rotation_are_read_and_may_stand_side_by_side() {
    let bands = json!({
        "rope_type": "llama3",
        "rope_theta": 5.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    });
    let mut old = tiny(Family::Llama, Head::Untied).to_json();
    old["rope_theta"] = json!(5.0);
    old["rope_scaling"] = bands.clone();
    let mut new = old.clone();
    new["rope_theta"] = Value::Null;
    new["rope_scaling"] = Value::Null;
    new["rope_parameters"] = bands.clone();
    let mut both = old.clone();
    both["rope_parameters"] = bands;
    let read = |json: &Value| Config::from_json(json).expect("read");
    assert_eq!(read(&old).rope_theta, 5.0);
    assert!(matches!(
        read(&old).rope_scaling,
        RopeScaling::Llama3 { .. }
    ));
    assert_eq!(read(&new), read(&old));
    assert_eq!(read(&both), read(&old));
    both["rope_scaling"]["factor"] = json!(4.0);
    let error = format!("{:#}", Config::from_json(&both).expect_err("two factors"));
    assert!(
        error.contains("rope_parameters and rope_scaling disagree"),
        "{error}"
    );
    // Nothing is the angle of no rope table; a theta inside a table without one is still asked for.
    new["rope_parameters"] = json!({"rope_type": "default"});
    let error = format!("{:#}", Config::from_json(&new).expect_err("no theta"));
    assert!(error.contains("no rope_theta"), "{error}");
}

fn saved(folder: &Path) -> Weights {
    let weights = weights(Family::Llama, Head::Untied);
    checkpoint::save(&weights, folder).expect("saved");
    weights
}

#[test]
fn a_broken_checkpoint_is_refused_with_the_file_or_tensor_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = saved(folder.path());
    let refuse = |words: &[&str]| {
        let error = format!(
            "{:#}",
            checkpoint::load(folder.path()).expect_err("refused")
        );
        for word in words {
            assert!(error.contains(word), "{word} in: {error}");
        }
    };
    let config = folder.path().join("config.json");
    let write = |key: &str, value: Value| {
        let mut json = weights.config.to_json();
        json[key] = value;
        std::fs::write(&config, json.to_string()).expect("written");
    };
    write("intermediate_size", json!(41));
    refuse(&["mlp.down_proj.weight", "shape", "model.safetensors"]);
    write("num_hidden_layers", json!(3));
    refuse(&["missing", "model.layers.2.self_attn.q_proj.weight"]);
    write("num_hidden_layers", json!(1));
    refuse(&["does not know", "model.layers.1.self_attn.q_proj.weight"]);
    write("tie_word_embeddings", json!(true));
    refuse(&["lm_head.weight", "ties"]);
    write("vocab_size", json!(37));
    let file = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&file).expect("bytes");
    std::fs::write(&file, &bytes[..bytes.len() - 5]).expect("written");
    refuse(&["model.safetensors"]);
    std::fs::remove_file(&file).expect("removed");
    refuse(&["model.safetensors.index.json"]);
}

#[test]
fn an_untied_checkpoint_without_a_head_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let tied = weights(Family::Qwen2, Head::Tied);
    checkpoint::save(&tied, folder.path()).expect("saved");
    let mut json = tied.config.to_json();
    json["tie_word_embeddings"] = json!(false);
    std::fs::write(folder.path().join("config.json"), json.to_string()).expect("written");
    let error = format!(
        "{:#}",
        checkpoint::load(folder.path()).expect_err("refused")
    );
    assert!(error.contains("lm_head.weight is missing"), "{error}");
    assert!(error.contains("tie_word_embeddings = true"), "{error}");
}

#[test]
fn a_spare_head_is_the_embeddings_or_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut untied = saved(folder.path());
    let config = folder.path().join("config.json");
    let tie = |weights: &Weights| {
        checkpoint::save(weights, folder.path()).expect("saved");
        let mut json = weights.config.to_json();
        json["tie_word_embeddings"] = json!(true);
        std::fs::write(&config, json.to_string()).expect("written");
        checkpoint::load(folder.path())
    };
    let error = format!("{:#}", tie(&untied).expect_err("two heads"));
    assert!(error.contains("lm_head.weight differs"), "{error}");
    assert!(error.contains("tie_word_embeddings = false"), "{error}");
    let (embed, head) = (untied.layout.embed.clone(), untied.layout.head.clone());
    untied.data.copy_within(embed, head.start);
    let loaded = tie(&untied).expect("the same table twice");
    assert_eq!(loaded.config.head, Head::Tied);
    assert_eq!(loaded.embed(), untied.embed());
}

#[test]
fn a_tensor_of_another_type_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = saved(folder.path());
    let path = folder.path().join("model.safetensors");
    let norm = weights.param("model.norm.weight").expect("a norm");
    let bytes: Vec<u8> = norm
        .iter()
        .flat_map(|x| f64::from(*x).to_le_bytes())
        .collect();
    let shape = vec![norm.len()];
    let view = TensorView::new(Dtype::F64, shape, &bytes).expect("a tensor");
    let file = serialize([("model.norm.weight", view)], None).expect("a file");
    std::fs::write(&path, file).expect("written");
    let error = format!(
        "{:#}",
        checkpoint::load(folder.path()).expect_err("refused")
    );
    for word in ["model.norm.weight", "F64", "only F32, BF16 and F16"] {
        assert!(error.contains(word), "{word} in: {error}");
    }
}

#[test]
fn a_training_state_survives_the_disk_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.safetensors");
    let odd = vec![f32::MIN_POSITIVE / 8.0, -0.0, 1.0 / 3.0, f32::MAX];
    let header = json!({"step": 7, "updates": 7, "text": "naïve"});
    let arrays = [("weights", &odd[..]), ("first", &[0.5])].into();
    checkpoint::save_state(&path, &header, &arrays).expect("saved");
    let again = State::load(&path).expect("loaded");
    assert_eq!(again.header, header);
    assert_eq!(again.arrays["first"], [0.5]);
    let bits = |list: &[f32]| list.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&again.arrays["weights"]), bits(&odd));
    let bytes = std::fs::read(&path).expect("bytes");
    checkpoint::save_state(&path, &header, &arrays).expect("saved");
    assert_eq!(std::fs::read(&path).expect("bytes"), bytes);
    std::fs::write(&path, &bytes[..20]).expect("written");
    let error = format!("{:#}", State::load(&path).expect_err("refused"));
    assert!(error.contains("state.safetensors"), "{error}");
}
