//! What calls to services came to: made, answered from the journal, tried again, tokens, money, time. Plain sums, so that those of
//! several services, attempts or nodes add up.

use serde::{Deserialize, Serialize};

/// All zero where a node calls nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calls {
    /// Answers that were asked for and came.
    pub made: u64,
    /// Answers that were in the journal already.
    pub reused: u64,
    /// Tries beyond the first.
    pub retries: u64,
    /// Requests that the service would not answer.
    pub rejected: u64,
    /// Tokens of the requests, and those of them that the service had cached.
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    /// Tokens of the answers, reasoning included, and those of the reasoning where the service tells.
    pub completion_tokens: u64,
    pub reasoning_tokens: u64,
    /// Answers whose tokens were not told and are estimated.
    pub estimated: u64,
    /// What the answers that were made cost, at the prices of the recipe.
    pub dollars: f64,
    /// Time from request to answer, summed over answers; and the longest.
    pub seconds: f64,
    pub slowest_seconds: f64,
}

impl Calls {
    pub fn is_zero(&self) -> bool {
        *self == Calls::default()
    }

    pub fn add(&mut self, other: &Calls) {
        self.made += other.made;
        self.reused += other.reused;
        self.retries += other.retries;
        self.rejected += other.rejected;
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.estimated += other.estimated;
        self.dollars += other.dollars;
        self.seconds += other.seconds;
        self.slowest_seconds = self.slowest_seconds.max(other.slowest_seconds);
    }

    /// Adds those of a later attempt at the same: what it found in the journal and this one had put there counts once.
    pub fn follow(&mut self, later: &Calls) {
        let of_others = later.reused.saturating_sub(self.made);
        let reused = self.reused.max(of_others);
        self.add(later);
        self.reused = reused;
    }

    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Mean time from request to answer.
    pub fn latency(&self) -> Option<f64> {
        (self.made > 0).then(|| self.seconds / self.made as f64)
    }
}
