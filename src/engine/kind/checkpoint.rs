//! Checkpoints inside `resume/` folders: whole or absent, newest first over all attempts of a key. A checkpoint is a
//! folder that was renamed into place after everything in it was fsynced; `checkpoint.json` in it says when it was made and what
//! it holds, so that one whose bytes have changed is not gone on from.

use crate::kind::messages::Progress;
use crate::system::fault;
use crate::system::files;
use crate::system::files::Blob;
use crate::system::files::names;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const MARK: &str = "checkpoint.json";
/// One to use and one to fall back to.
const KEPT: usize = 2;

/// A whole checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub name: String,
    pub path: PathBuf,
    /// Counts up over all attempts of a key.
    pub sequence: u64,
    /// What had been reported when it was made.
    pub progress: Progress,
    files: Vec<Blob>,
}

impl Checkpoint {
    /// Whether it still holds what was written.
    pub fn sound(&self) -> bool {
        let holds = |file: &Blob| {
            let read = files::hash_file(&self.path.join(&file.path));
            read.is_ok_and(|digest| digest == file.digest)
        };
        self.files.iter().all(holds)
    }
}

#[derive(Serialize, Deserialize)]
struct Mark {
    sequence: u64,
    progress: Progress,
    #[serde(default)]
    files: Vec<Blob>,
}

/// Whole checkpoints whose name begins with `prefix`, newest first.
pub fn found(resume_dirs: &[PathBuf], prefix: &str) -> Vec<Checkpoint> {
    let mut all: Vec<Checkpoint> = resume_dirs
        .iter()
        .flat_map(|dir| {
            let names = names(dir).unwrap_or_default();
            names
                .into_iter()
                .map(|name| (dir.join(&name), name))
                .collect::<Vec<_>>()
        })
        .filter(|(_, name)| name.starts_with(prefix) && !name.ends_with(".tmp"))
        .filter_map(|(path, name)| {
            let mark: Mark = serde_json::from_slice(&fs::read(path.join(MARK)).ok()?).ok()?;
            Some(Checkpoint {
                name,
                path,
                sequence: mark.sequence,
                progress: mark.progress,
                files: mark.files,
            })
        })
        .collect();
    all.sort_by_key(|c| std::cmp::Reverse(c.sequence));
    all
}

/// Writes a checkpoint into `resume` and drops the older ones there of the same family (the name up to its last `-`).
/// `others` are the resume folders of earlier attempts, which stay as they are.
pub fn save(
    resume: &Path,
    others: &[PathBuf],
    name: &str,
    progress: Progress,
    write: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    let shown = || format!("saving checkpoint `{name}`");
    let family = name.rsplit_once('-').map_or(name, |(family, _)| family);
    let mut dirs = vec![resume.to_path_buf()];
    dirs.extend(others.iter().cloned());
    let sequence = found(&dirs, "").first().map_or(0, |c| c.sequence) + 1;
    let draft = resume.join(format!("{name}.tmp"));
    if draft.exists() {
        fs::remove_dir_all(&draft).with_context(shown)?;
    }
    fs::create_dir(&draft).with_context(shown)?;
    write(&draft).with_context(shown)?;
    let files = files::contents(&draft).with_context(shown)?;
    let mark = Mark {
        sequence,
        progress,
        files,
    };
    let mark = serde_json::to_vec(&mark).with_context(shown)?;
    fs::write(draft.join(MARK), mark).with_context(shown)?;
    fault::point("checkpoint-drafted").with_context(shown)?;
    sync_tree(&draft).with_context(shown)?;
    let place = resume.join(name);
    if place.exists() {
        fs::remove_dir_all(&place).with_context(shown)?;
    }
    fault::point("checkpoint-synced").with_context(shown)?;
    fs::rename(&draft, &place).with_context(shown)?;
    fault::point("checkpoint-placed").with_context(shown)?;
    files::sync_dir(resume).with_context(shown)?;
    let own = found(&[resume.to_path_buf()], family);
    for old in own
        .iter()
        .filter(|c| same_family(&c.name, family))
        .skip(KEPT)
    {
        fs::remove_dir_all(&old.path).with_context(shown)?;
    }
    Ok(())
}

fn same_family(name: &str, family: &str) -> bool {
    name.rsplit_once('-').map_or(name, |(f, _)| f) == family
}

fn sync_tree(dir: &Path) -> Result<()> {
    for (_, path) in files::walk(dir, false)? {
        File::open(&path)?.sync_all()?;
        if let Some(parent) = path.parent() {
            files::sync_dir(parent)?;
        }
    }
    Ok(files::sync_dir(dir)?)
}
