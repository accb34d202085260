//! Models and token ids of the benchmarks: random, from seeds. And where they are computed.

use crate::turns;
use anyhow::{Context, Result, bail};
use pipe::base::device::{DeviceName, Numerics, Place};
use pipe::base::rng::Seed;
use pipe::learn::config::Config;
use pipe::learn::decoder::Keep;
use pipe::learn::device::ledger::{self, Dims, Training};
use pipe::learn::learner::Learner;
use pipe::learn::placed;
use pipe::learn::weights::Weights;
use serde::Deserialize;
use serde_json::{Value, json};

/// This machine's processor, unless a device is named, and there its own numbers, unless others are.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Where {
    device: Option<String>,
    numerics: Option<String>,
    /// Of the layers only their states are kept.
    #[serde(default)]
    recompute: bool,
}

impl Where {
    fn place(&self) -> Result<Place> {
        let name = self.device.as_deref().unwrap_or("cpu");
        let device = DeviceName::parse(name).with_context(|| format!("no device is {name}"))?;
        let numerics = match self.numerics.as_deref() {
            None => None,
            Some("f32") => Some(Numerics::F32),
            Some("bf16") => Some(Numerics::Bf16),
            Some(other) => bail!("no numerics are {other}"),
        };
        Ok(Place::new(device, numerics))
    }

    fn keep(&self) -> Keep {
        match self.recompute {
            true => Keep::States,
            false => Keep::All,
        }
    }

    /// All weights are trained; with `reference` those that it begins as stay at hand.
    pub fn trained(&self, weights: Weights, reference: bool) -> Result<Box<dyn Learner>> {
        placed::trained(self.place()?, weights, None, reference, self.keep())
    }

    /// A model that is only asked.
    pub fn asked(&self, weights: Weights) -> Result<Box<dyn Learner>> {
        placed::asked(self.place()?, weights)
    }

    /// Bytes at the peak of a step on one sequence, as a plan would say them; none of the processor, which has no ledger.
    pub fn ledger(&self, config: &Config, tokens: usize, reference: bool) -> Result<Option<u64>> {
        let place = self.place()?;
        if place.device == DeviceName::Cpu {
            return Ok(None);
        }
        let tokens = tokens as u64;
        let how = Training {
            adapter: 0,
            reference,
            keep: self.keep(),
            tokens,
            scored: tokens,
            longest: tokens,
            logits_at_once: ledger::logits_at_once(place.device),
            by: place.into(),
        };
        Ok(Some(ledger::training(&Dims::from(config), &how).bytes()))
    }

    /// Answers the unit `memory`: bytes of the device that are taken, which are the peak so far, as what is freed stays with the process.
    pub fn unit(&self, unit: &str) -> Result<()> {
        if unit != "memory" {
            bail!("no unit is called {unit}");
        }
        let memory = placed::memory(self.place()?.device);
        turns::answer(
            json!({"taken": memory.map(|(free, total)| total - free), "device": memory.map(|(_, total)| total)}),
        );
        Ok(())
    }
}

/// A randomly initialised model of this `config.json`.
pub fn weights(config: &Value) -> Result<Weights> {
    Ok(Weights::random(Config::from_json(config)?, Seed::new(1)))
}

/// `rows` rows of `length` ids each. Ids below 5 are left out, as on the other side: it has special tokens there.
pub fn ids(rows: usize, length: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let mut rng = Seed::new(2).rng();
    let mut row = || -> Vec<u32> {
        let mut id = || 5 + rng.below(vocabulary - 5) as u32;
        (0..length).map(|_| id()).collect()
    };
    (0..rows).map(|_| row()).collect()
}
