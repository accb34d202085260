//! The bytes of a file as text: unpacked where they are packed, without a byte order mark, checked to be UTF-8 without NUL as they pass,
//! and bounded by the record. Knows no format.

use crate::MOST_RECORD;
use base::{bounded, text};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;

const BUFFER: usize = 64 << 10;

/// How a file is packed, by its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A file's text. A reader says `begin_record` before each of them.
pub struct Text {
    inner: Box<dyn Read>,
    buffer: Vec<u8>,
    /// What was given on, what is known to be text, what was read.
    start: usize,
    valid: usize,
    filled: usize,
    /// Where the buffer begins in the file.
    offset: u64,
    /// What the record may still take.
    left: u64,
}

impl Text {
    pub fn open(path: &Path, packing: Packing) -> io::Result<Text> {
        bounded::special(path)?;
        let file = File::open(path)?;
        Ok(Text::new(match packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
        }))
    }

    pub fn new(inner: Box<dyn Read>) -> Text {
        Text {
            inner,
            buffer: vec![0; BUFFER],
            start: 0,
            valid: 0,
            filled: 0,
            offset: 0,
            left: MOST_RECORD,
        }
    }

    pub(crate) fn begin_record(&mut self) {
        self.left = MOST_RECORD;
    }

    /// Appends up to and with the next newline, or the rest of the file. False at its end.
    pub fn line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        Ok(self.read_until(b'\n', line)? > 0)
    }

    /// Reads on until something of the buffer is known to be text, or the file ends.
    fn refill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.valid..self.filled, 0);
        self.offset += self.valid as u64;
        self.filled -= self.valid;
        (self.start, self.valid) = (0, 0);
        while self.valid == 0 {
            let more = self.inner.read(&mut self.buffer[self.filled..]);
            let more = match more {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            self.filled += more;
            let read = &self.buffer[..self.filled];
            let nul = read.iter().position(|b| *b == 0);
            let bad = match std::str::from_utf8(&read[..nul.unwrap_or(read.len())]) {
                Ok(_) => nul.map(|nul| (nul, true)),
                Err(e) => {
                    let ends = more == 0 || nul.is_some();
                    Some((e.valid_up_to(), e.error_len().is_some() || ends))
                }
            };
            self.valid = bad.map_or(self.filled, |(valid, _)| valid);
            if self.offset == 0
                && let Some(other) = other_file(read)
            {
                return Err(io::Error::new(io::ErrorKind::InvalidData, other));
            }
            if let Some((0, true)) = bad {
                let said = match nul {
                    Some(0) => "NUL, which no text has; the file is damaged, or UTF-16",
                    _ => "not UTF-8; save the file as UTF-8",
                };
                let said = format!("byte {} is {said}", self.offset);
                return Err(io::Error::new(io::ErrorKind::InvalidData, said));
            }
            if more == 0 {
                break;
            }
        }
        if self.offset == 0 && self.buffer[..self.valid].starts_with("\u{feff}".as_bytes()) {
            self.start = "\u{feff}".len();
        }
        Ok(())
    }
}

/// What a file is that begins so, where it is no text, or another's.
fn other_file(start: &[u8]) -> Option<&'static str> {
    const UTF_16: &str = "the file is UTF-16; save it as UTF-8 (`iconv -f UTF-16 -t UTF-8`)";
    const BEGINNINGS: [(&[u8], &str); 7] = [
        (b"\xff\xfe", UTF_16),
        (b"\xfe\xff", UTF_16),
        (
            b"\x1f\x8b",
            "the file is packed with gzip; its name has to end in .gz",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "the file is packed with zstd; its name has to end in .zst",
        ),
        (
            b"PAR1\x15",
            "the file is Parquet; its name has to end in .parquet",
        ),
        (
            b"PK\x03\x04",
            "the file is a zip or a workbook; unpack it, or save it as CSV",
        ),
        (
            b"version https://git-lfs",
            "the file is a pointer of Git LFS and not what it stands for; `git lfs pull` gets that",
        ),
    ];
    let known = BEGINNINGS
        .iter()
        .find(|(bytes, _)| start.starts_with(bytes));
    // A letter of a Latin script and a zero, or the other way round.
    let wide = matches!(
        start,
        [0, 1..=0x7f, 0, 1..=0x7f, ..] | [1..=0x7f, 0, 1..=0x7f, 0, ..]
    );
    known.map(|(_, said)| *said).or(wide.then_some(UTF_16))
}

impl BufRead for Text {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.start == self.valid {
            let before = self.offset + self.valid as u64;
            self.refill()?;
            if self.valid == 0 && self.offset == before {
                return Ok(&[]);
            }
        }
        if self.left == 0 {
            let most = text::bytes(MOST_RECORD);
            let said =
                format!("the record is larger than {most}; is a quote or a bracket missing?");
            return Err(io::Error::other(said));
        }
        Ok(&self.buffer[self.start..self.valid])
    }

    fn consume(&mut self, amount: usize) {
        self.start += amount;
        self.left = self.left.saturating_sub(amount as u64);
    }
}

impl Read for Text {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let amount = there.len().min(out.len());
        out[..amount].copy_from_slice(&there[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}
