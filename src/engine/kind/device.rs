//! On what a node computes with a model: the parameters `device` and `numerics`, which every kind has that does. They are in no key: on
//! another device or in other numbers the same node gives other bytes, and its record tells how it was made.

use base::device::{DeviceName, DeviceUsed, Numerics, Place};
use base::params;
use base::params::{ParamSet, ParamSpec, Problem};
use base::setup::{Acts, Setup};
use base::value::{self, Values};

/// The parameters' names.
pub const DEVICE: &str = "device";
pub const NUMERICS: &str = "numerics";

params! {
    pub struct Said {
        /// What computes: this machine's processor (`cpu`); its GPU of that number, as in `"cuda:0"`, counted over those that
        /// `CUDA_VISIBLE_DEVICES` shows (a binary with the feature `cuda`); or, for tests, the GPU's code on the processor (`candle`), which is
        /// slow. Another device gives other bytes: the record says on which it was made.
        device: DeviceName = DeviceName::Cpu;
        /// Number types: single precision (`f32`), or factors of products in bf16 with sums in single precision (`bf16`; never on
        /// `cpu`). Where nothing is said a GPU computes in `bf16` and all else in `f32`. Weights, moments and checkpoints are in single
        /// precision under both, so either goes on from the other; the record says which it was.
        numerics: Option<Numerics> = None;
    }
}

/// Of a kind that computes with a model.
#[derive(Clone, Copy)]
pub struct Computes {
    /// Where it does; none: always.
    pub acts: Option<Acts>,
    /// Why it can do so on the processor only, by all its parameters.
    pub only_cpu: fn(&Values) -> Option<String>,
    /// What this machine or this program lacks of a device, in a sentence.
    pub lacks: fn(DeviceName) -> Option<String>,
    /// What such a place is here, as a record of it tells; none where it cannot be asked.
    pub used: fn(Place) -> Option<DeviceUsed>,
    /// How numbers are computed there by this process, as a record tells it.
    pub numerics: fn(Place) -> String,
    /// Bytes of a device that are free now, and that it has in all.
    pub memory: fn(DeviceName) -> Option<(u64, u64)>,
}

impl Computes {
    /// The parameter.
    pub(super) fn specs(&self) -> Vec<ParamSpec> {
        let mut specs = Said::specs();
        specs.iter_mut().for_each(|spec| spec.acts = self.acts);
        specs
    }

    /// A device that a kind of this name cannot use.
    pub(super) fn problems(&self, kind: &str, values: &Values) -> Vec<Problem> {
        let place = place(values);
        let device = place.device;
        if place
            == (Place {
                device: DeviceName::Cpu,
                numerics: Numerics::Bf16,
            })
        {
            return vec![Problem {
                path: NUMERICS.into(),
                message: format!(
                    "`numerics = \"bf16\"` is not available for `{kind}`: `cpu` computes in single precision"
                ),
                help: Some("leave it out, or write `numerics = \"f32\"`".into()),
            }];
        }
        if device == DeviceName::Cpu {
            return vec![];
        }
        let problem = |why| Problem {
            path: DEVICE.into(),
            message: format!("`device = \"{device}\"` is not available for `{kind}`: {why}"),
            help: Some("leave it out, or write `device = \"cpu\"`".into()),
        };
        (self.only_cpu)(values).map(problem).into_iter().collect()
    }

    /// What computes, of a node with these parameters and connected ports, where it does with a model.
    pub(crate) fn place(
        &self,
        params: &Values,
        exec: &Values,
        ports: &[&'static str],
    ) -> Option<Place> {
        let acts = self.acts.is_none_or(|acts| {
            let mut values = params.clone();
            value::merge(&mut values, exec);
            let values = &values;
            acts.is_met(&Setup { values, ports })
        });
        acts.then(|| place(exec))
    }
}

/// By execution parameters; where they say nothing, or nothing that can be read, the processor.
pub fn of(exec: &Values) -> DeviceName {
    place(exec).device
}

/// The same, and in which numbers.
pub fn place(exec: &Values) -> Place {
    match Said::read(exec) {
        Ok(said) => Place::new(said.device, said.numerics),
        Err(_) => DeviceName::Cpu.into(),
    }
}
