//! Where attempts are executed. The engine schedules, watches and commits; an executor starts the worker of an attempt somewhere,
//! passes on what it says, and tells how it ended. What a process, a pipe or a job is, only the executor knows.

pub mod away;
pub mod local;

use crate::kind::Needs;
use crate::kind::attempt::Attempt;
use crate::kind::failure::Ending;
use crate::kind::messages::Message;
use crate::run::profile::Profile;
use anyhow::Result;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// What there is for all attempts that run at once, or what one of them is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub threads: usize,
    pub gpus: usize,
    /// Bytes; nothing: not known.
    pub memory: Option<u64>,
}

impl Resources {
    /// Less threads and GPUs by what somebody takes now.
    pub fn take(&mut self, taken: &Resources) {
        self.threads -= taken.threads;
        self.gpus -= taken.gpus;
    }

    pub(crate) fn give_back(&mut self, taken: &Resources) {
        self.threads += taken.threads;
        self.gpus += taken.gpus;
    }
}

/// An attempt to be executed.
pub struct Job<'a> {
    pub attempt: &'a Attempt,
    /// The binary whose verb `worker` is `worker::main`.
    pub program: &'a Path,
    /// The lock of the key. It has to be held as long as the worker lives, even where this engine does not.
    pub lock: &'a File,
    pub given: Resources,
    /// Variables that the worker may see besides the ordinary ones, by name.
    pub secrets: &'a BTreeMap<String, String>,
    /// None: it is to be executed by itself.
    pub expected: Option<Expected>,
}

/// How long an attempt will take, where that is known well enough to let others wait for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    pub seconds: f64,
    /// What it adds to the time that is asked for; none: no limit is asked for.
    pub hours: Option<f64>,
}

/// Where a job is that is executed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The profile.
    pub on: String,
    /// What its scheduler calls it, once that is known.
    pub job: Option<String>,
    /// The machine it runs on; none while it waits for one.
    pub host: Option<String>,
    /// Why it waits, in the scheduler's words.
    pub word: String,
}

/// What comes from a job, in order.
pub enum News {
    Message(Message),
    Place(Place),
    /// Nothing that belongs to the job runs any more; nothing follows.
    Ended,
}

/// Takes news from any thread.
pub type Listener = Arc<dyn Fn(News) + Send + Sync>;

/// Executes attempts. All methods are called by one thread, but for `writers`.
pub trait Executor: Send + Sync {
    /// What it has for all jobs that run at once.
    fn capacity(&self) -> Resources;

    /// Starts a job. The last that `listener` hears of it is `News::Ended`.
    fn start(&self, job: &Job, listener: Listener) -> Result<Box<dyn Task>>;

    /// What the worker of an attempt is called among people, whichever engine started it: `process 4711`. Nothing where there is no
    /// trace of one.
    fn name(&self, attempt: &Attempt) -> Option<String>;

    /// Whether anything of an attempt runs, whichever engine started it, as far as it can be seen from here.
    fn runs(&self, attempt: &Attempt) -> bool;

    /// Kills all that belongs to an attempt whose engine is gone. Whether there was anything.
    fn kill_leftovers(&self, attempt: &Attempt) -> bool;

    /// Who can still write to the outputs of an attempt that has ended, in words. Asked right before they are hashed. An executor
    /// that looks at this itself before it says `Ended` has nothing to add.
    fn writers(&self, _attempt: &Attempt) -> Result<Vec<String>> {
        Ok(vec![])
    }

    /// Of an executor of other machines: its attempts are claimed, judged and committed where they run.
    fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        None
    }
}

/// An executor whose attempts run on machines that others schedule.
pub trait Elsewhere {
    /// What people call it.
    fn profile(&self) -> &Profile;

    /// An attempt that an engine submitted, this one or one that is gone, and that has not ended: from now on its news come here.
    /// None: it is no such attempt.
    fn take_up(&self, attempt: &Attempt, listener: Listener) -> Result<Option<Box<dyn Task>>>;

    /// Threads that a node with these needs gets there.
    fn threads(&self, needs: &Needs) -> usize;

    /// Whether one more attempt with these needs can be started, where `most` jobs may be there at once: attempts may share one.
    fn has_room(&self, needs: &Needs, expected: Option<Expected>, most: usize) -> bool;

    /// All that could be started was started: what was, waits for nothing else.
    fn at_rest(&self);
}

/// A job that was started.
pub trait Task {
    /// Asks it to save its state and end.
    fn stop(&self);

    /// Of one that goes on without an engine: lets it.
    fn leave(&self) {
        self.stop();
    }

    fn kill(&self);

    /// The most memory that it had so far, in bytes. Asked about once a second.
    fn peak(&self) -> Option<u64>;

    /// How it ended. Called once, after `News::Ended`.
    fn end(self: Box<Self>) -> Ending;
}
