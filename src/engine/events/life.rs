//! Whether the engine of a run lives, as it is seen from here and from other machines (`alive`); and how one asks it from there to stop
//! (`stop`). What a run did is the journal's.

use crate::store::Store;
use crate::system::{Process, clock};
use anyhow::{Context, Result, ensure};
use base::bounded;
use serde::Deserialize;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

const ALIVE: &str = "alive";
const STOP: &str = "stop";
/// Larger than what is written of any run when it begins.
const MOST: u64 = 16 << 20;

/// Of what is written of a run when it begins, whose it is.
#[derive(Deserialize)]
struct Begun {
    engine: Option<Process>,
}

/// Says that this engine lives: a file that is locked as long as it does, so that who finds it free knows that the run is over. Where
/// machines share the folder and their locks do not exclude each other, the file is also written to now and then, and those elsewhere
/// go by the time of that.
pub(super) struct Alive {
    file: File,
    /// How long a sign of life counts, and when the last one was given.
    beats: Option<(Duration, Instant)>,
}

impl Alive {
    pub(super) fn new(dir: &Path, lasts: Option<Duration>) -> std::io::Result<Alive> {
        let file = File::create_new(dir.join(ALIVE))?;
        // Who asks whether it is alive holds it for a moment.
        file.lock()?;
        let beats = lasts.map(|lasts| (lasts, Instant::now()));
        Ok(Alive { file, beats })
    }

    pub(super) fn beat(&mut self) {
        if let Some((lasts, at)) = &mut self.beats
            && at.elapsed() > *lasts / 5
        {
            *at = Instant::now();
            // The time is that of whoever keeps the file, which those elsewhere see as well. One that is missed is made good by the next.
            let _ = self.file.write_all_at(b".", 0);
            let _ = self.file.sync_data();
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.beats.is_some() {
            let _ = self.file.set_modified(UNIX_EPOCH); // Else it is believed to live for a while.
        }
    }
}

/// Whether the engine of this run still lives: it holds a lock as long as it does. One of another machine whose locks say nothing here
/// gives signs of life.
pub fn alive(store: &Store, id: &str) -> bool {
    if !bounded::is_name(id) {
        return false;
    }
    let dir = store.runs().join(id);
    let Ok(file) = File::open(dir.join(ALIVE)) else {
        return false;
    };
    if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return true;
    }
    let Some(lasts) = store.claims().lasts() else {
        return false;
    };
    let beaten = file.metadata().and_then(|known| known.modified());
    let beaten = beaten.ok().and_then(clock::since_1970_ms);
    // One that has ended said so.
    let Some(beaten) = beaten.filter(|at| *at > 0) else {
        return false;
    };
    let text = bounded::read(&dir.join("run.json"), MOST).ok();
    let begun = text.and_then(|text| serde_json::from_slice::<Begun>(&text).ok());
    let engine = begun.and_then(|begun| begun.engine);
    if engine.is_none_or(|engine| engine.is_of_here()) {
        return false;
    }
    // Both by the clock of whoever keeps the folder; one's own counts where nothing may be written.
    let now = clock::there_ms(&dir).unwrap_or_else(clock::now_ms);
    Duration::from_millis(now.abs_diff(beaten)) < lasts
}

/// Asks the engine of a run to stop, wherever that is.
pub fn ask_to_stop(store: &Store, id: &str) -> Result<()> {
    ensure!(bounded::is_name(id), "{id:?} is no run");
    let path = store.runs().join(id).join(STOP);
    fs::write(&path, "").with_context(|| format!("writing {}", path.display()))
}

/// Whether it was asked to stop since the last time.
pub fn take_request(store: &Store, id: &str) -> bool {
    fs::remove_file(store.runs().join(id).join(STOP)).is_ok()
}
