//! Which environment variables a node's worker may see besides the ordinary ones, and that their values are written nowhere.

use crate::plan::names_service;
use base::value::{Value, Values};
use std::collections::{BTreeMap, BTreeSet};
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

/// Secrets are named, not written: `key = { env = "NAME" }` or a parameter whose name ends in `_env`.
pub(crate) fn named_secrets(exec: &Values) -> BTreeMap<String, String> {
    let mut names = BTreeSet::new();
    for (param, value) in exec {
        name_secrets(param, value, &mut names);
    }
    if names_service(exec) {
        names.extend(PROXIES.map(String::from));
    }
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), value(&name)?)))
        .collect()
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
