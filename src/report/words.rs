//! Sentences for what the engine says as data: reasons, verdicts, states.

use crate::base::text::{duration, listed};
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
        Reason::Missing { what } => {
            format!(
                "its artifact is gone or damaged: {}",
                listed(what.iter().map(String::as_str))
            )
        }
    }
}

/// All reasons on one line.
pub fn reasons(reasons: &[Reason]) -> String {
    reasons.iter().map(reason).collect::<Vec<_>>().join("; ")
}

/// `hit`, `run`, `resume 73 %`, `maybe`, as a plan shows them.
pub fn verdict(word: &str, fraction: Option<f64>) -> String {
    match fraction {
        Some(f) => format!("{} {:.0} %", word.to_uppercase(), f * 100.0),
        None => word.to_uppercase(),
    }
}

/// A duration, or nothing where it is not known.
pub fn maybe_duration(seconds: Option<f64>) -> String {
    seconds.map(duration).unwrap_or_default()
}
