//! Kinds that bring in rows, choose among them and mix them.

kinds! { dataset, prompts_file, completions_file, import, filter, pool, dedup, decontaminate, mix, mix_sources, preferences }

pub mod labels;
pub mod likeness;
pub mod removed;
pub(crate) mod table_file;
