//! Records that nobody executed, because somebody answers for them: accepted outputs and adopted files.

use super::planned::{Planned, find};
use super::verdict::Verdict;
use crate::graph::{Graph, NodeId};
use crate::store::Store;
use crate::store::record::Record;
use serde::Serialize;

/// A record that nobody executed, in words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Override {
    /// `accepted` or `adopted`.
    pub how: &'static str,
    pub reason: String,
    pub at_ms: u64,
}

pub fn vouched(record: &Record) -> Option<Override> {
    let accepted = record.accepted.as_ref().map(|a| Override {
        how: "accepted",
        reason: a.reason.clone(),
        at_ms: a.at_ms,
    });
    accepted.or_else(|| {
        record.adopted.as_ref().map(|a| Override {
            how: "adopted",
            reason: a.reason.clone(),
            at_ms: a.at_ms,
        })
    })
}

/// The nodes above this one whose records nobody executed. What is made from them rests on somebody's word.
pub fn above(
    store: &Store,
    graph: &Graph,
    id: NodeId,
    plan: &[Planned],
) -> Vec<(String, Override)> {
    let above = graph.closure(&[id]).into_iter().rev().filter(|a| *a != id);
    above
        .filter_map(|above| {
            let decision = find(plan, above)?;
            // Of thousands of hits, few are worth reading.
            if matches!(&decision.verdict, Verdict::Hit(brief) if !brief.vouched) {
                return None;
            }
            let record = store.record(decision.key.as_ref()?).ok()??;
            Some((graph.node(above).name.clone(), vouched(&record)?))
        })
        .collect()
}
