//! CSV and TSV. Newlines inside quoted fields, CRLF, doubled quotes and a missing last newline are fine; an empty cell is an empty
//! text. `Loose` is TSV whose quotes may be anything: a quoted field if that makes a row of the right length, else a character.

use crate::data::MOST_COLUMNS;
use crate::data::read::{Reader, twice};
use crate::data::record::Record;
use crate::data::text::Text;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::io::{self, BufRead};

pub struct Separated {
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
        match self.text.fill_buf()?.first() {
            Some(b'\n') => self.text.consume(1),
            _ => {}
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

/// Of the cell that comes next.
fn named(names: &[String], at: usize) -> String {
    names
        .get(at)
        .map_or(String::new(), |name| format!(", `{name}`"))
}

/// The names of a header.
fn columns<'a>(header: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
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
fn record<'a>(
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

/// A quoted field that goes on for longer than this is none.
const MOST_QUOTED: usize = 1 << 18;

pub struct Loose {
    text: Text,
    /// Lines that were read ahead, with their ends.
    ahead: VecDeque<String>,
    columns: Vec<String>,
    twice: Vec<String>,
    row: u64,
}

impl Loose {
    pub fn new(text: Text) -> Result<Loose> {
        let mut loose = Loose {
            text,
            ahead: VecDeque::new(),
            columns: vec![],
            twice: vec![],
            row: 0,
        };
        let header = loose.fields(None).context("the header row")?;
        loose.columns = columns(header.unwrap_or_default().iter().map(String::as_str))?;
        loose.twice = twice(&loose.columns);
        Ok(loose)
    }

    /// The line at this place from here; nothing where the file ends before.
    fn line(&mut self, place: usize) -> Result<Option<&str>> {
        while self.ahead.len() <= place {
            let mut line = vec![];
            if !self.text.line(&mut line)? {
                return Ok(None);
            }
            self.ahead.push_back(String::from_utf8(line)?);
        }
        Ok(self.ahead.get(place).map(String::as_str))
    }

    /// The next row that is not blank, with so many fields where that is known.
    fn fields(&mut self, wanted: Option<usize>) -> Result<Option<Vec<String>>> {
        self.text.begin_record();
        while self
            .line(0)?
            .is_some_and(|line| without_end(line).is_empty())
        {
            self.ahead.pop_front();
            self.text.begin_record();
        }
        let Some(first) = self.line(0)? else {
            return Ok(None);
        };
        let plain: Vec<String> = without_end(first).split('\t').map(String::from).collect();
        let fits = |fields: &[String]| wanted.is_none_or(|wanted| wanted == fields.len());
        if first.contains('"')
            && let Some((fields, lines)) = self.quoted()?
            && fits(&fields)
        {
            self.ahead.drain(..lines);
            return Ok(Some(fields));
        }
        self.ahead.pop_front();
        ensure!(
            fits(&plain),
            "{} fields where the header has {} (is a tab or a quote missing?)",
            plain.len(),
            wanted.unwrap_or(0)
        );
        Ok(Some(plain))
    }

    /// The fields if quotes mean what they do in CSV, and over how many lines they go; nothing if they cannot.
    fn quoted(&mut self) -> Result<Option<(Vec<String>, usize)>> {
        let mut quoted = Quoted::default();
        let (mut lines, mut length) = (0, 0);
        loop {
            let Some(line) = self.line(lines)? else {
                return Ok(None);
            };
            lines += 1;
            length += line.len();
            match quoted.feed(line) {
                Fed::Whole => return Ok(Some((quoted.fields, lines))),
                Fed::Broken => return Ok(None),
                Fed::Open if length > MOST_QUOTED => return Ok(None),
                Fed::Open => {}
            }
        }
    }
}

impl Reader for Loose {
    fn columns(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn next(&mut self) -> Result<Option<Record>> {
        self.row += 1;
        let wanted = Some(self.columns.len());
        let fields = self
            .fields(wanted)
            .map_err(|e| anyhow!("row {}: {e:#}", self.row))?;
        let record = |fields: Vec<String>| {
            let cells = fields.iter().map(String::as_str);
            record(self.row, &self.columns, &self.twice, cells)
        };
        Ok(fields.map(record))
    }
}

fn without_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// A row as far as it was read.
#[derive(Default)]
struct Quoted {
    fields: Vec<String>,
    /// A quoted field that no quote has ended yet.
    open: Option<String>,
}

enum Fed {
    Whole,
    Open,
    Broken,
}

impl Quoted {
    /// A line with its end.
    fn feed(&mut self, line: &str) -> Fed {
        let mut rest = line;
        loop {
            if let Some(open) = &mut self.open {
                let Some(at) = rest.find('"') else {
                    open.push_str(rest);
                    return Fed::Open;
                };
                open.push_str(&rest[..at]);
                rest = &rest[at + 1..];
                if let Some(after) = rest.strip_prefix('"') {
                    open.push('"');
                    rest = after;
                    continue;
                }
                self.fields.extend(self.open.take());
                match rest.strip_prefix('\t') {
                    Some(after) => rest = after,
                    None if without_end(rest).is_empty() => return Fed::Whole,
                    None => return Fed::Broken,
                }
            }
            if let Some(after) = rest.strip_prefix('"') {
                self.open = Some(String::new());
                rest = after;
                continue;
            }
            match rest.split_once('\t') {
                Some((field, after)) => {
                    self.fields.push(field.to_string());
                    rest = after;
                }
                None => {
                    self.fields.push(without_end(rest).to_string());
                    return Fed::Whole;
                }
            }
        }
    }
}
