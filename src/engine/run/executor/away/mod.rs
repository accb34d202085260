//! Attempts on machines that somebody else schedules: a job each, which `attend`s to it there. This end submits, passes on what is
//! said, and finds out how it ended: by the record, by `end.json`, by the claim; the scheduler's word only says when to look.

mod judge;
mod post;
mod watched;

use super::{Elsewhere, Executor, Job, Listener, Resources, Task};
use crate::kind::attempt::Attempt;
use crate::kind::failure::{End, Ending};
use crate::kind::{Needs, Threads};
use crate::run::dispatch;
use crate::run::profile::Profile;
use crate::run::scheduler::{JobId, Order, Scheduler};
use crate::store::Store;
use anyhow::{Context, Result};
use post::Post;
use std::path::PathBuf;
use std::sync::Arc;
use watched::{Ask, Ended, Watched};

/// Threads of a node that can use many, where its partition does not say how many there are.
const MANY: usize = 4;

pub struct Away {
    post: Arc<Post>,
    /// This binary as it lies there.
    pipe: PathBuf,
    /// The store as it lies there.
    store: PathBuf,
}

impl Away {
    /// `store`: as it lies here; `pipe`: this binary.
    pub fn new(
        profile: Profile,
        scheduler: Arc<dyn Scheduler>,
        store: Store,
        pipe: PathBuf,
    ) -> Result<Away> {
        Ok(Away {
            pipe: profile.pipe.clone().unwrap_or(pipe),
            store: profile
                .store
                .clone()
                .unwrap_or_else(|| store.root().to_path_buf()),
            post: Post::open(profile, scheduler, store)?,
        })
    }

    fn order(&self, attempt: &Attempt) -> Result<Order> {
        let (spec, terms) = (attempt.spec()?, dispatch::terms(attempt)?);
        let name = attempt.name();
        let store = self.store.as_os_str().as_encoded_bytes();
        let store = blake3::hash(store).to_hex();
        let words = [
            self.pipe.display().to_string(),
            "attend".into(),
            "--store".into(),
            self.store.display().to_string(),
            name.clone(),
        ];
        Ok(Order {
            attempts: vec![name.clone()],
            // Jobs of all stores have their names in one place, and a name begins with a letter.
            name: format!("pipe-{}-{name}", &store[..8]),
            words: words.to_vec(),
            folder: dispatch::folder(attempt)?,
            cpus: spec.threads,
            partition: self.profile().partition(&terms.needs)?.cloned(),
            needs: terms.needs,
        })
    }

    fn watch(
        &self,
        attempt: &Attempt,
        job: Option<JobId>,
        doubtful: bool,
        listener: Listener,
    ) -> Result<Box<dyn Task>> {
        let spec = attempt.spec()?;
        let ended = Ended::default();
        let order = self.order(attempt)?;
        let watched = Watched::new(attempt.clone(), &spec, order, job, doubtful, listener);
        self.post
            .add(attempt.name(), watched.ending(ended.clone()))?;
        Ok(Box::new(AwayTask {
            post: self.post.clone(),
            name: attempt.name(),
            ended,
        }))
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
        dispatch::post(&self.post.store, attempt, &self.profile().name, None)?;
        self.watch(attempt, None, false, listener)
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
        let doubtful = posted.id.is_none();
        let task = self.watch(attempt, posted.id, doubtful, listener);
        let shown = || format!("taking up attempt {}", attempt.name());
        task.with_context(shown).map(Some)
    }

    fn threads(&self, needs: &Needs) -> usize {
        let partition = self.profile().partition(needs).ok().flatten();
        let cpus = partition.and_then(|p| p.cpus);
        match needs.threads {
            Threads::None | Threads::One => 1,
            Threads::All => cpus.unwrap_or(MANY),
        }
    }
}

/// A job that was submitted, or will be.
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
        let end = self.ended.take();
        let peak = match &end {
            End::Attended(conclusion) => conclusion.peak_bytes,
            _ => None,
        };
        Ending { end, peak }
    }
}
