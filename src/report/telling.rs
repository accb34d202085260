//! A run told in lines that stay, event by event. The same lines for a run that goes on and for one that is replayed.

use crate::view::{NodeView, RunView, Tokens};
use base::text::{bytes, count, duration, listed, thousands};
use engine::events::event::Holder;
use engine::events::event::{Event, OrphanAction, State};
use engine::events::journal::Stamped;
use engine::system::clock;
use std::collections::BTreeMap;

/// How far a node is is said no more often than this, in milliseconds.
const EVERY: u64 = 10_000;

/// A line, and whether it is said even to who wants to hear of failures only.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub grave: bool,
    pub text: String,
}

#[derive(Default)]
pub struct Telling {
    pub view: RunView,
    /// When a node's progress was last said.
    said: BTreeMap<String, u64>,
}

impl Telling {
    /// All that would have been said of a kept run.
    pub fn replay(events: &[Stamped]) -> Vec<Line> {
        let mut telling = Telling::default();
        let heard = events.iter();
        heard.filter_map(|s| telling.hear(s.at, &s.event)).collect()
    }

    /// What to say of an event, if anything. `at` in milliseconds, of the same clock as all others.
    pub fn hear(&mut self, at: u64, event: &Event) -> Option<Line> {
        self.view.hear(at, event);
        let plain = |text| Some(Line { grave: false, text });
        let grave = |text| Some(Line { grave: true, text });
        match event {
            Event::State { node, state } => self.state(at, node, state),
            Event::Progress { node, .. } => plain(self.progress(at, node)?),
            Event::Log { node, text } => plain(format!("  {node}: {text}")),
            Event::NotReproducible { node, outputs, .. } => grave(format!(
                "! {node}: {} came out other than before; the earlier record is in quarantine",
                listed(outputs.iter().map(String::as_str))
            )),
            Event::OtherDevice {
                node,
                outputs,
                moved,
                ..
            } => plain(format!(
                "  {node}: {} came out other than before, on another device: {} before, {} now; the earlier record is in quarantine",
                listed(outputs.iter().map(String::as_str)),
                moved.before,
                moved.now
            )),
            Event::Committed {
                node,
                reproduced: true,
                ..
            } => plain(format!("  {node}: the same bytes as before")),
            Event::Retry {
                node,
                class,
                message,
                attempt,
                pause_seconds,
            } => grave(format!(
                "~ {node}  {}: {message}; again in {} (try {})",
                class.words(),
                duration(*pause_seconds),
                attempt + 1
            )),
            Event::Orphan {
                node,
                holder,
                action,
            } => grave(orphan(node, holder, *action)),
            Event::Placed { node, .. } => {
                let place = self.view.node(node).map(|n| n.place.clone());
                plain(format!("  {node}: {}", place.unwrap_or_default()))
            }
            Event::Silent { node, seconds } => {
                plain(format!("? {node}  silent for {}", duration(*seconds)))
            }
            // A line for all of them: what never began has nothing to say.
            Event::RunEnded { .. } => match self.view.not_begun() {
                0 => None,
                n => plain(format!("- {} not begun", count(n as u64, "node", "nodes"))),
            },
            _ => None,
        }
    }

    fn state(&self, at: u64, node: &str, state: &State) -> Option<Line> {
        let seen = self.view.node(node);
        let (grave, text) = match state {
            State::Waiting | State::Ready { .. } => return None,
            State::Held { by, .. } => {
                (false, format!("… {node}  {}; waiting", holder(by.as_ref())))
            }
            State::Running { threads, .. } => {
                let why = seen.map_or("", |n| n.why.as_str());
                let threads = match threads {
                    0 => "waits for others".into(),
                    n => count(*n as u64, "thread", "threads"),
                };
                (false, format!("> {node}  {why}  ({threads})"))
            }
            State::Hit { saved_seconds, .. } => (
                false,
                format!("= {node}  hit, saved {}", duration(*saved_seconds)),
            ),
            State::Done { .. } => {
                let took = seen.and_then(|n| n.ran(at)).unwrap_or_default();
                (false, format!("+ {node}  done in {}", duration(took)))
            }
            State::Failed {
                message,
                tail,
                peak_bytes,
                ..
            } => {
                let tail: String = tail.lines().map(|l| format!("\n    {l}")).collect();
                let peak = peak_bytes.filter(|_| !message.contains("peak"));
                let peak = peak
                    .filter(|p| *p > LARGE)
                    .map(|p| format!(" (peak {})", bytes(p)));
                let peak = peak.unwrap_or_default();
                (true, format!("x {node}  failed: {message}{peak}{tail}"))
            }
            State::Skipped { because } => (false, format!("- {node}  skipped: `{because}` failed")),
            State::Interrupted => {
                let seen = seen.filter(|n| n.running_since.is_some())?;
                let at = seen.share().map_or(String::new(), |s| format!(" at {s} %"));
                (false, format!("- {node}  interrupted{at}"))
            }
        };
        Some(Line { grave, text })
    }

