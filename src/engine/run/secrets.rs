//! Which environment variables a node's worker may see besides the ordinary ones, and that their values are written nowhere.

use crate::plan::names_service;
use anyhow::{Context, Result, ensure};
use base::bounded;
use base::value::{Value, Values};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How one gets out of here, for nodes that name a URL. They may hold a password.
const PROXIES: [&str; 8] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "no_proxy",
];

/// Larger than any file of secrets.
const MOST: u64 = 1 << 20;

/// Shorter values are no secrets, and would blank half of what is said.
const SHORTEST: usize = 6;

/// The text without the values of secrets in it.
pub fn redact(text: &str, secrets: &BTreeMap<String, String>) -> String {
    let mut text = text.to_string();
    for (name, value) in secrets {
        let value = value.trim();
        let plain = name.to_lowercase() == "no_proxy" || value.len() < SHORTEST;
        if !plain && text.contains(value) {
            text = text.replace(value, &format!("[{name}]"));
        }
    }
    text
}

/// Takes secrets out of the files of a folder that a worker may have written words of others to.
pub(crate) fn redact_files(folder: &Path, secrets: &BTreeMap<String, String>) {
    if secrets.is_empty() {
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        let clean = redact(&text, secrets);
        // Where it cannot be written again, better no log than one with a secret.
        if clean != text && std::fs::write(&path, clean).is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Variables that a node names and that are not set, each once.
pub fn missing(exec: &Values) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (param, value) in exec {
        name_secrets(param, value, &mut names);
    }
    names.retain(|name| value(name).is_none_or(|v| v.trim().is_empty()));
    names
}

/// Secrets are named, not written: `key = { env = "NAME" }` or a parameter whose name ends in `_env`. With their values here.
pub(crate) fn named_secrets(exec: &Values) -> BTreeMap<String, String> {
    let names = names(exec).into_iter();
    names
        .filter_map(|name| Some((name.clone(), value(&name)?)))
        .collect()
}

/// All that a node may see.
pub(super) fn names(exec: &Values) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (param, value) in exec {
        name_secrets(param, value, &mut names);
    }
    if names_service(exec) {
        names.extend(PROXIES.map(String::from));
    }
    names
}

/// The file of secrets, if it is also to be seen here: what every job would find out is said before there is one.
pub fn check_file(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(known) => check_private(path, &known),
        Err(_) => Ok(()),
    }
}

fn check_private(path: &Path, known: &Metadata) -> Result<()> {
    ensure!(
        known.mode() & 0o077 == 0,
        "others may read the file of secrets: chmod 600 {}",
        path.display()
    );
    Ok(())
}

/// Those of these names that a file of `NAME=VALUE` lines has, which nobody else may read.
pub(super) fn in_file(path: &Path, names: &BTreeSet<String>) -> Result<BTreeMap<String, String>> {
    let shown = || format!("the file of secrets, {}", path.display());
    check_private(path, &std::fs::metadata(path).with_context(shown)?)?;
    let text = bounded::read_text(path, MOST).with_context(shown)?;
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    let pairs = pairs.map(|(name, value)| {
        let name = name.trim().trim_start_matches("export ").trim();
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        (name.to_string(), bare.unwrap_or(value).to_string())
    });
    Ok(pairs.filter(|(name, _)| names.contains(name)).collect())
}

/// What the named secret is here; only a node that names it learns it.
#[allow(clippy::disallowed_methods)]
fn value(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn name_secrets(under: &str, value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Str(name) if under == "env" || under.ends_with("_env") => {
            names.insert(name.clone());
        }
        Value::List(items) => items.iter().for_each(|v| name_secrets(under, v, names)),
        Value::Table(map) => map.iter().for_each(|(k, v)| name_secrets(k, v, names)),
        _ => {}
    }
}
