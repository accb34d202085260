//! The live view of a run: a line per node at work on a terminal, plain lines elsewhere. A reader of events.

use crate::telling::{Line, Telling, counted, told};
use base::text::{duration, thousands};
use engine::events::event::{Event, State};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

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
    /// Of the nodes at work, on a terminal.
    lines: BTreeMap<String, ProgressBar>,
    telling: Telling,
    since: Instant,
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
            lines: BTreeMap::new(),
            telling: Telling::default(),
            since: Instant::now(),
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
        let at = self.since.elapsed().as_millis() as u64;
        let line = self.telling.hear(at, event);
        if self.view == View::Terminal {
            return self.draw(at, event, line);
        }
        if let Some(line) = line.filter(|l| l.grave || self.view == View::Plain) {
            write(&line.text);
        }
    }

    /// Nodes at work are bars; what else there is to say are lines above them.
    fn draw(&mut self, at: u64, event: &Event, line: Option<Line>) {
        match event {
            Event::State {
                node,
                state: State::Running { .. },
            } => self.begin(node),
            Event::State { node, .. } => {
                if let Some(bar) = self.lines.remove(node) {
                    bar.finish_and_clear();
                }
                self.say(line);
            }
            Event::Progress { node, .. } => self.advance(at, node),
            Event::Silent { node, seconds } => {
                if let Some(bar) = self.lines.get(node) {
                    bar.set_message(format!("silent for {}", duration(*seconds)));
                }
            }
            _ => self.say(line),
        }
    }

    fn begin(&mut self, node: &str) {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style(SPINNER));
        bar.set_prefix(node.to_string());
        let why = self.telling.view.node(node).map(|n| n.why.clone());
        bar.set_message(why.unwrap_or_default());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.lines.insert(node.to_string(), self.bars.add(bar));
    }

    fn advance(&mut self, at: u64, node: &str) {
        let (Some(bar), Some(seen)) = (self.lines.get(node), self.telling.view.node(node)) else {
            return;
        };
        let Some(progress) = &seen.progress else {
            return;
        };
        let (done, total) = (progress.done, progress.total);
        // Of what is sampled, rows that are done are no measure: no bar, and room for what is.
        let sampled = progress.sampled.is_some_and(|s| !s.part);
        if sampled {
            let counted = counted(seen).unwrap_or_default();
            return bar.set_message(format!("{counted} {}", told(seen, at)));
        }
        if total > 0 && bar.length() != Some(total) {
            bar.set_style(style(BAR));
            bar.set_length(total);
        }
        bar.set_position(done);
        let told = told(seen, at);
        bar.set_message(match total {
            0 => format!("{} {told}", thousands(done)),
            _ => told,
        });
    }

    /// A line that stays, on stderr: stdout is for results.
    fn say(&self, line: Option<Line>) {
        if let Some(line) = line {
            let _ = self.bars.println(line.text); // As in `write`.
        }
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
