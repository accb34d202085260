//! The live view of a run: a line per node at work on a terminal, plain lines elsewhere. A reader of events.

use crate::base::text::{count, duration, listed};
use crate::engine::event::{Event, State};
use crate::report::words;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// A plain view says how far a node is no more often than this.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// A node that has not said how much there is to do.
const UNCOUNTED: &str = "{spinner} {prefix:14} {wide_msg}";
const COUNTED: &str = "{spinner} {prefix:14} {bar:12} {wide_msg}";

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Bars that move.
    Terminal,
    /// A line per change, and now and then how far a node is.
    Plain,
    /// Failures only.
    Quiet,
}

pub struct Progress {
    view: View,
    bars: MultiProgress,
    nodes: BTreeMap<String, Line>,
}

struct Line {
    bar: ProgressBar,
    since: Instant,
    said: Instant,
    /// Where the count began and when: a resumed node does not begin at zero.
    first: Option<(u64, Instant)>,
    reasons: String,
}

impl Line {
    /// `40/125 steps · 13 s left · 6.2/s · loss 1.1`: what a narrow terminal cuts off comes last.
    fn told(&mut self, done: u64, total: u64, unit: &str, note: &str) -> String {
        let (began, since) = *self.first.get_or_insert_with(|| (done, Instant::now()));
        let mut parts = vec![match total {
            0 => format!("{done} {unit}"),
            _ => format!("{done}/{total} {unit}"),
        }];
        let rate = done.saturating_sub(began) as f64 / since.elapsed().as_secs_f64().max(1e-3);
        if rate > 0.0 && total > done {
            parts.push(format!("{} left", duration((total - done) as f64 / rate)));
        }
        if rate > 0.0 {
            parts.push(match rate {
                r if r >= 10.0 => format!("{r:.0}/s"),
                r if r >= 1.0 => format!("{r:.1}/s"),
                r => format!("{} each", duration(1.0 / r)),
            });
        }
        if !note.is_empty() {
            parts.push(note.to_string());
        }
        parts.join(" · ")
    }
}

impl Progress {
    pub fn new(view: View) -> Progress {
        let bars = MultiProgress::new();
        if view != View::Terminal {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Progress {
            view,
            bars,
            nodes: BTreeMap::new(),
        }
    }

    /// Says a line from elsewhere than an event, unless the view is quiet.
    pub fn voice(&self) -> impl Fn(&str) + Send + 'static {
        let (view, bars) = (self.view, self.bars.clone());
        move |text| match view {
            View::Terminal => {
                let _ = bars.println(text); // As in `write`.
            }
            View::Plain => write(text),
            View::Quiet => {}
        }
    }

    /// Shows one event.
    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::State { node, state } => self.state(node, state),
            Event::Progress {
                node,
                done,
                total,
                unit,
                note,
            } => self.progress(node, *done, *total, unit, note),
            Event::Log { node, text } => self.line(View::Plain, &format!("  {node}: {text}")),
            Event::NotReproducible { node, outputs, .. } => self.line(
                View::Quiet,
                &format!(
                    "! {node}: {} came out other than before; the earlier record is in quarantine",
                    listed(outputs.iter().map(String::as_str))
                ),
            ),
            Event::Committed {
                node,
                reproduced: true,
                ..
            } => {
                self.line(View::Plain, &format!("  {node}: the same bytes as before"));
            }
            _ => {}
        }
    }

    fn state(&mut self, node: &str, state: &State) {
        match state {
            State::Waiting => {}
            State::Ready {
                reasons, resumed, ..
            } => {
                let mut why = words::reasons(reasons);
                if let Some(fraction) = resumed {
                    why += &format!("; goes on at {:.0} %", fraction * 100.0);
                }
                self.nodes.insert(node.into(), self.new_line(node, why));
            }
            State::Held { .. } => self.line(
                View::Plain,
                &format!("… {node}  another run makes it; waiting"),
            ),
            State::Running { threads, .. } => {
                let Some(line) = self.nodes.get_mut(node) else {
                    return;
                };
                line.since = Instant::now();
                let why = line.reasons.clone();
                if self.view == View::Terminal {
                    self.bars.add(line.bar.clone());
                    line.bar.set_message(format!("starting: {why}"));
                    line.bar.enable_steady_tick(Duration::from_millis(120));
                } else {
                    self.line(
                        View::Plain,
                        &format!(
                            "> {node}  {why}  ({})",
                            count(*threads as u64, "thread", "threads")
                        ),
                    );
                }
            }
            State::Hit { saved_seconds, .. } => {
                self.end(
                    node,
                    View::Plain,
                    &format!("= {node}  hit, saved {}", duration(*saved_seconds)),
                );
            }
            State::Done { .. } => {
                let took = self
                    .nodes
                    .get(node)
                    .map_or(0.0, |l| l.since.elapsed().as_secs_f64());
                self.end(
                    node,
                    View::Plain,
                    &format!("+ {node}  done in {}", duration(took)),
                );
            }
            State::Failed { message, tail } => {
                let tail: String = tail.lines().map(|l| format!("\n    {l}")).collect();
                self.end(
                    node,
                    View::Quiet,
                    &format!("x {node}  failed: {message}{tail}"),
                );
            }
            State::Skipped { because } => {
                self.end(
                    node,
                    View::Quiet,
                    &format!("- {node}  skipped: `{because}` failed"),
                );
            }
            State::Interrupted => self.end(node, View::Plain, &format!("- {node}  interrupted")),
        }
    }

    fn progress(&mut self, node: &str, done: u64, total: u64, unit: &str, note: &str) {
        let Some(line) = self.nodes.get_mut(node) else {
            return;
        };
        let text = line.told(done, total, unit, note);
        if total > 0 && line.bar.length().is_none() {
            line.bar.set_style(style(COUNTED));
        }
        if total > 0 {
            line.bar.set_length(total);
            line.bar.set_position(done);
        }
        line.bar.set_message(text.clone());
        if self.view == View::Plain && line.said.elapsed() >= PLAIN_EVERY {
            line.said = Instant::now();
            self.line(View::Plain, &format!("  {node}: {text}"));
        }
    }

    /// Not drawn before the node runs: a bar outside of `bars` would leave its traces on the terminal.
    fn new_line(&self, node: &str, reasons: String) -> Line {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style(UNCOUNTED));
        bar.set_prefix(node.to_string());
        Line {
            bar,
            since: Instant::now(),
            said: Instant::now(),
            first: None,
            reasons,
        }
    }

    /// The node is at its end: its bar makes way for a line that stays.
    fn end(&mut self, node: &str, least: View, text: &str) {
        if let Some(line) = self.nodes.remove(node) {
            line.bar.finish_and_clear();
        }
        self.line(least, text);
    }

    /// A line that stays, on stderr: stdout is for results.
    fn line(&self, least: View, text: &str) {
        match self.view {
            View::Terminal => {
                let _ = self.bars.println(text); // As in `write`.
            }
            View::Plain => write(text),
            View::Quiet if least == View::Quiet => write(text),
            View::Quiet => {}
        }
    }
}

/// `eprintln!` would panic where nobody reads any more, and that is no reason to stop a study.
fn write(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is a constant")
        .progress_chars("━╸─")
}
