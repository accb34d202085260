//! What is told of a push.

use base::device::Moved;
use base::hash::Key;
use base::text::{bytes, count};
use engine::store::remote::Reconciled;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What became of the records.
#[derive(Default)]
pub struct Pushed {
    /// What came of looking at what lay there before.
    pub found: Reconciled,
    pub new: BTreeSet<Key>,
    pub there: usize,
    /// Of those, whose bytes the remote lacked.
    pub restored: usize,
    /// Whose bytes there were others, or not all.
    pub mended: usize,
    /// Those that cannot be given.
    pub evicted: usize,
    /// Bytes that moved.
    pub sent: u64,
    /// The remote has other bytes of these nodes.
    pub differing: Vec<String>,
    /// Of these, what they were computed on there and here, where that is not the same.
    pub moved: BTreeMap<String, Moved>,
    pub failed: Vec<String>,
}

impl Pushed {
    /// What lies under a record's name and is none, or does not lie there though the index has it, and was not given.
    pub fn wrong(&self) -> Vec<String> {
        const GONE: &str = "the index has it, and nothing lies under its name";
        let wrong = self
            .found
            .wrong
            .iter()
            .map(|(key, why)| (key, why.as_str()));
        let all = wrong.chain(self.found.gone.iter().map(|key| (key, GONE)));
        let left = all.filter(|(key, _)| !self.new.contains(*key));
        left.map(|(key, why)| format!("record {}: {why}", key.short()))
            .collect()
    }

    /// Records that took the place of what was none.
    fn replaced(&self) -> usize {
        let new = self.new.iter();
        new.filter(|key| self.found.wrong.contains_key(*key))
            .count()
    }

    pub fn answer(&self, ok: bool) -> Value {
        json!({
            "ok": ok, "pushed": self.new.len(), "replaced": self.replaced(), "there": self.there, "restored": self.restored,
            "mended": self.mended, "evicted": self.evicted, "failed": self.failed, "differing": self.differing, "bytes": self.sent,
            "indexed": self.found.indexed, "parts": self.found.parts, "wrong": self.wrong(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let count = |n: usize, one: &str, many: &str| count(n as u64, one, many);
        let records = |n: usize| count(n, "record", "records");
        let mut out = format!(
            "{} pushed, {} there already; {} moved\n",
            records(self.new.len()),
            self.there,
            bytes(self.sent)
        );
        let (replaced, found) = (self.replaced(), &self.found);
        let them = if found.indexed == 1 { "it" } else { "them" };
        let lines = [
            (
                replaced,
                count(replaced, "damaged record was", "damaged records were") + " replaced",
            ),
            (
                self.restored,
                format!(
                    "the bytes of {} that it lacked are back",
                    records(self.restored)
                ),
            ),
            (
                self.mended,
                format!(
                    "the bytes of {} that were damaged there are right again",
                    records(self.mended)
                ),
            ),
            (
                found.indexed,
                format!(
                    "its index lacked {}, and has {them} now",
                    records(found.indexed)
                ),
            ),
            (
                found.parts,
                count(
                    found.parts,
                    "damaged part of its index was",
                    "damaged parts of its index were",
                ) + " replaced",
            ),
            (
                self.evicted,
                count(self.evicted, "record was", "records were")
                    + " left out: their bytes are not here",
            ),
        ];
        for (_, line) in lines.into_iter().filter(|(n, _)| *n > 0) {
            out += &format!("{line}\n");
        }
        for node in &self.differing {
            let why = match self.moved.get(node) {
                None => "the node is not reproducible".to_string(),
                Some(moved) => format!(
                    "they are of another device: {} there, {} here",
                    moved.before, moved.now
                ),
            };
            out += &format!("the remote has other bytes of `{node}`: {why}\n");
        }
        out
    }
}
