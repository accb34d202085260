//! Tokenizer, chat templates and training masks against what transformers wrote, and on bad folders.

use crate::study::reference;
use pipe::base::rows::Message;
use pipe::learn::chat::{self, Example};
use pipe::learn::template::{Dialogue, Template};
use pipe::learn::tokenizer::{self, Tokenizer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `tokenizer/` of the reference set and the kinds in it: every `<kind>_encode.json` with its folder.
fn kinds() -> Option<(PathBuf, Vec<String>)> {
    let folder = reference(&["tokenizer"])?.join("tokenizer");
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut kinds: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| Some(name.strip_suffix("_encode.json")?.to_string()))
        .collect();
    kinds.sort();
    assert!(!kinds.is_empty(), "{} has no cases", folder.display());
    Some((folder, kinds))
}

fn read(path: PathBuf) -> Value {
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn mask(value: &Value) -> Vec<bool> {
    ids(value).into_iter().map(|m| m == 1).collect()
}

fn dialogue(case: &Value) -> Dialogue<'_> {
    Dialogue {
        messages: case["messages"].as_array().unwrap(),
        tools: Some(&case["tools"]).filter(|t| !t.is_null()),
        add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
    }
}

fn error<T>(result: anyhow::Result<T>) -> String {
    match result {
        Ok(_) => panic!("the call should have failed"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn encodes_and_decodes_every_reference_case() {
    let Some((root, kinds)) = kinds() else { return };
    for kind in kinds {
        let tok = Tokenizer::load(&root.join(&kind)).unwrap();
        let cases = read(root.join(format!("{kind}_encode.json")));
        assert_eq!(tok.vocab_size() as u64, cases["size"].as_u64().unwrap());
        for (token, id) in cases["special"].as_object().unwrap() {
            assert_eq!(tok.token_id(token).map(u64::from), id.as_u64());
        }
        for case in cases["encode"].as_array().unwrap() {
            let (name, text) = (&case["name"], case["text"].as_str().unwrap());
            let encoded = tok.encode_offsets(text).unwrap();
            assert_eq!(encoded.ids, ids(&case["ids"]), "{kind} {name}");
            assert_eq!(
                tok.encode_with_special(text).unwrap(),
                ids(&case["ids_with_special"]),
                "{kind} {name}"
            );
            let chars = |byte: usize| text[..byte].chars().count();
            let offsets: Vec<_> = encoded
                .offsets
                .iter()
                .map(|o| json!([chars(o.start), chars(o.end)]))
                .collect();
            // A character that several tokens share is compared where both ends are whole characters.
            if encoded
                .offsets
                .iter()
                .all(|o| text.is_char_boundary(o.start) && text.is_char_boundary(o.end))
            {
                assert_eq!(Value::from(offsets), case["char_offsets"], "{kind} {name}");
            }
            assert_eq!(
                tok.decode(&encoded.ids, false).unwrap(),
                case["decoded"],
                "{kind} {name}"
            );
            assert_eq!(
                tok.decode(&encoded.ids, true).unwrap(),
                case["decoded_skip_special"],
                "{kind} {name}"
            );
        }
        for case in cases["decode"].as_array().unwrap() {
            let ids = ids(&case["ids"]);
            let text = tok.decode(&ids, false).unwrap();
            assert_eq!(text, case["text"], "{kind} {ids:?}");
            let back = tok.encode(&text).unwrap() == ids;
            assert_eq!(back, case["round_trip"], "{kind} {ids:?}");
        }
    }
}

#[test]
fn renders_every_reference_conversation() {
    let Some((root, kinds)) = kinds() else { return };
    for kind in kinds {
        let tok = Tokenizer::load(&root.join(&kind)).unwrap();
        for case in read(root.join(format!("{kind}_chat.json")))
            .as_array()
            .unwrap()
        {
            let rendered = tok.template().unwrap().render(dialogue(case)).unwrap();
            assert_eq!(rendered.text, case["text"], "{kind} {}", case["name"]);
            assert_eq!(tok.encode(&rendered.text).unwrap(), ids(&case["ids"]));
        }
    }
}

#[test]
fn generation_tags_give_the_reference_masks() {
    let Some((root, kinds)) = kinds() else { return };
    let mut seen = 0;
    for kind in kinds {
        for which in ["tight", "wide"] {
            let path = root.join(format!("{kind}/chat_template_{which}.jinja"));
            let Ok(source) = std::fs::read_to_string(&path) else {
                continue;
            };
            let tok = Tokenizer::load(&root.join(&kind)).unwrap();
            let tok = tok.with_template(&source).unwrap();
            for case in read(root.join(format!("{kind}_chat.json")))
                .as_array()
                .unwrap()
            {
                let example = chat::render(&tok, dialogue(case)).unwrap();
                let name = format!("{kind} {which} {}", case["name"]);
                assert_eq!(example.ids, ids(&case["ids"]), "{name}");
                let golden = mask(&case[format!("assistant_mask_{which}")]);
                assert_eq!(example.mask, golden, "{name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

#[test]
fn a_template_without_tags_gives_the_tight_masks() {
    let Some((root, kinds)) = kinds() else { return };
    for kind in kinds {
        let tok = Tokenizer::load(&root.join(&kind)).unwrap();
        for case in read(root.join(format!("{kind}_chat.json")))
            .as_array()
            .unwrap()
        {
            let example = chat::render(&tok, dialogue(case)).unwrap();
            let name = format!("{kind} {}", case["name"]);
            assert_eq!(example.ids, ids(&case["ids"]), "{name}");
            assert_eq!(example.mask, mask(&case["assistant_mask_tight"]), "{name}");
        }
    }
}

#[test]
fn the_prompt_is_a_prefix_of_the_training_ids() {
    let Some((root, kinds)) = kinds() else { return };
    for kind in kinds {
        let tok = Tokenizer::load(&root.join(&kind)).unwrap();
        let think = "<think>\nTwo words decide.\n</think>\n\nNo.";
        for answer in [think, "Yes.", " spaced", ""] {
            let messages = [
                Message::new("user", "May I?"),
                Message::new("assistant", answer),
            ];
            let example = chat::render_training(&tok, &messages).unwrap();
            let prompt = chat::render_prompt(&tok, &messages[..1], None).unwrap();
            assert_eq!(example.ids[..prompt.len()], prompt, "{kind} {answer:?}");
            let first = example.mask.iter().position(|&m| m);
            assert_eq!(first, Some(prompt.len()), "{kind} {answer:?}");
            let last = example.mask.iter().rposition(|&m| m).unwrap();
            assert!(
                tok.stop_ids().contains(&example.ids[last]),
                "{kind} {answer:?}"
            );
            if answer == think {
                let begun = chat::render_prompt(&tok, &messages[..1], Some("<think>\n")).unwrap();
                assert!(begun.len() > prompt.len());
                assert_eq!(example.ids[..begun.len()], begun, "{kind}");
            }
        }
    }
}

#[test]
fn a_stop_token_in_the_content_does_not_end_the_turn_early() {
    let Some((root, kinds)) = kinds() else { return };
    for kind in kinds {
        let tok = Tokenizer::load(&root.join(&kind)).unwrap();
        let stop = tok.named_token("eos_token").unwrap();
        let messages = [
            Message::new("user", "Say it."),
            Message::new(
                "assistant",
                &format!("The token is {stop} and ends a turn."),
            ),
            Message::new("user", "Thanks."),
        ];
        let example = chat::render_training(&tok, &messages).unwrap();
        let trained: Vec<u32> = (0..example.ids.len())
            .filter(|&i| example.mask[i])
            .map(|i| example.ids[i])
            .collect();
        let expected = format!("The token is {stop} and ends a turn.{stop}");
        assert_eq!(tok.decode(&trained, false).unwrap(), expected);
    }
}

#[test]
fn a_conversation_without_an_assistant_cannot_be_trained_on() {
    let Some((root, kinds)) = kinds() else { return };
    let tok = Tokenizer::load(&root.join(&kinds[0])).unwrap();
    let messages = [Message::new("user", "May I?")];
    let message = error(chat::render_training(&tok, &messages));
    assert!(message.contains("nothing to train on"), "{message}");
}

#[test]
fn a_template_that_hides_the_assistant_is_refused() {
    let Some((root, kinds)) = kinds() else { return };
    let messages = [Message::new("user", "a"), Message::new("assistant", "b")];
    let load = || Tokenizer::load(&root.join(&kinds[0])).unwrap();
    let counted =
        "{{ messages|length }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";
    let tok = load().with_template(counted).unwrap();
    let message = error(chat::render_training(&tok, &messages));
    assert!(
        message.contains("renders differently without it"),
        "{message}"
    );
    let endless = "{% for m in messages %}{{ m.content }};{% endfor %}";
    let tok = load().with_template(endless).unwrap();
    let message = error(chat::render_training(&tok, &messages));
    assert!(message.contains("no stop token ends its turn"), "{message}");
}

#[test]
fn a_view_and_the_last_turn_follow_the_mask() {
    let Some((root, kinds)) = kinds() else { return };
    let tok = Tokenizer::load(&root.join(&kinds[0])).unwrap();
    let messages = [
        Message::new("user", "One."),
        Message::new("assistant", "Two."),
        Message::new("user", "Three."),
        Message::new("assistant", "Four."),
    ];
    let whole = chat::render_training(&tok, &messages).unwrap();
    let last = whole.clone().last_turn();
    assert_eq!(whole.ids, last.ids);
    assert_eq!(2 * last.trained(), whole.trained());
    let prompt = chat::render_prompt(&tok, &messages[..3], None).unwrap();
    assert_eq!(last.mask.iter().position(|&m| m), Some(prompt.len()));
    let view = last.view(&tok).unwrap();
    assert_eq!(view.lines().count(), last.ids.len());
    let marked = view.lines().filter(|l| l.starts_with('+')).count();
    assert_eq!(marked, last.trained());
    let none = Example {
        ids: vec![1],
        mask: vec![false],
    };
    assert_eq!(none.clone().last_turn(), none);
}

#[test]
fn templates_speak_the_dialect_of_transformers() {
    let tokens = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
    let render = |source: &str| {
        let messages =
            [json!({"role": "user", "content": "hi", "extra": {"b": [1, 2.5], "a": "<é\n"}})];
        let template = Template::new(source, tokens.clone()).unwrap();
        let dialogue = Dialogue {
            messages: &messages,
            tools: None,
            add_generation_prompt: true,
        };
        template.render(dialogue).unwrap().text
    };
    let cases = [
        ("{{ bos_token }}{{ eos_token }}", "<s>"),
        (
            "{{ messages[0].extra | tojson }}",
            r#"{"b": [1, 2.5], "a": "<é\n"}"#,
        ),
        (
            "{{ messages[0].extra.b | tojson(indent=2) }}",
            "[\n  1,\n  2.5\n]",
        ),
        (
            "{{ messages[0].extra | tojson(sort_keys=true) }}",
            r#"{"a": "<é\n", "b": [1, 2.5]}"#,
        ),
        (
            "{{ [1e16, 1e-5, 123.0, {}, [], none, true] | tojson }}",
            "[1e+16, 1e-05, 123.0, {}, [], null, true]",
        ),
        ("{{ tools }} {{ add_generation_prompt }}", "None True"),
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        (
            "{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "012",
        ),
        (
            "{% for m in messages[::-1] %}{{ m.role.upper() }}{% endfor %}",
            "USER",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(3, 0, -1) %}{% set ns.n = ns.n * 10 + i %}{% endfor %}{{ ns.n }}",
            "321",
        ),
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source), expected, "{source}");
    }
}

#[test]
fn a_template_fails_with_its_own_message_and_line() {
    let messages = [json!({"role": "user", "content": "hi"})];
    let dialogue = Dialogue {
        messages: &messages,
        tools: None,
        add_generation_prompt: false,
    };
    let source =
        "{%- generation %}\nx{% endgeneration\n%}\n{{ raise_exception('Roles must alternate') }}";
    let template = Template::new(source, BTreeMap::new()).unwrap();
    let message = error(template.render(dialogue));
    assert!(message.contains("line 4"), "{message}");
    assert!(message.ends_with("Roles must alternate"), "{message}");
    let message = error(Template::new("a\n{% if %}", BTreeMap::new()));
    assert!(message.contains("line 2"), "{message}");
    let marks = [json!({"role": "user", "content": "\u{10f8e0}"})];
    let dialogue = Dialogue {
        messages: &marks,
        ..dialogue
    };
    assert!(error(template.render(dialogue)).contains("U+10F8E0"));
}

/// A copy of a reference folder to spoil.
fn spoiled(change: impl Fn(&Path)) -> Option<String> {
    let (root, kinds) = kinds()?;
    let folder = tempfile::tempdir().unwrap();
    tokenizer::copy_files(&root.join(&kinds[0]), folder.path()).unwrap();
    Tokenizer::load(folder.path()).unwrap().template().unwrap();
    change(folder.path());
    Some(error(Tokenizer::load(folder.path()).and_then(|tok| {
        tok.template()?;
        Ok(tok)
    })))
}

fn edit(folder: &Path, change: impl Fn(&mut Value)) {
    let path = folder.join("tokenizer_config.json");
    let mut config = read(path.clone());
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

#[test]
fn bad_folders_are_told_apart() {
    type Change = fn(&Path);
    let cases: [(&str, Change); 7] = [
        ("has no tokenizer.json: is it a model folder?", |f| {
            std::fs::remove_file(f.join("tokenizer.json")).unwrap()
        }),
        ("failed to read", |f| {
            std::fs::write(f.join("tokenizer.json"), "{").unwrap()
        }),
        ("is not valid JSON", |f| {
            std::fs::write(f.join("tokenizer_config.json"), "[1,").unwrap()
        }),
        ("has no chat template", |f| {
            edit(f, |c| c["chat_template"] = Value::Null)
        }),
        ("names no token that ends a turn", |f| {
            edit(f, |c| c["eos_token"] = Value::Null)
        }),
        ("is not in the vocabulary", |f| {
            edit(f, |c| c["eos_token"] = json!("<nothing>"))
        }),
        ("not a token id", |f| {
            std::fs::write(
                f.join("generation_config.json"),
                r#"{"eos_token_id": [-1]}"#,
            )
            .unwrap()
        }),
    ];
    for (expected, change) in cases {
        let Some(message) = spoiled(change) else {
            return;
        };
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn template_files_and_stop_lists_are_found_where_transformers_writes_them() {
    let Some((root, kinds)) = kinds() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let copied = tokenizer::copy_files(&root.join(&kinds[0]), path).unwrap();
    for name in copied {
        let from = std::fs::read(root.join(&kinds[0]).join(name)).unwrap();
        assert_eq!(std::fs::read(path.join(name)).unwrap(), from, "{name}");
    }
    let render = |folder: &Path| {
        let tok = Tokenizer::load(folder).unwrap();
        let dialogue = Dialogue {
            messages: &[],
            tools: None,
            add_generation_prompt: false,
        };
        tok.template().unwrap().render(dialogue).unwrap().text
    };
    edit(path, |c| {
        c["chat_template"] = json!([{"name": "default", "template": "list"}])
    });
    assert_eq!(render(path), "list");
    std::fs::write(
        path.join("chat_template.json"),
        r#"{"chat_template": "json"}"#,
    )
    .unwrap();
    assert_eq!(render(path), "json");
    std::fs::write(path.join("chat_template.jinja"), "jinja").unwrap();
    assert_eq!(render(path), "jinja");

    let eos = *Tokenizer::load(path).unwrap().stop_ids().first().unwrap();
    edit(path, |c| {
        c["eos_token"] = json!({"content": c["eos_token"]})
    });
    std::fs::write(
        path.join("generation_config.json"),
        r#"{"eos_token_id": 3}"#,
    )
    .unwrap();
    let stops: Vec<u32> = Tokenizer::load(path)
        .unwrap()
        .stop_ids()
        .iter()
        .copied()
        .collect();
    assert_eq!(stops, [3, eos]);
}
