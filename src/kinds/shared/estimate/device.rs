//! What a model takes of the machine and of a device while it is trained, sampled from, read or attacked, by which of them computes:
//! `learn::device::ledger` says what a device holds, the formulas beside say it of the processor. Every kind with the parameter `device`
//! counts its models here.

use super::{F32, MICRO, REST, Training, forward_memory, sample_memory, train_memory};
use base::device::{DeviceName, Numerics, Place};
use base::text::bytes;
use engine::kind::estimate::{DeviceMemory, ModelSize, NodePreview, Work};
use learn::batch::STATES_TOGETHER;
use learn::decoder::Keep;
use learn::device::card::Card;
use learn::device::ledger::{self, Beside, Dims, Ledger, Sampling};
use learn::device::together;
use learn::labels;
use learn::placed;

fn dims(model: &ModelSize) -> Dims {
    let whole = |n: f64| n as u64;
    Dims {
        parameters: whole(model.parameters),
        layers: whole(model.layers),
        hidden: whole(model.hidden),
        vocabulary: whole(model.vocabulary),
        intermediate: whole(model.intermediate),
        heads: whole(model.heads),
        q: whole(model.queries),
        kv: whole(model.cache / (2.0 * model.layers).max(1.0)),
        normed: model.normed,
    }
}

/// One micro-batch at a time.
fn one(place: Place, model: &ModelSize, how: &Training) -> ledger::Training {
    let tokens = MICRO.max(how.longest) as u64;
    ledger::Training {
        adapter: match how.rank {
            0 => 0,
            _ => how.trained(model) as u64,
        },
        reference: how.reference,
        keep: match how.recompute {
            true => Keep::States,
            false => Keep::All,
        },
        tokens,
        scored: tokens,
        longest: how.longest.max(1.0) as u64,
        logits_at_once: ledger::logits_at_once(place.device),
        by: place.into(),
    }
}

/// Its memory, beside the models of the node that were counted before.
fn card(device: DeviceName, work: &Work) -> Card {
    let others = work.device_memory.as_ref();
    Card {
        total: placed::total(device),
        others: others.map_or(0, |held| held.bytes as u64),
    }
}

/// As many micro-batches as go through such a device together, of those that a step has.
fn steps(
    (place, card): (Place, Card),
    dims: &Dims,
    model: &ModelSize,
    how: &Training,
) -> ledger::Training {
    let one = one(place, model, how);
    let together = together::at_most(place.device, dims, &one, card) as u64;
    let of_step = (how.rows * how.longest) as u64;
    let tokens = together.min(of_step).max(one.tokens);
    ledger::Training {
        tokens,
        scored: tokens,
        ..one
    }
}

/// Samples of so many prompts, each with so many of them, of which so many rows go at once. Of prompts nobody knows more than their mean
/// length before they are there: what one that is longer takes is not counted.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub prompts: f64,
    pub samples: f64,
    pub at_once: usize,
    /// Tokens of a prompt, and of a response.
    pub prompt: f64,
    pub written: f64,
}

impl Rows {
    /// With this model, and what else of it stays on the device.
    fn of(self, device: (Place, Card), model: &Dims, beside: &Beside) -> Ledger {
        let [samples, prompt, written] =
            [self.samples.max(1.0), self.prompt, self.written].map(|n| n as usize);
        // As many as begin before the first have ended, and one more: others are alike.
        let prompts = self.at_once.div_ceil(samples) + 1;
        let prompts = (self.prompts.max(1.0).ceil() as usize).min(prompts);
        let lengths = || std::iter::repeat_n((prompt, samples), prompts);
        let rows = (self.at_once, written);
        Sampling::new(device, (model, beside), lengths, rows).ledger(model, beside)
    }

    /// Bytes on the processor.
    fn here(self, model: &ModelSize) -> f64 {
        let rows = (self.prompts * self.samples).min(self.at_once as f64);
        sample_memory(model, rows, self.prompt + self.written)
    }
}

