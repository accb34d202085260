//! A run on disk: what was asked (`run.json`, recipes), what happened (`events.jsonl`), readable back whatever killed the writer, and
//! of one that came to its end what that journal was (`seal.json`). Times of events live here.

use crate::events::event::{Counts, Event};
use crate::events::life::Alive;
use crate::plan::PlannedNode;
use crate::store::Store;
use crate::system::Process;
use crate::system::clock;
use crate::system::fault;
use crate::system::files::names;
use anyhow::{Context, Result, ensure};
use base::bounded;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Larger than the events of any run.
const MOST: u64 = 1 << 30;
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
const SEAL: &str = "seal.json";

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
    /// Lines of `events.jsonl` that could not be read: damaged, or of a newer version.
    pub unreadable: usize,
}

/// The writer. After a write failed it stays silent and says so at the end: a full disk must not end a run that can
/// still commit.
pub struct Journal {
    dir: PathBuf,
    file: Sealing,
    alive: Alive,
    progress_at: BTreeMap<String, Instant>,
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
        let alive = Alive::new(&dir, store.claims().lasts()).with_context(shown)?;
        let file = File::options()
            .create_new(true)
            .append(true)
            .open(dir.join("events.jsonl"))
            .with_context(shown)?;
        Ok(Journal {
            dir,
            file: Sealing {
                file: BufWriter::new(file),
                bytes: 0,
                hash: blake3::Hasher::new(),
            },
            alive,
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
        let at = clock::now_ms();
        let line = serde_json::to_writer(&mut self.file, &Line { at, event });
        self.note(line.map_err(Into::into));
        let end = self.file.write_all(b"\n");
        self.note(end);
        if let Event::RunEnded { counts, .. } = event {
            self.flush();
            // Of hits alone a loss of power takes nothing: their records are durable, and the same command says the same again.
            let hits = Counts {
                hit: counts.hit,
                ..Counts::default()
            };
            if *counts != hits {
                let synced = self.file.file.get_ref().sync_all();
                self.note(synced);
                // Of what may be lost with the power nothing is promised.
                if self.trouble.is_none() {
                    let sealed = put_seal(&self.dir, &self.file.seal());
                    self.note(sealed);
                }
            }
        }
    }

    /// Makes everything so far readable for others: many events come at once, so writing each by itself would be slow. Called again and
    /// again, whatever happens: it is a sign of life as well.
    pub fn flush(&mut self) {
        self.alive.beat();
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

/// Counts and hashes what is written.
struct Sealing {
    file: BufWriter<File>,
    bytes: u64,
    hash: blake3::Hasher,
}

impl Write for Sealing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.bytes += n as u64;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Sealing {
    fn seal(&self) -> Seal {
        Seal {
            bytes: self.bytes,
            blake3: self.hash.finalize().to_hex().to_string(),
        }
    }
}

/// What the journal of a run was when the run ended: nothing is written to it afterwards.
#[derive(PartialEq, Serialize, Deserialize)]
struct Seal {
    bytes: u64,
    blake3: String,
}

fn put_seal(dir: &Path, seal: &Seal) -> std::io::Result<()> {
    fs::write(dir.join(SEAL), serde_json::to_vec(seal)?)
}

/// Whether this, the journal of the run in `dir`, is other than it was when the run ended; nobody knows of a run that was killed.
pub fn is_changed(dir: &Path, journal: &[u8]) -> bool {
    let seal: Option<Seal> = json(dir.join(SEAL)).ok();
    seal.is_some_and(|seal| {
        let blake3 = blake3::hash(journal).to_hex().to_string();
        let bytes = journal.len() as u64;
        seal != Seal { bytes, blake3 }
    })
}

/// The journal has become another, and that has been told.
pub fn unseal(dir: &Path) {
    let _ = fs::remove_file(dir.join(SEAL)); // What stays is told again.
}

/// Ids of all runs, oldest first. A folder in which no run has begun yet is none.
pub fn runs(store: &Store) -> Result<Vec<String>> {
    let mut ids = names(&store.runs())?;
    ids.retain(|id| store.runs().join(id).join("run.json").exists());
    Ok(ids)
}

/// What was asked of a run.
pub fn info(store: &Store, id: &str) -> Result<RunInfo> {
    ensure!(bounded::is_name(id), "{id:?} is no run");
    json(store.runs().join(id).join("run.json"))
}

/// The folder of a run that may not have begun yet.
pub fn folder(store: &Store, id: &str) -> PathBuf {
    store.runs().join(id)
}

/// Events and the number of unreadable lines, of a run that may be going on.
pub fn events(store: &Store, id: &str) -> Result<(Vec<Stamped>, usize)> {
    ensure!(bounded::is_name(id), "{id:?} is no run");
    let path = store.runs().join(id).join("events.jsonl");
    if !path.exists() {
        return Ok((vec![], 0)); // Killed before it began to write.
    }
    let text = bounded::read(&path, MOST).with_context(|| format!("reading {}", path.display()))?;
    Ok(parse(&text))
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
    let (events, unreadable) = events(store, id)?;
    // First of all events; a run that died before it had no plan.
    let plan = events.iter().find_map(|e| match &e.event {
        Event::RunStarted { nodes, .. } => Some(nodes.clone()),
        _ => None,
    });
    Ok(Run {
        recipes,
        plan: plan.unwrap_or_default(),
        events,
        unreadable,
        info,
    })
}

/// A line without its end is the torn tail of a killed run and is dropped; another bad line is counted and passed over: the rest
/// of a run does not become untrue by it. Returns how many there were.
pub fn parse(bytes: &[u8]) -> (Vec<Stamped>, usize) {
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
    let bytes =
        bounded::read(&path, MOST).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
}
