//! What schedulers share: how long they are waited for, where an attempt's folder is on the machines there, scripts, and errors of programs.

use crate::run::profile::Profile;
use crate::system::programs::Said;
use anyhow::{Context, Result, anyhow};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// A folder of an attempt as it is called where the store lies at `store`: here and there it has the same place in the store.
pub(super) fn there(folder: &Path, store: &Path) -> PathBuf {
    let parts: Vec<Component> = folder.components().collect();
    let attempts = parts
        .iter()
        .rposition(|part| part.as_os_str() == "attempts");
    match attempts {
        Some(from) => store.join(parts[from..].iter().collect::<PathBuf>()),
        None => folder.to_path_buf(),
    }
}

/// Writes a script into a folder, for its owner alone.
pub(super) fn write_script(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o700);
    let written = options
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}

/// An error with what a program complained of.
pub(super) fn failed(name: &str, said: &Said) -> anyhow::Error {
    anyhow!("`{name}`: {}", said.told())
}

/// How long a question may take: none is worth waiting for when the next one would be due again and again.
pub(super) fn patience(profile: &Profile) -> Duration {
    Duration::from_secs_f64((3.0 * profile.ask_seconds).clamp(2.0, 30.0))
}
