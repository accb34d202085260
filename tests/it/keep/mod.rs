//! The care of the store, on records that are put there by hand and on toy nodes: what stays, what goes and in which order, what is
//! found to be bad.

pub mod bucket;
mod clouds;
mod crowd;
mod evict;
mod faults;
mod gc;
mod given;
mod leases;
mod pins;
mod race;
mod remote;
mod roots;
mod signers;
mod verify;

use crate::engine::wait_until;
use pipe::base::hash::Key;
use pipe::engine::events::event::{Counts, End, Event, State};
use pipe::engine::events::journal::{self, Journal, RunInfo, Stamped};
use pipe::engine::events::life;
use pipe::engine::gc::collect::{Item, Policy, Proposal, What, propose};
use pipe::engine::gc::sweep::{Swept, sweep};
use pipe::engine::graph::manifest::Manifest;
use pipe::engine::store::Store;
use pipe::engine::store::record::Record;
use pipe::engine::system::clock;
use pipe::engine::system::files::{Blob, tree_digest};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// A folder with a store.
struct Space {
    dir: TempDir,
    store: Store,
}

impl Space {
    fn new() -> Space {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        store.prepare().unwrap();
        Space { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file below the store, its folders made.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.store.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A blob of this text.
    fn blob(&self, text: &str) -> Blob {
        let path = self.store.tmp().join(clock::unique());
        std::fs::write(&path, text).unwrap();
        let blob = self.store.objects().take(&path, "file").unwrap();
        std::fs::remove_file(path).unwrap();
        blob
    }

    /// A record of a node, made in so many seconds; outputs as (name, type, text).
    fn record(&self, node: &str, seconds: f64, outputs: &[(&str, &str, &str)]) -> Record {
        let manifest = Manifest::from_text(&format!("kind = toy\nparam node = \"{node}\"\n"));
        let outputs: Map<String, Value> = outputs
            .iter()
            .map(|(name, ty, text)| {
                let files = vec![self.blob(text)];
                let artifact = json!({ "type": ty, "digest": tree_digest(&files), "files": files });
                (name.to_string(), artifact)
            })
            .collect();
        let record: Record = serde_json::from_value(json!({
            "key": manifest.key(), "kind": "toy", "manifest": manifest.text(), "outputs": outputs,
            "cost": {
                "seconds": seconds, "cpu_seconds": seconds, "peak_bytes": 1, "started_ms": clock::now_ms(), "threads": 1,
                "attempts": 1,
            },
            "provenance": { "recipe": "study", "node": node, "run": "", "version": "" },
            "logs": [self.blob(&format!("log of {node}"))],
        }))
        .unwrap();
        assert!(self.store.add_record(&record).unwrap());
        record
    }

    /// A run that had these records. Its engine lives until the journal is dropped.
    fn run(&self, recipe: &str, workspace: Option<&Path>, records: &[&Record]) -> Journal {
        let info = RunInfo {
            id: clock::unique(),
            started_ms: clock::now_ms(),
            version: String::new(),
            recipes: vec![recipe.into()],
            targets: vec![],
            engine: None,
            workspace: workspace.map(Path::to_path_buf),
        };
        let recipes = [(recipe.to_string(), String::new())];
        let mut journal = Journal::create(&self.store, &info, &recipes).unwrap();
        for record in records {
            journal.write(&Event::State {
                node: record.provenance.node.clone(),
                state: State::Done {
                    key: record.key.clone(),
                },
            });
        }
        journal.flush();
        journal
    }

    /// The same, ended well.
    fn ended(&self, recipe: &str, workspace: Option<&Path>, records: &[&Record]) {
        self.run(recipe, workspace, records).write(&whole());
    }

    fn propose(&self, policy: &Policy) -> Proposal {
        // A process that another test starts has the locks of all, for the moment until it is another program.
        for id in journal::runs(&self.store).unwrap() {
            let ended = |s: &Stamped| matches!(s.event, Event::RunEnded { .. });
            if journal::events(&self.store, &id)
                .unwrap()
                .0
                .iter()
                .any(ended)
            {
                wait_until(|| !life::alive(&self.store, &id));
            }
        }
        propose(&self.store, policy).unwrap()
    }

    fn collect(&self, policy: &Policy) -> Swept {
        let items = self.propose(policy).items;
        sweep(&self.store, policy, items, Duration::from_millis(50)).unwrap()
    }

    /// Whether every blob of this output is there.
    fn has(&self, record: &Record, output: &str) -> bool {
        let files = &record.outputs[output].files;
        files.iter().all(|b| self.store.objects().has(b))
    }
}

fn whole() -> Event {
    Event::RunEnded {
        end: End::Whole,
        seconds: 1.0,
        counts: Counts::default(),
    }
}

/// Everything that nothing protects.
fn all() -> Policy {
    Policy {
        now_ms: clock::now_ms(),
        cap: None,
        runs: 3,
        older_than_ms: 0,
    }
}

fn under(cap: u64) -> Policy {
    Policy {
        cap: Some(cap),
        ..all()
    }
}

/// The same, asked so much later.
fn later(ms: u64) -> Policy {
    Policy {
        now_ms: clock::now_ms() + ms,
        ..all()
    }
}

/// `tier node` of records and checkpoints, in their order; litter by what it is.
fn lines(items: &[Item]) -> Vec<String> {
    let line = |item: &Item| match &item.what {
        What::Record { .. } => {
            let node = item.name.split(' ').next().unwrap();
            format!("{} {node}", item.tier.word())
        }
        What::Attempt { .. } => format!("{} attempt: {}", item.tier.word(), item.why),
        What::Blob(_) => "unnamed blob".into(),
        What::Draft(_) => "draft".into(),
        What::Quarantined(_) => "quarantined".into(),
    };
    items.iter().map(line).collect()
}

/// Another text of this length every time.
fn text(len: usize) -> String {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut text = format!("{n:06}").repeat(len / 6 + 1);
    text.truncate(len);
    text
}

fn key_of(record: &Record) -> Key {
    record.key.clone()
}
