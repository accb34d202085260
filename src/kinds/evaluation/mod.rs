//! Kinds that sample answers and measure them.

pub mod agreement;
pub mod evaluate;
pub mod generate;
pub mod lengths;
pub mod probe;
