//! The one thread that speaks with the scheduler, for all jobs of an engine at once: it submits, asks, ends, and looks at what lies in
//! the attempts' folders.

use super::super::Place;
use super::judge;
use super::watched::{Ask, Stage, Watched};
use crate::kind::failure::End;
use crate::run::dispatch::{self, Asked};
use crate::run::profile::Profile;
use crate::run::scheduler::{JobId, Look, Order, Refusal, Scheduler};
use crate::store::Store;
use anyhow::Result;
use base::threads;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);
/// A job whose submission is doubtful and that is not found so often was not submitted.
const MISSED: usize = 3;
/// A job that was submitted so often, each time with no reply and no trace of it, will not be.
const DOUBTS: usize = 5;
/// A cancel that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// So many jobs are submitted in one round.
const BATCH: usize = 256;
/// After a kill nobody waits longer than this for the scheduler to confirm it.
const KILLED: Duration = Duration::from_secs(20);

type Jobs = BTreeMap<String, Watched>;

pub struct Post {
    pub profile: Profile,
    pub store: Store,
    scheduler: Arc<dyn Scheduler>,
    jobs: Mutex<Jobs>,
}

impl Post {
    pub fn open(
        profile: Profile,
        scheduler: Arc<dyn Scheduler>,
        store: Store,
    ) -> Result<Arc<Post>> {
        let post = Arc::new(Post {
            profile,
            store,
            scheduler,
            jobs: Mutex::default(),
        });
        let own = Arc::downgrade(&post);
        threads::start(move || {
            let mut looked = Instant::now();
            while let Some(post) = own.upgrade() {
                post.round(&mut looked);
                drop(post);
                std::thread::sleep(TICK);
            }
        })?;
        Ok(post)
    }

    pub fn add(&self, name: String, watched: Watched) -> Result<()> {
        self.jobs().insert(name, watched);
        Ok(())
    }

