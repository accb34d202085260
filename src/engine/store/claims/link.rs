//! Claims as hard links: creating one under a name that is taken fails on every file system that has them, whoever else creates it.
//! `claims/KEY/N` is the claim of the N-th holder, who alone writes to it: a count that goes up as long as he lives. Whoever sees it
//! stand still for long enough, by his own clock, links N+1; the holder finds that when he renews, and has lost. Clocks of two
//! machines are never compared. The lock of the key's file is asked for as well: on one machine it is sooner known that a holder died.

use super::flock::Flock;
use super::{Claim, Claims, Whose};
use crate::system::files::{self, names};
use crate::system::{Process, clock};
use anyhow::{Context, Result};
use base::bounded;
use base::hash::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a claim, blanks at the end included: it is written over in place.
const SIZE: usize = 512;

pub struct Link {
    root: PathBuf,
    locks: Flock,
    lasts: Duration,
    /// By key, what was seen of claims of others, and since when.
    seen: Mutex<BTreeMap<Key, (String, Instant)>>,
}

/// What stands in a claim.
#[derive(Serialize, Deserialize)]
struct Sign {
    /// Of this claim alone.
    nonce: String,
    holder: Option<Process>,
    /// Goes up as long as the holder lives.
    beat: u64,
    #[serde(default)]
    released: bool,
}

struct Held {
    lock: File,
    folder: PathBuf,
    number: u64,
    nonce: String,
    /// The claim, open for writing, and the last beat.
    file: Mutex<(File, u64)>,
}

impl Link {
    pub fn new(root: &Path, lasts: Duration) -> Link {
        Link {
            root: root.into(),
            locks: Flock::new(root),
            lasts,
            seen: Mutex::default(),
        }
    }

    fn folder(&self, key: &Key) -> PathBuf {
        self.root.join("claims").join(key.as_str())
    }

    /// Whether nobody holds the claim that reads so.
    fn is_free(&self, key: &Key, number: u64, text: &str) -> bool {
        if let Ok(sign) = serde_json::from_str::<Sign>(text.trim_end()) {
            if sign.released {
                return true;
            }
            if sign.holder.and_then(|holder| holder.lives()) == Some(false) {
                return true;
            }
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (format!("{number} {text}"), Instant::now());
        let first = seen.entry(key.clone()).or_insert_with(|| now.clone());
        if first.0 != now.0 {
            *first = now;
        }
        first.1.elapsed() > self.lasts
    }
}

/// The claim with the highest number, and its text.
fn newest(folder: &Path) -> Result<Option<(u64, String)>> {
    let numbers = names(folder)?.into_iter();
    let numbers = numbers.filter_map(|name| name.parse::<u64>().ok());
    let Some(number) = numbers.max() else {
        return Ok(None);
    };
    let path = folder.join(number.to_string());
    // One that was removed meanwhile reads as nothing, as does one that is torn: both will look different later.
    let text = bounded::read(&path, 1 << 16).unwrap_or_default();
    Ok(Some((number, String::from_utf8_lossy(&text).into_owned())))
}

impl Claims for Link {
    fn take(&self, key: &Key, _: Whose) -> Result<Option<Arc<dyn Claim>>> {
        let Some(lock) = self.locks.hint(key)? else {
            return Ok(None);
        };
        let folder = self.folder(key);
        let shown = || format!("claiming {}", key.short());
        let last = newest(&folder).with_context(shown)?;
        let number = match &last {
            Some((number, text)) if !self.is_free(key, *number, text) => return Ok(None),
            Some((number, _)) => number + 1,
            None => 1,
        };
        fs::create_dir_all(&folder).with_context(shown)?;
        let path = folder.join(number.to_string());
        let sign = Sign {
            nonce: clock::unique(),
            holder: Process::own(),
            beat: 0,
            released: false,
        };
        let tmp = self.root.join("tmp");
        if !files::write_new(&tmp, &path, &text(&sign)).with_context(shown)? {
            return Ok(None);
        }
        let file = File::options().write(true).open(&path);
        let held = Held {
            lock,
            number,
            nonce: sign.nonce,
            file: Mutex::new((file.with_context(shown)?, 0)),
            folder,
        };
        // A listing that was out of date when it was made free may have hidden later holders.
        if !held.is_mine().with_context(shown)? {
            return Ok(None);
        }
        for old in 1..number {
            let _ = fs::remove_file(held.folder.join(old.to_string())); // Litter.
        }
        Ok(Some(Arc::new(held)))
    }

    fn lasts(&self) -> Option<Duration> {
        Some(self.lasts)
    }

    fn sign(&self, key: &Key) -> Option<String> {
        let (number, text) = newest(&self.folder(key)).ok()??;
        let sign = serde_json::from_str::<Sign>(text.trim_end());
        let dead = |holder: Option<Process>| holder.and_then(|h| h.lives()) == Some(false);
        let over = sign.is_ok_and(|sign| sign.released || dead(sign.holder));
        (!over).then(|| format!("{number} {text}"))
    }
}

impl Held {
    fn write(&self, file: &File, beat: u64, released: bool) -> Result<()> {
        let sign = Sign {
            nonce: self.nonce.clone(),
            holder: Process::own(),
            beat,
            released,
        };
        file.write_all_at(&text(&sign), 0)?;
        Ok(file.sync_data()?)
    }

    /// Whether nobody took it over; nor had it as well, where a link replaces what another machine has just made.
    fn is_mine(&self) -> Result<bool> {
        let Some((number, text)) = newest(&self.folder)? else {
            return Ok(false);
        };
        let sign = serde_json::from_str::<Sign>(text.trim_end());
        let another = sign.is_ok_and(|sign| sign.nonce != self.nonce);
        Ok(number == self.number && !another)
    }
}

impl Claim for Held {
    fn number(&self) -> u64 {
        self.number
    }

    fn renew(&self) -> Result<bool> {
        if !self.is_mine()? {
            return Ok(false);
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.1 += 1;
        self.write(&file.0, file.1, false)
            .context("renewing a claim")?;
        self.is_mine()
    }

    fn file(&self) -> Option<&File> {
        Some(&self.lock)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (file, beat) = (file.0.try_clone(), file.1);
        // Where it cannot be said, it is given up when it has lasted.
        if let (Ok(true), Ok(file)) = (self.is_mine(), file) {
            let _ = self.write(&file, beat + 1, true);
        }
    }
}

fn text(sign: &Sign) -> Vec<u8> {
    let mut text = serde_json::to_vec(sign).expect("a sign has a JSON form");
    text.resize(text.len().max(SIZE), b' ');
    text
}
