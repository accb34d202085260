//! How a try at a request goes wrong, and what follows: tried again, given up for this request, given up for all.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The service asks for patience: 429, or 503 with a time. `after`: what its `Retry-After` says.
    Busy {
        after: Option<Duration>,
        reason: String,
    },
    /// It may go better next time: no connection, a reset, a timeout, a truncated reply, 408, 5xx. `gone`: nobody is there to
    /// answer anything (no connection, 502 to 504, 529), whatever is asked.
    Passing { reason: String, gone: bool },
    /// A reply with status 200 that cannot be read. The service is there; it may be what was asked.
    Senseless(String),
    /// This request will never be answered: 400, 403, 413, 422, 451. Others may; where none ever was, none will be. `policy`:
    /// the service says that it is for what the request holds.
    Rejected {
        status: u16,
        reason: String,
        policy: bool,
    },
    /// No request will be answered: the key (401), the account (402), the address or the model (404), the certificate. `status` is
    /// 0 where there was no reply.
    Denied { status: u16, reason: String },
}

/// What OpenAI's 429 says where waiting does not help (platform.openai.com/docs/guides/error-codes).
const NO_MONEY: [&str; 3] = [
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
];

impl Fault {
    /// The fault that a status other than success is. `code`: what the body's error calls itself; `text`: the whole of it.
    pub(crate) fn of_status(
        status: u16,
        after: Option<Duration>,
        (code, text): (&str, &str),
        reason: String,
    ) -> Fault {
        match status {
            429 if NO_MONEY.contains(&code) => Fault::Denied { status, reason },
            429 => Fault::Busy { after, reason },
            503 if after.is_some() => Fault::Busy { after, reason },
            501 | 505 => Fault::Denied { status, reason },
            // 529: overloaded.
            502..=504 | 529 => Fault::Passing { reason, gone: true },
            // 409: a conflict, which OpenAI's own client tries again; 425: too early.
            408 | 409 | 425 | 500..=599 => Fault::Passing {
                reason,
                gone: false,
            },
            300..=399 => Fault::Denied {
                status,
                reason: format!("{reason}; redirections are not followed"),
            },
            401 | 402 | 404..=407 | 410 | 426 => Fault::Denied { status, reason },
            400 | 403 if !of_content(text) && of_key(text) => Fault::Denied { status, reason },
            // Providers refuse what a prompt holds with these, and 403 is also how some refuse a key: what it was shows in what
            // becomes of the others.
            400 | 403 | 422 | 451 => Fault::Rejected {
                status,
                reason,
                policy: status == 451 || of_content(text),
            },
            _ => Fault::Rejected {
                status,
                reason,
                policy: false,
            },
        }
    }

    /// One that may pass, with somebody there.
    pub fn passing(reason: impl Into<String>) -> Fault {
        Fault::Passing {
            reason: reason.into(),
            gone: false,
        }
    }
}

/// How providers say, in a code or in words, that they refuse a request for what it holds: OpenAI and Azure, xAI, OpenRouter, Google,
/// DeepSeek, Alibaba, Zhipu, Moonshot.
const OF_CONTENT: [&str; 23] = [
    "content_filter",
    "content filter",
    "contentfilter",
    "responsibleaipolicyviolation",
    "content_policy",
    "content policy",
    "contentpolicy",
    "content management policy",
    "content violates",
    "content blocked",
    "content_blocked",
    "usage guidelines",
    "usage policies",
    "usage policy",
    "safety system",
    "safety_check",
    "prohibited_content",
    "flagged",
    "was filtered",
    "data_inspection_failed",
    "inappropriate content",
    "content exists risk",
    "considered high risk",
];

/// Whether an error says that it is for what the request holds.
pub(crate) fn of_content(text: &str) -> bool {
    let text = text.to_lowercase();
    OF_CONTENT.iter().any(|word| text.contains(word))
}

/// Whether an error says that it is for the key or its account. Narrow: an error may repeat the prompt, and some prompts are of keys.
fn of_key(text: &str) -> bool {
    let text = text.to_lowercase();
    let phrases = [
        "invalid_api_key",
        "api_key_invalid",
        "api key not valid",
        "invalid api key",
        "incorrect api key",
        "api key expired",
        // OpenRouter's 403, Anthropic's and Alibaba's 400.
        "key limit exceeded",
        "credit balance is too low",
        "arrearage",
    ];
    phrases.iter().any(|word| text.contains(word))
}

/// A request that the service would not answer, and what it said. `status`: 0 where it gave none in all tries, 200 where none of
/// its replies could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    pub status: u16,
    pub reason: String,
    /// It is for what the request holds, as the service says.
    pub policy: bool,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Why the calls did not all come to an end.
#[derive(Debug)]
pub enum Stopped {
    /// It was asked to stop.
    Asked,
    /// The service did not answer, however often it was asked. Another time it may.
    Unreachable(String),
    /// It will not answer.
    Denied(String),
    /// The next request might cost more than is left.
    Budget(String),
    /// Answers could not be kept: the disk is full, the journal not writable.
    Journal(anyhow::Error),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stopped::Asked => f.write_str("asked to stop"),
            Stopped::Unreachable(reason) | Stopped::Denied(reason) | Stopped::Budget(reason) => {
                f.write_str(reason)
            }
            Stopped::Journal(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for Stopped {}
