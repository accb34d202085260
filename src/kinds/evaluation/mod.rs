//! Kinds that sample answers and measure them.

kinds! { probe, generate, evaluate, agreement, lengths }
