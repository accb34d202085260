//! The records that exist, for explaining: which earlier record is nearest to a node, and who made a digest. Manifests are read
//! when they are compared.

use crate::graph::changes::changes;
use crate::store::Store;
use crate::store::index::RecordSummary;
use crate::store::record::Record;
use base::hash::{Digest, Key};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// So many records of a name are compared with a node, the newest: a sweep leaves thousands.
const COMPARED: usize = 64;

pub struct History<'a> {
    store: &'a Store,
    briefs: Vec<RecordSummary>,
    /// Places in `briefs`, newest first.
    by_node: BTreeMap<String, Vec<usize>>,
    /// Newest first.
    by_kind: BTreeMap<String, Vec<usize>>,
    read: RefCell<BTreeMap<Key, Option<Rc<Record>>>>,
    stems: RefCell<BTreeMap<String, Stems>>,
}

/// What records of a kind are made from beside their inputs; none where they are too many to look at.
type Stems = Option<BTreeSet<String>>;

impl<'a> History<'a> {
    pub fn new(store: &'a Store, briefs: Vec<RecordSummary>) -> History<'a> {
        let mut order: Vec<usize> = (0..briefs.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(briefs[*i].cost.started_ms));
        let mut by_node: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut by_kind: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for i in order {
            let brief: &RecordSummary = &briefs[i];
            by_node.entry(brief.node.clone()).or_default().push(i);
            by_kind.entry(brief.kind.clone()).or_default().push(i);
        }
        History {
            store,
            briefs,
            by_node,
            by_kind,
            read: RefCell::default(),
            stems: RefCell::default(),
        }
    }

    /// The record to compare a node with: of its kind and name, with the fewest differing facts, the newest. `manifest` may lack
    /// inputs that are not known yet.
    pub fn nearest(&self, kind: &str, node: &str, manifest: &str) -> Option<Rc<Record>> {
        let namesakes = self.by_node.get(node)?.iter();
        let alike = namesakes.filter(|i| self.briefs[**i].kind == kind);
        let records = alike
            .take(COMPARED)
            .filter_map(|i| self.record(&self.briefs[*i].key));
        // Of equals the first, which is the newest.
        records.min_by_key(|r| changes(&r.manifest, manifest).len())
    }

    /// The newest record of this kind.
    pub fn newest(&self, kind: &str) -> Option<&RecordSummary> {
        self.by_kind.get(kind).map(|all| &self.briefs[all[0]])
    }

    /// Whether a record of this kind may be that of a manifest whose inputs are not known yet.
    pub fn may_have(&self, kind: &str, manifest: &str) -> bool {
        let mut stems = self.stems.borrow_mut();
        if !stems.contains_key(kind) {
            stems.insert(kind.to_string(), self.stems_of(kind));
        }
        match &stems[kind] {
            Some(known) => known.contains(&stem(manifest)),
            None => true,
        }
    }

    fn stems_of(&self, kind: &str) -> Stems {
        let all = self.by_kind.get(kind).map_or(&[][..], Vec::as_slice);
        if all.len() > COMPARED {
            return None;
        }
        let records = all.iter().map(|i| self.record(&self.briefs[*i].key));
        let stems = records.map(|record| Some(stem(&record?.manifest)));
        stems.collect()
    }

    /// By kind, the newest record that counted its work.
    pub fn speeds(&self) -> BTreeMap<String, RecordSummary> {
        let mut found: BTreeMap<String, RecordSummary> = BTreeMap::new();
        for brief in self.briefs.iter().filter(|b| b.cost.flop > 0.0) {
            let newer = |old: &RecordSummary| old.cost.started_ms < brief.cost.started_ms;
            if found.get(&brief.kind).is_none_or(newer) {
                found.insert(brief.kind.clone(), brief.clone());
            }
        }
        found
    }

    /// Who made an output of this content: of this kind and name where there is one, the newest.
    pub fn maker(&self, digest: &Digest, kind: &str, node: &str) -> Option<Rc<Record>> {
        let made = |b: &&RecordSummary| b.outputs.iter().any(|o| o.digest == *digest);
        let nearest = |b: &&RecordSummary| {
            let newest = std::cmp::Reverse(b.cost.started_ms);
            (b.kind != kind, b.node != node, newest)
        };
        let brief = self.briefs.iter().filter(made).min_by_key(nearest)?;
        self.record(&brief.key)
    }

    pub fn record(&self, key: &Key) -> Option<Rc<Record>> {
        let mut read = self.read.borrow_mut();
        let load = || self.store.record(key).ok().flatten().map(Rc::new);
        read.entry(key.clone()).or_insert_with(load).clone()
    }
}

/// A manifest without its inputs.
fn stem(manifest: &str) -> String {
    let lines = manifest.lines();
    let kept = lines.filter(|line| !line.starts_with("input "));
    kept.flat_map(|line| [line, "\n"]).collect()
}
