//! What a shell completes that no list holds: nodes of the recipes on the line, runs of the store, metrics. Asked by the scripts
//! of `pipe completions`; whatever goes wrong, nothing is offered. What needs no study and no store: `offered`.

use super::args::{Changes, StoreArgs};
use super::offered::{self, offered};
use super::registry::registry;
use super::{store, study};
use base::claim::SHIPPED;
use clap::Command;
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::CompleteEnv;
use engine::events::journal;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Answers a shell and ends, where one asks.
pub fn answer(command: fn() -> Command) {
    CompleteEnv::with_factory(command)
        .var(offered::VARIABLE)
        .complete();
}

/// Of the recipes on the line.
pub fn nodes() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| offered(begun, node_names()))
}

/// Of the store, and `last`.
pub fn runs() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| offered(begun, run_names()))
}

/// For a place that takes either.
pub fn runs_and_nodes() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| offered(begun, [run_names(), run_nodes()].concat()))
}

/// That the kinds of the recipes on the line write, or that any kind does.
pub fn metrics() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| offered(begun, metric_names()))
}

/// The words on the line that is being written, after `pipe`.
fn words() -> Vec<String> {
    let all = std::env::args_os().map(|w| w.to_string_lossy().into_owned());
    all.skip_while(|word| word != "--").skip(2).collect()
}

/// What was said with this flag: `--set a=1` or `--set=a=1`.
fn said(words: &[String], flag: &str) -> Vec<String> {
    let next = words.iter().skip(1).map(Some).chain([None]);
    let each = words.iter().zip(next).filter_map(|(word, next)| {
        let rest = word.strip_prefix(flag)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value.to_string()),
            None => next.filter(|_| rest.is_empty()).cloned(),
        }
    });
    each.collect()
}

fn study_on_the_line() -> Option<recipe::study::Study> {
    let words = words();
    let recipe = |word: &&String| word.ends_with(".toml") || word.starts_with(SHIPPED);
    let recipes: Vec<PathBuf> = words.iter().filter(recipe).map(PathBuf::from).collect();
    let changes = Changes {
        set: said(&words, "--set"),
        matrix: said(&words, "--matrix"),
    };
    if recipes.is_empty() {
        return None;
    }
    study::load_all(&recipes, &changes).ok()
}

fn node_names() -> Vec<String> {
    let study = study_on_the_line();
    let graph = study.iter().flat_map(|s| s.graph.nodes());
    let names: BTreeSet<String> = graph.map(|n| n.name.clone()).collect();
    names.into_iter().collect()
}

fn metric_names() -> Vec<String> {
    let study = study_on_the_line();
    let own = study.iter().flat_map(|s| s.graph.nodes()).map(|n| n.kind);
    let own: Vec<_> = own.filter(|kind| !kind.metrics.is_empty()).collect();
    let kinds = match own.is_empty() {
        true => registry().iter().collect(),
        false => own,
    };
    let all = kinds.iter().flat_map(|kind| kind.metrics);
    let names: BTreeSet<String> = all.flat_map(|metric| metric.names()).collect();
    names.into_iter().collect()
}

fn store_on_the_line() -> Option<engine::store::Store> {
    let store = said(&words(), "--store").pop().map(PathBuf::from);
    store::existing(&StoreArgs { store }).ok()
}

fn run_names() -> Vec<String> {
    let runs = store_on_the_line().and_then(|store| journal::runs(&store).ok());
    let mut names = runs.unwrap_or_default();
    names.reverse();
    names.insert(0, "last".into());
    names
}

/// Nodes of the newest run.
fn run_nodes() -> Vec<String> {
    let newest = || {
        let store = store_on_the_line()?;
        let id = journal::runs(&store).ok()?.pop()?;
        super::past::look(&store, &id).ok()
    };
    let run = newest();
    let nodes = run.iter().flat_map(|run| &run.view.nodes);
    nodes.map(|node| node.name.clone()).collect()
}
