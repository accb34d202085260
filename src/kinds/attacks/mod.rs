//! Kinds that attack: prompts go in, test cases of the same behaviours come out (`shared::cases`). Whether an attack succeeds is not
//! theirs to say: `generate` and `evaluate` judge its prompts as they judge any other.

kinds! { gcg, autodan, augment, pap, pair, rainbow }

mod ending;
pub mod letters;
mod part;
pub mod quotes;
pub mod ratings;
mod saved;
mod searches;
