//! Appends to a segment, for one process, on a thread of its own. Whatever has gathered while the last sync was under way goes
//! into one write and one sync. A segment that is full is followed by another.

use super::entry::{CallKey, Entry};
use super::segment::files;
use super::segment::{self, EXTENSION};
use anyhow::{Context, Result, anyhow};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tokio::sync::oneshot;

/// A segment that has so many bytes gets no more.
pub const FULL: u64 = 256 << 20;

pub struct Writer {
    lines: mpsc::Sender<Line>,
}

struct Line {
    bytes: Vec<u8>,
    done: oneshot::Sender<Result<(), String>>,
}

impl Writer {
    /// Takes a segment that nobody appends to, or a new one.
    pub fn open(dir: &Path, full: u64) -> Result<Writer> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        if let Some(parent) = dir.parent().and_then(|parent| File::open(parent).ok()) {
            parent.sync_all().context("syncing the folder of calls")?;
        }
        let mut end = End::open(dir, full)?;
        let (lines, received) = mpsc::channel();
        std::thread::Builder::new()
            .name("calls".into())
            .spawn(move || end.append_all(&received))
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
                Ok(Err(reason)) => Err(anyhow!("the answer could not be kept: {reason}")),
                Err(_) => Err(anyhow!(
                    "the answer could not be kept: the journal is closed (it took the answer: {sent})"
                )),
            }
        }
    }
}

/// The segment that this process appends to.
struct End {
    dir: PathBuf,
    full: u64,
    path: PathBuf,
    file: File,
    length: u64,
    /// Half a line may be at the end, and could not be cut off.
    torn: bool,
}

impl End {
    fn open(dir: &Path, full: u64) -> Result<End> {
        let (path, file) = match free_segment(dir, full)? {
            Some(free) => free,
            None => new_segment(dir)?,
        };
        Ok(End {
            length: file.metadata().context("reading a segment")?.len(),
            dir: dir.to_path_buf(),
            full,
            path,
            file,
            torn: false,
        })
    }

    fn append_all(&mut self, lines: &mpsc::Receiver<Line>) {
        while let Ok(first) = lines.recv() {
            let batch: Vec<Line> = std::iter::once(first).chain(lines.try_iter()).collect();
            let (kept, result) = self.append(&batch);
            let reason = result.err().map(|error| format!("{error:#}"));
            for (place, line) in batch.into_iter().enumerate() {
                let written = match &reason {
                    Some(reason) if place >= kept => Err(reason.clone()),
                    _ => Ok(()),
                };
                let _ = line.done.send(written); // Who asked may have been told to stop.
            }
        }
    }

    /// How many of the lines are durable, from the first on, and why the others are not.
    fn append(&mut self, batch: &[Line]) -> (usize, Result<()>) {
        let shown = |end: &End| format!("writing {}", end.path.display());
        if let Err(error) = self.ready() {
            return (0, Err(error));
        }
        let bytes: Vec<&[u8]> = batch.iter().map(|line| line.bytes.as_slice()).collect();
        let bytes = bytes.concat();
        let begin = self.length;
        if let Err(error) = self.file.write_all(&bytes) {
            // Half a line goes, whole ones stay: somebody may have read them. A full disk takes some of them.
            let whole = cut(&self.file).and_then(|whole| {
                self.length = whole;
                self.file.sync_data().map(|()| whole)
            });
            self.torn = whole.is_err();
            let whole = whole.map_or(0, |whole| whole.saturating_sub(begin));
            let ends = batch.iter().scan(0, |end, line| {
                *end += line.bytes.len() as u64;
                Some(*end)
            });
            // The empty line after the last may be missing.
            let kept = ends.take_while(|end| end - 1 <= whole).count();
            return (kept, Err(error).with_context(|| shown(self)));
        }
        self.length += bytes.len() as u64;
        match self.file.sync_data() {
            Ok(()) => (batch.len(), Ok(())),
            Err(error) => (0, Err(error).with_context(|| shown(self))),
        }
    }

    /// At a segment with room that ends with a whole line.
    fn ready(&mut self) -> Result<()> {
        if self.torn {
            self.length = cut(&self.file)
                .with_context(|| format!("cutting half a line off {}", self.path.display()))?;
            self.torn = false;
        }
        if self.length >= self.full {
            *self = End::open(&self.dir, self.full)?;
        }
        Ok(())
    }
}

/// Takes off what follows the last whole line; the length that is left.
fn cut(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let whole = segment::whole_length(file)?;
    if whole < length {
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(whole)
}

/// A segment with room that nobody appends to, its torn tail cut off.
fn free_segment(dir: &Path, full: u64) -> Result<Option<(PathBuf, File)>> {
    for path in files(dir)?.into_iter().rev() {
        let shown = || format!("opening {}", path.display());
        let file = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => file,
            // Of another user.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(e) => return Err(e).with_context(shown),
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if cut(&file).with_context(shown)? < full {
            return Ok(Some((path, file)));
        }
    }
    Ok(None)
}

fn new_segment(dir: &Path) -> Result<(PathBuf, File)> {
    for number in 1.. {
        let path: PathBuf = dir.join(format!("{number:06}.{EXTENSION}"));
        let mut options = OpenOptions::new();
        match options.read(true).append(true).create_new(true).open(&path) {
            Ok(file) => {
                // Between its making and this, another process may have taken it for a free one.
                if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    let folder = File::open(dir).and_then(|folder| folder.sync_all());
                    folder.context("syncing the folder of calls")?;
                    return Ok((path, file));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).with_context(|| format!("creating {}", path.display())),
        }
    }
    unreachable!("numbers do not end")
}
