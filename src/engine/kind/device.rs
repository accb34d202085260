//! On what a node computes with a model: the parameter `device`, which every kind has that does. It is in no key: on another device the
//! same node gives other bytes, and its record tells on which it was made.

use base::device::DeviceName;
use base::params;
use base::params::{ParamSet, ParamSpec, Problem};
use base::setup::{Acts, Setup};
use base::value::{self, Values};

/// The parameter's name.
pub const DEVICE: &str = "device";

params! {
    pub struct Said {
        /// What computes: this machine's processor (`cpu`); its GPU of that number, as in `"cuda:0"`, counted over those that
        /// `CUDA_VISIBLE_DEVICES` shows (a binary with the feature `cuda`); or, for tests, the GPU's code on the processor (`candle`), which is
        /// slow. Another device gives other bytes: the record says on which it was made.
        device: DeviceName = DeviceName::Cpu;
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
        let device = of(values);
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
    pub(crate) fn device(
        &self,
        params: &Values,
        exec: &Values,
        ports: &[&'static str],
    ) -> Option<DeviceName> {
        let acts = self.acts.is_none_or(|acts| {
            let mut values = params.clone();
            value::merge(&mut values, exec);
            let values = &values;
            acts.is_met(&Setup { values, ports })
        });
        acts.then(|| of(exec))
    }
}

/// By execution parameters; where they say nothing, or nothing that can be read, the processor.
pub fn of(exec: &Values) -> DeviceName {
    Said::read(exec).map_or(DeviceName::Cpu, |said| said.device)
}
