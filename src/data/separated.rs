//! CSV and TSV. Newlines inside quoted fields, CRLF, doubled quotes and a missing last newline are fine; an empty cell is an empty
//! text. A quote that is never closed, and anything behind a closing one, is an error: it would swallow rows.

use crate::MOST_COLUMNS;
use crate::reader::{Reader, twice};
use crate::record::Record;
use crate::text::Text;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Map, Value};
use std::io::{self, BufRead};

pub(crate) struct Separated {
    cells: Cells,
    columns: Vec<String>,
    twice: Vec<String>,
    row: u64,
}

impl Separated {
    pub fn new(text: Text, delimiter: u8) -> Result<Separated> {
        let mut cells = Cells::new(text, delimiter);
        let header = cells.next(&[]).context("the header row")?;
        let columns = columns(header.unwrap_or_default().iter().map(String::as_str))?;
        Ok(Separated {
            cells,
            twice: twice(&columns),
            columns,
            row: 0,
        })
    }
}

impl Reader for Separated {
    fn columns(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn next(&mut self) -> Result<Option<Record>> {
        self.row += 1;
        let cells = self.cells.next(&self.columns);
        let cells = cells.map_err(|e| anyhow!("row {}: {e:#}", self.row))?;
        let Some(cells) = cells else {
            return Ok(None);
        };
        ensure!(
            cells.len() == self.columns.len(),
            "row {}: {} fields where the header has {} (line {}; is a quote or a comma missing?)",
            self.row,
            cells.len(),
            self.columns.len(),
            self.cells.begun
        );
        if let Some(at) = swallowed(&cells, self.cells.delimiter) {
            bail!(
                "row {}: `{}` holds the rows that follow: a quote is opened that does not belong (line {}), and one in a later row closes \
                 it; a quote inside of quotes is written twice",
                self.row,
                self.columns[at],
                self.cells.begun
            );
        }
        let cells = cells.iter().map(String::as_str);
        Ok(Some(record(self.row, &self.columns, &self.twice, cells)))
    }
}

/// The cells of a table, a row at a time. A quote opens a cell only at its beginning, and what it opens has to be closed, with nothing
/// behind it; a quote in a cell that none opened is a character.
struct Cells {
    text: Text,
    delimiter: u8,
    /// The line that is read, and that in which the row began, from 1.
    line: u64,
    begun: u64,
}

/// Where the reader stands in a row.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// Before the first byte of a cell.
    Start,
    Plain,
    /// Behind an opening quote, with its line.
    Quoted(u64),
    /// Behind a quote that closed the cell, or is the first of two.
    Closed(u64),
}

impl Cells {
    fn new(text: Text, delimiter: u8) -> Cells {
        Cells {
            text,
            delimiter,
            line: 1,
            begun: 1,
        }
    }

    /// The cells of the next row that is not blank. `names` are the columns', for messages.
    fn next(&mut self, names: &[String]) -> Result<Option<Vec<String>>> {
        let (mut cells, mut cell, mut at) = (vec![], vec![], At::Start);
        self.text.begin_record();
        self.begun = self.line;
        loop {
            let byte = self.byte();
            let byte = byte.map_err(|e| self.wrong(at, &e.to_string()))?;
            if let At::Quoted(line) = at {
                match byte {
                    Some(b'"') => at = At::Closed(line),
                    Some(byte) => cell.push(byte),
                    None => bail!(
                        "a quote is opened and never closed (line {line}{})",
                        named(names, cells.len())
                    ),
                }
                continue;
            }
            match byte {
                Some(b'"') if at == At::Start => at = At::Quoted(self.line),
                Some(byte) if byte == self.delimiter => {
                    cells.push(self.whole(&mut cell, at)?);
                    at = At::Start;
                }
                None | Some(b'\n' | b'\r') => {
                    let blank = cells.is_empty() && at == At::Start;
                    if byte == Some(b'\r') {
                        self.over_newline()?;
                    }
                    if !blank {
                        cells.push(self.whole(&mut cell, at)?);
                        return Ok(Some(cells));
                    }
                    if byte.is_none() {
                        return Ok(None);
                    }
                    self.text.begin_record();
                    self.begun = self.line;
                }
                Some(b'"') if let At::Closed(line) = at => {
                    cell.push(b'"');
                    at = At::Quoted(line);
                }
                Some(byte) if let At::Closed(line) = at => {
                    let escaped = if cell.ends_with(b"\\") {
                        ", not as `\\\"`"
                    } else {
                        ""
                    };
                    let shown = match byte.is_ascii_graphic() {
                        true => format!(", beginning with `{}`", char::from(byte)),
                        false => String::new(),
                    };
                    bail!(
                        "something follows a closing quote{shown} (line {}; the quote was opened in line {line}{}); a quote inside of \
                         quotes is written twice{escaped}",
                        self.line,
                        named(names, cells.len())
                    );
                }
                Some(byte) => {
                    cell.push(byte);
                    at = At::Plain;
                }
            }
        }
    }

