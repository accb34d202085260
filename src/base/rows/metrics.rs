//! What was measured, and the values behind it.

use super::files::{METRICS, VALUES, write_lines};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A named value with its sample size and 95 % interval, and the file of per-sample values behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub value: f64,
    pub n: usize,
    /// 95 % interval; absent where none can be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// `share`, `words`, `tokens`, `nats`, …; decides how a table prints it.
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub metrics: Vec<Metric>,
}

/// What was measured on one prompt, or on all prompts of one behaviour: a row of `values.jsonl`. A metric is the mean of its
/// values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The prompt's, or the behaviour's.
    pub id: String,
    /// `CompletedPrompt::fingerprint`; of several prompts, a hash of theirs.
    pub fingerprint: String,
    /// By metric; of several samples of the prompt, their mean.
    pub values: BTreeMap<String, f64>,
}

/// Writes `folder/values.jsonl`.
pub fn write_values(folder: &Path, rows: &[Measured]) -> Result<()> {
    write_lines(&folder.join(VALUES), rows)
}

pub fn write_metrics(folder: &Path, metrics: Vec<Metric>) -> Result<()> {
    let path = folder.join(METRICS);
    let text = serde_json::to_string_pretty(&Metrics { metrics })? + "\n";
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
}
