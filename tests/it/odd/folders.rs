//! Model and adapter folders of somebody else's that are not what they look like: each is read as transformers and peft read
//! it, or refused with the file, the field and a cure that works.

use crate::numerics::{FAMILIES, tiny};
use crate::reward_model::{weights, write};
use crate::study::{Ran, Study};
use pipe::base::rng::Seed;
use pipe::engine::events::event::State;
use pipe::learn::adapter::{Adapter, Linear, Options};
use pipe::learn::checkpoint;
use pipe::learn::config::{Config, Family, Head};
use pipe::learn::peft;
use pipe::learn::weights::Weights;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).unwrap(),
        Err(_) => json!({}),
    };
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// A study with a language model in `model/`.
pub fn study() -> (Study, PathBuf) {
    let study = Study::new();
    let folder = study.dir.path().join("model");
    write(&folder, &weights(Family::Llama, Head::Untied));
    (study, folder)
}

pub const MODEL: &str = "[node.model]\nkind = \"local-model\"\npath = \"model\"\n";

const ASKED: &str = r#"
[node.asked]
kind = "prompts-file"
path = "asked.csv"
[node.answers]
kind = "generate"
in = { model = "model", prompts = "asked" }
max_new_tokens = 3
temperature = 0.0
"#;

fn ask(study: &Study, prompt: &str) -> Ran {
    study.file("asked.csv", format!("id,prompt\nfirst,{prompt}\n"));
    study.try_run(&[MODEL, ASKED].concat())
}

/// Finite weights whose logits are not.
fn overflowing(head: Head) -> Weights {
    let mut weights = weights(Family::Llama, head);
    let (norm, head) = (
        weights.layout.final_norm.clone(),
        weights.layout.head.clone(),
    );
    weights.data[norm].fill(1e30);
    weights.data[head].fill(1e20);
    weights
}

#[test]
fn weights_that_are_not_finite_are_named_by_tensor() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (study, folder) = study();
        let mut broken = weights(Family::Llama, Head::Untied);
        let name = "model.layers.1.mlp.down_proj.weight";
        let at = broken.layout.param(name).unwrap().range.start + 5;
        broken.data[at] = bad;
        checkpoint::save(&broken, &folder).unwrap();
        let failure = study.try_run(MODEL).failure("model");
        for word in ["model.safetensors", name, "place 5", &bad.to_string()] {
            assert!(failure.contains(word), "{word} in: {failure}");
        }
    }
}

#[test]
fn a_table_of_zeros_is_no_model() {
    let (study, folder) = study();
    let mut hollow = weights(Family::Llama, Head::Untied);
    let norm = hollow.layout.final_norm.clone();
    hollow.data[norm].fill(0.0);
    checkpoint::save(&hollow, &folder).unwrap();
    let failure = study.try_run(MODEL).failure("model");
    assert!(
        failure.contains("model.norm.weight holds zeros only"),
        "{failure}"
    );
}

#[test]
fn a_model_that_overflows_answers_nothing() {
    let (study, folder) = study();
    checkpoint::save(&overflowing(Head::Untied), &folder).unwrap();
    let ran = ask(&study, "why ?");
    let failure = ran.failure("answers");
    for word in ["prompt first", "token 1 of sample 0", "overflows"] {
        assert!(failure.contains(word), "{word} in: {failure}");
    }
}

/// Squares that overflow inside of the model leave finite logits, all of them the same.
#[test]
fn a_model_that_overflows_inside_answers_nothing_either() {
    let (study, folder) = study();
    let mut broken = weights(Family::Llama, Head::Untied);
    let embed = broken.layout.embed.clone();
    broken.data[embed].iter_mut().for_each(|x| *x *= 1e25);
    checkpoint::save(&broken, &folder).unwrap();
    let failure = ask(&study, "why ?").failure("answers");
    assert!(failure.contains("a logit is NaN"), "{failure}");
}

const TRAINED: &str = r#"
[node.told]
kind = "exec"
command = ["cp", "{file.0}", "{out.conversations}"]
files = ["told.jsonl"]
outputs = ["conversations"]
[node.compared]
kind = "exec"
command = ["cp", "{file.0}", "{out.pairs}"]
files = ["compared.jsonl"]
outputs = ["pairs"]
[node.sft]
kind = "sft"
in = { model = "model", conversations = "told" }
epochs = 1
batch = 1
[node.dpo]
kind = "dpo"
in = { model = "model", pairs = "compared" }
epochs = 1
batch = 1
"#;

