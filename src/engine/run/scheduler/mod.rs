//! Schedulers of other machines: they run jobs of which each attends to one attempt or to several. What is asked of them is to run a
//! script, to say of all jobs at once where they are, and to end one. None of them is believed on how an attempt ended: that is told
//! by its record and by `end.json`.

pub mod command;
pub mod open;
pub mod ray;
pub mod slurm;

mod http;
mod place;

use super::profile::{Partition, Profile};
use crate::kind::Needs;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A job as it is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Unique in the store, after its first attempt: a letter, digits and `-`. The job carries it as its name, so that it is found by it.
    pub name: String,
    /// The attempts that it attends to, one after the other. Those of an order share their needs.
    pub attempts: Vec<String>,
    /// What has to be executed, as it is there: `pipe attend …`.
    pub words: Vec<String>,
    /// Where the script and what the scheduler itself writes may lie: exists, is seen there and here, and stays as long as the job.
    pub folder: PathBuf,
    pub cpus: usize,
    pub needs: Needs,
    pub partition: Option<Partition>,
}

/// A job that was submitted: what its scheduler calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub String);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a scheduler says of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// It has not begun; why, in the scheduler's words.
    Waiting(String),
    /// It runs, or is about to end.
    Running { host: String },
    /// It will not run any more. `word`: the scheduler's own, for people.
    Ended { cause: Cause, word: String },
}

/// Why a job ended, as far as its scheduler knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its script ended with status 0.
    Whole,
    /// Its script ended with another status.
    Failed(i32),
    OutOfMemory,
    /// Preempted, its machine failed, its time was up: nobody's fault, and another try goes on.
    Evicted,
    /// Somebody cancelled it.
    Cancelled,
    /// It could not be started at all.
    Unstartable,
}

/// Why there is no job.
#[derive(Debug)]
pub enum Refusal {
    /// Surely none: the scheduler said so.
    Refused(anyhow::Error),
    /// Nobody knows: the reply did not come. It is looked for by its name before it is asked for again.
    Doubtful(anyhow::Error),
}

/// So long one round of submissions may go on: others wait to be heard.
pub const ROUND: Duration = Duration::from_secs(5);

/// Runs jobs elsewhere. All methods are called by one thread at a time; each may take seconds, and none may take minutes.
pub trait Scheduler: Send + Sync {
    /// Submits a job that runs `script(…)` once: it is never requeued by the scheduler itself.
    fn submit(&self, order: &Order) -> Result<JobId, Refusal>;

    /// Several at once, by order; a scheduler with arrays has something to save here. Nothing where it did not come to one in the time that
    /// a round may take.
    fn submit_all(&self, orders: &[Order]) -> Vec<Option<Result<JobId, Refusal>>> {
        let began = Instant::now();
        let each = orders.iter();
        each.map(|order| (began.elapsed() < ROUND).then(|| self.submit(order)))
            .collect()
    }

    /// Where these jobs are, by one question. A job that is absent is not known (any more). `Err`: no news of any.
    fn look(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, Look>>;

    /// The job of this name that has not ended, or did so lately.
    fn find(&self, name: &str) -> Result<Option<JobId>>;

    /// The jobs of these names; a scheduler that tells of all at once has something to save here.
    fn find_all(&self, names: &[&str]) -> Result<BTreeMap<String, JobId>> {
        let mut found = BTreeMap::new();
        for name in names {
            found.extend(self.find(name)?.map(|job| (name.to_string(), job)));
        }
        Ok(found)
    }

    /// Ends jobs: those that wait at once, those that run by SIGTERM and soon SIGKILL. One that is gone is no error.
    fn cancel(&self, jobs: &[JobId]) -> Result<()>;

    /// What is there, in lines for people; or why it cannot be used.
    fn check(&self) -> Result<Vec<String>>;
}

/// The script of a job: what its profile says comes first, then the job takes the shell's place, so that signals reach it.
pub fn script(profile: &Profile, order: &Order, store: &Path) -> String {
    let mut text = String::from("#!/bin/sh\n");
    for line in &profile.setup {
        text += line;
        text.push('\n');
    }
    let mut words = vec![];
    if let Some(image) = &profile.image {
        let store = store.to_string_lossy();
        let fill = |word: &String| word.replace("{image}", image).replace("{store}", &store);
        words.extend(profile.image_command.iter().map(fill));
    }
    words.extend(order.words.iter().cloned());
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    text + "exec " + &words.join(" ") + "\n"
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
