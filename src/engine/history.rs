//! The records that exist, read once, for explaining: which earlier record is nearest to a node, and who made a digest.

use crate::engine::key::{Digest, facts};
use crate::engine::record::Record;
use crate::engine::store::Store;
use crate::engine::verdict::Reason;
use anyhow::Result;
use std::collections::BTreeSet;

pub struct History {
    records: Vec<Record>,
}

impl History {
    pub fn read(store: &Store) -> Result<History> {
        Ok(History {
            records: store.records()?,
        })
    }

    /// The record to compare a node with: of its kind, of its name where there is one, with the fewest differing facts,
    /// the newest. `manifest` may lack inputs that are not known yet.
    pub fn nearest(&self, kind: &str, node: &str, manifest: &str) -> Option<&Record> {
        let all = || self.records.iter().filter(|r| r.kind == kind);
        let distance = |r: &&Record| {
            (
                changes(&r.manifest, manifest).len(),
                std::cmp::Reverse(r.cost.started_ms),
            )
        };
        // The name first, and not as a part of the distance: comparing every node with every record is quadratic.
        all()
            .filter(|r| r.provenance.node == node)
            .min_by_key(distance)
            .or_else(|| all().min_by_key(distance))
    }

    /// The newest record of a node of this name.
    pub fn named(&self, node: &str) -> Option<&Record> {
        self.records
            .iter()
            .filter(|r| r.provenance.node == node)
            .max_by_key(|r| r.cost.started_ms)
    }

    /// Who made an output of this content: of this kind and name where there is one, the newest.
    pub fn maker(&self, digest: &Digest, kind: &str, node: &str) -> Option<&Record> {
        self.records
            .iter()
            .filter(|r| r.outputs.values().any(|a| a.digest == *digest))
            .min_by_key(|r| {
                (
                    r.kind != kind,
                    r.provenance.node != node,
                    std::cmp::Reverse(r.cost.started_ms),
                )
            })
    }
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
