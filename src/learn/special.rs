//! Which tokens of a folder are its BOS, EOS and kin, and which ids end a turn: what transformers reads, in its order.
//!
//! The names are those of `tokenizer_config.json`; where that has no `added_tokens_decoder`, as folders of before 2023 have
//! none, those of `special_tokens_map.json` go before; then come those that the tokenizer's class is born with. The ids that
//! end a turn are those of `generation_config.json`, or of `config.json` where that has none. Knows no template.

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokenizers::{AddedToken, Tokenizer};

/// Names that hold one special token each.
pub const NAMES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "pad_token",
    "unk_token",
    "sep_token",
    "cls_token",
    "mask_token",
];

/// Tokens by their names.
type Names = [(&'static str, &'static str)];
/// By the beginning of a tokenizer class, or by the type of the model where no class is named.
const BORN_WITH: [(&[&str], &Names); 3] = [
    (
        &["LlamaTokenizer", "CodeLlamaTokenizer", "llama", "mistral"],
        &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>"),
        ],
    ),
    (
        &["Qwen2Tokenizer", "qwen2", "qwen3"],
        &[
            ("eos_token", "<|endoftext|>"),
            ("pad_token", "<|endoftext|>"),
        ],
    ),
    (
        &["GPT2Tokenizer"],
        &[
            ("bos_token", "<|endoftext|>"),
            ("eos_token", "<|endoftext|>"),
        ],
    ),
];

/// The special tokens of a folder.
#[derive(Clone, Debug, Default)]
pub struct Named {
    pub texts: BTreeMap<String, String>,
    /// Names that nothing speaks of, each with what might be meant. A name that is null is spoken of: there is no such token.
    pub absent: BTreeMap<String, String>,
}

/// What a folder says; null where there is no such file.
pub struct Files<'a> {
    pub folder: &'a Path,
    /// `tokenizer_config.json`.
    pub config: &'a Value,
    /// `special_tokens_map.json`.
    pub map: &'a Value,
    /// `added_tokens.json`.
    pub older: &'a Value,
    /// `generation_config.json`.
    pub generation: &'a Value,
    /// `config.json`.
    pub model: &'a Value,
}

