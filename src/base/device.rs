//! What computes with a model, as recipes name it and as records tell it: the processor, or a device beside it.

use crate::choice;
use crate::params::{ParamValue, Pattern, Ty};
use crate::text::{bytes, did_you_mean};
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// This machine's processor, by the CPU's own kernels.
    #[default]
    Cpu,
    /// The GPU's code on the processor: for tests, as it is slow.
    Candle,
    /// A GPU: its number among those that CUDA shows.
    Cuda(u32),
}

/// GPUs of one machine that can be named.
const MOST: u32 = 1024;

const PATTERN: Pattern = Pattern {
    regex: "^(cpu|candle|cuda:(0|[1-9][0-9]{0,2}))$",
    told: "`cpu`, `candle` or a GPU as `cuda:0`",
    examples: ["cpu", "candle"],
};

impl DeviceName {
    pub fn parse(text: &str) -> Option<DeviceName> {
        match text {
            "cpu" => Some(DeviceName::Cpu),
            "candle" => Some(DeviceName::Candle),
            _ => {
                let digits = text.strip_prefix("cuda:")?;
                let number: u32 = digits.parse().ok()?;
                // One spelling only: `+1` and `01` are numbers as well.
                let own = number.to_string() == digits && number < MOST;
                own.then_some(DeviceName::Cuda(number))
            }
        }
    }

    pub fn is_gpu(self) -> bool {
        matches!(self, DeviceName::Cuda(_))
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Cpu => f.write_str("cpu"),
            DeviceName::Candle => f.write_str("candle"),
            DeviceName::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl ParamValue for DeviceName {
    fn ty() -> Ty {
        Ty::Pattern(&PATTERN)
    }

    fn read(value: Option<&Value>) -> Result<DeviceName, String> {
        let Some(Value::Str(text)) = value else {
            return Err(format!("expected {}", PATTERN.told));
        };
        DeviceName::parse(text).ok_or_else(|| {
            let near = match text.to_lowercase().as_str() {
                "cuda" | "gpu" | "gpu:0" => Some("cuda:0".to_string()),
                word => did_you_mean(word, ["cpu", "candle", "cuda:0"]),
            };
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            format!("expected {}, got `{text}`{near}", PATTERN.told)
        })
    }

    fn write(&self) -> Option<Value> {
        Some(Value::Str(self.to_string()))
    }
}

choice! {
    /// Number types of what a model computes. Master weights, optimizer moments, sums of gradients, the residual stream, norms,
    /// softmax, log-probabilities and losses are in single precision under both.
    pub enum Numerics {
        /// Single precision throughout.
        F32 = "f32",
        /// Factors of products, and what lies between two of them, rounded to bf16 (to the nearest, ties to even); sums in single
        /// precision.
        Bf16 = "bf16",
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Numerics::F32 => "f32",
            Numerics::Bf16 => "bf16",
        })
    }
}

/// What computes with a model, and in which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub device: DeviceName,
    pub numerics: Numerics,
}

impl Place {
    /// `said` where something was: a GPU computes in bf16 otherwise, all else in single precision.
    pub fn new(device: DeviceName, said: Option<Numerics>) -> Place {
        let own = match device.is_gpu() {
            true => Numerics::Bf16,
            false => Numerics::F32,
        };
        let numerics = said.unwrap_or(own);
        Place { device, numerics }
    }
}

impl fmt::Display for Place {
    /// The numbers are told where they are not the device's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.device)?;
        match *self == self.device.into() {
            true => Ok(()),
            false => write!(f, ", {}", self.numerics),
        }
    }
}

impl From<DeviceName> for Place {
    fn from(device: DeviceName) -> Place {
        Place::new(device, None)
    }
}

/// How numbers are computed where a record tells no device: single precision, by the CPU's kernels.
pub const CPU_NUMERICS: &str = "f32";

/// Behind numerics of kernels: heads of the model have a width that no kernel is for, and candle's operations compute them.
pub const AND_CANDLE: &str = " and candle";

/// A device that a node computed on. Of the processor nothing is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUsed {
    /// As the recipe named it.
    pub name: String,
    /// What its driver calls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// CUDA's compute capability, `9.0` say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub capability: String,
    /// The version of its driver, which compiles the kernels for the device that is there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Versions by name: of candle; on a GPU also of CUDA as the driver has it, of cuBLAS and of NVRTC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub libraries: BTreeMap<String, String>,
    /// Digest of the kernels that are ours, with how they are compiled; empty where none was used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kernels: String,
    /// Number types and whose arithmetic: results under different numerics are not to be compared in their last digits.
    pub numerics: String,
}

