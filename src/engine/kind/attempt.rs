//! One execution of a key: its folder, what the worker is told, what earlier attempts left. Nothing in here is an
//! artifact: a folder under `attempts/` is only ever read by attempts of the same key, and removed after the commit.

use super::artifact::Type;
use super::checkpoint;
use super::conclusion::Conclusion;
use super::messages::Progress;
use crate::system::Process;
use crate::system::files::names;
use crate::system::usage;
use anyhow::{Context, Result, bail, ensure};
use base::bounded;
use base::calls::Calls;
use base::device::DeviceUsed;
use base::hash::Key;
use base::value::Values;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Who the worker is.
const WORKER: &str = "worker.json";

/// How it ended elsewhere.
const END: &str = "end.json";
pub(crate) const USAGE: &str = "usage.json";

/// What it computed on, where that was not the processor alone.
pub(crate) const DEVICES: &str = "devices.json";

/// Larger than any `attempt.json`.
const MOST: u64 = 64 << 20;

/// `attempt.json`: everything a worker knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub key: Key,
    pub kind: String,
    pub revision: u32,
    pub node: String,
    /// TOML, which unlike our JSON reader returns every float exactly as it was.
    pub params: String,
    pub exec: String,
    /// By port.
    pub inputs: BTreeMap<String, Type>,
    pub outputs: Vec<String>,
    pub threads: usize,
    /// Folders of earlier attempts of this key, newest first.
    pub earlier: Vec<PathBuf>,
    /// Where answers of services are kept, for all nodes of the store; absent in attempts of older versions.
    #[serde(default)]
    pub calls: PathBuf,
    /// The process that waits for the worker. Attempts of older versions have it under `engine`, or no more of it than its number.
    #[serde(rename = "engine_process", default)]
    pub engine: Option<Process>,
    /// The run that made this attempt.
    #[serde(default)]
    pub run: String,
    pub started_ms: u64,
}

/// Puts what stands under `engine` where it belongs: the process, or beside it or alone its number, which says nothing of who it was.
fn of_older_versions(written: &mut Value) -> Result<()> {
    let Some(members) = written.as_object_mut() else {
        return Ok(());
    };
    match members.remove("engine") {
        None | Some(Value::Null | Value::Number(_)) => {}
        Some(process @ Value::Object(_)) => {
            members.entry("engine_process").or_insert(process);
        }
        Some(other) => bail!("`engine` is neither a process nor its number: {other}"),
    }
    Ok(())
}

/// Seconds, money and memory of one worker, in `logs/usage.json`. The file is written over while others read it, so its text has a seal
/// behind it: half of one text and half of another may read well and say what was never so.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub seconds: f64,
    pub cpu_seconds: f64,
    #[serde(default)]
    pub dollars: f64,
    #[serde(default, skip_serializing_if = "Calls::is_zero")]
    pub calls: Calls,
    /// Floating-point operations of its models.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flop: f64,
    pub peak_bytes: u64,
}

impl Usage {
    /// A line with its numbers, and a line that says whether they belong together.
    pub fn sealed(&self) -> Result<String> {
        let text = serde_json::to_string(self).context("writing usage")?;
        let seal = seal(&text);
        Ok(format!("{text}\n{seal}\n"))
    }

    /// Nothing where it is being written. The text of older versions has no seal.
    fn read(text: &str) -> Option<Usage> {
        let (numbers, sealed) = match text.split_once('\n') {
            Some((numbers, sealed)) => (numbers, sealed.trim()),
            None => (text, ""),
        };
        let whole = sealed.is_empty() || sealed == seal(numbers);
        whole.then(|| serde_json::from_str(numbers).ok()).flatten()
    }

    /// Of this process and the children that it waited for.
    pub(crate) fn of_this_process() -> Usage {
        let taken = usage::of_this_process();
        Usage {
            cpu_seconds: taken.cpu_seconds,
            peak_bytes: taken.peak_bytes,
            ..Usage::default()
        }
    }
}

fn seal(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_string()
}

/// The folder of an attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub dir: PathBuf,
}

impl Attempt {
    pub fn spec(&self) -> Result<Spec> {
        let path = self.dir.join("attempt.json");
        let read = || -> Result<Spec> {
            let bytes = bounded::read(&path, MOST)?;
            let mut written: Value = serde_json::from_slice(&bytes)?;
            of_older_versions(&mut written)?;
            let spec: Spec = serde_json::from_value(written)?;
            for name in spec.inputs.keys().chain(&spec.outputs) {
                ensure!(bounded::is_name(name), "{name:?} is no name of a folder");
            }
            for earlier in &spec.earlier {
                let beside = earlier.parent() == self.dir.parent();
                let named = earlier.file_name().and_then(|n| n.to_str());
                ensure!(
                    beside && named.is_some_and(bounded::is_name),
                    "{} is no attempt beside this one",
                    earlier.display()
                );
            }
            Ok(spec)
        };
        read().with_context(|| format!("reading {}", path.display()))
    }

