//! The word-level tokenizer of the world, as the files of a Hugging Face folder. One vocabulary for all seeds.
//!
//! A token carries the space before it, so decoding is concatenation and every text of the world round-trips exactly. The
//! line ends of the chat template and of the think tags are part of their tokens, which saves a fifth of a short sequence.

use super::{answer, ask, corpus, disguise, teacher, words};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const END_OF_TEXT: &str = "<|endoftext|>";
pub const START: &str = "<|im_start|>";
pub const END: &str = "<|im_end|>";
pub const UNKNOWN: &str = "<unk>";

/// Longest first where one begins another, since the first alternative that fits is taken.
const SPLIT: &str = concat!(
    r"<think>\n|\n</think>\n\n|</?think>|(?:system|user|assistant)\n|\n\n|\n|'s [a-z]+",
    r"| ?[a-z]+| ?[.,?:]| "
);

const CHAT_TEMPLATE: &str = concat!(
    r"{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}",
    r"{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
);

/// Tokens that it puts around what a message says: its start, who speaks, its end, the end of the line.
pub const AROUND_MESSAGE: usize = 4;

/// All tokens in the order of their ids: special ones, structure, punctuation, words.
pub fn tokens() -> Vec<String> {
    let mut all: Vec<String> = [END_OF_TEXT, START, END, UNKNOWN]
        .map(String::from)
        .to_vec();
    all.extend(
        [
            "system\n",
            "user\n",
            "assistant\n",
            "<think>\n",
            "\n</think>\n\n",
            "<think>",
            "</think>",
            "\n",
            "\n\n",
            " ",
        ]
        .map(String::from),
    );
    let mut found: BTreeSet<String> = BTreeSet::new();
    for list in words::LISTS {
        found.extend(list.iter().map(|word| format!(" {word}")));
    }
    found.extend(words::RELATIONS.map(String::from));
    for text in texts() {
        for (i, word) in text.split_whitespace().enumerate() {
            if word.contains('{') {
                continue;
            }
            found.insert(format!(" {word}"));
            // A text begins without a space.
            if i == 0 {
                found.insert(word.into());
            }
        }
    }
    all.extend(found);
    all
}

/// `tokenizer.json`, for the `tokenizers` library.
pub fn tokenizer_json() -> String {
    let vocab: serde_json::Map<String, Value> = tokens()
        .into_iter()
        .enumerate()
        .map(|(id, token)| (token, json!(id)))
        .collect();
    let added: Vec<Value> = [END_OF_TEXT, START, END]
        .iter()
        .map(|token| {
            json!({
                "id": vocab[*token], "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        })
        .collect();
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Split", "pattern": { "Regex": SPLIT }, "behavior": "Isolated", "invert": false,
        },
        "post_processor": null,
        "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": UNKNOWN },
    });
    pretty(&file)
}

/// `tokenizer_config.json`: ChatML without a system line of its own. Clean-up of spaces is off, it would break the round trip.
pub fn tokenizer_config_json() -> String {
    pretty(&json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "model_max_length": 512,
        "bos_token": null,
        "eos_token": END,
        "pad_token": END_OF_TEXT,
        "unk_token": null,
        "chat_template": CHAT_TEMPLATE,
    }))
}

/// `generation_config.json`: where a response ends.
pub fn generation_config_json() -> String {
    pretty(&json!({
        "eos_token_id": id(END),
        "pad_token_id": id(END_OF_TEXT),
        "do_sample": true,
        "temperature": 1.0,
    }))
}

/// Id of a token of the vocabulary.
pub fn id(token: &str) -> u32 {
    tokens()
        .iter()
        .position(|t| t == token)
        .expect("the token is in the vocabulary") as u32
}

fn texts() -> Vec<&'static str> {
    let lists = (answer::TEXTS.iter())
        .chain(ask::TEXTS.iter())
        .chain(disguise::TEXTS.iter())
        .chain(corpus::TEXTS.iter());
    let mut texts: Vec<&'static str> = lists.flat_map(|list| list.iter().copied()).collect();
    texts.extend(teacher::texts());
    texts
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value prints") + "\n"
}
