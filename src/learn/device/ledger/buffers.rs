//! What sizes are made of: a decoder's numbers, the bytes of each, and a buffer of them. Knows no phase.

use crate::config::Config;
use crate::device::kernels::Variant;
use crate::device::launch;
use base::device::{Numerics, Place};

pub(super) const F32: u64 = 4;
pub(super) const BF16: u64 = 2;

/// The numbers of a decoder that decide sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dims {
    pub parameters: u64,
    pub layers: u64,
    pub hidden: u64,
    pub vocabulary: u64,
    pub intermediate: u64,
    pub heads: u64,
    /// Width of all queries, and of all keys.
    pub q: u64,
    pub kv: u64,
    /// Heads are normed.
    pub normed: bool,
}

impl From<&Config> for Dims {
    fn from(config: &Config) -> Dims {
        let size = |n: usize| n as u64;
        Dims {
            parameters: config.parameters() as u64,
            layers: size(config.layers),
            hidden: size(config.hidden_size),
            vocabulary: size(config.vocab_size),
            intermediate: size(config.intermediate_size),
            heads: size(config.heads),
            q: size(config.q_width()),
            kv: size(config.kv_width()),
            normed: config.qk_norm(),
        }
    }
}

impl Dims {
    /// Of the same model without its later blocks.
    pub fn first_blocks(self, blocks: u64) -> Dims {
        let block = self.hidden * (self.qkv() + self.q + 3 * self.intermediate + 2);
        let less = self.layers.saturating_sub(blocks);
        Dims {
            parameters: self.parameters.saturating_sub(less * block),
            layers: self.layers - less,
            ..self
        }
    }

    /// Numbers of the largest matrix: the embeddings, or one of a block.
    pub(super) fn largest(&self) -> u64 {
        let table = self.vocabulary * self.hidden;
        table.max(2 * self.intermediate * self.hidden)
    }

    pub(super) fn qkv(&self) -> u64 {
        self.q + 2 * self.kv
    }

    /// Bytes of a token in `LayerTape`: r_in, middle, r_post and log-sum-exps of a kernel's scores in f32; qkv, raw, outputs of heads
    /// and gate_up as they lie between products.
    pub(super) fn tape(&self, by: By) -> u64 {
        let raw = if self.normed { self.q + self.kv } else { 0 };
        let lse = if by.heads(self) { self.heads } else { 0 };
        let whole = 2 + self.hidden + lse;
        let between = self.qkv() + raw + self.q + 2 * self.intermediate;
        F32 * whole + by.between() * between
    }
}

/// By what a device computes: which numbers its products read, and whether our kernels do the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct By {
    pub numerics: Numerics,
    pub kernels: bool,
}

impl From<Place> for By {
    fn from(place: Place) -> By {
        By {
            numerics: place.numerics,
            kernels: place.device.is_gpu() && launch::used_on_gpus(),
        }
    }
}

impl By {
    /// Bytes of a number that a product reads.
    pub(super) fn between(self) -> u64 {
        match self.numerics {
            Numerics::F32 => F32,
            Numerics::Bf16 => BF16,
        }
    }

    /// Whether kernels compute heads as wide as this model's.
    pub(super) fn heads(self, model: &Dims) -> bool {
        let variant = Variant {
            bf16: self.numerics == Numerics::Bf16,
            head: (model.q / model.heads.max(1)) as usize,
        };
        self.kernels && variant.exists()
    }

    /// Weights that are not trained.
    pub(super) fn frozen(self, what: &'static str, model: &Dims) -> Buffer {
        Buffer {
            what,
            bytes: self.between() * model.parameters,
        }
    }

    /// What is trained, where products read it from another copy than the masters in f32.
    pub(super) fn rounded(self, what: &'static str, numbers: u64) -> Buffer {
        let bytes = match self.numerics {
            Numerics::F32 => 0,
            Numerics::Bf16 => BF16 * numbers,
        };
        Buffer { what, bytes }
    }
}

/// Tensors of one name, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buffer {
    pub what: &'static str,
    pub bytes: u64,
}

/// Numbers in f32.
pub(super) fn buffer(what: &'static str, numbers: u64) -> Buffer {
    let bytes = F32 * numbers;
    Buffer { what, bytes }
}
