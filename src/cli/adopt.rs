//! `pipe adopt`: files that were made elsewhere as the artifact of a node.

use super::accept::{recipe, refused, said};
use super::args::{RecipeArgs, StoreArgs};
use super::complete;
use super::output::{Error, Outcome, print_json, print_lines};
use super::{store, study};
use base::text::bytes;
use clap::ValueHint;
use engine::gc::adopt;
use engine::gc::vouch::OverrideSource;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Adopt files that were made elsewhere, by another trainer say, as the artifact of a node: they are copied into the store under
/// the node's key, and nothing is executed.
///
/// They are checked for the shape of their type, as what a program delivers is: rows that parse, each id once; metrics, at least one and
/// each name once; a model folder with its config and whole safetensors. Links are refused. The record says where they came from and why;
/// `why`, `show`, `diff` and `ls` show it, also for the nodes below. `gc` never evicts what was adopted: it cannot be made again.
///
/// Example: pipe adopt recipes/tars.toml sft checkpoints/sft-final --reason "trained with TRL on the cluster"
#[derive(clap::Args)]
pub struct Adopt {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The node
    #[arg(add = complete::nodes())]
    node: String,
    /// A file or folder: the first output that the node delivers
    #[arg(value_hint = ValueHint::AnyPath)]
    path: PathBuf,
    /// Why that is right; kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Another output of the node. May be repeated
    #[arg(long, value_name = "NAME=PATH")]
    output: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Adopt) -> Outcome {
    let reason = said(&args.reason)?;
    let study = study::load(&args.recipe)?;
    let store = store::to_write(&args.store, args.json)?;
    let id = study::node(&study, &args.node)?;
    let node = study.graph.node(id);
    let first = node.kind.delivered(&node.params).next();
    let first = first
        .expect("every node delivers something")
        .name
        .to_string();
    let mut paths = BTreeMap::from([(first, args.path.clone())]);
    for text in &args.output {
        let (name, path) = text.split_once('=').ok_or_else(|| {
            Error::Usage(format!("`--output {text}` is not of the form NAME=PATH"))
        })?;
        if paths.insert(name.into(), path.into()).is_some() {
            return Err(Error::Usage(format!("output `{name}` is given twice")));
        }
    }
    let recipe = recipe(&study, &node.name);
    let voucher = OverrideSource {
        reason,
        recipe: &recipe,
        version: env!("CARGO_PKG_VERSION"),
    };
    let record = adopt::adopt(&store, &study.graph, id, &paths, &voucher).map_err(refused)?;
    if args.json {
        print_json(&json!({ "node": node.name, "record": record }));
        return Ok(());
    }
    print_lines(&format!(
        "`{}` is adopted: key {}\n",
        node.name,
        record.key.short()
    ));
    for (name, artifact) in &record.outputs {
        for file in &artifact.files {
            print_lines(&format!(
                "  {:>10}  {name}/{}\n",
                bytes(file.size),
                file.path
            ));
        }
    }
    Ok(())
}
