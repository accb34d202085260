//! Whether anyone can still write to a file: such a file has no content yet that could be named by a digest.

use super::strays;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Of the kernel's interface; the crate of C's names lacks it.
const F_SETSIG: i32 = 10;

/// A process with a file open for writing.
pub struct Writer {
    pid: i32,
    name: String,
    path: PathBuf,
}

impl std::fmt::Display for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        write!(
            f,
            "`{}` (process {}) still has `{file}` open for writing",
            self.name, self.pid
        )
    }
}

/// The files that someone can write to, in words; none where all of them are at rest.
pub fn of(folder: &Path, files: &[PathBuf]) -> Vec<String> {
    let verdicts: Vec<Option<bool>> = files.iter().map(|file| open_for_writing(file)).collect();
    if verdicts.iter().all(|v| *v == Some(false)) {
        return vec![];
    }
    let mut said: Vec<String> = below(folder).iter().map(Writer::to_string).collect();
    if said.is_empty() {
        // Of another user or another container, or mapped into memory: the kernel knows, and does not say who.
        let surely = files
            .iter()
            .zip(&verdicts)
            .filter(|(_, v)| **v == Some(true));
        said.extend(surely.map(|(file, _)| {
            let file = file.file_name().unwrap_or_default().to_string_lossy();
            format!("some process still has `{file}` open for writing")
        }));
    }
    said
}

/// Asks the kernel by a lease, which it refuses while anyone on the machine has the file open or mapped for writing. Nothing where
/// the file system knows no leases.
fn open_for_writing(path: &Path) -> Option<bool> {
    let file = File::open(path).ok()?;
    let control = |command: i32, argument: i32| {
        // SAFETY: the descriptor is open as long as `file` lives, and these commands take a number.
        match unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // Who opens the file while we hold the lease makes the kernel signal us: by one that is ignored, instead of one that kills.
    control(F_SETSIG, libc::SIGURG).ok()?;
    match control(libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(()) => {
            let _ = control(libc::F_SETLEASE, libc::F_UNLCK); // It ends with the descriptor anyway.
            Some(false)
        }
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Some(true),
        Err(_) => None,
    }
}

/// Processes that hold a descriptor for writing below a folder, of those that may be looked at.
fn below(folder: &Path) -> Vec<Writer> {
    let mut found = vec![];
    for pid in strays::all() {
        let entries = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        for entry in entries.flatten() {
            let Ok(path) = fs::read_link(entry.path()) else {
                continue;
            };
            if path.starts_with(folder) && writes(pid, &entry.file_name().to_string_lossy()) {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                found.push(Writer {
                    pid,
                    name: name.trim().to_string(),
                    path,
                });
            }
        }
    }
    found
}

fn writes(pid: i32, descriptor: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = info.lines().find_map(|l| l.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}
