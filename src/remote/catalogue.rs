//! A remote's index, as far as it came in time. Packs that are known from before do not come again.

use crate::pack::{self, Pack};
use crate::patience::Waiting;
use crate::place::Place;
use anyhow::{Result, ensure};
use base::hash::Key;
use engine::store::remote::Signed;
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub(crate) const FOLDER: &str = "index";

/// The version of the layout that this program reads and writes.
const FORMAT: u32 = 1;

/// Packs that come at once.
const AT_ONCE: usize = 16;

/// From so many on, packs are made one.
const MANY: usize = 64;

#[derive(Default)]
pub(crate) struct Catalogue {
    packs: BTreeMap<String, Pack>,
}

/// What is to be told beside it.
pub(crate) type Remark = Option<String>;

impl Catalogue {
    /// In the time that patience leaves. `cache`: the folder of packs that came before.
    pub async fn load(place: &Place, cache: Option<&Path>) -> Result<(Catalogue, Remark)> {
        let (format, listed) = tokio::join!(
            place.get("format", 64),
            place.list(FOLDER, Waiting::Somebody)
        );
        check(format?.map(|got| got.bytes))?;
        let listed = listed?;
        let mut catalogue = Catalogue::default();
        let mut wanted = vec![];
        for entry in &listed {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            if !name.ends_with(".pack") || entry.size > pack::MOST {
                continue;
            }
            let known = cache.and_then(|cache| fs::read(cache.join(name)).ok());
            match known.and_then(|bytes| Pack::read(name, &bytes).ok()) {
                Some(pack) => drop(catalogue.packs.insert(name.to_string(), pack)),
                None => wanted.push(name.to_string()),
            }
        }
        let asked = wanted.len();
        let get = |name: String| async move {
            let got = place.get(&format!("{FOLDER}/{name}"), pack::MOST).await;
            (name, got)
        };
        let mut coming = stream::iter(wanted).map(get).buffer_unordered(AT_ONCE);
        let (mut came, mut wrong) = (0, None);
        let all = async {
            while let Some((name, got)) = coming.next().await {
                // One that is gone is part of another by now.
                let Some(got) = got? else {
                    came += 1;
                    continue;
                };
                came += 1;
                match Pack::read(&name, &got.bytes) {
                    Ok(pack) => {
                        keep(cache, &name, &got.bytes);
                        catalogue.packs.insert(name, pack);
                    }
                    Err(error) => {
                        wrong = Some(format!("part {name} of its index is not read: {error:#}"))
                    }
                }
            }
            anyhow::Ok(())
        };
        let in_time = tokio::time::timeout(place.patience.left(), all).await;
        let remark = match in_time {
            Ok(all) => {
                all?;
                wrong
            }
            Err(_) => Some(format!(
                "its index is slow: {came} of {asked} new parts came in time; the others come next time"
            )),
        };
        Ok((catalogue, remark))
    }

    pub fn find(&self, key: &Key) -> Option<Signed> {
        self.packs.values().find_map(|pack| pack.find(key))
    }

    /// The packs that are to be one, where they are many: their names, and all that they have.
    pub fn crowded(&self) -> Option<(Vec<String>, BTreeMap<Key, Signed>)> {
        (self.packs.len() >= MANY).then(|| {
            let names = self.packs.keys().cloned().collect();
            let all = self.packs.values().flat_map(Pack::all).collect();
            (names, all)
        })
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
