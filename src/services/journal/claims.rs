//! Who makes which call right now, across processes: a lock on the byte of `claims` whose offset the call's key gives. The kernel
//! gives a lock back when its process dies, so there is nothing to clean up. Two keys on one byte only wait for each other.

use super::CallKey;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

pub struct Claims {
    file: Arc<File>,
}

/// Held until it is dropped.
pub struct Claim {
    file: Arc<File>,
    offset: i64,
}

impl Claims {
    pub fn open(dir: &Path) -> Result<Claims> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(dir.join("claims"))
            .context("opening the claims on calls")?;
        Ok(Claims {
            file: Arc::new(file),
        })
    }

    /// None: another process makes this call.
    pub fn claim(&self, key: &CallKey) -> Result<Option<Claim>> {
        let bytes = key.0[..8].try_into().expect("8 of 16 bytes");
        // Offsets are positive, and a lock ends after the byte.
        let offset = (u64::from_le_bytes(bytes) >> 2) as i64;
        match lock(&self.file, offset, libc::F_WRLCK as libc::c_short) {
            Ok(()) => Ok(Some(Claim {
                file: self.file.clone(),
                offset,
            })),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => Ok(None),
            Err(e) => Err(e).context("claiming a call"),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = lock(&self.file, self.offset, libc::F_UNLCK as libc::c_short); // It goes with the process at the latest.
    }
}

/// Of the open file, not of the process: two journals of one process exclude each other as well.
fn lock(file: &File, offset: i64, kind: libc::c_short) -> std::io::Result<()> {
    // SAFETY: a plain structure of numbers, for which zeros are a value.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = offset;
    range.l_len = 1;
    // SAFETY: the descriptor is open and the structure lives as long as the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