fn train(study: &Study, answer: &str) -> Ran {
    let told = json!({ "id": "talk", "prompt_id": "1", "source": "x", "messages": [
        { "role": "user", "content": "why ?" },
        { "role": "assistant", "content": answer },
    ] });
    study.file("told.jsonl", format!("{told}\n"));
    let compared = json!({
        "id": "both", "prompt_id": "1", "class": "harmless", "prompt": "why ?", "source": "x", "category": "", "difficulty": 0,
        "chosen": answer, "rejected": "wash .", "chosen_finished": true, "rejected_finished": true,
        "chosen_score": 1.0, "rejected_score": 0.0,
    });
    study.file("compared.jsonl", format!("{compared}\n"));
    study.try_run(&[MODEL, TRAINED].concat())
}

#[test]
fn training_on_a_model_that_overflows_names_the_row_and_blames_no_learning_rate() {
    let (study, folder) = study();
    checkpoint::save(&overflowing(Head::Untied), &folder).unwrap();
    let ran = train(&study, "use .");
    let failure = ran.failure("sft");
    for word in [
        "not finite: `loss`",
        "step 1",
        "conversation talk, token ",
        "nothing was learned yet",
    ] {
        assert!(failure.contains(word), "{word} in: {failure}");
    }
    let failure = ran.failure("dpo");
    for word in ["pair both, chosen", "overflows"] {
        assert!(failure.contains(word), "{word} in: {failure}");
    }
}

#[test]
fn a_reward_model_that_overflows_scores_nothing() {
    let (study, _) = study();
    let folder = study.dir.path().join("judge");
    write(&folder, &overflowing(Head::Score { labels: 1 }));
    study.file("asked.csv", "id,prompt\nfirst,why ?\n");
    let ran = study.try_run(&format!(
        "{MODEL}{ASKED}{}",
        r#"
[node.judge]
kind = "local-reward-model"
path = "judge"
[node.scores]
kind = "evaluate"
in = { completions = "answers", reward_model = "judge" }
scorer = "reward_model"
"#
    ));
    let failure = ran.failure("scores");
    assert!(failure.contains("prompt first"), "{failure}");
    assert!(failure.contains("overflows"), "{failure}");
}

/// Adds a token to the tokenizer, at the first id that is free.
fn add_token(folder: &Path, token: &str) -> u64 {
    let mut id = 0;
    edit(&folder.join("tokenizer.json"), |t| {
        let of_vocabulary = t["model"]["vocab"].as_object().unwrap().values();
        let added = t["added_tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| &a["id"]);
        id = of_vocabulary
            .chain(added)
            .filter_map(Value::as_u64)
            .max()
            .unwrap()
            + 1;
        let entry = json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true });
        t["added_tokens"].as_array_mut().unwrap().push(entry);
    });
    id
}

#[test]
fn a_token_without_a_row_is_found_where_the_folder_is_checked() {
    let (study, folder) = study();
    let rows = weights(Family::Llama, Head::Untied).config.vocab_size as u64;
    let id = add_token(&folder, "<far>");
    assert_eq!(id, rows, "the first id beyond the table");
    let failure = study.try_run(MODEL).failure("model");
    for word in [
        "<far>",
        &format!("id {id}, and the model has {rows} embeddings"),
        "tokenizer.json",
        "vocab_size of config.json",
        "resize_token_embeddings",
    ] {
        assert!(failure.contains(word), "{word} in: {failure}");
    }
    // A table with room to spare is fine.
    let mut config = weights(Family::Llama, Head::Untied).config;
    config.vocab_size += 9;
    checkpoint::save(&Weights::random(config, Seed::new(1)), &folder).unwrap();
    study.run(MODEL);
}

#[test]
fn a_tokenizer_gives_no_id_that_its_model_has_no_row_for() {
    let (_study, folder) = study();
    add_token(&folder, "<far>");
    let tokenizer = pipe::learn::tokenizer::Tokenizer::load(&folder).unwrap();
    assert!(tokenizer.encode("why ?").is_ok());
    let error = tokenizer.encode("why <far> ?").unwrap_err().to_string();
    assert!(
        error.contains("embeddings") && error.contains("<far>"),
        "{error}"
    );
}

