//! JSON lines: an object a line.

use crate::reader::Reader;
use crate::record::Record;
use crate::text::Text;
use crate::value::{self, Wrong};
use anyhow::{Result, anyhow};

/// The rows of JSON lines. Blank lines are none.
pub struct Lines {
    text: Text,
    line: Vec<u8>,
    row: u64,
}

impl Lines {
    pub fn new(text: Text) -> Lines {
        Lines {
            text,
            line: vec![],
            row: 0,
        }
    }
}

impl Reader for Lines {
    fn columns(&self) -> Option<&[String]> {
        None
    }

    fn next(&mut self) -> Result<Option<Record>> {
        self.row += 1;
        loop {
            self.text.begin_record();
            self.line.clear();
            let more = self.text.line(&mut self.line);
            if !more.map_err(|e| anyhow!("row {}: {e}", self.row))? {
                return Ok(None);
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            let read = value::object(self.line.trim_ascii_end());
            let read = read.map_err(|e| anyhow!("row {}: {}", self.row, told(&self.line, &e)));
            let (cells, twice) = read?;
            return Ok(Some(Record {
                row: self.row,
                cells,
                twice,
            }));
        }
    }
}

/// What is wrong with a line, and what to do about it.
fn told(line: &[u8], wrong: &Wrong) -> String {
    let start = line.trim_ascii_start().first();
    let column = wrong.column;
    match (start, wrong.ended) {
        (Some(b'['), _) => "an array, where every line of a .jsonl file is an object: a file that is one array is called .json, so \
                            rename it; a row without names has no columns"
            .into(),
        (Some(b'{'), true) => format!(
            "not a JSON object (column {column}): it does not end in its line, where every line of a .jsonl file is an object. Where \
             objects go over several lines rename the file to .json; else it was cut off"
        ),
        _ => format!("not a JSON object (column {column}): {}", wrong.what),
    }
}