    /// What the engine wants of a job. Asked again, it is the same.
    pub fn ask(&self, name: &str, ask: Ask) {
        if let Some(watched) = self.jobs().get_mut(name)
            && watched.asked.is_none_or(|(before, _)| before < ask)
        {
            watched.asked = Some((ask, Instant::now()));
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round(&self, looked: &mut Instant) {
        self.submit();
        self.find();
        self.heed();
        let every = Duration::from_secs_f64(self.profile.ask_seconds);
        let soon = self.jobs().values().any(|w| w.cancelled.is_some());
        let due = if soon { every.min(KILLED / 10) } else { every };
        if looked.elapsed() >= due {
            self.look();
            *looked = Instant::now();
        }
        self.read();
    }

    /// Asks for the jobs that are new, all at once.
    fn submit(&self) {
        let new = |w: &&Watched| w.stage == Stage::New && w.asked.is_none();
        let orders: Vec<(String, Order)> = {
            let jobs = self.jobs();
            let new = jobs.iter().filter(|(_, w)| new(w)).take(BATCH);
            new.map(|(name, w)| (name.clone(), w.order.clone()))
                .collect()
        };
        if orders.is_empty() {
            return;
        }
        let asked: Vec<Order> = orders.iter().map(|(_, order)| order.clone()).collect();
        let replies = self.scheduler.submit_all(&asked);
        for ((name, _), reply) in orders.into_iter().zip(replies) {
            // The next round comes to it.
            let Some(reply) = reply else { continue };
            match reply {
                Ok(job) => self.submitted(&name, job),
                Err(Refusal::Refused(why)) => {
                    let on = &self.profile.name;
                    self.end(&name, End::Unstartable(format!("{on} refuses it: {why:#}")));
                }
                Err(Refusal::Doubtful(why)) => self.doubt(&name, &why),
            }
        }
    }

    /// It may have been submitted, and is looked for. One that was submitted so often and never found is not taken.
    fn doubt(&self, name: &str, why: &anyhow::Error) {
        let mut jobs = self.jobs();
        let Some(watched) = jobs.get_mut(name) else {
            return;
        };
        watched.doubts += 1;
        if watched.doubts > DOUBTS {
            drop(jobs);
            let told = format!(
                "{} did not take it in {DOUBTS} tries: {why:#}",
                self.profile.name
            );
            return self.end(name, End::Unstartable(told));
        }
        watched.says(format!(
            "its submission is doubtful, and is looked for: {why:#}"
        ));
        watched.stage = self.doubtful(0);
    }

    fn doubtful(&self, missed: usize) -> Stage {
        let pause = self.profile.ask_seconds.min(5.0);
        Stage::Doubtful {
            at: Instant::now() + Duration::from_secs_f64(pause),
            missed,
        }
    }

    fn submitted(&self, name: &str, job: JobId) {
        let mut jobs = self.jobs();
        let Some(watched) = jobs.get_mut(name) else {
            return;
        };
        // Who takes this up without it looks for the job by its name.
        if let Err(error) = dispatch::post(
            &self.store,
            &watched.attempt,
            &self.profile.name,
            Some(&job),
        ) {
            watched.says(format!("{error:#}"));
        }
        watched.tell(self.place(Some(&job), None, ""));
        watched.stage = Stage::Submitted(job);
        watched.doubts = 0;
    }

    fn place(&self, job: Option<&JobId>, host: Option<String>, word: &str) -> Place {
        Place {
            on: self.profile.name.clone(),
            job: job.map(|job| job.0.clone()),
            host,
            word: word.into(),
        }
    }

    /// Looks for jobs that may have been submitted; those that are surely not there are submitted again.
    fn find(&self) {
        let now = Instant::now();
        let due: Vec<(String, String, usize)> = {
            let jobs = self.jobs();
            let due = jobs.iter().filter_map(|(name, w)| match &w.stage {
                Stage::Doubtful { at, missed } if *at <= now => {
                    Some((name.clone(), w.order.name.clone(), *missed))
                }
                _ => None,
            });
            due.collect()
        };
        for (name, called, missed) in due {
            match self.scheduler.find(&called) {
                Ok(Some(job)) => self.submitted(&name, job),
                found => {
                    // No answer is no news, and the others will have none either.
                    let unheard = found.is_err();
                    if let Some(watched) = self.jobs().get_mut(&name) {
                        // One that has begun is there, whatever it is called.
                        let begun = dispatch::begun(&watched.attempt);
                        let absent = found.is_ok() && begun.is_none();
                        let missed = missed + usize::from(absent);
                        if let Some(begun) = begun {
                            watched.tell(self.place(None, Some(begun.host), ""));
                        }
                        watched.stage = match missed >= MISSED {
                            true => Stage::New,
                            false => self.doubtful(missed),
                        };
                    }
                    if unheard {
                        break;
                    }
                }
            }
        }
    }

    /// Passes on what the engine wants: to the attempt first, and to the scheduler when that had its time.
    fn heed(&self) {
        let mut cancel = vec![];
        let mut ended = vec![];
        for (name, watched) in self.jobs().iter_mut() {
            let Some((ask, since)) = watched.asked else {
                continue;
            };
            if ask == Ask::Leave {
                ended.push((name.clone(), "its job goes on"));
                continue;
            }
            if watched.stage == Stage::New {
                ended.push((name.clone(), "it was not submitted"));
                continue;
            }
            let word = match ask {
                Ask::Kill => Asked::Kill,
                _ => Asked::Stop,
            };
            if dispatch::asked(&watched.attempt) < Some(word) {
                let asked = dispatch::ask(&self.store, &watched.attempt, word);
                asked.unwrap_or_else(|error| watched.says(format!("{error:#}")));
            }
            let begun = dispatch::begun(&watched.attempt).is_some();
            let late = since.elapsed() > self.profile.grace();
            let due = watched.cancelled.is_none() && (ask == Ask::Kill || late || !begun);
            let due = due && watched.again.is_none_or(|at| at <= Instant::now());
            if let Some(job) = watched.job().filter(|_| due).cloned() {
                watched.cancelled = Some(Instant::now());
                cancel.push(job);
            }
            let doubtful = matches!(watched.stage, Stage::Doubtful { .. }) && !begun;
            if doubtful && (late || ask == Ask::Kill) {
                ended.push((
                    name.clone(),
                    "nobody knows whether it was submitted; if so, it ends at once",
                ));
                continue;
            }
            let killed = ask == Ask::Kill && since.elapsed() > KILLED;
            if killed && watched.attempt.conclusion().is_none() {
                ended.push((name.clone(), "it was cancelled"));
            }
        }
        if !cancel.is_empty()
            && let Err(error) = self.scheduler.cancel(&cancel)
        {
            // It is tried again.
            for watched in self.jobs().values_mut() {
                if watched.job().is_some_and(|job| cancel.contains(job)) {
                    watched.cancelled = None;
                    if watched.again.is_none() {
                        watched.says(format!("it could not be cancelled: {error:#}"));
                    }
                    watched.again = Some(Instant::now() + AGAIN);
                }
            }
        }
        for (name, how) in ended {
            self.end(&name, End::Cancelled(how.into()));
        }
    }

    /// One question about all jobs. No answer is no news.
    fn look(&self) {
        let ids: Vec<JobId> = {
            let jobs = self.jobs();
            let ids = jobs.values().filter_map(|w| w.job().cloned());
            ids.collect()
        };
        if ids.is_empty() {
            return;
        }
        let Ok(mut looks) = self.scheduler.look(&ids) else {
            return;
        };
        for watched in self.jobs().values_mut() {
            let Some(job) = watched.job().filter(|job| ids.contains(job)).cloned() else {
                continue;
            };
            let look = looks.remove(&job);
            match &look {
                Some(Look::Waiting(word)) => watched.tell(self.place(Some(&job), None, word)),
                Some(Look::Running { host }) => {
                    watched.tell(self.place(Some(&job), Some(host.clone()), ""));
                }
                Some(Look::Ended { .. }) | None => {}
            }
            watched.unknown = match look {
                None => watched.unknown.or_else(|| Some(Instant::now())),
                Some(_) => None,
            };
            watched.over = match &look {
                Some(Look::Ended { cause, word }) => match watched.over.take() {
                    Some((since, _, _)) => Some((since, *cause, word.clone())),
                    None => Some((Instant::now(), *cause, word.clone())),
                },
                // Where it is known no more, what was known last stands.
                None => watched.over.take(),
                Some(_) => None,
            };
        }
    }

    /// What lies in the folders of the attempts: words, and ends.
    fn read(&self) {
        let mut ended = vec![];
        for (name, watched) in self.jobs().iter_mut() {
            watched.pass_on();
            ended.extend(
                judge::end(&self.profile, &self.store, watched).map(|end| (name.clone(), end)),
            );
        }
        for (name, end) in ended {
            self.end(&name, end);
        }
    }

    fn end(&self, name: &str, end: End) {
        let watched = self.jobs().remove(name);
        let Some(watched) = watched else {
            return;
        };
        // Nobody waits for it any more: where its job comes to life, it is to end at once.
        let gone =
            !matches!(&end, End::Attended(_)) && !matches!(&watched.asked, Some((Ask::Leave, _)));
        if gone {
            let _ = dispatch::ask(&self.store, &watched.attempt, Asked::Kill);
            dispatch::drop_secrets(&watched.attempt);
            if let Some(job) = watched.job().filter(|_| watched.over.is_none()) {
                let _ = self.scheduler.cancel(std::slice::from_ref(job)); // It ends by the mark.
            }
        }
        watched.end(end);
    }
}
