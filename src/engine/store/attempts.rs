//! The attempts in a store: a fresh one, all of a key. Their numbers count up and are given once. One is under its name when all of it
//! is there, so that every folder here says whose it is, but for those of jobs that several attempts share (`run/dispatch.rs`).

use super::Store;
use super::record::Artifact;
use crate::kind::attempt::{Attempt, Spec};
use crate::system::clock;
use crate::system::fault;
use crate::system::files::{self, names};
use anyhow::{Context, Result};
use base::bounded;
use base::hash::{Digest, Key};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

impl Attempt {
    /// A fresh folder, with its inputs laid out.
    pub fn create(store: &Store, spec: &Spec, inputs: &[(&str, Artifact)]) -> Result<Attempt> {
        let draft = Attempt {
            dir: store.tmp().join(clock::unique()),
        };
        let made = draft
            .lay_out(store, spec, inputs)
            .and_then(|()| named(store, &draft.dir, &spec.key));
        if made.is_err() {
            let _ = draft.remove(); // What stays is a draft that grows old.
        }
        Ok(Attempt { dir: made? })
    }

    fn lay_out(&self, store: &Store, spec: &Spec, inputs: &[(&str, Artifact)]) -> Result<()> {
        let made = || format!("laying out attempt {}", self.dir.display());
        for part in ["in", "out", "resume", "logs"] {
            fs::create_dir_all(self.dir.join(part)).with_context(made)?;
        }
        for name in &spec.outputs {
            fs::create_dir(self.output(name)).with_context(made)?;
        }
        for (port, artifact) in inputs {
            store.objects().link(&artifact.files, &self.input(port))?;
        }
        fault::point("attempt-folder")?;
        let text = serde_json::to_vec_pretty(spec).with_context(made)?;
        fs::write(self.dir.join("attempt.json"), text).with_context(made)
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

    /// How the keys begin that have attempts.
    pub(crate) fn shorts(store: &Store) -> Result<BTreeSet<String>> {
        let all = names(&store.attempts())?.into_iter();
        let short = |name: String| Some(name.split_once('-')?.0.to_string());
        Ok(all.filter_map(short).collect())
    }

    /// Attempts of a committed key have served. Under its claim, so none of them is alive; what cannot be removed is litter. Whoever has
    /// the claim of a key is the only one who makes folders that are called like it, so one that does not say whose it is goes as well.
    pub fn sweep(store: &Store, key: &Key) {
        for (_, name) in numbered(store, key).unwrap_or_default() {
            let attempt = Attempt {
                dir: store.attempts().join(name),
            };
            if attempt.spec().map_or(true, |spec| spec.key == *key) {
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

/// Gives a folder the next name of the key's attempts. Numbers and not times say which came later: the clock may have been set back.
fn named(store: &Store, draft: &Path, key: &Key) -> Result<PathBuf> {
    let last = numbered(store, key)?.into_iter().map(|(n, _)| n).max();
    for number in last.unwrap_or(0) + 1.. {
        let dir = store.attempts().join(format!("{}-{number}", key.short()));
        match fs::rename(draft, &dir) {
            // Another key with the same first digits took it.
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
                ) => {}
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
