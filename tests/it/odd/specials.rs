//! Which token begins a text and which end a turn, of folders that say it in every place where transformers looks.

use super::folders::{MODEL, edit, study};
use pipe::base::rows::Message;
use pipe::learn::chat;
use pipe::learn::tokenizer::Tokenizer;
use pipe::world::vocab;
use serde_json::{Value, json};
use std::path::Path;

const BOS: &str = vocab::END_OF_TEXT;

/// Writes a BOS before the first turn.
const WITH_BOS: &str = "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}\
                        {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// The text of a prompt, or what is said.
fn prompt(folder: &Path) -> Result<String, String> {
    let text = || {
        let tokenizer = Tokenizer::load(folder)?;
        chat::prompt_text(&tokenizer, &[Message::new("user", "why ?")], None)
    };
    text().map_err(|error: anyhow::Error| format!("{error:#}"))
}

fn tokenizer_config(folder: &Path, change: impl FnOnce(&mut Value)) {
    edit(&folder.join("tokenizer_config.json"), |config| {
        config["chat_template"] = json!(WITH_BOS);
        config.as_object_mut().unwrap().remove("bos_token");
        change(config);
    });
}

#[test]
fn the_first_token_is_the_one_that_transformers_reads() {
    let map = |value: Value| json!({ "bos_token": value });
    let object = json!({ "content": BOS, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false });
    // What tokenizer_config.json and special_tokens_map.json say of it, and what comes of it.
    type Case = (Value, Value, Option<&'static str>);
    let cases: [Case; 8] = [
        (json!({ "bos_token": BOS }), json!(null), Some(BOS)),
        (
            json!({ "bos_token": object.clone() }),
            json!(null),
            Some(BOS),
        ),
        (json!({}), map(json!(BOS)), Some(BOS)),
        (json!({}), map(object), Some(BOS)),
        // The map goes before, unless the added tokens are in the other file.
        (
            json!({ "bos_token": vocab::END }),
            map(json!(BOS)),
            Some(BOS),
        ),
        (
            json!({ "bos_token": BOS, "added_tokens_decoder": {} }),
            map(json!(vocab::END)),
            Some(BOS),
        ),
        // Null is an answer: there is none.
        (json!({ "bos_token": null }), json!(null), Some("")),
        (json!({ "added_tokens_decoder": {} }), map(json!(BOS)), None),
    ];
    for (i, (config, map, expected)) in cases.into_iter().enumerate() {
        let (_study, folder) = study();
        tokenizer_config(&folder, |all| {
            for (key, value) in config.as_object().unwrap() {
                all[key] = value.clone();
            }
        });
        if !map.is_null() {
            std::fs::write(folder.join("special_tokens_map.json"), map.to_string()).unwrap();
        }
        match (prompt(&folder), expected) {
            (Ok(text), Some(first)) => assert!(
                text.starts_with(&format!("{first}<|im_start|>user\nwhy ?")),
                "{i}: {text}"
            ),
            (Err(error), None) => {
                assert!(
                    error.contains("bos_token") && error.contains("tokenizer_config.json"),
                    "{i}: {error}"
                );
                assert!(
                    error.contains(&format!("add \"bos_token\": \"{BOS}\"")),
                    "{i}: {error}"
                );
            }
            (got, _) => panic!("{i}: {got:?}"),
        }
    }
}

#[test]
fn a_token_that_nobody_names_is_an_error_where_it_is_written_and_none_where_it_is_asked_for() {
    let written = [
        "{{ bos_token }}x",
        "{{ bos_token + 'x' }}",
        "{% set b = bos_token %}{{ b }}x",
        "{{ bos_token ~ 'x' }}",
    ];
    let asked = [
        "{% if bos_token %}{{ bos_token }}{% endif %}x",
        "{% if bos_token is defined %}{{ bos_token }}{% endif %}x",
        "{{ bos_token | default('') }}x",
        "{{ bos_token if bos_token is defined else '' }}x",
        "x",
    ];
    // What is asked has to come out.
    let whole = |source: &str| {
        format!("{source}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}")
    };
    for source in written {
        let (study, folder) = study();
        tokenizer_config(&folder, |c| c["chat_template"] = json!(whole(source)));
        let error = prompt(&folder).expect_err(source);
        assert!(error.contains("bos_token"), "{source}: {error}");
        let failure = study.try_run(MODEL).failure("model");
        assert!(failure.contains("bos_token"), "{source}: {failure}");
    }
    for source in asked {
        let (_study, folder) = study();
        tokenizer_config(&folder, |c| c["chat_template"] = json!(whole(source)));
        assert_eq!(prompt(&folder).expect(source), "xwhy ?", "{source}");
    }
}

#[test]
fn a_token_that_the_vocabulary_lacks_is_not_spelled_out() {
    let (_study, folder) = study();
    tokenizer_config(&folder, |c| c["bos_token"] = json!("<s>"));
    let error = prompt(&folder).unwrap_err();
    assert!(
        error.contains("bos_token, \"<s>\", which is not in the vocabulary"),
        "{error}"
    );
}

#[test]
fn a_token_that_only_the_other_files_add_is_one_token_all_the_same() {
    let next = u64::from(Tokenizer::load(&study().1).unwrap().vocab_size() as u32);
    let decoder = |id: u64| {
        move |folder: &Path| {
            edit(&folder.join("tokenizer_config.json"), |c| {
                c["added_tokens_decoder"] =
                    json!({ id.to_string(): { "content": "<step>", "special": true } });
            })
        }
    };
    let older = move |folder: &Path| {
        std::fs::write(
            folder.join("added_tokens.json"),
            json!({ "<step>": next }).to_string(),
        )
        .unwrap()
    };
    let room = |folder: &Path| {
        edit(&folder.join("config.json"), |c| {
            c["vocab_size"] = json!(next + 8)
        })
    };
    for harm in [&decoder(next) as &dyn Fn(&Path), &older] {
        let (_study, folder) = study();
        room(&folder);
        harm(&folder);
        let ids = Tokenizer::load(&folder).unwrap().encode("<step>").unwrap();
        assert_eq!(ids, [next as u32]);
    }
    let (_study, folder) = study();
    room(&folder);
    decoder(next + 3)(&folder);
    let error = Tokenizer::load(&folder).err().unwrap().to_string();
    assert!(
        error.contains("<step>") && error.contains(&format!("id {}", next + 3)),
        "{error}"
    );
}

#[test]
fn the_ids_that_end_a_turn_are_those_that_transformers_reads() {
    let (end, text) = (vocab::id(vocab::END), vocab::id(vocab::END_OF_TEXT));
    // eos_token of the tokenizer, eos_token_id of generation_config.json and of config.json.
    let cases: [(Value, Value, Value, &[u32]); 5] = [
        (json!(vocab::END), json!(null), json!(null), &[end]),
        (json!(null), json!([end, text]), json!(null), &[end, text]),
        (json!(null), json!(null), json!(end), &[end]),
        (json!(null), json!(null), json!([end, text]), &[end, text]),
        // generation_config.json is read first.
        (json!(null), json!(end), json!(text), &[end]),
    ];
    for (i, (eos, generation, model, expected)) in cases.into_iter().enumerate() {
        let (_study, folder) = study();
        edit(&folder.join("tokenizer_config.json"), |c| {
            c["eos_token"] = eos
        });
        edit(&folder.join("generation_config.json"), |c| {
            c["eos_token_id"] = generation
        });
        edit(&folder.join("config.json"), |c| c["eos_token_id"] = model);
        let tokenizer = Tokenizer::load(&folder).unwrap();
        let mut expected = expected.to_vec();
        expected.sort();
        assert!(
            tokenizer.stop_ids().iter().eq(&expected),
            "{i}: {:?}",
            tokenizer.stop_ids()
        );
    }
    let (_study, folder) = study();
    for file in [
        "tokenizer_config.json",
        "generation_config.json",
        "config.json",
    ] {
        edit(&folder.join(file), |c| {
            c["eos_token"] = json!(null);
            c["eos_token_id"] = json!(null);
        });
    }
    let error = Tokenizer::load(&folder).err().unwrap().to_string();
    assert!(error.contains("names no token that ends a turn"), "{error}");
    edit(&folder.join("config.json"), |c| {
        c["eos_token_id"] = json!(99999)
    });
    let error = Tokenizer::load(&folder).err().unwrap().to_string();
    assert!(
        error.contains("config.json") && error.contains("99999"),
        "{error}"
    );
}

#[test]
fn a_base_model_with_a_template_whose_turns_end_with_another_token_is_named_with_a_cure() {
    let (study, folder) = study();
    let (end, text) = (vocab::id(vocab::END), vocab::id(vocab::END_OF_TEXT));
    edit(&folder.join("tokenizer_config.json"), |c| {
        c["eos_token"] = json!(vocab::END_OF_TEXT)
    });
    edit(&folder.join("generation_config.json"), |c| {
        c["eos_token_id"] = json!(text)
    });
    let failure = study.try_run(MODEL).failure("model");
    for word in [
        "ends a turn with <|im_end|>",
        vocab::END_OF_TEXT,
        "\"eos_token\": \"<|im_end|>\"",
        &format!("\"eos_token_id\": [{end}, {text}]"),
        "generation_config.json",
    ] {
        assert!(failure.contains(word), "{word} in: {failure}");
    }
    // Either cure is one.
    edit(&folder.join("generation_config.json"), |c| {
        c["eos_token_id"] = json!([end, text])
    });
    study.run(MODEL);
    edit(&folder.join("generation_config.json"), |c| {
        c["eos_token_id"] = json!(text)
    });
    edit(&folder.join("tokenizer_config.json"), |c| {
        c["eos_token"] = json!(vocab::END)
    });
    study.run(MODEL);
}
