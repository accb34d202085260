//! The live view of a run: a line per node at work on a terminal, plain lines elsewhere. A reader of events.

use crate::base::text::{count, duration, listed, thousands};
use crate::engine::event::{Event, State};
use crate::report::words;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// A plain view says how far a node is no more often than this.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

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

/// What is wider than the terminal is cut: a line that wraps would not be drawn over.
const SPINNER: &str = "{spinner} {prefix:14} {wide_msg}";
const BAR: &str = "{spinner} {prefix:14} {bar:16} {human_pos}/{human_len} {wide_msg}";

pub struct Progress {
    view: View,
    bars: MultiProgress,
    nodes: BTreeMap<String, Line>,
}

struct Line {
    bar: ProgressBar,
    since: Instant,
    said: Instant,
    /// When progress was first heard, and where it stood: a resumed node does not begin at 0.
    first: Option<(Instant, u64)>,
    reasons: String,
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
                line.bar.set_message(line.reasons.clone());
                let why = line.reasons.clone();
                if self.view == View::Terminal {
                    line.bar.enable_steady_tick(Duration::from_millis(120));
                    self.bars.add(line.bar.clone());
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
        let (at, from) = *line.first.get_or_insert((Instant::now(), done));
        let pace = pace(done.saturating_sub(from), total.saturating_sub(done), at);
        // What a narrow terminal cuts off comes last.
        let mut parts = vec![unit.to_string(), pace, note.to_string()];
        parts.retain(|p| !p.is_empty());
        let told = parts.join(" · ");
        if total > 0 && line.bar.length() != Some(total) {
            line.bar.set_style(style(BAR));
            line.bar.set_length(total);
        }
        line.bar.set_position(done);
        if total == 0 {
            line.bar.set_message(format!("{} {told}", thousands(done)));
        } else {
            line.bar.set_message(told.clone());
        }
        if self.view == View::Plain && line.said.elapsed() >= PLAIN_EVERY {
            line.said = Instant::now();
            let count = match total {
                0 => thousands(done),
                total => format!("{}/{}", thousands(done), thousands(total)),
            };
            self.line(View::Plain, &format!("  {node}: {count} {told}"));
        }
    }

    fn new_line(&self, node: &str, reasons: String) -> Line {
        // Hidden until it is added to the others; only a terminal does that.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style(SPINNER));
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

/// Rate and time left by what was done since `at`; nothing until that can be told.
fn pace(done: u64, left: u64, at: Instant) -> String {
    let seconds = at.elapsed().as_secs_f64();
    if done == 0 || seconds < 1.0 {
        return String::new();
    }
    let each = seconds / done as f64;
    let rate = match 1.0 / each {
        r if r >= 100.0 => format!("{}/s", thousands(r as u64)),
        r if r >= 1.0 => format!("{r:.1}/s"),
        _ => format!("{} each", duration(each)),
    };
    match left {
        0 => rate,
        left => format!("{rate} · {} left", duration(each * left as f64)),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants")
        .progress_chars("=> ")
}

/// `eprintln!` would panic where nobody reads any more, and that is no reason to stop a study.
fn write(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
