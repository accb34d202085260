//! Submits what waited for others that are like it, and looks for what may have been submitted.

use super::board::Post;
use super::posting::{Posting, Stage};
use super::watched::{Ask, Watched};
use crate::kind::attempt::Attempt;
use crate::kind::failure::End;
use crate::run::dispatch::{self, Posted};
use crate::run::scheduler::{JobId, Order, Refusal};
use crate::system::gpus;
use anyhow::Result;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A job whose submission is doubtful and that is not found so often was not submitted.
const MISSED: usize = 3;
/// A job that was submitted so often, each time with no reply and no trace of it, will not be.
const DOUBTS: usize = 5;
/// So many jobs are submitted in one round.
const BATCH: usize = 256;
/// Where no job is there that could make anything ready, and nothing became ready for so long, nothing will.
const QUIET: Duration = Duration::from_millis(250);
/// As long as the engine goes on starting what is ready, submissions wait so many times as long for it.
const BUSY: u32 = 10;

/// A job that is to be submitted.
struct New {
    /// Of its attempts.
    first: String,
    attempts: Vec<String>,
    order: Order,
}

impl Post {
    /// Asks for the jobs that are new, all at once, when they have waited for others for long enough.
    pub(super) fn submit(&self) {
        let mut unmade = vec![];
        let mut new: Vec<New> = vec![];
        {
            let mut board = self.board();
            let resting = self.resting.load(Ordering::Relaxed);
            // An engine that leaves its jobs waits for nothing more to go with them.
            let leaves = |w: &Watched| matches!(w.asked, Some((Ask::Leave, _)));
            let left = board.attempts.values().any(leaves);
            if !left && !is_due(board.jobs.values(), self.profile.gather(), resting) {
                return;
            }
            let jobs = board.jobs.iter_mut();
            for (first, job) in jobs.filter(|(_, job)| job.stage == Stage::New).take(BATCH) {
                job.closed = true;
                if job.order.is_none() {
                    job.attempts.retain(|name| !job.others.contains(name));
                    job.others.clear();
                    match self.order(first, job) {
                        Ok(order) => job.order = Some(order),
                        Err(error) => unmade.push((job.attempts.clone(), format!("{error:#}"))),
                    }
                }
                new.extend(job.order.clone().map(|order| New {
                    first: first.clone(),
                    attempts: job.attempts.clone(),
                    order,
                }));
            }
        }
        for (attempts, why) in unmade {
            self.end_all(&attempts, || End::Unstartable(why.clone()));
        }
        if new.is_empty() {
            return;
        }
        let orders: Vec<Order> = new.iter().map(|new| new.order.clone()).collect();
        let replies = self.scheduler.submit_all(&orders);
        for (new, reply) in new.into_iter().zip(replies) {
            match reply {
                // The next round comes to it.
                None => {}
                Some(Ok(id)) => self.submitted(&new.first, id),
                Some(Err(Refusal::Refused(why))) => {
                    let told = format!("{} refuses it: {why:#}", self.profile.name);
                    self.end_all(&new.attempts, || End::Unstartable(told.clone()));
                }
                Some(Err(Refusal::Doubtful(why))) => self.doubt(&new.first, &why),
            }
        }
    }

    fn end_all(&self, attempts: &[String], end: impl Fn() -> End) {
        for name in attempts {
            self.end(name, end());
        }
    }

    /// What is asked of the scheduler. Of a job that several attempts share it is written down where each of them finds it.
    fn order(&self, first: &str, job: &Posting) -> Result<Order> {
        let attempt = |name: &str| Attempt {
            dir: self.store.attempts().join(name),
        };
        let folder = match job.is_shared(first) {
            false => dispatch::folder(&attempt(first))?,
            true => {
                let posted = self.posted(first, job, None);
                dispatch::post_shared(&self.store, &posted)?
            }
        };
        // A job has no environment of ours.
        let kernels = gpus::kernels().map(|said| ["env".to_string(), said]);
        let words = [
            self.pipe.display().to_string(),
            "attend".into(),
            "--store".into(),
            self.there.display().to_string(),
        ];
        Ok(Order {
            attempts: job.attempts.clone(),
            name: self.called(first),
            words: kernels
                .into_iter()
                .flatten()
                .chain(words)
                .chain(job.attempts.clone())
                .collect(),
            folder,
            cpus: job.load.cpus,
            partition: job.load.partition.clone(),
            needs: job.load.needs,
        })
    }

    /// Jobs of all stores have their names in one place, and a name begins with a letter.
    fn called(&self, first: &str) -> String {
        let store = self.there.as_os_str().as_encoded_bytes();
        format!("pipe-{}-{first}", &blake3::hash(store).to_hex()[..8])
    }

