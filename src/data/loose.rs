//! TSV whose quotes may be anything: a quoted field if that makes a row of the right length, else a character. For sets that are known to
//! be so; elsewhere a quote has to be closed (`separated`).

use crate::reader::{Reader, twice};
use crate::record::Record;
use crate::separated::{columns, record};
use crate::text::Text;
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::VecDeque;

/// A quoted field that goes on for longer than this is none.
const MOST_QUOTED: usize = 1 << 18;

pub(crate) struct Loose {
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
