//! Data of somebody else's: CSV, TSV, JSONL, JSON and Parquet files, read one record at a time, and what the columns of public
//! sets mean (`schema/`). Knows no nodes; what becomes of the rows is the business of the kinds.
//!
//! Nothing is held whole: memory is bounded by the largest record, whatever the size of a file. Every error names the file and
//! the row, counted in records from 1, a header not counted.

pub mod cell;
pub mod describe;
pub mod files;
pub mod format;
pub mod json;
pub mod lines;
pub mod loose;
pub mod message;
pub mod parquet;
pub mod read;
pub mod reader;
pub mod record;
mod scan;
pub mod schema;
pub mod seen;
pub mod separated;
pub mod synonyms;
pub mod targets;
pub mod text;
pub mod value;

/// The largest record, in bytes of text, and how many columns a file may have.
pub(crate) const MOST_RECORD: u64 = 64 << 20;
pub(crate) const MOST_COLUMNS: usize = 1000;
