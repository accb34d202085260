//! `pipe accept`: old outputs under a new key, because somebody says that what changed is harmless.

use super::args::{RecipeArgs, StoreArgs};
use super::complete;
use super::output::{Error, Outcome, print_json, print_lines};
use super::{past, store, study};
use base::hash::Key;
use engine::gc::accept;
use engine::gc::vouch::{OverrideSource, Refusal};
use engine::store::Store;
use engine::store::record::Record;
use recipe::study::Study;
use report::words;
use serde_json::json;

/// Accept the artifact of an earlier record for a node as it is now: what changed is harmless, and nothing is executed.
///
/// The new record says who it was taken from, why, and what had changed. `why`, `show`, `diff` and `ls` show it, also for the nodes
/// below. The node needs a key, so what is above it must have artifacts.
///
/// Example: pipe accept recipes/tars.toml sft --reason "the new default only changes the log"
#[derive(clap::Args)]
pub struct Accept {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The node
    #[arg(add = complete::nodes())]
    node: String,
    /// Why that is right; kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The record to take, by the beginning of its key, or the run that made or used it [default: the one `why` compares with]
    #[arg(long, value_name = "KEY|RUN")]
    from: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Accept) -> Outcome {
    let reason = said(&args.reason)?;
    let study = study::load(&args.recipe)?;
    let store = store::existing(&args.store)?;
    let id = study::node(&study, &args.node)?;
    let name = &study.graph.node(id).name;
    let from = args.from.as_ref().map(|text| earlier(&store, text, name));
    let from = from.transpose()?;
    let recipe = recipe(&study, name);
    let voucher = OverrideSource {
        reason,
        recipe: &recipe,
        version: env!("CARGO_PKG_VERSION"),
    };
    let record = accept::accept(&store, &study.graph, id, from.as_ref(), &voucher);
    let record = record.map_err(refused)?;
    let accepted = record.accepted.as_ref().expect("what was accepted says so");
    if args.json {
        print_json(&json!({ "node": name, "record": record }));
        return Ok(());
    }
    print_lines(&format!(
        "`{name}` is accepted: key {} has the artifact of {}\n",
        record.key.short(),
        accepted.from.short()
    ));
    for change in &accepted.changes {
        print_lines(&format!("  {}\n", words::reason_in_full(change)));
    }
    Ok(())
}

/// An empty reason is none.
pub(super) fn said(reason: &str) -> Result<&str, Error> {
    match reason.trim() {
        "" => Err(Error::Usage("`--reason` has to say something".into())),
        reason => Ok(reason),
    }
}

pub(super) fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::No(message) => Error::Usage(message),
        Refusal::World(error) => Error::World(error),
    }
}

/// The recipe that a node is of.
pub(super) fn recipe(study: &Study, node: &str) -> String {
    let own = study.origins().get(node).cloned();
    let first = || study.variants.first().map(|v| v.label());
    own.or_else(first).unwrap_or_default()
}

/// A record by the beginning of its key; or what a run had of this node.
fn earlier(store: &Store, text: &str, node: &str) -> Result<Key, Error> {
    if let Some(id) = past::find(store, text)? {
        let nodes = past::nodes(store, &id)?;
        return nodes
            .get(node)
            .cloned()
            .ok_or_else(|| Error::Usage(format!("run {id} left no artifact of `{node}`")));
    }
    let all = store.records()?;
    let fits: Vec<&Record> = all
        .iter()
        .filter(|r| r.key.as_str().starts_with(text))
        .collect();
    match fits.as_slice() {
        [one] => Ok(one.key.clone()),
        [] => Err(Error::Usage(format!(
            "no record's key and no run begins with `{text}`; `pipe ls` and `pipe ls --runs` list them"
        ))),
        several => Err(Error::Usage(format!(
            "{} records begin with `{text}`",
            several.len()
        ))),
    }
}
