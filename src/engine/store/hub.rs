//! Addresses of files on the Hugging Face hub, and where its clients keep what they have downloaded. Reads the cache; downloads
//! nothing.
//!
//! | address | is |
//! |---|---|
//! | `hf://ORG/MODEL` | the folder of a model, at `main` |
//! | `hf://ORG/MODEL@REVISION` | at a branch, a tag or a commit |
//! | `hf://datasets/ORG/NAME[@REVISION][/FILE]` | a data set's folder, or a file or folder in it |
//!
//! The cache (layout: huggingface_hub's "Understand caching") holds `models--ORG--NAME` and `datasets--ORG--NAME`, in them
//! `refs/REVISION` with the commit that a branch stood for and `snapshots/COMMIT/` with the files.

use base::bounded;
use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) const SCHEME: &str = "hf://";

const DATASETS: &str = "datasets/";
const MAIN: &str = "main";

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub dataset: bool,
    /// `ORG/NAME`.
    pub repo: String,
    /// A branch, tag or commit; `main` where nothing is written.
    pub revision: String,
    /// Inside the repository; empty: all of it.
    pub file: String,
}

/// Where the files of an address lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub path: PathBuf,
    /// The commit that the revision stands for here: 40 hexadecimal digits.
    pub commit: String,
}

impl Address {
    /// Nothing for a text that is no address at all; an error in words for one that is meant to be one.
    pub fn parse(text: &str) -> Option<Result<Address, String>> {
        Some(Address::of(text.strip_prefix(SCHEME)?))
    }

    fn of(rest: &str) -> Result<Address, String> {
        let (dataset, rest) = match rest.strip_prefix(DATASETS) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let mut parts = rest.splitn(3, '/');
        let org = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        let file = parts.next().unwrap_or_default().trim_end_matches('/');
        let (name, revision) = match name.split_once('@') {
            Some((name, revision)) => (name, revision),
            None => (name, MAIN),
        };
        let word = |w: &str| !w.is_empty() && bounded::is_name(w);
        if !word(org) || !word(name) {
            let form = match dataset {
                true => "hf://datasets/ORG/NAME[@REVISION][/FILE]",
                false => "hf://ORG/MODEL[@REVISION][/FILE]",
            };
            return Err(format!("an address on the hub is `{form}`"));
        }
        if !word(revision) {
            return Err(format!("`{revision}` is no revision"));
        }
        if !file.is_empty() && !file.split('/').all(word) {
            return Err(format!("`{file}` is no file inside a repository"));
        }
        Ok(Address {
            dataset,
            repo: format!("{org}/{name}"),
            revision: revision.into(),
            file: file.into(),
        })
    }

    /// The name of its folder in a cache.
    pub fn folder(&self) -> String {
        let kind = if self.dataset { "datasets" } else { "models" };
        format!("{kind}--{}", self.repo.replace('/', "--"))
    }

    /// In this cache. `Err`: in words, what is not there.
    pub fn locate(&self, cache: &Path) -> Result<Located, String> {
        let folder = cache.join(self.folder());
        let snapshots = folder.join("snapshots");
        let commit = match is_commit(&self.revision) {
            true => self.revision.clone(),
            false => {
                let at = folder.join("refs").join(&self.revision);
                let text = bounded::read_text(&at, 128).map_err(|_| at.display().to_string())?;
                text.trim().to_string()
            }
        };
        let found = snapshots.join(&commit);
        if !is_commit(&commit) || !found.is_dir() {
            return Err(found.display().to_string());
        }
        let path = found.join(&self.file);
        match path.exists() {
            true => Ok(Located { path, commit }),
            false => Err(path.display().to_string()),
        }
    }

    /// The command of huggingface_hub that gets it.
    pub fn command(&self) -> String {
        let mut out = format!("hf download {}", self.repo);
        if !self.file.is_empty() {
            out += &format!(" {}", self.file);
        }
        if self.dataset {
            out += " --repo-type dataset";
        }
        if self.revision != MAIN {
            out += &format!(" --revision {}", self.revision);
        }
        out
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.dataset { DATASETS } else { "" };
        write!(f, "{SCHEME}{kind}{}", self.repo)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        if !self.file.is_empty() {
            write!(f, "/{}", self.file)?;
        }
        Ok(())
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Where the hub's clients on this machine keep what they download, by the variables that they read.
pub fn cache() -> PathBuf {
    let under = |name: &str, rest: &str| variable(name).map(|v| PathBuf::from(v).join(rest));
    under("HF_HUB_CACHE", "")
        .or_else(|| under("HUGGINGFACE_HUB_CACHE", ""))
        .or_else(|| under("HF_HOME", "hub"))
        .or_else(|| under("XDG_CACHE_HOME", "huggingface/hub"))
        .or_else(|| under("HOME", ".cache/huggingface/hub"))
        .unwrap_or_else(|| PathBuf::from("huggingface-hub"))
}

/// Whose value decides where a path leads, so the engine looks it up itself.
#[allow(clippy::disallowed_methods)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What a path parameter leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// `commit`: of an address on the hub.
    There {
        path: PathBuf,
        commit: Option<String>,
    },
    /// `looked`: where; `get`: the command that gets it, where one is known.
    Absent { looked: String, get: Option<String> },
}

/// Of an absolute path or an address.
pub fn find(written: &str) -> Found {
    let Some(address) = Address::parse(written) else {
        let path = PathBuf::from(written);
        return match path.exists() {
            true => Found::There { path, commit: None },
            false => Found::Absent {
                looked: written.into(),
                get: None,
            },
        };
    };
    let address = match address {
        Ok(address) => address,
        Err(looked) => return Found::Absent { looked, get: None },
    };
    match address.locate(&cache()) {
        Ok(Located { path, commit }) => Found::There {
            path,
            commit: Some(commit),
        },
        Err(looked) => Found::Absent {
            looked,
            get: Some(address.command()),
        },
    }
}
