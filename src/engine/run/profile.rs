//! A profile: where nodes are executed that do not run on this machine, and how one gets there. A file of whoever runs, never part of
//! a recipe: what a node needs stands there, and what a site calls it stands here.

use crate::kind::Needs;
use anyhow::{Context, Result};
use base::text::{listed, parse_bytes};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Larger than any profile.
pub const MOST: u64 = 1 << 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The stem of the file's name.
    #[serde(skip)]
    pub name: String,
    /// Who schedules there.
    pub executor: Kind,
    /// Kinds of places that jobs are sent to. A node goes to the first that its needs fit in; without any, all go to the same.
    #[serde(default)]
    pub partition: Vec<Partition>,
    /// Slurm: the account that is charged.
    pub account: Option<String>,
    /// Slurm: the quality of service.
    pub qos: Option<String>,
    /// A container image that the job runs in.
    pub image: Option<String>,
    /// What starts a program in the image: words before it, with `{image}` and `{store}`.
    #[serde(default = "in_image")]
    pub image_command: Vec<String>,
    /// Lines of shell before the job: modules, variables.
    #[serde(default)]
    pub setup: Vec<String>,
    /// Given to the scheduler's own program as they are, on each submission.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Where this binary lies there; where it lies here, if it is not said.
    pub pipe: Option<PathBuf>,
    /// Where the store lies there; where it lies here, if it is not said.
    pub store: Option<PathBuf>,
    /// `NAME=VALUE` lines of secrets on the machines there, readable by their owner alone. Only variables that a node names are
    /// read from it. Without it their values travel in a file of the attempt that its attendant removes.
    pub secrets_file: Option<PathBuf>,
    /// Ray: the address of its dashboard.
    pub address: Option<String>,
    /// `command`: what submits, asks and ends jobs.
    pub command: Option<Command>,
    /// Jobs that are there at once, at most; an element of an array is a job.
    #[serde(default = "many")]
    pub jobs: usize,
    /// Nodes of equal needs that are expected to take no longer than this, one after the other, share a job; 0: each has its own.
    #[serde(default = "pack")]
    pub pack_seconds: f64,
    /// How long a submission may wait for others that can share a job or an array with it.
    #[serde(default = "gather")]
    pub gather_seconds: f64,
    /// How long a job that is asked to stop has to save its state, before the scheduler is asked to end it; and how long before its
    /// time limit it is asked.
    #[serde(default = "grace")]
    pub grace_seconds: f64,
    /// How often the scheduler is asked, about all jobs at once.
    #[serde(default = "every")]
    pub ask_seconds: f64,
    /// How long a job that its scheduler calls ended may take to tell how: shared folders show files late.
    #[serde(default = "settle")]
    pub settle_seconds: f64,
    /// Whether `flock` excludes between machines on the store's file system, as `pipe profiles --check` finds out. Without it, claims
    /// are hard links.
    #[serde(default)]
    pub locks: Locks,
    /// After how long without a sign of life a claim counts as given up.
    #[serde(default = "claim")]
    pub claim_seconds: f64,
    /// The store that others share, as whoever knows remotes reads it.
    pub remote: Option<toml::Value>,
}

/// Who schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Slurm,
    Ray,
    /// Programs that the profile names.
    Command,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Slurm => "slurm",
            Kind::Ray => "ray",
            Kind::Command => "command",
        }
    }
}

/// How claims exclude in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locks {
    Flock,
    #[default]
    Link,
}

/// A kind of place: what a node there has at most.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    pub name: String,
    #[serde(default)]
    pub gpus: usize,
    /// Of one of its GPUs.
    #[serde(default, deserialize_with = "size")]
    pub gpu_memory: Option<u64>,
    #[serde(default, deserialize_with = "size")]
    pub memory: Option<u64>,
    pub cpus: Option<usize>,
    pub hours: Option<f64>,
    /// What the scheduler calls its GPUs: `a100`, say.
    pub gpu: Option<String>,
    /// Given to the scheduler's own program for jobs there.
    #[serde(default)]
    pub flags: Vec<String>,
}

/// Programs that submit, ask and end jobs. Each is a line of shell; `{name}`, `{script}`, `{folder}`, `{job}`, `{jobs}`, `{gpus}`,
/// `{cpus}`, `{memory_mb}`, `{hours}`, `{minutes}` and `{partition}` are replaced, quoted for the shell.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Runs `{script}` somewhere; the last line that it prints is the id of the job.
    pub submit: String,
    /// Prints a line a job, `ID STATE` or `ID STATE HOST OR REASON`, of those in `{jobs}` that it knows.
    pub look: String,
    /// Ends `{job}`.
    pub cancel: String,
    /// Prints the id of the job that is called `{name}`, or nothing.
    pub find: Option<String>,
    /// What the words in the place of STATE mean; those of ours need not be said.
    #[serde(default)]
    pub states: BTreeMap<String, String>,
}

fn in_image() -> Vec<String> {
    let words = ["apptainer", "exec", "--nv", "--bind", "{store}", "{image}"];
    words.map(String::from).to_vec()
}

fn many() -> usize {
    64
}

fn pack() -> f64 {
    120.0
}

fn gather() -> f64 {
    2.0
}

fn grace() -> f64 {
    90.0
}

fn every() -> f64 {
    10.0
}

fn settle() -> f64 {
    60.0
}

fn claim() -> f64 {
    90.0
}

/// `"40GB"`.
fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = || serde::de::Error::custom(format!("a size is as \"40GB\", not {text:?}"));
    parse_bytes(&text).map(Some).ok_or_else(wrong)
}

impl Profile {
    /// The first partition that the needs fit in; none where the profile names none. `Err`: it has none that is large enough.
    pub fn partition(&self, needs: &Needs) -> Result<Option<&Partition>> {
        if self.partition.is_empty() {
            return Ok(None);
        }
        let found = self.partition.iter().find(|p| p.holds(needs));
        let names = || listed(self.partition.iter().map(|p| p.name.as_str()));
        found.map(Some).with_context(|| {
            format!(
                "no partition of profile `{}` has {needs}: {}",
                self.name,
                names()
            )
        })
    }

    pub fn gather(&self) -> Duration {
        Duration::from_secs_f64(self.gather_seconds)
    }

    pub fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace_seconds)
    }
}

impl Partition {
    fn holds(&self, needs: &Needs) -> bool {
        let within = |wanted: Option<u64>, there: Option<u64>| match (wanted, there) {
            (Some(wanted), Some(there)) => wanted <= there,
            _ => true,
        };
        let time = match (needs.hours, self.hours) {
            (Some(wanted), Some(there)) => wanted <= there,
            _ => true,
        };
        needs.gpus <= self.gpus
            && (needs.gpus == 0 || within(needs.gpu_memory, self.gpu_memory))
            && within(needs.memory, self.memory)
            && time
    }
}
