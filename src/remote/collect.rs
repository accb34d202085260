//! Room at a remote: which blobs may go. Records, signatures, logs and metrics stay, so that what is known of a key stays known.
//!
//! What stays: the outputs of pinned and of recent records, and of all records that those
//! were made from; blobs younger than a grace, since somebody may be about to publish the record that names them (a push writes a blob
//! again that is nearly as old). Ages are by the clock of the remote. What cannot be read makes this keep more, never less.

use crate::bucket::Bucket;
use crate::place::Entry;
use anyhow::{Result, ensure};
use base::hash::{Digest, Key};
use engine::gc::collect::Tier;
use engine::gc::inventory::words;
use engine::gc::pins::Pin;
use engine::graph::manifest::facts;
use engine::store::record::Record;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A push believes that a blob stays which is younger than a week; what is older it writes again.
pub const LEAST_GRACE_MS: u64 = 8 * DAY_MS;
pub const DAY_MS: u64 = 86_400_000;
const PINS: &str = "pins";
/// The largest record, pin or lock that is read.
pub(crate) const MOST: u64 = 16 << 20;

/// What the maintainer wants.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Records that were published since so long are roots.
    pub recent_ms: u64,
    /// Younger blobs stay.
    pub grace_ms: u64,
    /// Records that stay as well: the maintainer's own pins.
    pub pinned: BTreeMap<Key, String>,
}

/// Blobs of one record that may go, or blobs that no record names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// Node and recipe; nothing where no record names them.
    pub name: String,
    pub key: Option<Key>,
    pub tier: &'static str,
    pub why: &'static str,
    pub blobs: BTreeSet<Digest>,
    pub bytes: u64,
    /// To make it again.
    pub seconds: f64,
    pub dollars: f64,
    /// Of the youngest blob.
    pub age_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Kept {
    pub records: u64,
    pub bytes: u64,
}

/// Why bytes stay that nothing needs.
const SMALL: &str = "metrics, scores and logs stay, and what is too young";

/// What would go.
pub struct Proposal {
    pub items: Vec<Item>,
    pub records: u64,
    pub held_bytes: u64,
    /// Records by what keeps their bytes.
    pub kept: BTreeMap<String, Kept>,
    pub careful: Vec<String>,
}

impl Proposal {
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }
}

/// All that lies at the remote, as it was listed.
pub(crate) struct Eye {
    now_ms: u64,
    records: BTreeMap<Key, Record>,
    published_ms: BTreeMap<Key, u64>,
    /// What unreadable records may name.
    doubtful: BTreeSet<Digest>,
    unreadable: u64,
    /// By key: why its outputs stay.
    roots: BTreeMap<Key, String>,
    careful: Vec<String>,
}

/// Looks only. `at_ms`: by the clock of the remote, which is asked where it is not known.
pub fn propose(bucket: &Bucket, policy: &Policy, at_ms: Option<u64>) -> Result<Proposal> {
    ensure!(
        policy.grace_ms >= LEAST_GRACE_MS,
        "the grace is at least {} days: a push counts on blobs that are younger than a week",
        LEAST_GRACE_MS / DAY_MS
    );
    let now_ms = at_ms.map_or_else(|| bucket.now_ms(), Ok)?;
    let eye = Eye::open(bucket, policy, now_ms)?;
    let blobs = blobs(bucket.entries("objects")?);
    let held_bytes = blobs.values().map(|blob| blob.size).sum();
    let needed = eye.needed();
    let old = |blob: &Entry| now_ms.saturating_sub(blob.modified_ms) >= policy.grace_ms;
    let mut free: BTreeMap<&Digest, &Entry> = blobs
        .iter()
        .filter(|(digest, blob)| !needed.contains(*digest) && old(blob))
        .collect();
    let records = eye.records.values();
    let mut items: Vec<Item> = records.filter_map(|r| eye.item(r, &mut free)).collect();
    items.extend(eye.unnamed(&free));
    items.sort_by(|a, b| (a.tier, b.bytes, &a.name).cmp(&(b.tier, a.bytes, &b.name)));
    Ok(Proposal {
        kept: eye.kept(&blobs, &items),
        records: eye.published_ms.len() as u64,
        items,
        held_bytes,
        careful: eye.careful,
    })
}

/// By digest; what is not called so is somebody else's and none of ours.
pub(crate) fn blobs(entries: Vec<Entry>) -> BTreeMap<Digest, Entry> {
    let named = entries.into_iter().filter_map(|entry| {
        let name = entry.path.rsplit('/').next()?;
        Some((Digest::parse(name)?, entry))
    });
    named.collect()
}

