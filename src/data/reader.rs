//! What a reader of one file is.

use crate::record::Record;
use anyhow::Result;

/// The names that several of these columns have.
pub fn twice(columns: &[String]) -> Vec<String> {
    let mut twice: Vec<String> = vec![];
    for (at, name) in columns.iter().enumerate() {
        if columns[..at].contains(name) && !twice.contains(name) {
            twice.push(name.clone());
        }
    }
    twice
}

/// A reader of one file.
pub trait Reader {
    /// Where the file has a header or a schema.
    fn columns(&self) -> Option<&[String]>;
    /// An error names the row.
    fn next(&mut self) -> Result<Option<Record>>;
}
