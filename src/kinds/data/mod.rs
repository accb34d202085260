//! Kinds that bring in rows, choose among them and mix them.

pub mod completions_file;
pub mod dataset;
pub mod decontaminate;
pub mod dedup;
pub mod filter;
pub mod import;
pub mod labels;
pub mod likeness;
pub mod mix;
pub mod mix_sources;
pub mod pool;
pub mod preferences;
pub mod prompts_file;
pub mod removed;
pub mod table_file;
