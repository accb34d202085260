//! How long a remote may keep one waiting: two seconds in all, and three failures in a row. Then it is left alone, which is told once.

use anyhow::{Context, Result, anyhow};
use object_store::Error;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What waiting for nothing may cost in all.
pub(crate) const MOST: Duration = Duration::from_secs(2);

/// What one request is given at least, however much was waited before.
const LEAST: Duration = Duration::from_millis(200);

/// An answer that took so long was quick; what is beyond it was waited for.
const QUICK: Duration = Duration::from_millis(300);

/// Failures in a row.
const FAILURES: usize = 3;

pub(crate) struct Patience {
    closed: watch::Sender<bool>,
    state: Mutex<State>,
    /// Whatever is published: somebody waits for it on purpose.
    endless: AtomicBool,
}

#[derive(Default)]
struct State {
    waited: Duration,
    failures: usize,
    remark: Option<String>,
}

/// Whether somebody waits.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Waiting {
    /// A plan, or a node that is about to start.
    Somebody,
    /// It goes on beside the run, and may take so long.
    Nobody(Duration),
    /// As that; and where it fails, the remote is not left alone for it.
    Aside(Duration),
}

/// What came of a request.
pub(crate) enum Answer<T> {
    Given(T),
    /// The remote has answered that it cannot.
    Refused(Error),
}

impl Patience {
    pub fn new() -> Patience {
        Patience {
            closed: watch::Sender::new(false),
            state: Mutex::default(),
            endless: AtomicBool::new(false),
        }
    }

    /// For who asked for the transfer and sees it: a remote that is slow is waited for.
    pub fn have_more(&self) {
        self.endless.store(true, Ordering::Relaxed);
    }

    /// Whether somebody waits for nothing else.
    pub fn is_endless(&self) -> bool {
        self.endless.load(Ordering::Relaxed)
    }

    pub fn is_open(&self) -> bool {
        !*self.closed.borrow()
    }

    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    pub fn remark(&self) -> Option<String> {
        self.state().remark.take()
    }

    /// It is left alone from now on; why matters more than whatever else was to be told.
    pub fn end(&self, why: String) {
        self.state().remark = Some(why);
        self.close();
    }

    /// To be told, beside what goes on.
    pub fn say(&self, text: String) {
        self.state().remark.get_or_insert(text);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        match self.endless.load(Ordering::Relaxed) {
            true => 15 * MOST,
            false => MOST.saturating_sub(self.state().waited).max(LEAST),
        }
    }

    /// A request, for as long as there is patience.
    pub async fn ask<T>(
        &self,
        waiting: Waiting,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<Answer<T>> {
        let mut closed = self.closed.subscribe();
        let left_alone = || anyhow!("the remote is left alone");
        if *closed.borrow() {
            return Err(left_alone());
        }
        let most = match waiting {
            Waiting::Somebody => self.left(),
            Waiting::Nobody(most) | Waiting::Aside(most) => most,
        };
        let began = Instant::now();
        let answered = tokio::select! {
            biased;
            answered = tokio::time::timeout(most, request) => answered,
            _ = closed.wait_for(|closed| *closed) => return Err(left_alone()),
        };
        let failed = match answered {
            Ok(Ok(given)) => {
                self.state().failures = 0;
                return Ok(Answer::Given(given));
            }
            Ok(Err(error)) if answers(&error) => {
                self.state().failures = 0;
                return Ok(Answer::Refused(error));
            }
            // In one line: each layer of a client repeats what the one below says.
            Ok(Err(error)) => anyhow!(innermost(&error.into())),
            Err(_) => no_answer(most),
        };
        if !matches!(waiting, Waiting::Aside(_)) {
            self.failed(&failed, began.elapsed(), waiting);
        }
        Err(failed)
    }

    /// Somebody waited so long for an answer that came: what is slow each time is left alone in the end as well.
    pub fn took(&self, long: Duration) {
        if self.endless.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        state.waited += long.saturating_sub(QUICK);
        if state.waited >= MOST && self.is_open() {
            state.remark = Some("it is too slow, and is left alone from now on".into());
            drop(state);
            self.close();
        }
    }

    /// It did not work, and took so long.
    pub fn failed(&self, error: &anyhow::Error, took: Duration, waiting: Waiting) {
        let mut state = self.state();
        state.failures += 1;
        if waiting == Waiting::Somebody && !self.endless.load(Ordering::Relaxed) {
            state.waited += took;
        }
        if (state.failures >= FAILURES || state.waited >= MOST) && self.is_open() {
            let told = innermost(error);
            state.remark = Some(format!(
                "it does not answer ({told}), and is left alone from now on"
            ));
            drop(state);
            self.close();
        }
    }
}

pub(crate) fn no_answer(most: Duration) -> anyhow::Error {
    anyhow!("no answer within {:.1} s", most.as_secs_f64())
}

/// The cause, in words where it has some, else without the ways that led there.
pub(crate) fn innermost(error: &anyhow::Error) -> String {
    let known = error.chain().find_map(|cause| match cause.downcast_ref()? {
        Error::PermissionDenied { .. } => Some("this identity may not read it"),
        Error::Unauthenticated { .. } => Some("it does not know who is asking"),
        // Of a list, of which nothing more is told.
        error @ Error::Generic { .. } => {
            let text = source_of(error);
            let codes = [
                ("404", "there is no such bucket"),
                ("403", "this identity may not read it"),
                ("401", "it does not know who is asking"),
            ];
            let mut fits = codes
                .iter()
                .filter(|(code, _)| text.contains(&format!("status code: {code} ")));
            fits.next().map(|(_, words)| *words)
        }
        _ => None,
    });
    if let Some(known) = known {
        return known.into();
    }
    let last = error.chain().last().map(ToString::to_string);
    let text = last.unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

/// All that an error says of its causes.
fn source_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(|cause| format!("{cause}\n")).collect()
}

/// Whether an error shows that somebody is there, who means it.
fn answers(error: &Error) -> bool {
    match error {
        Error::NotFound { .. }
        | Error::AlreadyExists { .. }
        | Error::Precondition { .. }
        | Error::NotModified { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. } => true,
        error => of_the_disk(error).is_some(),
    }
}

/// What a folder's file system says.
pub(crate) fn of_the_disk(error: &(dyn std::error::Error + 'static)) -> Option<std::io::ErrorKind> {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let mut at = Some(error);
    while let Some(one) = at {
        let kind = one.downcast_ref::<std::io::Error>().map(|e| e.kind());
        let meant = [
            PermissionDenied,
            QuotaExceeded,
            ReadOnlyFilesystem,
            StorageFull,
        ];
        if let Some(kind) = kind.filter(|kind| meant.contains(kind)) {
            return Some(kind);
        }
        at = one.source();
    }
    None
}

impl<T> Answer<T> {
    /// Nothing where there is no such object.
    pub fn found(self) -> Result<Option<T>> {
        match self {
            Answer::Given(given) => Ok(Some(given)),
            Answer::Refused(Error::NotFound { .. }) => Ok(None),
            Answer::Refused(error) => Err(error.into()),
        }
    }

    pub fn given(self) -> Result<T> {
        match self {
            Answer::Given(given) => Ok(given),
            Answer::Refused(error) => Err(error).context("the remote refuses it"),
        }
    }
}
