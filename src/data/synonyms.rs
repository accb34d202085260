//! Words and what may stand in their place, in one JSON object: `{"word": ["other", …], …}`.

use crate::describe::describe;
use crate::value;
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::bounded;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// No such file comes near, in bytes.
const MOST: u64 = 256 << 20;

/// The table of a file. An error names it.
pub fn read(path: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let shown = || format!("failed to read {}", path.display());
    let bytes = bounded::read(path, MOST).with_context(shown)?;
    parse(&bytes).with_context(shown)
}

/// Errors: no object of arrays of words; a word that is there twice; an empty word; none at all.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Vec<String>>> {
    let read = value::object(bytes);
    let (object, twice) = read
        .map_err(|e| anyhow!("it is no object of synonyms, {{\"word\": [\"other\", …]}}: {e}"))?;
    if let Some(word) = twice.first() {
        bail!("the word `{word}` is there twice");
    }
    ensure!(!object.is_empty(), "it has no word");
    let table = object.into_iter().map(|(word, others)| {
        let of = || format!("synonyms of `{word}`");
        ensure!(!word.trim().is_empty(), "a word has nothing in it");
        let Value::Array(others) = others else {
            bail!("{} are no array but {}", of(), describe(&others));
        };
        let others = others.into_iter().map(|other| match other {
            Value::String(other) if !other.trim().is_empty() => Ok(other),
            other => bail!("{}: one is no word but {}", of(), describe(&other)),
        });
        let others = others.collect::<Result<_>>()?;
        Ok((word, others))
    });
    table.collect()
}