impl DeviceUsed {
    /// The processor by its own kernels.
    pub fn cpu() -> DeviceUsed {
        DeviceUsed {
            name: DeviceName::Cpu.to_string(),
            numerics: CPU_NUMERICS.into(),
            ..DeviceUsed::default()
        }
    }

    /// `cuda:0 (NVIDIA H100 80GB HBM3), bf16 candle`.
    pub fn told(&self) -> String {
        let model = match self.model.is_empty() {
            true => String::new(),
            false => format!(" ({})", self.model),
        };
        format!("{}{model}, {}", self.name, self.numerics)
    }

    /// The same with all that `is_like` looks at.
    pub fn in_full(&self) -> String {
        let mut parts = vec![self.told()];
        let named = [
            ("capability", self.capability.as_str()),
            ("driver", &self.driver),
            ("kernels", self.kernels.get(..12).unwrap_or(&self.kernels)),
        ];
        let libraries = self.libraries.iter();
        let libraries = libraries.map(|(name, version)| (name.as_str(), version.as_str()));
        let all = named.into_iter().chain(libraries);
        let all = all.filter(|(_, value)| !value.is_empty());
        parts.extend(all.map(|(name, value)| format!("{name} {value}")));
        parts.join(", ")
    }

    /// Whether its numerics are these, as far as they can be told without the model.
    pub fn computed_by(&self, numerics: &str) -> bool {
        let own = self.numerics.strip_suffix(AND_CANDLE);
        own.unwrap_or(&self.numerics) == numerics
    }

    /// Whether both give the same bytes, as far as anybody promises. What can change a byte counts, and a number among GPUs does not.
    ///
    /// The model and its capability decide which instructions there are and how cuBLAS cuts a product, so that its sums have another
    /// order; the numerics, which numbers are rounded; our kernels, candle and NVRTC, which operations there are at all; the version
    /// of cuBLAS, which of its kernels it takes. The driver counts because kernels reach it as PTX: it compiles them, and whether a
    /// product and a sum are rounded once or twice is its choice.
    pub fn is_like(&self, other: &DeviceUsed) -> bool {
        let decides = |used: &DeviceUsed| DeviceUsed {
            name: match DeviceName::parse(&used.name) {
                Some(DeviceName::Cuda(_)) => "cuda".to_string(),
                _ => used.name.clone(),
            },
            ..used.clone()
        };
        decides(self) == decides(other)
    }
}

/// On what the same was computed before and now, in words, where other bytes are no wonder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    pub before: String,
    pub now: String,
}

impl Moved {
    /// None where both are alike, so that the bytes should be the same.
    pub fn between(before: &[DeviceUsed], now: &[DeviceUsed]) -> Option<Moved> {
        if alike(before, now) {
            return None;
        }
        let short = [told(before), told(now)];
        let [before, now] = match short[0] == short[1] {
            // They differ in what a short word does not say.
            true => [before, now].map(in_full),
            false => short,
        };
        Some(Moved { before, now })
    }
}

/// Several devices in a sentence; none are the processor.
pub fn told(devices: &[DeviceUsed]) -> String {
    all_told(devices, DeviceUsed::told)
}

/// The same with all that decides bytes.
pub fn in_full(devices: &[DeviceUsed]) -> String {
    all_told(devices, DeviceUsed::in_full)
}

fn all_told(devices: &[DeviceUsed], told: fn(&DeviceUsed) -> String) -> String {
    match devices {
        [] => told(&DeviceUsed::cpu()),
        all => all.iter().map(told).collect::<Vec<_>>().join(" and "),
    }
}

/// Whether what was computed on these has the same bytes as what was computed on those, as far as anybody promises.
pub fn alike(these: &[DeviceUsed], those: &[DeviceUsed]) -> bool {
    let covers = |all: &[DeviceUsed], others: &[DeviceUsed]| {
        let in_others = |one: &DeviceUsed| others.iter().any(|other| one.is_like(other));
        all.iter().all(in_others)
    };
    covers(these, those) && covers(those, these)
}

/// A device has no room for what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    pub device: DeviceName,
    /// Bytes that were asked for at last, and what for, as far as that is known.
    pub asked: Option<u64>,
    pub what: String,
    pub free: Option<u64>,
    pub total: Option<u64>,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory on {}", self.device)?;
        if let Some(asked) = self.asked {
            write!(f, ": {} were asked for", bytes(asked))?;
        }
        if !self.what.is_empty() {
            write!(f, " ({})", self.what)?;
        }
        match (self.free, self.total) {
            (Some(free), Some(total)) => {
                write!(f, "; {} of {} are free", bytes(free), bytes(total))
            }
            (None, Some(total)) => write!(f, "; it has {}", bytes(total)),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for OutOfMemory {}
