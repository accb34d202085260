//! The live view of a run: on a terminal a line for the whole and one per node at work, plain lines elsewhere. A reader of events.

use crate::telling::{Line, Telling, counted, told};
use crate::view::RunView;
use base::text::{duration, thousands, width};
use engine::events::event::{Event, State};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Bars that move, in colour or without.
    Terminal { colour: bool },
    /// A line per change, and now and then how far a node is.
    Plain,
    /// Failures only.
    Quiet,
}

/// Longer names are cut in the middle, so that no name moves the bars; columns of a terminal.
const NAME: usize = 20;

/// Columns of a bar.
const BAR: usize = 16;

/// How often the line of the whole is looked at.
const LOOK: Duration = Duration::from_millis(500);

pub struct Progress {
    view: View,
    /// Columns of the terminal, which may change while it runs.
    room: fn() -> usize,
    bars: MultiProgress,
    /// Of the run, the last line: how many nodes of how many, and how long it will take.
    whole: Option<ProgressBar>,
    /// Of the nodes at work, on a terminal.
    lines: BTreeMap<String, ProgressBar>,
    /// Columns that names take here.
    name: usize,
    telling: Telling,
    since: Instant,
    looked: Instant,
}

impl Progress {
    pub fn new(view: View, room: fn() -> usize) -> Progress {
        let bars = MultiProgress::new();
        if !matches!(view, View::Terminal { .. }) {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Progress {
            view,
            room,
            bars,
            whole: None,
            lines: BTreeMap::new(),
            name: 0,
            telling: Telling::default(),
            since: Instant::now(),
            looked: Instant::now(),
        }
    }

    /// Says a line from elsewhere than an event, unless the view is quiet.
    pub fn voice(&self) -> impl Fn(&str) + Send + 'static {
        let (view, bars) = (self.view, self.bars.clone());
        move |text| match view {
            View::Terminal { .. } => {
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
        if let View::Terminal { colour } = self.view {
            return self.draw(at, event, line, colour);
        }
        if let Some(line) = line.filter(|l| l.grave || self.view == View::Plain) {
            write(&line.text);
        }
    }

    /// Nodes at work are bars; what else there is to say are lines above them.
    fn draw(&mut self, at: u64, event: &Event, line: Option<Line>, colour: bool) {
        match event {
            Event::RunStarted { nodes, .. } => {
                let names = nodes.iter().map(|n| width(&n.node));
                self.name = names.max().unwrap_or(0).min(NAME);
                self.whole = Some(self.begin_whole(colour));
            }
            Event::RunEnded { .. } => {
                if let Some(whole) = self.whole.take() {
                    whole.finish_and_clear();
                }
            }
            Event::State {
                node,
                state: State::Running { .. },
            } => self.begin(node, colour),
            Event::State { node, state } => {
                if let Some(bar) = self.lines.remove(node) {
                    bar.finish_and_clear();
                }
                self.say(line.map(|l| painted(l, state, colour)));
            }
            Event::Progress { node, .. } => self.advance(at, node, colour),
            Event::Placed { node, .. } => {
                let place = self.telling.view.node(node).map(|n| n.place.clone());
                if let (Some(bar), Some(place)) = (self.lines.get(node), place) {
                    self.say_of(bar, place);
                }
            }
            Event::Silent { node, seconds } => {
                if let Some(bar) = self.lines.get(node) {
                    self.say_of(bar, format!("silent for {}", duration(*seconds)));
                }
            }
            _ => self.say(line),
        }
        let state = matches!(event, Event::State { .. } | Event::RunStarted { .. });
        if state || self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if let Some(whole) = &self.whole {
                let told = of_whole(&self.telling.view, at);
                whole.set_message(fitted(&told, (self.room)().saturating_sub(2)));
            }
        }
    }

    fn begin_whole(&self, colour: bool) -> ProgressBar {
        let bar = self.hidden();
        bar.set_style(style("{spinner} {wide_msg}", colour));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bars.add(bar)
    }

    /// A bar that is not drawn before it has its place.
    fn hidden(&self) -> ProgressBar {
        ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
    }

    fn begin(&mut self, node: &str, colour: bool) {
        let bar = self.hidden();
        bar.set_style(style(
            &format!("{{spinner}} {{prefix:{}}} {{wide_msg}}", self.name),
            colour,
        ));
        bar.set_prefix(short(node, self.name));
        let why = self.telling.view.node(node).map(|n| n.why.clone());
        self.say_of(&bar, why.unwrap_or_default());
        bar.enable_steady_tick(Duration::from_millis(120));
        let bar = match &self.whole {
            Some(whole) => self.bars.insert_before(whole, bar),
            None => self.bars.add(bar),
        };
        self.lines.insert(node.to_string(), bar);
    }

    fn advance(&mut self, at: u64, node: &str, colour: bool) {
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
            return self.say_of(bar, format!("{counted} {}", told(seen, at)));
        }
        if total > 0 && bar.length() != Some(total) {
            let form = format!(
                "{{spinner}} {{prefix:{}}} {{bar:16}} {{human_pos}}/{{human_len}} {{wide_msg}}",
                self.name
            );
            bar.set_style(style(&form, colour));
            bar.set_length(total);
        }
        bar.set_position(done);
        let told = told(seen, at);
        let text = match total {
            0 => format!("{} {told}", thousands(done)),
            _ => told,
        };
        self.say_of(bar, text);
    }