/// Training, and where there are `rollouts` sampling with what is trained, of one sort after the other.
pub(crate) fn train(
    work: &mut Work,
    preview: &NodePreview,
    model: &ModelSize,
    how: &Training,
    rollouts: &[Rows],
) {
    let place = preview.place();
    let device = place.device;
    if device == DeviceName::Cpu {
        let cache = |rows: &Rows| rows.here(model) - REST - F32 * model.parameters;
        let cache = rollouts.iter().map(cache).fold(0.0, f64::max);
        add(work, train_memory(model, how) + cache);
        return;
    }
    let dims = dims(model);
    let there = (place, card(device, work));
    let steps = steps(there, &dims, model, how);
    let mut ledger = ledger::training(&dims, &steps);
    let beside = Beside::trained(&dims, &steps);
    for rows in rollouts {
        ledger = ledger::both(ledger, rows.of(there, &dims, &beside));
    }
    // The host holds the weights before they go there, and a snapshot of what is trained for a checkpoint; weights that are rounded
    // below an adapter it has for as long as that is trained.
    let snapshot = 3.0 * how.trained(model);
    let host = match how.rank > 0 && place.numerics != Numerics::F32 {
        true => model.parameters + snapshot,
        false => model.parameters.max(snapshot),
    };
    let host = F32 * host + REST;
    take(work, device, &ledger, host);
}

/// Sampling with a model that is asked.
pub(crate) fn sample(work: &mut Work, preview: &NodePreview, model: &ModelSize, rows: Rows) {
    let place = preview.place();
    let device = place.device;
    if device == DeviceName::Cpu {
        add(work, rows.here(model));
        return;
    }
    let dims = dims(model);
    let there = (place, card(device, work));
    let ledger = rows.of(there, &dims, &Beside::asked(&dims, place.into()));
    take(work, device, &ledger, F32 * model.parameters + REST);
}

/// Sequences that are read whole.
#[derive(Clone, Copy)]
pub(crate) struct Sequences {
    pub rows: f64,
    /// Tokens of each.
    pub length: f64,
    /// So many go through together at most; none: as many as there is memory meant for.
    pub at_once: Option<f64>,
    /// Layers whose states are kept of each.
    pub kept: f64,
}

/// Reading with a model that is asked: hidden states, or what a score head says.
pub(crate) fn read(
    work: &mut Work,
    preview: &NodePreview,
    model: &ModelSize,
    sequences: Sequences,
) {
    let place = preview.place();
    let device = place.device;
    let Sequences {
        rows, length, kept, ..
    } = sequences;
    let length = length.max(1.0);
    let most = sequences.at_once.unwrap_or(f64::MAX).min(rows) * length;
    if device == DeviceName::Cpu {
        let most = match sequences.at_once {
            Some(_) => most,
            None => most.min(length.max(labels::TOGETHER as f64)),
        };
        let states = rows * kept / (model.layers + 1.0);
        add(work, forward_memory(model, most, states));
        return;
    }
    let ledger = ledger::reading(
        &dims(model),
        &ledger::Reading {
            tokens: most.min(length.max(ledger::READ_TOGETHER as f64)) as u64,
            longest: length as u64,
            rows: 0,
            logits_at_once: ledger::logits_at_once(device),
            by: place.into(),
        },
    );
    let host = model.parameters + rows * kept * model.hidden;
    take(work, device, &ledger, F32 * host + REST);
}

/// A search for what makes a target likely.
#[derive(Clone, Copy)]
pub(crate) struct Search {
    /// Of a chat with its target.
    pub tokens: f64,
    pub target: f64,
    /// Of the suffix whose gradient is taken; 0: none is.
    pub suffix: f64,
    /// Tokens of candidates that go through together, where one has no more.
    pub at_once: f64,
    /// Tokens of an answer by which it is checked; 0: none is written.
    pub written: f64,
}

