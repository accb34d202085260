//! `pipe logs`: what a node said, and what its process wrote to stderr; as it comes, or afterwards.

use super::args::StoreArgs;
use super::complete;
use super::output::{Error, Outcome, print, print_json, print_lines, room, versioned};
use super::past::{self, Kept};
use super::store;
use base::hash::Key;
use base::text::{did_you_mean, duration};
use engine::events::event::{Event, State};
use engine::events::journal::{self, Stamped};
use engine::events::life;
use engine::kind::attempt::Attempt;
use engine::store::Store;
use engine::system::clock;
use report::view::NodeView;
use report::wrap::wrap;
use serde_json::json;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Print what a node of a run said and what its process wrote to stderr.
///
/// Without a run it is the newest one that has such a node. Of a node that was a hit, the run that made it speaks.
///
/// Example: pipe logs rl --follow
#[derive(clap::Args)]
pub struct Logs {
    /// A run (its id, the beginning of it, or `last`), and a node of it
    #[arg(value_name = "[RUN] NODE", num_args = 1..=2, required = true, add = complete::runs_and_nodes())]
    places: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Go on printing until the node has ended
    #[arg(long, short)]
    follow: bool,
    /// Print as JSON; with --follow a line of JSON for every line
    #[arg(long)]
    json: bool,
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Whether the engine of a run lives, where its journal does not tell: a file server may have to answer.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A line of a node.
struct Line {
    /// Milliseconds since 1970, where it has a time.
    at: Option<u64>,
    stream: &'static str,
    text: String,
}

pub fn run(args: &Logs) -> Outcome {
    let store = store::reading(&args.store)?;
    let (id, node) = place(&store, args)?;
    let mut source = Source::new(&store, id, node);
    if args.follow {
        loop {
            // Asked before the lines are read, so that none can come after the last look.
            let over = source.over();
            for line in source.lines()? {
                show(&line, args.json);
            }
            if over {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    let lines = source.lines()?;
    if args.json {
        let lines: Vec<_> = lines.iter().map(data).collect();
        print_json(&json!({ "run": source.run, "node": source.node, "lines": lines }));
    } else if lines.is_empty() {
        print_lines(&silent(&past::look(&store, &source.run)?, &source.node));
    } else {
        lines.iter().for_each(|line| show(line, false));
    }
    Ok(())
}

/// That a node said nothing, how it stands, and where there is more of it.
fn silent(run: &Kept, node: &str) -> String {
    let seen = run.view.node(node);
    let now = match run.alive {
        true => clock::now_ms(),
        false => run.view.last,
    };
    let ran = seen.and_then(|n| n.ran(now)).map(duration);
    let how = match (seen.map(|n| &n.state), ran) {
        (Some(State::Done { .. }), Some(ran)) => format!("it is done, in {ran}"),
        (Some(State::Hit { .. }), _) => "its artifact was there already".into(),
        (Some(State::Skipped { because }), _) => format!("it was skipped, as `{because}` failed"),
        _ if seen.is_some_and(NodeView::never_began) => "it did not begin".into(),
        (Some(State::Interrupted), _) => "it was interrupted".into(),
        (Some(State::Running { .. }), Some(ran)) if run.alive => {
            let quiet = seen.and_then(|n| n.still(now));
            let quiet = quiet.map_or(String::new(), |s| format!(", silent for {}", duration(s)));
            format!("it has run for {ran}{quiet}")
        }
        (Some(State::Running { .. }), _) => "it was killed with its run".into(),
        _ => "it did not begin".into(),
    };
    let made = seen.is_some_and(|n| matches!(n.state, State::Done { .. } | State::Hit { .. }));
    let more = match made {
        true => format!("; `pipe show RECIPE {node}` has its metrics and curves"),
        false => String::new(),
    };
    format!("`{node}` said nothing in run {}: {how}{more}\n", run.id)
}

fn show(line: &Line, as_json: bool) {
    if as_json {
        return print(&format!("{}\n", versioned(&data(line))));
    }
    match line.at {
        Some(at) => {
            let text = format!("{}  {}", time(at), line.text);
            // Beside the time.
            print(&(wrap(&text, room(), 10).join("\n") + "\n"));
        }
        None => print(&format!("{}\n", line.text)),
    }
}

fn data(line: &Line) -> serde_json::Value {
    json!({ "at_ms": line.at, "stream": line.stream, "text": line.text })
}

/// `23:59:59` (UTC).
fn time(ms: u64) -> String {
    let stamp = clock::stamp(ms);
    let clock = stamp.rsplit('-').next().unwrap_or_default();
    format!("{}:{}:{}", &clock[..2], &clock[2..4], &clock[4..])
}

/// The run and the node that are meant; a hit leads to the run that made it.
fn place(store: &Store, args: &Logs) -> Result<(String, String), Error> {
    let (run, node) = match args.places.as_slice() {
        [run, node] => (past::look(store, &past::one(store, run)?)?, node),
        [node] => (newest_with(store, node)?, node),
        _ => unreachable!("the arguments are one or two"),
    };
    let Some(seen) = run.view.node(node) else {
        let names = run.view.nodes.iter().map(|n| n.name.as_str());
        let near = did_you_mean(node, names).map(|n| format!("; did you mean `{n}`?"));
        let near = near.unwrap_or_default();
        return Err(Error::Usage(format!(
            "run `{}` has no node `{node}`{near}",
            run.id
        )));
    };
    if let State::Hit { key, .. } = &seen.state
        && let Ok(Some(record)) = store.record(key)
        && let Ok(maker) = past::look(store, &record.provenance.run)
        && let Some(name) = maker.made(key)
    {
        return Ok((maker.id, name));
    }
    Ok((run.id, node.clone()))
}

fn newest_with(store: &Store, node: &str) -> Result<Kept, Error> {
    let mut last = None;
    for id in journal::runs(store)?.iter().rev() {
        let Ok(run) = past::look(store, id) else {
            continue;
        };
        if run.view.node(node).is_some() {
            return Ok(run);
        }
        last.get_or_insert(run);
    }
    // The caller says what is wrong with the name.
    last.ok_or_else(|| Error::Usage("there are no runs yet".into()))
}

/// Where the lines of a node come from: the journal of the run, and stderr in the attempt or, once it is committed, in the record.
struct Source<'a> {
    store: &'a Store,
    run: String,
    node: String,
    events: Tail,
    stderr: Tail,
    attempt: Option<Attempt>,
    key: Option<Key>,
    ended: bool,
    /// Whether its engine is, and when that was asked.
    gone: bool,
    asked: Option<Instant>,
}

impl<'a> Source<'a> {
    fn new(store: &'a Store, run: String, node: String) -> Source<'a> {
        let events = journal::folder(store, &run).join("events.jsonl");
        Source {
            store,
            run,
            node,
            events: Tail::new(events),
            stderr: Tail::new(PathBuf::new()),
            attempt: None,
            key: None,
            ended: false,
            gone: false,
            asked: None,
        }
    }

    /// Nothing more will come than what is there already.
    fn over(&mut self) -> bool {
        let due = |asked: Instant| asked.elapsed() > ASK_EVERY;
        if !self.ended && !self.gone && self.asked.is_none_or(due) {
            self.asked = Some(Instant::now());
            self.gone = !life::alive(self.store, &self.run);
        }
        self.ended || self.gone
    }

    /// What is new.
    fn lines(&mut self) -> anyhow::Result<Vec<Line>> {
        let mut found = vec![];
        for text in self.events.lines() {
            let Ok(stamped) = serde_json::from_str::<Stamped>(&text) else {
                continue; // `status` counts them.
            };
            if stamped.event.node() == Some(&self.node) {
                self.hear(stamped, &mut found);
            }
        }
        self.read_stderr(&mut found);
        Ok(found)
    }

    fn hear(&mut self, stamped: Stamped, found: &mut Vec<Line>) {
        let at = Some(stamped.at);
        let mut say = |text: String| {
            found.push(Line {
                at,
                stream: "said",
                text,
            });
        };
        match stamped.event {
            Event::Log { text, .. } => say(text),
            Event::Retry { class, message, .. } => {
                say(format!("{}: {message}; tried again", class.words()));
            }
            Event::State { state, .. } => {
                self.ended = state.is_final();
                match state {
                    State::Ready { key, .. } | State::Done { key } => self.key = Some(key),
                    State::Running { attempt, .. } => {
                        self.read_stderr(found);
                        self.attempt = Attempt::called(self.store, &attempt);
                        if let Some(attempt) = &self.attempt {
                            self.stderr = Tail::new(attempt.logs().join("stderr.txt"));
                        }
                    }
                    State::Failed { message, .. } => say(format!("failed: {message}")),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn read_stderr(&mut self, found: &mut Vec<Line>) {
        if self.attempt.is_none() {
            return;
        }
        // The attempt is removed after the commit; the record keeps the same bytes.
        if !self.stderr.path.exists()
            && let Some(Ok(Some(record))) = self.key.as_ref().map(|key| self.store.record(key))
            && let Some(blob) = record.logs.iter().find(|blob| blob.path == "stderr.txt")
        {
            self.stderr.path = self.store.objects().path(&blob.digest);
        }
        let lines = self.stderr.lines().into_iter();
        found.extend(lines.map(|text| Line {
            at: None,
            stream: "stderr",
            text,
        }));
        if self.ended {
            found.extend(self.stderr.rest().map(|text| Line {
                at: None,
                stream: "stderr",
                text,
            }));
        }
    }
}

/// A text file that grows.
struct Tail {
    path: PathBuf,
    offset: u64,
    begun: Vec<u8>,
}

impl Tail {
    fn new(path: PathBuf) -> Tail {
        Tail {
            path,
            offset: 0,
            begun: vec![],
        }
    }

    /// The whole lines that have come since the last look.
    fn lines(&mut self) -> Vec<String> {
        let mut more = vec![];
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut more)
        });
        self.offset += read.unwrap_or_default() as u64;
        self.begun.extend(more);
        let whole = self
            .begun
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        let lines: Vec<u8> = self.begun.drain(..whole).collect();
        let text = String::from_utf8_lossy(&lines).into_owned();
        text.lines().map(str::to_string).collect()
    }

    /// A last line without an end.
    fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.begun);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned())
    }
}
