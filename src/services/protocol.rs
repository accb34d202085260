//! What the client has to know of a wire format: the identity of what is asked, the body of a request, how a reply is read.
//! A new service is a type with this trait.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Tokens of a request and of its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub prompt: u64,
    /// Of the prompt: answered from the service's own cache.
    pub cached: u64,
    pub completion: u64,
    /// Of the completion.
    pub reasoning: u64,
    /// The service did not tell, and these are estimates.
    pub estimated: bool,
}

/// A reply to a request, read.
pub struct Reply<A> {
    /// One for each ask of the request, in their order; none where the reply holds none for it: it is asked for again.
    pub answers: Vec<Option<A>>,
    /// What the service says it is; aliases move.
    pub served: Option<String>,
    /// Of the whole request; absent where the service does not tell.
    pub usage: Option<Usage>,
}

pub trait Protocol {
    type Ask;
    type Answer: Clone + Serialize + DeserializeOwned;

    /// The first word of a call's identity.
    fn api(&self) -> &'static str;

    /// Path below the endpoint's URL; empty: the URL itself.
    fn path(&self) -> &'static str;

    /// All that decides the answer, but for the sample's number; nothing of who serves it and how.
    fn identity(&self, ask: &Self::Ask) -> Value;

    /// Which of the samples of one request this is.
    fn sample(&self, _: &Self::Ask) -> u32 {
        0
    }

    /// How many asks a request may hold at most.
    fn most(&self) -> usize {
        1
    }

    /// Whether the second ask may follow the first in one request.
    fn together(&self, _: &Self::Ask, _: &Self::Ask) -> bool {
        false
    }

    /// The body of a request for these.
    fn body(&self, asks: &[&Self::Ask]) -> Value;

    /// Reads the body of a reply with status 200. An error says what is wrong with it; the request is then tried again.
    fn read(&self, asks: &[&Self::Ask], body: &Value) -> Result<Reply<Self::Answer>, String>;

    /// What a reply says that it cost, whether or not it can be read.
    fn usage(&self, _: &Value) -> Option<Usage> {
        None
    }

    /// Tokens at most: those of the prompt by its length, those of the answer by its limit.
    fn bound(&self, asks: &[&Self::Ask]) -> Usage;

    /// Tokens that are likely: those of the prompt as texts have them, those of the answer by its limit.
    fn expected(&self, asks: &[&Self::Ask]) -> Usage {
        self.bound(asks)
    }
}

/// JSON with the members of every object in the order of their names: equal values are equal text.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (i, (name, item)) in members.into_iter().enumerate() {
                text.push_str(if i > 0 { "," } else { "" });
                text.push_str(&json!(name).to_string());
                text.push(':');
                write_canonical(item, text);
            }
            text.push('}');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Tokens of a text whose tokenizer is not known: one for every three bytes and one more, which is above what tokenizers of
/// today's models make of English (about four bytes each).
pub fn estimate(text: &str) -> u64 {
    text.len() as u64 / 3 + 1
}

/// An upper bound of the tokens in a text: no token of a byte-level tokenizer is shorter than a byte.
pub fn at_most(text: &str) -> u64 {
    text.len() as u64
}
