//! Kinds that attack: prompts go in, test cases of the same behaviours come out (`shared::cases`). Whether an attack succeeds is not
//! theirs to say: `generate` and `evaluate` judge its prompts as they judge any other.

kinds! {}
