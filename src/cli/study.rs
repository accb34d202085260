//! What the verbs share: loaded recipes, their records, nodes by name.

use super::args::{Changes, RecipeArgs};
use super::hint::Hint;
use super::output::{Error, shown};
use super::registry::registry;
use super::{remote, store};
use anyhow::Context;
use base::diag::{Diag, Diags};
use base::text::{did_you_mean, listed, nearest};
use engine::graph::{Graph, NodeId};
use engine::kind::Type;
use engine::kind::attempt::Attempt;
use engine::plan;
use engine::plan::verdict::Verdict;
use engine::plan::{Decision, Wanted};
use engine::store::record;
use engine::store::record::Record;
use engine::store::{Lookup, Store};
use recipe::Overrides;
use recipe::study::{Study, Variant};
use report::side::Side;
use report::verdicts;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub fn load(args: &RecipeArgs) -> Result<Study, Error> {
    load_all(std::slice::from_ref(&args.recipe), &args.changes)
}

pub fn load_all(recipes: &[PathBuf], changes: &Changes) -> Result<Study, Error> {
    let cwd = std::env::current_dir().context("failed to find the current folder")?;
    let overrides = Overrides {
        sets: changes.set.clone(),
        matrix: changes.matrix.clone(),
        cwd,
    };
    Ok(Study::load(recipes, &overrides, registry())?)
}

/// The recipes that claims of the study are against and that are not in it, as one would type them here.
pub fn missing(study: &Study) -> Vec<PathBuf> {
    let all = study.missing().into_iter();
    all.map(|file| PathBuf::from(shown(&file))).collect()
}

