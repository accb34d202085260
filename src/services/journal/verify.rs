//! Whether every line of the journal is what was written. Reads only; what is bad stays where it is, for it costs one answer each.

use super::entry::CallKey;
use super::segment;
use super::segment::files;
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default, PartialEq)]
pub struct Verified {
    pub segments: u64,
    /// Whole entries that check, and their bytes.
    pub entries: u64,
    pub bytes: u64,
    /// Lines that are no entry, or not the one that was written: those answers are asked for again.
    pub damaged: u64,
    /// Segments that end in the middle of a line, as a process that was killed leaves them. Cut off by the next writer; nobody
    /// was given these answers. Where a process appends right now, an unfinished line is none.
    pub torn: u64,
    /// Each of the damaged lines and torn tails.
    pub bad: Vec<BadLine>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BadLine {
    /// Name of the segment.
    pub segment: String,
    /// Of its first byte.
    pub offset: u64,
    pub problem: &'static str,
    pub torn: bool,
}

/// Every line of every segment of the journal in `dir`; nothing where there is no journal.
pub fn verify(dir: &Path) -> Result<Verified> {
    let mut verified = Verified::default();
    for path in files(dir)? {
        one(&path, &mut verified).with_context(|| format!("reading {}", path.display()))?;
    }
    Ok(verified)
}

fn one(path: &Path, verified: &mut Verified) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = File::open(path)?;
    // Asked before it is read: a writer that begins later appends whole lines to a file without a torn tail.
    let alone = flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
    if alone {
        flock(&file, FlockOperation::Unlock)?;
    }
    verified.segments += 1;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = vec![];
    let mut offset = 0;
    let mut bad = |offset, problem, torn| {
        let segment = name.to_string();
        verified.bad.push(BadLine {
            segment,
            offset,
            problem,
            torn,
        });
    };
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            return Ok(());
        }
        if line.pop() != Some(b'\n') {
            if alone {
                verified.torn += 1;
                bad(offset, "the last line is not whole", true);
            }
            return Ok(());
        }
        let before = segment::stray(&line);
        if before > 0 {
            verified.damaged += 1;
            bad(offset, "a byte is where the line before ends", false);
        }
        match problem(&line[before..]) {
            None if line.is_empty() => {}
            None => {
                verified.entries += 1;
                verified.bytes += read;
            }
            Some(problem) => {
                verified.damaged += 1;
                bad(offset, problem, false);
            }
        }
        offset += read;
    }
}

/// What is wrong with a line; an empty one lies between any two.
fn problem(line: &[u8]) -> Option<&'static str> {
    if line.is_empty() {
        return None;
    }
    let Some((key, entry)) = segment::parse(line) else {
        return Some("the line is not what was written");
    };
    let asked = CallKey::of(&entry.api, &entry.asked, entry.sample);
    (asked != key).then_some("the key is not that of what was asked")
}
