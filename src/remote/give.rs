//! How records are given to a bucket, and what is there of them already. Who gives was there before the record: its blobs, and who answers
//! for it.

use crate::bucket::{Bucket, object_path};
use crate::catalogue::{self, Catalogue};
use crate::pack;
use crate::patience::{Answer, Waiting, innermost, of_the_disk};
use crate::place::{Got, Place, Put, at_leisure};
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::bounded;
use base::hash::Key;
use engine::store::remote::{Published, Signature, Signed};
use engine::system::files::Blob;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{Error, UpdateVersion};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;

/// The largest record and the largest signature.
const MOST_RECORD: u64 = 16 << 20;
const MOST_SIGNATURE: u64 = 4 << 10;

/// So much is listed of what lies beside a record: what a server tells in one answer. Whoever may write there may write more.
const BESIDE: usize = 1000;

/// Of the name of who signs, in letters.
const LONGEST: usize = 64;

/// Blobs that are asked for at once.
const AT_ONCE: usize = 16;

/// Pushes that fail, in a row, before nothing more is pushed.
const FAILURES: usize = 3;

impl Bucket {
    /// What became of something that was given to it.
    pub(crate) fn given<T>(&self, answer: Result<Answer<T>>) -> Result<Answer<T>> {
        match &answer {
            Ok(Answer::Given(_)) => self.failures.store(0, Ordering::Relaxed),
            Ok(Answer::Refused(error)) => {
                if let Some(why) = refuses(error) {
                    self.closed_to_us.store(true, Ordering::Relaxed);
                    bail!("{} takes nothing: {why}", self.address.text());
                }
            }
            Err(_) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                if failures >= FAILURES {
                    self.closed_to_us.store(true, Ordering::Relaxed);
                }
            }
        }
        answer
    }

    /// The version of the layout is there before anything else.
    pub(crate) async fn mark(&self, place: &Place) -> Result<()> {
        if self.marked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let answer = place.put("format", catalogue::format(), Put::New).await;
        match self.given(answer)? {
            Answer::Given(()) => {}
            Answer::Refused(Error::AlreadyExists { .. }) => {
                let there = place.get("format", 64).await?;
                if there.is_none_or(|got| catalogue::is_torn(&got.bytes)) {
                    let answer = place.put("format", catalogue::format(), Put::Over).await;
                    self.given(answer)?.given()?;
                }
            }
            Answer::Refused(error) => return Err(error.into()),
        }
        self.care.begin(place).await;
        self.marked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The text that the key has at the remote, and which version of it that is; none where that is too large for a record.
    async fn look(&self, place: &Place, key: &Key) -> Result<Option<(String, UpdateVersion)>> {
        let path = record_path(key);
        let got = place.get_any(Waiting::Somebody, &path, MOST_RECORD).await?;
        Ok(got.map(|got| (text(&got), got.version)))
    }

    /// Several at once, in their order.
    pub(crate) async fn look_signed_all(
        &self,
        place: &Place,
        keys: &[&Key],
        trusted: &[String],
    ) -> Vec<Result<Option<(Signed, bool)>>> {
        let each = stream::iter(keys).map(|key| self.look_signed(place, key, trusted));
        each.buffered(AT_ONCE).collect().await
    }

    /// With who answers for it, and whether these are all who do.
    async fn look_signed(
        &self,
        place: &Place,
        key: &Key,
        trusted: &[String],
    ) -> Result<Option<(Signed, bool)>> {
        let Some(got) = place.get(&record_path(key), MOST_RECORD).await? else {
            return Ok(None);
        };
        let text = text(&got);
        let (signatures, all) = self.signatures(place, key, &text, trusted).await?;
        Ok(Some((Signed { text, signatures }, all)))
    }

    /// Who answers for this text: whoever of those that are trusted does, and of the others as many as a part of the index takes; and
    /// whether these are all. However much somebody lays beside a record, the work has an end, and no word that counts is missed.
    async fn signatures(
        &self,
        place: &Place,
        key: &Key,
        text: &str,
        trusted: &[String],
    ) -> Result<(Vec<Signature>, bool)> {
        let (folder, ending) = (&signature_folder(key), &signature_ending(text));
        let somebody = Waiting::Somebody;
        let listed = place.list_some(folder, somebody, BESIDE).await?;
        let names = listed.iter().filter_map(|entry| {
            let name = entry.path.rsplit('/').next()?;
            name.strip_suffix(ending).filter(|name| is_signer(name))
        });
        let names: BTreeSet<&str> = names.collect();
        let is_whole = listed.len() < BESIDE;
        let trusted = trusted.iter().map(String::as_str);
        // Those that may not have been listed are asked for by name.
        let trusted: BTreeSet<&str> = trusted
            .filter(|signer| !is_whole || names.contains(signer))
            .collect();
        let others = names.difference(&trusted).take(pack::SIGNERS);
        let wanted = stream::iter(trusted.iter().chain(others)).map(|signer| {
            let counts = trusted.contains(signer);
            async move {
                let path = format!("{folder}/{signer}{ending}");
                match place.get_any(somebody, &path, MOST_SIGNATURE).await {
                    Ok(got) => Ok(got.map(|got| Signature {
                        signer: (*signer).to_string(),
                        text: String::from_utf8_lossy(&got.bytes).trim_end().into(),
                    })),
                    Err(error) if counts => Err(error),
                    Err(_) => Ok(None),
                }
            }
        });
        let found: Vec<Option<Signature>> = wanted.buffered(AT_ONCE).try_collect().await?;
        let found: Vec<Signature> = found.into_iter().flatten().collect();
        let all = is_whole && found.len() == names.len();
        Ok((found, all))
    }

    /// Whatever lies under its name.
    pub(crate) async fn put_blob(&self, place: &Place, blob: &Blob, from: &Path) -> Result<()> {
        let reading = || format!("reading `{}`", blob.path);
        let mut file = File::open(from).with_context(reading)?;
        let answer = place
            .put_file(&object_path(blob), &mut file, blob.size)
            .await;
        let pushing = || format!("pushing `{}`", blob.path);
        self.given(answer).with_context(pushing)?.given()
    }

    pub(crate) async fn publish_at(
        &self,
        place: &Place,
        key: &Key,
        record: &Signed,
        sound: &dyn Fn(&str) -> bool,
    ) -> Result<Published> {
        ensure!(
            record.text.len() as u64 <= MOST_RECORD,
            "it is larger than what is read as a record"
        );
        self.mark(place).await?;
        for signature in &record.signatures {
            let (folder, ending) = (signature_folder(key), signature_ending(&record.text));
            let path = format!("{folder}/{}{ending}", signature.signer);
            let bytes = format!("{}\n", signature.text).into_bytes();
            let answer = place.put(&path, bytes, Put::Over).await;
            self.given(answer)?.given()?;
        }
        let path = record_path(key);
        let mut how = Put::New;
        // A conflict may be reported where nothing is, and what is torn may be mended by somebody else meanwhile.
        for _ in 0..4 {
            let bytes = record.text.clone().into_bytes();
            let refused = match self.given(place.put(&path, bytes, how).await) {
                Ok(Answer::Given(())) => None,
                Ok(Answer::Refused(error)) => Some(error),
                // The answer may have been lost, and not the record.
                Err(error) => match self.look(place, key).await {
                    Ok(Some((there, _))) if there == record.text => None,
                    _ => return Err(error),
                },
            };
            let Some((there, version)) = self.look(place, key).await? else {
                how = Put::New;
                continue;
            };
            if there == record.text {
                return Ok(match refused {
                    None => Published::New,
                    Some(_) => Published::Same,
                });
            }
            if sound(&there) {
                return Ok(Published::Other(there));
            }
            how = match refused {
                // A folder knows no versions.
                Some(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                    place.remove(&path).await?;
                    Put::New
                }
                _ => Put::Instead(version),
            };
        }
        bail!("what was written under {path} is not what is read there")
    }

    /// Packs that have become many are made one; who may not remove them leaves them.
    pub(crate) async fn gather(&self, place: &Place, catalogue: &Catalogue) -> Result<()> {
        let Some((names, all)) = catalogue.crowded() else {
            return Ok(());
        };
        let packs = pack::packs(&all)?;
        if 2 * packs.len() > names.len() {
            return Ok(());
        }
        let new = self.put_packs(place, packs).await?;
        for old in names.iter().filter(|old| !new.contains(*old)) {
            place
                .remove(&format!("{}/{old}", catalogue::FOLDER))
                .await?;
        }
        Ok(())
    }

    /// Into the index. Returns their names.
    pub(crate) async fn put_packs(
        &self,
        place: &Place,
        packs: Vec<(String, Vec<u8>)>,
    ) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for (name, bytes) in packs {
            let path = format!("{}/{name}", catalogue::FOLDER);
            let answer = place.put(&path, bytes, Put::Over).await;
            self.given(answer)?.given()?;
            names.insert(name);
        }
        Ok(names)
    }

    /// Of each of these blobs its size there, asked for one by one; nothing where it is not there.
    pub(crate) async fn sizes_by_name<'b>(
        &self,
        place: &Place,
        blobs: &[&'b Blob],
    ) -> Vec<(&'b Blob, Result<Option<u64>>)> {
        let each = stream::iter(blobs).map(|blob| async move {
            let there = place.head(&object_path(blob)).await;
            (*blob, there.map(|there| there.map(|entry| entry.size)))
        });
        each.buffer_unordered(AT_ONCE).collect().await
    }

    /// As `sizes_by_name`, by lists of the folders where they lie.
    pub(crate) async fn sizes_by_list<'b>(
        &self,
        place: &Place,
        blobs: &[&'b Blob],
    ) -> Vec<(&'b Blob, Result<Option<u64>>)> {
        let mut shards: BTreeMap<&str, Vec<&'b Blob>> = BTreeMap::new();
        for blob in blobs {
            shards.entry(blob.digest.shard()).or_default().push(blob);
        }
        let each = stream::iter(shards).map(|(shard, blobs)| async move {
            let listed = place.list(&format!("objects/{shard}"), at_leisure()).await;
            let named = listed.map(|listed| -> BTreeMap<String, u64> {
                let named = listed.into_iter();
                named.map(|entry| (entry.path, entry.size)).collect()
            });
            let size = |blob: &Blob| match &named {
                Ok(named) => Ok(named.get(&object_path(blob)).copied()),
                Err(error) => Err(anyhow!(innermost(error))),
            };
            let sizes = blobs.into_iter().map(|blob| (blob, size(blob)));
            sizes.collect::<Vec<_>>()
        });
        let sizes: Vec<Vec<_>> = each.buffer_unordered(AT_ONCE).collect().await;
        sizes.into_iter().flatten().collect()
    }
}

fn text(got: &Got) -> String {
    String::from_utf8_lossy(&got.bytes).into_owned()
}

fn record_path(key: &Key) -> String {
    format!("actions/{}/{key}.json", key.shard())
}

fn signature_folder(key: &Key) -> String {
    format!("sigs/{}/{key}", key.shard())
}

/// What the name of a signature of this text ends with: another record of the key, made by the same hand elsewhere, keeps its own.
fn signature_ending(text: &str) -> String {
    format!(".{}.sig", &blake3::hash(text.as_bytes()).to_hex()[..16])
}

/// What may be the name of who signs.
fn is_signer(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= LONGEST && bounded::is_name(name) && name.bytes().all(fits)
}

/// Why it takes nothing from us, where that will not pass.
fn refuses(error: &Error) -> Option<String> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match (error, of_the_disk(error)) {
        (Error::PermissionDenied { .. }, _) => Some("this identity may only read".into()),
        (Error::Unauthenticated { .. }, _) => Some("it does not know who is asking".into()),
        (_, Some(PermissionDenied | ReadOnlyFilesystem)) => Some("it may only be read".into()),
        (_, Some(_)) => Some("it is full".into()),
        _ => None,
    }
}
