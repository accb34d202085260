//! A run on disk: what was asked (`run.json`, recipes) and what happened (`events.jsonl`), readable back
//! whatever killed the writer. Times of events live here.

use crate::base::bounded;
use crate::engine::clock;
use crate::engine::event::{Event, PlannedNode};
use crate::engine::fault;
use crate::engine::store::{Store, names};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Larger than the events of any run.
const MOST: u64 = 1 << 30;
const PROGRESS_EVERY_MS: u64 = 1000;
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
    /// The folder it was called in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<PathBuf>,
}

#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    event: &'a Event,
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
}

/// The writer. After a write failed it stays silent and says so at the end: a full disk must not end a run that can
/// still commit.
pub struct Journal {
    file: BufWriter<File>,
    /// Locked as long as this engine lives: who finds it free knows that the run is over.
    _alive: File,
    progress_at: BTreeMap<String, u64>,
    trouble: Option<String>,
}

impl Journal {
    pub fn create(store: &Store, info: &RunInfo, recipes: &[(String, String)]) -> Result<Journal> {
        let dir = store.runs().join(&info.id);
        let shown = || format!("creating run {}", dir.display());
        fs::create_dir_all(dir.join("recipes")).with_context(shown)?;
        fs::write(dir.join("run.json"), serde_json::to_vec_pretty(info)?).with_context(shown)?;
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
            file: BufWriter::new(file),
            _alive: alive,
            progress_at: BTreeMap::new(),
            trouble: None,
        })
    }

    pub fn write(&mut self, event: &Event) {
        let at = clock::now_ms();
        if let Event::Progress {
            node, done, total, ..
        } = event
        {
            let last = self.progress_at.get(node).copied().unwrap_or_default();
            if at < last + PROGRESS_EVERY_MS && done != total {
                return;
            }
            self.progress_at.insert(node.clone(), at);
        }
        if self.trouble.is_some() {
            return;
        }
        let line = serde_json::to_writer(&mut self.file, &Line { at, event });
        self.note(line.map_err(Into::into));
        let end = self.file.write_all(b"\n");
        self.note(end);
        if let Event::RunEnded { .. } = event {
            self.flush();
            let synced = self.file.get_ref().sync_all();
            self.note(synced);
        }
    }

    /// Makes everything so far readable for others: many events come at once, so writing each by itself would be slow.
    pub fn flush(&mut self) {
        if self.trouble.is_none() {
            let written = self.file.flush();
            self.note(written);
        }
    }

    fn note(&mut self, written: std::io::Result<()>) {
        if let Err(error) = written {
            let cut = || format!("the journal of this run is cut short: {error}");
            self.trouble.get_or_insert_with(cut);
        }
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

/// Ids of all runs, oldest first.
pub fn runs(store: &Store) -> Result<Vec<String>> {
    names(&store.runs())
}

/// Whether the engine of this run still lives: it holds a lock as long as it does.
pub fn alive(store: &Store, id: &str) -> bool {
    if !bounded::is_name(id) {
        return false;
    }
    File::open(store.runs().join(id).join(ALIVE))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

pub fn read(store: &Store, id: &str) -> Result<Run> {
    ensure!(bounded::is_name(id), "{id:?} is no run");
    let dir = store.runs().join(id);
    let info: RunInfo = json(dir.join("run.json"))?;
    let mut recipes = vec![];
    for (i, name) in info.recipes.iter().enumerate() {
        let path = dir.join("recipes").join(format!("{i:03}.toml"));
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        recipes.push((name.clone(), text));
    }
    let path = dir.join("events.jsonl");
    let text = bounded::read(&path, MOST).with_context(|| format!("reading {}", path.display()))?;
    let events = parse(&text).with_context(|| format!("reading {}", path.display()))?;
    // First of all events; a run that died before it had no plan.
    let plan = events.iter().find_map(|e| match &e.event {
        Event::RunStarted { nodes, .. } => Some(nodes.clone()),
        _ => None,
    });
    Ok(Run {
        recipes,
        plan: plan.unwrap_or_default(),
        events,
        info,
    })
}

/// A line without its end is the torn tail of a killed run and is dropped; a bad line before that is an error.
pub fn parse(bytes: &[u8]) -> Result<Vec<Stamped>> {
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let mut events = vec![];
    for (i, line) in bytes[..whole].split(|b| *b == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(event) => events.push(event),
            Err(error) => bail!("line {}: {error}", i + 1),
        }
    }
    Ok(events)
}

fn json<T: serde::de::DeserializeOwned>(path: PathBuf) -> Result<T> {
    let bytes =
        bounded::read(&path, MOST).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
}
