//! Splits: prompts of two of them have nothing in common.

use serde::{Deserialize, Serialize};

/// Prompts of two splits share no text, no (verb, object) pair and no disguise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Base,
    Sft,
    Rl,
    Eval,
}

impl Split {
    pub const ALL: [Split; 4] = [Split::Base, Split::Sft, Split::Rl, Split::Eval];
    /// Shares of the (verb, object) pairs and of the disguises, in tenths.
    pub(super) const TENTHS: [usize; 4] = [4, 2, 2, 2];

    pub fn word(self) -> &'static str {
        match self {
            Split::Base => "base",
            Split::Sft => "sft",
            Split::Rl => "rl",
            Split::Eval => "eval",
        }
    }
}
