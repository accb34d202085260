//! The rows of a path, whatever its format: the one way in for the kinds.

use crate::MOST_COLUMNS;
use crate::files;
use crate::format::{Format, format};
use crate::json::{Json, Layout};
use crate::lines::Lines;
use crate::loose::Loose;
use crate::parquet::Parquet;
use crate::reader::Reader;
use crate::record::Record;
use crate::separated::Separated;
use crate::text::Text;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a reader knows beforehand.
#[derive(Clone, Copy, Default)]
pub struct How {
    /// Of JSON files.
    pub layout: Layout,
    /// Quotes of a TSV file count only where they make sense.
    pub loose: bool,
}

/// Opens a file. The error does not name it.
pub fn open(path: &Path, how: How) -> Result<Box<dyn Reader>> {
    let (format, packing) = format(path)?;
    if format == Format::Parquet {
        return Ok(Box::new(Parquet::open(path)?));
    }
    reader(format, Text::open(path, packing)?, how)
}

/// Reads a text that is open already.
pub fn reader(format: Format, text: Text, how: How) -> Result<Box<dyn Reader>> {
    Ok(match format {
        Format::Csv => Box::new(Separated::new(text, b',')?),
        Format::Tsv if how.loose => Box::new(Loose::new(text)?),
        Format::Tsv => Box::new(Separated::new(text, b'\t')?),
        Format::Jsonl => Box::new(Lines::new(text)),
        Format::Json => Box::new(Json::new(text, how.layout)),
        Format::Parquet => bail!("a Parquet file is no text"),
    })
}

/// The rows of some files, one after the other.
pub struct Rows {
    files: Vec<PathBuf>,
    how: How,
    /// The place of the file that is read, or is read next.
    at: usize,
    reader: Option<Box<dyn Reader>>,
    /// Of all files.
    read: u64,
}

impl Rows {
    /// The files of a path (`files::find`).
    pub fn of(path: &Path, split: Option<&str>, usual: Option<&str>, how: How) -> Result<Rows> {
        Ok(Rows::new(files::find(path, split, usual)?, how))
    }

    pub fn new(files: Vec<PathBuf>, how: How) -> Rows {
        Rows {
            files,
            how,
            at: 0,
            reader: None,
            read: 0,
        }
    }

    /// From the first row again.
    pub fn again(&self) -> Rows {
        Rows::new(self.files.clone(), self.how)
    }

    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The file of the row that came last.
    pub fn file(&self) -> &Path {
        &self.files[self.at.min(self.files.len() - 1)]
    }

    /// The place of that file among the files.
    pub fn index(&self) -> usize {
        self.at
    }

    /// How many rows came.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The columns of all rows, in the order in which they first come. JSON has no header, so that its files are read through.
    pub fn columns(&self) -> Result<Vec<String>> {
        let mut columns = vec![];
        for path in &self.files {
            let read = || read_columns(path, self.how);
            for name in read().with_context(|| failed(path))? {
                if !columns.contains(&name) {
                    columns.push(name);
                }
            }
        }
        Ok(columns)
    }

    /// Whether the file of the row that came last has texts only: what is no text was written as one.
    pub fn texts_only(&self) -> bool {
        let format = format(self.file()).map(|(format, _)| format);
        matches!(format, Ok(Format::Csv | Format::Tsv))
    }

    /// Where the row that came last stands, as an error begins.
    pub fn place(&self, record: &Record) -> String {
        format!("{} row {}", self.file().display(), record.row)
    }
}

impl Iterator for Rows {
    type Item = Result<Record>;

    /// Ends after an error.
    fn next(&mut self) -> Option<Result<Record>> {
        loop {
            let path = self.files.get(self.at)?;
            let mut next = || -> Result<Option<Record>> {
                if self.reader.is_none() {
                    self.reader = Some(open(path, self.how)?);
                }
                let reader = self.reader.as_mut();
                reader.expect("it was opened above").next()
            };
            match next().with_context(|| failed(path)) {
                Ok(Some(record)) => {
                    self.read += 1;
                    return Some(Ok(record));
                }
                Ok(None) => {
                    self.reader = None;
                    self.at += 1;
                }
                Err(error) => {
                    self.reader = None;
                    self.at = self.files.len();
                    return Some(Err(error));
                }
            }
        }
    }
}

fn failed(path: &Path) -> String {
    format!("failed to read {}", path.display())
}

fn read_columns(path: &Path, how: How) -> Result<Vec<String>> {
    let mut reader = open(path, how)?;
    if let Some(columns) = reader.columns() {
        return Ok(columns.to_vec());
    }
    let (mut columns, mut known) = (vec![], BTreeSet::new());
    while let Some(record) = reader.next()? {
        for name in record.names().filter(|n| !known.contains(*n)) {
            columns.push(name.to_string());
        }
        known.extend(columns[known.len()..].iter().cloned());
        ensure!(
            columns.len() <= MOST_COLUMNS,
            "row {}: more than {MOST_COLUMNS} different keys",
            record.row
        );
    }
    ensure!(!columns.is_empty(), "the file is empty");
    Ok(columns)
}
