//! Which traces are kept, and why the others are not.

use super::params::Params;
use crate::data::likeness::normal;
use crate::data::removed::Removed;
use anyhow::{Result, ensure};
use base::response;
use base::rows::{Conversation, Message, Metric, Prompt, RowWriter};
use base::stats;
use data::seen::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a teacher wrote for a prompt.
pub struct Trace {
    prompt_id: String,
    prompt: String,
    sample: u32,
    source: String,
    /// Think tags included; or why there is none.
    text: Result<String, String>,
    finished: bool,
}

impl Trace {
    pub fn new(prompt: &Prompt, sample: u32, source: &str, text: String, finished: bool) -> Trace {
        Trace {
            prompt_id: prompt.id.clone(),
            prompt: prompt.prompt.clone(),
            sample,
            source: source.into(),
            text: Ok(text),
            finished,
        }
    }

    pub fn rejected(prompt: &Prompt, sample: u32, source: &str, summary: &str) -> Trace {
        Trace {
            text: Err(summary.into()),
            ..Trace::new(prompt, sample, source, String::new(), true)
        }
    }

    fn conversation(&self, text: &str) -> Conversation {
        Conversation {
            id: format!("{}#{}", self.prompt_id, self.sample),
            prompt_id: self.prompt_id.clone(),
            source: self.source.clone(),
            messages: vec![
                Message::new("user", &self.prompt),
                Message::new("assistant", text),
            ],
        }
    }
}

/// Why a trace is not kept, in the order in which that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its prompt is one of an eval; it was not asked.
    Overlap,
    Rejected,
    Unfinished,
    Empty,
    Duplicate,
}

impl Reason {
    const ALL: [Reason; 5] = [
        Reason::Overlap,
        Reason::Rejected,
        Reason::Unfinished,
        Reason::Empty,
        Reason::Duplicate,
    ];

    /// Of its metric, and in `removed`.
    fn word(self) -> &'static str {
        match self {
            Reason::Overlap => "overlap",
            Reason::Rejected => "rejected",
            Reason::Unfinished => "unfinished",
            Reason::Empty => "empty",
            Reason::Duplicate => "duplicate",
        }
    }
}

/// Writes traces where they belong as they come.
pub struct Sieve<'a> {
    p: &'a Params,
    conversations: RowWriter,
    removed: RowWriter,
    /// The texts of each prompt, whatever the order in which they come.
    seen: Seen,
    counts: BTreeMap<Reason, usize>,
}

impl<'a> Sieve<'a> {
    pub fn create(conversations: &Path, removed: &Path, p: &'a Params) -> Result<Sieve<'a>> {
        Ok(Sieve {
            p,
            conversations: RowWriter::create(conversations)?,
            removed: RowWriter::create(removed)?,
            seen: Default::default(),
            counts: BTreeMap::new(),
        })
    }

    /// Prompts that were not asked because an eval holds them.
    pub fn overlap(&mut self, prompts: &[Prompt]) -> Result<()> {
        for prompt in prompts {
            for sample in 0..self.p.samples {
                let trace = Trace::new(prompt, sample, "", String::new(), true);
                self.remove(&trace, Reason::Overlap, "", None)?;
            }
        }
        Ok(())
    }

    pub fn push(&mut self, trace: &Trace) -> Result<()> {
        let text = match &trace.text {
            Ok(text) => text,
            Err(summary) => return self.remove(trace, Reason::Rejected, "", Some(summary)),
        };
        let reason = match () {
            () if self.p.drop_unfinished && !trace.finished => Reason::Unfinished,
            () if !teaches(text, self.p.reasoning) => Reason::Empty,
            () if self.p.drop_duplicates && !self.is_new(trace, text) => Reason::Duplicate,
            () => {
                let used = match self.p.reasoning {
                    true => text.clone(),
                    false => response::split(text).answer,
                };
                return self.conversations.push(&trace.conversation(&used));
            }
        };
        self.remove(trace, reason, text, None)
    }

    /// Whether no earlier trace of the prompt has this text.
    fn is_new(&mut self, trace: &Trace, text: &str) -> bool {
        let id = &trace.prompt_id;
        self.seen
            .insert(&format!("{}:{id}{}", id.len(), normal(text)))
    }

    fn remove(
        &mut self,
        trace: &Trace,
        reason: Reason,
        text: &str,
        summary: Option<&str>,
    ) -> Result<()> {
        *self.counts.entry(reason).or_default() += 1;
        self.removed.push(&Removed {
            row: trace.conversation(text),
            reason: reason.word(),
            details: summary
                .map(|words| ("told", words.into()))
                .into_iter()
                .collect(),
        })
    }

    pub fn finish(self) -> Result<Sifted> {
        Ok(Sifted {
            kept: self.conversations.finish()?,
            removed: self.removed.finish()?,
            counts: self.counts,
        })
    }
}

/// How many came through.
pub struct Sifted {
    kept: usize,
    removed: usize,
    counts: BTreeMap<Reason, usize>,
}

impl Sifted {
    fn all(&self) -> usize {
        self.kept + self.removed
    }

    pub fn log_line(&self) -> String {
        let mut summary = format!("{} of {} traces are kept", self.kept, self.all());
        for (reason, count) in &self.counts {
            summary += &format!(", {count} {}", reason.word());
        }
        summary
    }

    pub fn ensure_some(&self) -> Result<()> {
        let none = || format!("nothing is left to train on: {}", self.log_line());
        ensure!(self.kept > 0, none());
        Ok(())
    }

    pub fn metrics(&self) -> Vec<Metric> {
        let all = self.all();
        let share = |name: &str, count: usize| Metric {
            name: name.into(),
            value: count as f64 / all as f64,
            n: all,
            interval: Some(stats::wilson(count, all)),
            unit: "share".into(),
        };
        let count = |reason: &Reason| self.counts.get(reason).copied().unwrap_or(0);
        let mut metrics = vec![share("kept", self.kept)];
        let reasons = Reason::ALL.iter();
        metrics.extend(reasons.map(|r| share(&format!("removed/{}", r.word()), count(r))));
        metrics
    }
}

/// The prompts whose text is not held, and those whose is.
pub fn apart(all: Vec<Prompt>, held: &BTreeSet<String>) -> (Vec<Prompt>, Vec<Prompt>) {
    all.into_iter()
        .partition(|prompt| !held.contains(&normal(&prompt.prompt)))
}

/// Whether a trace has reasoning and an answer to learn from. One that was cut off within its reasoning teaches the reasoning, where
/// that is `taught`; whether it is wanted says `drop_unfinished`.
fn teaches(text: &str, taught: bool) -> bool {
    let parts = response::split(text);
    let reasons = parts.reasoning.is_some_and(|r| !r.is_empty());
    reasons && (!parts.answer.is_empty() || taught && !parts.closed)
}
