mod learn_golden;
mod text;
//! The one integration test binary.

mod world;