impl Eye {
    pub(crate) fn open(bucket: &Bucket, policy: &Policy, now_ms: u64) -> Result<Eye> {
        let mut eye = Eye {
            now_ms,
            records: BTreeMap::new(),
            published_ms: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            unreadable: 0,
            roots: BTreeMap::new(),
            careful: vec![],
        };
        eye.refresh(bucket)?;
        eye.find_roots(bucket, policy)?;
        Ok(eye)
    }

    pub(crate) fn find_roots(&mut self, bucket: &Bucket, policy: &Policy) -> Result<()> {
        (self.roots, self.careful) = Default::default();
        self.pinned(bucket, policy)?;
        for (key, at_ms) in &self.published_ms {
            if self.now_ms.saturating_sub(*at_ms) < policy.recent_ms {
                let why = || "it is recent".to_string();
                self.roots.entry(key.clone()).or_insert_with(why);
            }
        }
        self.climb();
        Ok(())
    }

    /// Reads the records that are new.
    pub(crate) fn refresh(&mut self, bucket: &Bucket) -> Result<bool> {
        let mut new = vec![];
        for entry in bucket.entries("actions")? {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            let Some(key) = name.strip_suffix(".json").and_then(Key::parse) else {
                continue;
            };
            if self.published_ms.insert(key.clone(), entry.modified_ms) == Some(entry.modified_ms) {
                continue;
            }
            new.push((key, entry.path));
        }
        // Not by the index: whoever may write to that could say of a record that it names nothing.
        let paths: Vec<String> = new.iter().map(|(_, path)| path.clone()).collect();
        let texts = bucket.read_all(&paths, MOST)?;
        let more = !new.is_empty();
        for ((key, _), text) in new.into_iter().zip(texts) {
            let text = text.unwrap_or_default();
            let record = std::str::from_utf8(&text).ok();
            let record = record.and_then(|text| Record::from_text(text).ok());
            match record.filter(|record| record.key == key) {
                Some(record) => drop(self.records.insert(key, record)),
                None => {
                    self.unreadable += 1;
                    self.doubtful.extend(words(&text).filter_map(Digest::parse));
                }
            }
        }
        Ok(more)
    }

    fn pinned(&mut self, bucket: &Bucket, policy: &Policy) -> Result<()> {
        for (key, pin) in &policy.pinned {
            self.roots.insert(key.clone(), format!("pin `{pin}`"));
        }
        for entry in bucket.entries(PINS)? {
            let text = bucket.read(&entry.path, MOST)?.unwrap_or_default();
            match serde_json::from_slice::<Pin>(&text) {
                Ok(pin) => {
                    let why = format!("pin `{}`", pin.name);
                    let keys = pin.nodes.into_iter().map(|node| (node.key, why.clone()));
                    self.roots.extend(keys);
                }
                Err(error) => self.careful.push(format!(
                    "`{}` is no pin ({error}); nothing that a record names goes until it is repaired or removed",
                    entry.path
                )),
            }
        }
        Ok(())
    }

    /// What a root was made from is a root as well.
    fn climb(&mut self) {
        let mut makers: BTreeMap<&Digest, Vec<&Key>> = BTreeMap::new();
        for record in self.records.values() {
            for artifact in record.outputs.values() {
                makers
                    .entry(&artifact.digest)
                    .or_default()
                    .push(&record.key);
            }
        }
        let mut open: Vec<Key> = self.roots.keys().cloned().collect();
        let mut above: BTreeMap<Key, String> = BTreeMap::new();
        while let Some(key) = open.pop() {
            let Some(record) = self.records.get(&key) else {
                continue;
            };
            for input in inputs(&record.manifest) {
                for maker in makers.get(&input).into_iter().flatten() {
                    if !self.roots.contains_key(*maker) && !above.contains_key(*maker) {
                        above.insert((*maker).clone(), "what stays was made from it".into());
                        open.push((*maker).clone());
                    }
                }
            }
        }
        self.roots.extend(above);
    }

    /// Blobs that stay whatever their age. A pin that cannot be read may be of any record.
    pub(crate) fn needed(&self) -> BTreeSet<Digest> {
        let mut needed = self.doubtful.clone();
        for record in self.records.values() {
            let root = self.roots.contains_key(&record.key) || !self.careful.is_empty();
            let stays = record
                .outputs
                .values()
                .filter(|a| root || Tier::of(a.ty).is_none());
            let files = stays.flat_map(|a| &a.files).chain(&record.logs);
            needed.extend(files.map(|blob| blob.digest.clone()));
        }
        needed
    }

