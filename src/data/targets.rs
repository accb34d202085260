//! Texts by id in one JSON object, as HarmBench ships what responses are to begin with: `{"BehaviorID": "text", …}`.

use crate::describe::describe;
use crate::value;
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::bounded;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// No such file comes near, in bytes.
const MOST: u64 = 64 << 20;

/// The texts of a file. An error names it.
pub fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let shown = || format!("failed to read {}", path.display());
    let bytes = bounded::read(path, MOST).with_context(shown)?;
    parse(&bytes).with_context(shown)
}

/// Errors: no object of texts; an id that is there twice; none at all.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let read = value::object(bytes);
    let (object, twice) =
        read.map_err(|e| anyhow!("it is no object of texts by id, {{\"id\": \"text\"}}: {e}"))?;
    if let Some(id) = twice.first() {
        bail!("the id `{id}` is there twice");
    }
    ensure!(!object.is_empty(), "it has no text");
    let texts = object.into_iter().map(|(id, value)| match value {
        Value::String(text) => Ok((id, text)),
        other => bail!("`{id}` is no text but {}", describe(&other)),
    });
    texts.collect()
}
