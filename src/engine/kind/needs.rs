//! What a node needs of a machine: its kind says how many threads it can use, and whoever writes the recipe may say more, in the block
//! `needs` of any node. It is in no key.

use base::params;
use base::params::{Bounds, Nested, ParamSpec, Problem};
use base::text::{bytes, count, duration, parse_bytes};
use base::value::{self, Value, Values};
use serde::{Deserialize, Serialize};

const BLOCK: &str = "needs";

const GPUS: Bounds = Bounds::within(0.0, 1024.0, "a node is one job on one machine");
const HOURS: Bounds = Bounds::above(0.0, 8784.0, "no job may take longer than a year");

params! {
    /// What it needs of the machine that it runs on; in no key. What is not said is taken from the plan's estimate.
    pub struct Said {
        /// GPUs of one machine.
        gpus: Option<usize> = None, in GPUS;
        /// Of each of them: `"40GB"`.
        gpu_memory: Option<String> = None;
        /// Main memory: `"64GB"`.
        memory: Option<String> = None;
        /// How long it may take at most.
        hours: Option<f64> = None, in HOURS;
    }
}

/// The parameters of the block, as those of any kind.
pub(super) fn specs() -> Vec<ParamSpec> {
    <Option<Said> as Nested>::specs(BLOCK)
}

/// Whether anything was said of a node's needs.
pub(super) fn are_said(exec: &Values) -> bool {
    exec.contains_key(BLOCK)
}

/// Sizes that are none.
pub(super) fn problems(values: &Values) -> Vec<Problem> {
    let sizes = ["needs.gpu_memory", "needs.memory"];
    let wrong = sizes.iter().filter_map(|path| {
        let Some(Value::Str(size)) = value::at(values, path) else {
            return None;
        };
        let problem = Problem {
            path: path.to_string(),
            message: format!("{size:?} is no size"),
            help: Some("a size is a number with kB, MB, GB, TB or KiB, MiB, GiB, TiB".into()),
        };
        parse_bytes(size).is_none().then_some(problem)
    });
    wrong.collect()
}

/// What a node takes of an executor while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    pub threads: Threads,
    pub gpus: usize,
    /// Of each of its GPUs, in bytes, where it was said.
    pub gpu_memory: Option<u64>,
    /// Bytes, where it was said; else its estimate tells.
    pub memory: Option<u64>,
    /// How long it may take, where it was said; else its estimate tells.
    pub hours: Option<f64>,
}

/// How many threads a node can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Threads {
    /// It waits for others: services, mostly.
    None,
    One,
    /// As many as are free; the result does not depend on the number.
    All,
}

impl Needs {
    pub const WAITING: Needs = Needs::threads(Threads::None);
    pub const ONE_THREAD: Needs = Needs::threads(Threads::One);
    pub const ALL_THREADS: Needs = Needs::threads(Threads::All);

    const fn threads(threads: Threads) -> Needs {
        Needs {
            threads,
            gpus: 0,
            gpu_memory: None,
            memory: None,
            hours: None,
        }
    }

    /// With what the recipe says of the node.
    pub(super) fn said(self, exec: &Values) -> Needs {
        if !are_said(exec) {
            return self;
        }
        // What is no size was refused when the recipe was read.
        let said = <Option<Said> as Nested>::read(BLOCK, exec).ok().flatten();
        let Some(said) = said else {
            return self;
        };
        let size = |text: Option<String>| text.and_then(|text| parse_bytes(&text));
        Needs {
            threads: self.threads,
            gpus: said.gpus.unwrap_or(self.gpus),
            gpu_memory: size(said.gpu_memory).or(self.gpu_memory),
            memory: size(said.memory).or(self.memory),
            hours: said.hours.or(self.hours),
        }
    }
}

/// As in "no partition has 2 GPUs with 40 GB, 64 GB of memory, 6 hours".
impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = vec![];
        if self.gpus > 0 {
            let each = self.gpu_memory.map(|m| format!(" with {}", bytes(m)));
            let gpus = count(self.gpus as u64, "GPU", "GPUs");
            parts.push(gpus + &each.unwrap_or_default());
        }
        parts.extend(self.memory.map(|m| format!("{} of memory", bytes(m))));
        parts.extend(self.hours.map(|hours| duration(hours * 3600.0)));
        match parts.is_empty() {
            true => f.write_str("a processor"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}
