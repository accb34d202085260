//! The attempts in a store: a fresh one, all of a key. Their numbers count up and are given once.

use super::Store;
use super::record::Artifact;
use crate::kind::attempt::{Attempt, Spec};
use crate::system::fault;
use crate::system::files::{self, names};
use anyhow::{Context, Result};
use base::bounded;
use base::hash::{Digest, Key};
use std::fs;
use std::path::{Path, PathBuf};

impl Attempt {
    /// A fresh folder, with its inputs laid out.
    pub fn create(store: &Store, spec: &Spec, inputs: &[(&str, Artifact)]) -> Result<Attempt> {
        let dir = next(store, &spec.key)?;
        let made = || format!("creating attempt {}", dir.display());
        let attempt = Attempt { dir: dir.clone() };
        for part in ["in", "out", "resume", "logs"] {
            fs::create_dir(dir.join(part)).with_context(made)?;
        }
        for name in &spec.outputs {
            fs::create_dir(attempt.output(name)).with_context(made)?;
        }
        for (port, artifact) in inputs {
            store
                .objects()
                .link(&artifact.files, &attempt.input(port))?;
        }
        fault::point("attempt-folder")?;
        let text = serde_json::to_vec_pretty(spec).with_context(made)?;
        fs::write(dir.join("attempt.json"), text).with_context(made)?;
        Ok(attempt)
    }

    /// What its worker reads, as it is on this machine: `spec`, and the links of its inputs, which lie in this store.
    pub(crate) fn relink(&self, store: &Store, spec: &Spec) -> Result<()> {
        let shown = || format!("laying out attempt {}", self.dir.display());
        for port in spec.inputs.keys() {
            for link in links(&self.input(port)).with_context(shown)? {
                let to = fs::read_link(&link).with_context(shown)?;
                let digest = to.file_name().and_then(|name| name.to_str());
                let digest = digest.and_then(Digest::parse).with_context(shown)?;
                let here = store.objects().path(&digest);
                if here != to {
                    fs::remove_file(&link).with_context(shown)?;
                    std::os::unix::fs::symlink(here, &link).with_context(shown)?;
                }
            }
        }
        let text = serde_json::to_vec_pretty(spec).with_context(shown)?;
        let path = self.dir.join("attempt.json");
        files::put(&store.tmp(), &path, &text).with_context(shown)
    }

    /// The one that a journal calls so; none where that is no name, as in a journal that somebody has changed.
    pub fn called(store: &Store, name: &str) -> Option<Attempt> {
        let dir = bounded::is_name(name).then(|| store.attempts().join(name))?;
        Some(Attempt { dir })
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

    /// Attempts of a committed key have served. Under its claim, so none of them is alive; what cannot be removed is litter. An engine
    /// that ended while it laid one out has left a folder that does not say whose it is: whoever has the claim of a key is the only one
    /// who makes folders that are called like it.
    pub fn sweep(store: &Store, key: &Key) {
        for (_, name) in numbered(store, key).unwrap_or_default() {
            let attempt = Attempt {
                dir: store.attempts().join(name),
            };
            let unsaid = !attempt.dir.join("attempt.json").exists();
            if unsaid || attempt.spec().is_ok_and(|spec| spec.key == *key) {
                let _ = attempt.remove();
            }
        }
    }
}

/// What lies below a folder and is no folder.
fn links(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for name in names(&folder)? {
            let path = folder.join(&name);
            match fs::symlink_metadata(&path)?.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    Ok(found)
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
