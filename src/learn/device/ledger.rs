//! What a device holds at its peak, before anything is computed: a list of the buffers that `learn::device` makes, by the shapes alone.
//! Every line names the tensors that it counts, in the words of the file that makes them; where they change, so does the line.
//!
//! All numbers are f32. Counted is what is alive at once; what the device's allocator keeps besides, its context and its libraries'
//! workspaces are not (about a gigabyte on CUDA). Sequences of a batch are counted as one of all its tokens: padding at most doubles
//! what attention makes of them.

use crate::adapter::Adapter;
use crate::config::Config;
use crate::decoder::Keep;
use crate::device::ragged::{GPU_LOGITS, QUERIES, SCORES, Workspace};
use crate::device::sample::prompts;
use base::device::DeviceName;

const F32: u64 = 4;

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
    /// Numbers of the largest matrix: the embeddings, or one of a block.
    fn largest(&self) -> u64 {
        let table = self.vocabulary * self.hidden;
        table.max(2 * self.intermediate * self.hidden)
    }

    fn qkv(&self) -> u64 {
        self.q + 2 * self.kv
    }

    /// Of a token: `LayerTape` (r_in, qkv, raw, mixed, middle, r_post, gate_up).
    fn tape(&self) -> u64 {
        let raw = match self.normed {
            true => self.q + self.kv + 2 * self.heads,
            false => 0,
        };
        2 + self.qkv() + raw + self.q + self.hidden + 2 * self.intermediate
    }
}

/// Tensors of one name, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buffer {
    pub what: &'static str,
    pub bytes: u64,
}

/// A place where memory is highest, and what is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    pub name: &'static str,
    pub buffers: Vec<Buffer>,
}

impl Phase {
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.bytes).sum()
    }
}

/// The phases of a step or a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub phases: Vec<Phase>,
}

impl Ledger {
    /// The phase that takes most.
    pub fn peak(&self) -> Option<&Phase> {
        self.phases.iter().max_by_key(|phase| phase.bytes())
    }

    pub fn bytes(&self) -> u64 {
        self.peak().map_or(0, Phase::bytes)
    }

