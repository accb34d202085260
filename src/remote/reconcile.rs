//! The index of a remote and what lies there are made to agree: what the index lacks goes into it, and what it has of a key under whose name
//! lies nothing, or something else, is not believed by who pushes, so that the record is given again; parts of it that are none go. And
//! what went while it was given is given again.

use crate::bucket::Bucket;
use crate::care::{PAUSE, is_made, lock, room};
use crate::catalogue::{self, Catalogue};
use crate::pack;
use crate::place::{Place, Put, TooLarge, at_leisure};
use anyhow::{Result, anyhow};
use base::hash::Key;
use engine::store::remote::{Reconciled, Remote, Signed};
use engine::system::files::Blob;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

/// Records of one pack, and records that are read before more are.
const PACKED: usize = 4096;
const READ: usize = 64;

impl Bucket {
    pub(crate) async fn reconcile_at(
        &self,
        place: &Place,
        catalogue: &Catalogue,
        whole: bool,
        sound: &dyn Fn(&Key, &str) -> Result<()>,
    ) -> Result<Reconciled> {
        let listed = place.list("actions", at_leisure()).await?;
        let named = listed.iter().filter_map(|entry| {
            let name = entry.path.rsplit('/').next()?.strip_suffix(".json")?;
            Some((Key::parse(name)?, entry.size))
        });
        let sizes: BTreeMap<Key, u64> = named.collect();
        let mut gone = catalogue.keys();
        gone.retain(|key| !sizes.contains_key(key));
        gone.iter().for_each(|key| self.care.lose(key));
        let fits = |key: &Key, size: u64| {
            let known = catalogue.find(key);
            known.iter().any(|signed| signed.text.len() as u64 == size)
        };
        let doubtful = |&(key, size): &(&Key, &u64)| whole || !fits(key, *size);
        let wanted: Vec<&Key> = sizes.iter().filter(doubtful).map(|(key, _)| key).collect();
        let (mut reconciled, mut new) = (Reconciled::default(), BTreeMap::new());
        reconciled.gone = gone;
        let mut written = BTreeSet::new();
        for some in wanted.chunks(READ) {
            let found = self.look_signed_all(place, some, &[]).await;
            for (&key, found) in some.iter().zip(found) {
                let signed = match found {
                    // It was taken away meanwhile.
                    Ok(None) => continue,
                    Ok(Some(looked)) => sound(key, &looked.0.text).map(|()| looked),
                    Err(error) if error.is::<TooLarge>() => Err(error),
                    Err(error) if !self.is_open() => return Err(error),
                    Err(error) => {
                        let told = format!("{error:#}");
                        reconciled.unread.insert(key.clone(), told);
                        continue;
                    }
                };
                match signed {
                    // Of more words than there is room for nobody knows which count: it is asked for by its key.
                    Ok((_, false)) => {}
                    Ok((signed, true)) => {
                        let mut known = catalogue.find(key).into_iter();
                        match known.find(|known| known.text == signed.text) {
                            // Whoever gave the word that is not there gives it again.
                            Some(known) if !covers(&signed, &known) => self.care.lose(key),
                            Some(known) if covers(&known, &signed) => {}
                            _ => drop(new.insert(key.clone(), signed)),
                        }
                    }
                    Err(error) => {
                        self.care.lose(key);
                        let told = format!("{error:#}");
                        reconciled.wrong.insert(key.clone(), told);
                    }
                }
            }
            if new.len() >= PACKED {
                reconciled.indexed += new.len();
                written.extend(self.put_pack(place, &mut new).await?);
            }
        }
        reconciled.indexed += new.len();
        written.extend(self.put_pack(place, &mut new).await?);
        // What they had is in others by now, or in one of the same name.
        for name in &catalogue.damaged {
            let gone = match written.contains(name) {
                true => Ok(()),
                false => self.take_away(place, name).await,
            };
            match gone {
                Ok(()) => reconciled.parts += 1,
                Err(error) => self.say(&format!(
                    "part {name} of its index is damaged, and stays: {error:#}"
                )),
            }
        }
        Ok(reconciled)
    }

    /// A part of the index. Who may remove nothing leaves an empty one, which is none.
    async fn take_away(&self, place: &Place, name: &str) -> Result<()> {
        let path = format!("{}/{name}", catalogue::FOLDER);
        if place.remove(&path).await.is_ok() {
            return Ok(());
        }
        place.put(&path, vec![], Put::Over).await?.given()
    }

    /// Gives back what somebody removed meanwhile who made room. Who waits for nothing else waits until he has ended, or is past what he
    /// saw before.
    pub(crate) fn put_back(&self) -> Result<()> {
        let mut given = lock(&self.care.given).clone();
        let Some(last) = given.blobs.values().map(|gift| gift.at).max() else {
            return Ok(());
        };
        let place = self.place()?;
        let mut now = place.block_on(room(place))?;
        if given.room.as_ref() == Some(&now) && !is_made(&now) {
            self.care.are_there(&given.blobs, now);
            return Ok(());
        }
        while is_made(&now) && self.patience.is_endless() && last.elapsed() < PAUSE {
            thread::sleep(Duration::from_millis(500));
            now = place.block_on(room(place))?;
        }
        let still = is_made(&now) && last.elapsed() < PAUSE;
        let all: Vec<&Blob> = given.blobs.values().map(|gift| &gift.blob).collect();
        let lacking = self.lacking(&all)?;
        let mut failed = Ok(());
        for digest in lacking.absent.iter().chain(&lacking.wrong) {
            let gift = &given.blobs[digest];
            let put = place.block_on(self.put_blob(place, &gift.blob, &gift.from));
            if put.is_err() {
                given.blobs.remove(digest);
                failed = failed.and(put);
            }
        }
        // They are looked at again the next time.
        for told in lacking.untold() {
            failed = failed.and(Err(anyhow!(told)));
        }
        given
            .blobs
            .retain(|digest, _| !lacking.untold.contains_key(digest));
        match still {
            true => self.say(
                "somebody makes room there right now; `pipe push` puts back what went meanwhile",
            ),
            false => self.care.are_there(&given.blobs, now),
        }
        failed
    }

    /// Returns the names of the parts.
    async fn put_pack(
        &self,
        place: &Place,
        new: &mut BTreeMap<Key, Signed>,
    ) -> Result<BTreeSet<String>> {
        let packs = pack::packs(&std::mem::take(new))?;
        self.put_packs(place, packs).await
    }
}

/// Whether one has all words of the other.
fn covers(one: &Signed, other: &Signed) -> bool {
    let mut words = other.signatures.iter();
    words.all(|word| one.signatures.contains(word))
}
