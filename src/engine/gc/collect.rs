//! What may go, in which order, and why: a proposal, made of what the store holds and of what has to stay. `sweep` carries it out.
//!
//! Tiers in order: litter, attempts that nobody went on with, weights, other data. Inside a tier what is cheapest to make again per
//! byte goes first. Metrics and scores, records, their logs and the journals of runs are in no tier.

use crate::gc::inventory::{Found, Held, Inventory, Stamp, blobs, changed_ms};
use crate::gc::roots::{Roots, Rules, Watch, Why, keys_of, locked};
use crate::gc::sizes;
use crate::kind::Type;
use crate::kind::attempt::Attempt;
use crate::run::dispatch;
use crate::store::Store;
use crate::system::files::names;
use anyhow::Result;
use base::hash::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Younger drafts and unnamed blobs may be somebody's work.
pub(crate) const LITTER_AGE_MS: u64 = 3_600_000;
/// How long what failed a check is kept for whoever wants to look.
pub(crate) const QUARANTINE_MS: u64 = 7 * 86_400_000;
/// How long work is kept that somebody could go on with.
pub(crate) const CHECKPOINT_MS: u64 = 30 * 86_400_000;
/// What a dollar counts for beside computing time: about what an hour of a large GPU costs twice.
pub const SECONDS_PER_DOLLAR: f64 = 1800.0;

/// What the caller wants.
#[derive(Clone, Debug)]
pub struct Policy {
    pub now_ms: u64,
    /// Evict only as much as is needed to come under it; without it, everything that no root protects.
    pub cap: Option<u64>,
    /// Last runs of a recipe and workspace that protect what they made.
    pub runs: usize,
    /// Only what is older.
    pub older_than_ms: u64,
}

impl Policy {
    pub fn rules(&self) -> Rules {
        Rules {
            runs: self.runs,
            now_ms: self.now_ms,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Litter,
    Checkpoints,
    Weights,
    Data,
}

impl Tier {
    pub const ALL: [Tier; 4] = [Tier::Litter, Tier::Checkpoints, Tier::Weights, Tier::Data];

    pub fn word(self) -> &'static str {
        match self {
            Tier::Litter => "litter",
            Tier::Checkpoints => "checkpoints",
            Tier::Weights => "weights",
            Tier::Data => "data",
        }
    }

    /// Where outputs of a type belong; nothing for what never goes.
    pub fn of(ty: Type) -> Option<Tier> {
        match ty {
            Type::Model | Type::RewardModel | Type::Adapter => Some(Tier::Weights),
            Type::Prompts
            | Type::Conversations
            | Type::Pairs
            | Type::Completions
            | Type::Cases
            | Type::Archives
            | Type::States => Some(Tier::Data),
            Type::Metrics | Type::Scores | Type::AttackLog => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Draft(PathBuf),
    Quarantined(PathBuf),
    Attempt { dir: PathBuf, key: Option<Key> },
    Blob(Digest),
    Record { key: Key, outputs: BTreeSet<String> },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub tier: Tier,
    pub what: What,
    /// Node and recipe, or the name of a file.
    pub name: String,
    pub why: &'static str,
    /// What goes with it; blobs that several items share count with the last.
    pub bytes: u64,
    /// To make it again.
    pub seconds: f64,
    pub dollars: f64,
    pub age_ms: u64,
    /// Of a record: which one was meant.
    pub stamp: Option<Stamp>,
}

impl Item {
    fn effort(&self) -> f64 {
        self.seconds + self.dollars * SECONDS_PER_DOLLAR
    }
}

/// What a sweep would do.
pub struct Proposal {
    /// In the order in which they go.
    pub items: Vec<Item>,
    /// What the store holds now, all folders together.
    pub held_bytes: u64,
    /// Records with artifacts that stay, by the root that protects them; without one: not needed to come under the cap, or too young.
    pub kept: BTreeMap<Option<Why>, Kept>,
    /// What could not be read and makes us careful.
    pub careful: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kept {
    pub records: u64,
    /// Blobs that several share count with each.
    pub bytes: u64,
}

impl Proposal {
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|i| i.bytes).sum()
    }

    /// How far above the cap the store stays all the same.
    pub fn above(&self, cap: u64) -> u64 {
        self.held_bytes
            .saturating_sub(self.bytes())
            .saturating_sub(cap)
    }
}

/// What a proposal is made from.
struct Eye<'a> {
    inventory: &'a Inventory,
    roots: &'a Roots,
    blobs: &'a BTreeMap<Digest, Found>,
}

impl<'a> Eye<'a> {
    fn held(&self, key: &Key) -> &'a Held {
        self.inventory
            .get(key)
            .expect("a candidate comes from the inventory")
    }

