//! Pins: names for records whose artifacts are to stay, whatever runs come after.

use crate::store::Store;
use crate::system::clock;
use crate::system::files;
use crate::system::files::names;
use anyhow::{Context, Result, bail};
use base::hash::Key;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::PathBuf;

const ENDING: &str = ".json";
/// A name is a file's name, with the ending.
const LONGEST: usize = 100;

/// `pins/NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    pub name: String,
    pub at_ms: u64,
    /// The recipe or run it was made from, and the node where it is of one.
    pub made_from: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    pub nodes: Vec<Pinned>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    pub node: String,
    pub key: Key,
}

/// What is wrong with a name, if anything.
pub fn problem(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@=+,".contains(c);
    if name.is_empty() || name.len() > LONGEST || name.starts_with(['.', '-']) {
        return Some(format!(
            "a pin's name has 1 to {LONGEST} characters and begins with neither a dot nor a hyphen"
        ));
    }
    let odd = name.chars().find(|c| !fits(*c))?;
    Some(format!(
        "a pin's name has letters, digits and `._-@=+,`, not {odd:?}"
    ))
}

/// A name that nothing is wrong with, as near as can be.
pub fn plain(name: &str) -> String {
    let mut plain: String = name
        .chars()
        .map(|c| match problem(&c.to_string()) {
            Some(_) if !matches!(c, '.' | '-') => '-',
            _ => c,
        })
        .take(LONGEST)
        .collect();
    plain = plain.trim_start_matches(['.', '-']).to_string();
    match plain.is_empty() {
        true => "pin".into(),
        false => plain,
    }
}

/// False where the name is taken. What is pinned is safe from the moment this returns.
pub fn add(store: &Store, pin: &Pin) -> Result<bool> {
    if let Some(problem) = problem(&pin.name) {
        bail!("{problem}");
    }
    store.prepare()?;
    let _shared = store.sharing()?;
    let text = serde_json::to_vec_pretty(pin).context("writing a pin")?;
    files::write_new(&store.tmp(), &path(store, &pin.name), &text)
        .with_context(|| format!("writing pin `{}`", pin.name))
}

/// False where there is none.
pub fn remove(store: &Store, name: &str) -> Result<bool> {
    if problem(name).is_some() {
        return Ok(false);
    }
    match fs::remove_file(path(store, name)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other
            .map(|()| true)
            .with_context(|| format!("removing pin `{name}`")),
    }
}

/// All pins by name; an error in the place of one that cannot be read.
pub fn all(store: &Store) -> Result<Vec<(String, Result<Pin>)>> {
    let mut pins = vec![];
    for file in names(&store.root().join("pins"))? {
        if let Some(name) = file.strip_suffix(ENDING) {
            pins.push((name.to_string(), read(store, name)));
        }
    }
    Ok(pins)
}

pub fn read(store: &Store, name: &str) -> Result<Pin> {
    let shown = || format!("reading pin `{name}`");
    let bytes = fs::read(path(store, name)).with_context(shown)?;
    serde_json::from_slice(&bytes).with_context(shown)
}

pub fn new(name: &str, made_from: &str, note: &str, nodes: Vec<Pinned>) -> Pin {
    Pin {
        name: name.into(),
        at_ms: clock::now_ms(),
        made_from: made_from.into(),
        note: note.into(),
        nodes,
    }
}

fn path(store: &Store, name: &str) -> PathBuf {
    store.root().join("pins").join(format!("{name}{ENDING}"))
}