    /// What stands behind the name of a node, and behind its bar where it has one.
    fn say_of(&self, bar: &ProgressBar, text: String) {
        let share = bar.length().map(|total| {
            let counted = format!("{}/{}", thousands(bar.position()), thousands(total));
            BAR + 2 + counted.len()
        });
        let before = 2 + self.name + 1 + share.unwrap_or(0);
        bar.set_message(fitted(&text, (self.room)().saturating_sub(before)));
    }

    /// A line that stays, on stderr: stdout is for results.
    fn say(&self, line: Option<Line>) {
        if let Some(line) = line {
            let _ = self.bars.println(line.text); // As in `write`.
        }
    }
}

/// As many of the parts that ` · ` divides as there is room for, the first in any case: half a part says nothing, or something else.
pub fn fitted(text: &str, room: usize) -> String {
    const MARK: &str = " · ";
    let mut shown = text;
    while width(shown) > room {
        match shown.rsplit_once(MARK) {
            Some((before, _)) => shown = before,
            None => break,
        }
    }
    shown.to_string()
}

/// `7 of 22 nodes · 2 at work · about 3 m left`.
pub fn of_whole(view: &RunView, at: u64) -> String {
    let made = view.completed();
    let works = view.count(|s| matches!(s, State::Running { .. }));
    let all = view.nodes.len();
    let nodes = if all == 1 { "node" } else { "nodes" };
    let mut parts = vec![format!("{made} of {all} {nodes}")];
    if works > 1 {
        parts.push(format!("{works} at work"));
    }
    parts.extend(view.mishaps());
    let left = view.left(at);
    let told = left.told().filter(|_| works > 0 || !left.known);
    parts.extend(told.map(|told| format!("{told} left")));
    parts.join(" · ")
}

/// The name in so many columns, without its middle where it is longer.
pub fn short(name: &str, room: usize) -> String {
    if width(name) <= room {
        return name.to_string();
    }
    let letters: Vec<char> = name.chars().collect();
    let (mut head, mut tail) = (letters.len().div_ceil(2), letters.len() / 2);
    loop {
        let begin: String = letters[..head].iter().collect();
        let end: String = letters[letters.len() - tail..].iter().collect();
        let cut = format!("{begin}…{end}");
        if width(&cut) <= room || head + tail == 0 {
            return cut;
        }
        match head > tail {
            true => head -= 1,
            false => tail -= 1,
        }
    }
}

/// How a node ended, in the colour that says so.
fn painted(line: Line, state: &State, colour: bool) -> Line {
    let code = match state {
        State::Done { .. } => "32",
        State::Hit { .. } => "2",
        State::Failed { .. } => "1;31",
        State::Skipped { .. } | State::Interrupted => "33",
        _ => return line,
    };
    let text = match line.text.split_once(' ') {
        Some((mark, rest)) if colour => format!("\u{1b}[{code}m{mark}\u{1b}[0m {rest}"),
        _ => line.text,
    };
    Line { text, ..line }
}

/// What is wider than the terminal is cut: a line that wraps would not be drawn over.
fn style(template: &str, colour: bool) -> ProgressStyle {
    let painted = match colour {
        true => template
            .replace("{spinner}", "{spinner:.cyan}")
            .replace("{bar:16}", "{bar:16.green}"),
        false => template.to_string(),
    };
    ProgressStyle::with_template(&painted)
        .expect("the templates are constants")
        .progress_chars("=> ")
}

/// `eprintln!` would panic where nobody reads any more, and that is no reason to stop a study.
fn write(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
