//! Requests and tokens a minute, shared by all processes that use a store: two nodes, or two engines, stay within one limit.
//!
//! A limit is a file with the time at which the next request may leave, moved on by every request (the generic cell rate
//! algorithm), and the time at which that was written. A lock on the file makes reading and moving one step; a process that dies
//! holds nothing.

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// So much of a minute's allowance may be used at once.
const BURST: Duration = Duration::from_secs(2);

pub(crate) struct Pace {
    requests: Option<Meter>,
    tokens: Option<Meter>,
}

struct Meter {
    file: File,
    /// Nanoseconds a unit.
    each: f64,
}

impl Pace {
    /// `folder`: of the journal. `who`: whose limit it is, the host and the name of the key's variable.
    pub fn open(
        folder: &Path,
        who: &str,
        requests_per_minute: Option<f64>,
        tokens_per_minute: Option<f64>,
    ) -> Result<Pace> {
        let meter = |unit: &str, per_minute: Option<f64>| -> Result<Option<Meter>> {
            let Some(per_minute) = per_minute else {
                return Ok(None);
            };
            let digest = blake3::hash(format!("{who} {unit}").as_bytes()).to_hex();
            let folder = folder.join("pace");
            std::fs::create_dir_all(&folder).context("creating the folder of limits")?;
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(folder.join(&digest[..16]))
                .context("opening a limit")?;
            let each = 60e9 / per_minute;
            Ok(Some(Meter { file, each }))
        };
        Ok(Pace {
            requests: meter("requests", requests_per_minute)?,
            tokens: meter("tokens", tokens_per_minute)?,
        })
    }

    /// Takes the place of one request with so many tokens: how long to wait before it leaves.
    pub fn take(&self, tokens: u64) -> Result<Duration> {
        let of = |meter: &Option<Meter>, units: f64| match meter {
            Some(meter) => meter.take(units),
            None => Ok(Duration::ZERO),
        };
        Ok(of(&self.requests, 1.0)?.max(of(&self.tokens, tokens as f64)?))
    }

    /// Corrects the tokens of a request that was expected to have others.
    pub fn settle(&self, expected: u64, actual: u64) -> Result<()> {
        if let Some(meter) = &self.tokens {
            meter.take(actual as f64 - expected as f64)?;
        }
        Ok(())
    }
}

impl Meter {
    fn take(&self, units: f64) -> Result<Duration> {
        flock(&self.file, FlockOperation::LockExclusive).context("locking a limit")?;
        let taken = self.take_locked(units);
        flock(&self.file, FlockOperation::Unlock).context("unlocking a limit")?;
        taken
    }

    fn take_locked(&self, units: f64) -> Result<Duration> {
        let now = now_ns();
        let mut bytes = [0; 16];
        let next = match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {
                let number = |bytes: &[u8]| {
                    i64::from_le_bytes(bytes.try_into().expect("both parts have eight bytes"))
                };
                let (next, written) = (number(&bytes[..8]), number(&bytes[8..]));
                // A clock that was set back takes the limit with it.
                next.saturating_sub(written.saturating_sub(now).max(0))
            }
            Err(_) => 0,
        };
        // What was not used in a while is gone, but for the burst.
        let next = next.max(now - BURST.as_nanos() as i64);
        let after = next.saturating_add((self.each * units) as i64);
        bytes[..8].copy_from_slice(&after.to_le_bytes());
        bytes[8..].copy_from_slice(&now.to_le_bytes());
        self.file
            .write_all_at(&bytes, 0)
            .context("writing a limit")?;
        Ok(Duration::from_nanos((next - now).max(0) as u64))
    }
}

#[allow(clippy::disallowed_methods)] // Limits are told by the clock, which processes share.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_nanos() as i64)
}
