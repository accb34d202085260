//! A run as its events tell it: where every node is, how far, since when. The same for a run that goes on, one that ended and one that
//! was cut off; fed live or from `events.jsonl`. Knows no clock: the time comes with each event.

use crate::remaining::{self, Left, Open};
use crate::words;
use base::hash::Key;
use engine::events::event::{Counts, End, Event, State};
use engine::events::journal::Stamped;
use engine::kind::failure::Class;
use engine::kind::messages::Sampled;
use engine::run::pulse::Pulse;
use std::collections::BTreeMap;

/// Folded from events. Times are milliseconds of one clock, whichever it is.
#[derive(Default)]
pub struct RunView {
    pub run: String,
    pub threads: usize,
    /// In graph order.
    pub nodes: Vec<NodeView>,
    places: BTreeMap<String, usize>,
    pub ended: Option<Ended>,
    pub began: u64,
    /// The time of the last event.
    pub last: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    pub end: End,
    pub seconds: f64,
    pub counts: Counts,
}

pub struct NodeView {
    pub name: String,
    pub kind: String,
    pub expected_seconds: Option<f64>,
    /// It takes no more than that, and maybe far less.
    expected_at_most: bool,
    /// Names of the nodes that it gets its inputs from, where it did not wait for nobody.
    pub waits_for: Vec<String>,
    pub state: State,
    /// When it came to this state.
    pub since: u64,
    /// Once it is known.
    pub key: Option<Key>,
    /// Its last attempt in this run.
    pub attempt: Option<String>,
    /// When it began to run, the last time it did.
    pub running_since: Option<u64>,
    /// Why it runs, in words.
    pub why: String,
    pub progress: Option<Reported>,
    /// When progress was first heard in this attempt, and what it had made: a resumed node does not begin at 0.
    first: Option<(u64, u64)>,
    /// How far sampling is.
    sampling: Option<(u64, Sampled)>,
    pulse: Option<Pulse>,
    /// Of one that is executed elsewhere: its job and its machine, in words; else empty.
    pub place: String,
    /// What went wrong on the way and was tried again.
    pub retries: Vec<(Class, String)>,
}

/// What a node said last of how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    pub done: u64,
    /// 0: not known.
    pub total: u64,
    pub unit: String,
    pub note: String,
    /// What its pace is of: all that is done, or what others had to be asked for.
    pub made: u64,
    pub sampled: Option<Sampled>,
}

/// What the tokens of a node that samples say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tokens {
    pub share: f64,
    pub per_second: f64,
    /// Seconds until what is sampled is there; more than that only where something else is slower.
    pub left: f64,
    /// No more than that.
    pub at_most: bool,
    /// Of a part of one unit of the progress.
    pub part: bool,
}

impl RunView {
    /// A run that is kept.
    pub fn replay(events: &[Stamped]) -> RunView {
        let mut view = RunView::default();
        for stamped in events {
            view.hear(stamped.at, &stamped.event);
        }
        view
    }

    pub fn hear(&mut self, at: u64, event: &Event) {
        self.last = at;
        match event {
            Event::RunStarted {
                run,
                threads,
                nodes,
            } => {
                self.run = run.clone();
                self.threads = *threads;
                self.began = at;
                self.nodes.reserve_exact(nodes.len());
                for planned in nodes {
                    self.places.insert(planned.node.clone(), self.nodes.len());
                    let (kind, expected) = (&planned.kind, planned.expected_seconds);
                    self.nodes.push(NodeView {
                        waits_for: planned.waits_for.clone(),
                        expected_at_most: planned.expected_at_most,
                        ..NodeView::new(&planned.node, kind, expected, at)
                    });
                }
            }
            Event::RunEnded {
                end,
                seconds,
                counts,
            } => {
                self.ended = Some(Ended {
                    end: *end,
                    seconds: *seconds,
                    counts: counts.clone(),
                });
            }
            other => {
                if let Some(name) = other.node() {
                    let place = self.place(at, name);
                    self.nodes[place].hear(at, other);
                }
            }
        }
    }

    /// Of a node that the first event did not name, a new one: the journal may have lost that line.
    fn place(&mut self, at: u64, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.places.insert(name.to_string(), self.nodes.len());
        self.nodes.push(NodeView::new(name, "", None, at));
        self.nodes.len() - 1
    }

    pub fn node(&self, name: &str) -> Option<&NodeView> {
        self.places.get(name).map(|place| &self.nodes[*place])
    }

    pub fn count(&self, is: fn(&State) -> bool) -> usize {
        self.nodes.iter().filter(|n| is(&n.state)).count()
    }

