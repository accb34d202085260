//! `pipe stop`: asks the engine of a run to stop, from wherever it was started.

use super::args::StoreArgs;
use super::complete;
use super::output::{Outcome, print_json, print_lines};
use super::{past, store};
use engine::events::{journal, life};
use rustix::process::Signal;
use serde_json::json;

/// Ask a run to stop, as Ctrl-C does: its nodes save their state. Once more, and they are killed.
///
/// A run of another machine is asked by a file in its folder, and hears of it within seconds. The same `pipe run` later goes on
/// where it stopped.
///
/// Example: pipe stop last
#[derive(clap::Args)]
pub struct Stop {
    /// The run: its id, the beginning of it, or `last`
    #[arg(add = complete::runs())]
    run: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Stop) -> Outcome {
    let store = store::existing(&args.store)?;
    let id = past::one(&store, &args.run)?;
    let alive = life::alive(&store, &id);
    let engine = journal::info(&store, &id)?.engine.filter(|_| alive);
    let there = engine.as_ref().filter(|engine| !engine.is_of_here());
    let asked = match (&engine, there) {
        (_, Some(_)) => {
            life::ask_to_stop(&store, &id)?;
            true
        }
        // Its number may be another's by now: whom the signal reaches is decided by the start time as well.
        (Some(engine), None) => engine.signal(Signal::TERM),
        (None, None) => false,
    };
    let on = there.map_or(String::new(), |engine| format!(" on {}", engine.host));
    // Its last sign of life may be a while ago.
    let lives = there.map_or("", |_| ", if it still lives");
    if args.json {
        print_json(&json!({ "run": id, "was_running": alive, "asked": asked }));
    } else if asked {
        print_lines(&format!(
            "asked run {id}{on} to stop{lives}; the nodes at work save their state; once more kills them\n"
        ));
    } else {
        print_lines(&format!("run {id} does not run\n"));
    }
    Ok(())
}
