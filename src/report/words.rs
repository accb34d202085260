//! Sentences for what the engine says as data: reasons, verdicts, states.

use base::calls::Calls;
use base::text::{bytes, count, dollars, duration, listed, thousands, tokens};
use engine::graph::changes::Reason;
use engine::plan::CallsTotal;
use engine::plan::estimate::{Basis, CallsEstimate};
use engine::plan::overrides::Override;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// One reason, as in "runs: …".
pub fn reason(reason: &Reason) -> String {
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
    match reason {
        Reason::NeverRun => "never run".into(),
        Reason::Forced => "forced by --fresh".into(),
        Reason::Param { name, old, new } => match entries(name, old, new) {
            Some(changed) => format!("parameter {changed}"),
            None => format!("parameter `{name}`: {} -> {}", side(old), side(new)),
        },
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
        Reason::NeverHere => {
            "it was made elsewhere, and its bytes, which are needed, cannot be brought".into()
        }
        Reason::Missing { what } => {
            format!(
                "its artifact is gone or damaged: {}",
                listed(what.iter().map(String::as_str))
            )
        }
    }
}

/// Of two tables, only the entries that differ: `` `values.lr`: 0.1 -> 0.2 ``.
fn entries(name: &str, old: &Option<String>, new: &Option<String>) -> Option<String> {
    let table = |text: &Option<String>| -> Option<Map<String, Value>> {
        serde_json::from_str(text.as_deref()?).ok()
    };
    let (old, new) = (table(old)?, table(new)?);
    let side = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|n| old.get(*n) != new.get(*n));
    let changed = changed.map(|n| {
        let (was, is) = (side(old.get(n)), side(new.get(n)));
        format!("`{name}.{n}`: {was} -> {is}")
    });
    let changed: Vec<String> = changed.collect();
    (!changed.is_empty()).then(|| changed.join(", "))
}

/// A cost with all that is known of it.
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
pub fn vouched(vouched: &Override) -> String {
    format!("{}: {}", vouched.how, vouched.reason)
}

/// All reasons on one line.
pub fn reasons(reasons: &[Reason]) -> String {
    reasons.iter().map(reason).collect::<Vec<_>>().join("; ")
}

/// The reasons of a node that goes on: it is no surprise that it never ended.
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

/// What calls came to: `1,600 calls and 400 from the journal, 12 retries, 3 rejected, 4.1 M tokens, $3.20; 1.2 s each, 14 s at most`.
/// Nothing where there were none.
pub fn calls(calls: &Calls) -> Option<String> {
    if calls.is_zero() {
        return None;
    }
    let mut parts = vec![answers(calls.made, calls.reused)];
    let counted = [
        (calls.retries, "retry", "retries"),
        (calls.rejected, "rejected", "rejected"),
    ];
    for (n, one, many) in counted.into_iter().filter(|(n, ..)| *n > 0) {
        parts.push(count(n, one, many));
    }
    parts.extend(spent(calls.tokens(), calls.dollars));
    let mut out = parts.join(", ");
    if let Some(latency) = calls.latency() {
        let slowest = duration(calls.slowest_seconds);
        out += &format!("; {} each, {slowest} at most", duration(latency));
    }
    Some(out)
}

/// What the journal of calls holds.
pub fn answers_kept(answers: u64, size: u64) -> String {
    let answers = count(answers, "answer", "answers");
    format!("answers of services are kept: {answers}, {}\n", bytes(size))
}

/// Calls in short, as one side of a comparison: `1,600 calls, 4.1 M tokens, $3.20`.
pub fn calls_made(calls: &Calls) -> String {
    let mut parts = vec![answers(calls.made, calls.reused)];
    parts.extend(spent(calls.tokens(), calls.dollars));
    parts.join(", ")
}

fn answers(made: u64, reused: u64) -> String {
    let made = count(made, "call", "calls");
    match reused {
        0 => made,
        n => format!("{made} and {} from the journal", thousands(n)),
    }
}

fn spent(n: u64, paid: f64) -> Vec<String> {
    let mut parts = vec![];
    if n > 0 {
        parts.push(tokens(n));
    }
    if paid > 0.0 {
        parts.push(dollars(paid));
    }
    parts
}

/// What a node is expected to ask: `up to 1,600 calls, 4.1 M tokens, $3.20; 400 more are in the journal`.
pub fn expected_calls(calls: &CallsEstimate) -> String {
    let until = match (&calls.problem, calls.after.as_slice()) {
        (Some(problem), _) => format!("cannot be told: {problem}"),
        (None, after) => {
            let are = if after.len() == 1 { "is" } else { "are" };
            let names = listed(after.iter().map(String::as_str));
            format!("unknown until {names} {are} made")
        }
    };
    match calls.by {
        Basis::Unknown | Basis::Formula | Basis::OfTheKind => format!("calls {until}"),
        Basis::Measured => {
            let before = Calls {
                made: calls.make,
                reused: calls.in_journal,
                prompt_tokens: calls.tokens,
                dollars: calls.dollars,
                ..Calls::default()
            };
            format!("calls {until}; before, {}", calls_made(&before))
        }
        Basis::Counted => at_most(calls.make, calls.in_journal, calls.tokens, calls.dollars),
    }
}

fn at_most(make: u64, in_journal: u64, n: u64, paid: f64) -> String {
    if make == 0 {
        let answers = count(in_journal, "answer is", "answers are");
        return format!("no calls, {answers} in the journal");
    }
    let mut parts = vec![format!("up to {}", count(make, "call", "calls"))];
    parts.extend(spent(n, paid));
    let more = match in_journal {
        0 => String::new(),
        1 => "; 1 more is in the journal".into(),
        n => format!("; {} more are in the journal", thousands(n)),
    };
    parts.join(", ") + &more
}

/// The calls of a whole plan in words; nothing where nobody asks.
pub fn expected_sum(sum: &CallsTotal) -> Option<String> {
    if *sum == CallsTotal::default() {
        return None;
    }
    let mut parts = vec![];
    if sum.make + sum.in_journal > 0 {
        parts.push(at_most(sum.make, sum.in_journal, sum.tokens, sum.dollars));
    }
    if sum.as_before > 0 {
        let nodes = count(sum.as_before as u64, "node", "nodes");
        parts.push(format!("{nodes} of it by what came before"));
    }
    if sum.unknown > 0 {
        let nodes = count(sum.unknown as u64, "node", "nodes");
        parts.push(format!("calls of {nodes} unknown yet"));
    }
    Some(parts.join("; "))
}

/// Where a node is that is executed elsewhere: `job 4711 of lab on n2`, `job 4711 of lab waits (Priority)`.
pub fn place(on: &str, job: Option<&str>, host: Option<&str>, word: &str) -> String {
    let job = job.map_or_else(|| "a job".into(), |job| format!("job {job}"));
    match (host, word) {
        (Some(host), _) => format!("{job} of {on} on {host}"),
        (None, "") => format!("{job} of {on} waits"),
        (None, word) => format!("{job} of {on} waits ({word})"),
    }
}