#[test]
fn the_mode_of_a_file_is_no_content() {
    let (study, folder) = study();
    study.file("asked.csv", "id,prompt\nfirst,why ?\n");
    let recipe = [MODEL, ASKED].concat();
    let first = study.run(&recipe);
    for mode in [0o755, 0o600, 0o444] {
        for entry in fs::read_dir(&folder).unwrap() {
            fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(mode)).unwrap();
        }
        let again = study.run(&recipe);
        for node in ["model", "answers"] {
            let state = again.state(node);
            assert!(
                matches!(state, State::Hit { .. }),
                "{mode:o} {node}: {state:?}"
            );
        }
        // Another store has no memory of the first.
        let other = crate::study::run_in(
            &study.dir.path().join(format!("{mode:o}")),
            &study.graph(&recipe),
            |_| {},
            |_| {},
        );
        for node in ["model", "answers"] {
            assert_eq!(other.digests(node), first.digests(node), "{mode:o} {node}");
            assert_eq!(
                other.record(node).key,
                first.record(node).key,
                "{mode:o} {node}"
            );
        }
    }
}

#[test]
fn a_link_to_a_file_is_that_file() {
    let (study, folder) = study();
    let first = study.run(MODEL);
    let file = folder.join("model.safetensors");
    let away = study.dir.path().join("blob");
    fs::rename(&file, &away).unwrap();
    std::os::unix::fs::symlink(&away, &file).unwrap();
    let again = study.run(MODEL);
    assert_eq!(again.record("model").key, first.record("model").key);
}

#[test]
fn what_a_program_writes_is_the_same_with_any_mode() {
    let digest = |mode: &str| {
        let study = Study::new();
        study.file(
            "asked.jsonl",
            r#"{"id": "1", "class": "harmless", "prompt": "why ?", "source": "x", "category": "", "difficulty": 0}"#,
        );
        let recipe = format!(
            "[node.made]\nkind = \"exec\"\ncommand = [\"install\", \"-m\", \"{mode}\", \"{{file.0}}\", \"{{out.prompts}}\"]\n\
             files = [\"asked.jsonl\"]\noutputs = [\"prompts\"]\n"
        );
        study.run(&recipe).digests("made")
    };
    assert_eq!(digest("755"), digest("644"));
}

/// What is said of a config, and whether doing what it says helps.
#[test]
fn what_a_config_lacks_is_said_with_a_cure_that_works() {
    for (family, head) in FAMILIES {
        let whole = tiny(family, head).to_json();
        for key in [
            "rope_theta",
            "rms_norm_eps",
            "hidden_act",
            "tie_word_embeddings",
            "num_key_value_heads",
            "max_position_embeddings",
            "head_dim",
        ] {
            let mut lacking = whole.clone();
            lacking.as_object_mut().unwrap().remove(key);
            let Err(error) = Config::from_json(&lacking) else {
                assert!(
                    key == "head_dim" && family != Family::Qwen3,
                    "{family:?} {key}"
                );
                continue;
            };
            let error = format!("{error:#}");
            let (_, cure) = error.split_once(&format!("add {key} = ")).expect(&error);
            let (value, _) = cure.split_once(' ').unwrap();
            lacking[key] = serde_json::from_str(value).unwrap();
            // Of heads that do not fit these sizes, transformers' own value is said all the same.
            match Config::from_json(&lacking) {
                Ok(config) if key == "rope_theta" => assert_eq!(config.rope_theta, 10000.0),
                Ok(_) => {}
                Err(error) => assert!(key == "num_key_value_heads", "{family:?} {key}: {error:#}"),
            }
        }
    }
}

#[test]
fn a_window_that_is_not_spoken_of_is_what_transformers_takes() {
    let mut config = tiny(Family::Mistral, Head::Untied).to_json();
    config.as_object_mut().unwrap().remove("sliding_window");
    assert!(
        Config::from_json(&config).is_ok(),
        "4096 is beyond these positions"
    );
    config["max_position_embeddings"] = json!(32768);
    let error = format!("{:#}", Config::from_json(&config).unwrap_err());
    assert!(
        error.contains("sliding_window 4096") && error.contains("\"sliding_window\": null"),
        "{error}"
    );
    config["sliding_window"] = Value::Null;
    assert!(Config::from_json(&config).is_ok());
}

#[test]
fn two_names_of_one_architecture_have_to_agree() {
    let mut config = tiny(Family::Llama, Head::Untied).to_json();
    config["model_type"] = json!("mistral");
    let error = format!("{:#}", Config::from_json(&config).unwrap_err());
    assert!(
        error.contains("mistral") && error.contains("LlamaForCausalLM"),
        "{error}"
    );
    config["model_type"] = json!("llama");
    config.as_object_mut().unwrap().remove("architectures");
    let error = format!("{:#}", Config::from_json(&config).unwrap_err());
    assert!(
        error.contains("\"architectures\": [\"LlamaForCausalLM\"]"),
        "{error}"
    );
}

