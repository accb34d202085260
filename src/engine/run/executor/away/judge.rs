//! How a job has ended, if it has: its record and `end.json` first; else its claim, and only then what its scheduler says.

use super::watched::{Ask, Watched};
use crate::kind::conclusion::{Conclusion, Result as Told};
use crate::kind::failure::End;
use crate::run::dispatch;
use crate::run::profile::Profile;
use crate::run::scheduler::Cause;
use crate::store::{Lookup, Store};
use base::text::duration;
use std::time::{Duration, Instant};

pub fn end(profile: &Profile, store: &Store, watched: &mut Watched) -> Option<End> {
    let settle = Duration::from_secs_f64(profile.settle_seconds);
    if let Some(conclusion) = watched.attempt.conclusion() {
        let failed = matches!(conclusion.result, Told::Failed { .. });
        if failed || has_record(store, watched) {
            return Some(End::Attended(Box::new(conclusion)));
        }
        let since = *watched.unseen.get_or_insert_with(Instant::now);
        let told = "its record was committed, and is not to be seen here";
        return (since.elapsed() > settle).then(|| End::Lost(told.into()));
    }
    let begun = dispatch::begun(&watched.attempt);
    let life = begun.is_some().then(|| life(store, watched));
    let cancelled =
        watched.cancelled.is_some() || matches!(watched.asked, Some((Ask::Stop | Ask::Kill, _)));
    match (life, &watched.over) {
        // Whatever its scheduler says.
        (Some(Life::Lives), _) => return None,
        (_, Some((since, cause, word))) => {
            // One that never began has nothing to tell.
            let patience = match begun.is_none() && cancelled {
                true => Duration::ZERO,
                false => settle,
            };
            if since.elapsed() < patience {
                return None;
            }
            let end = of(*cause, word);
            return Some(committed(store, watched).unwrap_or(end));
        }
        (Some(Life::Still(stood)), None) => {
            let stood = duration(stood.as_secs_f64());
            let told = format!("it gave no sign of life for {stood}");
            return Some(committed(store, watched).unwrap_or(End::Evicted(told)));
        }
        (Some(Life::Gone(since)), None) if since > settle.max(FREE) => {
            let told = "whoever attended to it is gone, and left no word".to_string();
            return Some(committed(store, watched).unwrap_or(End::Evicted(told)));
        }
        (Some(Life::Gone(_)) | None, None) => {}
    }
    let unknown = watched
        .unknown
        .is_some_and(|since| since.elapsed() > settle);
    if unknown && begun.is_none() {
        let told = format!("{} does not know its job", profile.name);
        let end = match cancelled {
            true => End::Cancelled("it was cancelled".into()),
            false => End::Lost(told),
        };
        return Some(committed(store, watched).unwrap_or(end));
    }
    None
}

fn has_record(store: &Store, watched: &Watched) -> bool {
    store
        .record(&watched.key)
        .is_ok_and(|record| record.is_some())
}

/// Who attended to it may have died between the record and the word of it. One that was made although there is a record says nothing
/// by it.
fn committed(store: &Store, watched: &Watched) -> Option<End> {
    let forced = dispatch::terms(&watched.attempt).is_ok_and(|terms| terms.forced);
    let whole = matches!(store.lookup(&watched.key), Lookup::Whole(_));
    let conclusion = Conclusion {
        result: Told::Hit,
        host: dispatch::begun(&watched.attempt).map_or(String::new(), |b| b.host),
        job: watched.job().map(|job| job.0.clone()),
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

fn life(store: &Store, watched: &mut Watched) -> Life {
    let claims = store.claims();
    let sign = match claims.lasts() {
        Some(_) => claims.sign(&watched.key),
        // Whoever executes it holds the lock, wherever that is.
        None => match store.try_lock(&watched.key) {
            Ok(Some(_)) => None,
            _ => return Life::Lives,
        },
    };
    let now = (sign.unwrap_or_default(), Instant::now());
    let seen = watched.sign.get_or_insert_with(|| now.clone());
    if seen.0 != now.0 {
        *seen = now;
    }
    let stood = seen.1.elapsed();
    match (seen.0.is_empty(), claims.lasts()) {
        (true, _) => Life::Gone(stood),
        (false, Some(lasts)) if stood > lasts + lasts / 2 => Life::Still(stood),
        (false, _) => Life::Lives,
    }
}

/// How long a claim may be nobody's while its attempt has no end: it is told before the claim is given back.
const FREE: Duration = Duration::from_secs(10);

/// What its scheduler says, where nobody else says anything.
fn of(cause: Cause, word: &str) -> End {
    let told = |text: &str| format!("{text} ({word})");
    match cause {
        Cause::OutOfMemory => End::OutOfMemory(told("its scheduler ended it")),
        Cause::Evicted => End::Evicted(word.into()),
        Cause::Cancelled => End::Cancelled(told("its job was cancelled")),
        Cause::Unstartable => End::Unstartable(told("its job could not be started")),
        Cause::Whole | Cause::Failed(_) => End::Lost(told("its job ended and left no word of how")),
    }
}
