//! The journal of calls: every answer that was paid for, kept for all nodes and recipes of a store.
//!
//! Layout of the folder:
//!
//!     <unique>.calls   segments, appended to by one process at a time, a line an answer
//!     claims           byte-range locks: who is making which call right now
//!     pace/            limits that processes share (`services::pace`)
//!     budgets/         what processes spend of one budget (`services::ledger`)
//!
//! A line is `KEY CHECK JSON`: 32 hexadecimal digits of the call's key, 16 of a blake3 over key and JSON, the entry. An empty one
//! follows, so that a line's end that turns into another byte does not cost the next line. An answer is durable before it is
//! used: a thread of its own appends whatever has gathered and syncs once for all of it. Lines that do not check are as if they
//! were not there; a torn tail is cut off by the next process that appends to the segment. Nothing else is ever changed or
//! removed: the folder is the truth, and what is in memory is read from it.

pub mod claims;
mod entry;
pub mod refused;
mod segment;
pub mod shared;
mod verify;
mod writer;

pub use entry::{CallKey, Entry};
pub use verify::{BadLine, Verified, verify};

use anyhow::{Context, Result};
use segment::Segment;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use writer::Writer;

/// Where an entry lies.
#[derive(Clone, Copy, PartialEq)]
struct Place {
    segment: u32,
    offset: u64,
    length: u32,
}

/// When the folder was last looked through. Its time of change has a grain, so another segment may have come within the same: it is
/// looked through until a while has passed.
struct Listed {
    changed: SystemTime,
    since: Instant,
    settled: bool,
}

/// Longer than the grain of any file system's times.
const GRAIN: Duration = Duration::from_secs(3);

pub struct Journal {
    dir: PathBuf,
    segments: Vec<Segment>,
    index: BTreeMap<CallKey, Place>,
    /// Lines that were no entry.
    damaged: u64,
    writer: Option<Writer>,
    /// Bytes of a segment that gets no more.
    full: u64,
    listed: Option<Listed>,
    /// Further lines of keys in the index, for the case that the first turns out to be damaged.
    others: BTreeMap<CallKey, VecDeque<Place>>,
}

impl Journal {
    /// Reads what is there; a folder that is not there is an empty journal.
    pub fn open(dir: &Path) -> Result<Journal> {
        Journal::with_segments(dir, writer::FULL)
    }

    /// Opens one with segments of about so many bytes.
    pub fn with_segments(dir: &Path, full: u64) -> Result<Journal> {
        let mut journal = Journal {
            dir: dir.to_path_buf(),
            segments: vec![],
            index: BTreeMap::new(),
            damaged: 0,
            writer: None,
            full,
            listed: None,
            others: BTreeMap::new(),
        };
        journal.refresh()?;
        Ok(journal)
    }

    /// Reads what others have appended since.
    pub fn refresh(&mut self) -> Result<()> {
        self.discover()?;
        for (number, segment) in self.segments.iter_mut().enumerate() {
            let found = segment.advance()?;
            self.damaged += found.damaged;
            for (key, offset, length) in found.lines {
                let place = Place {
                    segment: number as u32,
                    offset,
                    length,
                };
                // The first answer stays the answer.
                if *self.index.entry(key).or_insert(place) != place {
                    self.others.entry(key).or_default().push_back(place);
                }
            }
        }
        Ok(())
    }

    /// Segments that were not known. Called for every call, so it looks at the folder's time first.
    fn discover(&mut self) -> Result<()> {
        let changed = match std::fs::metadata(&self.dir).and_then(|m| m.modified()) {
            Ok(changed) => changed,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e).with_context(|| format!("reading {}", self.dir.display())),
        };
        match &mut self.listed {
            Some(listed) if listed.changed == changed => {
                if listed.settled {
                    return Ok(());
                }
                listed.settled = listed.since.elapsed() > GRAIN;
            }
            listed => {
                *listed = Some(Listed {
                    changed,
                    since: Instant::now(),
                    settled: false,
                });
            }
        }
        for path in segment::files(&self.dir)? {
            if self.segments.iter().all(|s| s.path() != path) {
                self.segments.push(Segment::open(&path)?);
            }
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Lines that were no entry, torn tails of living writers aside.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    pub fn has(&self, key: &CallKey) -> bool {
        self.index.contains_key(key)
    }

    /// Of every entry, in no order that means anything.
    pub fn keys(&self) -> impl Iterator<Item = &CallKey> {
        self.index.keys()
    }

    /// The entry of a call; none where it was never made, or its line does not check.
    pub fn find(&mut self, key: &CallKey) -> Result<Option<Entry>> {
        while let Some(place) = self.index.get(key).copied() {
            let segment = &self.segments[place.segment as usize];
            if let Some(entry) = segment.read(key, place.offset, place.length)? {
                return Ok(Some(entry));
            }
            self.damaged += 1;
            match self.others.get_mut(key).and_then(VecDeque::pop_front) {
                Some(next) => drop(self.index.insert(*key, next)),
                None => drop(self.index.remove(key)),
            }
        }
        Ok(None)
    }

    /// Every entry that checks, in the order of the segments, until `see` says that it is enough.
    pub fn each(&mut self, see: &mut dyn FnMut(&CallKey, Entry) -> bool) -> Result<()> {
        let mut places: Vec<(u32, u64, CallKey)> = vec![];
        for (key, place) in &self.index {
            places.push((place.segment, place.offset, *key));
        }
        places.sort_unstable();
        for (_, _, key) in places {
            if let Some(entry) = self.find(&key)?
                && !see(&key, entry)
            {
                break;
            }
        }
        Ok(())
    }

    /// The door for new entries; opened by the first who has one.
    pub fn writer(&mut self) -> Result<&Writer> {
        if self.writer.is_none() {
            self.writer = Some(Writer::open(&self.dir, self.full)?);
        }
        Ok(self.writer.as_ref().expect("it was just opened"))
    }
}
