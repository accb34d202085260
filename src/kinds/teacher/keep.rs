//! Which traces are kept, and why the others are not.

use super::{Params, reasons};
use crate::base::response;
use crate::base::rows::{Conversation, Message, Metric, Prompt};
use crate::base::stats;
use anyhow::{Result, ensure};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

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

    pub fn rejected(prompt: &Prompt, sample: u32, source: &str, told: &str) -> Trace {
        Trace {
            text: Err(told.into()),
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

/// A row of `removed`: a conversation, and why it is not used.
#[derive(Debug, PartialEq, Serialize)]
pub struct Removed {
    #[serde(flatten)]
    conversation: Conversation,
    reason: &'static str,
    /// What the service said, where it would not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<String>,
}

pub struct Kept {
    pub conversations: Vec<Conversation>,
    pub removed: Vec<Removed>,
    counts: BTreeMap<Reason, usize>,
}

/// `overlapping`: prompts that were not asked because an eval holds them.
pub fn sift(traces: Vec<Trace>, overlapping: &[Prompt], p: &Params) -> Kept {
    let mut kept = Kept {
        conversations: vec![],
        removed: vec![],
        counts: BTreeMap::new(),
    };
    for prompt in overlapping {
        for sample in 0..p.samples {
            let trace = Trace::new(prompt, sample, "", String::new(), true);
            kept.remove(&trace, Reason::Overlap, "", None);
        }
    }
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for trace in traces {
        let text = match &trace.text {
            Ok(text) => text,
            Err(told) => {
                kept.remove(&trace, Reason::Rejected, "", Some(told));
                continue;
            }
        };
        let used = match p.reasoning {
            true => text.as_str(),
            false => response::split(text).1,
        };
        let mut fresh = || seen.insert((trace.prompt_id.clone(), normal(text)));
        let reason = match () {
            () if p.drop_unfinished && !trace.finished => Some(Reason::Unfinished),
            () if !reasons(text) => Some(Reason::Empty),
            () if p.drop_duplicates && !fresh() => Some(Reason::Duplicate),
            () => None,
        };
        match reason {
            Some(reason) => kept.remove(&trace, reason, text, None),
            None => kept.conversations.push(trace.conversation(used)),
        }
    }
    kept
}

impl Kept {
    fn remove(&mut self, trace: &Trace, reason: Reason, text: &str, told: Option<&String>) {
        *self.counts.entry(reason).or_default() += 1;
        self.removed.push(Removed {
            conversation: trace.conversation(text),
            reason: reason.word(),
            told: told.cloned(),
        });
    }

    fn all(&self) -> usize {
        self.conversations.len() + self.removed.len()
    }

    pub fn told(&self) -> String {
        let mut told = format!(
            "{} of {} traces are kept",
            self.conversations.len(),
            self.all()
        );
        for (reason, count) in &self.counts {
            told += &format!(", {count} {}", reason.word());
        }
        told
    }

    pub fn ensure_some(&self) -> Result<()> {
        ensure!(
            !self.conversations.is_empty(),
            "nothing is left to train on: {}",
            self.told()
        );
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
        let mut metrics = vec![share("kept", self.conversations.len())];
        let reasons = Reason::ALL.iter();
        metrics.extend(reasons.map(|r| share(&format!("removed/{}", r.word()), count(r))));
        metrics
    }
}

/// What two texts have in common that say the same: lower case, single blanks, no full stop at the end.
pub fn normal(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_string()
}

/// The prompts whose text is not held, and those whose is.
pub fn apart(all: Vec<Prompt>, held: &BTreeSet<String>) -> (Vec<Prompt>, Vec<Prompt>) {
    all.into_iter()
        .partition(|prompt| !held.contains(&normal(&prompt.prompt)))
}