    /// Who the worker is, written by itself when it starts.
    pub fn worker(&self) -> Option<Process> {
        serde_json::from_slice(&fs::read(self.dir.join(WORKER)).ok()?).ok()
    }

    /// The worker says who it is.
    pub fn sign(&self) -> Result<()> {
        let own = Process::own().context("finding out who this process is")?;
        fs::write(self.dir.join(WORKER), serde_json::to_vec(&own)?).context("writing worker.json")
    }

    pub fn name(&self) -> String {
        self.dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    pub fn outputs(&self) -> PathBuf {
        self.dir.join("out")
    }

    pub fn output(&self, name: &str) -> PathBuf {
        self.outputs().join(name)
    }

    pub fn input(&self, port: &str) -> PathBuf {
        self.dir.join("in").join(port)
    }

    pub fn resume(&self) -> PathBuf {
        self.dir.join("resume")
    }

    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The worker says what it computes on.
    pub(crate) fn note_device(&self, used: &DeviceUsed) -> Result<()> {
        let mut all = self.devices();
        if all.contains(used) {
            return Ok(());
        }
        all.push(used.clone());
        let path = self.logs().join(DEVICES);
        fs::write(&path, serde_json::to_vec(&all)?)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// What it computed on; nothing: the processor, or not at all.
    pub fn devices(&self) -> Vec<DeviceUsed> {
        let text = bounded::read(&self.logs().join(DEVICES), MOST).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// What the worker says, where its engine is not its parent: lines as on its stdout.
    pub fn messages(&self) -> PathBuf {
        self.logs().join("messages.jsonl")
    }

    /// How it ended, by whoever attended to it elsewhere.
    pub fn conclusion(&self) -> Option<Conclusion> {
        let text = bounded::read(&self.dir.join(END), MOST).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(crate) fn end_file(&self) -> PathBuf {
        self.dir.join(END)
    }

    /// What the worker writes to stderr, and what programs that it starts do.
    pub fn stderr(&self) -> PathBuf {
        self.logs().join("stderr.txt")
    }

    /// The last lines of stderr, for messages.
    pub(crate) fn stderr_tail(&self) -> String {
        const LINES: usize = 20;
        let text = fs::read(self.stderr()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(LINES)..].join("\n")
    }

    /// Whether a later attempt has anything to gain from it.
    pub fn resumable(&self) -> bool {
        names(&self.resume()).is_ok_and(|n| n.iter().any(|n| !n.ends_with(".tmp")))
    }

    /// How far a later attempt starts: the progress at the last checkpoint, else the last progress seen, which is right
    /// for journals.
    pub fn fraction(&self) -> Option<f64> {
        let read = |path: PathBuf| -> Option<Progress> {
            serde_json::from_slice(&fs::read(path).ok()?).ok()
        };
        let checkpoints = checkpoint::found(&[self.resume()], "");
        let progress = match checkpoints.first() {
            Some(newest) => newest.progress.clone(),
            None => read(self.logs().join("progress.json"))?,
        };
        progress.fraction()
    }

    /// Goes up with everything that a later attempt gains from this one and those before it.
    pub(crate) fn saved(&self, earlier: &[PathBuf]) -> u64 {
        let mut dirs = vec![self.resume()];
        dirs.extend(earlier.iter().map(|dir| dir.join("resume")));
        let checkpoints = checkpoint::found(&dirs, "");
        checkpoints.first().map_or(0, |newest| newest.sequence)
    }

    /// What its worker, which has ended, took.
    pub fn usage(&self) -> Usage {
        self.usage_so_far().unwrap_or_default()
    }

    /// What its worker took so far; nothing where it said nothing yet, or says it right now.
    pub fn usage_so_far(&self) -> Option<Usage> {
        Usage::read(&fs::read_to_string(self.logs().join(USAGE)).ok()?)
    }

    /// Half an output is of no use to anyone, and may be what fills the disk. Journals and checkpoints stay.
    pub(crate) fn drop_outputs(&self) {
        let _ = fs::remove_dir_all(self.outputs()); // What stays is litter until the commit.
    }

    pub fn remove(&self) -> std::io::Result<()> {
        fs::remove_dir_all(&self.dir)
    }
}

pub fn write_values(values: &Values) -> Result<String> {
    toml::to_string(values).context("writing parameters")
}

pub fn read_values(text: &str) -> Result<Values> {
    toml::from_str(text).context("reading parameters")
}

/// For members that are left out where there is nothing to count.
pub(crate) fn is_zero(number: &f64) -> bool {
    *number == 0.0
}
