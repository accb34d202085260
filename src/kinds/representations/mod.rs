//! Kinds that look into a model: the hidden states of prompts, and how two kinds of prompts lie in them.

kinds! { states, separation }