    /// Present, and free to go as far as workers are concerned.
    fn there(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest) && !self.roots.needs_blob(digest)
    }
}

/// Looks at the store; changes nothing.
pub fn propose(store: &Store, policy: &Policy) -> Result<Proposal> {
    let (mut inventory, mut watch) = (Inventory::default(), Watch::default());
    inventory.refresh(store)?;
    let roots = watch.roots(store, &inventory, &policy.rules())?;
    let found = blobs(store)?.into_iter();
    let blobs: BTreeMap<Digest, Found> = found.map(|b| (b.digest.clone(), b)).collect();
    let eye = Eye {
        inventory: &inventory,
        roots: &roots,
        blobs: &blobs,
    };
    let mut items = litter(store, &eye, policy)?;
    let held_bytes = sizes::total(store)?;
    let going: u64 = items.iter().map(|i| i.bytes).sum();
    let mut wanted = candidates(&eye, policy.now_ms);
    wanted.extend(old_attempts(store, &eye, policy)?);
    wanted.retain(|i| i.age_ms >= policy.older_than_ms);
    wanted.sort_by(|a, b| {
        let cheap = |i: &Item| i.effort() / i.bytes.max(1) as f64;
        (a.tier.cmp(&b.tier))
            .then(cheap(a).total_cmp(&cheap(b)))
            .then(a.name.cmp(&b.name))
    });
    let mut careful = roots.blind.clone();
    if careful.is_empty() {
        let left = held_bytes.saturating_sub(going);
        items.extend(choose(&eye, wanted, policy.cap, left));
    } else {
        careful.push("nothing is evicted while that is so".into());
    }
    Ok(Proposal {
        kept: kept(&eye, &items),
        items,
        held_bytes,
        careful,
    })
}

/// Walks the candidates in their order and takes what frees something, until enough is free.
fn choose(eye: &Eye, candidates: Vec<Item>, cap: Option<u64>, mut left: u64) -> Vec<Item> {
    let mut holders = holders(eye);
    let mut freed: BTreeSet<&Digest> = BTreeSet::new();
    let mut chosen: Vec<Item> = vec![];
    for mut item in candidates {
        if cap.is_some_and(|cap| left <= cap) {
            break;
        }
        if let What::Record { key, outputs } = &item.what {
            let held = eye.held(key);
            item.bytes = 0;
            for (name, artifact) in held.record.outputs.iter() {
                if !outputs.contains(name) {
                    continue;
                }
                for blob in &artifact.files {
                    let count = holders.entry(&blob.digest).or_insert(0);
                    // What is marked already was not counted.
                    *count -= u64::from(!held.marked(name));
                    if *count == 0 && eye.there(&blob.digest) && freed.insert(&blob.digest) {
                        item.bytes += blob.size;
                    }
                }
            }
        }
        left = left.saturating_sub(item.bytes);
        chosen.push(item);
    }
    // A record that shares everything with one that stays would be marked for nothing.
    chosen.retain(|item| match &item.what {
        What::Record { key, outputs } => {
            let held = eye.held(key);
            held.files(outputs).any(|b| freed.contains(&b.digest))
        }
        _ => true,
    });
    chosen
}

