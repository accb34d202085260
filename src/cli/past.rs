//! Runs of the store: found by name, looked at as their events tell them, and as sides (their recipes as they were resolved, with the
//! records that they made or found).

use super::output::Error;
use super::registry::registry;
use anyhow::Context;
use base::claim::Axes;
use base::diag::Diags;
use base::hash::Key;
use engine::events::event::{End, Event, State};
use engine::events::journal::{self, Run, RunInfo};
use engine::events::life;
use engine::graph::union::{Part, union};
use engine::store::{Lookup, Store};
use recipe::{self, Loaded, Overrides, place};
use report::remaining::Left;
use report::side::Side;
use report::view::RunView;
use std::collections::BTreeMap;
use std::path::Path;

/// The run whose id is or begins with this, where there is one; several are an error.
pub fn find(store: &Store, beginning: &str) -> Result<Option<String>, Error> {
    let all = journal::runs(store)?;
    let fits: Vec<&String> = all.iter().filter(|id| id.starts_with(beginning)).collect();
    match fits.as_slice() {
        _ if all.iter().any(|id| id == beginning) => Ok(Some(beginning.to_string())),
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        several => Err(Error::Usage(format!(
            "{} runs begin with `{beginning}`, the last is `{}`; `pipe ls --runs` lists them",
            several.len(),
            several[several.len() - 1]
        ))),
    }
}

/// A run that has to be there. `last` is the newest.
pub fn one(store: &Store, name: &str) -> Result<String, Error> {
    let found = match name {
        "last" => journal::runs(store)?.pop(),
        name => find(store, name)?,
    };
    found.ok_or_else(|| {
        Error::Usage(format!(
            "there is no run `{name}`; `pipe ls --runs` lists them"
        ))
    })
}

/// That a word of the command line is no recipe and no run.
pub fn neither(what: &Path) -> Error {
    let near = place::near(Path::new("."), what, what);
    Error::Usage(format!(
        "`{}` is no file, and no run of the store begins with it; {}",
        what.display(),
        near.unwrap_or_else(|| "`pipe ls --runs` lists them".into())
    ))
}

/// A run as it is now.
pub struct Kept {
    pub id: String,
    pub info: RunInfo,
    pub view: RunView,
    pub alive: bool,
    /// Lines of its journal that could not be read.
    pub unreadable: usize,
}

pub fn look(store: &Store, id: &str) -> anyhow::Result<Kept> {
    // Asked first: a run that ends in between has written its end by the time that is read.
    let alive = life::alive(store, id);
    let (events, unreadable) = journal::events(store, id)?;
    Ok(Kept {
        id: id.to_string(),
        info: journal::info(store, id)?,
        view: RunView::replay(&events),
        alive,
        unreadable,
    })
}

impl Kept {
    /// The same for people: `done` of a run that ended well, `killed` where its engine died, `halted` while a signal halts it.
    pub fn told(&self) -> &'static str {
        match self.word() {
            "whole" => "done",
            "cut off" => "killed",
            "running" if self.info.engine.as_ref().is_some_and(|e| e.halted()) => "halted",
            word => word,
        }
    }

    /// `running`, how it ended, or `cut off`.
    pub fn word(&self) -> &'static str {
        match &self.view.ended {
            Some(ended) => match ended.end {
                End::Whole => "whole",
                End::Failed => "failed",
                End::Environment => "environment",
                End::Interrupted => "interrupted",
            },
            None if self.alive => "running",
            None => "cut off",
        }
    }

    /// What is left; nothing of what does not run.
    pub fn left(&self, now: u64) -> Option<Left> {
        (self.alive && self.view.ended.is_none()).then(|| self.view.left(now))
    }

    /// The node that made this key in this run.
    pub fn made(&self, key: &Key) -> Option<String> {
        let made = |state: &State| matches!(state, State::Done { key: own } if own == key);
        let node = self.view.nodes.iter().find(|n| made(&n.state));
        node.map(|n| n.name.clone())
    }
}

pub fn sides(store: &Store, id: &str) -> Result<Vec<Side>, Error> {
    let run = journal::read(store, id)?;
    let overrides = Overrides {
        cwd: std::env::current_dir().context("failed to find the current folder")?,
        ..Overrides::default()
    };
    let mut read: Vec<(Loaded, Axes)> = vec![];
    for (label, text) in &run.recipes {
        let name = format!("run {id}: {label}");
        // A resolved recipe has no matrix left, so it is one variant.
        let read_again = recipe::from_resolved(&name, text, &overrides, registry());
        for loaded in read_again.map_err(|diags| unreadable(id, &run.info, label, &diags))? {
            let axes = axes(label, &loaded.name);
            read.push((loaded, axes));
        }
    }
    let parts: Vec<Part> = read
        .iter()
        .map(|(loaded, axes)| Part {
            recipe: &loaded.name,
            axes,
            graph: &loaded.graph,
        })
        .collect();
    // The events call the nodes as the run did: by their names in the union of its recipes.
    let united = union(&parts);
    let keys = keys(&run);
    let mut sides = vec![];
    for ((loaded, axes), places) in read.into_iter().zip(united.places) {
        let mut records = BTreeMap::new();
        for (own, place) in loaded.graph.ids().zip(places) {
            let key = keys.get(united.graph.node(place).name.as_str());
            if let Some(Lookup::Whole(record) | Lookup::Evicted(record)) =
                key.map(|key| store.lookup(key))
            {
                records.insert(own, *record);
            }
        }
        sides.push(Side {
            recipe: loaded.name,
            file: store.runs().join(id),
            axes,
            graph: loaded.graph,
            records,
            notes: loaded.notes,
            claims: loaded.claims,
            given: vec![],
        });
    }
    Ok(sides)
}

/// A run's recipe that means nothing any more: nobody wrote it, so its places in the text help nobody.
fn unreadable(id: &str, info: &RunInfo, label: &str, diags: &Diags) -> Error {
    let more = match diags.len().saturating_sub(1) {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    let first = diags.iter().next().map_or("", |d| &d.message);
    Error::Usage(format!(
        "run `{id}` was made by version {}, and this one cannot read the recipe `{label}` that it kept: {first}{more}. Its records are \
         as good as before: name the recipe's own file in place of the run",
        info.version
    ))
}

/// By node, under its name in the run: the key of what it has since.
pub fn nodes(store: &Store, id: &str) -> Result<BTreeMap<String, Key>, Error> {
    let run = journal::read(store, id)?;
    let own = keys(&run).into_iter();
    Ok(own.map(|(node, key)| (node.into(), key.clone())).collect())
}

/// By node: the key of what it has since this run.
fn keys(run: &Run) -> BTreeMap<&str, &Key> {
    let mut keys = BTreeMap::new();
    for stamped in &run.events {
        if let Event::State {
            node,
            state: State::Hit { key, .. } | State::Done { key },
        } = &stamped.event
        {
            keys.insert(node.as_str(), key);
        }
    }
    keys
}

/// The axes in the label that a variant was kept under.
fn axes(label: &str, name: &str) -> Axes {
    let written = label.strip_prefix(name).unwrap_or_default().trim();
    let pairs = written.split(", ").filter_map(|pair| pair.split_once('='));
    pairs.map(|(a, v)| (a.into(), v.into())).collect()
}
