//! A model folder's tokenizer: text to ids and back, its special tokens, its chat template and where a turn ends.
//!
//! Reads `tokenizer.json`, `tokenizer_config.json`, `generation_config.json` and the template files beside them, as
//! transformers lays them out; of `config.json` the ids that end a turn, and how many rows the model has for ids. Knows
//! nothing of masks. Which token is the BOS or EOS: `learn/special.rs`.

use crate::folders;
use crate::special::{self, Named};
use crate::template::Template;
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::bounded::{self, MOST_CONFIG};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use tokenizers::{PostProcessor, PostProcessorWrapper};

/// The files that make up a tokenizer; `copy_files` takes those that are there. `generation_config.json` is one of
/// them because the stop tokens are written there.
pub const FILES: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
];

/// The largest `tokenizer.json`; that of a vocabulary of 260,000 has 34 MB.
const MOST: u64 = 256 << 20;

pub struct Tokenizer {
    /// Without its post-processor, which may trim offsets; encoding with special tokens applies it by hand.
    inner: tokenizers::Tokenizer,
    post: Option<PostProcessorWrapper>,
    /// `eos_token` and its kin.
    named: Named,
    stop_ids: BTreeSet<u32>,
    /// What is no part of a response wherever it stands: pad and bos.
    unsaid: BTreeSet<u32>,
    /// What the vocabulary has for what it does not know.
    unknown: Option<String>,
    template: Option<Template>,
    /// Rows that the model beside it has for ids, where some id has none.
    rows: Option<usize>,
    /// `max_position_embeddings` of the model beside it.
    positions: Option<usize>,
    /// For messages.
    folder: String,
}

/// What a `tokenizer.json` adds, with the ids that it says, and what it has for what it does not know.
#[derive(Default, Deserialize)]
struct Adds {
    added_tokens: Vec<Add>,
    #[serde(default)]
    model: Unknown,
}

/// By name or, of a unigram model, by id. A file that has something else there is no worse for it.
#[derive(Default, Deserialize)]
struct Unknown {
    #[serde(default)]
    unk_token: Value,
    #[serde(default)]
    unk_id: Value,
}

impl Unknown {
    fn text(&self, vocabulary: &tokenizers::Tokenizer) -> Option<String> {
        let id = || u32::try_from(self.unk_id.as_u64()?).ok();
        match self.unk_token.as_str() {
            Some(text) => Some(text.to_string()),
            None => vocabulary.id_to_token(id()?),
        }
    }
}

#[derive(Deserialize)]
struct Add {
    id: u32,
    content: String,
}

/// Ids of a text with the bytes of the text that each of them covers.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    pub offsets: Vec<Range<usize>>,
}

