//! Files of a folder as messages: written whole under another name, then renamed.

use anyhow::{Context, Result};
use base::bounded;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Larger than any message.
const MOST: u64 = 16 << 20;
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(4);

pub(super) fn question(number: usize) -> String {
    format!("question-{number}.json")
}

pub(super) fn reply(number: usize) -> String {
    format!("reply-{number}.json")
}

pub(super) fn say(folder: &Path, name: &str, what: &impl Serialize) -> Result<()> {
    let draft = folder.join(format!("{name}.new"));
    let written = fs::write(&draft, serde_json::to_vec(what)?);
    let renamed = written.and_then(|()| fs::rename(&draft, folder.join(name)));
    renamed.with_context(|| format!("writing in {}", folder.display()))
}

/// The message of that name, once it is there. `still` is asked again and again, with the time that was waited; its error ends the
/// waiting.
pub(super) fn wait<T: DeserializeOwned>(folder: &Path, name: &str, still: Still) -> Result<T> {
    let since = Instant::now();
    let path = folder.join(name);
    loop {
        // Some file systems remember that a name was not there until the folder is read.
        let _ = fs::read_dir(folder).map(Iterator::count);
        match bounded::read(&path, MOST) {
            Ok(bytes) if !bytes.is_empty() => {
                return serde_json::from_slice(&bytes)
                    .with_context(|| format!("reading {}", path.display()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        }
        still(since.elapsed())?;
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether it is worth waiting on, after so long.
pub type Still<'a> = &'a dyn Fn(Duration) -> Result<()>;
