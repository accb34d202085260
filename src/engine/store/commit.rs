//! From a finished attempt to a record. Objects first, each durable; the record last, create-only; the attempts of the
//! key go after that. A crash in between leaves blobs that nobody names, and the attempts.
//!
//! The first writer of a key wins. There are two exceptions, both of which retire the old record to `quarantine/`: the
//! old record is damaged and its bytes did not come out again, or the node was forced (`--fresh`) and gave other bytes,
//! which makes it not reproducible and is reported as such.

use crate::graph::manifest::Manifest;
use crate::kind::Type;
use crate::kind::attempt::{self, Attempt, Spec};
use crate::store::objects::Taken;
use crate::store::record::{Adopted, Artifact, Cost, Provenance, Record};
use crate::store::{Lookup, Store};
use crate::system::fault;
use crate::system::files;
use anyhow::{Context, Result};
use base::device::{DeviceUsed, Moved};
use base::hash::Digest;
use std::collections::BTreeMap;
use std::fs;

/// How a commit came out.
pub struct Committed {
    pub record: Record,
    pub versus: Versus,
}

/// The new outputs against an earlier record of the same key.
#[derive(Clone, Debug, PartialEq)]
pub enum Versus {
    Nothing,
    /// Its bytes came out again.
    Same,
    /// Another process was first; its record is the one that counts.
    Beaten,
    /// Other bytes: the outputs that differ, by name. The old record is in quarantine.
    Different(Vec<String>),
    /// The same, and no wonder: they were computed on something else.
    OtherDevice(Vec<String>, Moved),
}

/// Why there is no record.
#[derive(Debug)]
pub enum CommitError {
    /// The worker did not deliver.
    Outputs(String),
    /// The store did not take it.
    Store(anyhow::Error),
}

pub struct Delivery<'a> {
    pub attempt: &'a Attempt,
    /// Earlier attempts whose work went into this one.
    pub earlier: &'a [Attempt],
    pub spec: &'a Spec,
    pub manifest: &'a Manifest,
    /// By output.
    pub types: BTreeMap<&'static str, Type>,
    pub provenance: Provenance,
    pub forced: bool,
    /// Of a delivery that no worker made.
    pub adopted: Option<Adopted>,
}

pub fn commit(store: &Store, delivery: &Delivery) -> Result<Committed, CommitError> {
    let _shared = store.sharing().map_err(CommitError::Store)?;
    place("commit-begin").map_err(CommitError::Store)?;
    let mut outputs = BTreeMap::new();
    let mut taken = Taken::default();
    for (name, ty) in &delivery.types {
        let dir = delivery.attempt.output(name);
        let files = files::walk(&dir, false)
            .map_err(|e| CommitError::Outputs(format!("output `{name}`: {e:#}")))?;
        if files.is_empty() {
            return Err(CommitError::Outputs(format!("output `{name}` is empty")));
        }
        let files: Result<Vec<_>> = files
            .iter()
            .map(|(relative, path)| store.objects().add(path, relative, &mut taken))
            .collect();
        let files = files.map_err(CommitError::Store)?;
        let digest = files::tree_digest(&files);
        outputs.insert(
            name.to_string(),
            Artifact {
                ty: *ty,
                digest,
                files,
            },
        );
    }
    place("outputs-stored").map_err(CommitError::Store)?;
    store_record(store, delivery, outputs, taken).map_err(CommitError::Store)
}

fn place(name: &'static str) -> Result<()> {
    fault::point(name).with_context(|| format!("committing ({name})"))
}

fn store_record(
    store: &Store,
    delivery: &Delivery,
    outputs: BTreeMap<String, Artifact>,
    mut taken: Taken,
) -> Result<Committed> {
    merge_metrics(delivery)?;
    let mut logs = vec![];
    for (relative, path) in files::walk(&delivery.attempt.logs(), false)? {
        // Progress, usage and messages have served; most nodes say nothing on stderr.
        let kept = !matches!(
            relative.as_str(),
            "progress.json" | "usage.json" | "messages.jsonl" | attempt::DEVICES
        );
        if !kept || fs::metadata(&path).is_ok_and(|m| m.len() == 0) {
            continue;
        }
        logs.push(store.objects().add(&path, &relative, &mut taken)?);
    }
    place("logs-stored")?;
    taken.settle()?;
    place("objects-synced")?;
    let record = Record {
        key: delivery.spec.key.clone(),
        kind: delivery.spec.kind.clone(),
        manifest: delivery.manifest.text().to_string(),
        outputs,
        cost: cost(delivery),
        provenance: provenance(delivery),
        logs,
        accepted: None,
        adopted: delivery.adopted.clone(),
    };
    let committed = add(store, record, delivery.forced)?;
    // The objects are back before the mark goes.
    store.unevict(&committed.record.key)?;
    Ok(committed)
}

