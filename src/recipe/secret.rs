//! Strings that look like a secret. A recipe is shown, stored and shared, so one that holds a secret is refused, and the
//! secret is blanked in every line that is shown.

use crate::base::diag::{Diag, Diags, Place, Source};
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How keys of well-known services begin, and how long their rest is at least.
const PREFIXES: [(&str, usize); 5] = [
    ("sk-", 16),
    ("hf_", 16),
    ("AKIA", 12),
    ("ghp_", 16),
    ("AIza", 24),
];

/// The spans of all strings in the table that look like a secret.
pub fn find(table: &DeTable, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table.iter() {
        find_value(key.get_ref(), value, spans);
    }
}

/// The same in the value of one key.
pub fn find_value(key: &str, value: &Spanned<DeValue>, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::String(s) if looks_secret(key, s) => spans.push(value.span()),
        DeValue::Array(items) => items.iter().for_each(|i| find_value(key, i, spans)),
        DeValue::Table(table) => find(table, spans),
        _ => {}
    }
}

/// The text with the inside of these spans blanked, byte for byte, so that places stay right.
pub fn masked(text: &str, offset: usize, spans: &[Range<usize>]) -> String {
    let inside = |byte: usize| {
        spans
            .iter()
            .any(|s| (s.start + offset + 1..s.end + offset - 1).contains(&byte))
    };
    let mut out = String::new();
    for (i, c) in text.char_indices() {
        match c != '\n' && inside(i) {
            true => out.push_str(&"*".repeat(c.len_utf8())),
            false => out.push(c),
        }
    }
    out
}

pub fn report(source: &Arc<Source>, offset: usize, spans: &[Range<usize>], diags: &mut Diags) {
    for span in spans {
        let place = Place::new(source, span.start + offset..span.end + offset);
        let diag = Diag::at(&place, "this looks like a secret")
            .label("not shown here")
            .help("a recipe names the environment variable that holds a secret, never the secret");
        diags.push(diag);
    }
}

fn looks_secret(key: &str, value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let known = value.split_whitespace().any(|word| {
        PREFIXES.iter().any(|(prefix, rest)| {
            word.strip_prefix(prefix)
                .is_some_and(|tail| tail.len() >= *rest && tail.chars().all(plain))
        })
    });
    known || (names_a_secret(key) && looks_random(value))
}

fn names_a_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let words = || key.split(|c: char| !c.is_ascii_alphanumeric());
    // `key_env = "…"` names where a secret is.
    let elsewhere = ["env", "file", "path"];
    let secret = ["key", "token", "secret", "password"];
    words().any(|w| secret.iter().any(|s| w.ends_with(s)))
        && !words().any(|w| elsewhere.contains(&w))
}

/// Long, base64-like, with letters and digits mixed, and not in the capitals of an environment variable's name.
fn looks_random(value: &str) -> bool {
    value.len() >= 20
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+/=-_.".contains(c))
        && value.chars().any(|c| c.is_ascii_digit())
        && value.chars().any(|c| c.is_ascii_alphabetic())
        && value
            .chars()
            .any(|c| c.is_ascii_lowercase() || "+/=".contains(c))
}