/// By blob: how many outputs and logs count on it.
fn holders<'a>(eye: &Eye<'a>) -> BTreeMap<&'a Digest, u64> {
    let mut holders: BTreeMap<&Digest, u64> = BTreeMap::new();
    for held in eye.inventory.all() {
        let record = &held.record;
        let root = eye.roots.why(&record.key).is_some();
        let outputs = record.outputs.iter();
        let outputs = outputs.filter(|(name, _)| root || !held.marked(name));
        let files = outputs.flat_map(|(_, artifact)| &artifact.files);
        for blob in files.chain(&record.logs) {
            *holders.entry(&blob.digest).or_default() += 1;
        }
    }
    holders
}

/// Outputs of records that no root protects, where something is left of them.
fn candidates(eye: &Eye, now_ms: u64) -> Vec<Item> {
    let mut items = vec![];
    for held in eye.inventory.all() {
        let record = &held.record;
        if eye.roots.why(&record.key).is_some() {
            continue;
        }
        let mut by_tier: BTreeMap<Tier, BTreeSet<String>> = BTreeMap::new();
        for (name, artifact) in &record.outputs {
            if let Some(tier) = Tier::of(artifact.ty)
                && artifact.files.iter().any(|b| eye.there(&b.digest))
            {
                by_tier.entry(tier).or_default().insert(name.clone());
            }
        }
        // What was accepted costs what the record cost whose outputs it has.
        let accepted = record.accepted.as_ref();
        let maker = accepted.and_then(|a| eye.inventory.get(&a.from));
        let cost = &maker.unwrap_or(held).record.cost;
        for (tier, outputs) in by_tier {
            let made = &record.provenance;
            items.push(Item {
                tier,
                name: format!("{} of {}", made.node, made.recipe),
                why: "no pin and no recent run needs it",
                bytes: held.files(&outputs).map(|b| b.size).sum(),
                seconds: cost.seconds,
                dollars: cost.dollars,
                age_ms: now_ms.saturating_sub(record.cost.started_ms),
                stamp: Some(held.stamp),
                what: What::Record {
                    key: record.key.clone(),
                    outputs,
                },
            });
        }
    }
    items
}

fn kept(eye: &Eye, items: &[Item]) -> BTreeMap<Option<Why>, Kept> {
    let going: BTreeSet<&Key> = items
        .iter()
        .filter_map(|i| match &i.what {
            What::Record { key, .. } => Some(key),
            _ => None,
        })
        .collect();
    let mut kept: BTreeMap<Option<Why>, Kept> = BTreeMap::new();
    for held in eye.inventory.all() {
        let record = &held.record;
        let files = record.outputs.values().flat_map(|a| &a.files);
        let sizes = files.filter(|b| eye.there(&b.digest)).map(|b| b.size);
        let bytes: u64 = sizes.sum();
        if going.contains(&record.key) || bytes == 0 {
            continue;
        }
        let why = eye.roots.why(&record.key).cloned();
        let entry = kept.entry(why).or_default();
        entry.records += 1;
        entry.bytes += bytes;
    }
    kept
}

/// Drafts, old quarantine, attempts that are of no use, blobs that no record names.
fn litter(store: &Store, eye: &Eye, policy: &Policy) -> Result<Vec<Item>> {
    let mut items = vec![];
    for (folder, oldest) in [("tmp", LITTER_AGE_MS), ("quarantine", QUARANTINE_MS)] {
        let folder = store.root().join(folder);
        for name in names(&folder)? {
            let path = folder.join(&name);
            let Some(age_ms) = age(&path, policy.now_ms) else {
                continue;
            };
            // A run is history, even one that cannot be read.
            if age_ms < oldest || name.starts_with("run-") {
                continue;
            }
            let (bytes, draft) = (sizes::below(&path), oldest == LITTER_AGE_MS);
            items.push(match draft {
                true => plain(
                    What::Draft(path),
                    name,
                    "a draft that was left",
                    bytes,
                    age_ms,
                ),
                false => plain(
                    What::Quarantined(path),
                    name,
                    "failed a check",
                    bytes,
                    age_ms,
                ),
            });
        }
    }
    items.extend(useless_attempts(store, eye.inventory, policy)?);
    let named = eye.inventory.named();
    for (digest, blob) in eye.blobs {
        let age_ms = policy.now_ms.saturating_sub(blob.changed_ms);
        let free = !named.contains(digest) && !eye.roots.needs_blob(digest);
        if free && age_ms >= LITTER_AGE_MS {
            let (what, name) = (What::Blob(digest.clone()), digest.short().to_string());
            items.push(plain(what, name, "no record names it", blob.size, age_ms));
        }
    }
    items.retain(|i| i.age_ms >= policy.older_than_ms);
    Ok(items)
}

