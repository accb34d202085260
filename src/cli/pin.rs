//! `pipe pin` and `pipe unpin`: artifacts that stay, whatever comes after.

use super::args::{Changes, StoreArgs};
use super::complete;
use super::hint::Hint;
use super::output::{Error, Outcome, print_json, print_lines, print_table};
use super::{past, remote, store, study};
use base::text::{count, did_you_mean, duration, listed};
use clap::ValueHint;
use engine::gc::inventory::age_ms;
use engine::gc::pins::{self, Pin as Pinning, Pinned};
use engine::plan::verdict::Verdict;
use engine::plan::{self, Wanted};
use engine::store::{Lookup, Store};
use recipe::place;
use report::table::{Table, left, right};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Pin the artifacts of a recipe, of some of its nodes, or of a run: `gc` keeps them until they are unpinned.
///
/// A node that is named is pinned by itself, without what it was made from. Nothing is run: what has no artifact yet is not pinned.
///
/// Example: pipe pin recipes/tars.toml rl --name paper --note "table 2"
///
/// Example: pipe pin 20260131-235959
#[derive(clap::Args)]
pub struct Pin {
    /// A recipe, or a run
    #[arg(value_hint = ValueHint::FilePath)]
    what: PathBuf,
    /// Only these nodes [default: all]
    #[arg(value_name = "NODE", add = complete::nodes())]
    nodes: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    store: StoreArgs,
    /// What the pin is called [default: the recipe and the nodes, or the run]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Print the pin as JSON
    #[arg(long)]
    json: bool,
}

/// Take a pin back. Nothing is removed by that; the next `gc` may.
///
/// Example: pipe unpin paper
#[derive(clap::Args)]
pub struct Unpin {
    /// The pin; `pipe ls --pins` lists them
    name: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What is to be pinned.
struct Found {
    name: String,
    made_from: String,
    nodes: Vec<Pinned>,
    /// Nodes without a record.
    missing: Vec<String>,
    /// Of a recipe, which can run; a run is over.
    runs: bool,
}

impl Pin {
    /// The command that makes these nodes.
    fn run<'a>(&self, nodes: impl IntoIterator<Item = &'a String>) -> String {
        let only = nodes.into_iter().flat_map(|node| ["--only", node]);
        let hint = Hint {
            recipes: std::slice::from_ref(&self.what),
            changes: &self.changes,
            store: &self.store,
        };
        hint.command("run", &only.collect::<Vec<_>>())
    }
}

pub fn run(args: &Pin) -> Outcome {
    let store = store::existing(&args.store)?;
    let text = args.what.to_string_lossy();
    let found = match place::is_recipe(&args.what) {
        true => of_recipe(args, &store)?,
        false => match past::find(&store, &text)? {
            Some(id) => of_run(args, &store, &id)?,
            None => return Err(past::neither(&args.what)),
        },
    };
    if found.nodes.is_empty() {
        return Err(Error::Usage(match found.runs {
            true => format!(
                "there is no artifact to pin; `{}` makes them",
                args.run(&args.nodes)
            ),
            false => format!("there is no artifact to pin: {} left none", found.made_from),
        }));
    }
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| pins::plain(&found.name));
    if let Some(problem) = pins::problem(&name) {
        return Err(Error::Usage(format!("`--name {name}`: {problem}")));
    }
    let pin = pins::new(&name, &found.made_from, &args.note, found.nodes);
    if !pins::add(&store, &pin)? {
        return Err(Error::Usage(format!(
            "there is a pin `{name}`; `pipe unpin {name}` takes it back, `--name` calls this one otherwise"
        )));
    }
    let gone = gone(&store, &pin);
    if args.json {
        print_json(&json!({ "pin": pin, "not_pinned": found.missing, "evicted": gone }));
        return Ok(());
    }
    print_lines(&format!(
        "pinned {} as `{name}`\n",
        count(pin.nodes.len() as u64, "record", "records")
    ));
    if !found.missing.is_empty() {
        let names = listed(found.missing.iter().map(String::as_str));
        print_lines(&format!("without an artifact, so not pinned: {names}\n"));
    }
    if !gone.is_empty() {
        let names = listed(gone.iter().map(String::as_str));
        let again = match found.runs {
            true => format!("; `{}` brings them back", args.run(&gone)),
            false => String::new(),
        };
        print_lines(&format!(
            "pinned, but without their bytes: {names}{again}\n"
        ));
    }
    Ok(())
}

