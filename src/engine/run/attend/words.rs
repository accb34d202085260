//! What a worker says, written down for an engine that is not its parent; and what the machine calls the job.

use crate::kind::attempt::Attempt;
use crate::kind::failure::Class;
use crate::kind::messages::Message;
use crate::run::secrets::redact;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

/// A worker says ten times a second how far it is; who looks from another machine sees it less often anyway.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Shared folders show what was synced.
const SYNC_EVERY: Duration = Duration::from_secs(1);

pub struct Words<'a> {
    file: File,
    secrets: &'a BTreeMap<String, String>,
    progress: Option<Instant>,
    synced: Instant,
    written: bool,
    /// What the worker said before it failed.
    pub complaint: Option<(String, Class)>,
}

impl<'a> Words<'a> {
    pub fn new(attempt: &Attempt, secrets: &'a BTreeMap<String, String>) -> Result<Words<'a>> {
        let path = attempt.messages();
        let file = File::options().create(true).append(true).open(&path);
        Ok(Words {
            file: file.with_context(|| format!("opening {}", path.display()))?,
            secrets,
            progress: None,
            synced: Instant::now(),
            written: false,
            complaint: None,
        })
    }

    pub fn hear(&mut self, message: Message) {
        let message = self.clean(message);
        match &message {
            Message::Failed { error, class } => {
                self.complaint = Some((error.clone(), *class));
                return;
            }
            Message::Progress { done, total, .. } => {
                let last = *total > 0 && done >= total;
                if !last
                    && self
                        .progress
                        .is_some_and(|at| at.elapsed() < PROGRESS_EVERY)
                {
                    return;
                }
                self.progress = Some(Instant::now());
            }
            Message::Metric(_) | Message::Log { .. } => {}
        }
        let mut line = serde_json::to_vec(&message).expect("a message always has a JSON form");
        line.push(b'\n');
        // Words are lost where the disk is full; what counts will notice by itself.
        self.written |= self.file.write_all(&line).is_ok();
    }

    /// Makes what was said readable elsewhere.
    pub fn tick(&mut self) {
        if self.written && self.synced.elapsed() >= SYNC_EVERY {
            self.sync();
        }
    }

    pub fn sync(&mut self) {
        let _ = self.file.sync_data(); // As in `hear`.
        (self.synced, self.written) = (Instant::now(), false);
    }

    fn clean(&self, message: Message) -> Message {
        let clean = |text: String| redact(&text, self.secrets);
        match message {
            Message::Log { text } => Message::Log { text: clean(text) },
            Message::Failed { error, class } => Message::Failed {
                error: clean(error),
                class,
            },
            Message::Progress {
                done,
                total,
                unit,
                note,
                made,
                sampled,
            } => Message::Progress {
                done,
                total,
                unit,
                note: clean(note),
                made,
                sampled,
            },
            Message::Metric(metric) => Message::Metric(metric),
        }
    }
}

/// What the scheduler calls this job, where it tells.
#[allow(clippy::disallowed_methods)]
pub fn job() -> Option<String> {
    let names = ["SLURM_JOB_ID", "RAY_JOB_ID", "PBS_JOBID", "LSB_JOBID"];
    let mut found = names.iter().filter_map(|name| std::env::var(name).ok());
    found.find(|id| !id.is_empty())
}
