//! The shape of a decoder: what may differ between Qwen2, Qwen3, Llama and Mistral, and which sizes fit each other. Knows no weights and
//! no files; how it is read from a `config.json` and written to one: `config_file`.

use anyhow::{Result, ensure};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Qwen2,
    Qwen3,
    Llama,
    Mistral,
}

/// What stands on top of the last norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The embedding table again.
    Tied,
    /// `lm_head.weight`.
    Untied,
    /// `score.weight` [labels, hidden]: a sequence classifier (reward model).
    Score { labels: usize },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Frequency bands of Llama 3.1 (transformers: rope type `llama3`).
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_max_position_embeddings: usize,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub family: Family,
    pub head: Head,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    pub max_position_embeddings: usize,
    pub initializer_range: f64,
    /// Carried from file to file; the decoder does not read them.
    pub bos_token_id: Value,
    pub eos_token_id: Value,
    pub pad_token_id: Value,
}

impl Config {
    /// Bias on the q, k and v projections.
    pub(crate) fn qkv_bias(&self) -> bool {
        self.family == Family::Qwen2
    }

    /// RMSNorm over each head of q and k before the rotation.
    pub fn qk_norm(&self) -> bool {
        self.family == Family::Qwen3
    }

    /// Width of the query heads side by side.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of the key (or value) heads side by side.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Width of q, k and v side by side.
    pub fn qkv_width(&self) -> usize {
        self.q_width() + 2 * self.kv_width()
    }

    /// Fails for a model whose head predicts no words.
    pub(crate) fn expect_language_head(&self) -> Result<()> {
        ensure!(
            !matches!(self.head, Head::Score { .. }),
            "a sequence classifier has no language head to sample from"
        );
        Ok(())
    }

    /// Parameters of its matrices; norms and biases are left out.
    pub fn parameters(&self) -> u128 {
        let wide = |n: usize| n as u128;
        let d = wide(self.hidden_size);
        let (q, kv) = (wide(self.q_width()), wide(self.kv_width()));
        let block = d * (2 * q + 2 * kv) + 3 * d * wide(self.intermediate_size);
        let table = d * wide(self.vocab_size);
        let head = match self.head {
            Head::Tied => 0,
            Head::Untied => table,
            Head::Score { labels } => d * wide(labels),
        };
        table + head + wide(self.layers) * block
    }

    /// Errors where the sizes contradict each other, or are beyond any model.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 20),
            ("intermediate_size", self.intermediate_size, 1 << 22),
            ("num_hidden_layers", self.layers, 10_000),
            ("num_attention_heads", self.heads, 1 << 16),
            ("num_key_value_heads", self.kv_heads, 1 << 16),
            ("head_dim", self.head_dim, 1 << 16),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                1 << 32,
            ),
        ];
        for (name, size, most) in sizes {
            ensure!(size <= most, "config: {name} {size} is above {most}");
        }
        if let Head::Score { labels } = self.head {
            ensure!(labels <= 1 << 20, "config: {labels} labels are too many");
        }
        ensure!(
            self.heads.is_multiple_of(self.kv_heads),
            "config: num_attention_heads {} is not a multiple of num_key_value_heads {}",
            self.heads,
            self.kv_heads
        );
        ensure!(
            self.head_dim.is_multiple_of(2),
            "config: head_dim {} is odd, the rotation needs pairs",
            self.head_dim
        );
        ensure!(
            self.rope_theta > 0.0,
            "config: rope_theta must be above zero, not {}",
            self.rope_theta
        );
        ensure!(
            self.rms_norm_eps >= 0.0 && self.initializer_range >= 0.0,
            "config: rms_norm_eps and initializer_range cannot be negative"
        );
        Ok(())
    }
}