    /// Nodes whose artifact is there.
    pub fn completed(&self) -> usize {
        self.count(|s| matches!(s, State::Hit { .. } | State::Done { .. }))
    }

    /// Nodes that the end of the run came before.
    pub fn not_begun(&self) -> usize {
        let nodes = self.nodes.iter();
        nodes.filter(|n| n.never_began()).count()
    }

    /// How many nodes ended otherwise: `1 failed`, `2 skipped`, `1 interrupted`, `16 not begun`.
    pub fn mishaps(&self) -> Vec<String> {
        let interrupted = self.count(|s| *s == State::Interrupted);
        let counted = [
            (self.count(|s| matches!(s, State::Failed { .. })), "failed"),
            (
                self.count(|s| matches!(s, State::Skipped { .. })),
                "skipped",
            ),
            (interrupted - self.not_begun(), "interrupted"),
            (self.not_begun(), "not begun"),
        ];
        let some = counted.into_iter().filter(|(n, _)| *n > 0);
        some.map(|(n, word)| format!("{n} {word}")).collect()
    }

    /// How long it will take, if as many nodes work at once as do now and each begins when what it waits for is there.
    pub fn left(&self, now: u64) -> Left {
        let (mut known, mut at_most) = (true, false);
        let mut open: Vec<Open> = vec![];
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for node in self.nodes.iter().filter(|n| !n.state.is_final()) {
            let left = node.left(now);
            known &= left.is_some();
            at_most |= left.is_some() && node.at_most(now);
            let above = node.waits_for.iter();
            let after: Vec<usize> = above
                .filter_map(|name| places.get(name.as_str()).copied())
                .collect();
            let seconds = left.unwrap_or_default();
            let works = matches!(node.state, State::Running { .. });
            // A hit that was not looked at yet takes nothing, and nobody waits for it.
            if works || seconds > 0.0 || !after.is_empty() || left.is_none() {
                places.insert(&node.name, open.len());
                open.push(Open {
                    seconds,
                    after,
                    works,
                });
            }
        }
        Left {
            seconds: remaining::seconds(&open),
            known,
            at_most,
        }
    }
}

impl NodeView {
    /// How far it came, in percent; nothing where nobody knows of how much.
    pub fn share(&self) -> Option<u64> {
        let p = self.progress.as_ref().filter(|p| p.total > 0)?;
        Some(100 * p.done.min(p.total) / p.total)
    }

    /// The end of the run came before it.
    pub fn never_began(&self) -> bool {
        self.state == State::Interrupted && self.running_since.is_none()
    }

    fn new(name: &str, kind: &str, expected_seconds: Option<f64>, at: u64) -> NodeView {
        NodeView {
            name: name.to_string(),
            kind: kind.to_string(),
            expected_seconds,
            expected_at_most: false,
            waits_for: vec![],
            state: State::Waiting,
            since: at,
            key: None,
            attempt: None,
            running_since: None,
            why: String::new(),
            progress: None,
            first: None,
            sampling: None,
            pulse: None,
            place: String::new(),
            retries: vec![],
        }
    }

    fn hear(&mut self, at: u64, event: &Event) {
        match event {
            Event::State { state, .. } => self.enter(at, state),
            Event::Progress {
                done,
                total,
                unit,
                note,
                made,
                sampled,
                ..
            } => {
                match (sampled, self.progress.as_ref().and_then(|p| p.sampled)) {
                    (None, _) => self.sampling = None,
                    (Some(now), Some(last)) if now.tokens >= last.tokens => {}
                    // The first of its kind, or less than before: another part has begun.
                    (Some(now), _) => self.sampling = Some((at, *now)),
                }
                let own = made.unwrap_or(*done);
                self.first.get_or_insert((at, own));
                let last = self.progress.as_ref().map(|p| (p.done, p.made));
                self.progress = Some(Reported {
                    done: *done,
                    total: *total,
                    unit: unit.clone(),
                    note: note.clone(),
                    made: own,
                    sampled: *sampled,
                });
                // Who waits for others' answers says so again and again.
                if made.is_none() || last != Some((*done, own)) {
                    self.beat(at);
                }
            }
            Event::Metric { .. } | Event::Log { .. } => self.beat(at),
            Event::Placed {
                on,
                job,
                host,
                word,
                ..
            } => {
                self.place = words::place(on, job.as_deref(), host.as_deref(), word);
                // While it waits for a machine it has nothing to say.
                self.pulse = host.is_some().then(|| Pulse::new(seconds(at)));
            }
            Event::Retry { class, message, .. } => self.retries.push((*class, message.clone())),
            _ => {}
        }
    }

