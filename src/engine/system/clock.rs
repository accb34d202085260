//! The only place of the engine that asks for the time. Times go into events, records and folder names, never into data.

use super::fault;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    (now_ns() / 1_000_000) as u64
}

/// Nanoseconds since 1970.
#[allow(clippy::disallowed_methods)] // This file is the clock.
pub fn now_ns() -> i128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as i128)
        + fault::clock_shift()
}

/// What time it is by the clock of whoever keeps a folder, a file server for one: that of a file which is written now, in milliseconds
/// since 1970; nothing where none may be.
pub fn there_ms(folder: &Path) -> Option<u64> {
    let probe = folder.join(format!(".clock-{}", unique()));
    let file = File::create_new(&probe).ok()?;
    let written = file.metadata().and_then(|meta| meta.modified());
    let _ = fs::remove_file(&probe); // What stays is empty, and nobody's name.
    since_1970_ms(written.ok()?)
}

/// Of a time that a file has.
pub fn since_1970_ms(at: SystemTime) -> Option<u64> {
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// `20260131-235959` (UTC).
pub fn stamp(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms / 1000 % 86_400);
    let (year, month, day) = civil(days as i64);
    format!(
        "{year:04}{month:02}{day:02}-{:02}{:02}{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// A name that sorts by time and that no other process or call makes.
pub fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let ms = now_ms();
    format!(
        "{}-{:03}-{:x}-{:x}",
        stamp(ms),
        ms % 1000,
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Days since 1970-01-01 to a date of the Gregorian calendar, counting years from March so that the leap day is last.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}
