//! Attempts on machines that somebody else schedules, in jobs that `attend` to them there: each in its own, or several short ones in
//! one. This end submits, passes on what is said, and finds out how each ended: by the record, by `end.json`, by the claim; the
//! scheduler's word only says when to look.
//!
//! `board` holds what is waited for; `submit`, `heed` and `look` are what the thread of `post` does with it, round after round.

mod board;
mod heed;
mod judge;
mod look;
mod pack;
mod post;
mod posting;
mod submit;
mod watched;

pub mod pace;

use super::{Elsewhere, Executor, Expected, Job, Listener, Resources, Task};
use crate::kind::attempt::Attempt;
use crate::kind::failure::{End, Ending};
use crate::kind::{Needs, Threads};
use crate::run::dispatch;
use crate::run::profile::Profile;
use crate::run::scheduler::Scheduler;
use crate::store::Store;
use anyhow::{Context, Result};
use board::Post;
use pack::Load;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use watched::{Ask, Ended, Watched};

/// Threads of a node that can use many, where its partition does not say how many there are.
const MANY: usize = 4;

pub struct Away {
    post: Arc<Post>,
}

impl Away {
    /// `store`: as it lies here; `pipe`: this binary.
    pub fn new(
        profile: Profile,
        scheduler: Arc<dyn Scheduler>,
        store: Store,
        pipe: PathBuf,
    ) -> Result<Away> {
        let post = post::open(Post::new(profile, store, scheduler, pipe))?;
        Ok(Away { post })
    }

    /// An attempt as it is watched, and as whoever waits for it does.
    fn watch(&self, attempt: &Attempt, listener: Listener) -> Result<(Watched, Box<dyn Task>)> {
        let ended = Ended::default();
        let watched = Watched::new(attempt.clone(), &attempt.spec()?, ended.clone(), listener);
        let task = AwayTask {
            post: self.post.clone(),
            name: attempt.name(),
            ended,
        };
        Ok((watched, Box::new(task)))
    }

    fn load(&self, attempt: &Attempt, expected: Option<Expected>) -> Result<Load> {
        let (spec, terms) = (attempt.spec()?, dispatch::terms(attempt)?);
        Load::new(self.profile(), terms.needs, spec.threads, expected)
    }
}

impl Executor for Away {
    /// As many jobs as the profile allows; what each is given is no part of it.
    fn capacity(&self) -> Resources {
        Resources {
            threads: self.profile().jobs,
            gpus: usize::MAX,
            memory: None,
        }
    }

    fn start(&self, job: &Job, listener: Listener) -> Result<Box<dyn Task>> {
        let attempt = job.attempt;
        if self.profile().secrets_file.is_none() && !job.secrets.is_empty() {
            dispatch::put_secrets(attempt, job.secrets)?;
        }
        let (watched, task) = self.watch(attempt, listener)?;
        self.post.add(watched, self.load(attempt, job.expected)?)?;
        Ok(task)
    }

    fn name(&self, attempt: &Attempt) -> Option<String> {
        let posted = dispatch::posted(attempt)?;
        let job = posted.id.map(|id| format!("job {id}"));
        let job = job.unwrap_or_else(|| "a job".into());
        let host = dispatch::begun(attempt).map(|begun| format!(" on {}", begun.host));
        Some(job + &host.unwrap_or_default())
    }

    fn runs(&self, attempt: &Attempt) -> bool {
        dispatch::begun(attempt).is_some() && attempt.conclusion().is_none()
    }

    /// Whoever attends to the next attempt does this, where it is.
    fn kill_leftovers(&self, _: &Attempt) -> bool {
        false
    }

    fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        Some(self)
    }
}

impl Elsewhere for Away {
    fn profile(&self) -> &Profile {
        &self.post.profile
    }

    fn take_up(&self, attempt: &Attempt, listener: Listener) -> Result<Option<Box<dyn Task>>> {
        let Some(posted) = dispatch::posted(attempt) else {
            return Ok(None);
        };
        if attempt.conclusion().is_some() || dispatch::asked(attempt).is_some() {
            return Ok(None);
        }
        let shown = || format!("taking up attempt {}", attempt.name());
        let load = self.load(attempt, None).with_context(shown)?;
        let (watched, task) = self.watch(attempt, listener).with_context(shown)?;
        self.post.take_up(watched, load, posted);
        Ok(Some(task))
    }

    fn threads(&self, needs: &Needs) -> usize {
        let partition = self.profile().partition(needs).ok().flatten();
        let cpus = partition.and_then(|p| p.cpus);
        match needs.threads {
            Threads::None | Threads::One => 1,
            Threads::All => cpus.unwrap_or(MANY),
        }
    }

    fn has_room(&self, needs: &Needs, expected: Option<Expected>, most: usize) -> bool {
        let load = Load::new(self.profile(), *needs, self.threads(needs), expected);
        // What has no place is told when it is started.
        load.map_or(true, |load| self.post.has_room(&load, most))
    }

    fn at_rest(&self) {
        self.post.resting.store(true, Ordering::Relaxed);
    }
}

/// An attempt whose job was submitted, or will be.
struct AwayTask {
    post: Arc<Post>,
    name: String,
    ended: Ended,
}

impl Task for AwayTask {
    fn stop(&self) {
        self.post.ask(&self.name, Ask::Stop);
    }

    fn leave(&self) {
        self.post.ask(&self.name, Ask::Leave);
    }

    fn kill(&self) {
        self.post.ask(&self.name, Ask::Kill);
    }

    fn peak(&self) -> Option<u64> {
        None
    }

    fn end(self: Box<Self>) -> Ending {
        self.post.heard(&self.name);
        let end = self.ended.take();
        let peak = match &end {
            End::Attended(conclusion) => conclusion.peak_bytes,
            _ => None,
        };
        Ending { end, peak }
    }
}
