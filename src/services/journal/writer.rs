//! Appends to a segment, for one process, on a thread of its own. Whatever has gathered while the last sync was under way goes
//! into one write and one sync.

use super::segment::{self, EXTENSION};
use super::{CallKey, Entry};
use anyhow::{Context, Result, anyhow};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tokio::sync::oneshot;

/// A segment that has so many bytes gets no more.
const FULL: u64 = 256 << 20;

pub struct Writer {
    lines: mpsc::Sender<Line>,
}

struct Line {
    bytes: Vec<u8>,
    done: oneshot::Sender<Result<(), String>>,
}

impl Writer {
    /// Takes a segment that nobody appends to, or a new one.
    pub fn open(dir: &Path) -> Result<Writer> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let file = match free_segment(dir)? {
            Some(free) => free,
            None => new_segment(dir)?,
        };
        let (lines, received) = mpsc::channel();
        let folder = File::open(dir).context("opening the folder of calls")?;
        folder.sync_all().context("syncing the folder of calls")?;
        std::thread::Builder::new()
            .name("calls".into())
            .spawn(move || append(file, &received))
            .context("starting the journal's thread")?;
        Ok(Writer { lines })
    }

    /// Ready when the entry is durable. Errors: it is not, as on a full disk.
    pub fn append(&self, key: &CallKey, entry: &Entry) -> impl Future<Output = Result<()>> + use<> {
        let (done, written) = oneshot::channel();
        let line = Line {
            bytes: segment::line(key, entry),
            done,
        };
        let sent = self.lines.send(line).is_ok();
        async move {
            match written.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(told)) => Err(anyhow!("the answer could not be kept: {told}")),
                Err(_) => Err(anyhow!(
                    "the answer could not be kept: the journal is closed (it took the answer: {sent})"
                )),
            }
        }
    }
}

fn append(mut file: File, lines: &mpsc::Receiver<Line>) {
    let mut torn = false;
    while let Ok(first) = lines.recv() {
        let batch: Vec<Line> = std::iter::once(first).chain(lines.try_iter()).collect();
        // Half a line, as a full disk leaves it, is closed: it becomes a line that does not check.
        let mut bytes = if torn { vec![b'\n'] } else { vec![] };
        batch.iter().for_each(|line| bytes.extend(&line.bytes));
        let written = file
            .write_all(&bytes)
            .and_then(|()| file.sync_data())
            .map_err(|e| e.to_string());
        torn = written.is_err();
        for line in batch {
            let _ = line.done.send(written.clone()); // Who asked may have been told to stop.
        }
    }
}

/// A segment with room that nobody appends to, its torn tail cut off.
fn free_segment(dir: &Path) -> Result<Option<File>> {
    let mut paths = vec![];
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry.context("reading the folder of calls")?.path();
        if path.extension().is_some_and(|e| e == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths.iter().rev() {
        let shown = || format!("opening {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(path)
            .with_context(shown)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let length = file.metadata().with_context(shown)?.len();
        if length >= FULL {
            continue;
        }
        let whole = segment::whole_length(&file).with_context(shown)?;
        if whole < length {
            file.set_len(whole).with_context(shown)?;
            file.sync_all().with_context(shown)?;
        }
        return Ok(Some(file));
    }
    Ok(None)
}

fn new_segment(dir: &Path) -> Result<File> {
    for number in 1.. {
        let path: PathBuf = dir.join(format!("{number:06}.{EXTENSION}"));
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => {
                // Between its making and this, another process may have taken it for a free one.
                if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    return Ok(file);
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).with_context(|| format!("creating {}", path.display())),
        }
    }
    unreachable!("numbers do not end")
}
