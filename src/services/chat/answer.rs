//! What a service answered.

use serde::{Deserialize, Serialize};

/// One answer, as it was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What came apart from the content; absent where nothing did. Think tags in the content are left there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// As the server sent it.
    pub content: String,
    /// `stop`, `length`, `content_filter`, or whatever else the server says.
    pub stop: String,
    /// A refusal that the service told apart from the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// It holds a call of a tool.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub called: bool,
    /// Of this answer; of several in one reply, their mean. Estimated where the server does not count them.
    pub tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logps: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
}
