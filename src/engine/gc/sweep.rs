//! Carries a proposal out, portion by portion. Every portion is done alone, after looking again at what has to stay; between two of
//! them runs commit and decide.

use crate::gc::collect::{self, Item, Policy, What};
use crate::gc::inventory::{Inventory, blob};
use crate::gc::roots::{Roots, Watch, keys_of};
use crate::kind::attempt::Attempt;
use crate::run::dispatch;
use crate::store::Store;
use crate::system::clock;
use crate::system::fault;
use crate::system::{host, locks};
use anyhow::{Context, Result, bail};
use base::hash::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Items of a portion: some tenths of a second.
const PORTION: usize = 128;
const TICK: Duration = Duration::from_millis(20);

/// What a sweep did.
#[derive(Default)]
pub struct Swept {
    /// With the bytes that really went.
    pub gone: Vec<Item>,
    /// What somebody has come to need, or what changed, since the proposal.
    pub spared: Vec<Item>,
    /// The store was never free: what was left undone, and who shares it.
    pub busy: Option<Busy>,
}

pub struct Busy {
    pub left: usize,
    /// Process and command line.
    pub holders: Vec<(u32, String)>,
}

/// Removes what was proposed. `patience`: how long to wait for the store to be free, once.
pub fn sweep(
    store: &Store,
    policy: &Policy,
    items: Vec<Item>,
    patience: Duration,
) -> Result<Swept> {
    store.prepare()?;
    if let Some(told) = others(store, policy.now_ms)? {
        bail!("{told}");
    }
    let (mut inventory, mut watch) = (Inventory::default(), Watch::default());
    // The first look takes longest, so it is not under the lock.
    inventory.refresh(store)?;
    let mut swept = Swept::default();
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let Some(_alone) = alone(store, patience)? else {
            swept.busy = Some(Busy {
                left: items.count(),
                holders: locks::holders(&store.root().join("locks/sweep")),
            });
            break;
        };
        inventory.refresh(store)?;
        let roots = watch.roots(store, &inventory, &policy.rules())?;
        let portion: Vec<Item> = items.by_ref().take(PORTION).collect();
        let sweep = Sweep {
            store,
            policy,
            inventory: &inventory,
            roots: &roots,
            named: inventory.named(),
        };
        sweep.portion(portion, &mut swept)?;
    }
    Ok(swept)
}

/// Who may count on blobs here without anybody on this machine seeing it, in words: where locks exclude no other machines, those that
/// were at work lately.
fn others(store: &Store, now_ms: u64) -> Result<Option<String>> {
    if store.claims().lasts().is_none() {
        return Ok(None);
    }
    let here = host();
    for attempt in Attempt::all(store)? {
        // What it is about are attempts that are looked at themselves.
        if dispatch::is_shared(&attempt) {
            continue;
        }
        let engine = attempt.spec().ok().and_then(|spec| spec.engine);
        let begun = dispatch::begun(&attempt).map(|begun| begun.host);
        let there = begun.or_else(|| engine.map(|engine| engine.host));
        let elsewhere = there.as_ref().is_none_or(|host| *host != here);
        let age = collect::newest(&attempt, now_ms);
        let young = age.is_some_and(|age| age < collect::LITTER_AGE_MS);
        let is = match dispatch::is_outstanding(&attempt) {
            true => "has a job that did not end yet",
            false if elsewhere && young => "is young",
            false => continue,
        };
        let whose = there.map_or_else(
            || "does not say whose it is, and".into(),
            |there| format!("of {there}"),
        );
        return Ok(Some(format!(
            "the locks of this store exclude no other machines, and attempt {} {whose} {is}: it may count on what would go. \
             Nothing was removed",
            attempt.name()
        )));
    }
    Ok(None)
}

fn alone(store: &Store, patience: Duration) -> Result<Option<File>> {
    let since = Instant::now();
    loop {
        if let Some(lock) = store.alone()? {
            return Ok(Some(lock));
        }
        if since.elapsed() > patience {
            return Ok(None);
        }
        thread::sleep(TICK);
    }
}

struct Sweep<'a> {
    store: &'a Store,
    policy: &'a Policy,
    inventory: &'a Inventory,
    roots: &'a Roots,
    /// Blobs that a record names.
    named: BTreeSet<Digest>,
}