fn of_recipe(args: &Pin, store: &Store) -> Result<Found, Error> {
    let study = study::load_all(std::slice::from_ref(&args.what), &args.changes)?;
    let wanted = study::nodes(&study, &args.nodes)?;
    let only = Wanted {
        only: wanted.clone(),
        ..Wanted::default()
    };
    let decisions = plan::decide(store, &study.graph, &only)?;
    remote::tell(store);
    let (mut nodes, mut missing) = (vec![], vec![]);
    for decision in decisions {
        if !wanted.is_empty() && !wanted.contains(&decision.id) {
            continue;
        }
        let node = study.graph.node(decision.id).name.clone();
        match (&decision.verdict, decision.key) {
            (Verdict::Hit(_), Some(key)) => nodes.push(Pinned { node, key }),
            _ => missing.push(node),
        }
    }
    let recipe = study.names().join("+");
    Ok(Found {
        name: [&[recipe], args.nodes.as_slice()].concat().join("-"),
        made_from: args.what.display().to_string(),
        nodes,
        missing,
        runs: true,
    })
}

fn of_run(args: &Pin, store: &Store, id: &str) -> Result<Found, Error> {
    let all = past::nodes(store, id)?;
    for name in &args.nodes {
        if !all.contains_key(name) {
            let near = did_you_mean(name, all.keys().map(String::as_str));
            let near = near.map(|n| format!("; did you mean `{n}`?"));
            let message = format!("run {id} left no artifact of `{name}`");
            return Err(Error::Usage(message + &near.unwrap_or_default()));
        }
    }
    let nodes = all.into_iter();
    let nodes = nodes.filter(|(node, _)| args.nodes.is_empty() || args.nodes.contains(node));
    Ok(Found {
        name: [&[id.to_string()], args.nodes.as_slice()]
            .concat()
            .join("-"),
        made_from: format!("run {id}"),
        nodes: nodes.map(|(node, key)| Pinned { node, key }).collect(),
        missing: vec![],
        runs: false,
    })
}

/// Pinned nodes whose bytes are not all there.
fn gone(store: &Store, pin: &Pinning) -> Vec<String> {
    let whole = |p: &&Pinned| matches!(store.lookup(&p.key), Lookup::Whole(_));
    let gone = pin.nodes.iter().filter(|p| !whole(p));
    gone.map(|p| p.node.clone()).collect()
}

pub fn take_back(args: &Unpin) -> Outcome {
    let store = store::existing(&args.store)?;
    if !pins::remove(&store, &args.name)? {
        let all = pins::all(&store)?;
        let near = did_you_mean(&args.name, all.iter().map(|(name, _)| name.as_str()));
        let near = near.map(|n| format!("; did you mean `{n}`?"));
        return Err(Error::Usage(format!(
            "there is no pin `{}`{}",
            args.name,
            near.unwrap_or_default()
        )));
    }
    match args.json {
        true => print_json(&json!({ "unpinned": args.name })),
        false => print_lines(&format!("`{}` is no longer pinned\n", args.name)),
    }
    Ok(())
}

/// `pipe ls --pins`.
pub(super) fn list(store: &Store, as_json: bool) -> Outcome {
    let pins = pins::all(store)?;
    if as_json {
        let list: Vec<Value> = pins
            .iter()
            .map(|(name, pin)| match pin {
                Ok(pin) => json!(pin),
                Err(error) => json!({ "name": name, "problem": format!("{error:#}") }),
            })
            .collect();
        print_json(&json!({ "pins": list }));
        return Ok(());
    }
    let mut table = Table::new([
        left("pin"),
        left("made from"),
        right("records"),
        right("age"),
        left("note"),
    ]);
    for (name, pin) in &pins {
        match pin {
            Ok(pin) => table.push([
                name.clone(),
                pin.made_from.clone(),
                pin.nodes.len().to_string(),
                duration(age_ms(pin.at_ms) as f64 / 1e3),
                pin.note.clone(),
            ]),
            Err(error) => table.push([
                name.clone(),
                String::new(),
                String::new(),
                String::new(),
                format!("{error:#}"),
            ]),
        }
    }
    print_table(&table);
    print_lines(&format!("{}\n", count(pins.len() as u64, "pin", "pins")));
    Ok(())
}
