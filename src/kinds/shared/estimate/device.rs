//! What training and sampling take of the machine and of a device, by which of them computes: `learn::device::ledger` says what a device
//! holds, the formulas beside say it of the processor.

use super::{F32, MICRO, REST, Training, sample_memory, train_memory};
use base::device::DeviceName;
use base::text::bytes;
use engine::kind::estimate::{DeviceMemory, ModelSize, NodePreview, Work};
use learn::decoder::Keep;
use learn::device::ledger::{self, Dims, Ledger};

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

fn steps(device: DeviceName, model: &ModelSize, how: &Training) -> ledger::Training {
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
        entropy: how.entropy,
        logits_at_once: ledger::logits_at_once(device),
    }
}

/// Rows that are sampled together: so many, each with so long a prompt and response.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub rows: f64,
    pub prompt: f64,
    pub written: f64,
}

impl Rows {
    fn of(self, device: DeviceName) -> ledger::Sampling {
        let whole = |n: f64| n.min(1e9) as u64;
        ledger::Sampling {
            rows: whole(self.rows).max(1),
            longest: whole(self.prompt + self.written),
            together: ledger::TOGETHER,
            prompt: whole(self.prompt),
            logits_at_once: ledger::logits_at_once(device),
        }
    }
}

/// Training, and where there are `rollouts` sampling with what is trained.
pub(crate) fn train(
    work: &mut Work,
    preview: &NodePreview,
    model: &ModelSize,
    how: &Training,
    rollouts: Option<Rows>,
) {
    let device = preview.device();
    let cache = |rows: Rows| {
        sample_memory(model, rows.rows, rows.prompt + rows.written) - F32 * model.parameters
    };
    if device == DeviceName::Cpu {
        work.memory += train_memory(model, how) + rollouts.map_or(0.0, cache);
        return;
    }
    let (dims, steps) = (dims(model), steps(device, model, how));
    let mut ledger = ledger::training(&dims, &steps);
    if let Some(rows) = rollouts {
        let beside = ledger::beside(&dims, &steps);
        ledger = ledger::both(ledger, ledger::sampling(&dims, &beside, &rows.of(device)));
    }
    // The host holds the weights before they go there, and a snapshot of what is trained for a checkpoint.
    let snapshot = 3.0 * how.trained(model);
    let host = F32 * model.parameters.max(snapshot) + REST;
    take(work, device, &ledger, host);
}

/// Sampling with a model that is asked.
pub(crate) fn sample(work: &mut Work, preview: &NodePreview, model: &ModelSize, rows: Rows) {
    let device = preview.device();
    if device == DeviceName::Cpu {
        work.memory += sample_memory(model, rows.rows, rows.prompt + rows.written);
        return;
    }
    let ledger = ledger::sampling(&dims(model), &[], &rows.of(device));
    take(work, device, &ledger, F32 * model.parameters + REST);
}

fn take(work: &mut Work, device: DeviceName, ledger: &Ledger, host: f64) {
    let Some(peak) = ledger.peak() else { return };
    work.memory += host;
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
