//! What drives a run when things do not go as they should: orphans and strays, classes of failure, tries, tokens, and a run read back.

mod away;
mod executor;
mod failures;
mod orphans;
mod sweeping;
mod tokens;
mod views;

use crate::engine::{Ran, Toy, toy};
use pipe::engine::events::event::{Event, State};
use pipe::engine::kind::failure::Class;
use std::path::Path;

fn slow(name: &str, ticks: i64) -> Toy {
    toy(&crate::toys::SLOW, name).with("ticks", ticks)
}

fn fail(name: &str, how: &str) -> Toy {
    toy(&crate::toys::FAIL, name).with("how", how)
}

/// How a node failed.
fn failed(ran: &Ran, name: &str) -> (Class, String) {
    match &ran.outcome.find(name).unwrap().state {
        State::Failed { class, message, .. } => (*class, message.clone()),
        other => panic!("{name} is {other:?}"),
    }
}

/// Tries that were announced, as class and message.
fn retries(ran: &Ran) -> Vec<(Class, String)> {
    let found = ran.events.iter().filter_map(|event| match event {
        Event::Retry { class, message, .. } => Some((*class, message.clone())),
        _ => None,
    });
    found.collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
