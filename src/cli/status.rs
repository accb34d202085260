//! `pipe status`: runs that go on and runs that ended, read from what they keep.

use super::args::StoreArgs;
use super::complete;
use super::output::{Outcome, print_json, print_lines, room};
use super::past::{self, Kept};
use super::store;
use base::text::{count, duration};
use engine::events::event::State;
use engine::events::{journal, life};
use engine::kind::attempt::Attempt;
use engine::store::Store;
use engine::system::clock;
use report::table::{Table, left, name, right};
use report::telling::{counted, does, holder};
use report::view::NodeView;
use serde_json::{Value, json};

/// Say how far runs are: those that go on, and the last that ended.
///
/// With a run (its id or the beginning of it, or `last`) node by node: state, progress, time left by its pace or by earlier records,
/// since when a node is silent, who holds a key that is waited for.
///
/// Example: pipe status last
#[derive(clap::Args)]
pub struct Status {
    /// The run; without it all that go on and the last few
    #[arg(add = complete::runs())]
    run: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs that ended, shown beside those that go on.
const RECENT: usize = 5;

pub fn run(args: &Status) -> Outcome {
    let store = store::existing(&args.store)?;
    let now = clock::now_ms();
    if let Some(named) = &args.run {
        let run = past::look(&store, &past::one(&store, named)?)?;
        if args.json {
            print_json(&json!({ "store": store.root(), "runs": [data(&run, now)] }));
        } else {
            print_lines(&page(&store, &run, now));
        }
        return Ok(());
    }
    let ids = journal::runs(&store)?;
    let (mut ended, mut shown) = (0, vec![]);
    for id in ids.iter().rev() {
        let alive = life::alive(&store, id);
        ended += usize::from(!alive);
        // One whose files are damaged is no reason to say nothing of the others.
        if (alive || ended <= RECENT)
            && let Ok(run) = past::look(&store, id)
        {
            shown.push(run);
        }
    }
    shown.reverse();
    if args.json {
        let runs: Vec<Value> = shown.iter().map(|run| data(run, now)).collect();
        print_json(&json!({ "store": store.root(), "runs": runs }));
        return Ok(());
    }
    print_lines(&list(&shown, now));
    if let [one] = shown.iter().filter(|r| r.alive).collect::<Vec<_>>()[..] {
        print_lines(&format!("\n{}", page(&store, one, now)));
    }
    Ok(())
}

fn list(runs: &[Kept], now: u64) -> String {
    let mut table = Table::new([
        name("run"),
        left("state"),
        right("nodes"),
        right("left"),
        right("age"),
        left("recipe"),
    ]);
    for run in runs {
        table.push([
            run.id.clone(),
            run.told().to_string(),
            format!("{}/{}", run.view.completed(), run.view.nodes.len()),
            remaining(run, now),
            age(run, now),
            run.info.recipes.join(", "),
        ]);
    }
    match runs.is_empty() {
        true => "no runs yet\n".into(),
        false => table.fit(room()),
    }
}

fn page(store: &Store, run: &Kept, now: u64) -> String {
    let mut head = format!(
        "run {}: {}, begun {} ago",
        run.id,
        run.told(),
        age(run, now)
    );
    let remaining = remaining(run, now);
    if !remaining.is_empty() {
        head += &format!(", {remaining} left");
    }
    let mut nodes = vec![format!(
        "{} of {} nodes done",
        run.view.completed(),
        run.view.nodes.len()
    )];
    nodes.extend(run.view.mishaps());
    head += &format!("; {}; {}\n", nodes.join(", "), run.info.recipes.join(", "));
    let mut table = Table::new([
        name("node"),
        left("state"),
        right("done"),
        right("time"),
        right("left"),
        left(""),
    ]);
    for node in &run.view.nodes {
        let at = if run.alive { now } else { run.view.last };
        table.push([
            node.name.clone(),
            told_state(store, run, node).to_string(),
            counted(node)
                .filter(|_| node.running_since.is_some())
                .unwrap_or_default(),
            node.ran(at).map(duration).unwrap_or_default(),
            match &node.state {
                _ if !run.alive => String::new(),
                State::Running { .. } => node.left(now).map(duration).unwrap_or_default(),
                _ => String::new(),
            },
            about(store, run, node, now),
        ]);
    }
    let mut out = head + &table.fit(room());
    if run.unreadable > 0 {
        let lines = count(run.unreadable as u64, "line", "lines");
        out += &format!("{lines} of its journal could not be read\n");
    }
    out
}

/// What is worth saying of a node in its state.
fn about(store: &Store, run: &Kept, node: &NodeView, now: u64) -> String {
    let mut parts = vec![];
    match &node.state {
        State::Running { .. } if run.alive => {
            parts.push(node.place.clone());
            parts.extend(
                node.silent(now)
                    .map(|s| format!("silent for {}", duration(s))),
            );
            parts.push(does(node, now));
        }
        State::Held { by, .. } if run.alive => {
            let since = now.saturating_sub(node.since) as f64 / 1e3;
            parts.push(format!("{}, for {}", holder(by.as_ref()), duration(since)));
        }
        State::Failed { message, class, .. } => {
            parts.push(format!("{}: {message}", class.words()));
        }
        State::Skipped { because } => parts.push(format!("because `{because}` failed")),
        State::Running { .. } | State::Interrupted => parts.extend(saved(store, node)),
        _ => {}
    }
    if !node.retries.is_empty() {
        parts.push(format!(
            "tried again {}",
            count(node.retries.len() as u64, "time", "times")
        ));
    }
    parts.retain(|p| !p.is_empty());
    parts.join(" · ")
}

/// What the next run goes on from.
fn saved(store: &Store, node: &NodeView) -> Option<String> {
    let attempts = Attempt::of(store, node.key.as_ref()?).ok()?;
    let saved = attempts.iter().filter(|a| a.resumable());
    let most = saved.filter_map(|a| a.fraction()).max_by(f64::total_cmp)?;
    Some(format!("{:.0} % saved, the next run goes on", most * 100.0))
}

/// The state for people: a worker that a signal halts does not run.
fn told_state(store: &Store, run: &Kept, node: &NodeView) -> &'static str {
    let worker = || Attempt::called(store, node.attempt.as_ref()?)?.worker();
    match (&node.state, state(run, node)) {
        (State::Running { .. }, "running") if worker().is_some_and(|w| w.halted()) => "halted",
        (_, "cut off") => "killed",
        (_, word) => word,
    }
}

