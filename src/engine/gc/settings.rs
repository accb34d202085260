//! What a store is told once: `settings.toml` in it.

use crate::store::Store;
use crate::system::files;
use anyhow::{Context, Result, anyhow};
use base::text::parse_bytes;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::PathBuf;

const FILE: &str = "settings.toml";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Bytes that the store may hold; a run that ends above collects.
    pub cap: Option<u64>,
    /// The store that others share, as whoever knows remotes reads it.
    pub remote: Option<toml::Table>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cap: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remote: Option<toml::Table>,
}

pub fn path(store: &Store) -> PathBuf {
    store.root().join(FILE)
}

pub fn read(store: &Store) -> Result<Settings> {
    let path = path(store);
    let shown = || format!("reading {}", path.display());
    let text = match fs::read_to_string(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
        other => other.with_context(shown)?,
    };
    let text: Text = toml::from_str(&text).with_context(shown)?;
    let cap = text.cap.map(|cap| {
        parse_bytes(&cap).ok_or_else(|| anyhow!("`cap` is a size as \"200GB\", not {cap:?}"))
    });
    Ok(Settings {
        cap: cap.transpose().with_context(shown)?,
        remote: text.remote,
    })
}

pub fn write(store: &Store, settings: &Settings) -> Result<()> {
    let path = path(store);
    let shown = || format!("writing {}", path.display());
    let text = Text {
        cap: settings.cap.map(|cap| format!("{cap}B")),
        remote: settings.remote.clone(),
    };
    let text = toml::to_string(&text).with_context(shown)?;
    files::put(&store.tmp(), &path, text.as_bytes()).with_context(shown)
}
