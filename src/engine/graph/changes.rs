//! What differs between two manifests, as data: why a node has to run, said by a plan, carried by events and records.

use super::manifest::facts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Why a node has to run, against the nearest earlier record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reason {
    /// There is no record of a node of this kind and name to compare with.
    NeverRun,
    Forced,
    /// Canonical texts; absent on one side: an optional parameter.
    Param {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// The content behind a path parameter.
    Source {
        name: String,
    },
    /// Digests; absent on one side: the port was or is unconnected.
    Input {
        port: String,
        was: Option<String>,
        now: Option<String>,
    },
    Revision {
        old: String,
        new: String,
    },
    /// The node of this name was of another kind.
    Kind {
        old: String,
        new: String,
    },
    Output {
        name: String,
    },
    /// The record is there, its blobs were removed to make room, and they are needed.
    Evicted,
    /// It was made elsewhere; its blobs never were here, cannot be brought, and are needed.
    NeverHere,
    /// The record is there, these parts of its artifact are not.
    Missing {
        what: Vec<String>,
    },
}

/// What differs between two manifests, as reasons, in the order of the facts' names.
pub fn changes(old: &str, new: &str) -> Vec<Reason> {
    let (old, new) = (facts(old), facts(new));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    names
        .into_iter()
        .filter(|name| old.get(name) != new.get(name))
        .map(|name| {
            let was = old.get(name).map(|v| v.to_string());
            let now = new.get(name).map(|v| v.to_string());
            let (section, name) = name.split_once(' ').unwrap_or((name, ""));
            let name = name.to_string();
            match section {
                "kind" => Reason::Kind {
                    old: was.unwrap_or_default(),
                    new: now.unwrap_or_default(),
                },
                "revision" => Reason::Revision {
                    old: was.unwrap_or_default(),
                    new: now.unwrap_or_default(),
                },
                "source" => Reason::Source { name },
                "input" => Reason::Input {
                    port: name,
                    was: content(was),
                    now: content(now),
                },
                "output" => Reason::Output { name },
                _ => Reason::Param {
                    name,
                    old: was,
                    new: now,
                },
            }
        })
        .collect()
}

/// The digest in `model 1234…`.
fn content(value: Option<String>) -> Option<String> {
    value.map(|v| {
        v.split_once(' ')
            .map_or(v.clone(), |(_, digest)| digest.to_string())
    })
}
