//! What the verbs share: a loaded recipe, an open store, nodes by name.

use super::{Error, RecipeArgs, StoreArgs, environment};
use crate::base::text::did_you_mean;
use crate::engine::attempt::Attempt;
use crate::engine::graph::{Graph, NodeId};
use crate::engine::plan::Wanted;
use crate::engine::record::Record;
use crate::engine::store::{Lookup, Store};
use crate::engine::verdict::Verdict;
use crate::engine::{plan, record};
use crate::kinds::REGISTRY;
use crate::recipe::{self, Loaded, Overrides};
use anyhow::Context;
use std::path::PathBuf;

pub fn load(args: &RecipeArgs) -> Result<Loaded, Error> {
    let cwd = std::env::current_dir().context("failed to find the current folder")?;
    let overrides = Overrides {
        sets: args.set.clone(),
        cwd,
    };
    Ok(recipe::load(&args.recipe, &overrides, &REGISTRY)?)
}

pub fn open(args: &StoreArgs) -> Result<Store, Error> {
    Ok(Store::open(&folder(args))?)
}

/// For who only looks: nothing is made where there is no store.
pub fn open_existing(args: &StoreArgs) -> Result<Store, Error> {
    let folder = folder(args);
    if !folder.join("format").exists() {
        let message = format!("there is no store at {}", folder.display());
        return Err(Error::World(anyhow::anyhow!(message)));
    }
    Ok(Store::open(&folder)?)
}

fn folder(args: &StoreArgs) -> PathBuf {
    let named = args.store.clone();
    named
        .or_else(|| environment("PIPE_STORE").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("cache"))
}

/// The node of this name, or an error with the nearest one.
pub fn node(graph: &Graph, name: &str) -> Result<NodeId, Error> {
    graph.find(name).ok_or_else(|| {
        let names = graph.nodes().iter().map(|n| n.name.as_str());
        let near = did_you_mean(name, names).map(|n| format!("; did you mean `{n}`?"));
        Error::Usage(format!(
            "the recipe has no node `{name}`{}",
            near.unwrap_or_default()
        ))
    })
}

pub fn nodes(graph: &Graph, names: &[String]) -> Result<Vec<NodeId>, Error> {
    names.iter().map(|name| node(graph, name)).collect()
}

pub fn wanted(graph: &Graph, only: &[String], fresh: &[String]) -> Result<Wanted, Error> {
    let fresh = nodes(graph, fresh)?.into_iter().collect();
    Ok(Wanted {
        only: nodes(graph, only)?,
        fresh,
    })
}

/// A node, `NODE` or `NODE.OUTPUT`, and the output that is meant.
pub struct Place {
    pub id: NodeId,
    pub output: Option<String>,
}

pub fn place(graph: &Graph, text: &str) -> Result<Place, Error> {
    let (name, output) = match text.split_once('.') {
        Some((name, output)) => (name, Some(output)),
        None => (text, None),
    };
    let id = node(graph, name)?;
    if let Some(output) = output {
        let kind = graph.node(id).kind;
        if kind.output(output).is_none() {
            let names: Vec<String> = kind
                .outputs
                .iter()
                .map(|o| format!("`{}`", o.name))
                .collect();
            return Err(Error::Usage(format!(
                "`{name}` has no output `{output}`; it has {}",
                names.join(", ")
            )));
        }
    }
    Ok(Place {
        id,
        output: output.map(String::from),
    })
}

/// The record of a node that is a hit now; or the one that this place of the graph had, where a node above lost its own.
pub fn record(store: &Store, graph: &Graph, id: NodeId) -> Result<Record, Error> {
    let wanted = Wanted {
        only: vec![id],
        ..Wanted::default()
    };
    let plan = plan::plan(store, graph, &wanted)?;
    let planned = plan.find(id).expect("a plan holds what was asked for");
    match &planned.verdict {
        Verdict::Hit(record) => return Ok((**record).clone()),
        Verdict::Maybe { .. } => {
            // The plan key is over everything above, so the hint is of these parameters and sources.
            if let Some(key) = store.hint(&planned.plan_key)
                && let Lookup::Whole(record) = store.lookup(&key)
            {
                return Ok(*record);
            }
        }
        Verdict::Run(_) | Verdict::Resume { .. } => {}
    }
    let mut message = format!(
        "`{}` has no artifact for this recipe as it stands; `pipe run` makes it, `pipe why` says what changed",
        graph.node(id).name
    );
    let attempts = planned.key().map(|key| Attempt::of(store, &key));
    if let Some(last) = attempts.transpose()?.unwrap_or_default().first() {
        let logs = last.logs();
        message += &format!("; an attempt that did not end well left {}", logs.display());
    }
    Err(Error::Usage(message))
}

/// The artifact that is meant: the named output, or the kind's first.
pub fn artifact<'a>(
    graph: &Graph,
    place: &Place,
    record: &'a Record,
) -> (&'a str, &'a record::Artifact) {
    let first = graph.node(place.id).kind.outputs[0].name;
    let name = place.output.as_deref().unwrap_or(first);
    let (name, artifact) = record
        .outputs
        .get_key_value(name)
        .expect("a record has every output of its kind");
    (name, artifact)
}
