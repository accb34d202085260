//! The worker of an attempt that is attended to: started, heard, stopped.

use super::super::keeper::{Keeper, LOST};
use super::one::{One, Why, failed, local};
use super::words::Words;
use crate::kind::conclusion::Result as Ended;
use crate::kind::failure::{self, Class, End};
use crate::run::dispatch::Asked;
use crate::run::executor::{Job, News, Resources, Task};
use crate::run::secrets::redact_files;
use crate::store::claims::Claim;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A worker whose claim is lost has this long to end.
const LOST_GRACE: Duration = Duration::from_secs(5);

/// How it ended, where it did not end well; and the worker's highest memory.
pub(super) fn work(
    one: &One,
    claim: &Arc<dyn Claim>,
    keeper: &Keeper,
    secrets: &BTreeMap<String, String>,
) -> Result<(Option<Ended>, Option<u64>)> {
    let (sender, news) = mpsc::channel();
    let sender = Mutex::new(sender);
    let listener = Arc::new(move |news| {
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = sender.send(news); // Who does not listen any more has an error to tell.
    });
    let mut words = Words::new(&one.attempt, secrets)?;
    let job = Job {
        attempt: &one.attempt,
        program: one.program,
        lock: claim.file().expect("claims of a store are files"),
        given: Resources {
            threads: one.spec.threads,
            gpus: one.terms.needs.gpus,
            memory: None,
        },
        secrets,
        expected: None,
    };
    let task = local().start(&job, listener)?;
    let why = watch(one, &*task, &news, keeper, &mut words);
    words.sync();
    redact_files(&one.attempt.logs(), secrets);
    let ending = task.end();
    if why == Some(Why::Claim) {
        return Ok((Some(failed(Class::Evicted, LOST)), ending.peak));
    }
    if ending.end == End::Exited(0) {
        return Ok((None, ending.peak));
    }
    let (class, message) = failure::classify(&ending, words.complaint.as_ref(), why.is_some());
    let ended = match (class, why) {
        (Class::Interrupted, Some(Why::Scheduler)) => failed(
            Class::Evicted,
            "it was evicted: its scheduler asked it to end",
        ),
        _ => failed(class, &message),
    };
    Ok((Some(ended), ending.peak))
}

/// Until the worker has ended. Returns who wanted that, if anybody did.
fn watch(
    one: &One,
    task: &dyn Task,
    news: &Receiver<News>,
    keeper: &Keeper,
    words: &mut Words,
) -> Option<Why> {
    let mut stopped: Option<(Instant, Why)> = None;
    let mut looked = Instant::now();
    loop {
        match news.recv_timeout(TICK) {
            Ok(News::Message(message)) => words.hear(message),
            Ok(News::Place(_)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(News::Ended) | Err(RecvTimeoutError::Disconnected) => {
                return stopped.map(|(_, why)| why);
            }
        }
        words.tick();
        let lost = keeper.lost().then_some((Asked::Stop, Why::Claim));
        let asked = lost.or_else(|| one.asked());
        if let (Some((_, why)), None) = (asked, stopped) {
            task.stop();
            stopped = Some((Instant::now(), why));
        }
        if let Some((since, why)) = stopped {
            let grace = match why {
                Why::Claim => LOST_GRACE,
                _ => Duration::from_secs_f64(one.terms.grace_seconds),
            };
            let now = asked.is_some_and(|(what, _)| what == Asked::Kill);
            if now || since.elapsed() > grace {
                task.kill();
            }
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            task.peak();
        }
    }
}
