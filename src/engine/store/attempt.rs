//! One execution of a key: its folder, what the worker is told, what earlier attempts left. Nothing in here is an
//! artifact: a folder under `attempts/` is only ever read by attempts of the same key, and removed after the commit.

use crate::graph::key::Key;
use crate::kind::Type;
use crate::run::system::Process;
use crate::store::record::{Artifact, is_zero};
use crate::store::{Store, names};
use anyhow::{Context, Result, ensure};
use base::bounded;
use base::calls::Calls;
use base::value::Values;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who the worker is.
const WORKER: &str = "worker.json";

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
    /// The process that waits for the worker.
    pub engine: i32,
    /// Who that is, for whoever comes later and from elsewhere; absent in attempts of older versions.
    #[serde(default)]
    pub engine_process: Option<Process>,
    /// The run that made this attempt.
    #[serde(default)]
    pub run: String,
    pub started_ms: u64,
}

/// Seconds, money and memory of one worker, in `logs/usage.json`.
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

/// How far a worker had come, in `logs/progress.json` and in each checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
    pub unit: String,
    pub note: String,
}

impl Progress {
    /// Between 0 and 1, where the total is known.
    pub fn fraction(&self) -> Option<f64> {
        (self.total > 0).then(|| (self.done as f64 / self.total as f64).min(1.0))
    }
}

/// The folder of an attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub dir: PathBuf,
}

impl Attempt {
    /// A fresh folder, with its inputs laid out.
    pub fn create(store: &Store, spec: &Spec, inputs: &[(&str, Artifact)]) -> Result<Attempt> {
        let dir = next(store, &spec.key)?;
        let made = || format!("creating attempt {}", dir.display());
        let attempt = Attempt { dir: dir.clone() };
        for name in &spec.outputs {
            fs::create_dir_all(attempt.output(name)).with_context(made)?;
        }
        for part in ["in", "out", "resume", "logs"] {
            fs::create_dir_all(dir.join(part)).with_context(made)?;
        }
        for (port, artifact) in inputs {
            store
                .objects()
                .link(&artifact.files, &attempt.input(port))?;
        }
        let text = serde_json::to_vec_pretty(spec).with_context(made)?;
        fs::write(dir.join("attempt.json"), text).with_context(made)?;
        Ok(attempt)
    }

    /// Every folder under `attempts/`, whatever it is about.
    pub fn all(store: &Store) -> Result<Vec<Attempt>> {
        let names = names(&store.attempts())?.into_iter();
        let attempt = |name| Attempt {
            dir: store.attempts().join(name),
        };
        Ok(names.map(attempt).collect())
    }

    /// All attempts of a key, newest first.
    pub fn of(store: &Store, key: &Key) -> Result<Vec<Attempt>> {
        let mut found: Vec<(u64, Attempt)> = numbered(store, key)?
            .into_iter()
            .map(|(number, name)| {
                let dir = store.attempts().join(name);
                (number, Attempt { dir })
            })
            .filter(|(_, attempt)| attempt.spec().is_ok_and(|spec| spec.key == *key))
            .collect();
        found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        Ok(found.into_iter().map(|(_, attempt)| attempt).collect())
    }

    pub fn spec(&self) -> Result<Spec> {
        let path = self.dir.join("attempt.json");
        let read = || -> Result<Spec> {
            let bytes = bounded::read(&path, MOST)?;
            let spec: Spec = serde_json::from_slice(&bytes)?;
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

    pub fn output(&self, name: &str) -> PathBuf {
        self.dir.join("out").join(name)
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
        let checkpoints = crate::kind::checkpoint::found(&[self.resume()], "");
        let progress = match checkpoints.first() {
            Some(newest) => newest.progress.clone(),
            None => read(self.logs().join("progress.json"))?,
        };
        progress.fraction()
    }

    pub fn usage(&self) -> Usage {
        fs::read(self.logs().join("usage.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Half an output is of no use to anyone, and may be what fills the disk. Journals and checkpoints stay.
    pub fn drop_outputs(&self) {
        let _ = fs::remove_dir_all(self.dir.join("out")); // What stays is litter until the commit.
    }

    pub fn remove(&self) -> std::io::Result<()> {
        fs::remove_dir_all(&self.dir)
    }
}

/// A fresh folder. Numbers and not times say which attempt came later: the clock may have been set back.
fn next(store: &Store, key: &Key) -> Result<PathBuf> {
    let last = numbered(store, key)?.into_iter().map(|(n, _)| n).max();
    for number in last.unwrap_or(0) + 1.. {
        let dir = store.attempts().join(format!("{}-{number}", key.short()));
        match fs::create_dir(&dir) {
            // Another key with the same first digits took it.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => {
                other.with_context(|| format!("creating attempt {}", dir.display()))?;
                return Ok(dir);
            }
        }
    }
    unreachable!("numbers do not end")
}

/// Folders that are called like attempts of this key, with their numbers.
fn numbered(store: &Store, key: &Key) -> Result<Vec<(u64, String)>> {
    let number = |name: String| {
        let (short, number) = name.split_once('-')?;
        // Whatever has no number is older than what has one.
        (short == key.short()).then(|| (number.parse().unwrap_or(0), name.clone()))
    };
    let all = names(&store.attempts())?;
    Ok(all.into_iter().filter_map(number).collect())
}

pub fn write_values(values: &Values) -> Result<String> {
    toml::to_string(values).context("writing parameters")
}

pub fn read_values(text: &str) -> Result<Values> {
    toml::from_str(text).context("reading parameters")
}

/// The last lines of a text file, for messages.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
