//! Names of the files of an artifact folder, and rows written to them and read from them.

use anyhow::{Context, Result, ensure};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

pub const ROWS: &str = "rows.jsonl";
pub const METRICS: &str = "metrics.json";
pub const VALUES: &str = "values.jsonl";
/// Beside the `rows.jsonl` of completions those that were asked for and left out, as rows without a response; there, if empty, where a
/// recipe says that what is not answered is left out.
pub const DROPPED: &str = "dropped.jsonl";
/// Hidden states of the prompts in `rows.jsonl`: a tensor [prompts, hidden] a layer, called `layer.N`.
pub const STATES: &str = "states.safetensors";
/// Test cases as HarmBench merges them: `{"BehaviorID": ["a whole user message", …]}`.
pub const CASES: &str = "test_cases.json";

/// Writes rows as JSONL into `folder/rows.jsonl`.
pub fn write_rows<T: Serialize>(folder: &Path, rows: &[T]) -> Result<()> {
    write_lines(&folder.join(ROWS), rows)
}

/// Writes `folder/rows.jsonl` row by row, for who does not hold them all.
pub struct RowWriter {
    path: PathBuf,
    file: BufWriter<File>,
    rows: usize,
    bytes: u64,
}

impl RowWriter {
    pub fn create(folder: &Path) -> Result<RowWriter> {
        let path = folder.join(ROWS);
        let file = File::create(&path);
        let file = file.with_context(|| format!("failed to create {}", path.display()))?;
        Ok(RowWriter {
            path,
            file: BufWriter::new(file),
            rows: 0,
            bytes: 0,
        })
    }

    pub fn push<T: Serialize>(&mut self, row: &T) -> Result<()> {
        let line = serde_json::to_string(row)? + "\n";
        self.rows += 1;
        self.bytes += line.len() as u64;
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| format!("failed to write {}", self.path.display()))
    }

    /// Where in the file the next row begins.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many rows there are.
    pub fn finish(mut self) -> Result<usize> {
        let written = self.file.flush();
        written.with_context(|| format!("failed to write {}", self.path.display()))?;
        Ok(self.rows)
    }
}

/// Writes rows as JSONL into this file.
pub fn write_lines<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut text = String::new();
    for row in rows {
        writeln!(text, "{}", serde_json::to_string(row)?)?;
    }
    std::fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

/// Reads `folder/rows.jsonl`; an error names the line.
pub fn read_rows<T: DeserializeOwned>(folder: &Path) -> Result<Vec<T>> {
    read_lines(&folder.join(ROWS))
}

/// Reads the rows of a file; an error names the line.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    parse_lines(&text).with_context(|| path.display().to_string())
}

/// The same from the bytes of a file.
pub fn parse_lines<T: DeserializeOwned>(text: &[u8]) -> Result<Vec<T>> {
    let text = std::str::from_utf8(text).context("it is not UTF-8")?;
    let mut rows = vec![];
    for (i, line) in text.lines().enumerate() {
        rows.push(serde_json::from_str(line).with_context(|| format!("line {}", i + 1))?);
    }
    ensure!(!rows.is_empty(), "it has no rows");
    Ok(rows)
}
