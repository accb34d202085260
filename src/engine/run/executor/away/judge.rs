//! How a job has ended, if it has: its record and `end.json` first; else its claim, and only then what its scheduler says.

use super::pace;
use super::posting::Posting;
use super::watched::{Ask, Watched};
use crate::kind::conclusion::{Conclusion, Result as Told};
use crate::kind::failure::End;
use crate::run::dispatch;
use crate::run::profile::Profile;
use crate::run::scheduler::Cause;
use crate::store::{Lookup, Store};
use base::text::duration;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

pub fn end(
    profile: &Profile,
    store: &Store,
    job: &mut Posting,
    watched: &mut Watched,
) -> Option<End> {
    let settle = Duration::from_secs_f64(profile.settle_seconds);
    if !watched.begun && dispatch::begun(&watched.attempt).is_some() {
        watched.begun = true;
        job.lives();
    }
    if let Some(conclusion) = watched.attempt.conclusion() {
        job.alive = Instant::now();
        let failed = matches!(conclusion.result, Told::Failed { .. });
        if !failed {
            job.lives();
        }
        if failed || has_record(store, watched) {
            return Some(End::Attended(Box::new(conclusion)));
        }
        let since = *watched.unseen.get_or_insert_with(Instant::now);
        let told = "its record was committed, and is not to be seen here";
        return (since.elapsed() > settle).then(|| End::Lost(told.into()));
    }
    let life = watched.begun.then(|| life(store, job, watched));
    let cancelled =
        job.cancelled.is_some() || matches!(watched.asked, Some((Ask::Stop | Ask::Kill, _)));
    match (life, &job.over) {
        // Whatever its scheduler says.
        (Some(Life::Lives), _) => {
            job.alive = Instant::now();
            return None;
        }
        (_, Some((since, cause, word))) => {
            let (patience, quiet) = match watched.begun {
                true => (settle, since.elapsed()),
                // One that never began has nothing to tell.
                false if cancelled => (Duration::ZERO, since.elapsed()),
                // As long as one before it lives, its turn may come.
                false => (settle, since.elapsed().min(job.alive.elapsed())),
            };
            if quiet < patience {
                return None;
            }
            let end = of(job, watched, *cause, word);
            return Some(committed(store, job, watched).unwrap_or(end));
        }
        (Some(Life::Still(stood)), None) => {
            let stood = duration(stood.as_secs_f64());
            return Some(give_up(
                store,
                job,
                watched,
                format!("it gave no sign of life for {stood}"),
            ));
        }
        (Some(Life::Gone(since)), None) if since > settle.max(FREE) => {
            let told = "whoever attended to it is gone, and left no word".to_string();
            return Some(give_up(store, job, watched, told));
        }
        (Some(Life::Gone(_)) | None, None) => {}
    }
    // Nothing is to be seen of any attempt in the job.
    let quiet = job.alive.elapsed() > settle;
    let unknown = job.unknown.is_some_and(|since| since.elapsed() > settle);
    if !quiet || watched.begun {
        return None;
    }
    let end = match &job.given_up {
        Some(why) => End::Evicted(why.clone()),
        None if !unknown => return None,
        None if cancelled => End::Cancelled("it was cancelled".into()),
        None => End::Lost(format!("{} does not know its job", profile.name)),
    };
    Some(committed(store, job, watched).unwrap_or(end))
}

/// An attempt is taken for evicted, and nothing more is expected of whoever attended to it.
fn give_up(store: &Store, job: &mut Posting, watched: &Watched, told: String) -> End {
    job.given_up = Some(told.clone());
    committed(store, job, watched).unwrap_or(End::Evicted(told))
}

fn has_record(store: &Store, watched: &Watched) -> bool {
    store
        .record(&watched.key)
        .is_ok_and(|record| record.is_some())
}

/// Who attended to it may have died between the record and the word of it. One that was made although there is a record says nothing
/// by it.
fn committed(store: &Store, job: &Posting, watched: &Watched) -> Option<End> {
    let forced = dispatch::terms(&watched.attempt).is_ok_and(|terms| terms.forced);
    let whole = matches!(store.lookup(&watched.key), Lookup::Whole(_));
    let conclusion = Conclusion {
        result: Told::Hit,
        host: dispatch::begun(&watched.attempt).map_or(String::new(), |b| b.host),
        job: job.job().map(|job| job.0.clone()),
        claim: 0,
        seconds: 0.0,
        peak_bytes: None,
    };
    (whole && !forced).then(|| End::Attended(Box::new(conclusion)))
}

/// What its claim says of whoever attends to it.
enum Life {
    Lives,
    /// For so long its claim stood still, which is too long.
    Still(Duration),
    /// Nobody has claimed it, for so long.
    Gone(Duration),
}

fn life(store: &Store, job: &Posting, watched: &mut Watched) -> Life {
    let claims = store.claims();
    let sign = match claims.lasts() {
        Some(_) => claims.sign(&watched.key),
        // Whoever executes it holds the lock, wherever that is.
        None => match store.try_lock(&watched.key) {
            Ok(Some(_)) => None,
            // Of locks that do not work the scheduler's word is left.
            Err(_) if job.over.is_some() => None,
            _ => return Life::Lives,
        },
    };
    let sign = sign.unwrap_or_default();
    let closely = pace::closely(claims.lasts());
    let lapse = watched.pace.lapse(closely, job.over.is_some());
    let stood = watched.stood.see(&sign, Instant::now(), lapse);
    match (sign.is_empty(), claims.lasts()) {
        (true, _) => Life::Gone(stood),
        (false, Some(lasts)) if stood > lasts + lasts / 2 => Life::Still(stood),
        (false, _) => Life::Lives,
    }
}

/// How long a claim may be nobody's while its attempt has no end: it is told before the claim is given back.
const FREE: Duration = Duration::from_secs(10);

/// What its scheduler says, where nobody else says anything.
fn of(job: &Posting, watched: &Watched, cause: Cause, word: &str) -> End {
    let told = |text: &str| format!("{text} ({word})");
    let folder = job.order.as_ref().map(|order| order.folder.clone());
    let folder = folder.or_else(|| dispatch::folder(&watched.attempt).ok());
    let last = || {
        let words = folder.as_deref().and_then(last_words);
        words.map_or(String::new(), |words| format!(": {words}"))
    };
    match cause {
        Cause::OutOfMemory => End::OutOfMemory(told("its scheduler ended it")),
        Cause::Evicted => End::Evicted(word.into()),
        Cause::Cancelled => End::Cancelled(told("its job was cancelled")),
        Cause::Unstartable => End::Unstartable(told("its job could not be started")),
        // No such program, or one that refuses to begin.
        Cause::Failed(3 | 126 | 127) if !watched.begun => {
            End::Unstartable(told("its job did not begin") + &last())
        }
        Cause::Whole | Cause::Failed(_) => {
            End::Lost(told("its job ended and left no word of how") + &last())
        }
    }
}

/// What its job printed last.
fn last_words(folder: &Path) -> Option<String> {
    const MOST: u64 = 16 << 10;
    let mut file = File::open(folder.join("job.out")).ok()?;
    let from = file.metadata().ok()?.len().saturating_sub(MOST);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = vec![];
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.trim().lines().rev().take(5).collect();
    lines.reverse();
    (!lines.is_empty()).then(|| lines.join(" / "))
}
