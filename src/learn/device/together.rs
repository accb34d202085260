//! How many tokens of consecutive micro-batches go through a device together, and how large the cache of samples is. A micro-batch is
//! part of what some objectives mean (`batch::micro_batches`); how many of them go through in one pass is not, but for the order of
//! sums.
//!
//! By the device's kind, its whole memory and the shapes alone, never by what is free at the moment: the same work on the same
//! device has the same passes, and so the same bytes.

use base::device::{DeviceName, Numerics, Place};
use candle_core::Device;

use crate::adapter::Adapter;
use crate::batch::MICRO_TOKENS;
use crate::config::Config;
use crate::decoder::Keep;
use crate::device::card::{self, Card, Occupied};
use crate::device::ledger::{self, Beside, Dims, Sampling, Training};
use crate::device::room;
use crate::device::states::TOGETHER;
use crate::sample::{Options, Request};

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
            logits_at_once: ledger::logits_at_once(device),
            by: Place::new(device, Some(self.numerics)).into(),
        }
    }
}

/// On this device.
pub fn tokens(device: &Device, config: &Config, how: &Steps) -> usize {
    let name = room::name(device);
    let card = Card {
        total: total(device),
        others: card::on(name),
    };
    at_most(name, &config.into(), &how.training(name), card)
}

/// A device that samples with a model, and what stays there besides.
#[derive(Debug)]
pub struct Sampler {
    place: Place,
    total: Option<u64>,
    model: Dims,
    beside: Beside,
    occupied: Occupied,
}

impl Sampler {
    /// Of a model that is trained so.
    pub fn of_trained(device: &Device, config: &Config, how: &Steps) -> Sampler {
        let training = how.training(room::name(device));
        let beside = Beside::trained(&config.into(), &training);
        Sampler::new(device, config, how.numerics, beside)
    }

    /// Of a model that is only asked.
    pub fn of_asked(device: &Device, config: &Config, numerics: Numerics) -> Sampler {
        let place = Place::new(room::name(device), Some(numerics));
        let beside = Beside::asked(&config.into(), place.into());
        Sampler::new(device, config, numerics, beside)
    }

    fn new(device: &Device, config: &Config, numerics: Numerics, beside: Beside) -> Sampler {
        let name = room::name(device);
        Sampler {
            place: Place::new(name, Some(numerics)),
            total: total(device),
            model: config.into(),
            occupied: Occupied::new(name, beside.bytes()),
            beside,
        }
    }

    /// Bytes that the cache of these samples may take, beside all models that this process has there. Another one for every call: what
    /// passes beside it hangs on how many rows there are and how long they may become, and of a small call a larger cache takes no more.
    /// The same call has the same, whatever was sampled before.
    pub fn cache(&self, requests: &[Request], options: &Options) -> u64 {
        let lengths = || requests.iter().map(|r| (r.prompt.len(), r.samples));
        let rows = (options.batch_rows, options.max_new_tokens);
        let card = Card {
            total: self.total,
            others: self.occupied.others(),
        };
        let device = (self.place, card);
        Sampling::new(device, (&self.model, &self.beside), lengths, rows).cache_bytes
    }
}

fn total(device: &Device) -> Option<u64> {
    room::sizes(device).map(|(_, total)| total)
}

/// The same by the shapes: as many as a device of so many bytes has room for, and those of a micro-batch at least. Of `how`
/// the tokens do not count.
pub fn at_most(device: DeviceName, model: &Dims, how: &Training, card: impl Into<Card>) -> usize {
    if !device.is_gpu() {
        return MICRO_TOKENS;
    }
    let room = card.into().room();
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