/// The study with the recipes that its claims are against. None where the command line changes what only its own recipes have, so that
/// those cannot be read under it.
pub fn with_missing(
    recipes: &[PathBuf],
    changes: &Changes,
    study: &Study,
) -> Result<Option<Study>, Error> {
    let files: Vec<PathBuf> = recipes.iter().cloned().chain(missing(study)).collect();
    match load_all(&files, changes) {
        Ok(whole) => Ok(Some(whole)),
        Err(Error::Author(_)) if !changes.set.is_empty() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The variants with the records that they have now; one whose node above lost its own keeps the record of its place.
pub fn sides(store: &Store, study: Study) -> Result<Vec<Side>, Error> {
    let mut records = BTreeMap::new();
    for decision in &plan::decide(store, &study.graph, &Wanted::default())? {
        if let Some(record) = kept(store, decision) {
            records.insert(decision.id, record);
        }
    }
    // What is compared comes at once, where it is not here.
    let outputs = records.values().flat_map(|record| record.outputs.values());
    let metrics = outputs.filter(|artifact| artifact.ty == Type::Metrics);
    store.reach_all(
        &metrics
            .flat_map(|artifact| &artifact.files)
            .collect::<Vec<_>>(),
    );
    let given = given(store, &study)?;
    let mut sides = sides_with(&study, &records);
    for side in &mut sides {
        side.given.clone_from(&given);
    }
    Ok(sides)
}

/// What is to be said again in another command on the same study: changes, and a store that is not meant anyway.
fn given(open: &Store, study: &Study) -> anyhow::Result<Vec<String>> {
    let sets = study.sets.iter();
    let mut words: Vec<String> = sets.flat_map(|set| ["--set".into(), set.clone()]).collect();
    let cwd = std::env::current_dir().context("failed to find the current folder")?;
    if cwd.join(store::unnamed().folder) != open.root() {
        let root = open.root();
        let root = root.strip_prefix(&cwd).unwrap_or(root);
        words.extend(["--store".into(), root.display().to_string()]);
    }
    Ok(words)
}

/// That there is nothing to answer or to settle, and where such a thing would be written.
pub fn claims_nothing(names: &[&str]) -> String {
    format!(
        "no recipe of {} claims anything; what one expects of another is written in its `[[claim]]`",
        listed(names.iter().copied())
    )
}

/// The variants with the records of the study's nodes.
pub fn sides_with(study: &Study, records: &BTreeMap<NodeId, Record>) -> Vec<Side> {
    let side = |variant: &Variant| {
        let loaded = &variant.loaded;
        let own = loaded.graph.ids().zip(&variant.places);
        Side {
            records: own
                .filter_map(|(id, place)| Some((id, records.get(place)?.clone())))
                .collect(),
            recipe: loaded.name.clone(),
            file: variant.file.clone(),
            axes: loaded.axes.clone(),
            graph: loaded.graph.clone(),
            notes: loaded.notes.clone(),
            claims: loaded.claims.clone(),
            given: vec![],
        }
    };
    study.variants.iter().map(side).collect()
}

/// An error for every claim of these recipes that no records could answer: whose variants do not pair.
pub fn answerable(study: &Study, names: &[&str]) -> Result<(), Error> {
    let sides = sides_with(study, &BTreeMap::new());
    let sides: Vec<&Side> = sides.iter().collect();
    let mut diags = Diags::default();
    for (claim, why) in verdicts::unpaired(&sides) {
        let of = |v: &&Variant| names.contains(&v.loaded.name.as_str());
        let variants = study.variants.iter().filter(of);
        let written = variants.flat_map(|v| v.loaded.claims.iter().zip(&v.loaded.written));
        if let Some((_, written)) = written.into_iter().find(|(c, _)| *c == claim) {
            let message = format!("the claim cannot be answered: {why}");
            diags.push(Diag::at(&written.against, message));
        }
    }
    match diags.is_empty() {
        true => Ok(()),
        false => Err(diags.finish().into()),
    }
}

/// The node of this name, or an error with the nearest one.
pub fn node(study: &Study, name: &str) -> Result<NodeId, Error> {
    let graph = &study.graph;
    match nodes_called(study, name)?.as_slice() {
        [id] => Ok(*id),
        several => {
            let names = several.iter().map(|id| graph.node(*id).name.as_str());
            Err(Error::Usage(format!(
                "`{name}` is {} nodes here: {}",
                several.len(),
                listed(names)
            )))
        }
    }
}

/// The node of this name, or all that their own recipes call so.
fn nodes_called(study: &Study, name: &str) -> Result<Vec<NodeId>, Error> {
    let graph = &study.graph;
    let called = |name: &str| match graph.find(name) {
        Some(id) => vec![id],
        None => graph.namesakes(name),
    };
    let mut found = called(name);
    if found.is_empty()
        && let Some(bare) = without_recipe(study, name)
    {
        found = called(&bare);
    }
    if found.is_empty() {
        let names = graph.nodes().iter().map(|n| n.name.as_str());
        let known: Vec<&str> = names.collect();
        let near = match did_you_mean(name, known.iter().copied()) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => format!("; it has {}", nearest(name, known)),
        };
        return Err(Error::Usage(format!(
            "the recipe has no node `{name}`{near}"
        )));
    }
    Ok(found)
}

/// `rl@seed=0` of `rl@tars,seed=0`, as the node is called beside other recipes that have one of its name; nothing where the recipe is none
/// of these.
fn without_recipe(study: &Study, name: &str) -> Option<String> {
    let (plain, marks) = name.split_once('@')?;
    let (recipe, axes) = marks.split_once(',').unwrap_or((marks, ""));
    let known = study.names().contains(&recipe);
    known.then(|| match axes {
        "" => plain.to_string(),
        axes => format!("{plain}@{axes}"),
    })
}

pub fn nodes(study: &Study, names: &[String]) -> Result<Vec<NodeId>, Error> {
    let found: Result<Vec<_>, Error> = names.iter().map(|n| nodes_called(study, n)).collect();
    Ok(found?.into_iter().flatten().collect())
}

/// `only`: these nodes and what they need; empty: all. What is to be fresh has to be among them.
pub fn wanted(study: &Study, only: &[String], fresh: &[String]) -> Result<Wanted, Error> {
    let only = nodes(study, only)?;
    let selected = match only.is_empty() {
        true => BTreeSet::new(),
        false => study.graph.closure(&only).into_iter().collect(),
    };
    let mut wanted = Wanted {
        only,
        ..Wanted::default()
    };
    for name in fresh {
        let called = nodes_called(study, name)?;
        if !wanted.only.is_empty() && !called.iter().any(|id| selected.contains(id)) {
            return Err(Error::Usage(format!(
                "`--fresh {name}` does nothing here: no node that is asked for needs it"
            )));
        }
        wanted.fresh.extend(called);
    }
    Ok(wanted)
}

/// A node, `NODE` or `NODE.OUTPUT`, and the output that is meant.
pub struct Place {
    pub id: NodeId,
    pub output: Option<String>,
}

pub fn place(study: &Study, text: &str) -> Result<Place, Error> {
    let graph = &study.graph;
    // A node of a variant may have dots in its name: `rl@lambda=0.3`.
    let whole = nodes_called(study, text).is_ok();
    let (name, output) = match text.rsplit_once('.') {
        Some((name, output)) if !whole => (name, Some(output)),
        _ => (text, None),
    };
    let id = node(study, name)?;
    if let Some(output) = output {
        let node = graph.node(id);
        let Some(known) = node.kind.output(output) else {
            let names = node.kind.delivered(&node.params).map(|o| o.name);
            return Err(Error::Usage(format!(
                "`{name}` has no output `{output}`; it has {}",
                listed(names)
            )));
        };
        let only = known.only_with.as_ref();
        if let Some(only) = only.filter(|only| !(only.given)(&node.params)) {
            return Err(Error::Usage(format!(
                "`{name}` gives no `{output}` as it is set: {}",
                only.hint
            )));
        }
    }
    Ok(Place {
        id,
        output: output.map(String::from),
    })
}

/// The record of a node that is a hit now; or the one that this place of the graph had, where a node above lost its own. `hint`: what
/// is said where there is none.
pub fn record(store: &Store, graph: &Graph, hint: Hint, id: NodeId) -> Result<Record, Error> {
    let decision = match found(store, graph, id)? {
        Ok(record) => return Ok(record),
        Err(decision) => decision,
    };
    let node = graph.node(id).name.as_str();
    let mut message = format!(
        "`{node}` has no artifact for this recipe as it stands; `{}` makes it, `{}` says what changed",
        hint.command("run", &["--only", node]),
        hint.command("why", &[node])
    );
    let attempts = decision.key.as_ref().map(|key| Attempt::of(store, key));
    if let Some(last) = attempts.transpose()?.unwrap_or_default().first() {
        let logs = last.logs();
        message += &format!("; an attempt that did not end well left {}", logs.display());
    }
    Err(Error::Usage(message))
}

/// That record; where there is none, what was decided of the node.
pub fn found(store: &Store, graph: &Graph, id: NodeId) -> Result<Result<Record, Decision>, Error> {
    let wanted = Wanted {
        only: vec![id],
        ..Wanted::default()
    };
    let all = plan::decide(store, graph, &wanted)?;
    remote::tell(store);
    let decision = all.into_iter().find(|decision| decision.id == id);
    let decision = decision.expect("a plan holds what was asked for");
    Ok(kept(store, &decision).ok_or(decision))
}

fn kept(store: &Store, decision: &Decision) -> Option<Record> {
    match &decision.verdict {
        Verdict::Hit(brief) => store.record(&brief.key).ok().flatten(),
        // The plan key is over everything above, so the hint is of these parameters and sources.
        Verdict::Maybe { .. } => match store.lookup(&store.hint(&decision.plan_key)?) {
            Lookup::Whole(record) | Lookup::Evicted(record) => Some(*record),
            Lookup::Absent | Lookup::Damaged(_) => None,
        },
        Verdict::Run(_) | Verdict::Resume { .. } | Verdict::Needs { .. } => None,
    }
}

/// The artifact that is meant: the named output, or the kind's first.
pub fn artifact<'a>(
    graph: &Graph,
    place: &Place,
    record: &'a Record,
) -> (&'a str, &'a record::Artifact) {
    let kinds = graph.node(place.id).kind.outputs.iter();
    let mut delivered = kinds.filter(|o| record.outputs.contains_key(o.name));
    let first = delivered.next().map(|o| o.name).unwrap_or_default();
    let name = place.output.as_deref().unwrap_or(first);
    let (name, artifact) = record
        .outputs
        .get_key_value(name)
        .expect("a record has every output of its kind");
    (name, artifact)
}
