//! Finds where a JSON value ends, without understanding it and without holding the file.

use crate::text::Text;
use anyhow::{Result, ensure};
use std::io::BufRead;

/// An object that is read whole to see whether another one follows.
const SHORT: usize = 16 << 20;

/// Walks over JSON without understanding it.
pub(crate) struct Scan {
    /// Read already, comes before the text.
    early: Vec<u8>,
    at: usize,
    text: Text,
}

impl Scan {
    pub fn new(text: Text) -> Scan {
        Scan {
            early: vec![],
            at: 0,
            text,
        }
    }

    /// What is read from here on counts as a record's (`Text::begin_record`).
    pub fn begin_record(&mut self) {
        self.text.begin_record();
    }

    fn buffer(&mut self) -> Result<&[u8]> {
        if self.at < self.early.len() {
            return Ok(&self.early[self.at..]);
        }
        Ok(self.text.fill_buf()?)
    }

    fn consume(&mut self, amount: usize) {
        if self.at < self.early.len() {
            self.at += amount;
            return;
        }
        self.text.consume(amount);
    }

    /// The next byte that is no blank; it stays.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            let buffer = self.buffer()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let blank = buffer.iter().position(|b| !b.is_ascii_whitespace());
            let (skip, found) = match blank {
                Some(at) => (at, Some(buffer[at])),
                None => (buffer.len(), None),
            };
            self.consume(skip);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Over the byte that `peek` gave.
    pub fn skip(&mut self) {
        self.consume(1);
    }

    /// Appends the value that comes next.
    pub fn value(&mut self, out: &mut Vec<u8>) -> Result<()> {
        ensure!(
            self.peek()?.is_some(),
            "the file ends where a value was expected"
        );
        self.rest(0, out)
    }

    /// Appends what is left of a value that is open so many brackets deep.
    pub fn rest(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut end = End::at(depth);
        loop {
            let buffer = self.buffer()?;
            if buffer.is_empty() {
                ensure!(end.may_end(), "the file ends inside a value");
                return Ok(());
            }
            let (took, ended) = match end.find(buffer) {
                Some(at) => (at, true),
                None => (buffer.len(), false),
            };
            out.extend_from_slice(&buffer[..took]);
            self.consume(took);
            if ended {
                return Ok(());
            }
        }
    }

    /// Whether another object follows the one that begins here. Nothing is lost.
    pub fn another_follows(&mut self) -> Result<bool> {
        let mut early = vec![];
        let mut end = End::at(0);
        let mut whole = false;
        while !whole && early.len() < SHORT {
            let buffer = self.buffer()?;
            if buffer.is_empty() {
                break;
            }
            let found = end.find(buffer);
            let took = found.unwrap_or(buffer.len());
            early.extend_from_slice(&buffer[..took]);
            self.consume(took);
            whole = found.is_some();
        }
        let follows = whole && self.peek()? == Some(b'{');
        (self.early, self.at) = (early, 0);
        Ok(follows)
    }
}

/// Finds where a value ends.
struct End {
    depth: usize,
    string: bool,
    escaped: bool,
    begun: bool,
}

impl End {
    fn at(depth: usize) -> End {
        End {
            depth,
            string: false,
            escaped: false,
            begun: depth > 0,
        }
    }

    /// A number needs nothing after it.
    fn may_end(&self) -> bool {
        self.begun && self.depth == 0 && !self.string
    }

    /// How many of these bytes belong to the value, where it ends among them.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.string = false;
                        if self.depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.string = true,
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' if self.depth == 0 => return Some(at),
                b']' | b'}' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                b',' | b':' if self.depth == 0 => return Some(at),
                b if b.is_ascii_whitespace() && self.depth == 0 && self.begun => return Some(at),
                _ => {}
            }
            self.begun = true;
        }
        None
    }
}
