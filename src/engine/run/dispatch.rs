//! What lies in the folder of an attempt that is executed elsewhere, besides what lies in any: what its attendant has to know to
//! commit it (`terms.json`), its job (`job.json`), who attends to it (`begun.json`), the request to stop (`stop`), the values of
//! secrets for as long as nobody has read them (`secrets.json`), and how it ended (`end.json`). And the folder of a job that attempts
//! share, beside theirs (`job-<first>/`): it holds the job's `job.json` and what its scheduler writes.

use super::scheduler::JobId;
use crate::kind::Needs;
use crate::kind::attempt::Attempt;
use crate::kind::conclusion::Conclusion;
use crate::store::Store;
use crate::store::record::Provenance;
use crate::system::{Process, clock, files};
use anyhow::{Context, Result};
use base::bounded;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const TERMS: &str = "terms.json";
const JOB: &str = "job.json";
const BEGUN: &str = "begun.json";
const STOP: &str = "stop";
const SECRETS: &str = "secrets.json";
/// The folder for what the scheduler writes.
const FOLDER: &str = "job";
/// After this no job is waited for any more.
const LONGEST_MS: u64 = 14 * 86_400_000;
/// Larger than any of these.
const MOST: u64 = 16 << 20;

/// What has to be known to commit it, besides what its worker knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// The text whose hash is the key.
    pub manifest: String,
    pub provenance: Provenance,
    /// Made although there is a record.
    pub forced: bool,
    /// By parameter: what stood for the contents of its sources when it was submitted.
    pub contents: BTreeMap<String, String>,
    pub needs: Needs,
    /// How long it has to save its state when it is asked to stop.
    pub grace_seconds: f64,
    /// `NAME=VALUE` lines on the machine where it runs.
    pub secrets_file: Option<PathBuf>,
}

/// Written before the job is submitted, and again when its id is known. Of a job that attempts share, the id stands in its own folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posted {
    pub profile: String,
    pub id: Option<JobId>,
    pub at_ms: u64,
    /// The attempt that the job is called after; absent in attempts of older versions, which have a job each.
    #[serde(default)]
    pub(super) first: Option<String>,
    /// What it attends to, one after the other, once that is settled.
    #[serde(default)]
    pub attempts: Vec<String>,
}

impl Posted {
    pub fn new(profile: &str, first: String) -> Posted {
        Posted {
            profile: profile.into(),
            id: None,
            at_ms: clock::now_ms(),
            first: Some(first),
            attempts: vec![],
        }
    }

    /// The attempt that the job of this one is called after.
    pub fn first_of(&self, attempt: &Attempt) -> String {
        let named = self.first.as_deref().filter(|name| bounded::is_name(name));
        named.map_or_else(|| attempt.name(), String::from)
    }
}

/// Who attends to it; linked once, under the claim of the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    pub by: Option<Process>,
    pub host: String,
    pub claim: u64,
    pub at_ms: u64,
}

/// What is asked of whoever attends to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// To save its state and end.
    Stop,
    /// To end at once.
    Kill,
}

pub fn put_terms(store: &Store, attempt: &Attempt, terms: &Terms) -> Result<()> {
    write(store, &attempt.dir.join(TERMS), terms)
}

pub fn terms(attempt: &Attempt) -> Result<Terms> {
    read(&attempt.dir.join(TERMS))
}

pub(super) fn post(store: &Store, attempt: &Attempt, posted: &Posted) -> Result<()> {
    write(store, &attempt.dir.join(JOB), posted)
}

/// None: it is an attempt of an engine's own machine.
pub fn posted(attempt: &Attempt) -> Option<Posted> {
    let own: Posted = read(&attempt.dir.join(JOB)).ok()?;
    if own.id.is_some() {
        return Some(own);
    }
    let shared = attempt.dir.with_file_name(shared(&own.first_of(attempt)));
    let shared = read::<Posted>(&shared.join(JOB)).ok();
    let there = shared.filter(|shared| shared.attempts.contains(&attempt.name()));
    Some(there.unwrap_or(own))
}

/// Whether a job may still come to it, which waits in a queue for as long as its scheduler likes. The folder of a job that attempts
/// share counts as long as one of them does: an engine that died removes none.
pub fn is_outstanding(attempt: &Attempt) -> bool {
    if is_shared(attempt) {
        let posted = read::<Posted>(&attempt.dir.join(JOB));
        let named = posted.map(|posted| posted.attempts).unwrap_or_default();
        let mut each = named
            .iter()
            .filter(|name| bounded::is_name(name))
            .map(|name| Attempt {
                dir: attempt.dir.with_file_name(name),
            });
        return each.any(|one| !is_shared(&one) && is_outstanding(&one));
    }
    let young = |posted: Posted| clock::now_ms().saturating_sub(posted.at_ms) < LONGEST_MS;
    posted(attempt).is_some_and(young) && attempt.conclusion().is_none() && asked(attempt).is_none()
}

