//! How many tokens of consecutive micro-batches go through a device together. A micro-batch is part of what some objectives mean
//! (`batch::micro_batches`); how many of them go through in one pass is not, but for the order of sums.
//!
//! By the device's kind, its whole memory and the shapes alone, never by what is free at the moment: the same work on the same
//! device has the same passes, and so the same bytes.

use base::device::{DeviceName, Numerics, Place};
use candle_core::Device;

use crate::adapter::Adapter;
use crate::batch::MICRO_TOKENS;
use crate::config::Config;
use crate::decoder::Keep;
use crate::device::ledger::{self, Dims, Training};
use crate::device::room;

/// Of a GPU, from the most down: products of fewer rows leave it idle, more rows are no faster.
const OF_GPU: [usize; 4] = [16_384, 8192, 4096, MICRO_TOKENS];

/// Of a model that is only asked.
const ASKED: usize = 8192;

/// Where nobody says what a GPU has.
pub const CARD: u64 = 80_000_000_000;

/// Of a device's memory, in hundredths, what the ledger's buffers may take: its context, its libraries and what its allocator
/// keeps have the rest.
const SHARE: u64 = 90;

/// What is trained, and how.
pub struct Steps<'a> {
    pub adapter: Option<&'a Adapter>,
    pub reference: bool,
    pub keep: Keep,
    pub numerics: Numerics,
}

/// Tokens that a model that is only asked computes together.
pub fn asked(device: &Device) -> usize {
    if device.is_cuda() {
        ASKED
    } else {
        MICRO_TOKENS
    }
}

/// On this device.
pub fn tokens(device: &Device, config: &Config, how: &Steps) -> usize {
    let name = room::name(device);
    let training = Training {
        adapter: how.adapter.map_or(0, ledger::numbers),
        reference: how.reference,
        keep: how.keep,
        tokens: 0,
        scored: 0,
        longest: 0,
        entropy: true,
        logits_at_once: ledger::logits_at_once(name),
        by: Place::new(name, Some(how.numerics)).into(),
    };
    let total = room::sizes(device).map(|(_, total)| total);
    at_most(name, &config.into(), &training, total)
}

/// The same by the shapes: as many as a device of so many bytes has room for, and those of a micro-batch at least. Of `how`
/// the tokens do not count.
pub fn at_most(device: DeviceName, model: &Dims, how: &Training, total: Option<u64>) -> usize {
    if !device.is_gpu() {
        return MICRO_TOKENS;
    }
    let room = total.unwrap_or(CARD) / 100 * SHARE;
    let fits = |tokens: &usize| {
        let all = *tokens as u64;
        let how = Training {
            tokens: all,
            scored: all,
            longest: all,
            ..*how
        };
        ledger::training(model, &how).bytes() <= room
    };
    OF_GPU.into_iter().find(fits).unwrap_or(MICRO_TOKENS)
}
