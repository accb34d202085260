//! How a try at a request goes wrong, and what follows: tried again, given up for this request, given up for all.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The service asks for patience: 429, or 503 with a time. `after`: what its `Retry-After` says.
    Busy {
        after: Option<Duration>,
        told: String,
    },
    /// It may go better next time: no connection, a reset, a timeout, a truncated or senseless reply, 408, 5xx.
    Passing(String),
    /// This request will never be answered: 400, 413, 422. Others may.
    Rejected { status: u16, told: String },
    /// No request will be answered: the key (401, 403), the account (402), the address or the model (404), the certificate.
    Denied(String),
}

/// What OpenAI's 429 says where waiting does not help (platform.openai.com/docs/guides/error-codes).
const NO_MONEY: [&str; 3] = [
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
];

impl Fault {
    /// The fault that a status other than success is. `code`: what the body's error calls itself.
    pub fn of_status(status: u16, after: Option<Duration>, code: &str, told: String) -> Fault {
        match status {
            429 if NO_MONEY.contains(&code) => Fault::Denied(told),
            429 => Fault::Busy { after, told },
            503 if after.is_some() => Fault::Busy { after, told },
            501 | 505 => Fault::Denied(told),
            // 409: a conflict, which OpenAI's own client tries again; 425: too early; 529: overloaded.
            408 | 409 | 425 | 500..=599 => Fault::Passing(told),
            401..=407 | 410 | 426 | 451 => Fault::Denied(told),
            300..=399 => Fault::Denied(format!("{told}; redirections are not followed")),
            _ => Fault::Rejected { status, told },
        }
    }

    pub fn told(&self) -> &str {
        match self {
            Fault::Busy { told, .. } | Fault::Rejected { told, .. } => told,
            Fault::Passing(told) | Fault::Denied(told) => told,
        }
    }
}

/// A request that the service would not answer: `status` and what it said.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    pub status: u16,
    pub told: String,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.told)
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
            Stopped::Unreachable(told) | Stopped::Denied(told) | Stopped::Budget(told) => {
                f.write_str(told)
            }
            Stopped::Journal(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for Stopped {}
