//! The kinds of nodes: the one place where the engine meets models and the world. A file a kind, and its name in `kinds!` of
//! its folder. (`cargo fmt` does not see files that a macro names: `.ci/run` hands every file to rustfmt.)

/// The modules of a folder's kinds, each in the file of its name, and `KINDS`, the list of them in this order.
macro_rules! kinds {
    ($($file:ident),+ $(,)?) => {
        $(pub mod $file;)+
        pub(crate) const KINDS: &[&engine::kind::Kind] = &[$(&$file::KIND),+];
    };
}

pub mod attacks;
pub mod command;
pub mod data;
pub mod evaluation;
pub mod models;
pub mod representations;
pub mod scorers;
pub mod shared;
pub mod training;
pub mod world;

use engine::kind::Registry;

/// Every kind, in the order `pipe kinds` lists them.
pub const REGISTRY: Registry = Registry(&[
    world::KINDS,
    models::KINDS,
    data::KINDS,
    training::KINDS,
    attacks::KINDS,
    evaluation::KINDS,
    representations::KINDS,
    &[&command::KIND],
]);