/// How the folder of a job that attempts share begins; that of an attempt begins with digits of its key.
const SHARED: &str = "job-";

/// The folder of a job that attempts share, beside theirs: they come and go, and it stays as long as the job does.
fn shared(first: &str) -> String {
    format!("{SHARED}{first}")
}

/// Whether a folder under `attempts/` is that of a job that attempts share, and so no attempt.
pub fn is_shared(attempt: &Attempt) -> bool {
    attempt.name().starts_with(SHARED)
}

/// Says what a job attends to, in a folder of its own; the folder.
pub(super) fn post_shared(store: &Store, posted: &Posted) -> Result<PathBuf> {
    let first = posted.first.as_deref().unwrap_or_default();
    assert!(bounded::is_name(first), "an attempt has a name");
    let folder = store.attempts().join(shared(first));
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    write(store, &folder.join(JOB), posted)?;
    Ok(folder)
}

pub(super) fn remove_shared(store: &Store, first: &str) {
    assert!(bounded::is_name(first), "an attempt has a name");
    let _ = fs::remove_dir_all(store.attempts().join(shared(first))); // What stays is litter.
}

/// False: somebody has begun it before.
pub(super) fn begin(store: &Store, attempt: &Attempt, begun: &Begun) -> Result<bool> {
    let path = attempt.dir.join(BEGUN);
    let text = serde_json::to_vec(begun)?;
    let linked = files::write_new(&store.tmp(), &path, &text);
    let linked = linked.with_context(|| format!("writing {}", path.display()))?;
    beckon(attempt);
    Ok(linked)
}

/// An empty line among what its worker says: who watches from elsewhere looks at the rest only when that has grown.
fn beckon(attempt: &Attempt) {
    let open = File::options()
        .create(true)
        .append(true)
        .open(attempt.messages());
    // Where it cannot be said, it is found out a little later.
    let _ = open.and_then(|mut file| {
        file.write_all(b"\n")?;
        file.sync_data()
    });
}

pub fn begun(attempt: &Attempt) -> Option<Begun> {
    read(&attempt.dir.join(BEGUN)).ok()
}

/// The first word counts.
pub(super) fn conclude(store: &Store, attempt: &Attempt, conclusion: &Conclusion) -> Result<bool> {
    let path = attempt.end_file();
    let text = serde_json::to_vec_pretty(conclusion)?;
    let linked = files::write_new(&store.tmp(), &path, &text);
    let linked = linked.with_context(|| format!("writing {}", path.display()))?;
    beckon(attempt);
    Ok(linked)
}

pub fn ask(store: &Store, attempt: &Attempt, what: Asked) -> Result<()> {
    let path = attempt.dir.join(STOP);
    let word: &[u8] = match what {
        Asked::Stop => b"stop\n",
        Asked::Kill => b"kill\n",
    };
    files::replace(&store.tmp(), &path, word).with_context(|| format!("writing {}", path.display()))
}

pub(super) fn asked(attempt: &Attempt) -> Option<Asked> {
    let text = fs::read_to_string(attempt.dir.join(STOP)).ok()?;
    Some(match text.trim() {
        "kill" => Asked::Kill,
        _ => Asked::Stop,
    })
}

/// Readable by its owner alone, until whoever attends to the attempt has read it.
pub(super) fn put_secrets(attempt: &Attempt, secrets: &BTreeMap<String, String>) -> Result<()> {
    let path = attempt.dir.join(SECRETS);
    let write = || -> Result<()> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(file.write_all(&serde_json::to_vec(secrets)?)?)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Reads them and leaves none behind.
pub(super) fn take_secrets(attempt: &Attempt) -> BTreeMap<String, String> {
    let path = attempt.dir.join(SECRETS);
    let secrets = read(&path).unwrap_or_default();
    drop_secrets(attempt);
    secrets
}

pub(super) fn drop_secrets(attempt: &Attempt) {
    let _ = fs::remove_file(attempt.dir.join(SECRETS)); // Mostly there is none.
}

/// The folder for what the scheduler writes.
pub(super) fn folder(attempt: &Attempt) -> Result<PathBuf> {
    let folder = attempt.dir.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

fn write<T: Serialize>(store: &Store, path: &Path, what: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(what)?;
    files::replace(&store.tmp(), path, &text).with_context(|| format!("writing {}", path.display()))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = bounded::read(path, MOST).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
}
