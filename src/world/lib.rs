//! The built-in world: a small exact universe in which a whole post-training study runs in minutes. Pure: it reads and
//! writes nothing, and knows nothing of models, nodes or recipes.
//!
//! Verbs have effects, persons belong to guilds, and a table decides which *combination* is harmful (`rule`). A request asks for a
//! verb on an object for somebody (`ask`), who is named, or to be found by lookups one after the other (`chain`): harm depends on
//! them, help does not. How many there are is the dial by which reasoning pays. Requests come plainly or in disguise
//! (`disguise`), which an attacker puts on and changes (`attack`); the right answer is a procedure of three words that follow from the facts (`answer`). `corpus` writes the
//! helpful-only text of the base model, `teacher` writes reasoning, `judge` scores answers against the truth a prompt carries,
//! `vocab` is the word-level tokenizer of all of it.
//!
//! Nothing here is a benchmark: the words are English, the facts are dealt by the seed.

pub mod answer;
pub mod ask;
pub mod attack;
pub mod claims;
pub mod corpus;
pub mod forms;
pub mod judge;
pub mod rule;
pub mod teacher;
pub mod vocab;
pub mod words;

mod alias;
mod chain;
mod deal;
mod disguise;
mod split;

pub use ask::{FORM, LOOKUPS};
pub use attack::Guise;
pub use chain::MOST_LOOKUPS;
pub use corpus::CorpusSpec;
pub use forms::{Form, Forms};
pub use rule::World;
pub use split::Split;
pub use teacher::{Style, TeacherSpec};