    /// What of this record goes. A blob of several counts with the first.
    fn item(&self, record: &Record, free: &mut BTreeMap<&Digest, &Entry>) -> Option<Item> {
        let tiers = record.outputs.values().filter_map(|a| Tier::of(a.ty));
        let tier = tiers.min()?;
        let files = record.outputs.values().flat_map(|a| &a.files);
        let going: Vec<(&Digest, &Entry)> = files
            .filter_map(|blob| free.remove_entry(&blob.digest))
            .collect();
        let youngest = going.iter().map(|(_, blob)| blob.modified_ms).max()?;
        Some(Item {
            name: format!("{} of {}", record.provenance.node, record.provenance.recipe),
            key: Some(record.key.clone()),
            tier: tier.word(),
            why: "nothing that is recent or pinned needs it",
            bytes: going.iter().map(|(_, blob)| blob.size).sum(),
            blobs: going
                .into_iter()
                .map(|(digest, _)| digest.clone())
                .collect(),
            seconds: record.cost.seconds,
            dollars: record.cost.dollars,
            age_ms: self.now_ms.saturating_sub(youngest),
        })
    }

    /// What no record names: a push that was cut off.
    fn unnamed(&self, free: &BTreeMap<&Digest, &Entry>) -> Option<Item> {
        let youngest = free.values().map(|blob| blob.modified_ms).max()?;
        Some(Item {
            name: String::new(),
            key: None,
            tier: Tier::Litter.word(),
            why: "no record names it",
            bytes: free.values().map(|blob| blob.size).sum(),
            blobs: free.keys().map(|digest| (*digest).clone()).collect(),
            seconds: 0.0,
            dollars: 0.0,
            age_ms: self.now_ms.saturating_sub(youngest),
        })
    }

    /// What keeps each blob that stays. One that several records name counts with the first, which is one that keeps all of its own where
    /// there is such; and so does a record of which nothing else is left.
    fn kept(&self, blobs: &BTreeMap<Digest, Entry>, items: &[Item]) -> BTreeMap<String, Kept> {
        let going: BTreeSet<&Digest> = items.iter().flat_map(|item| &item.blobs).collect();
        let goes: BTreeSet<&Key> = items.iter().filter_map(|item| item.key.as_ref()).collect();
        let stays = blobs.iter().filter(|(digest, _)| !going.contains(digest));
        let stays: BTreeMap<&Digest, u64> =
            stays.map(|(digest, blob)| (digest, blob.size)).collect();
        let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
        let mut by: BTreeMap<&Digest, String> = BTreeMap::new();
        let is_root = |record: &&Record| self.roots.contains_key(&record.key);
        let (roots, others): (Vec<&Record>, Vec<&Record>) =
            self.records.values().partition(is_root);
        for record in roots.into_iter().chain(others) {
            let files = record.outputs.values().flat_map(|a| &a.files);
            let files = files.chain(&record.logs).map(|blob| &blob.digest);
            let files: BTreeSet<&Digest> =
                files.filter(|digest| stays.contains_key(digest)).collect();
            let Some(first) = files.first() else {
                continue;
            };
            let own = self.roots.get(&record.key).map_or(SMALL, String::as_str);
            let new: Vec<&Digest> = files
                .iter()
                .copied()
                .filter(|d| !by.contains_key(d))
                .collect();
            let why = match new.is_empty() {
                true => by[first].clone(),
                false => own.to_string(),
            };
            let entry = kept.entry(why.clone()).or_default();
            entry.records += u64::from(!goes.contains(&record.key));
            entry.bytes += new.iter().map(|digest| stays[digest]).sum::<u64>();
            by.extend(new.into_iter().map(|digest| (digest, why.clone())));
        }
        let mut left = stays;
        left.retain(|digest, _| !by.contains_key(digest));
        if self.unreadable > 0 {
            let why = "not readable as a record: what it may name stays".to_string();
            let named = self
                .doubtful
                .iter()
                .filter_map(|digest| left.remove(digest));
            let bytes = named.sum();
            let records = self.unreadable;
            kept.insert(why, Kept { records, bytes });
        }
        let bytes: u64 = left.into_values().sum();
        if bytes > 0 {
            let why = "no record names it, and it is too young".to_string();
            kept.insert(why, Kept { records: 0, bytes });
        }
        kept
    }
}

/// Digests of what a node was made from.
fn inputs(manifest: &str) -> Vec<Digest> {
    let facts = facts(manifest).into_iter();
    let inputs = facts.filter(|(fact, _)| fact.starts_with("input "));
    inputs
        .filter_map(|(_, content)| Digest::parse(content.rsplit(' ').next()?))
        .collect()
}
