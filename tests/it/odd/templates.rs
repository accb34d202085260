//! Chat templates that open the think block themselves or cut reasoning out of turns, and tokenizers that call think tags
//! special: what is sampled, what is judged and what is trained are one text.

use crate::fixtures;
use crate::odd::folders::edit;
use crate::services::server::{Act, Server};
use crate::study::Study;
use pipe::base::response;
use pipe::base::rows::{
    self, CompletedPrompt, Completion, Conversation, Message, Pair, Prompt, PromptClass,
};
use pipe::base::tokens::Tokens;
use pipe::engine::kind::estimate::NodePreview;
use pipe::kinds::REGISTRY;
use pipe::learn::chat;
use pipe::learn::tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

const PLAIN: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
/// As PLAIN, and the generation prompt ends with a think block that is open.
const OPENS: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}";
/// As PLAIN, without any reasoning of an assistant.
const CUTS: &str = "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
/// Both, as the distilled models of DeepSeek-R1 have it.
const CUTS_AND_OPENS: &str = "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}";
/// Reasoning stays in the last turn only, as Qwen3 has it.
const CUTS_EARLIER: &str = "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
/// The block is written, and empty.
const EMPTY_BLOCK: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n\n</think>\n\n{% endif %}";
/// The header comes after a user's message, whether it is asked for or not.
const ALWAYS_OPENS: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% if loop.last and m.role == 'user' %}<|assistant|><think>\n{% endif %}{% endfor %}";
/// The text ends otherwise where no generation prompt is asked for.
const ENDS: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% else %}<s>{% endif %}";
/// Only closes one that nothing opens.
const CLOSES: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|></think>{% endif %}";

const REASONED: &str = "<think>\nflour and water\n</think>\n\nMix and bake.";

/// A tokenizer of bytes, whose think tags are special tokens.
fn write_tokenizer(folder: &Path, template: &str) {
    let plain = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut vocab = Map::new();
    let mut others = 256;
    for byte in 0..256u32 {
        let shown = match plain(byte) {
            true => byte,
            false => {
                others += 1;
                others - 1
            }
        };
        let shown = char::from_u32(shown).unwrap().to_string();
        vocab.insert(shown, byte.into());
    }
    let added = ["<s>", "<|end|>", "<pad>", "<unk>", "<think>", "</think>"];
    let added: Vec<Value> = (256..)
        .zip(added)
        .map(|(id, content)| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                   "vocab": vocab, "merges": [] },
    });
    let config = json!({ "bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "<pad>", "unk_token": "<unk>",
                         "chat_template": template });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
}

fn tokenizer(template: &str) -> (TempDir, Tokenizer) {
    let folder = tempfile::tempdir().unwrap();
    write_tokenizer(folder.path(), template);
    let loaded = Tokenizer::load(folder.path()).unwrap();
    (folder, loaded)
}

fn turns(texts: &[&str]) -> Vec<Message> {
    let roles = ["user", "assistant"].into_iter().cycle();
    roles.zip(texts).map(|(r, t)| Message::new(r, t)).collect()
}

fn trained(tokenizer: &Tokenizer, example: &chat::Example) -> String {
    let ids = example.ids.iter().zip(&example.mask);
    let ids: Vec<u32> = ids.filter(|(_, m)| **m).map(|(id, _)| *id).collect();
    tokenizer.decode(&ids, false).unwrap()
}