impl Tokenizer {
    /// Fails where the folder has no `tokenizer.json`, a file is not what it should be, or no token ends a turn.
    pub fn load(folder: &Path) -> Result<Tokenizer> {
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            bail!("{}", folders::no_tokenizer(folder));
        }
        if let Some(problem) = folders::pointer(&path) {
            bail!("{problem}");
        }
        let text = bounded::read(&path, MOST)
            .with_context(|| format!("failed to read {}", path.display()))?;
        serde_json::from_slice::<serde::de::IgnoredAny>(&text)
            .with_context(|| format!("failed to read {}", path.display()))?;
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(&text))
            .map_err(|e| anyhow!("failed to read {}: {e}", path.display()))?;
        let adds: Adds = serde_json::from_slice(&text).unwrap_or_default();
        drop(text);
        let unknown = adds.model.text(&inner);
        for Add { id, content } in adds.added_tokens {
            if let Some(read) = inner.token_to_id(&content).filter(|read| *read != id) {
                bail!(
                    "{}: it adds {content:?} with id {id}, and would be read with id {read}, since ids of added tokens follow \
                     those before them without a gap: is the file as save_pretrained wrote it?",
                    path.display()
                );
            }
        }
        // A saved length limit belongs to whoever saved it; here every text is encoded whole.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| anyhow!("failed to lift the length limit of {}: {e}", path.display()))?;
        let post = inner.get_post_processor().cloned();
        inner.with_post_processor(None::<PostProcessorWrapper>);

        let config = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
        let generation = read_json(&folder.join("generation_config.json"))?.unwrap_or(Value::Null);
        let model = read_json(&folder.join("config.json"))?.unwrap_or(Value::Null);
        let map = read_json(&folder.join("special_tokens_map.json"))?.unwrap_or(Value::Null);
        let older = read_json(&folder.join("added_tokens.json"))?.unwrap_or(Value::Null);
        let files = special::Files {
            folder,
            config: &config,
            map: &map,
            older: &older,
            generation: &generation,
            model: &model,
        };
        let named = files.named(&inner)?;
        files.complete(&mut inner, &named)?;
        let stop_ids = files.stop_ids(&inner, &named)?;
        let unsaid = files.unsaid(&inner, &named);
        let template = match template_source(folder, &config)? {
            Some(source) => Some(
                template_of(&source, &inner, &named)
                    .with_context(|| format!("in {}", folder.display()))?,
            ),
            None => None,
        };
        let folder = folder.display().to_string();
        let mut tokenizer = Tokenizer {
            inner,
            post,
            named,
            stop_ids,
            unsaid,
            unknown,
            template,
            rows: None,
            positions: model["max_position_embeddings"]
                .as_u64()
                .map(|n| n as usize),
            folder,
        };
        let rows = model["vocab_size"].as_u64().map(|n| n as usize);
        tokenizer.rows = rows.filter(|&rows| tokenizer.beyond(rows).is_some());
        Ok(tokenizer)
    }

    /// Ids of the text as it stands: special tokens written in it are recognised, none are added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encode_offsets(text)?.ids)
    }

    /// Ids of the text as it stands, with the bytes that each token covers.
    pub fn encode_offsets(&self, text: &str) -> Result<Encoded> {
        let encoding = self.encoding(text)?;
        Ok(Encoded {
            ids: encoding.get_ids().to_vec(),
            offsets: encoding.get_offsets().iter().map(|&(a, b)| a..b).collect(),
        })
    }

    /// Ids of the text with what the tokenizer adds by itself (a BOS, say). Not for rendered chats: they carry their own.
    pub fn encode_with_special(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.encoding(text)?;
        let encoding = match &self.post {
            Some(post) => guarded(|| post.process(encoding, None, true))
                .map_err(|e| anyhow!("failed to add special tokens: {e}"))?,
            None => encoding,
        };
        Ok(encoding.get_ids().to_vec())
    }

    /// Bytes that are no UTF-8 come out as the replacement character.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        guarded(|| self.inner.decode(ids, skip_special))
            .map_err(|e| anyhow!("failed to decode {} tokens: {e}", ids.len()))
    }

    /// The text of a response of these ids: up to the first stop token, without pad and bos. Every other token is the
    /// model's word, whatever the tokenizer calls special: think and tool tags are.
    pub fn response(&self, ids: &[u32]) -> Result<String> {
        let written = ids.iter().take_while(|id| !self.stop_ids.contains(id));
        let said = written.filter(|id| !self.unsaid.contains(id));
        self.decode(&said.copied().collect::<Vec<u32>>(), false)
    }

    /// Entries, added tokens included. A model may have more rows than this.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether a token has this id.
    pub fn has(&self, id: u32) -> bool {
        self.inner.id_to_token(id).is_some()
    }

    /// Tokens that no text of somebody is meant to hold: those that were added to the vocabulary, special or not, those that the
    /// folder names (bos, eos, pad, unk), those that end a turn, and what the vocabulary has for what it does not know.
    pub fn control_ids(&self) -> BTreeSet<u32> {
        let added = self.inner.get_added_tokens_decoder().into_keys();
        let unknown = self.unknown.iter();
        let named = self.named.texts.values().chain(unknown);
        let named = named.filter_map(|text| self.inner.token_to_id(text));
        added
            .chain(named)
            .chain(self.stop_ids.iter().copied())
            .collect()
    }

    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// `bos_token`, `eos_token`, `pad_token`, … as the folder names them.
    pub fn named_token(&self, name: &str) -> Option<&str> {
        self.named.texts.get(name).map(String::as_str)
    }

    /// The first token, by id, that a model of so many embeddings has none for.
    pub fn beyond(&self, rows: usize) -> Option<(u32, String)> {
        let vocabulary = self.inner.get_vocab(true);
        let ids = vocabulary.into_iter().map(|(token, id)| (id, token));
        ids.filter(|(id, _)| *id as usize >= rows).min()
    }

    /// Errors where the tokenizer has tokens that a model of so many embeddings does not know.
    pub fn expect_rows(&self, rows: usize) -> Result<()> {
        let Some((id, token)) = self.beyond(rows) else {
            return Ok(());
        };
        bail!(
            "{}: the tokenizer gives id {id}, and the model has {rows} embeddings: tokenizer.json has {token:?} there, and \
             vocab_size of config.json is {rows}; they are not of one model. Take the tokenizer that came with the weights, or \
             in transformers give the model as many rows: model.resize_token_embeddings(len(tokenizer)), save_pretrained",
            self.folder
        );
    }

    /// How many tokens the model beside it was made for, where there is one.
    pub fn positions(&self) -> Option<usize> {
        self.positions
    }

    /// The first special token in a text.
    pub fn first_special(&self, text: &str) -> Result<Option<(u32, String)>> {
        let special = self.inner.get_added_tokens_decoder();
        let ids = self.encode(text)?;
        let first = ids.into_iter().find_map(|id| Some((id, special.get(&id)?)));
        Ok(first.map(|(id, token)| (id, token.content.clone())))
    }

    /// Every token that ends a turn: the list of `generation_config.json` (or of `config.json`, where that has none) and the
    /// tokenizer's own `eos_token`. Never empty.
    pub fn stop_ids(&self) -> &BTreeSet<u32> {
        &self.stop_ids
    }

    /// The texts of the stop tokens.
    pub fn stop_texts(&self) -> Vec<String> {
        let texts = self.stop_ids.iter().map(|&id| self.inner.id_to_token(id));
        texts.flatten().collect()
    }

    pub fn template(&self) -> Result<&Template> {
        self.template.as_ref().with_context(|| {
            format!(
                "{} has no chat template (tokenizer_config.json, chat_template.jinja or chat_template.json)",
                self.folder
            )
        })
    }

    /// This tokenizer under another template, such as one with `{% generation %}` tags.
    pub fn with_template(mut self, source: &str) -> Result<Tokenizer> {
        self.template = Some(template_of(source, &self.inner, &self.named)?);
        Ok(self)
    }

    fn encoding(&self, text: &str) -> Result<tokenizers::Encoding> {
        let encoding = guarded(|| self.inner.encode(text, false))
            .map_err(|e| anyhow!("failed to encode a text of {} bytes: {e}", text.len()))?;
        if let Some(rows) = self.rows {
            let mut ids = encoding.get_ids().iter();
            if let Some(id) = ids.find(|id| **id as usize >= rows) {
                bail!(
                    "the tokenizer gives id {id}, and the model has {rows} embeddings: they are not of one model (the token is {:?})",
                    self.inner.id_to_token(*id).unwrap_or_default()
                );
            }
        }
        Ok(encoding)
    }
}

