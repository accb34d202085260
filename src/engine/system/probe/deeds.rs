//! What either side does in the folder.

use super::words::{Lock, Side, Taking};
use crate::system::{Process, clock, gpus, memory, silence};
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Names that are raced for.
const ROUNDS: usize = 400;
/// Between two names that one got; who lost is behind, and hurries.
const BREATH: Duration = Duration::from_millis(2);
/// No race takes longer.
const LONGEST: Duration = Duration::from_secs(20);
/// How long a file is replaced and read.
const REPLACED: Duration = Duration::from_millis(1500);
/// Bytes of the file that is replaced: more than are written at once.
const BYTES: usize = 64 << 10;
const REPLACED_FILE: &str = "replaced";

pub(super) fn side(folder: &Path, version: &str, variables: &[String]) -> Side {
    let own = Process::own();
    let of = |get: fn(Process) -> String| own.clone().map(get).unwrap_or_default();
    Side {
        host: of(|p| p.host),
        boot: of(|p| p.boot),
        version: version.into(),
        now_ms: clock::now_ms(),
        cpus: thread::available_parallelism().map_or(1, usize::from),
        memory: memory::available(),
        gpus: gpus::count(),
        free: silence::free(folder),
        filesystem: filesystem(folder),
        variables: variables
            .iter()
            .filter(|name| is_set(name))
            .cloned()
            .collect(),
    }
}

/// Of a variable nothing is told but that it is set.
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Of the mount that is nearest above the folder.
fn filesystem(folder: &Path) -> String {
    let folder = folder
        .canonicalize()
        .unwrap_or_else(|_| folder.to_path_buf());
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?.replace("\\040", " ");
        Some((place, fields.next()?))
    });
    let above = mounts.filter(|(place, _)| folder.starts_with(place));
    // Of two at one place the later one is seen.
    let nearest = above.max_by_key(|(place, _)| place.len());
    nearest
        .map(|(_, kind)| kind.to_string())
        .unwrap_or_default()
}

/// The lock, where it can be had now. `Err`: there are none here.
pub(super) fn lock(folder: &Path, lock: Lock) -> Result<Option<File>> {
    let path = folder.join(match lock {
        Lock::Flock => "flock",
        Lock::Record => "record-lock",
    });
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    let wanted = FlockOperation::NonBlockingLockExclusive;
    let had = match lock {
        Lock::Flock => flock(&file, wanted),
        Lock::Record => fcntl_lock(&file, wanted),
    };
    match had {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::ACCESS) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// Takes names, one after the other, while the other side does too. Those that were had.
pub(super) fn race(folder: &Path, taking: Taking, own: &str) -> Result<Vec<usize>> {
    let (word, since) = (format!("{taking:?}").to_lowercase(), Instant::now());
    let source = folder.join(format!("{word}-{own}"));
    File::create(&source).and_then(|mut file| file.write_all(own.as_bytes()))?;
    let mut won = vec![];
    for round in 0..ROUNDS {
        let name = folder.join(format!("{word}-{round}"));
        let taken = match taking {
            Taking::Link => fs::hard_link(&source, &name),
            Taking::Create => File::create_new(&name).map(drop),
        };
        match taken {
            Ok(()) => {
                won.push(round);
                thread::sleep(BREATH);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Not every file system has a word for that.
            Err(_) if fs::symlink_metadata(&name).is_ok() => {}
            Err(error) => return Err(error).with_context(|| format!("making {}", name.display())),
        }
        if since.elapsed() > LONGEST {
            break;
        }
    }
    Ok(won)
}

/// How often a file that is replaced was seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    pub whole: usize,
    pub absent: usize,
    pub torn: usize,
}

/// Replaces a file by renaming, again and again. How often.
pub(super) fn replace(folder: &Path) -> Result<usize> {
    let since = Instant::now();
    let mut times = 0;
    // The other side may begin a little later, and is to see no end of it.
    while since.elapsed() < 2 * REPLACED {
        replace_once(folder, times)?;
        times += 1;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(times)
}

/// `number`: what is written differs from time to time.
pub(super) fn replace_once(folder: &Path, number: usize) -> Result<()> {
    let draft = folder.join("replaced.new");
    fs::write(&draft, vec![b'a' + (number % 26) as u8; BYTES])?;
    fs::rename(&draft, folder.join(REPLACED_FILE)).context("replacing a file")
}

pub(super) fn read(folder: &Path) -> Result<Seen> {
    let since = Instant::now();
    let mut seen = Seen::default();
    while since.elapsed() < REPLACED {
        match fs::read(folder.join(REPLACED_FILE)) {
            Ok(bytes) if bytes.len() == BYTES && bytes.iter().all(|b| *b == bytes[0]) => {
                seen.whole += 1
            }
            Ok(_) => seen.torn += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => seen.absent += 1,
            // NFS says so of a file that was replaced while it was read; who reads opens it anew.
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => {}
            Err(error) => return Err(error).context("reading what is replaced"),
        }
    }
    Ok(seen)
}

/// Bytes a second, written and on the disk.
pub(super) fn written(folder: &Path) -> Result<f64> {
    const SIZE: usize = 16 << 20;
    let since = Instant::now();
    let path = folder.join("written");
    let mut file = File::create(&path)?;
    file.write_all(&vec![7; SIZE])?;
    file.sync_all()?;
    let speed = SIZE as f64 / since.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(speed)
}
