//! A reward model: a decoder whose head gives one number, read at the last token of a conversation.
//!
//! score = w · h with w `score.weight` [1, hidden] and h the hidden state after the final norm at the last token. The
//! last token is found by length, never by looking for padding: a padding id that also ends turns is found inside the
//! conversation (huggingface/transformers#35352). Knows no squashing, no reasoning and no judge.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::chat;
use crate::checkpoint;
use crate::config::{Config, Head};
use crate::cpu::Cpu;
use crate::learner::Learner;
use crate::tokenizer::Tokenizer;
use crate::weights::{Layout, Weights};

pub struct RewardModel {
    pub learner: Box<dyn Learner>,
    pub tokenizer: Tokenizer,
}

/// A conversation as the model reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub ids: Vec<u32>,
    /// Tokens that were cut off its end.
    pub cut: usize,
}

impl RewardModel {
    /// A Hugging Face folder of `LlamaForSequenceClassification` or its Qwen2, Qwen3 and Mistral twins, with one label.
    ///
    /// Errors: what `checkpoint::load` refuses, a head of another kind, a tokenizer without a chat template, a template
    /// that cannot render a prompt with its answer.
    pub fn load(folder: &Path) -> Result<RewardModel> {
        RewardModel::load_with(folder, |weights| Ok(Box::new(Cpu::frozen(weights, None))))
    }

    /// The same, computed wherever `open` puts its weights.
    pub fn load_with(
        folder: &Path,
        open: impl FnOnce(Weights) -> Result<Box<dyn Learner>>,
    ) -> Result<RewardModel> {
        // Before gigabytes are read.
        let config = checkpoint::load_config(folder)?;
        let place = folder.join("config.json");
        match config.head {
            Head::Score { labels: 1 } => {}
            Head::Score { labels } => bail!(
                "{}: num_labels is {labels}, and a reward model gives one number: it says num_labels 1, or has one entry \
                 in id2label",
                place.display()
            ),
            Head::Tied | Head::Untied => bail!(
                "{}: the architecture is one ForCausalLM, which predicts words; a reward model is one \
                 ForSequenceClassification with `score.weight`",
                place.display()
            ),
        }
        let model = RewardModel {
            tokenizer: Tokenizer::load(folder)?,
            learner: open(checkpoint::load(folder)?)?,
        };
        model.tokenizer.expect_rows(config.vocab_size)?;
        let rendered = model.read("hello", "hello", usize::MAX);
        rendered.with_context(|| format!("{} renders no conversation", folder.display()))?;
        Ok(model)
    }

    fn config(&self) -> &Config {
        self.learner.config()
    }

    /// Numbers of its weights.
    pub fn parameters(&self) -> usize {
        Layout::new(self.config()).len()
    }

    /// Tokens that a conversation may have.
    pub fn positions(&self) -> usize {
        self.config().max_position_embeddings
    }

    /// The ids of [user: prompt, assistant: answer] under the model's own template: no generation prompt, and no system
    /// message but what the template writes by itself. At most `most` tokens are kept, the first ones.
    ///
    /// Errors: a template that fails, an id that the model has no embedding for.
    pub fn read(&self, prompt: &str, answer: &str, most: usize) -> Result<Read> {
        let messages = [
            json!({ "role": "user", "content": prompt }),
            json!({ "role": "assistant", "content": answer }),
        ];
        let mut ids = chat::render_whole(&self.tokenizer, &messages)?;
        let cut = ids.len().saturating_sub(most);
        ids.truncate(most);
        let vocabulary = self.config().vocab_size;
        ensure!(!ids.is_empty(), "the conversation has no tokens");
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
            bail!(
                "the tokenizer gives id {id}, and the model has {vocabulary} embeddings: they are not of one model"
            );
        }
        Ok(Read { ids, cut })
    }

    /// The score of each conversation, in their order. `done` hears how many there are now and then, and says whether to go on;
    /// where it does not, there are no scores.
    ///
    /// Panics on an empty conversation and on ids outside of the vocabulary (`read` gives neither).
    pub fn scores(
        &mut self,
        rows: &[Read],
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<f32>>> {
        let sequences: Vec<&[u32]> = rows.iter().map(|row| &row.ids[..]).collect();
        self.learner.labels(&sequences, done)
    }
}
