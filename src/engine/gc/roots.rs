//! What has to stay, and why: pins, the last runs of every recipe and workspace, runs and attempts that are alive, files that were
//! made elsewhere. Asked anew, under the lock, before every portion of a sweep.
//!
//! Of a run we take every word of its journal that may be a key. So a journal of another version protects what it names as well,
//! and a key too many only keeps an artifact longer.

use crate::events::event::{End, Event};
use crate::events::journal::{self, RunInfo, Stamped};
use crate::events::life;
use crate::gc::inventory::{Inventory, words};
use crate::gc::pins;
use crate::kind::attempt::Attempt;
use crate::run::dispatch;
use crate::store::Store;
use crate::store::workspaces;
use crate::system::files::names;
use anyhow::{Context, Result};
use base::hash::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How many runs of a recipe and workspace protect what they made.
pub const LAST_RUNS: usize = 3;

/// What counts as a root, besides what always does.
#[derive(Clone, Debug)]
pub struct Rules {
    pub runs: usize,
    pub now_ms: u64,
}

#[derive(Default)]
pub struct Roots {
    /// Why a key stays: the first reason found.
    keys: BTreeMap<Key, Why>,
    /// What workers read at this moment.
    blobs: BTreeSet<Digest>,
    /// Names of attempts whose worker, or whose engine, lives.
    attempts: BTreeSet<String>,
    /// What could not be read and might have protected something.
    pub blind: Vec<String>,
}

/// A root, in the order in which they are looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    Live,
    Pin(String),
    Adopted,
    Recent(String),
}

impl Why {
    /// As in "kept by …".
    pub fn words(&self) -> String {
        match self {
            Why::Live => "a run or worker at work".into(),
            Why::Pin(name) => format!("pin `{name}`"),
            Why::Adopted => "made elsewhere, cannot be made again".into(),
            Why::Recent(recipes) => format!("the last runs of {recipes}"),
        }
    }
}

impl Roots {
    pub fn why(&self, key: &Key) -> Option<&Why> {
        self.keys.get(key)
    }

    pub(crate) fn needs_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest)
    }

    pub(crate) fn needs_attempt(&self, name: &str) -> bool {
        self.attempts.contains(name)
    }

    fn add(&mut self, key: &Key, why: &Why) {
        self.keys.entry(key.clone()).or_insert_with(|| why.clone());
    }
}

/// Runs that ended say the same for ever, so they are read once.
#[derive(Default)]
pub struct Watch {
    ended: BTreeMap<String, Rc<Past>>,
}

/// What a run wrote down.
struct Past {
    /// Nothing where `run.json` cannot be read.
    info: Option<RunInfo>,
    keys: BTreeSet<Key>,
    /// It ended, and every node had what it wanted.
    whole: bool,
}

impl Watch {
    pub fn roots(&mut self, store: &Store, inventory: &Inventory, rules: &Rules) -> Result<Roots> {
        let mut roots = Roots::default();
        attempts(store, &mut roots)?;
        let runs = self.read(store, &mut roots)?;
        for (name, pin) in pins::all(store)? {
            match pin {
                Ok(pin) => {
                    let why = Why::Pin(name);
                    pin.nodes.iter().for_each(|p| roots.add(&p.key, &why));
                }
                Err(error) => roots.blind.push(format!("{error:#}")),
            }
        }
        for held in inventory.all().filter(|h| h.record.adopted.is_some()) {
            roots.add(&held.record.key, &Why::Adopted);
        }
        recent(store, &runs, rules, &mut roots)?;
        Ok(roots)
    }

    /// All runs, the newest first; what the living ones have named is a root.
    fn read(&mut self, store: &Store, roots: &mut Roots) -> Result<Vec<Rc<Past>>> {
        let mut runs = vec![];
        for id in journal::runs(store)?.into_iter().rev() {
            let lives = life::alive(store, &id);
            let past = match self.ended.get(&id) {
                Some(past) if !lives => past.clone(),
                _ => Rc::new(Past::read(&store.runs().join(&id))?),
            };
            if lives {
                past.keys.iter().for_each(|key| roots.add(key, &Why::Live));
            } else {
                self.ended.insert(id, past.clone());
            }
            runs.push(past);
        }
        Ok(runs)
    }
}

