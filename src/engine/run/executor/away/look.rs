//! Looks where jobs are: one question to the scheduler about all of them, and what lies in the folders of their attempts.

use super::board::{Board, Post};
use super::judge;
use super::pace::{self, Seen};
use super::posting::{Posting, Stage};
use super::watched::Watched;
use crate::kind::conclusion::Result as Told;
use crate::kind::failure::{Class, End};
use crate::run::dispatch;
use crate::run::scheduler::{JobId, Look};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

impl Post {
    /// One question about all jobs. No answer is no news.
    pub(super) fn look(&self) {
        let ids: Vec<JobId> = {
            let board = self.board();
            let ids = board.jobs.values().filter_map(|job| job.job().cloned());
            ids.collect()
        };
        if ids.is_empty() {
            return;
        }
        let Ok(mut looks) = self.scheduler.look(&ids) else {
            return;
        };
        let mut board = self.board();
        let Board { attempts, jobs, .. } = &mut *board;
        for (first, job) in jobs {
            let Some(id) = job.job().filter(|id| ids.contains(id)).cloned() else {
                continue;
            };
            let mut own = attempts.values_mut().filter(|w| w.job == *first);
            self.hear(job, &id, looks.remove(&id), &mut own);
        }
    }

    fn hear(
        &self,
        job: &mut Posting,
        id: &JobId,
        look: Option<Look>,
        own: &mut dyn Iterator<Item = &mut Watched>,
    ) {
        let now = Instant::now();
        let before = (job.over.is_some(), job.unknown.is_some(), job.host.clone());
        job.unknown = match look {
            None => job.unknown.or(Some(now)),
            Some(_) => None,
        };
        let mut word = String::new();
        match look {
            Some(Look::Waiting(why)) => (job.over, job.host, word) = (None, None, why),
            Some(Look::Running { host }) => (job.over, job.host) = (None, Some(host)),
            Some(Look::Ended { cause, word }) => {
                let since = job.over.take().map_or(now, |(since, _, _)| since);
                job.over = Some((since, cause, word));
            }
            // Where it is known no more, what was known last stands.
            None => {}
        }
        let changed = before != (job.over.is_some(), job.unknown.is_some(), job.host.clone());
        for watched in own {
            if changed {
                watched.pace.hurry(now);
                watched.closely = now;
            }
            if job.unknown.is_none() && job.over.is_none() {
                self.tell(job, id, watched, &word);
            }
        }
    }

    /// Where an attempt is: on the machine of its job when its turn has come.
    fn tell(&self, job: &Posting, id: &JobId, watched: &mut Watched, word: &str) {
        let place = match &job.host {
            Some(host) if watched.turn || watched.begun => {
                self.place(Some(id), Some(host.clone()), "")
            }
            Some(host) => self.place(Some(id), None, &format!("for its turn on {host}")),
            None => self.place(Some(id), None, word),
        };
        watched.tell(place);
    }

    /// What lies in the folders of the attempts: words, and ends.
    pub(super) fn read(&self) {
        let now = Instant::now();
        let mut ended: Vec<(String, End)> = vec![];
        {
            let mut board = self.board();
            let Board { attempts, jobs, .. } = &mut *board;
            let all = attempts.len();
            for job in jobs.values_mut() {
                self.read_job(job, attempts, all, now, &mut ended);
            }
        }
        for (name, end) in ended {
            self.end(&name, end);
        }
    }

    fn read_job(
        &self,
        job: &mut Posting,
        attempts: &mut BTreeMap<String, Watched>,
        all: usize,
        now: Instant,
        ended: &mut Vec<(String, End)>,
    ) {
        if job.stage == Stage::New {
            return;
        }
        let mut turn = true;
        let names = std::mem::take(&mut job.attempts);
        for name in &names {
            let Some(watched) = attempts.get_mut(name) else {
                continue;
            };
            let first = std::mem::replace(&mut turn, false);
            if first && !watched.turn {
                watched.turn = true;
                watched.pace.hurry(now);
                job.at_work = None;
                if let (Some(id), None) = (job.job().cloned(), &job.over) {
                    self.tell(job, &id, watched, "");
                }
            }
            let pressed = job.over.is_some() || job.given_up.is_some() || watched.asked.is_some();
            if !watched.pace.is_due(now) {
                continue;
            }
            let moved = watched.pass_on();
            if moved || pressed || watched.closely <= now {
                watched.closely = now + self.closely();
                if let Some(end) = judge::end(&self.profile, &self.store, job, watched) {
                    ended.push((name.clone(), unreached(job, watched, end)));
                    // The next may be over as well.
                    turn = first;
                    continue;
                }
            }
            let seen = match () {
                () if moved || pressed => Seen::Moving,
                () if watched.begun => Seen::AtWork,
                () if watched.turn => Seen::Next,
                () => Seen::Later,
            };
            watched.pace.looked(now, seen, all);
            if first && watched.begun {
                job.at_work.get_or_insert(now);
            }
        }
        job.attempts = names;
        self.release(job, attempts, ended);
    }

    /// One that takes longer than all of its job were to take lets those go on elsewhere that wait for it.
    fn release(
        &self,
        job: &Posting,
        attempts: &BTreeMap<String, Watched>,
        ended: &mut Vec<(String, End)>,
    ) {
        let patience = Duration::from_secs_f64(self.profile.pack_seconds);
        if job.at_work.is_none_or(|since| since.elapsed() <= patience) {
            return;
        }
        let waits = |w: &&Watched| !w.begun && !w.turn && w.asked.is_none();
        for watched in job
            .attempts
            .iter()
            .filter_map(|name| attempts.get(name))
            .filter(waits)
        {
            let name = watched.attempt.name();
            // A glance before: its turn may have come just now.
            if dispatch::begun(&watched.attempt).is_none() && !ended.iter().any(|(n, _)| *n == name)
            {
                let why = "the node before it in its job takes longer than was expected";
                ended.push((name, End::Unreached(why.into())));
            }
        }
    }

    fn closely(&self) -> Duration {
        pace::closely(self.store.claims().lasts())
    }
}

/// What became of one that its job never came to, while it came to others: nothing, and that is no fault of its own.
fn unreached(job: &Posting, watched: &Watched, end: End) -> End {
    if watched.begun || !job.reached {
        return end;
    }
    let told = "its job ended before it was its turn";
    match end {
        End::Evicted(why) | End::Lost(why) | End::OutOfMemory(why) | End::Unstartable(why) => {
            End::Unreached(format!("{told}: {why}"))
        }
        End::Attended(conclusion) => match &conclusion.result {
            Told::Failed {
                class: Class::Evicted,
                ..
            } => End::Unreached(told.into()),
            _ => End::Attended(conclusion),
        },
        end => end,
    }
}
