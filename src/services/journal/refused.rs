//! Answers that whoever asked for them found not to be what was asked for. The journal forgets nothing, so a refusal is an entry of its
//! own, by the key of the call whose answer it is about, and goes where the answer goes: to every node, every later run and every store
//! that is given the journal's answers.

use super::entry::{CallKey, Entry};
use serde_json::{Value, json};

/// What such an entry has for the api of a service.
pub const API: &str = "refused";

/// Of the entry that refuses the answer to a call.
pub fn key(call: &CallKey) -> CallKey {
    CallKey::of(API, &asked(call), 0)
}

/// `by` refuses what `host` answered.
pub fn entry(call: &CallKey, host: String, by: &str, at_ms: u64) -> Entry {
    Entry {
        api: API.into(),
        sample: 0,
        asked: asked(call),
        answer: Value::Null,
        served: None,
        host,
        prompt_tokens: 0,
        completion_tokens: 0,
        dollars: 0.0,
        seconds: 0.0,
        at_ms,
        by: by.into(),
    }
}

fn asked(call: &CallKey) -> Value {
    json!({ "call": call.hex() })
}