impl Past {
    fn read(dir: &Path) -> Result<Past> {
        let path = dir.join("events.jsonl");
        let events = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => vec![],
            other => other.with_context(|| format!("reading {}", path.display()))?,
        };
        let info = fs::read(dir.join("run.json")).ok();
        Ok(Past {
            info: info.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            keys: words(&events).filter_map(Key::parse).collect(),
            whole: ended_whole(&events),
        })
    }
}

fn ended_whole(events: &[u8]) -> bool {
    let last = events.split(|b| *b == b'\n').rfind(|line| !line.is_empty());
    let last = last.and_then(|line| serde_json::from_slice::<Stamped>(line).ok());
    matches!(
        last.map(|stamped| stamped.event),
        Some(Event::RunEnded {
            end: End::Whole,
            ..
        })
    )
}

/// The last runs that ended whole, of every recipe, choice of nodes and workspace; and what was tried after them.
fn recent(store: &Store, runs: &[Rc<Past>], rules: &Rules, roots: &mut Roots) -> Result<()> {
    let registered = workspaces::all(store)?;
    let lives = |folder: &PathBuf| {
        folder.is_dir()
            || registered
                .iter()
                .any(|w| w.path == *folder && w.lives(rules.now_ms))
    };
    let mut seen: BTreeMap<(Option<PathBuf>, String, Vec<String>), usize> = BTreeMap::new();
    for past in runs {
        let Some(info) = &past.info else {
            let why = Why::Recent("a run that cannot be read".into());
            past.keys.iter().for_each(|key| roots.add(key, &why));
            continue;
        };
        if info.workspace.as_ref().is_some_and(|w| !lives(w)) {
            continue;
        }
        for recipe in names_of(info) {
            let place = (info.workspace.clone(), recipe.clone(), info.targets.clone());
            let count = seen.entry(place).or_default();
            if *count >= rules.runs {
                continue;
            }
            *count += usize::from(past.whole);
            let why = Why::Recent(together(info));
            past.keys.iter().for_each(|key| roots.add(key, &why));
        }
    }
    Ok(())
}

/// Recipes and variants that were run together: the first, and how many more.
fn together(info: &RunInfo) -> String {
    let first = info.recipes.first().map_or("", String::as_str);
    match info.recipes.len() {
        0 | 1 => format!("`{first}`"),
        n => format!("`{first}` and {} more", n - 1),
    }
}

/// A run without recipes is one of the engine alone.
fn names_of(info: &RunInfo) -> Vec<String> {
    match info.recipes.is_empty() {
        true => vec![String::new()],
        false => info.recipes.clone(),
    }
}

/// Attempts under a lock that somebody holds, or whose jobs have not ended, and what they read.
fn attempts(store: &Store, roots: &mut Roots) -> Result<()> {
    for name in names(&store.attempts())? {
        let attempt = Attempt {
            dir: store.attempts().join(&name),
        };
        let Ok(spec) = attempt.spec() else {
            continue; // Just being made, or cut off while it was: the sweep goes by its age.
        };
        if !locked(store, &spec.key) && !dispatch::is_outstanding(&attempt) {
            continue;
        }
        roots.add(&spec.key, &Why::Live);
        roots.attempts.insert(name);
        inputs(&attempt.dir.join("in"), &mut roots.blobs);
    }
    Ok(())
}

/// The keys that an attempt may be of, by its name: for one whose `attempt.json` is not there yet. Its lock was taken first.
pub fn keys_of(store: &Store, attempt: &str) -> Result<Vec<Key>> {
    let short = attempt.split('-').next().unwrap_or(attempt);
    let locks = names(&store.root().join("locks"))?.into_iter();
    let fits = locks.filter(|lock| lock.starts_with(short));
    Ok(fits.filter_map(|lock| Key::parse(&lock)).collect())
}

/// Whether somebody executes this key.
pub(crate) fn locked(store: &Store, key: &Key) -> bool {
    let lock = store.root().join("locks").join(key.as_str());
    File::open(lock)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// The objects that the links below a folder lead to.
fn inputs(dir: &Path, blobs: &mut BTreeSet<Digest>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match fs::read_link(&path) {
            Ok(target) => {
                let name = target.file_name().and_then(|n| n.to_str());
                blobs.extend(name.and_then(Digest::parse));
            }
            Err(_) => inputs(&path, blobs),
        }
    }
}