fn add(store: &Store, record: Record, forced: bool) -> Result<Committed> {
    if store.add_record(&record)? {
        return Ok(Committed {
            record,
            versus: Versus::Nothing,
        });
    }
    settle(store, record, forced)
}

/// There is a record already.
fn settle(store: &Store, record: Record, forced: bool) -> Result<Committed> {
    let key = &record.key;
    let old = store.record(key).ok().flatten();
    if let Some(old) = &old {
        let different = differing(&digests(old), &digests(&record));
        if different.is_empty() {
            return Ok(Committed {
                record: old.clone(),
                versus: Versus::Same,
            });
        }
        if !forced && matches!(store.lookup(key), Lookup::Whole(_)) {
            return Ok(Committed {
                record: old.clone(),
                versus: Versus::Beaten,
            });
        }
        let [before, now] = [old, &record].map(|r| &r.provenance.origin.devices[..]);
        let versus = match Moved::between(before, now) {
            Some(moved) => Versus::OtherDevice(different, moved),
            None => Versus::Different(different),
        };
        store.retire_record(key)?;
        store.add_record(&record)?;
        return Ok(Committed { record, versus });
    }
    store.retire_record(key)?;
    store.add_record(&record)?;
    Ok(Committed {
        record,
        versus: Versus::Nothing,
    })
}

fn digests(record: &Record) -> BTreeMap<&str, &Digest> {
    record
        .outputs
        .iter()
        .map(|(name, a)| (name.as_str(), &a.digest))
        .collect()
}

fn differing(old: &BTreeMap<&str, &Digest>, new: &BTreeMap<&str, &Digest>) -> Vec<String> {
    new.iter()
        .filter(|(name, d)| old.get(*name) != Some(d))
        .map(|(name, _)| name.to_string())
        .collect()
}

/// With what it was computed on, from the first attempt whose work is in it.
fn provenance(delivery: &Delivery) -> Provenance {
    let mut provenance = delivery.provenance.clone();
    let earlier = delivery.earlier.iter().rev().filter(|a| a.resumable());
    let each = earlier.chain([delivery.attempt]).map(Attempt::devices);
    let each: Vec<Vec<DeviceUsed>> = each.collect();
    if each.iter().all(Vec::is_empty) {
        return provenance;
    }
    let devices = &mut provenance.origin.devices;
    for used in each {
        let used = match used.is_empty() {
            true => vec![DeviceUsed::cpu()],
            false => used,
        };
        for one in used {
            if !devices.contains(&one) {
                devices.push(one);
            }
        }
    }
    provenance
}

fn cost(delivery: &Delivery) -> Cost {
    let mut cost = Cost::default();
    let spec = delivery.spec;
    // The oldest first.
    for attempt in delivery.earlier.iter().rev().chain([delivery.attempt]) {
        cost.follow(&attempt.usage(), spec.threads, spec.started_ms);
    }
    cost
}

/// One `metrics.jsonl` for the whole node: of steps that were walked twice, the later walk counts.
fn merge_metrics(delivery: &Delivery) -> Result<()> {
    let mut lines: BTreeMap<(u64, Vec<String>), String> = BTreeMap::new();
    for attempt in delivery.earlier.iter().rev().chain([delivery.attempt]) {
        let text = fs::read_to_string(attempt.logs().join("metrics.jsonl")).unwrap_or_default();
        for line in text.lines() {
            let Ok(metric) = serde_json::from_str::<crate::kind::messages::Metric>(line) else {
                continue; // The torn last line of a killed attempt.
            };
            let names = metric.values.keys().cloned().collect();
            lines.insert((metric.step, names), line.to_string());
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let mut text: String = lines.into_values().collect::<Vec<_>>().join("\n");
    text.push('\n');
    fs::write(delivery.attempt.logs().join("metrics.jsonl"), text).context("writing metrics")
}
