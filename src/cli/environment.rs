//! The environment: the one place where it is read.

use std::collections::BTreeMap;

/// What a variable says; nothing where it is empty.
#[allow(clippy::disallowed_methods)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Those of the environment whose names begin so.
pub fn variables(prefixes: &[&str]) -> BTreeMap<String, String> {
    let named = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let wanted = prefixes.iter().any(|prefix| name.starts_with(prefix));
        Some((name, value.into_string().ok()?)).filter(|(_, value)| wanted && !value.is_empty())
    });
    named.collect()
}
