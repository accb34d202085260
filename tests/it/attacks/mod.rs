//! Kinds that attack, and what they have in common.

mod augment;
mod autodan;
mod cases;
mod gcg;
mod pair;
mod pap;
mod rainbow;
mod world;
