//! What a shell completes that no list holds: nodes of the recipes on the line, runs of the store, metrics, kinds. Asked by the scripts
//! of `pipe completions`; whatever goes wrong, nothing is offered.

use super::args::{Changes, StoreArgs};
use super::registry::registry;
use super::{store, study};
use clap::Command;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use engine::events::journal;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The variable in which a shell says that it asks, and which shell it is.
const VARIABLE: &str = "PIPE_COMPLETE";

/// Answers a shell and ends, where one asks.
pub fn answer(command: fn() -> Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The script that makes a shell ask.
pub fn script(shell: &str) -> anyhow::Result<Option<String>> {
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(shell) else {
        return Ok(None);
    };
    let mut script = vec![];
    shell.write_registration(VARIABLE, "pipe", "pipe", "pipe", &mut script)?;
    Ok(Some(String::from_utf8_lossy(&script).into_owned()))
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

pub fn kinds() -> ArgValueCompleter {
    let names = || registry().names().map(String::from).collect();
    ArgValueCompleter::new(move |begun: &OsStr| offered(begun, names()))
}

fn offered(begun: &OsStr, all: Vec<String>) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let fit = all.into_iter().filter(|name| name.starts_with(&*begun));
    fit.map(CompletionCandidate::new).collect()
}

/// The words on the line that is being written, after `pipe`.
fn words() -> Vec<String> {
    let all = std::env::args_os().map(|w| w.to_string_lossy().into_owned());
    all.skip_while(|word| word != "--").skip(2).collect()
}

/// What was said with this flag.
fn said(words: &[String], flag: &str) -> Vec<String> {
    let pairs = words.windows(2).filter(|pair| pair[0] == flag);
    pairs.map(|pair| pair[1].clone()).collect()
}

fn study_on_the_line() -> Option<recipe::study::Study> {
    let words = words();
    let recipe = |word: &&String| word.ends_with(".toml") || word.starts_with("pipe:");
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
