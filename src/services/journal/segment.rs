//! A file of the journal: its lines, and where they lie.

use super::entry::{CallKey, Entry};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) const EXTENSION: &str = "calls";

/// `KEY CHECK ` before the JSON.
const HEAD: usize = 32 + 1 + 16 + 1;

/// Longer lines are no entries.
const LONGEST: usize = 256 << 20;

pub(crate) struct Segment {
    path: PathBuf,
    file: File,
    /// Up to where it is known; the beginning of a line.
    known: u64,
}

/// Lines that look like entries: key, offset, length without the line's end.
#[derive(Default)]
pub struct Found {
    pub lines: Vec<(CallKey, u64, u32)>,
    pub damaged: u64,
}

impl Segment {
    pub fn open(path: &Path) -> Result<Segment> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Segment {
            path: path.to_path_buf(),
            file,
            known: 0,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole lines since the last time. An unfinished one may still be written.
    pub fn advance(&mut self) -> Result<Found> {
        let shown = || format!("reading {}", self.path.display());
        let mut found = Found::default();
        let length = self.file.metadata().with_context(shown)?.len();
        // A torn tail was cut off: what is known of the file still stands, for it ends before.
        if length <= self.known {
            return Ok(found);
        }
        let more = (length - self.known).min(1 << 20) as usize;
        let mut reader = BufReader::with_capacity(more, &self.file);
        reader
            .seek(SeekFrom::Start(self.known))
            .with_context(shown)?;
        let mut line = vec![];
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).with_context(shown)?;
            if read == 0 || line.last() != Some(&b'\n') {
                return Ok(found);
            }
            let before = stray(&line);
            match head(&line[before..]).filter(|_| read <= LONGEST) {
                Some((key, _)) => {
                    let (offset, length) = (self.known + before as u64, read - before - 1);
                    found.lines.push((key, offset, length as u32));
                }
                None if read == 1 => {} // One lies between any two.
                None => found.damaged += 1,
            }
            self.known += read as u64;
        }
    }

    /// The entry at a place; none where it does not check.
    pub fn read(&self, key: &CallKey, offset: u64, length: u32) -> Result<Option<Entry>> {
        let mut line = vec![0; length as usize];
        match self.file.read_exact_at(&mut line, offset) {
            Ok(()) => Ok(parse(&line).filter(|(k, _)| k == key).map(|(_, e)| e)),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e).with_context(|| format!("reading {}", self.path.display())),
        }
    }
}

/// Bytes before an entry: one, where the empty line before it has become another byte.
pub fn stray(line: &[u8]) -> usize {
    let second = || line.get(1..).is_some_and(|rest| head(rest).is_some());
    usize::from(head(line).is_none() && second())
}

/// Key and check of a line.
fn head(line: &[u8]) -> Option<(CallKey, &[u8])> {
    let key = CallKey::from_hex(line.get(..32)?)?;
    let spaces = line.get(32) == Some(&b' ') && line.get(HEAD - 1) == Some(&b' ');
    spaces.then(|| (key, &line[33..HEAD - 1]))
}

fn check(key: &str, json: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes()).update(json);
    hasher.finalize().to_hex()[..16].to_string()
}

/// A line without its end, if it is as it was written.
pub fn parse(line: &[u8]) -> Option<(CallKey, Entry)> {
    let (key, written) = head(line)?;
    let json = line.get(HEAD..)?;
    if check(&key.hex(), json).as_bytes() != written {
        return None;
    }
    Some((key, serde_json::from_slice(json).ok()?))
}

/// An entry as a line, with its end and an empty one.
pub fn line(key: &CallKey, entry: &Entry) -> Vec<u8> {
    let key = key.hex();
    let json = serde_json::to_vec(entry).expect("an entry always has a JSON form");
    let mut line = format!("{key} {} ", check(&key, &json)).into_bytes();
    line.extend(json);
    line.extend(b"\n\n");
    line
}

/// Where the last whole line ends: what follows is a torn tail.
pub(crate) fn whole_length(file: &File) -> std::io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 1 << 16];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The segments, in the order of their names; none where there is no folder.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let listed = match std::fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(e).with_context(|| format!("reading {}", dir.display())),
    };
    let mut paths = vec![];
    for entry in listed {
        let path = entry.context("reading the folder of calls")?.path();
        if path.extension().is_some_and(|e| e == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