impl Sweep<'_> {
    fn portion(&self, items: Vec<Item>, swept: &mut Swept) -> Result<()> {
        let (items, spared): (Vec<_>, Vec<_>) = items.into_iter().partition(|i| self.may_go(i));
        swept.spared.extend(spared);
        let mut going: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
        for item in &items {
            if let What::Record { key, outputs } = &item.what {
                going
                    .entry(key.clone())
                    .or_default()
                    .extend(outputs.clone());
            }
        }
        // Every mark is durable before the first blob goes.
        for item in &items {
            if let What::Record { key, outputs } = &item.what {
                self.store
                    .mark_evicted(key, outputs, item.bytes, item.why)?;
            }
        }
        fault::point("evict-marked")?;
        let root = |key: &Key| self.roots.why(key).is_some();
        let needed = self.inventory.needed(&going, root);
        for mut item in items {
            let freed = match &item.what {
                What::Record { key, outputs } => {
                    let held = self.inventory.get(key).expect("what may go is there");
                    let mut freed = 0;
                    for blob in held.files(outputs) {
                        if !needed.contains(&blob.digest) && !self.roots.needs_blob(&blob.digest) {
                            freed += self.store.drop_blob(&blob.digest)?;
                        }
                    }
                    Some(freed)
                }
                What::Blob(digest) => Some(self.store.drop_blob(digest)?),
                What::Draft(path) | What::Quarantined(path) => {
                    remove(path)?;
                    Some(item.bytes)
                }
                What::Attempt { dir, key } => {
                    let went = self.attempt(dir, key.as_ref(), item.age_ms)?;
                    went.then_some(item.bytes)
                }
            };
            match freed {
                None => swept.spared.push(item),
                Some(freed) => {
                    item.bytes = freed;
                    swept.gone.push(item);
                }
            }
        }
        Ok(())
    }

    /// Asked under the lock: whether what was true when the proposal was made still is.
    fn may_go(&self, item: &Item) -> bool {
        match &item.what {
            What::Record { key, .. } => {
                let same = |held: &crate::gc::inventory::Held| Some(held.stamp) == item.stamp;
                self.roots.blind.is_empty()
                    && self.roots.why(key).is_none()
                    && self.inventory.get(key).is_some_and(same)
            }
            What::Blob(digest) => {
                let young = |changed_ms: u64| {
                    self.policy.now_ms.saturating_sub(changed_ms) < collect::LITTER_AGE_MS
                };
                blob(self.store, digest.clone()).is_some_and(|b| !young(b.changed_ms))
                    && !self.roots.needs_blob(digest)
                    && !self.named.contains(digest)
            }
            What::Attempt { dir, .. } => {
                let name = dir.file_name().unwrap_or_default().to_string_lossy();
                !self.roots.needs_attempt(&name)
            }
            What::Draft(_) | What::Quarantined(_) => true,
        }
    }

    /// Under the lock of its key, so that nobody is in it; and only if it is the one that was proposed, untouched since: names of
    /// attempts come again.
    fn attempt(&self, dir: &Path, key: Option<&Key>, age_ms: u64) -> Result<bool> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let keys = match key {
            Some(key) => vec![key.clone()],
            None => keys_of(self.store, &name)?,
        };
        let mut locks = vec![];
        for key in &keys {
            match self.store.try_lock(key)? {
                None => return Ok(false),
                Some(lock) => locks.push(lock),
            }
        }
        let attempt = Attempt {
            dir: dir.to_path_buf(),
        };
        let untouched =
            collect::newest(&attempt, self.policy.now_ms).is_some_and(|now| now >= age_ms);
        if untouched {
            remove(dir)?;
        }
        Ok(untouched)
    }
}

/// Nothing where it is gone already.
fn remove(path: &Path) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let removed = match meta.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    removed.with_context(|| format!("removing {}", path.display()))
}

/// Comes under a cap by itself, after a run; nothing where the store is below.
pub fn collect(store: &Store, cap: u64, patience: Duration) -> Result<Option<Swept>> {
    if crate::gc::sizes::total(store)? <= cap {
        return Ok(None);
    }
    let policy = Policy {
        now_ms: clock::now_ms(),
        cap: Some(cap),
        runs: crate::gc::roots::LAST_RUNS,
        older_than_ms: 0,
    };
    let proposal = collect::propose(store, &policy)?;
    Ok(Some(sweep(store, &policy, proposal.items, patience)?))
}