    /// A cell that ends, as text.
    fn whole(&self, cell: &mut Vec<u8>, at: At) -> Result<String> {
        let text = String::from_utf8(std::mem::take(cell))?;
        if at == At::Plain && text.contains('"') {
            let line = self.begun;
            let shown: String = text.chars().take(40).collect();
            ensure!(
                !text.contains("\\\""),
                "a quote with a backslash before it (line {line}: {shown}); the cell has to stand in quotes, and a quote inside of them is \
                 written twice"
            );
            let trimmed = text.trim();
            ensure!(
                trimmed.len() < 2 || !(trimmed.starts_with('"') && trimmed.ends_with('"')),
                "a blank stands before a quote (line {line}: {shown}); a cell that is quoted begins with its quote"
            );
        }
        Ok(text)
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let Some(byte) = self.text.fill_buf()?.first().copied() else {
            return Ok(None);
        };
        self.text.consume(1);
        self.line += u64::from(byte == b'\n');
        Ok(Some(byte))
    }

    /// Behind a carriage return, which ends a line alone as well.
    fn over_newline(&mut self) -> Result<()> {
        if let Some(b'\n') = self.text.fill_buf()?.first() {
            self.text.consume(1);
        }
        self.line += 1;
        Ok(())
    }

    fn wrong(&self, at: At, error: &str) -> anyhow::Error {
        match at {
            At::Quoted(line) | At::Closed(line) => {
                anyhow!("{error} (a quote was opened in line {line})")
            }
            _ => anyhow!("{error}"),
        }
    }
}

/// The cell, if any, whose further lines are the rows that follow: each begins with the next number of the row's own id. Two quotes
/// that do not belong together have made one cell of them, with nothing wrong in its form.
fn swallowed(cells: &[String], delimiter: u8) -> Option<usize> {
    let id = cells.first()?;
    let stem = id.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &id[stem.len()..];
    let (number, width) = (digits.parse::<u32>().ok()?, digits.len());
    let next = |line: &str, after: u64| {
        let number = u64::from(number) + after;
        line.starts_with(&format!("{stem}{number:0width$}{}", char::from(delimiter)))
    };
    cells.iter().position(|cell| {
        let mut further = cell.lines().zip(0..).skip(1).peekable();
        further.peek().is_some() && further.all(|(line, after)| next(line, after))
    })
}

/// Of the cell that comes next.
fn named(names: &[String], at: usize) -> String {
    names
        .get(at)
        .map_or(String::new(), |name| format!(", `{name}`"))
}

/// The names of a header.
pub fn columns<'a>(header: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let columns: Vec<String> = header.map(String::from).collect();
    let blank = columns.iter().all(|c| c.trim().is_empty());
    ensure!(columns.len() > 1 || !blank, "the file is empty");
    ensure!(
        columns.len() <= MOST_COLUMNS,
        "more than {MOST_COLUMNS} columns"
    );
    Ok(columns)
}

/// Of two columns of one name the first; nobody may ask for it.
pub fn record<'a>(
    row: u64,
    columns: &[String],
    twice: &[String],
    cells: impl Iterator<Item = &'a str>,
) -> Record {
    let mut map = Map::with_capacity(columns.len());
    for (name, cell) in columns.iter().zip(cells) {
        map.entry(name.as_str())
            .or_insert_with(|| Value::String(cell.to_string()));
    }
    Record {
        row,
        cells: map,
        twice: twice.to_vec(),
    }
}
