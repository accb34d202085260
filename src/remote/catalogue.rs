//! A remote's index, as far as it came in time. Packs that are known from before do not come again.

use crate::pack::{self, Pack};
use crate::patience::Waiting;
use crate::place::Place;
use anyhow::{Result, ensure};
use base::hash::Key;
use base::text::count;
use engine::store::index::pack::raw;
use engine::store::remote::Signed;
use futures_util::{StreamExt, stream};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

pub(crate) const FOLDER: &str = "index";

/// The version of the layout that this program reads and writes.
const FORMAT: u32 = 1;

/// Packs that come at once.
const AT_ONCE: usize = 32;

/// From so many on, packs are made one.
const MANY: usize = 64;

#[derive(Default)]
pub(crate) struct Catalogue {
    /// By name.
    packs: Vec<(String, Pack)>,
    /// Parts that are none, by name.
    pub damaged: BTreeSet<String>,
    /// Of every record the first bytes of its key, its pack and its row there, sorted: one look for a key, however many packs there are.
    rows: Vec<(u64, u32, u32)>,
}

/// What is to be told beside it.
pub(crate) type Remark = Option<String>;

impl Catalogue {
    /// In the time that patience leaves. `cache`: the folder of packs that came before.
    pub async fn load(place: &Place, cache: Option<&Path>) -> Result<(Catalogue, Remark)> {
        let (began, left) = (Instant::now(), place.patience.left());
        let (format, listed) = tokio::join!(
            place.get("format", 64),
            place.list(FOLDER, Waiting::Somebody)
        );
        check(format?.map(|got| got.bytes))?;
        let listed = listed?;
        let mut packs: BTreeMap<String, Pack> = BTreeMap::new();
        let (mut wanted, mut damaged, mut wrong) = (vec![], BTreeSet::new(), vec![]);
        for entry in &listed {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            // An empty one was taken away by somebody who may remove nothing.
            if !name.ends_with(".pack") || entry.size == 0 {
                continue;
            }
            if entry.size > pack::MOST {
                wrong.push(format!("part {name} of its index is too large to be read"));
                damaged.insert(name.to_string());
                continue;
            }
            let known = cache.and_then(|cache| fs::read(cache.join(name)).ok());
            let known = known.filter(|bytes| bytes.len() as u64 == entry.size);
            match known.and_then(|bytes| Pack::read(name, &bytes).ok()) {
                Some(pack) => drop(packs.insert(name.to_string(), pack)),
                None => wanted.push(name.to_string()),
            }
        }
        let asked = wanted.len();
        let get = |name: String| async move {
            let got = place.get(&format!("{FOLDER}/{name}"), pack::MOST).await;
            (name, got)
        };
        let mut coming = stream::iter(wanted).map(get).buffer_unordered(AT_ONCE);
        let mut came = 0;
        let all = async {
            while let Some((name, got)) = coming.next().await {
                came += 1;
                let got = match got {
                    Ok(Some(got)) => got,
                    // One that is gone is part of another by now.
                    Ok(None) => continue,
                    Err(error) => {
                        wrong.push(format!("part {name} of its index did not come: {error:#}"));
                        continue;
                    }
                };
                match Pack::read(&name, &got.bytes) {
                    Ok(pack) => {
                        keep(cache, &name, &got.bytes);
                        packs.insert(name, pack);
                    }
                    Err(error) => {
                        wrong.push(format!("part {name} of its index is not read: {error:#}"));
                        damaged.insert(name);
                    }
                }
            }
        };
        // One clock for all of it, which ends before that of a single request does.
        let left = left.saturating_sub(began.elapsed()).mul_f64(0.9);
        let in_time = tokio::time::timeout(left, all).await;
        let remark = match in_time {
            Ok(()) => told(wrong, damaged.len()),
            Err(_) => Some(format!(
                "its index is slow: {came} of {asked} new parts came in time; the others come next time"
            )),
        };
        Ok((Catalogue::of(packs, damaged), remark))
    }

    fn of(packs: BTreeMap<String, Pack>, damaged: BTreeSet<String>) -> Catalogue {
        let packs: Vec<(String, Pack)> = packs.into_iter().collect();
        let mut rows = vec![];
        for (at, (_, pack)) in packs.iter().enumerate() {
            rows.extend((0..pack.len()).map(|row| (head(pack.key(row)), at as u32, row as u32)));
        }
        rows.sort_unstable();
        Catalogue {
            packs,
            damaged,
            rows,
        }
    }

