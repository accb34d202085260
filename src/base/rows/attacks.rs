//! What attacks leave besides prompts: the log of a search, and archives.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What an attack tried once, and what came of it: a step of a search, or one rewriting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackStep {
    /// `<prompt id>/<stream>/<step>`.
    pub id: String,
    /// Of the prompt that is attacked.
    pub prompt_id: String,
    /// Which of several searches beside each other for the same prompt (restarts, conversations, techniques), from 0.
    pub stream: u32,
    /// From 0.
    pub step: u32,
    /// The string as it is then: a suffix, a prefix or the whole message; empty where nothing came of the step.
    pub text: String,
    /// The case that it became, counted as in the rows of `prompts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<u32>,
    /// What the search makes small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// What it makes large: a judge's rating, a fitness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Questions to models in this step, candidates that were evaluated included, …
    pub queries: u64,
    /// … and the tokens that went through them, given and new, where they are counted.
    pub tokens: u64,
    /// Whether the string comes back whole where the prompt that is sent is encoded anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives: Option<bool>,
    /// Why the search ended with this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What went wrong in it, as `unreadable reply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of the node: with the id it is what the step's draws hang on.
    pub seed: u64,
}

impl AttackStep {
    /// A step of which nothing is known yet.
    pub fn new(prompt_id: &str, stream: u32, step: u32, seed: u64) -> AttackStep {
        AttackStep {
            id: format!("{prompt_id}/{stream}/{step}"),
            prompt_id: prompt_id.into(),
            stream,
            step,
            seed,
            ..AttackStep::default()
        }
    }
}

/// A cell of an archive of rainbow teaming in the form in which TARS released them: a file is an array of risks, each an array of styles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArchiveCell {
    /// Empty where the cell is.
    pub prompt: String,
    /// What a judge gave the answer to it, in [0, 1].
    #[serde(default)]
    pub score: f64,
}

/// An archive, read. Errors: another shape than rows of the same length, none of them empty.
pub fn archive(text: &[u8]) -> Result<Vec<Vec<ArchiveCell>>> {
    let rows: Vec<Vec<ArchiveCell>> =
        serde_json::from_slice(text).context("no array of arrays of `prompt` and `score`")?;
    let width = rows.first().map_or(0, Vec::len);
    ensure!(width > 0, "it has no cell");
    for (i, row) in rows.iter().enumerate() {
        let found = row.len();
        ensure!(
            found == width,
            "row {i} has {found} cells, and row 0 has {width}"
        );
    }
    Ok(rows)
}