impl Files<'_> {
    /// Errors: a name that is neither a text nor an object with `content`.
    pub fn named(&self, vocabulary: &Tokenizer) -> Result<Named> {
        let mut named = Named::default();
        let with_map = self.config.get("added_tokens_decoder").is_none();
        for name in NAMES {
            let of_map = self.map.get(name).filter(|_| with_map);
            let (file, value) = match (of_map, self.config.get(name)) {
                (Some(value), _) => ("special_tokens_map.json", value),
                (None, Some(value)) => ("tokenizer_config.json", value),
                (None, None) => {
                    match self
                        .born_with(name)
                        .filter(|t| vocabulary.token_to_id(t).is_some())
                    {
                        Some(text) => drop(named.texts.insert(name.into(), text.into())),
                        None => drop(
                            named
                                .absent
                                .insert(name.into(), self.cure(name, vocabulary)),
                        ),
                    }
                    continue;
                }
            };
            match text(value) {
                Some(text) => drop(named.texts.insert(name.into(), text.into())),
                None if value.is_null() => {}
                None => bail!(
                    "{}: {name} is {value}, neither a text nor an object with content",
                    self.folder.join(file).display()
                ),
            }
        }
        Ok(named)
    }

    fn born_with(&self, name: &str) -> Option<&'static str> {
        let class = self.config["tokenizer_class"].as_str();
        let class = class.or(self.model["model_type"].as_str())?;
        let (_, tokens) = BORN_WITH.iter().find(|(classes, _)| {
            let plain = class.strip_suffix("Fast").unwrap_or(class);
            classes.contains(&plain)
        })?;
        Some(tokens.iter().find(|(n, _)| *n == name)?.1)
    }

    /// Makes whole tokens of those that the other files name and `tokenizer.json` does not add by itself, as transformers does:
    /// written in a text, each is one token and not its letters.
    ///
    /// Errors: a token whose id would be another than the folder says.
    pub fn complete(&self, vocabulary: &mut Tokenizer, named: &Named) -> Result<()> {
        let known: BTreeSet<String> = vocabulary
            .get_added_tokens_decoder()
            .into_values()
            .map(|token| token.content)
            .collect();
        for (id, token) in self.added(named) {
            if known.contains(&token.content) {
                continue;
            }
            let text = token.content.clone();
            vocabulary
                .add_tokens([token])
                .map_err(|e| anyhow!("{}: failed to add {text:?}: {e}", self.folder.display()))?;
            let ours = vocabulary.token_to_id(&text);
            ensure!(
                ours == Some(id),
                "{}: {text:?} is added with id {id}, and after tokenizer.json it would be {}: the two are of two tokenizers; where \
                 the model is right, AutoTokenizer.from_pretrained(folder).save_pretrained(folder) in transformers writes one",
                self.folder.display(),
                ours.map_or("none".into(), |id| id.to_string())
            );
        }
        let whole =
            |text: &&String| !known.contains(*text) && vocabulary.token_to_id(text).is_some();
        let listed = [self.map, self.config]
            .into_iter()
            .filter_map(|file| file["additional_special_tokens"].as_array())
            .flatten()
            .filter_map(text)
            .map(String::from);
        let texts: BTreeSet<String> = named.texts.values().cloned().chain(listed).collect();
        let special: Vec<AddedToken> = texts
            .iter()
            .filter(whole)
            .map(|text| AddedToken::from(text.as_str(), true))
            .collect();
        vocabulary.add_special_tokens(special).map_err(|e| {
            anyhow!(
                "{}: failed to add its special tokens: {e}",
                self.folder.display()
            )
        })?;
        Ok(())
    }

    /// By id: `added_tokens_decoder`, or what older folders have in `added_tokens.json`.
    fn added(&self, named: &Named) -> BTreeMap<u32, AddedToken> {
        let mut found = BTreeMap::new();
        if let Some(table) = self.config["added_tokens_decoder"].as_object() {
            for (id, entry) in table {
                let is = |key: &str| entry[key] == true;
                if let (Ok(id), Some(text)) = (id.parse(), text(entry)) {
                    let token = AddedToken::from(text, is("special"))
                        .single_word(is("single_word"))
                        .lstrip(is("lstrip"))
                        .rstrip(is("rstrip"))
                        .normalized(entry["normalized"].as_bool().unwrap_or(!is("special")));
                    found.insert(id, token);
                }
            }
            return found;
        }
        for (text, id) in self.older.as_object().into_iter().flatten() {
            if let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) {
                let special = named.texts.values().any(|name| name == text);
                found.insert(id, AddedToken::from(text.as_str(), special));
            }
        }
        found
    }

    /// What to write where a name is missing, for a message.
    fn cure(&self, name: &str, vocabulary: &Tokenizer) -> String {
        let file = self.folder.join("tokenizer_config.json");
        let id = format!("{name}_id");
        let of_id = |file: &Value| {
            let id = u32::try_from(file[&id].as_u64()?).ok()?;
            vocabulary.id_to_token(id)
        };
        let meant = text(&self.map[name]).map(String::from);
        let meant = meant.or_else(|| of_id(self.generation).or_else(|| of_id(self.model)));
        let token = serde_json::json!(meant.as_deref().unwrap_or("THE TOKEN"));
        format!(
            "add \"{name}\": {token} to {}, or \"{name}\": null if there is none",
            file.display()
        )
    }

    /// Pad and bos, of the tokenizer and of the model's own configuration: no part of a response wherever they stand.
    pub fn unsaid(&self, vocabulary: &Tokenizer, named: &Named) -> BTreeSet<u32> {
        let texts = ["pad_token", "bos_token"].into_iter();
        let texts = texts.filter_map(|name| named.texts.get(name));
        let mut ids: BTreeSet<u32> = texts.filter_map(|t| vocabulary.token_to_id(t)).collect();
        // An id that is an ordinary token is a word of the model: a pad of 0 is `!` in many vocabularies.
        let added = vocabulary.get_added_tokens_decoder();
        for name in ["pad_token_id", "bos_token_id"] {
            let id = self.generation[name].as_u64();
            let id = id.and_then(|id| u32::try_from(id).ok());
            ids.extend(id.filter(|id| added.contains_key(id)));
        }
        ids
    }

    /// Errors: an `eos_token` that is no token, an id that is none, nothing that ends a turn.
    pub fn stop_ids(&self, vocabulary: &Tokenizer, named: &Named) -> Result<BTreeSet<u32>> {
        let folder = self.folder.display();
        let mut ids = BTreeSet::new();
        if let Some(eos) = named.texts.get("eos_token") {
            let id = vocabulary
                .token_to_id(eos)
                .with_context(|| format!("{folder}: eos_token {eos:?} is not in the vocabulary"))?;
            ids.insert(id);
        }
        let (file, declared) = match &self.generation["eos_token_id"] {
            Value::Null => ("config.json", &self.model["eos_token_id"]),
            some => ("generation_config.json", some),
        };
        let declared = match declared {
            Value::Null => &[],
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in declared {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.with_context(|| {
                format!("{folder}: eos_token_id of {file} holds {value}, not a token id")
            })?;
            ids.insert(id);
        }
        if ids.is_empty() {
            bail!(
                "{folder} names no token that ends a turn: tokenizer_config.json and special_tokens_map.json have no eos_token, \
                 generation_config.json and config.json no eos_token_id; add \"eos_token\" to tokenizer_config.json"
            );
        }
        if ids.iter().all(|id| vocabulary.id_to_token(*id).is_none()) {
            bail!(
                "{folder}: eos_token_id of {file} is {declared:?}, and tokenizer.json has no such token: no answer would end; \
                 write the id of the token that ends a turn",
                declared = ids
            );
        }
        Ok(ids)
    }
}

/// A token is a text or an object with `content`.
fn text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}
