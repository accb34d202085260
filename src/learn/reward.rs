//! A reward model: a decoder whose head gives one number, read at the last token of a conversation.
//!
//! score = w · h with w `score.weight` [1, hidden] and h the hidden state after the final norm at the last token. The
//! last token is found by length, never by looking for padding: a padding id that also ends turns is found inside the
//! conversation (huggingface/transformers#35352). Sequences are never padded: each is a pass of its own, so that a score
//! does not depend on its neighbours. Knows no squashing, no reasoning and no judge.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use serde_json::json;

use crate::chat;
use crate::checkpoint;
use crate::config::Head;
use crate::decoder::{self, Packed, Workspace};
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;

/// Tokens that are in memory at a time, unless one sequence has more.
const BATCH_TOKENS: usize = 4096;

pub struct RewardModel {
    pub weights: Weights,
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
            weights: checkpoint::load(folder)?,
        };
        model.tokenizer.expect_rows(config.vocab_size)?;
        let rendered = model.read("hello", "hello", usize::MAX);
        rendered.with_context(|| format!("{} renders no conversation", folder.display()))?;
        Ok(model)
    }

    /// Tokens that a conversation may have.
    pub fn positions(&self) -> usize {
        self.weights.config.max_position_embeddings
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
        let vocabulary = self.weights.config.vocab_size;
        ensure!(!ids.is_empty(), "the conversation has no tokens");
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
            bail!(
                "the tokenizer gives id {id}, and the model has {vocabulary} embeddings: they are not of one model"
            );
        }
        Ok(Read { ids, cut })
    }

    /// The score of each conversation, in their order: longest first, as many at a time as memory is meant for. `done`
    /// hears how many there are after every batch, and says whether to go on; where it does not, there are no scores.
    ///
    /// Panics on an empty conversation and on ids outside of the vocabulary (`read` gives neither).
    pub fn scores(&self, rows: &[Read], done: &mut dyn FnMut(usize) -> bool) -> Option<Vec<f32>> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(rows[i].ids.len()));
        let mut scores = vec![0.0; rows.len()];
        let mut rest = order.as_slice();
        while let Some(&longest) = rest.first() {
            let fit = BATCH_TOKENS / rows[longest].ids.len();
            let (batch, later) = rest.split_at(fit.clamp(1, rest.len()));
            let of_batch: Vec<f32> = batch
                .par_iter()
                .map_init(Workspace::new, |workspace, &i| {
                    self.score(&rows[i].ids, workspace)
                })
                .collect();
            for (&i, score) in batch.iter().zip(of_batch) {
                scores[i] = score;
            }
            rest = later;
            if !done(rows.len() - rest.len()) {
                return None;
            }
        }
        Some(scores)
    }

    fn score(&self, ids: &[u32], workspace: &mut Workspace) -> f32 {
        let starts = [0, ids.len()];
        let batch = Packed {
            ids,
            starts: &starts,
        };
        decoder::logits_at(&self.weights, batch, &[ids.len() - 1], workspace)[0]
    }
}
