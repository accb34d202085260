//! The folder of a store: whether it is one or can become one, its format version, the folders in it, drafts that were left there.

use super::objects;
use crate::kind::failure::Failure;
use crate::system::clock;
use crate::system::files::names;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The layout this binary reads and writes.
const FORMAT: u32 = 1;

pub const FOLDERS: [&str; 11] = [
    "objects",
    "actions",
    "plans",
    "attempts",
    "runs",
    "locks",
    "memo",
    "pins",
    "quarantine",
    "tmp",
    "workspaces",
];

pub fn absolute(root: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(root)
        .with_context(|| format!("the store path {} is not usable", root.display()))
        .map_err(Failure::Environment)
}

/// Refuses what cannot become a store: a file, and a folder that holds something else.
pub fn is_free(root: &Path) -> Result<()> {
    ensure!(
        !root.exists() || root.is_dir(),
        "it is a file, not a folder"
    );
    let strangers: Vec<String> = names(root)?
        .into_iter()
        // A `.gitignore` may keep an empty store's folder in a repository; our own drafts begin with a dot as well.
        .filter(|n| !n.starts_with('.') && n != "format")
        .collect();
    if !strangers.is_empty() && !root.join("format").exists() {
        bail!("the folder is not empty and is not a store");
    }
    Ok(())
}

/// Turns an empty or absent folder into a store. Two engines may do this at once.
pub fn make(root: &Path) -> Result<()> {
    is_free(root)?;
    fs::create_dir_all(root)?;
    let draft = root.join(format!(".format-{}", clock::unique()));
    fs::write(&draft, format!("{FORMAT}\n"))?;
    let linked = fs::hard_link(&draft, root.join("format"));
    fs::remove_file(&draft)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    Ok(())
}

pub fn check_format(root: &Path) -> Result<(), Failure> {
    let shown = format!("the store at {}", root.display());
    let text = fs::read_to_string(root.join("format"))
        .with_context(|| format!("{shown} has no readable format file"))?;
    let format: u32 = text
        .trim()
        .parse()
        .map_err(|_| anyhow!("{shown} has an unreadable format file: {:?}", text.trim()))?;
    if format > FORMAT {
        return Err(Failure::Environment(anyhow!(
            "{shown} has format {format}, made by a newer version; this one reads up to {FORMAT}"
        )));
    }
    Ok(())
}

/// Drafts of engines that were killed. A draft is written and placed within moments; what cannot be removed is litter.
pub fn clear_drafts(tmp: &Path) {
    const OLD: Duration = Duration::from_secs(600);
    /// What arrived of a blob is gone on with.
    const PARTIAL: Duration = Duration::from_secs(86_400);
    let drafts = fs::read_dir(tmp).into_iter().flatten().flatten();
    for draft in drafts {
        let changed = draft.metadata().and_then(|m| m.modified());
        let name = draft.file_name();
        let most = match objects::is_partial(&name.to_string_lossy()) {
            true => PARTIAL,
            false => OLD,
        };
        if changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > most)) {
            let path = draft.path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}
