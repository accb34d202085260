//! What the journal keeps: an answer, and the key of its call.

use crate::protocol::canonical;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a call is: a blake3 over what is asked and the number of the sample, cut to 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey(pub [u8; 16]);

impl CallKey {
    /// `identity`: all that decides the answer, as the protocol tells it.
    pub fn of(api: &str, identity: &Value, sample: u32) -> CallKey {
        let text = format!("pipe call 1\n{api}\n{sample}\n{}", canonical(identity));
        let hash = blake3::hash(text.as_bytes());
        CallKey(hash.as_bytes()[..16].try_into().expect("16 of 32 bytes"))
    }

    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn from_hex(text: &[u8]) -> Option<CallKey> {
        let mut key = [0; 16];
        for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        (text.len() == 32).then_some(CallKey(key))
    }
}

impl std::fmt::Debug for CallKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

/// What is kept of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub api: String,
    pub sample: u32,
    /// What was asked; for people, and for whoever wants to check the key.
    pub asked: Value,
    pub answer: Value,
    /// What the service said it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    pub host: String,
    #[serde(default)]
    pub prompt_tokens: u64,
    #[serde(default)]
    pub completion_tokens: u64,
    /// At the prices of the recipe that paid for it.
    #[serde(default)]
    pub dollars: f64,
    /// From request to reply; tries before the last are not in it.
    pub seconds: f64,
    pub at_ms: u64,
    /// The node that asked first: its key, cut short.
    pub by: String,
}
