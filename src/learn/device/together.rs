//! How many tokens of consecutive micro-batches go through a device together, and how large the cache of samples is. A micro-batch is part of what some objectives mean
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
use crate::device::card;
use crate::device::ledger::{self, Dims, Training};
use crate::device::ragged::Workspace;
use crate::device::room;
use crate::device::states::TOGETHER;

/// Of a GPU, from the most down: products of fewer rows leave it idle, more rows are no faster.
const OF_GPU: [usize; 4] = [16_384, 8192, 4096, MICRO_TOKENS];

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
        TOGETHER
    } else {
        MICRO_TOKENS
    }
}

impl Steps<'_> {
    /// Without its tokens.
    fn training(&self, device: DeviceName) -> Training {
        Training {
            adapter: self.adapter.map_or(0, ledger::numbers),
            reference: self.reference,
            keep: self.keep,
            tokens: 0,
            scored: 0,
            longest: 0,
            entropy: true,
            logits_at_once: ledger::logits_at_once(device),
            by: Place::new(device, Some(self.numerics)).into(),
        }
    }
}

/// On this device.
pub fn tokens(device: &Device, config: &Config, how: &Steps) -> usize {
    let name = room::name(device);
    at_most(name, &config.into(), &how.training(name), total(device))
}

/// What samples of a model that is trained so work with on this device.
pub fn workspace(device: &Device, config: &Config, how: &Steps) -> Workspace {
    let (name, model) = (room::name(device), config.into());
    let training = how.training(name);
    let beside = ledger::beside(&model, &training);
    let most = ledger::cache_bytes(name, total(device), &model, &beside, training.by);
    Workspace::of(device, most)
}

/// The same of a model that is only asked.
pub fn workspace_of_asked(device: &Device, config: &Config, numerics: Numerics) -> Workspace {
    let name = room::name(device);
    let by = Place::new(name, Some(numerics)).into();
    let most = ledger::cache_bytes(name, total(device), &config.into(), &[], by);
    Workspace::of(device, most)
}

fn total(device: &Device) -> Option<u64> {
    room::sizes(device).map(|(_, total)| total)
}

/// The same by the shapes: as many as a device of so many bytes has room for, and those of a micro-batch at least. Of `how`
/// the tokens do not count.
pub fn at_most(device: DeviceName, model: &Dims, how: &Training, total: Option<u64>) -> usize {
    if !device.is_gpu() {
        return MICRO_TOKENS;
    }
    let room = card::room(total);
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