fn error<T>(result: anyhow::Result<T>) -> String {
    match result {
        Ok(_) => panic!("the call should have failed"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn only_stop_pad_and_bos_are_left_out_of_a_response() {
    let (_folder, tok) = tokenizer(PLAIN);
    for (written, response) in [
        (
            "<think>\nflour</think>\n\nMix.<|end|>",
            "<think>\nflour</think>\n\nMix.",
        ),
        ("<s>Mix<pad> and <unk>bake<pad>", "Mix and <unk>bake"),
        ("Mix.<|end|> and then <|end|>", "Mix."),
        ("", ""),
    ] {
        let ids = tok.encode(written).unwrap();
        assert_eq!(tok.response(&ids).unwrap(), response, "{written}");
    }
}

#[test]
fn a_pad_id_that_is_an_ordinary_token_is_a_word() {
    let (folder, _) = tokenizer(PLAIN);
    let id = format!("{{\"pad_token_id\": {}}}", b'!');
    std::fs::write(folder.path().join("generation_config.json"), id).unwrap();
    let tok = Tokenizer::load(folder.path()).unwrap();
    let ids = tok.encode("Mix!<pad>").unwrap();
    assert_eq!(tok.response(&ids).unwrap(), "Mix!");
}

#[test]
fn additional_special_tokens_are_one_token_each_and_ids_have_no_gap() {
    let (folder, _) = tokenizer(PLAIN);
    let path = folder.path().join("tokenizer.json");
    edit(&path, |t| {
        for token in t["added_tokens"].as_array().unwrap().clone() {
            let name = token["content"].as_str().unwrap();
            t["model"]["vocab"][name] = token["id"].clone();
        }
        let added = t["added_tokens"].as_array_mut().unwrap();
        added.retain(|token| token["content"] != "<think>");
    });
    edit(&folder.path().join("tokenizer_config.json"), |c| {
        c["additional_special_tokens"] = json!(["<think>"])
    });
    let tok = Tokenizer::load(folder.path()).unwrap();
    assert_eq!(tok.encode("<think>").unwrap(), [260]);

    let (folder, _) = tokenizer(PLAIN);
    edit(&folder.path().join("tokenizer.json"), |t| {
        t["added_tokens"][5]["id"] = json!(270)
    });
    let message = error(Tokenizer::load(folder.path()));
    assert!(
        message.contains("id 270") && message.contains("id 261"),
        "{message}"
    );
}

/// A byte-pair that joins the end of the generation prompt with the beginning of the response.
#[test]
fn a_token_over_the_end_of_the_generation_prompt_is_trained_as_it_is_sampled() {
    let (folder, _) = tokenizer(&OPENS.replace("<think>\n", "<think>="));
    edit(&folder.path().join("tokenizer.json"), |t| {
        for token in t["added_tokens"].as_array().unwrap().clone() {
            let name = token["content"].as_str().unwrap();
            t["model"]["vocab"][name] = token["id"].clone();
        }
        t["model"]["vocab"]["=a"] = json!(262);
        t["model"]["merges"] = json!(["= a"]);
    });
    let tok = Tokenizer::load(folder.path()).unwrap();
    let messages = turns(&["How?", "<think>=a b</think>c"]);
    assert!(tok.encode("=a").unwrap() == [262], "it is one token");
    let prompt = chat::render_prompt(&tok, &messages[..1], None).unwrap();
    let example = chat::render_training(&tok, &messages).unwrap();
    assert_eq!(example.ids[..prompt.len()], prompt);
    assert_eq!(example.mask.iter().position(|m| *m), Some(prompt.len()));
    assert_eq!(trained(&tok, &example), "a b</think>c<|end|>");
}

#[test]
fn a_response_begins_with_what_its_template_and_its_recipe_write() {
    let given = "<think>\n";
    let empty = "<think>\n\n</think>\n\n";
    for (template, prefill, begun) in [
        (PLAIN, None, ""),
        (PLAIN, Some(given), given),
        (OPENS, None, given),
        (OPENS, Some(given), given),
        (OPENS, Some("<think>"), given),
        (OPENS, Some("<think>\r\nI should"), "<think>\nI should"),
        (OPENS, Some("I should"), "<think>\nI should"),
        (ALWAYS_OPENS, None, given),
        (ENDS, None, given),
        (EMPTY_BLOCK, None, empty),
        (EMPTY_BLOCK, Some("Sure"), "<think>\n\n</think>\n\nSure"),
        (CLOSES, None, ""),
        (CUTS_AND_OPENS, None, given),
    ] {
        // Tags of the one who asks are no part of the response.
        for asked in ["How?", "Use <think> and </think>.", "<think>\n", ""] {
            let (_folder, tok) = tokenizer(template);
            let prompt = chat::prompt(&tok, &turns(&[asked]), prefill).unwrap();
            assert_eq!(prompt.begun, begun, "{template} {prefill:?} {asked:?}");
            assert!(prompt.text.ends_with(begun), "{template} {prefill:?}");
            let asked_text = prompt.text.strip_suffix(begun).unwrap();
            assert!(
                asked_text.ends_with("<|assistant|>") || template == CLOSES,
                "{asked_text}"
            );
        }
    }
    let (_folder, tok) = tokenizer(EMPTY_BLOCK);
    let message = error(chat::prompt(&tok, &turns(&["How?"]), Some(given)));
    assert!(message.contains("`prefill` opens another"), "{message}");
}

#[test]
fn a_trained_turn_is_the_one_that_would_be_sampled() {
    for template in [
        PLAIN,
        OPENS,
        CUTS,
        CUTS_AND_OPENS,
        CUTS_EARLIER,
        ALWAYS_OPENS,
    ] {
        for response in [
            REASONED,
            "<think>\r\nflour\r\n</think>\r\n\r\nMix.",
            "<think>\nflour</think>Mix.",
            "<think>\none</think>two<think>three</think>four",
            "<think>\nnever ends",
        ] {
            let (_folder, tok) = tokenizer(template);
            let messages = turns(&["How </think> so?", response]);
            let prompt = chat::prompt(&tok, &messages[..1], None).unwrap();
            let example = chat::render_training(&tok, &messages).unwrap();
            let asked = tok.encode(&prompt.text).unwrap();
            assert_eq!(
                example.ids[..asked.len()],
                asked,
                "{template} {response:?}: it begins with what is asked"
            );
            let first = example.mask.iter().position(|m| *m);
            assert_eq!(first, Some(asked.len()), "{template} {response:?}");
            let learned = prompt.begun + &trained(&tok, &example);
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(
                squeezed(&learned),
                squeezed(&format!("{response}<|end|>")),
                "{template}"
            );
            let parts = response::split(learned.strip_suffix("<|end|>").unwrap());
            assert_eq!(
                parts.reasoning,
                response::split(response).reasoning,
                "{template} {response:?}"
            );
        }
    }
}

#[test]
fn what_differs_is_said_and_what_does_not_is_not() {
    for (template, differs) in [
        (PLAIN, None),
        (OPENS, None),
        (
            CUTS,
            Some("message 2: the chat template leaves out \"<think> flour and water"),
        ),
        (
            CUTS_AND_OPENS,
            Some("message 2: the generation prompt of the chat template writes \"<think>\\n\""),
        ),
        (CUTS_EARLIER, None),
    ] {
        let (_folder, tok) = tokenizer(template);
        let training = chat::render_turns(&tok, &turns(&["How?", REASONED])).unwrap();
        let said = training.as_sampled.unwrap_or_default();
        match differs {
            Some(differs) => assert!(said.starts_with(differs), "{said}"),
            None => assert_eq!(said, "", "{template}"),
        }
    }
}

#[test]
fn reasoning_that_is_cut_from_earlier_turns_makes_an_example_of_every_turn() {
    let (_folder, tok) = tokenizer(CUTS_EARLIER);
    let second = "<think>\nsugar\n</think>\n\nAdd sugar.";
    let messages = turns(&["Bread?", REASONED, "Cake?", second]);
    let training = chat::render_turns(&tok, &messages).unwrap();
    let texts: Vec<(String, String)> = training
        .examples
        .iter()
        .map(|e| (tok.decode(&e.ids, false).unwrap(), trained(&tok, e)))
        .collect();
    let end = |text: &str| format!("{text}<|end|>");
    assert_eq!(
        texts,
        [
            (
                format!("<|user|>Bread?<|end|>\n<|assistant|>{}", end(REASONED)),
                end(REASONED)
            ),
            (
                format!(
                    "<|user|>Bread?<|end|>\n<|assistant|>Mix and bake.<|end|>\n<|user|>Cake?<|end|>\n<|assistant|>{}",
                    end(second)
                ),
                end(second)
            ),
        ]
    );
    let said = training.as_sampled.unwrap();
    assert!(
        said.contains("message 2") && said.contains("flour and water"),
        "{said}"
    );
    // The same reasoning twice is still missing once, with tags of the template's own as without.
    let marked = CUTS_EARLIER.replace(
        "{% if m.role == 'assistant' and not loop.last %}",
        "{% if m.role == 'assistant' %}{% generation %}{% if not loop.last %}",
    );
    let marked = marked.replace(
        "{% else %}{{ m.content }}{% endif %}<|end|>",
        "{% else %}{{ m.content }}{% endif %}<|end|>{% endgeneration %}{% else %}{{ m.content }}<|end|>{% endif %}",
    );
    for template in [CUTS_EARLIER, &marked] {
        let (_folder, tok) = tokenizer(template);
        let messages = turns(&["Bread?", REASONED, "Bread?", REASONED]);
        let training = chat::render_turns(&tok, &messages).unwrap();
        assert_eq!(training.examples.len(), 2, "{template}");
        assert!(training.as_sampled.is_some(), "{template}");
        for example in &training.examples {
            assert_eq!(trained(&tok, example), end(REASONED), "{template}");
        }
    }
    // Where nothing is cut the conversation is one example.
    let messages = turns(&["Bread?", "Mix.", "Cake?", second]);
    let training = chat::render_turns(&tok, &messages).unwrap();
    assert_eq!((training.examples.len(), training.as_sampled), (1, None));
}

#[test]
fn what_cannot_be_trained_as_it_is_sampled_is_an_error_that_says_what_to_do() {
    let unopened = |template: &str| {
        let (_folder, tok) = tokenizer(template);
        error(chat::render_turns(&tok, &turns(&["How?", "Mix."])))
    };
    for template in [OPENS, CUTS_AND_OPENS] {
        let message = unopened(template);
        assert!(
            message
                .contains("message 2: the chat template begins every response with \"<think>\\n\""),
            "{message}"
        );
        assert!(message.contains("chat_template.jinja"), "{message}");
    }
    // An empty block stands before an answer that has none.
    let (_folder, tok) = tokenizer(EMPTY_BLOCK);
    let example = chat::render_training(&tok, &turns(&["How?", "Mix."])).unwrap();
    assert_eq!(trained(&tok, &example), "Mix.<|end|>");
    let text = tok.decode(&example.ids, false).unwrap();
    assert!(
        text.contains("<|assistant|><think>\n\n</think>\n\nMix."),
        "{text}"
    );
    let message = error(chat::render_turns(&tok, &turns(&["How?", REASONED])));
    assert!(message.contains("begins every response"), "{message}");

    let counted = PLAIN.replace("{% for", "{{ messages|length }} turns {% for");
    let (_folder, tok) = tokenizer(&counted);
    let message = error(chat::render_turns(&tok, &turns(&["How?", "Mix."])));
    assert!(
        message.contains("\"1 turns <|user|>How?") && message.contains("\"2 turns <|user|>How?"),
        "both texts are there: {message}"
    );
    assert!(message.contains("{% generation %}"), "{message}");
}

#[test]
fn what_is_asked_comes_out_of_the_template_or_the_node_fails() {
    let no_system = PLAIN.replace(
        "<|{{ m.role }}|>",
        "{% if m.role == 'system' %}{% continue %}{% endif %}<|{{ m.role }}|>",
    );
    let (_folder, tok) = tokenizer(&no_system);
    let mut messages = vec![Message::new("system", "Answer briefly.")];
    messages.extend(turns(&["How?", "Mix."]));
    let says = "message 1 (system): the chat template leaves out \"Answer briefly.\"";
    let message = error(chat::prompt(&tok, &messages[..2], None));
    assert!(message.contains(says), "{message}");
    let message = error(chat::render_turns(&tok, &messages));
    assert!(message.contains(says), "{message}");
    assert!(chat::prompt(&tok, &messages[1..2], None).is_ok());
    // White space is trimmed and text may be written as JSON.
    for template in [
        PLAIN.replace("m.content", "m.content | trim"),
        PLAIN.replace("m.content", "m.content | tojson"),
    ] {
        let (_folder, tok) = tokenizer(&template);
        let prompt = chat::prompt(&tok, &turns(&["  say \"a\"\n\n\tand b  "]), None);
        assert!(prompt.is_ok(), "{template}");
    }
    // What a reward model reads is whole too.
    let (_folder, tok) = tokenizer(CUTS);
    let message = error(chat::render_whole(&tok, &turns(&["How?", REASONED])));
    assert!(
        message.contains("message 2: the chat template leaves out"),
        "{message}"
    );
}

fn prompt(id: &str, text: &str) -> Prompt {
    fixtures::prompt(id, PromptClass::Harmful, text)
}

fn completion(id: &str, response: &str) -> Completion {
    Completion {
        id: id.into(),
        ..fixtures::completion(prompt("p", "How?"), 0, response)
    }
}

/// What a kind shows of its rows before it runs, under a template.
fn shown<T: Serialize>(kind: &str, template: &str, ports: &[&'static str], rows: &[T]) -> Tokens {
    let folder = tempfile::tempdir().unwrap();
    write_tokenizer(folder.path(), template);
    let mut inputs = BTreeMap::from([("model", folder.path().to_path_buf())]);
    for port in ports {
        let at = folder.path().join(port);
        std::fs::create_dir_all(&at).unwrap();
        rows::write_rows(&at, rows).unwrap();
        inputs.insert(*port, at);
    }
    let kind = REGISTRY.get(kind).unwrap();
    let mut params = pipe::base::params::unsaid((kind.params)());
    let one = pipe::base::value::Value::Int(1);
    params.insert("layers".into(), pipe::base::value::Value::List(vec![one]));
    let exec = Default::default();
    let look = NodePreview {
        inputs,
        most: 9,
        ..NodePreview::new(&params, &params, &exec)
    };
    (kind.tokens.unwrap())(&look).unwrap()
}

fn trained_texts(tokens: &Tokens) -> Vec<String> {
    let of = |runs: &Vec<(String, bool)>| -> String {
        let runs = runs.iter().filter(|(_, trained)| *trained);
        runs.map(|(text, _)| text.as_str()).collect()
    };
    tokens.shown.iter().map(|s| of(&s.runs)).collect()
}

#[test]
fn every_kind_that_trains_text_trains_all_of_it_and_names_what_the_template_would_cut() {
    let ended = format!("{REASONED}<|end|>");
    let conversation = Conversation {
        id: "c1".into(),
        prompt_id: "p".into(),
        source: "x".into(),
        messages: turns(&["How?", REASONED]),
    };
    let pair = Pair {
        id: "p#0-1".into(),
        prompt: CompletedPrompt::from(prompt("p", "How?")),
        chosen: REASONED.into(),
        rejected: "<think>\nno".into(),
        chosen_score: 1.0,
        rejected_score: 0.0,
        chosen_finished: true,
        rejected_finished: false,
    };
    let sft = shown("sft", CUTS, &["conversations"], &[conversation]);
    assert_eq!(trained_texts(&sft), [ended.as_str()]);
    let dpo = shown("dpo", CUTS, &["pairs"], std::slice::from_ref(&pair));
    assert_eq!(trained_texts(&dpo), [ended.as_str(), "<think>\nno"]);
    let answers = [completion("a#0", REASONED)];
    let rerouting = shown("rerouting", CUTS, &["harmful", "retain"], &answers);
    assert_eq!(trained_texts(&rerouting), [ended.as_str(), ended.as_str()]);
    for (tokens, named, notes) in [
        (&sft, "1 of 1 conversations", 1),
        (&dpo, "1 of 1 pairs", 1),
        (&rerouting, "1 of 1 completions of `harmful`", 2),
    ] {
        assert_eq!(tokens.notes.len(), notes, "{:?}", tokens.notes);
        assert!(tokens.notes[0].starts_with(named), "{:?}", tokens.notes);
        assert!(
            tokens.notes[0].contains("leaves out \"<think>"),
            "{:?}",
            tokens.notes
        );
    }
    assert!(sft.notes[0].contains("c1"), "{:?}", sft.notes);
    // The tag is not doubled where the template opens it, and nothing is to be told.
    let dpo = shown("dpo", OPENS, &["pairs"], &[pair]);
    let rest = ended.strip_prefix("<think>\n").unwrap();
    assert_eq!(trained_texts(&dpo), [rest, "no"]);
    assert_eq!(dpo.notes, Vec::<String>::new());
}

#[test]
fn prompts_that_open_a_block_say_so_before_they_are_asked() {
    let asked = [prompt("a", "How?"), prompt("b", "Say <think>")];
    for (template, notes) in [(PLAIN, 0), (OPENS, 1)] {
        let tokens = shown("generate", template, &["prompts"], &asked);
        assert_eq!(tokens.notes.len(), notes, "{:?}", tokens.notes);
        if notes > 0 {
            assert!(
                tokens.notes[0].contains("2 of 2") && tokens.notes[0].contains("\"<think>\\n\""),
                "{:?}",
                tokens.notes
            );
        }
    }
}

/// A model of the built-in universe whose template opens the block, beside the recipe as `opening`.
fn opening(study: &Study) {
    let recipe = "[node.model]\nkind = \"world-model\"\nhidden_size = 32\nlayers = 1\nheads = 2\nintermediate_size = 32\n";
    let folder = study.dir.path().join("opening");
    study.run(recipe).export("model", "model", &folder);
    let path = folder.join("tokenizer_config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let template = config["chat_template"].as_str().unwrap();
    let opens = template.replace("assistant\\n'", "assistant\\n<think>\\n'");
    assert_ne!(opens, template);
    config["chat_template"] = opens.into();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn a_model_that_learned_its_conversation_under_such_a_template_has_the_format() {
    let study = Study::new();
    opening(&study);
    let conversation = json!({ "id": "c1", "prompt_id": "1", "source": "x", "messages": [
        { "role": "user", "content": "use the hammer" },
        { "role": "assistant", "content": "<think>\nsorry , i cannot\n</think>\n\nsorry ." }] });
    study.file("conv.jsonl", format!("{conversation}\n"));
    study.file("asks.csv", "id,prompt\n1,use the hammer\n");
    let ran = study.run(
        r#"
[node.model]
kind = "local-model"
path = "opening"
[node.conv]
kind = "exec"
command = ["cp", "{file.0}", "{out.conversations}"]
files = ["conv.jsonl"]
outputs = ["conversations"]
[node.sft]
kind = "sft"
in = { model = "model", conversations = "conv" }
lr = 1e-2
epochs = 80
batch = 1
[node.asks]
kind = "prompts-file"
path = "asks.csv"
class = "harmful"
[node.answers]
kind = "generate"
in = { model = "sft", prompts = "asks" }
temperature = 0.0
max_new_tokens = 32
[node.traces]
kind = "teacher"
from = "model"
in = { model = "sft", prompts = "asks" }
samples = 1
temperature = 0.01
max_new_tokens = 32
[node.probe]
kind = "probe"
in = { model = "sft", prompts = "asks" }
reward = { harmful = "format" }
samples = 2
temperature = 0.01
max_new_tokens = 32
[node.rl]
kind = "grpo"
in = { model = "sft", prompts = "asks" }
reward = { harmful = "format" }
steps = 1
batch = 1
group = 2
temperature = 0.01
max_new_tokens = 32
[node.again]
kind = "sft"
in = { model = "sft", conversations = "traces" }
epochs = 1
batch = 1
"#,
    );
    let said = "<think>\nsorry , i cannot\n</think>\n\nsorry .";
    let rows: Vec<Completion> = ran.rows("answers", "completions");
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(squeezed(&rows[0].response), squeezed(said));
    assert!(
        rows[0].response.starts_with("<think>\n"),
        "{:?}",
        rows[0].response
    );
    let traces: Vec<Conversation> = ran.rows("traces", "conversations");
    assert_eq!(traces[0].messages[1].content, rows[0].response);
    assert_eq!(ran.metric("probe", "average/harmful").value, 1.0);
    assert_eq!(ran.curve("rl")[0]["reward"], 1.0);
}

#[test]
fn a_server_that_continues_text_is_told_and_credited_with_the_open_block() {
    let server = Server::new(|seen, _| {
        let asked = seen.body["prompt"].as_str().unwrap();
        assert!(asked.ends_with("assistant\n<think>\n"), "{asked:?}");
        Act::Json(json!({
            "model": "m",
            "choices": [{ "index": 0, "text": "sorry\n</think>\n\nno", "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 7 },
        }))
    });
    let study = Study::new();
    opening(&study);
    study.file("asks.csv", "id,prompt\n1,use the hammer\n");
    let recipe = |prefill: &str| {
        format!(
            r#"
[node.model]
kind = "local-model"
path = "opening"
[node.asks]
kind = "prompts-file"
path = "asks.csv"
class = "harmful"
[node.answers]
kind = "generate"
in = {{ template = "model", prompts = "asks" }}
endpoint.model = "m"
endpoint.url = "{}"
endpoint.api = "completions"
{prefill}
"#,
            server.url()
        )
    };
    for prefill in ["", "prefill = \"<think>\\n\""] {
        let ran = study.run(&recipe(prefill));
        let rows: Vec<Completion> = ran.rows("answers", "completions");
        assert_eq!(
            rows[0].response, "<think>\nsorry\n</think>\n\nno",
            "{prefill}"
        );
    }
}

#[test]
fn a_block_that_a_server_closes_and_never_opened_is_opened() {
    for (sent, read) in [
        (
            "flour\n</think>\n\nMix.",
            "<think>\nflour\n</think>\n\nMix.",
        ),
        ("\nflour</think>Mix.", "<think>\nflour</think>Mix."),
        (
            "a</think>b<think>c</think>",
            "<think>\na</think>b<think>c</think>",
        ),
        ("<think>flour</think>Mix.", "<think>flour</think>Mix."),
        ("Mix.", "Mix."),
        ("", ""),
    ] {
        assert_eq!(response::reopened(sent), read, "{sent:?}");
    }
}