    fn with(
        mut self,
        name: &'static str,
        stays: &[Buffer],
        passing: &[(&'static str, u64)],
    ) -> Ledger {
        let passing = passing.iter().map(|&(what, numbers)| buffer(what, numbers));
        let buffers = stays.iter().copied().chain(passing);
        let buffers = buffers.filter(|b| b.bytes > 0).collect();
        self.phases.push(Phase { name, buffers });
        self
    }
}

fn buffer(what: &'static str, numbers: u64) -> Buffer {
    Buffer {
        what,
        bytes: F32 * numbers,
    }
}

/// What is trained, and how.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Numbers of the adapter; 0: all weights are trained.
    pub adapter: u64,
    /// Weights that training began as stay at hand.
    pub reference: bool,
    pub keep: Keep,
    /// Of the largest micro-batch: tokens, those of them that are scored, and of its longest sequence.
    pub tokens: u64,
    pub scored: u64,
    pub longest: u64,
    /// The objective has a slope by the entropy.
    pub entropy: bool,
    /// Of the workspace.
    pub logits_at_once: u64,
}

/// Tokens of prompts that are computed together, unless one has more.
pub const TOGETHER: u64 = prompts::TOGETHER as u64;

/// Logits that exist at the same time on such a device: see `Workspace::of`.
pub fn logits_at_once(device: DeviceName) -> u64 {
    let most = match device.is_gpu() {
        true => GPU_LOGITS,
        false => Workspace::default().logits_at_once,
    };
    most as u64
}

/// Numbers of an adapter.
pub fn numbers(adapter: &Adapter) -> u64 {
    let each = adapter.params.iter().map(|param| param.range.len() as u64);
    each.sum()
}

/// A training step.
pub fn training(model: &Dims, how: &Training) -> Ledger {
    let Training { tokens, .. } = *how;
    let resident = resident(model, how);
    let states = buffer("hidden states", tokens * (model.layers + 1) * model.hidden);
    let tapes = match how.keep {
        Keep::All => model.layers,
        Keep::States => 0,
    };
    let tapes = buffer("tapes of the blocks", tokens * tapes * model.tape());
    // `Kept`: last, normed, r, targets, lse, entropy.
    let head = buffer("head's tape", how.scored * (2 * model.hidden + 4));
    let masks = buffer("masks", masks(model, tokens, how.longest));
    let mut kept = resident.clone();
    kept.extend([states, tapes, masks]);
    let forward = block_forward(model, tokens, how.longest);
    let forward = [("a block forward", forward)];
    let with_head: Vec<Buffer> = kept.iter().copied().chain([head]).collect();
    let rows = rows_of_logits(model, how.scored, how.logits_at_once);
    let logits = rows * model.vocabulary;
    let full = how.adapter == 0;
    // With entropy: logp, p, above, slope, its sum with dlogp, minus; without: logp, p, minus, its negative, dz.
    let chunks = if how.entropy { 6 } else { 5 };
    let of_table = if full {
        2 * model.vocabulary * model.hidden
    } else {
        0
    };
    let head_back = [
        ("chunk of logits and its gradient", chunks * logits),
        // dz^T x, and its sum with what was there.
        ("gradient of the head's matrix", of_table),
        ("gradients of normed rows", 2 * how.scored * model.hidden),
    ];
    let again = match how.keep {
        Keep::All => 0,
        Keep::States => tokens * model.tape(),
    };
    let back = [
        ("a block computed again", again),
        (
            "a block backward",
            block_backward(model, tokens, how.longest, full),
        ),
    ];
    // m and v anew, slope, step and the kept weights of the largest matrix.
    let update = [(
        "the largest matrix anew",
        4 * if full { model.largest() } else { 0 },
    )];
    Ledger::default()
        .with("forward", &kept, &forward)
        .with("head, backward", &with_head, &head_back)
        .with("blocks, backward", &with_head, &back)
        .with("update", &resident, &update)
}

/// What stays from step to step.
fn resident(model: &Dims, how: &Training) -> Vec<Buffer> {
    let full = how.adapter == 0;
    let trained = if full { model.parameters } else { how.adapter };
    let reference = full && how.reference;
    vec![
        buffer("weights", model.parameters),
        buffer("adapter", how.adapter),
        buffer("reference", if reference { model.parameters } else { 0 }),
        buffer("first moments", trained),
        buffer("second moments", trained),
        buffer("gradient", trained),
    ]
}

/// Rows whose logits exist at the same time: `HeadTape::chunk`.
fn rows_of_logits(model: &Dims, rows: u64, at_once: u64) -> u64 {
    (at_once / model.vocabulary.max(1)).max(1).min(rows)
}

/// Beyond its tape and its output, at its highest: in attention (queries before and after scaling, keys, values, outputs by block and
/// together; scores, masked, exp and probabilities of a block of queries), or in SwiGLU (gate, up and three of the sigmoid).
fn block_forward(model: &Dims, tokens: u64, longest: u64) -> u64 {
    // x and qkv before rotation live as long as the block does.
    let alive = tokens * (model.hidden + model.qkv());
    let attention =
        tokens * (model.qkv() + 3 * model.q + 2 * model.kv) + 4 * scores(model, tokens, longest);
    let mlp = tokens * (2 * model.hidden + 5 * model.intermediate);
    alive + attention.max(mlp)
}

/// Of one block of queries of all heads, with every key: `View::block`.
fn scores(model: &Dims, tokens: u64, longest: u64) -> u64 {
    tokens * model.heads * queries(model, tokens).min(longest)
}

/// Queries of a block: `Ragged::queries`.
fn queries(model: &Dims, tokens: u64) -> u64 {
    let most = SCORES as u64 / (model.heads * tokens).max(1);
    (QUERIES as u64).min(most).max(1)
}

/// Of every block of queries with the keys before it: `Ragged::masks`.
fn masks(model: &Dims, tokens: u64, longest: u64) -> u64 {
    longest * (longest + queries(model, tokens).min(longest)) / 2
}

/// At its highest in the MLP (act, dact, gate, up, s, dup and three of the slope, the gradient of both) with the gradients of its
/// matrices, or in attention (as forward, with the gradients of queries, keys and values, their sums, and five of the scores).
fn block_backward(model: &Dims, tokens: u64, longest: u64, full: bool) -> u64 {
    // dh, d(middle) and rows that are normed again.
    let alive = 4 * tokens * model.hidden;
    let matrices = if full {
        2 * 2 * model.intermediate * model.hidden
    } else {
        0
    };
    let mlp = tokens * 11 * model.intermediate + matrices;
    let attention = tokens * (3 * model.qkv() + 5 * model.q + 6 * model.kv)
        + 5 * scores(model, tokens, longest);
    alive + attention.max(mlp)
}

/// What is sampled, and how.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Rows under way at once, and the longest of them: prompt and response.
    pub rows: u64,
    pub longest: u64,
    /// Tokens of prompts that are computed together, and of the longest prompt.
    pub together: u64,
    pub prompt: u64,
    /// Of the workspace.
    pub logits_at_once: u64,
}

/// Samples of a model that is asked, or of one in training, whose `beside` are its other buffers.
pub fn sampling(model: &Dims, beside: &[Buffer], how: &Sampling) -> Ledger {
    let mut stays = match beside.is_empty() {
        true => vec![buffer("weights", model.parameters)],
        false => beside.to_vec(),
    };
    let line = 2 * model.kv;
    stays.push(buffer(
        "cache",
        how.rows * how.longest * model.layers * line,
    ));
    let prompts = how.together.max(how.prompt);
    let begin = [
        ("keys and values of prompts", prompts * model.layers * line),
        (
            "a block forward",
            prompts * (2 * model.hidden + model.tape()) + block_forward(model, prompts, how.prompt),
        ),
    ];
    let logits = rows_of_logits(model, how.rows, how.logits_at_once) * model.vocabulary;
    let seen = how.rows * model.heads * how.longest;
    let step = [
        // One side of a block anew, when all grow by a page.
        ("a block's cache anew", how.rows * how.longest * model.kv),
        ("scores of a step", 4 * seen),
        ("logits, below their top, by blocks", 3 * logits),
    ];
    Ledger::default()
        .with("prompts", &stays, &begin)
        .with("a step", &stays, &step)
}

/// The buffers of a training that stay while it samples.
pub fn beside(model: &Dims, how: &Training) -> Vec<Buffer> {
    resident(model, how)
}

/// Samples and steps of one node in turn.
pub fn both(mut first: Ledger, second: Ledger) -> Ledger {
    first.phases.extend(second.phases);
    first
}