    fn progress(&mut self, at: u64, node: &str) -> Option<String> {
        let seen = self.view.node(node)?;
        let last = self.said.get(node).copied().or(seen.running_since)?;
        if at.saturating_sub(last) < EVERY {
            return None;
        }
        self.said.insert(node.to_string(), at);
        Some(format!("  {node}: {} {}", counted(seen)?, told(seen, at)))
    }
}

/// A peak below this is no reason for anything.
const LARGE: u64 = 1_000_000_000;

/// `12/80`, or `12` where nobody knows of how many.
pub fn counted(node: &NodeView) -> Option<String> {
    let p = node.progress.as_ref()?;
    Some(match p.total {
        0 => thousands(p.done),
        total => format!("{}/{}", thousands(p.done), thousands(total)),
    })
}

/// Unit, pace and note of what a node does; what a narrow terminal cuts off comes last.
pub fn told(node: &NodeView, now: u64) -> String {
    said(node, now, true)
}

/// The same without the time left, which stands in a column of its own.
pub fn does(node: &NodeView, now: u64) -> String {
    said(node, now, false)
}

fn said(node: &NodeView, now: u64, with_left: bool) -> String {
    let left = |t: &Tokens| match with_left {
        true => left(t),
        false => String::new(),
    };
    let Some(p) = &node.progress else {
        return String::new();
    };
    let by_tokens = node.tokens(now);
    let pace = node.pace(now).map_or(String::new(), |each| {
        let rate = match 1.0 / each {
            r if r >= 100.0 => format!("{}/s", thousands(r as u64)),
            r if r >= 1.0 => format!("{r:.1}/s"),
            _ => format!("{} each", duration(each)),
        };
        match p.total.saturating_sub(p.done) {
            0 => rate,
            _ if !with_left => rate,
            left => format!("{rate} · {} left", duration(each * left as f64)),
        }
    });
    let mut parts = match (p.sampled, by_tokens) {
        (None, _) => vec![p.unit.clone(), pace, p.note.clone()],
        (Some(_), None) => vec![p.unit.clone(), p.note.clone()],
        (Some(_), Some(t)) if t.part => {
            vec![p.unit.clone(), pace, p.note.clone(), share(&t), rate(&t)]
        }
        (Some(_), Some(t)) => vec![p.unit.clone(), share(&t), left(&t), rate(&t)],
    };
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn share(tokens: &Tokens) -> String {
    format!("{:.0} % of tokens", 100.0 * tokens.share)
}

fn left(tokens: &Tokens) -> String {
    match (tokens.left > 0.0, tokens.at_most) {
        (false, _) => String::new(),
        (true, false) => format!("{} left", duration(tokens.left)),
        (true, true) => format!("up to {} left", duration(tokens.left)),
    }
}

fn rate(tokens: &Tokens) -> String {
    match tokens.per_second {
        r if r >= 10.0 => format!("{} tokens/s", thousands(r as u64)),
        r => format!("{r:.1} tokens/s"),
    }
}

/// Who executes a key that this run waits for.
pub fn holder(by: Option<&Holder>) -> String {
    match by {
        None => "being made elsewhere".into(),
        Some(h) if h.orphan => format!(
            "held by {} on {}, whose run {} is gone",
            h.worker, h.host, h.run
        ),
        Some(h) if h.remote.is_some() && h.here => format!(
            "another run on this machine makes it: {} of run {}, since {}",
            h.worker,
            h.run,
            clock::stamp(h.since_ms)
        ),
        Some(h) if h.remote.is_some() => format!(
            "another machine makes it: {}, {} of run {}, since {}",
            h.host,
            h.worker,
            h.run,
            clock::stamp(h.since_ms)
        ),
        Some(h) => format!(
            "another run makes it: {}, {} on {}",
            h.run, h.worker, h.host
        ),
    }
}

fn orphan(node: &str, h: &Holder, action: OrphanAction) -> String {
    let who = format!("{}, left by run {}", h.worker, h.run);
    match action {
        OrphanAction::Seen => {
            format!("! {node}  {who}, still works on it; it has time to save its state")
        }
        OrphanAction::Ended => format!("! {node}  {who}, has ended"),
        OrphanAction::Killed => format!("! {node}  {who}, did not end and was killed"),
    }
}
