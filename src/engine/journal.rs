//! A run on disk: what was asked (`run.json`, recipes, `plan.json`) and what happened (`events.jsonl`), readable back
//! whatever killed the writer. Times of events live here.

use crate::engine::clock;
use crate::engine::event::{Event, PlannedNode};
use crate::engine::fault;
use crate::engine::store::{Store, names};
use crate::engine::system::Process;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_secs(1);
const ALIVE: &str = "alive";

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    pub id: String,
    pub started_ms: u64,
    pub version: String,
    pub recipes: Vec<String>,
    /// Empty: everything.
    pub targets: Vec<String>,
    /// Who runs it; absent in runs of older versions.
    #[serde(default)]
    pub engine: Option<Process>,
}

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Milliseconds since 1970.
    pub at: u64,
    pub event: Event,
}

/// A run read back.
pub struct Run {
    pub info: RunInfo,
    /// Name and text.
    pub recipes: Vec<(String, String)>,
    pub plan: Vec<PlannedNode>,
    pub events: Vec<Stamped>,
    /// Lines of `events.jsonl` that could not be read: damaged, or of a newer version.
    pub unreadable: usize,
}

/// The writer. After a write failed it stays silent and says so at the end: a full disk must not end a run that can
/// still commit.
pub struct Journal {
    file: File,
    /// Locked as long as this engine lives: who finds it free knows that the run is over.
    _alive: File,
    progress_at: BTreeMap<String, Instant>,
    trouble: Option<String>,
}

impl Journal {
    pub fn create(
        store: &Store,
        info: &RunInfo,
        recipes: &[(String, String)],
        plan: &[PlannedNode],
    ) -> Result<Journal> {
        let dir = store.runs().join(&info.id);
        let shown = || format!("creating run {}", dir.display());
        fs::create_dir_all(dir.join("recipes")).with_context(shown)?;
        fs::write(dir.join("run.json"), serde_json::to_vec_pretty(info)?).with_context(shown)?;
        fs::write(dir.join("plan.json"), serde_json::to_vec_pretty(plan)?).with_context(shown)?;
        for (i, (_, text)) in recipes.iter().enumerate() {
            fs::write(dir.join("recipes").join(format!("{i:03}.toml")), text)
                .with_context(shown)?;
        }
        fault::point("run-made").with_context(shown)?;
        let alive = File::create_new(dir.join(ALIVE)).with_context(shown)?;
        alive.try_lock().with_context(shown)?;
        let file = File::options()
            .create_new(true)
            .append(true)
            .open(dir.join("events.jsonl"))
            .with_context(shown)?;
        Ok(Journal {
            file,
            _alive: alive,
            progress_at: BTreeMap::new(),
            trouble: None,
        })
    }

    pub fn write(&mut self, event: &Event) {
        if let Event::Progress {
            node, done, total, ..
        } = event
        {
            // Not the clock of the events' times, which may jump back and would hold progress up for as long.
            let last = self.progress_at.get(node);
            if last.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) && done != total {
                return;
            }
            self.progress_at.insert(node.clone(), Instant::now());
        }
        if self.trouble.is_some() {
            return;
        }
        let stamped = Stamped {
            at: clock::now_ms(),
            event: event.clone(),
        };
        let mut line = serde_json::to_string(&stamped).expect("an event always has a JSON form");
        line.push('\n');
        let mut written = self.file.write_all(line.as_bytes());
        if let Event::RunEnded { .. } = event {
            written = written.and_then(|()| self.file.sync_all());
        }
        if let Err(error) = written {
            self.trouble = Some(format!("the journal of this run is cut short: {error}"));
        }
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

/// Ids of all runs, oldest first. A folder in which no run has begun yet is none.
pub fn runs(store: &Store) -> Result<Vec<String>> {
    let mut ids = names(&store.runs())?;
    ids.retain(|id| store.runs().join(id).join("run.json").exists());
    Ok(ids)
}

/// What was asked of a run.
pub fn info(store: &Store, id: &str) -> Result<RunInfo> {
    json(store.runs().join(id).join("run.json"))
}

/// The folder of a run that may not have begun yet.
pub fn folder(store: &Store, id: &str) -> PathBuf {
    store.runs().join(id)
}

/// Events and the number of unreadable lines, of a run that may be going on.
pub fn events(store: &Store, id: &str) -> Result<(Vec<Stamped>, usize)> {
    let path = store.runs().join(id).join("events.jsonl");
    let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(parse(&text))
}

/// Whether the engine of this run still lives: it holds a lock as long as it does.
pub fn alive(store: &Store, id: &str) -> bool {
    File::open(store.runs().join(id).join(ALIVE))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

pub fn read(store: &Store, id: &str) -> Result<Run> {
    let dir = store.runs().join(id);
    let info: RunInfo = json(dir.join("run.json"))?;
    let mut recipes = vec![];
    for (i, name) in info.recipes.iter().enumerate() {
        let path = dir.join("recipes").join(format!("{i:03}.toml"));
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        recipes.push((name.clone(), text));
    }
    let (events, unreadable) = events(store, id)?;
    Ok(Run {
        recipes,
        plan: json(dir.join("plan.json"))?,
        events,
        unreadable,
        info,
    })
}

/// A line without its end is the torn tail of a killed run and is dropped; another bad line is counted and passed over: the rest
/// of a run does not become untrue by it.
fn parse(bytes: &[u8]) -> (Vec<Stamped>, usize) {
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let lines = bytes[..whole].split(|b| *b == b'\n');
    let (mut events, mut unreadable) = (vec![], 0);
    for line in lines.filter(|l| !l.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(event) => events.push(event),
            Err(_) => unreadable += 1,
        }
    }
    (events, unreadable)
}

fn json<T: serde::de::DeserializeOwned>(path: PathBuf) -> Result<T> {
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
}
