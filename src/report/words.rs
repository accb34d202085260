//! Sentences for what the engine says as data: reasons, verdicts, states.

use crate::base::text::{dollars, duration, listed};
use crate::engine::keep::vouch::Vouched;
use crate::engine::verdict::Reason;

/// One reason, as in "runs: …".
pub fn reason(reason: &Reason) -> String {
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
    match reason {
        Reason::NeverRun => "never run".into(),
        Reason::Forced => "forced by --fresh".into(),
        Reason::Param { name, old, new } => {
            format!("parameter `{name}`: {} -> {}", side(old), side(new))
        }
        Reason::Source { name } => format!("the content of `{name}` changed"),
        Reason::Input {
            port, was: None, ..
        } => format!("input `{port}` is new"),
        Reason::Input {
            port, now: None, ..
        } => format!("input `{port}` is gone"),
        Reason::Input { port, .. } => format!("input `{port}` changed"),
        Reason::Revision { old, new } => format!("the kind's revision: {old} -> {new}"),
        Reason::Kind { old, new } => format!("the node's kind: {old} -> {new}"),
        Reason::Output { name } => format!("the kind's output `{name}` changed"),
        Reason::Evicted => "its bytes were removed to make room, and are needed".into(),
        Reason::Missing { what } => {
            format!(
                "its artifact is gone or damaged: {}",
                listed(what.iter().map(String::as_str))
            )
        }
    }
}

/// The same with all that is known of it.
pub fn reason_in_full(reason: &Reason) -> String {
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    match reason {
        Reason::Input {
            was: Some(was),
            now: Some(now),
            ..
        } => format!("{}: {} -> {}", self::reason(reason), short(was), short(now)),
        other => self::reason(other),
    }
}

/// That nobody executed a record, and why that is right: `accepted: only the log changed`.
pub fn vouched(vouched: &Vouched) -> String {
    format!("{}: {}", vouched.how, vouched.reason)
}

/// All reasons on one line.
pub fn reasons(reasons: &[Reason]) -> String {
    reasons.iter().map(reason).collect::<Vec<_>>().join("; ")
}

/// The same for a node that goes on: it is no surprise that it never ended.
pub fn resumed(all: &[Reason]) -> String {
    let others: Vec<Reason> = all
        .iter()
        .filter(|r| **r != Reason::NeverRun)
        .cloned()
        .collect();
    match others.is_empty() {
        true => "an attempt did not end".into(),
        false => format!("{}; an attempt did not end", reasons(&others)),
    }
}

/// `hit`, `run`, `resume 73 %`, `maybe`, as a plan shows them.
pub fn verdict(word: &str, fraction: Option<f64>) -> String {
    match fraction {
        Some(f) => format!("{} {:.0} %", word.to_uppercase(), f * 100.0),
        None => word.to_uppercase(),
    }
}

/// A duration, with the money that goes with it, if any.
pub fn cost(seconds: f64, paid: f64) -> String {
    match paid > 0.0 {
        true => format!("{}, {}", duration(seconds), dollars(paid)),
        false => duration(seconds),
    }
}
