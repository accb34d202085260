//! What the engine and the thread that speaks with the scheduler share: the attempts that are waited for, and the jobs that they are in.

use super::super::Place;
use super::pack::Load;
use super::posting::{Posting, Stage};
use super::watched::{Ask, Watched};
use crate::kind::attempt::Attempt;
use crate::kind::failure::End;
use crate::run::dispatch::{self, Asked, Posted};
use crate::run::profile::Profile;
use crate::run::scheduler::{JobId, Scheduler};
use crate::store::Store;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub struct Post {
    pub profile: Profile,
    pub store: Store,
    pub(super) scheduler: Arc<dyn Scheduler>,
    /// This binary, and the store, as they lie there.
    pub(super) pipe: PathBuf,
    pub(super) there: PathBuf,
    /// The engine has started all that it could since the last attempt was added.
    pub(super) resting: AtomicBool,
    board: Mutex<Board>,
}

#[derive(Default)]
pub struct Board {
    /// By their names.
    pub attempts: BTreeMap<String, Watched>,
    /// By the name of the first attempt in each: every attempt above is in one, and one without any is gone.
    pub jobs: BTreeMap<String, Posting>,
    /// The last attempts of jobs that are over, until the engine has heard of it: what they took may tell it what shares the next job.
    unheard: BTreeSet<String>,
}

impl Post {
    pub fn new(
        profile: Profile,
        store: Store,
        scheduler: Arc<dyn Scheduler>,
        pipe: PathBuf,
    ) -> Post {
        let there = profile.store.clone();
        Post {
            pipe: profile.pipe.clone().unwrap_or(pipe),
            there: there.unwrap_or_else(|| store.root().to_path_buf()),
            profile,
            store,
            scheduler,
            resting: AtomicBool::new(false),
            board: Mutex::default(),
        }
    }

    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more attempt can be taken: by a job that is about to be submitted, or by one more job.
    pub fn has_room(&self, load: &Load, most: usize) -> bool {
        let board = self.board();
        let joins = |p: &Posting| p.is_open() && p.load.with(load, &self.profile).is_some();
        board.jobs.len() + board.unheard.len() < most || board.jobs.values().any(joins)
    }

    /// The engine knows how an attempt has ended.
    pub(super) fn heard(&self, name: &str) {
        self.board().unheard.remove(name);
    }

    /// A new attempt: with others in a job that is about to be submitted, or in one of its own.
    pub fn add(&self, mut watched: Watched, load: Load) -> Result<()> {
        let mut board = self.board();
        let name = watched.attempt.name();
        let open = board.jobs.iter().filter(|(_, job)| job.is_open());
        let mut open = open.filter_map(|(first, job)| {
            let joined = job.load.with(&load, &self.profile)?;
            Some((first.clone(), joined))
        });
        let joined = open.next();
        let first = joined
            .as_ref()
            .map_or_else(|| name.clone(), |(first, _)| first.clone());
        // Whoever takes it up looks for a job of this name. Nothing is submitted as long as the board is held.
        let posted = Posted::new(&self.profile.name, first.clone());
        dispatch::post(&self.store, &watched.attempt, &posted)?;
        match joined {
            Some((first, joined)) => {
                let job = board.jobs.get_mut(&first).expect("it was just found");
                job.load = joined;
                job.grown = Instant::now();
                job.attempts.push(name.clone());
            }
            None => {
                let job = Posting::new(vec![name.clone()], load, Stage::New);
                board.jobs.insert(first.clone(), job);
            }
        }
        watched.job = first;
        board.attempts.insert(name, watched);
        self.resting.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// An attempt that an engine submitted, this one or one that is gone.
    pub fn take_up(&self, mut watched: Watched, load: Load, posted: Posted) {
        let mut board = self.board();
        let name = watched.attempt.name();
        let first = posted.first_of(&watched.attempt);
        let stage = match posted.id {
            Some(job) => Stage::Submitted(job),
            None => Stage::Doubtful {
                at: Instant::now(),
                missed: 0,
            },
        };
        match board.jobs.get_mut(&first) {
            Some(job) => {
                if !job.others.remove(&name) && !job.attempts.contains(&name) {
                    job.attempts.push(name.clone());
                }
                job.load = job.load.in_one(&load);
            }
            None => {
                let mut attempts = posted.attempts;
                if !attempts.contains(&name) {
                    attempts.push(name.clone());
                }
                let mut job = Posting::new(attempts, load, stage);
                job.others = job.attempts.iter().cloned().collect();
                job.others.remove(&name);
                board.jobs.insert(first.clone(), job);
            }
        }
        watched.job = first;
        board.attempts.insert(name, watched);
    }

    /// What the engine wants of an attempt. Asked again, it is the same.
    pub fn ask(&self, name: &str, ask: Ask) {
        if let Some(watched) = self.board().attempts.get_mut(name)
            && watched.asked.is_none_or(|(before, _)| before < ask)
        {
            watched.asked = Some((ask, Instant::now()));
        }
    }

    /// Nobody waits for an attempt any more; for a job, when that was so for all that are in it.
    pub(super) fn end(&self, name: &str, end: End) {
        let (watched, mut job) = {
            let mut board = self.board();
            let Some(watched) = board.attempts.remove(name) else {
                return;
            };
            let waits = board.attempts.values().any(|w| w.job == watched.job);
            let job = match waits {
                true => None,
                false => board.jobs.remove(&watched.job),
            };
            if job.is_some() {
                board.unheard.insert(name.to_string());
            }
            if let Some(job) = board.jobs.get_mut(&watched.job).filter(|job| job.is_open()) {
                job.attempts.retain(|other| other != name);
            }
            (watched, job)
        };
        let leaves = matches!(&watched.asked, Some((Ask::Leave, _)));
        let gone = !matches!(&end, End::Attended(_)) && !leaves;
        if gone {
            // Where its job comes to it after all, it is to end at once.
            let _ = dispatch::ask(&self.store, &watched.attempt, Asked::Kill);
            dispatch::drop_secrets(&watched.attempt);
        }
        let job = job.as_mut().filter(|_| !leaves);
        if let Some(job) = job.filter(|job| self.is_everybodys_end(job)) {
            let id = job.job().filter(|_| gone && job.over.is_none());
            if let Some(id) = id {
                let _ = self.scheduler.cancel(std::slice::from_ref(id)); // It ends by the mark.
            }
            if job.is_shared(&watched.job) {
                dispatch::remove_shared(&self.store, &watched.job);
            }
        }
        watched.end(end);
    }

    /// Whether no other engine waits for an attempt of a job.
    pub(super) fn is_everybodys_end(&self, job: &Posting) -> bool {
        job.others.iter().all(|name| {
            let attempt = Attempt {
                dir: self.store.attempts().join(name),
            };
            let ended = attempt.conclusion().is_some() || dispatch::asked(&attempt).is_some();
            ended || !attempt.dir.exists()
        })
    }

    pub(super) fn place(&self, job: Option<&JobId>, host: Option<String>, word: &str) -> Place {
        Place {
            on: self.profile.name.clone(),
            job: job.map(|job| job.0.clone()),
            host,
            word: word.into(),
        }
    }
}
