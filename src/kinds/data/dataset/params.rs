//! The parameters of the kind `dataset`.

use crate::shared::bounds;
use base::params;
use base::params::{ParamValue, Ty};
use base::value::Value;
use data::schema::{self, NAMES, Schema};
use std::path::PathBuf;

/// A schema, as a word in a recipe.
#[derive(Clone, Copy)]
pub struct Set(pub &'static Schema);

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

impl ParamValue for Set {
    fn ty() -> Ty {
        Ty::Choice(&NAMES)
    }
    fn read(value: Option<&Value>) -> Result<Set, String> {
        let word = match value {
            Some(Value::Str(word)) => schema::find(word),
            _ => None,
        };
        let expected = || format!("expected {}", Set::ty().describe());
        word.map(Set).ok_or_else(expected)
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Str(self.0.name.to_string()))
    }
}

params! {
    pub struct Params {
        /// Which set it is: what its columns mean. `pipe kinds dataset.NAME` shows each.
        schema: Set;
        /// A file (`.csv`, `.tsv`, `.jsonl`, `.json`, the same with `.gz` or `.zst`, `.parquet`), or a folder of them as on the
        /// hub, whose shards are read in name order.
        path: PathBuf;
        /// Of a folder: which files, by their name (without the number of a shard), their folder, a word of either, or a
        /// pattern with `*`. It is part of ids that are row numbers, and says what the rows are where they do not
        /// (`or-bench`, `jailbreakbench`), also of a single file. Absent: the schema's usual one, or the only one there is.
        split: Option<String> = None;
        /// How prompts are composed, or which part of a set is taken, where the schema leaves a choice; absent: its first.
        form: Option<String> = None;
        /// For `harmbench-cases`: HarmBench's file of behaviours, which the cases get their category and labels from.
        behaviors: Option<PathBuf> = None;
        /// Keep the first so many rows only.
        limit: Option<usize> = None, in bounds::TAKEN;
    }
}
