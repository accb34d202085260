//! Passes on what the engine wants of attempts: to whoever attends to them first, and to the scheduler when they had their time.

use super::board::Post;
use super::pace::KILLED;
use super::posting::{Posting, Stage};
use super::watched::{Ask, Watched};
use crate::kind::failure::End;
use crate::run::dispatch::{self, Asked};
use crate::run::scheduler::JobId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A cancel that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);

impl Post {
    pub(super) fn heed(&self) {
        let mut ended = vec![];
        let mut cancel = vec![];
        {
            let mut board = self.board();
            let board = &mut *board;
            // By job, those that something is asked of.
            let mut pressed: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (name, watched) in board.attempts.iter().filter(|(_, w)| w.asked.is_some()) {
                let job = pressed.entry(watched.job.clone()).or_default();
                job.push(name.clone());
            }
            for (first, asked) in pressed {
                let job = board.jobs.get_mut(&first).expect("an attempt is in a job");
                let of_job = |name: &String| board.attempts.contains_key(name);
                let open = job.attempts.iter().filter(|name| of_job(name)).count();
                let all = open == asked.len();
                let mut own: Vec<&mut Watched> = board
                    .attempts
                    .values_mut()
                    .filter(|w| w.job == first && w.asked.is_some())
                    .collect();
                own.iter_mut().for_each(|w| self.mark(w, job));
                ended.extend(own.iter().filter_map(|w| self.over(w, job, all)));
                let own: Vec<&Watched> = own.into_iter().map(|w| &*w).collect();
                if all && self.is_to_be_cancelled(&own, job) {
                    cancel.extend(job.job().cloned());
                    job.cancelled = Some(Instant::now());
                }
            }
        }
        if !cancel.is_empty() {
            self.cancel(&cancel);
        }
        for (name, how) in ended {
            self.end(&name, End::Cancelled(how.into()));
        }
    }

    /// Tells whoever attends to it.
    fn mark(&self, watched: &mut Watched, job: &Posting) {
        let word = match watched.asked {
            None | Some((Ask::Leave, _)) => return,
            Some((Ask::Kill, _)) => Asked::Kill,
            Some((Ask::Stop, _)) => Asked::Stop,
        };
        if job.stage == Stage::New || watched.marked >= Some(word) {
            return;
        }
        match dispatch::ask(&self.store, &watched.attempt, word) {
            Ok(()) => watched.marked = Some(word),
            Err(error) => watched.says(format!("{error:#}")),
        }
        watched.begun |= dispatch::begun(&watched.attempt).is_some();
        watched.pace.hurry(Instant::now());
    }

    /// How one has ended that is not waited for any more. `all`: nothing else is expected of its job.
    fn over(&self, watched: &Watched, job: &Posting, all: bool) -> Option<(String, &'static str)> {
        let (ask, since) = watched.asked?;
        let late = since.elapsed() > self.profile.grace();
        let doubtful = matches!(job.stage, Stage::Doubtful { .. });
        let killed = ask == Ask::Kill && since.elapsed() > KILLED;
        let how = match ask {
            // It is submitted first.
            Ask::Leave if job.stage == Stage::New => return None,
            Ask::Leave => "its job goes on",
            _ if job.stage == Stage::New => "it was not submitted",
            // Others of its job go on, or save their state.
            _ if !watched.begun && (!all || job.at_work.is_some()) && !doubtful => {
                "its turn had not come"
            }
            _ if doubtful && !watched.begun && (late || ask == Ask::Kill) => {
                "nobody knows whether it was submitted; if so, it ends at once"
            }
            _ if killed && watched.attempt.conclusion().is_none() => "it was cancelled",
            _ => return None,
        };
        Some((watched.attempt.name(), how))
    }

    /// All that this engine waits for in a job is to end.
    fn is_to_be_cancelled(&self, asked: &[&Watched], job: &Posting) -> bool {
        let kills = |w: &&Watched| matches!(w.asked, Some((Ask::Kill, _)));
        let leaves = |w: &&Watched| matches!(w.asked, Some((Ask::Leave, _)));
        let late = |w: &&Watched| {
            let grace = self.profile.grace();
            w.asked.is_some_and(|(_, since)| since.elapsed() > grace)
        };
        let mut begun = asked.iter().copied().filter(|w| w.begun);
        let due = asked.iter().any(kills) || begun.all(|w| late(&w));
        let again = job.again.is_none_or(|at| at <= Instant::now());
        let told = job.cancelled.is_some() || job.job().is_none();
        due && again && !told && !asked.iter().any(leaves) && self.is_everybodys_end(job)
    }

    fn cancel(&self, jobs: &[JobId]) {
        let Err(error) = self.scheduler.cancel(jobs) else {
            return;
        };
        // It is tried again.
        let mut board = self.board();
        let board = &mut *board;
        for (first, job) in &mut board.jobs {
            if !job.job().is_some_and(|id| jobs.contains(id)) {
                continue;
            }
            job.cancelled = None;
            if job.again.is_none() {
                let own = board.attempts.values().filter(|w| w.job == *first);
                own.for_each(|w| w.says(format!("it could not be cancelled: {error:#}")));
            }
            job.again = Some(Instant::now() + AGAIN);
        }
    }
}
