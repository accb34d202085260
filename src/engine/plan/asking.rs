//! What a remote has and its index lacks: a record that was published a moment ago, or an index that is gone. Who plans asks for a few keys
//! by name, which tells whether the index can be believed; who wants everything asks for all.

use super::decision::Decision;
use super::planner::Planner;
use super::verdict::Verdict;
use crate::graph::NodeId;
use crate::store::{Lookup, Store};
use anyhow::Result;
use base::hash::Key;
use base::text::count;
use std::collections::BTreeSet;

/// How many keys are asked for that the index does not have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asking {
    /// A few, and more as long as some are found: what is not made costs one round trip.
    Some,
    All,
}

/// Keys that are asked for first, and at once; and in all, where some are found.
const FIRST: usize = 8;
const AT_ONCE: usize = 32;
const MOST: usize = 256;

/// As the planner decides, with what the remote has beyond its index.
pub(super) fn decide(store: &Store, planner: &Planner, asking: Asking) -> Result<Vec<Decision>> {
    let mut asked: BTreeSet<Key> = BTreeSet::new();
    let (mut found, mut first) = (0, None);
    let all = loop {
        let all = planner.decide_all()?;
        let mut open = open(planner, &all, &asked);
        open.retain(|(_, key)| asking == Asking::All || store.is_unindexed(key));
        let room = match (asking, asked.is_empty()) {
            (Asking::All, _) => usize::MAX,
            (Asking::Some, true) => FIRST,
            (Asking::Some, false) => AT_ONCE.min(MOST.saturating_sub(asked.len())),
        };
        let open = spread(open, room);
        if open.is_empty() || !store.has_remote() {
            break all;
        }
        let mut new = 0;
        let keys: Vec<&Key> = open.iter().map(|(_, key)| key).collect();
        for ((id, _), answer) in open.iter().zip(store.ask_remote_for(&keys)) {
            match answer {
                Ok(Lookup::Evicted(_)) => {
                    new += 1;
                    first.get_or_insert(*id);
                }
                Ok(_) => {}
                Err(error) => planner.remark(*id, format!("{error:#}")),
            }
        }
        asked.extend(open.into_iter().map(|(_, key)| key));
        found += new;
        if new == 0 {
            break all;
        }
    };
    if let (Asking::Some, Some(id), Some(remote)) = (asking, first, store.remote()) {
        let rest = match asked.len() >= MOST {
            true => "; not all were asked for",
            false => "",
        };
        let told = count(found as u64, "record that lies", "records that lie");
        let name = remote.name();
        let text = format!(
            "the index of {name} lacks {told} there (found by name{rest}): `pipe push` by anybody who gives there puts what it lacks into it"
        );
        planner.remark(id, text);
    }
    Ok(all)
}

/// Nodes without a record whose keys are known and were not asked for.
fn open(planner: &Planner, all: &[Decision], asked: &BTreeSet<Key>) -> Vec<(NodeId, Key)> {
    let runs = |d: &&Decision| !matches!(d.verdict, Verdict::Hit(_)) && !planner.forced(d.id);
    let keyed = all.iter().filter(runs);
    let keyed = keyed.filter_map(|d| Some((d.id, d.key.clone()?)));
    keyed.filter(|(_, key)| !asked.contains(key)).collect()
}

/// So many of them at most, from all over.
fn spread(open: Vec<(NodeId, Key)>, room: usize) -> Vec<(NodeId, Key)> {
    let step = open.len().div_ceil(room.max(1)).max(1);
    open.into_iter().step_by(step).take(room).collect()
}
