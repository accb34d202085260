//! `pipe pin` and `pipe unpin`: artifacts that stay, whatever comes after.

use super::args::{Changes, StoreArgs};
use super::output::{Error, Outcome, print, print_json};
use super::{past, study};
use base::text::{count, did_you_mean, duration, listed};
use clap::ValueHint;
use engine::gc::inventory::age_ms;
use engine::gc::pins::{self, Pin as Pinning, Pinned};
use engine::plan::verdict::Verdict;
use engine::plan::{self, Wanted};
use engine::store::{Lookup, Store};
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
    /// A recipe's TOML file, or a run
    #[arg(value_hint = ValueHint::FilePath)]
    what: PathBuf,
    /// Only these nodes [default: all]
    #[arg(value_name = "NODE")]
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
}

pub fn run(args: &Pin) -> Outcome {
    let store = study::open_existing(&args.store)?;
    let text = args.what.to_string_lossy();
    let found = match args.what.is_file() {
        true => of_recipe(args, &store)?,
        false => match past::find(&store, &text)? {
            Some(id) => of_run(args, &store, &id)?,
            None => {
                return Err(Error::Usage(format!(
                    "`{text}` is no file, and no run of the store begins with it; `pipe ls --runs` lists them"
                )));
            }
        },
    };
    if found.nodes.is_empty() {
        return Err(Error::Usage(
            "there is no artifact to pin; `pipe run` makes them".into(),
        ));
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
    print(&format!(
        "pinned {} as `{name}`\n",
        count(pin.nodes.len() as u64, "record", "records")
    ));
    if !found.missing.is_empty() {
        let names = listed(found.missing.iter().map(String::as_str));
        print(&format!("without an artifact, so not pinned: {names}\n"));
    }
    if !gone.is_empty() {
        let names = listed(gone.iter().map(String::as_str));
        print(&format!(
            "pinned, but its bytes are not there; `pipe run --only` brings them back: {names}\n"
        ));
    }
    Ok(())
}

fn of_recipe(args: &Pin, store: &Store) -> Result<Found, Error> {
    let study = study::load_all(std::slice::from_ref(&args.what), &args.changes)?;
    let wanted = study::nodes(&study.graph, &args.nodes)?;
    let only = Wanted {
        only: wanted.clone(),
        ..Wanted::default()
    };
    let decisions = plan::decide(store, &study.graph, &only)?;
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
    })
}

/// Pinned nodes whose bytes are not all there.
fn gone(store: &Store, pin: &Pinning) -> Vec<String> {
    let whole = |p: &&Pinned| matches!(store.lookup(&p.key), Lookup::Whole(_));
    let gone = pin.nodes.iter().filter(|p| !whole(p));
    gone.map(|p| p.node.clone()).collect()
}

pub fn take_back(args: &Unpin) -> Outcome {
    let store = study::open_existing(&args.store)?;
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
        false => print(&format!("`{}` is no longer pinned\n", args.name)),
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
    print(&table.render());
    print(&format!("{}\n", count(pins.len() as u64, "pin", "pins")));
    Ok(())
}
