//! The engine's reasons and moments in words. Knows no terminal.

use crate::engine::clock;
use crate::engine::plan::Reason;

/// A value longer than this is cut in a line of a plan.
const VALUE: usize = 48;

/// As in `lr 3e-5 -> 1e-4`; `whole` does not cut long values.
pub fn reason(reason: &Reason, whole: bool) -> String {
    let cut = |text: &str| if whole { text.into() } else { cut(text, VALUE) };
    match reason {
        Reason::NeverRun => "never run before".into(),
        Reason::Forced => "asked for".into(),
        Reason::Param { name, old, new } => match (old, new) {
            (Some(old), Some(new)) => format!("{name} {} -> {}", cut(old), cut(new)),
            (None, Some(new)) => format!("{name} absent -> {}", cut(new)),
            (Some(old), None) => format!("{name} {} -> absent", cut(old)),
            (None, None) => format!("{name} changed"),
        },
        Reason::Source { name } => format!("content of `{name}` changed"),
        Reason::Input { port, was, now } => match (was, now) {
            (None, _) => format!("input {port} was not connected"),
            (_, None) => format!("input {port} is not connected any more"),
            (Some(was), Some(now)) => {
                format!("input {port} {} -> {}", short(was), short(now))
            }
        },
        Reason::Revision { old, new } => format!("revision of the kind {old} -> {new}"),
        Reason::Kind { old, new } => format!("kind {old} -> {new}"),
        Reason::Output { name } => format!("output {name} of the kind changed"),
        Reason::Missing { what } => format!("damaged in the store: {}", what.join(", ")),
    }
}

/// All of them in one line.
pub fn reasons(reasons: &[Reason]) -> String {
    let words: Vec<String> = reasons.iter().map(|r| reason(r, false)).collect();
    words.join("; ")
}

/// `2026-01-31 23:59 UTC`.
pub fn moment(ms: u64) -> String {
    let stamp = clock::stamp(ms);
    let part = |from: usize, to: usize| stamp.get(from..to).unwrap_or("?").to_string();
    format!(
        "{}-{}-{} {}:{} UTC",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(9, 11),
        part(11, 13)
    )
}

/// The first characters of a text, with an ellipsis where something is left out.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{kept}…")
        }
        None => text.into(),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}