fn state(run: &Kept, node: &NodeView) -> &'static str {
    match &node.state {
        _ if node.never_began() => "not begun",
        state if run.alive || state.is_final() => word(state),
        State::Running { .. } => "cut off",
        _ => "not begun",
    }
}

fn word(state: &State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Ready { .. } => "ready",
        State::Held { .. } => "held",
        State::Running { .. } => "running",
        State::Hit { .. } => "hit",
        State::Done { .. } => "done",
        State::Failed { .. } => "failed",
        State::Skipped { .. } => "skipped",
        State::Interrupted => "interrupted",
    }
}

/// `about 12 m`, `more than 12 m` where some node's share is unknown, nothing of what has ended.
fn remaining(run: &Kept, now: u64) -> String {
    let left = run.left(now);
    left.map_or(String::new(), |left| {
        left.told().unwrap_or_else(|| "unknown".into())
    })
}

fn age(run: &Kept, now: u64) -> String {
    duration(now.saturating_sub(run.info.started_ms) as f64 / 1e3)
}

fn data(run: &Kept, now: u64) -> Value {
    let left = run.left(now);
    let nodes = run.view.nodes.iter().map(|node| {
        let at = if run.alive { now } else { run.view.last };
        json!({
            "node": node.name,
            "kind": node.kind,
            "state": state(run, node),
            "detail": node.state,
            "done": node.progress.as_ref().map(|p| p.done),
            "total": node.progress.as_ref().map(|p| p.total).filter(|t| *t > 0),
            "unit": node.progress.as_ref().map(|p| &p.unit),
            "note": node.progress.as_ref().map(|p| &p.note).filter(|note| !note.is_empty()),
            "tokens_share": node.tokens(at).map(|t| t.share),
            "tokens_per_second": node.tokens(at).map(|t| t.per_second).filter(|_| run.alive),
            "seconds": node.ran(at),
            "left_seconds": node.left(now).filter(|_| run.alive && !node.state.is_final()),
            "left_at_most": node.left(now).filter(|_| run.alive && !node.state.is_final()).map(|_| node.at_most(now)),
            "expected_seconds": node.expected_seconds,
            "silent_seconds": node.silent(now).filter(|_| run.alive),
            "retries": node.retries.len(),
        })
    });
    json!({
        "run": run.id,
        "recipes": run.info.recipes,
        "state": run.word(),
        "alive": run.alive,
        "pid": run.info.engine.as_ref().map(|e| e.pid),
        "host": run.info.engine.as_ref().map(|e| &e.host),
        "started_ms": run.info.started_ms,
        "left_seconds": left.map(|l| l.seconds),
        "left_known": left.map(|l| l.known),
        "left_at_most": left.map(|l| l.at_most),
        "unreadable_lines": run.unreadable,
        "nodes": nodes.collect::<Vec<_>>(),
    })
}
