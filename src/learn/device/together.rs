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
use crate::device::card;
use crate::device::ledger::{self, Buffer, By, Dims, Sampling, TOGETHER as PROMPTS, Training};
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

/// A device that samples, and what stays there besides.
#[derive(Debug)]
pub struct Sampler {
    device: DeviceName,
    total: Option<u64>,
    model: Dims,
    beside: Vec<Buffer>,
    by: By,
}

impl Sampler {
    /// Of a model that is trained so.
    pub fn of_trained(device: &Device, config: &Config, how: &Steps) -> Sampler {
        let training = how.training(room::name(device));
        Sampler {
            beside: ledger::beside(&config.into(), &training),
            ..Sampler::of_asked(device, config, how.numerics)
        }
    }

    /// Of a model that is only asked.
    pub fn of_asked(device: &Device, config: &Config, numerics: Numerics) -> Sampler {
        let name = room::name(device);
        Sampler {
            device: name,
            total: total(device),
            model: config.into(),
            beside: vec![],
            by: Place::new(name, Some(numerics)).into(),
        }
    }

    /// Bytes that the cache of these samples may take.
    pub fn cache(&self, requests: &[Request], options: &Options) -> u64 {
        let asked = || requests.iter().filter(|r| r.samples > 0);
        let samples: usize = asked().map(|r| r.samples).sum();
        let prompts = asked().map(|r| r.prompt.len());
        let together: usize = prompts.clone().sum();
        let how = Sampling {
            rows: options.batch_rows.min(samples) as u64,
            samples: (samples / asked().count().max(1)) as u64,
            prompt: prompts.max().unwrap_or(0) as u64,
            written: options.max_new_tokens as u64,
            together: PROMPTS.min(together as u64),
            logits_at_once: ledger::logits_at_once(self.device),
            cache_bytes: 0,
            by: self.by,
        };
        ledger::cache_bytes(self.device, self.total, &self.model, &self.beside, &how)
    }
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