    /// What the packs have of a key: mostly one text, with all that answer for it. Anybody who may write to the index may have put
    /// another beside it.
    pub fn find(&self, key: &Key) -> Vec<Signed> {
        let Some(wanted) = raw(key.as_str()) else {
            return vec![];
        };
        let from = self.rows.partition_point(|row| row.0 < head(&wanted));
        let near = self.rows[from..].iter();
        let near = near.take_while(|row| row.0 == head(&wanted));
        let has = near.filter_map(|(_, pack, row)| {
            let (pack, row) = (&self.packs[*pack as usize].1, *row as usize);
            (pack.key(row) == wanted).then(|| pack.entry(row))?
        });
        let mut found: Vec<Signed> = vec![];
        for signed in has {
            match found.iter_mut().find(|other| other.text == signed.text) {
                Some(other) => add(other, signed),
                None => found.push(signed),
            }
        }
        found
    }

    pub fn keys(&self) -> BTreeSet<Key> {
        let packs = self.packs.iter();
        packs.flat_map(|(_, pack)| pack.keys()).collect()
    }

    /// The packs that are to be one, where they are many: their names, and all that they have.
    pub fn crowded(&self) -> Option<(Vec<String>, BTreeMap<Key, Signed>)> {
        (self.packs.len() >= MANY).then(|| {
            let names = self.packs.iter().map(|(name, _)| name.clone()).collect();
            let mut all: BTreeMap<Key, Signed> = BTreeMap::new();
            let mut doubtful = BTreeSet::new();
            for (key, signed) in self.packs.iter().flat_map(|(_, pack)| pack.all()) {
                match all.entry(key) {
                    Entry::Vacant(free) => drop(free.insert(signed)),
                    Entry::Occupied(mut there) if there.get().text == signed.text => {
                        add(there.get_mut(), signed);
                    }
                    // Which one stands is asked for by the key.
                    Entry::Occupied(there) => drop(doubtful.insert(there.key().clone())),
                }
            }
            // Nor is it known whose word counts where not all have room: anybody's could take that of somebody trusted.
            let fits = |signed: &Signed| signed.signatures.len() <= pack::SIGNERS;
            all.retain(|key, signed| !doubtful.contains(key) && fits(signed));
            (names, all)
        })
    }
}

/// What is wrong with parts of an index: one of them, how many others, and what to do about those that are damaged.
fn told(mut wrong: Vec<String>, damaged: usize) -> Remark {
    let others = wrong.len().checked_sub(1)?;
    let mut told = wrong.swap_remove(0);
    if others > 0 {
        told += &format!(" (and {} like it)", count(others as u64, "other", "others"));
    }
    if damaged > 0 {
        told += "; `pipe push` by anybody who gives there puts the index right";
    }
    Some(told)
}

/// The first bytes of a key.
fn head(key: &[u8]) -> u64 {
    let head = key[..8].try_into();
    u64::from_be_bytes(head.expect("a key has 32 bytes"))
}

/// Who answers for the same text.
fn add(to: &mut Signed, more: Signed) {
    for signature in more.signatures {
        if !to.signatures.contains(&signature) {
            to.signatures.push(signature);
        }
    }
}

/// A remote of a newer version is not touched.
fn check(format: Option<Vec<u8>>) -> Result<()> {
    let Some(format) = format else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&format);
    if is_torn(&format) {
        return Ok(());
    }
    let format = text.trim().parse::<u32>();
    ensure!(
        format.as_ref().is_ok_and(|format| *format <= FORMAT),
        "it has format {:?}, made by a newer version; this one reads up to {FORMAT}",
        text.trim()
    );
    Ok(())
}

/// An upload that was cut off may have taken the name.
pub(crate) fn is_torn(format: &[u8]) -> bool {
    format.trim_ascii().is_empty()
}

pub(crate) fn format() -> Vec<u8> {
    format!("{FORMAT}\n").into_bytes()
}

/// For next time; where it cannot be kept, it comes again.
fn keep(cache: Option<&Path>, name: &str, bytes: &[u8]) {
    if let Some(cache) = cache {
        let _ = fs::create_dir_all(cache);
        let _ = engine::system::files::replace(cache, &cache.join(name), bytes);
    }
}
