//! Which environment variables a node's worker may see besides the ordinary ones.

use crate::base::value::{Value, Values};
use std::collections::{BTreeMap, BTreeSet};

/// Secrets are named, not written: `key = { env = "NAME" }` or a parameter whose name ends in `_env`.
pub fn named_secrets(exec: &Values) -> BTreeMap<String, String> {
    let mut names = BTreeSet::new();
    for (param, value) in exec {
        name_secrets(param, value, &mut names);
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
