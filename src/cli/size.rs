//! `pipe ls --size`: where the bytes of a store are.

use super::output::{Outcome, print_json, print_lines, room, shown};
use base::hash::Digest;
use base::text::bytes;
use engine::gc::collect::{self, Policy};
use engine::gc::inventory::{self, Held, Inventory};
use engine::gc::roots::LAST_RUNS;
use engine::gc::{settings, sizes};
use engine::plan::overrides::vouched;
use engine::store::Store;
use engine::store::record::Record;
use engine::system::clock;
use report::table::{Table, left, right};
use report::words;
use serde_json::{Value, json};
use services::journal::Journal;
use std::collections::{BTreeMap, BTreeSet};

/// A record and its bytes that are there, each blob once.
struct Line<'a> {
    held: &'a Held,
    /// Blobs that no other record names.
    own: u64,
    shared: u64,
}

/// `kind`: only records of this kind.
pub(super) fn list(store: &Store, kind: Option<&str>, as_json: bool) -> Outcome {
    let mut inventory = Inventory::default();
    inventory.refresh(store)?;
    let found = inventory::blobs(store)?.into_iter();
    let there: BTreeMap<Digest, u64> = found.map(|b| (b.digest, b.size)).collect();
    let mut lines = lines(&inventory, &there);
    lines.retain(|l| kind.is_none_or(|kind| l.held.record.kind == kind));
    lines.sort_by_key(|l| {
        (
            std::cmp::Reverse(l.own + l.shared),
            l.held.record.key.clone(),
        )
    });
    let by_kind = grouped(&lines, &there, |held, _| held.record.kind.clone());
    let by_type = grouped(&lines, &there, |_, ty| ty.to_string());
    let folders = sizes::folders(store)?;
    let cap = settings::read(store)?.cap;
    let policy = Policy {
        now_ms: clock::now_ms(),
        cap: None,
        runs: LAST_RUNS,
        older_than_ms: 0,
    };
    let free = collect::propose(store, &policy)?.bytes();
    let total: u64 = folders.iter().map(|f| f.bytes).sum();
    let answers = Journal::open(&store.calls())?.len();
    let kept = sizes::below(&store.calls());
    if as_json {
        let records: Vec<Value> = lines.iter().map(line).collect();
        let folders = folders
            .iter()
            .map(|f| json!({ "folder": f.name, "files": f.files, "bytes": f.bytes }));
        print_json(&json!({
            "store": store.root(), "bytes": total, "cap": cap, "free_with_gc": free, "records": records,
            "kinds": by_kind, "types": by_type, "folders": folders.collect::<Vec<_>>(),
            "calls": json!({ "answers": answers, "bytes": kept }),
        }));
        return Ok(());
    }
    let mut table = Table::new([
        left("key"),
        left("node"),
        left("kind"),
        right("own"),
        right("shared"),
        left(""),
    ]);
    for l in &lines {
        let record = &l.held.record;
        table.push([
            record.key.short().to_string(),
            record.provenance.node.clone(),
            record.kind.clone(),
            bytes(l.own),
            bytes(l.shared),
            mark(record, l.held.evicted.is_some()),
        ]);
    }
    let mut out = table.fit(room());
    for (title, groups) in [("kind", by_kind), ("type", by_type)] {
        let mut table = Table::new([left(title), right("size")]);
        for (name, size) in groups {
            table.push([name, bytes(size)]);
        }
        out += &format!("\n{}", table.fit(room()));
    }
    let mut table = Table::new([left("folder"), right("files"), right("size")]);
    for folder in folders.iter().filter(|f| f.files > 0) {
        table.push([
            folder.name.clone(),
            folder.files.to_string(),
            bytes(folder.bytes),
        ]);
    }
    out += &format!("\n{}", table.fit(room()));
    if answers > 0 {
        out += &words::answers_kept(answers as u64, kept);
    }
    let cap = cap.map_or(String::new(), |cap| format!(", its cap is {}", bytes(cap)));
    out += &format!(
        "{} in {}{cap}; `pipe gc --cap none` would free {}\n",
        bytes(total),
        shown(store.root()),
        bytes(free)
    );
    print_lines(&out);
    Ok(())
}

/// The blobs of a record that are there, each once, with its type; logs are of none.
fn blobs<'a>(held: &'a Held, there: &BTreeMap<Digest, u64>) -> BTreeMap<&'a Digest, &'a str> {
    let outputs = held.record.outputs.values();
    let outputs = outputs.flat_map(|a| a.files.iter().map(|b| (&b.digest, a.ty.word())));
    let logs = held.record.logs.iter().map(|b| (&b.digest, "log"));
    let all = outputs.chain(logs);
    all.filter(|(digest, _)| there.contains_key(*digest))
        .collect()
}

fn lines<'a>(inventory: &'a Inventory, there: &BTreeMap<Digest, u64>) -> Vec<Line<'a>> {
    let mut users: BTreeMap<&Digest, u64> = BTreeMap::new();
    for held in inventory.all() {
        for digest in blobs(held, there).into_keys() {
            *users.entry(digest).or_default() += 1;
        }
    }
    let line = |held: &'a Held| {
        let (mut own, mut shared) = (0, 0);
        for digest in blobs(held, there).into_keys() {
            match users[digest] {
                1 => own += there[digest],
                _ => shared += there[digest],
            }
        }
        Line { held, own, shared }
    };
    inventory.all().map(line).collect()
}

/// Bytes by a word; a blob counts once in each group.
fn grouped(
    lines: &[Line],
    there: &BTreeMap<Digest, u64>,
    word: impl Fn(&Held, &str) -> String,
) -> BTreeMap<String, u64> {
    let mut seen = BTreeSet::new();
    let mut groups: BTreeMap<String, u64> = BTreeMap::new();
    for l in lines {
        for (digest, ty) in blobs(l.held, there) {
            let group = word(l.held, ty);
            if seen.insert((group.clone(), digest)) {
                *groups.entry(group).or_default() += there[digest];
            }
        }
    }
    groups
}

fn line(l: &Line) -> Value {
    let record = &l.held.record;
    json!({
        "key": record.key, "node": record.provenance.node, "recipe": record.provenance.recipe, "kind": record.kind,
        "own_bytes": l.own, "shared_bytes": l.shared, "evicted": l.held.evicted,
    })
}

/// What is unusual about a record.
pub(super) fn mark(record: &Record, evicted: bool) -> String {
    let vouched = vouched(record).map(|v| v.how);
    let evicted = evicted.then_some("evicted");
    let words: Vec<&str> = vouched.into_iter().chain(evicted).collect();
    words.join(", ")
}