#[test]
fn the_newest_spelling_of_no_scaling_is_none() {
    let mut config = tiny(Family::Llama, Head::Untied).to_json();
    config.as_object_mut().unwrap().remove("rope_theta");
    config.as_object_mut().unwrap().remove("rope_scaling");
    config["rope_parameters"] = json!({ "rope_theta": 10000.0 });
    let read = Config::from_json(&config).unwrap();
    assert_eq!(read, tiny(Family::Llama, Head::Untied));
    config["rope_parameters"]["partial_rotary_factor"] = json!(0.5);
    config["rope_parameters"]["rope_type"] = json!("default");
    let error = format!("{:#}", Config::from_json(&config).unwrap_err());
    assert!(error.contains("partial_rotary_factor 0.5"), "{error}");
}

#[test]
fn weights_in_other_files_are_named_with_the_way_to_the_right_ones() {
    type Harm = fn(&Path);
    fn moved(folder: &Path, to: &str) {
        fs::rename(folder.join("model.safetensors"), folder.join(to)).unwrap();
    }
    let cases: [(Harm, &[&str]); 11] = [
        (
            |f| moved(f, "pytorch_model.bin"),
            &["pytorch_model.bin, a pickle", "save_pretrained"],
        ),
        (|f| moved(f, "PYTORCH_MODEL.BIN"), &["a pickle"]),
        (
            |f| moved(f, "consolidated.00.pth"),
            &["consolidated.00.pth, a pickle"],
        ),
        (
            |f| moved(f, "model-q4.gguf"),
            &["model-q4.gguf", "bf16, f16 or f32"],
        ),
        (
            |f| moved(f, "MODEL.SAFETENSORS"),
            &["MODEL.SAFETENSORS", "model.safetensors: rename it"],
        ),
        (
            |f| moved(f, "model-00001-of-00002.safetensors"),
            &["the index", "model.safetensors.index.json as well"],
        ),
        (
            |f| moved(f, "model-00001-of-00001.safetensors"),
            &["rename model-00001-of-00001.safetensors"],
        ),
        (
            |f| {
                fs::write(
                    f.join("model.safetensors"),
                    "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                )
                .unwrap()
            },
            &["model.safetensors is a pointer of Git LFS", "git lfs pull"],
        ),
        (
            |f| fs::rename(f.join("tokenizer.json"), f.join("tokenizer.model")).unwrap(),
            &[
                "no tokenizer.json, only tokenizer.model",
                "AutoTokenizer",
                "save_pretrained",
            ],
        ),
        (
            |f| fs::rename(f.join("config.json"), f.join("Config.json")).unwrap(),
            &["holds Config.json", "config.json: rename it"],
        ),
        (
            |f| {
                moved(f, "model-00002-of-00002.safetensors");
                let map = json!({ "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors" });
                fs::write(
                    f.join("model.safetensors.index.json"),
                    json!({ "weight_map": map }).to_string(),
                )
                .unwrap();
            },
            &["names 2 shards, and 1 of them are missing: model-00001-of-00002.safetensors"],
        ),
    ];
    for (i, (harm, words)) in cases.into_iter().enumerate() {
        let (study, folder) = study();
        harm(&folder);
        let failure = study.try_run(MODEL).failure("model");
        for word in words {
            assert!(failure.contains(word), "case {i}: {word} in: {failure}");
        }
    }
}

#[test]
fn texts_longer_than_the_model_was_made_for_are_told_once_with_a_count() {
    let (study, folder) = study();
    edit(&folder.join("config.json"), |c| {
        c["max_position_embeddings"] = json!(16)
    });
    let long = "why ".repeat(40);
    study.file(
        "asked.csv",
        format!("id,prompt\na,why ?\nb,{long}\nc,{long}?\n"),
    );
    let ran = study.run(&[MODEL, ASKED].concat());
    let words = "2 of 3 prompts are longer than the 16 tokens";
    let told = ran
        .said
        .iter()
        .filter(|(node, text)| node == "answers" && text.contains(words));
    assert_eq!(told.count(), 1, "{:?}", ran.said);
    let ran = train(&study, &long);
    assert!(
        ran.said("sft", "1 of 1 conversations are longer than the 16 tokens"),
        "{:?}",
        ran.said
    );
    assert!(
        ran.said("dpo", "1 of 2 answers are longer than the 16 tokens"),
        "{:?}",
        ran.said
    );
}

/// An adapter on q and v of every block, and its model's configuration.
fn adapter(folder: &Path) -> Config {
    let config = tiny(Family::Llama, Head::Untied);
    let options = Options {
        rank: 2,
        alpha: 4.0,
        rank_stabilised: false,
        targets: vec![Linear::Q, Linear::V],
        blocks: 0..config.layers,
    };
    fs::create_dir_all(folder).unwrap();
    peft::save(&Adapter::new(&config, &options, Seed::new(1)), folder).unwrap();
    config
}

#[test]
fn an_adapter_is_read_as_peft_reads_it_or_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = adapter(dir.path());
    let file = dir.path().join("adapter_config.json");
    let whole = fs::read(&file).unwrap();
    let with = |key: &str, value: Value| {
        fs::write(&file, &whole).unwrap();
        edit(&file, |c| c[key] = value);
        peft::load(dir.path(), &config)
    };
    let changing = [
        "pissa",
        "PiSSA",
        "pissa_niter_16",
        "olora",
        "corda",
        "loftq",
        "eva",
        "lora_ga",
        "what_comes_next",
    ];
    let init = changing.map(|word| ("init_lora_weights", json!(word)));
    let others = [
        ("use_dora", json!(true)),
        ("alpha_pattern", json!({ "q_proj": 8 })),
        ("rank_pattern", json!({ "q_proj": 8 })),
        ("modules_to_save", json!(["lm_head"])),
        ("layer_replication", json!([[0, 1], [0, 2]])),
        ("fan_in_fan_out", json!(true)),
        ("bias", json!("lora_only")),
        ("target_parameters", json!(["mlp.experts"])),
        ("trainable_token_indices", json!([1])),
        ("lora_bias", json!(true)),
        ("megatron_config", json!({ "x": 1 })),
        ("use_rslora", json!("yes")),
        ("twisted", json!(3)),
        // PEFT passes over tensors of layers that it was not told of.
        ("target_modules", json!(["q_proj"])),
        ("target_modules", json!(["q_proj", "v_proj", "up_proj"])),
        ("layers_to_transform", json!([0])),
        ("exclude_modules", json!(["v_proj"])),
    ];
    for (key, value) in init.into_iter().chain(others) {
        let error = format!(
            "{:#}",
            with(key, value.clone()).expect_err(&format!("{key} {value}"))
        );
        assert!(
            error.contains(&format!("`{key}`")),
            "{key} {value}: {error}"
        );
        assert!(
            error.contains("adapter_config.json"),
            "{key} {value}: {error}"
        );
    }
    let plain = with("r", json!(2)).unwrap();
    for (key, value) in [
        ("init_lora_weights", json!(true)),
        ("init_lora_weights", json!(false)),
        ("init_lora_weights", json!("gaussian")),
        ("init_lora_weights", json!("orthogonal")),
        ("layers_to_transform", json!([0, 1])),
        ("target_modules", json!("all-linear")),
        ("target_modules", json!(["self_attn.q_proj", "v_proj"])),
        ("lora_dropout", json!(0.1)),
        ("megatron_core", json!("megatron.core")),
        ("loftq_config", json!({})),
        ("new_and_off", json!(false)),
    ] {
        assert_eq!(
            with(key, value.clone()).expect(key).data,
            plain.data,
            "{key} {value}"
        );
    }
    let stabilised = with("use_rslora", json!(true)).unwrap();
    assert!((stabilised.scale() - 4.0 / 2f64.sqrt()).abs() < 1e-12);
}

#[test]
fn an_adapter_in_a_pickle_or_with_a_number_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = adapter(dir.path());
    let file = dir.path().join("adapter_model.safetensors");
    let mut broken = peft::load(dir.path(), &config).unwrap();
    broken.data[3] = f32::NAN;
    peft::save(&broken, dir.path()).unwrap();
    let error = format!("{:#}", peft::load(dir.path(), &config).unwrap_err());
    assert!(
        error.contains("lora_A.weight") && error.contains("NaN"),
        "{error}"
    );
    fs::rename(&file, dir.path().join("adapter_model.bin")).unwrap();
    let error = format!("{:#}", peft::load(dir.path(), &config).unwrap_err());
    assert!(error.contains("adapter_model.bin, a pickle"), "{error}");
}
