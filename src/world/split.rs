//! Splits: all words are in each of them, and none of what a study combines of them is in two.

/// Prompts of two splits share no text, no (verb, object) pair, no chain that has a lookup, no role, and no alias with what it stands
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    Base,
    Sft,
    Rl,
    Eval,
}

/// How many tenths of what is dealt each split gets, in the order of `Split::ALL`.
pub(super) type Tenths = [usize; 4];

impl Split {
    pub const ALL: [Split; 4] = [Split::Base, Split::Sft, Split::Rl, Split::Eval];
    /// Of pairs, chains and roles.
    pub(super) const TENTHS: Tenths = [4, 2, 2, 2];
    /// Of what an alias may stand for. The base sees most: that an alias stands for anything is learned from many of them.
    pub(super) const BINDINGS: Tenths = [7, 1, 1, 1];

    pub fn word(self) -> &'static str {
        match self {
            Split::Base => "base",
            Split::Sft => "sft",
            Split::Rl => "rl",
            Split::Eval => "eval",
        }
    }
}
