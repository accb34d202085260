//! Whether what the store holds is what it was: records against their keys, blobs against their names, checkpoints, journals, pins.
//! What is bad goes to `quarantine/`, so that the next run sees it missing, and is named with what it touches.

use crate::events::journal;
use crate::events::life;
use crate::gc::collect::{LITTER_AGE_MS, age};
use crate::gc::inventory;
use crate::gc::roots::locked;
use crate::gc::{pins, settings};
use crate::kind::attempt::Attempt;
use crate::kind::checkpoint;
use crate::run::dispatch;
use crate::store::Store;
use crate::store::record::Record;
use crate::system::clock;
use crate::system::files;
use crate::system::files::Blob;
use crate::system::files::names;
use anyhow::{Context, Result};
use base::hash::{Digest, Key};
use base::rng::Seed;
use base::threads;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;

/// How many of the blobs are read. Everything else is always checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    All,
    /// Between 0 and 1; another choice every time.
    Share(f64),
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Checked {
    pub records: u64,
    /// Blobs that are there.
    pub blobs: u64,
    /// Of these, read and hashed.
    pub hashed: u64,
    pub hashed_bytes: u64,
    pub checkpoints: u64,
    pub runs: u64,
    pub pins: u64,
    pub bad: Vec<Bad>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bad {
    /// `object`, `record`, `checkpoint`, `run`, `pin`, `settings`.
    pub what: &'static str,
    pub name: String,
    pub problem: String,
    /// Nodes with their recipes.
    pub touched: Vec<String>,
    /// What comes of it.
    pub then: String,
    pub quarantined: bool,
}

/// `heard`: bytes read so far, and bytes to read.
pub fn verify(store: &Store, sample: Sample, heard: &(dyn Fn(u64, u64) + Sync)) -> Result<Checked> {
    store.prepare()?;
    let mut checked = Checked::default();
    let records = records(store, &mut checked)?;
    let blobs = present(store, &records, &mut checked)?;
    hash(store, &records, blobs, sample, heard, &mut checked)?;
    checkpoints(store, &mut checked)?;
    runs(store, &mut checked)?;
    pinned(store, &records, &mut checked)?;
    if let Err(error) = settings::read(store) {
        checked.bad.push(Bad {
            what: "settings",
            name: "settings.toml".into(),
            problem: format!("{error:#}"),
            touched: vec![],
            then: "no run collects by itself until it is repaired or removed".into(),
            quarantined: false,
        });
    }
    Ok(checked)
}

fn records(store: &Store, checked: &mut Checked) -> Result<BTreeMap<Key, Record>> {
    let mut good = BTreeMap::new();
    let actions = store.root().join("actions");
    for shard in names(&actions)? {
        for name in names(&actions.join(shard))? {
            let Some(key) = name.strip_suffix(".json").and_then(Key::parse) else {
                continue;
            };
            checked.records += 1;
            let (problem, touched) = match store.record(&key) {
                Ok(None) => continue, // Taken back while we looked.
                Ok(Some(record)) => match record.problem() {
                    None => {
                        good.insert(key, record);
                        continue;
                    }
                    Some(problem) => (problem, vec![place(&record)]),
                },
                Err(error) => (format!("{error:#}"), vec![]),
            };
            store.retire_record(&key)?;
            let then = match touched.is_empty() {
                true => "the next run that needs it makes it again, whatever node it was".into(),
                false => again(&touched),
            };
            checked.bad.push(Bad {
                what: "record",
                name: key.short().into(),
                problem,
                touched,
                then,
                quarantined: true,
            });
        }
    }
    Ok(good)
}

/// Every blob of `objects/` by its size; what a record counts on and is not there, or not of its size, is bad.
fn present(
    store: &Store,
    records: &BTreeMap<Key, Record>,
    checked: &mut Checked,
) -> Result<BTreeMap<Digest, u64>> {
    let found = inventory::blobs(store)?.into_iter();
    let mut present: BTreeMap<Digest, u64> = found.map(|b| (b.digest, b.size)).collect();
    let mut bad: BTreeMap<Digest, String> = BTreeMap::new();
    for record in records.values() {
        let outputs = record.outputs.iter();
        let outputs = outputs.flat_map(|(name, a)| a.files.iter().map(move |b| (Some(name), b)));
        for (output, blob) in outputs.chain(record.logs.iter().map(|b| (None, b))) {
            match present.get(&blob.digest) {
                Some(size) if *size == blob.size => continue,
                Some(size) => {
                    let problem = format!("it has {size} bytes instead of {}", blob.size);
                    bad.insert(blob.digest.clone(), problem);
                }
                None if store.objects().has(blob) => continue, // Come back since we looked.
                // Logs of what was made elsewhere come when somebody reads them.
                None if output.is_none() && store.found(&record.key).is_some() => {}
                None => {
                    let mark = store.evicted(&record.key);
                    if !mark.is_some_and(|m| output.is_some_and(|name| m.outputs.contains(name))) {
                        bad.insert(blob.digest.clone(), "it is missing".into());
                    }
                }
            }
        }
    }
    for (digest, problem) in bad {
        let was_there = present.remove(&digest).is_some();
        store.objects().quarantine(&digest)?;
        let one = object(records, &digest, problem, was_there);
        checked.bad.push(one);
    }
    checked.blobs = present.len() as u64;
    Ok(present)
}

fn hash(
    store: &Store,
    records: &BTreeMap<Key, Record>,
    blobs: BTreeMap<Digest, u64>,
    sample: Sample,
    heard: &(dyn Fn(u64, u64) + Sync),
    checked: &mut Checked,
) -> Result<()> {
    let seed = Seed::new(clock::now_ns() as u64);
    let chosen: Vec<(Digest, u64)> = blobs
        .into_iter()
        .filter(|(digest, _)| match sample {
            Sample::All => true,
            Sample::Share(share) => seed.child(digest.as_str()).unit() < share,
        })
        .collect();
    let total = chosen.iter().map(|(_, size)| size).sum();
    let done = Mutex::new(0);
    threads::ready(None)?;
    let wrong: Vec<(Digest, String)> = chosen
        .par_iter()
        .filter_map(|(digest, size)| {
            let problem = match files::hash_file(&store.objects().path(digest)) {
                Ok(now) if now == *digest => None,
                Ok(_) => Some("its bytes are not those of its name".to_string()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None, // Evicted while we read others.
                Err(e) => Some(format!("it cannot be read: {e}")),
            };
            let mut done = done.lock().unwrap_or_else(|p| p.into_inner());
            *done += size;
            heard(*done, total);
            Some((digest.clone(), problem?))
        })
        .collect();
    checked.hashed = chosen.len() as u64;
    checked.hashed_bytes = total;
    for (digest, problem) in wrong {
        store.objects().quarantine(&digest)?;
        let one = object(records, &digest, problem, true);
        checked.bad.push(one);
    }
    Ok(())
}

fn object(
    records: &BTreeMap<Key, Record>,
    digest: &Digest,
    problem: String,
    quarantined: bool,
) -> Bad {
    let of = |blobs: &[Blob]| blobs.iter().any(|b| b.digest == *digest);
    let (mut makers, mut touched, mut adopted) = (BTreeSet::new(), BTreeSet::new(), false);
    for record in records.values() {
        let outputs = record.outputs.values().any(|a| of(&a.files));
        if outputs {
            makers.insert(place(record));
            adopted |= record.adopted.is_some();
        }
        if outputs || of(&record.logs) {
            touched.insert(place(record));
        }
    }
    let touched: Vec<String> = touched.into_iter().collect();
    let then = match (makers.is_empty(), touched.is_empty()) {
        (_, true) => "no record names it, so nothing comes of it".into(),
        (true, false) => "it was a log, so nothing is made again".into(),
        (false, _) => again(&makers.into_iter().collect::<Vec<_>>()),
    };
    let elsewhere = match adopted {
        true => "; it was made elsewhere: `pipe adopt` it again, or the node itself is executed",
        false => "",
    };
    Bad {
        what: "object",
        name: digest.short().into(),
        problem,
        touched,
        then: then + elsewhere,
        quarantined,
    }
}

fn place(record: &Record) -> String {
    let made = &record.provenance;
    match made.recipe.is_empty() {
        true => format!("`{}`", made.node),
        false => format!("`{}` of `{}`", made.node, made.recipe),
    }
}

fn again(makers: &[String]) -> String {
    format!(
        "the next run that needs it makes {} again",
        makers.join(", ")
    )
}

/// Of attempts that nobody is in.
fn checkpoints(store: &Store, checked: &mut Checked) -> Result<()> {
    for name in names(&store.attempts())? {
        let attempt = Attempt {
            dir: store.attempts().join(&name),
        };
        if dispatch::is_shared(&attempt) {
            continue;
        }
        let spec = match attempt.spec() {
            Ok(spec) if locked(store, &spec.key) => continue,
            Ok(spec) => spec,
            Err(error) => {
                let young = age(&attempt.dir, clock::now_ms()).is_none_or(|a| a < LITTER_AGE_MS);
                if attempt.dir.join("attempt.json").exists() || !young {
                    aside(store, &attempt.dir, &name)?;
                    checked.bad.push(Bad {
                        what: "attempt",
                        name,
                        problem: format!("{error:#}"),
                        touched: vec![],
                        then: "its node starts from the beginning".into(),
                        quarantined: true,
                    });
                }
                continue;
            }
        };
        let resume = attempt.resume();
        let whole = checkpoint::found(std::slice::from_ref(&resume), "");
        for part in names(&resume)? {
            let path = resume.join(&part);
            if part.ends_with(".tmp") || !path.is_dir() {
                continue;
            }
            checked.checkpoints += 1;
            if !whole.iter().any(|c| c.name == part) {
                aside(store, &path, &format!("{name}-{part}"))?;
                checked.bad.push(Bad {
                    what: "checkpoint",
                    name: format!("{name}/{part}"),
                    problem: "it is not whole".into(),
                    touched: vec![format!("`{}`", spec.node)],
                    then:
                        "its node goes on from the checkpoint before, or starts from the beginning"
                            .into(),
                    quarantined: true,
                });
            }
        }
    }
    Ok(())
}

/// Moves a file or folder to the quarantine.
fn aside(store: &Store, path: &Path, name: &str) -> Result<()> {
    let name = format!("{name}-{}", clock::unique());
    fs::rename(path, store.root().join("quarantine").join(name))
        .with_context(|| format!("moving {} to quarantine", path.display()))
}

/// Journals of runs that are over. What one can read of a damaged one stays; the rest of it is kept aside.
fn runs(store: &Store, checked: &mut Checked) -> Result<()> {
    for id in journal::runs(store)? {
        let dir = store.runs().join(&id);
        let young = age(&dir, clock::now_ms()).is_none_or(|a| a < LITTER_AGE_MS);
        let begun = dir.join("events.jsonl").exists();
        if life::alive(store, &id) || (young && !begun) {
            continue;
        }
        checked.runs += 1;
        let mut bad = Bad {
            what: "run",
            name: id.clone(),
            problem: String::new(),
            touched: vec![],
            then: String::new(),
            quarantined: true,
        };
        if !is_json(&dir.join("run.json")) {
            aside(store, &dir, &format!("run-{id}"))?;
            bad.problem = "`run.json` is not readable".into();
            bad.then = "it is no longer listed; what it made is still there".into();
            checked.bad.push(bad);
            continue;
        }
        let path = dir.join("events.jsonl");
        let text = fs::read(&path).unwrap_or_default();
        let end = text.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        // A line without its end is how a killed run ends.
        let lines = text[..end].split_inclusive(|b| *b == b'\n');
        let (good, broken): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(|line| {
            line.len() == 1 || serde_json::from_slice::<serde_json::Value>(line).is_ok()
        });
        if !broken.is_empty() || journal::is_changed(&dir, &text) {
            if path.exists() {
                aside(store, &path, &format!("run-{id}-events"))?;
            }
            files::put(&store.tmp(), &path, &good.concat())
                .with_context(|| format!("writing {}", path.display()))?;
            journal::unseal(&dir);
            bad.problem = match broken.len() {
                0 => "its journal is not what it was when the run ended".into(),
                n => format!("{} of its journal cannot be read", lines_word(n)),
            };
            bad.then = "the other lines stay; what it made is still there".into();
            checked.bad.push(bad);
        }
    }
    Ok(())
}

fn lines_word(n: usize) -> String {
    base::text::count(n as u64, "line", "lines")
}

fn is_json(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).is_ok())
}

/// A pin that cannot be read stays where it is: moving it would take its protection away without a word.
fn pinned(store: &Store, records: &BTreeMap<Key, Record>, checked: &mut Checked) -> Result<()> {
    for (name, pin) in pins::all(store)? {
        checked.pins += 1;
        let mut bad = |problem: String, touched: Vec<String>, then: String| {
            checked.bad.push(Bad {
                what: "pin",
                name: name.clone(),
                problem,
                touched,
                then,
                quarantined: false,
            });
        };
        match pin {
            Err(error) => bad(
                format!("{error:#}"),
                vec![],
                format!("nothing is evicted until it is repaired or removed: pipe unpin {name}"),
            ),
            Ok(pin) => {
                let lost = pin.nodes.iter().filter(|p| !records.contains_key(&p.key));
                let lost: Vec<String> = lost.map(|p| format!("`{}`", p.node)).collect();
                if !lost.is_empty() {
                    let then = again(&lost);
                    bad("there is no record of what it names".into(), lost, then);
                }
            }
        }
    }
    Ok(())
}