/// A model that is attacked.
pub(crate) fn attack(work: &mut Work, preview: &NodePreview, model: &ModelSize, how: Search) {
    let place = preview.place();
    let device = place.device;
    if device == DeviceName::Cpu {
        // The weights are laid out a second time; keys, values and logits of what is under way.
        let laid_out = F32 * model.parameters;
        let under_way = how.at_once + how.tokens;
        add(work, sample_memory(model, under_way, 1.0) + laid_out);
        return;
    }
    let whole = |n: f64| n.max(1.0) as u64;
    let (dims, logits_at_once) = (dims(model), ledger::logits_at_once(device));
    let tokens = how.at_once.max(how.tokens);
    let mut ledger = ledger::reading(
        &dims,
        &ledger::Reading {
            tokens: whole(tokens),
            longest: whole(how.tokens),
            rows: whole((tokens / how.tokens).floor() * how.target),
            logits_at_once,
            by: place.into(),
        },
    );
    if how.suffix > 0.0 {
        let slope = ledger::Slope {
            tokens: whole(how.tokens),
            suffix: whole(how.suffix),
            target: whole(how.target),
            logits_at_once,
            by: place.into(),
        };
        ledger = ledger::both(ledger, ledger::slope(&dims, &slope));
    }
    if how.written > 0.0 {
        let checked = Rows {
            prompts: 1.0,
            samples: 1.0,
            at_once: 1,
            prompt: how.tokens,
            written: how.written,
        };
        let beside = Beside::asked(&dims, place.into());
        ledger = ledger::both(
            ledger,
            checked.of((place, card(device, work)), &dims, &beside),
        );
    }
    // The weights stay, and the gradient is looked through.
    let host = model.parameters + 2.0 * how.suffix * model.vocabulary;
    take(work, device, &ledger, F32 * host + REST);
}

/// Training the first `blocks` of a model by its hidden states, with an adapter on it and off.
pub(crate) fn reroute(
    work: &mut Work,
    preview: &NodePreview,
    model: &ModelSize,
    how: &Training,
    blocks: f64,
) {
    let place = preview.place();
    let device = place.device;
    let dims = dims(model).first_blocks(blocks as u64);
    let shorter = ModelSize {
        parameters: dims.parameters as f64,
        layers: blocks,
        ..*model
    };
    let most = (STATES_TOGETHER.max(how.longest as usize)) as u64;
    let mut steps = steps((place, card(device, work)), &dims, &shorter, how);
    // No token is scored. What every state's gradient takes beside that of a block's output is less than the way back through a block.
    (steps.tokens, steps.scored) = (steps.tokens.min(most), 0);
    // With the adapter, without, and the gradient of both; the whole model waits for what is trained of it.
    let states = 3.0 * steps.tokens as f64 * (blocks + 1.0) * model.hidden;
    let host = F32 * (states + model.parameters) + REST;
    if device == DeviceName::Cpu {
        add(work, train_memory(&shorter, how) + host - REST);
        return;
    }
    take(work, device, &ledger::training(&dims, &steps), host);
}

/// A process takes what it takes besides once, however many models it has.
fn add(work: &mut Work, bytes: f64) {
    let counted = if work.memory > 0.0 { REST } else { 0.0 };
    work.memory += bytes - counted;
}

fn take(work: &mut Work, device: DeviceName, ledger: &Ledger, host: f64) {
    let Some(peak) = ledger.peak() else { return };
    add(work, host);
    if !device.is_gpu() {
        work.memory += ledger.bytes() as f64;
    }
    let each = peak.buffers.iter();
    let each: Vec<String> = each
        .map(|b| format!("{} {}", b.what, bytes(b.bytes)))
        .collect();
    let told = format!("{}: {}", peak.name, each.join(", "));
    let before = work.device_memory.take();
    work.device_memory = Some(match before {
        // Several models of one node are there at once.
        Some(before) => DeviceMemory {
            bytes: before.bytes + ledger.bytes() as f64,
            told: format!("{}; {told}", before.told),
        },
        None => DeviceMemory {
            bytes: ledger.bytes() as f64,
            told,
        },
    });
}