/// Fails where the template writes a token that the vocabulary lacks: its letters would be read one by one.
fn template_of(source: &str, inner: &tokenizers::Tokenizer, named: &Named) -> Result<Template> {
    let template = Template::new(source, named.texts.clone())?.without(named.absent.clone());
    for name in template.names() {
        if let Some(text) = named.texts.get(&name) {
            ensure!(
                inner.token_to_id(text).is_some(),
                "the chat template writes {name}, {text:?}, which is not in the vocabulary: the names in tokenizer_config.json \
                 and special_tokens_map.json are those of another tokenizer"
            );
        }
    }
    Ok(template)
}

/// The crate takes a file at its word: one whose parts contradict each other may only show in a panic.
fn guarded<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("its tokenizer.json contradicts itself".into()))
}

/// Copies the tokenizer's files byte for byte and returns their names. `to` exists.
pub fn copy_files(from: &Path, to: &Path) -> Result<Vec<&'static str>> {
    let mut copied = vec![];
    for name in FILES {
        let path = from.join(name);
        if path.is_file() {
            let bytes = std::fs::read(&path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            let target = to.join(name);
            std::fs::write(&target, bytes)
                .with_context(|| format!("failed to write {}", target.display()))?;
            copied.push(name);
        }
    }
    if !copied.contains(&"tokenizer.json") {
        bail!("{}", folders::no_tokenizer(from));
    }
    Ok(copied)
}

/// `None` where the file is absent.
fn read_json(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = bounded::read(path, MOST_CONFIG)
        .with_context(|| format!("failed to read {}", path.display()))?;
    let value = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not valid JSON", path.display()))?;
    Ok(Some(value))
}

/// The file beside the config wins over the entry in it, as in transformers.
fn template_source(folder: &Path, config: &Value) -> Result<Option<String>> {
    let jinja = folder.join("chat_template.jinja");
    if jinja.is_file() {
        let text = bounded::read_text(&jinja, MOST_CONFIG)
            .with_context(|| format!("failed to read {}", jinja.display()))?;
        return Ok(Some(text));
    }
    let beside = read_json(&folder.join("chat_template.json"))?.unwrap_or(Value::Null);
    for holder in [&beside, config] {
        match &holder["chat_template"] {
            Value::Null => {}
            Value::String(text) => return Ok(Some(text.clone())),
            Value::Array(list) => {
                // Older folders hold several named templates.
                let default = list.iter().find(|t| t["name"] == "default");
                match default.and_then(|t| t["template"].as_str()) {
                    Some(text) => return Ok(Some(text.to_string())),
                    None => bail!(
                        "{}: none of its chat templates is named default",
                        folder.display()
                    ),
                }
            }
            other => bail!(
                "{}: chat_template is neither a text nor a list: {other}",
                folder.display()
            ),
        }
    }
    Ok(None)
}
