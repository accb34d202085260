//! What a program says while it runs: lines that are progress and numbers beside a step, everything else is its log. Redacts before
//! anything is written. Knows no process.

use super::params::Params;
use super::placeholders;
use super::sandbox::Sandbox;
use anyhow::Result;
use base::params::ParamSet;
use engine::kind::context::NodeCtx;
use engine::kind::messages::Metric;
use engine::run::secrets::redact;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::{Mutex, MutexGuard};

/// Lines that are kept of a program's end.
const LAST: usize = 12;

/// A log that is longer, in bytes, is cut.
const MOST_LOG: usize = 64 << 20;

/// Numbers beside the progress.
const SHOWN: usize = 3;

/// What a line says of how far a program is.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A step, numbered from 1, with its numbers.
    Step {
        step: u64,
        of: Option<u64>,
        values: BTreeMap<String, f64>,
    },
    /// So much of so much.
    Count { done: u64, total: u64 },
}

/// Reads a line; nothing where it is about something else.
pub fn said(line: &str) -> Option<Said> {
    let line = line.trim();
    if line.starts_with('{') {
        return object(&serde_json::from_str(line).ok()?);
    }
    if let Some(rest) = line.strip_prefix("PIPE ") {
        let pairs = rest
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        return object(
            &pairs
                .map(|(name, text)| (name.into(), value(text)))
                .collect(),
        );
    }
    if let Some((percent, rest)) = line.split_once("%|") {
        let count = rest
            .split('|')
            .nth(1)
            .and_then(|rest| fraction(rest.trim_start()));
        let percent = || {
            let done = percent
                .rsplit(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()?;
            (done <= 100).then_some((done, 100))
        };
        let (done, total) = count.or_else(percent)?;
        return Some(Said::Count { done, total });
    }
    let begun = ["step", "epoch", "batch", "iteration", "iter"];
    let lower = line.to_ascii_lowercase();
    let word = begun.iter().find_map(|word| lower.strip_prefix(word));
    let at = word.map_or(lower.as_str(), |rest| {
        rest.trim_start_matches([' ', ':', '='])
    });
    let (done, total) = fraction(at.trim_start_matches('['))?;
    Some(Said::Count { done, total })
}

fn object(object: &Map<String, Value>) -> Option<Said> {
    let whole = |name: &str| {
        object
            .get(name)?
            .as_f64()
            .filter(|n| n.fract() == 0.0 && *n >= 0.0)
    };
    let step = whole("step")? as u64;
    let numbers = object
        .iter()
        .filter(|(name, _)| !["step", "of"].contains(&name.as_str()));
    let values = numbers.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
    Some(Said::Step {
        step,
        of: whole("of").map(|of| of as u64),
        values: values.filter(|(_, value)| value.is_finite()).collect(),
    })
}

/// `3/100` at the beginning, and what follows is not a part of it.
fn fraction(text: &str) -> Option<(u64, u64)> {
    let end = |text: &str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (done, rest) = text.split_at(end(text));
    let rest = rest.strip_prefix('/')?;
    let (total, after) = rest.split_at(end(rest));
    let (done, total) = (done.parse().ok()?, total.parse().ok()?);
    let apart = after.chars().next().is_none_or(|c| " ,;:])".contains(c));
    (apart && total > 0 && done <= total).then_some((done, total))
}

/// Hears a program's lines, from several threads.
pub struct Report<'a> {
    ctx: &'a NodeCtx,
    secrets: &'a BTreeMap<String, String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    curve: BTreeMap<u64, BTreeMap<String, f64>>,
    total: u64,
    note: String,
    /// Of stderr, the newest last.
    last: VecDeque<String>,
    logged: usize,
}

/// What is left of a program's words when it has ended.
pub struct Curve {
    pub steps: BTreeMap<u64, BTreeMap<String, f64>>,
    last: VecDeque<String>,
}

impl Curve {
    /// The last line that it wrote to stderr, if any.
    pub(crate) fn last_words(&self) -> Option<&str> {
        let mut lines = self.last.iter().rev().map(|line| line.trim());
        lines.find(|line| !line.is_empty())
    }
}

impl<'a> Report<'a> {
    /// With the steps of earlier attempts, where the program goes on from what they left.
    pub fn new(ctx: &'a NodeCtx, p: &Params, sandbox: &'a Sandbox) -> Result<Report<'a>> {
        let mut state = State::default();
        if placeholders::mentions(&p.write(), "resume") {
            for resume in ctx.earlier().iter().rev() {
                let logs = resume.with_file_name("logs").join("metrics.jsonl");
                for line in std::fs::read_to_string(logs).unwrap_or_default().lines() {
                    // The last line of a killed attempt may be torn.
                    if let Ok(metric) = serde_json::from_str::<Metric>(line) {
                        state.curve.insert(metric.step, metric.values);
                    }
                }
            }
        }
        Ok(Report {
            ctx,
            secrets: &sandbox.secrets,
            state: Mutex::new(state),
        })
    }

    /// A line of the program. `drawn` was written over by the next one, as progress bars are: it is not logged.
    pub fn line(&self, line: &str, from_stderr: bool, drawn: bool) {
        let line = redact(line, self.secrets);
        let said = said(&line);
        let mut state = self.state();
        match &said {
            Some(Said::Step { step, of, values }) => {
                state.total = of.unwrap_or(state.total);
                state.note = note(values);
                self.ctx
                    .progress(*step, state.total.max(*step), "steps", &state.note);
                if !values.is_empty() {
                    let all: Vec<(&str, f64)> =
                        values.iter().map(|(n, v)| (n.as_str(), *v)).collect();
                    self.ctx.metric(*step, &all);
                    state.curve.insert(*step, values.clone());
                }
                return;
            }
            Some(Said::Count { done, total }) => {
                let unit = if state.total == 0 { "" } else { "steps" };
                self.ctx.progress(*done, *total, unit, &state.note);
            }
            None => {}
        }
        if drawn {
            return;
        }
        if from_stderr {
            state.last.push_back(line.clone());
            if state.last.len() > LAST {
                state.last.pop_front();
            }
        }
        self.log(&mut state, &line);
    }

    /// This process's stderr is the node's log.
    fn log(&self, state: &mut State, line: &str) {
        if state.logged > MOST_LOG {
            return;
        }
        state.logged += line.len() + 1;
        let line = match state.logged > MOST_LOG {
            true => "[the log is cut here]",
            false => line,
        };
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "{line}"); // A log that cannot be written is no reason to lose the node.
    }

    pub fn finish(self) -> Curve {
        let state = self.state.into_inner();
        let state = state.unwrap_or_else(|poisoned| poisoned.into_inner());
        Curve {
            steps: state.curve,
            last: state.last,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The loss, or else the first numbers.
fn note(values: &BTreeMap<String, f64>) -> String {
    let loss = values.iter().filter(|(name, _)| *name == "loss");
    let others = values.iter().filter(|(name, _)| *name != "loss");
    let shown = loss.chain(others).take(SHOWN);
    let shown: Vec<String> = shown
        .map(|(name, value)| format!("{name} {value:.4}"))
        .collect();
    shown.join(" · ")
}
