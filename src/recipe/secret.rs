//! Strings that look like a secret. A recipe is shown, stored and shared, so one that holds a secret is refused, and the
//! secret is blanked in every line that is shown.

use base::diag::{Diag, Diags, Place, Source};
use std::borrow::Cow;
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

/// No shorter string is one.
const SHORTEST: usize = 16;

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

/// The text with the inside of these spans blanked, byte for byte, so that places stay right. Sorts the spans.
pub fn masked<'t>(text: &'t str, offset: usize, spans: &mut [Range<usize>]) -> Cow<'t, str> {
    if spans.is_empty() {
        return text.into();
    }
    spans.sort_by_key(|span| span.start);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        // A bare word of the command line has no quotes, so these may be the middle of a character.
        let from = text.ceil_char_boundary(span.start + offset + 1);
        let to = text.floor_char_boundary(span.end + offset - 1);
        out.push_str(&text[done..from]);
        for c in text[from..to].chars() {
            match c {
                '\n' => out.push('\n'),
                c => out.extend(std::iter::repeat_n('*', c.len_utf8())),
            }
        }
        done = to;
    }
    out.push_str(&text[done..]);
    out.into()
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
    if value.len() < SHORTEST {
        return false;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let known = value.split_whitespace().any(|word| {
        PREFIXES.iter().any(|(prefix, rest)| {
            word.strip_prefix(prefix)
                .is_some_and(|tail| tail.len() >= *rest && tail.chars().all(plain))
        })
    });
    known || (looks_random(value) && names_a_secret(key))
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