    fn enter(&mut self, at: u64, state: &State) {
        match state {
            State::Ready {
                key,
                reasons,
                resumed,
                ..
            } => {
                self.key = Some(key.clone());
                self.why = words::reasons(reasons);
                if self.why.is_empty() {
                    self.why = "once more".into();
                }
                if let Some(fraction) = resumed {
                    self.why += &format!("; goes on at {:.0} %", fraction * 100.0);
                }
            }
            State::Running { attempt, .. } => {
                self.attempt = Some(attempt.clone());
                self.running_since = Some(at);
                self.pulse = Some(Pulse::new(seconds(at)));
                (self.progress, self.first, self.sampling) = (None, None, None);
                self.place.clear();
            }
            _ => {}
        }
        self.state = state.clone();
        self.since = at;
    }

    fn beat(&mut self, at: u64) {
        if let Some(pulse) = &mut self.pulse {
            pulse.beat(seconds(at));
        }
    }

    /// How long it runs, or ran.
    pub fn ran(&self, now: u64) -> Option<f64> {
        let until = if self.state.is_final() {
            self.since
        } else {
            now
        };
        Some(seconds(until.saturating_sub(self.running_since?)))
    }

    /// For how long a running node has said nothing.
    pub fn still(&self, now: u64) -> Option<f64> {
        match self.state {
            State::Running { .. } => Some(self.pulse?.still(seconds(now))),
            _ => None,
        }
    }

    /// The same, where that is unusual.
    pub fn silent(&self, now: u64) -> Option<f64> {
        match self.state {
            State::Running { .. } => self.pulse?.silent(seconds(now)),
            _ => None,
        }
    }

    /// Between 0 and 1, where the total is known.
    pub fn fraction(&self) -> Option<f64> {
        let progress = self.progress.as_ref().filter(|p| p.total > 0)?;
        Some((progress.done as f64 / progress.total as f64).min(1.0))
    }

    /// Seconds that one unit takes, by what was made since progress was first heard; nothing until that can be told.
    pub fn pace(&self, now: u64) -> Option<f64> {
        let (at, from) = self.first?;
        let made = self.progress.as_ref()?.made.saturating_sub(from);
        let since = seconds(now.saturating_sub(at));
        (made > 0 && since >= 1.0).then(|| since / made as f64)
    }

    /// What can be told by tokens, once that can be.
    pub fn tokens(&self, now: u64) -> Option<Tokens> {
        let (at, first) = self.sampling?;
        let last = self.progress.as_ref()?.sampled?;
        let since = seconds(now.saturating_sub(at));
        let (done, tokens) = (last.done - first.done, last.tokens - first.tokens);
        let sound = done > 0.0 && last.left.is_finite() && last.left >= 0.0;
        (since >= 1.0 && sound).then(|| Tokens {
            share: last.share,
            per_second: tokens as f64 / since,
            left: since / done * last.left,
            at_most: last.at_most,
            part: last.part,
        })
    }

    /// Seconds until it is done: by its tokens, by its pace, else by earlier records.
    pub fn left(&self, now: u64) -> Option<f64> {
        match &self.state {
            state if state.is_final() => Some(0.0),
            State::Running { .. } => {
                // Who is past what was expected, or does nothing, may take any time.
                self.by_pace(now).or_else(|| {
                    let ran = self.ran(now).unwrap_or_default();
                    let left = self.expected_seconds.map(|e| e - ran);
                    left.filter(|left| *left > 0.0 && self.silent(now).is_none())
                })
            }
            _ => self.expected_seconds,
        }
    }

    /// Whether that is only a bound: formulas say no more, or too few of the rows that it samples have ended.
    pub fn at_most(&self, now: u64) -> bool {
        match self.tokens(now).filter(|tokens| !tokens.part) {
            Some(tokens) => tokens.at_most,
            None => self.expected_at_most && self.by_pace(now).is_none(),
        }
    }

    /// `about 12 m`, `up to 12 m`; nothing where nothing is left, or nobody knows.
    pub fn left_told(&self, now: u64) -> Option<String> {
        let seconds = self.left(now).filter(|left| *left > 0.0)?;
        let left = Left {
            seconds,
            known: true,
            at_most: self.at_most(now),
        };
        left.told()
    }

    /// The same of one that is at work and has said how far it is.
    fn by_pace(&self, now: u64) -> Option<f64> {
        let progress = self.progress.as_ref().filter(|p| p.total > 0)?;
        match progress.sampled.filter(|s| !s.part) {
            Some(_) => self.tokens(now).map(|tokens| tokens.left),
            None => {
                let each = self.pace(now)?;
                Some(each * progress.total.saturating_sub(progress.done) as f64)
            }
        }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}
