//! What is said while a run goes on: a listener of its events. On a terminal a moving line per running node, elsewhere
//! plain lines. Writes to stderr only; knows no node kinds.

use crate::base::text::{duration, thousands};
use crate::engine::clock;
use crate::engine::event::{Event, State};
use crate::engine::plan::Reason;
use crate::report::words;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// Without a terminal, a node's progress is said this often.
const LINE_EVERY_MS: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A terminal.
    Live { colour: bool },
    /// Lines, as for a log.
    Lines,
    /// Nothing but what went wrong.
    Quiet,
}

pub struct Progress {
    style: Style,
    multi: MultiProgress,
    nodes: BTreeMap<String, Running>,
    /// Columns of the longest name.
    wide: usize,
}

/// What is known of a node on its way.
#[derive(Default)]
struct Running {
    reasons: Vec<Reason>,
    resumed: bool,
    started_ms: u64,
    /// First progress of this run: time and count, so that a resumed node has an honest rate.
    first: Option<(u64, u64)>,
    said_ms: u64,
    bar: Option<ProgressBar>,
}

/// A reported progress.
struct Report<'a> {
    done: u64,
    total: u64,
    unit: &'a str,
    note: &'a str,
}

impl Progress {
    pub fn new(style: Style) -> Progress {
        Progress {
            style,
            multi: MultiProgress::new(),
            nodes: BTreeMap::new(),
            wide: 0,
        }
    }

    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::RunStarted { nodes, .. } => {
                self.wide = nodes.iter().map(|n| n.node.len()).max().unwrap_or(0);
            }
            Event::State { node, state } => self.state(node, state),
            Event::Progress {
                node,
                done,
                total,
                unit,
                note,
            } => {
                let report = Report {
                    done: *done,
                    total: *total,
                    unit,
                    note,
                };
                self.progress(node, &report);
            }
            Event::Log { node, text } => self.say(&format!("  {node}: {text}")),
            Event::NotReproducible { node, outputs, .. } => self.complain(&format!(
                "! {node}  gave other bytes than before ({}); the earlier record is in quarantine",
                outputs.join(", ")
            )),
            Event::Metric { .. } | Event::Committed { .. } => {}
            Event::RunEnded { .. } => {
                for running in self.nodes.values() {
                    running.clear();
                }
            }
        }
    }

    fn state(&mut self, node: &str, state: &State) {
        let now = clock::now_ms();
        match state {
            State::Waiting => {}
            State::Ready {
                reasons,
                resumable,
                resumed,
                ..
            } => {
                let running = self.nodes.entry(node.into()).or_default();
                running.reasons = reasons.clone();
                running.resumed = *resumable || resumed.is_some();
            }
            State::Held { .. } => {
                self.say(&format!("  {node}: waits for another run that makes it"));
            }
            State::Running { threads, .. } => self.start(node, *threads, now),
            done => {
                let running = self.nodes.remove(node).unwrap_or_default();
                running.clear();
                let took = now.saturating_sub(running.started_ms) as f64 / 1e3;
                let line = self.ended(node, done, took);
                match done {
                    State::Failed { .. } => self.complain(&line),
                    _ => self.say(&line),
                }
            }
        }
    }

    fn start(&mut self, node: &str, threads: usize, now: u64) {
        let wide = self.wide;
        let style = self.style;
        let running = self.nodes.entry(node.into()).or_default();
        running.started_ms = now;
        running.said_ms = now;
        if let Style::Live { .. } = style {
            let bar = self.multi.add(ProgressBar::new_spinner());
            bar.set_style(template("{spinner} {prefix}  {wide_msg}"));
            bar.set_prefix(format!("{node:wide$}"));
            bar.set_message(words::reasons(&running.reasons));
            bar.enable_steady_tick(Duration::from_millis(120));
            running.bar = Some(bar);
            return;
        }
        let verb = if running.resumed { "resumes" } else { "starts" };
        let why = words::reasons(&running.reasons);
        let with = if threads == 1 {
            "1 thread".into()
        } else {
            format!("{threads} threads")
        };
        self.say(&format!("> {node}  {verb} with {with}: {why}"));
    }

    fn progress(&mut self, node: &str, report: &Report) {
        let now = clock::now_ms();
        let Some(running) = self.nodes.get_mut(node) else {
            return; // A report that was on its way when the node ended.
        };
        let (since, from) = *running.first.get_or_insert((now, report.done));
        let seconds = now.saturating_sub(since) as f64 / 1e3;
        let rate = report.done.saturating_sub(from) as f64 / seconds.max(1e-3);
        let text = report.text((seconds >= 1.0 && rate > 0.0).then_some(rate));
        if let Some(bar) = &running.bar {
            if report.total > 0 && bar.length() != Some(report.total) {
                bar.set_length(report.total);
                bar.set_style(template("{spinner} {prefix}  {bar:16} {wide_msg}"));
            }
            bar.set_position(report.done);
            bar.set_message(text);
        } else if now >= running.said_ms + LINE_EVERY_MS {
            running.said_ms = now;
            self.say(&format!("  {node}  {text}"));
        }
    }

    /// As in `✔ sft  12 s`.
    fn ended(&self, node: &str, state: &State, took: f64) -> String {
        let (sign, tone, said) = match state {
            State::Hit { saved_seconds, .. } => {
                ("=", "2", format!("hit, saves {}", duration(*saved_seconds)))
            }
            State::Done { .. } => ("✔", "32", duration(took)),
            State::Failed { message, tail } => {
                let tail: String = tail.lines().map(|l| format!("\n    | {l}")).collect();
                ("✗", "1;31", format!("failed: {message}{tail}"))
            }
            State::Skipped { because } => ("–", "33", format!("skipped, it needs `{because}`")),
            State::Interrupted => ("–", "33", "interrupted".into()),
            State::Waiting | State::Ready { .. } | State::Held { .. } | State::Running { .. } => {
                unreachable!("a node ends in a final state")
            }
        };
        let sign = match self.style {
            Style::Live { colour: true } => format!("\u{1b}[{tone}m{sign}\u{1b}[0m"),
            _ => sign.into(),
        };
        let wide = match self.style {
            Style::Live { .. } => self.wide,
            _ => 0,
        };
        format!("{sign} {node:wide$}  {said}")
    }

    fn say(&self, line: &str) {
        if self.style != Style::Quiet {
            self.complain(line);
        }
    }

    /// Said in every style. Who cannot be told is not told: the run is worth more than its progress.
    fn complain(&self, line: &str) {
        let _ = match self.style {
            Style::Live { .. } => self.multi.println(line),
            _ => writeln!(std::io::stderr(), "{line}"),
        };
    }
}

impl Running {
    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Report<'_> {
    /// As in `120/400 steps · 3.1/s · 1 m 30 s left · loss 0.31`.
    fn text(&self, rate: Option<f64>) -> String {
        let mut parts = vec![match self.total {
            0 => format!("{} {}", thousands(self.done), self.unit),
            total => format!(
                "{}/{} {}",
                thousands(self.done),
                thousands(total),
                self.unit
            ),
        }];
        if let Some(rate) = rate {
            parts.push(match rate {
                r if r >= 100.0 => format!("{}/s", thousands(r as u64)),
                r if r >= 1.0 => format!("{r:.1}/s"),
                r => format!("{} each", duration(1.0 / r)),
            });
            if self.total > self.done {
                let left = (self.total - self.done) as f64 / rate;
                parts.push(format!("{} left", duration(left)));
            }
        }
        if !self.note.is_empty() {
            parts.push(self.note.into());
        }
        parts.join(" · ")
    }
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text)
        .expect("the templates here are well formed")
        .progress_chars("━╸─")
}