    fn posted(&self, first: &str, job: &Posting, id: Option<JobId>) -> Posted {
        Posted {
            id,
            attempts: job.attempts.clone(),
            ..Posted::new(&self.profile.name, first.into())
        }
    }

    fn submitted(&self, first: &str, id: JobId) {
        let mut board = self.board();
        let board = &mut *board;
        let Some(job) = board.jobs.get_mut(first) else {
            return;
        };
        let posted = self.posted(first, job, Some(id.clone()));
        let alone = board.attempts.get(first).filter(|_| !job.is_shared(first));
        let written = match alone {
            Some(watched) => dispatch::post(&self.store, &watched.attempt, &posted),
            None => dispatch::post_shared(&self.store, &posted).map(drop),
        };
        for watched in board.attempts.values_mut().filter(|w| w.job == first) {
            // Who takes this up without it looks for the job by its name.
            if let Err(error) = &written {
                watched.says(format!("{error:#}"));
            }
            watched.tell(self.place(Some(&id), None, ""));
        }
        job.stage = Stage::Submitted(id);
        job.doubts = 0;
    }

    /// It may have been submitted, and is looked for. One that was submitted so often and never found is not taken.
    fn doubt(&self, first: &str, why: &anyhow::Error) {
        let mut board = self.board();
        let Some(job) = board.jobs.get_mut(first) else {
            return;
        };
        job.doubts += 1;
        if job.doubts > DOUBTS {
            let attempts = job.attempts.clone();
            drop(board);
            let on = &self.profile.name;
            let told = format!("{on} did not take it in {DOUBTS} tries: {why:#}");
            return self.end_all(&attempts, || End::Unstartable(told.clone()));
        }
        job.stage = self.doubtful(0);
        for watched in board.attempts.values().filter(|w| w.job == first) {
            watched.says(format!(
                "its submission is doubtful, and is looked for: {why:#}"
            ));
        }
    }

    fn doubtful(&self, missed: usize) -> Stage {
        let pause = self.profile.ask_seconds.min(5.0);
        Stage::Doubtful {
            at: Instant::now() + Duration::from_secs_f64(pause),
            missed,
        }
    }

    /// Looks for jobs that may have been submitted; those that are surely not there are submitted again.
    pub(super) fn find(&self) {
        let now = Instant::now();
        let due: Vec<(String, String, usize)> = {
            let board = self.board();
            let due = board
                .jobs
                .iter()
                .filter_map(|(first, job)| match job.stage {
                    Stage::Doubtful { at, missed } if at <= now => {
                        Some((first.clone(), self.called(first), missed))
                    }
                    _ => None,
                });
            due.collect()
        };
        if due.is_empty() {
            return;
        }
        let names: Vec<&str> = due.iter().map(|(_, name, _)| name.as_str()).collect();
        let found = self.scheduler.find_all(&names);
        for (first, name, missed) in &due {
            match found.as_ref().map(|found| found.get(name)) {
                Ok(Some(id)) => self.submitted(first, id.clone()),
                Ok(None) => self.missed(first, *missed, true),
                // No answer is no news.
                Err(_) => self.missed(first, *missed, false),
            }
        }
    }

    /// It was not found; `surely`: its scheduler would know it.
    fn missed(&self, first: &str, missed: usize, surely: bool) {
        let mut board = self.board();
        let board = &mut *board;
        let Some(job) = board.jobs.get_mut(first) else {
            return;
        };
        // One that has begun is there, whatever it is called.
        let mut begun = false;
        for watched in board.attempts.values_mut().filter(|w| w.job == first) {
            if let Some(who) = dispatch::begun(&watched.attempt) {
                watched.tell(self.place(None, Some(who.host), ""));
                begun = true;
            }
        }
        let missed = missed + usize::from(surely && !begun);
        job.stage = match missed >= MISSED {
            true => Stage::New,
            false => self.doubtful(missed),
        };
    }
}

/// Whether those that are new have waited for long enough, or for nothing. `resting`: nothing else could be started for now.
fn is_due<'a>(jobs: impl Iterator<Item = &'a Posting>, gather: Duration, resting: bool) -> bool {
    let (mut oldest, mut newest, mut others) = (Duration::ZERO, gather, false);
    let mut any = false;
    for job in jobs {
        if job.stage != Stage::New {
            others = true;
            continue;
        }
        // It was to be submitted before.
        if job.closed {
            return true;
        }
        any = true;
        oldest = oldest.max(job.since.elapsed());
        newest = newest.min(job.grown.elapsed());
    }
    let alone = !others && newest >= QUIET.min(gather);
    any && (resting && (oldest >= gather || alone) || oldest >= BUSY * gather)
}