fn useless_attempts(store: &Store, inventory: &Inventory, policy: &Policy) -> Result<Vec<Item>> {
    let mut items = vec![];
    for name in names(&store.attempts())? {
        let attempt = Attempt {
            dir: store.attempts().join(&name),
        };
        let Some(age_ms) = newest(&attempt, policy.now_ms) else {
            continue;
        };
        let key = attempt.spec().ok().map(|spec| spec.key);
        let maybe = match &key {
            Some(key) => vec![key.clone()],
            None => keys_of(store, &name)?,
        };
        if maybe.iter().any(|key| locked(store, key)) || dispatch::is_outstanding(&attempt) {
            continue;
        }
        let why = match &key {
            Some(key) if inventory.get(key).is_some() => "its record is there",
            _ if attempt.resumable() || age_ms < LITTER_AGE_MS => continue,
            _ => "left nothing to go on from",
        };
        let bytes = own_bytes(&attempt);
        let what = What::Attempt {
            dir: attempt.dir,
            key,
        };
        items.push(plain(what, name, why, bytes, age_ms));
    }
    Ok(items)
}

/// Attempts that one could go on with, but nobody has.
fn old_attempts(store: &Store, eye: &Eye, policy: &Policy) -> Result<Vec<Item>> {
    let (inventory, roots) = (eye.inventory, eye.roots);
    let mut items = vec![];
    for name in names(&store.attempts())? {
        let attempt = Attempt {
            dir: store.attempts().join(&name),
        };
        let (Ok(spec), Some(age_ms)) = (attempt.spec(), newest(&attempt, policy.now_ms)) else {
            continue;
        };
        let settled = inventory.get(&spec.key).is_some() || !attempt.resumable();
        let wanted = roots.why(&spec.key).is_some() || roots.needs_attempt(&name);
        if settled || wanted || age_ms < CHECKPOINT_MS {
            continue;
        }
        let usage = attempt.usage();
        items.push(Item {
            tier: Tier::Checkpoints,
            name: format!("{} ({name})", spec.node),
            why: "nobody went on with it",
            bytes: own_bytes(&attempt),
            seconds: usage.seconds,
            dollars: usage.dollars,
            age_ms,
            stamp: None,
            what: What::Attempt {
                dir: attempt.dir,
                key: Some(spec.key),
            },
        });
    }
    Ok(items)
}

fn plain(what: What, name: String, why: &'static str, bytes: u64, age_ms: u64) -> Item {
    Item {
        tier: Tier::Litter,
        what,
        name,
        why,
        bytes,
        seconds: 0.0,
        dollars: 0.0,
        age_ms,
        stamp: None,
    }
}

/// Since anything directly in an attempt's folders changed.
pub(super) fn newest(attempt: &Attempt, now_ms: u64) -> Option<u64> {
    let parts = [attempt.dir.clone(), attempt.resume(), attempt.logs()];
    parts.iter().filter_map(|p| age(p, now_ms)).min()
}

pub(super) fn age(path: &std::path::Path, now_ms: u64) -> Option<u64> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some(now_ms.saturating_sub(changed_ms(&meta)))
}

fn own_bytes(attempt: &Attempt) -> u64 {
    sizes::below(&attempt.resume())
        + sizes::below(&attempt.logs())
        + sizes::below(&attempt.dir.join("out"))
}
