//! `pipe run`: makes what is missing, shows it live, ends with the study's table.

use super::{Outcome, RecipeArgs, StoreArgs, colour, print, print_json, study};
use crate::base::text::duration;
use crate::engine::event::State;
use crate::engine::exec::{self, Settings, Stop};
use crate::report::progress::{Progress, View};
use crate::report::summary::{self, Item};
use serde_json::json;
use std::io::IsTerminal;
use std::time::Instant;

/// Run a study: make what is missing, reuse what is there, end with the table.
///
/// Every node runs in a process of its own. Ctrl-C lets the nodes save their state and stops; a second Ctrl-C kills
/// them. The same command later goes on where it stopped. Progress goes to stderr, results to stdout.
///
/// Example: pipe run recipes/tars.toml --set vars.lambda=0.3 --only rl-eval
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Run {
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Only this node and what it needs. May be repeated
    #[arg(long, value_name = "NODE")]
    only: Vec<String>,
    /// Run this node although there is a record. May be repeated
    #[arg(long, value_name = "NODE")]
    fresh: Vec<String>,
    /// Threads that all nodes together may use [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// Show failures only
    #[arg(long, short)]
    quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Run) -> Outcome {
    let started = Instant::now();
    let loaded = study::load(&args.recipe)?;
    eprint!("{}", loaded.warnings.render(colour()));
    let store = study::open(&args.store)?;
    let graph = &loaded.graph;
    let wanted = study::wanted(graph, &args.only, &args.fresh)?;
    let mut settings = Settings::new()?;
    settings.threads = args.threads.map_or(settings.threads, usize::from);
    settings.stop = Stop::on_signals()?;
    settings.recipes = vec![(loaded.name.clone(), loaded.resolved_text.clone())];

    let view = match (args.quiet, std::io::stderr().is_terminal()) {
        (true, _) => View::Quiet,
        (false, true) => View::Terminal,
        (false, false) => View::Plain,
    };
    let mut progress = Progress::new(view);
    let outcome = exec::run(&store, graph, &wanted, &settings, &mut |event| {
        progress.hear(event)
    })?;

    let items: Vec<Item> = outcome
        .nodes
        .iter()
        .filter_map(|n| {
            let record = n.record.as_ref()?;
            Some(Item {
                node: &n.name,
                record,
                hit: matches!(n.state, State::Hit { .. }),
                about: loaded.notes.get(&n.name).map(String::as_str),
            })
        })
        .collect();
    let wall = started.elapsed().as_secs_f64();
    let failure = outcome.failure();
    if args.json {
        print_json(&json!({
            "recipe": loaded.name,
            "run": outcome.run,
            "store": store.root(),
            "ok": failure.is_none(),
            "seconds": wall,
            "states": outcome.nodes.iter().map(|n| json!({ "node": n.name, "state": n.state })).collect::<Vec<_>>(),
            "nodes": summary::json(&store, &items)?,
        }));
    } else {
        let ran = items.iter().any(|i| !i.hit);
        print(&format!("\n{}", summary::text(&store, &items)?));
        if ran {
            print(&format!("{}\n", summary::costs(&items)));
        }
        print(&totals(&items, outcome.nodes.len(), wall));
        print(&format!(
            "run {} in {}\n",
            outcome.run,
            store.root().display()
        ));
    }
    failure.map_or(Ok(()), |f| Err(f.into()))
}

fn totals(items: &[Item], nodes: usize, wall: f64) -> String {
    let hits: Vec<&Item> = items.iter().filter(|i| i.hit).collect();
    let saved: f64 = hits.iter().map(|i| i.record.cost.seconds).sum();
    let ran = items.len() - hits.len();
    format!(
        "{nodes} nodes: {} hits (saved {}), {ran} ran; {} in all\n",
        hits.len(),
        duration(saved),
        duration(wall)
    )
}
