//! A folder or a bucket as the second tier of a store.
//!
//! ```text
//! format                   the version of this layout
//! objects/ab/DIGEST        blobs
//! actions/ab/KEY.json      records, create-only
//! sigs/ab/KEY/SIGNER.TEXT.sig   who answers for a record of these bytes, a file each; there before the record
//! index/NAME.pack          records and signatures of several keys: a hint
//! calls/NAME               answers of services, where somebody shares them
//! ```

use crate::address::Address;
use crate::catalogue::{self, Catalogue};
use crate::pack;
use crate::patience::{Answer, Patience, Waiting, innermost, of_the_disk};
use crate::place::{Entry, Got, Place, Put, at_leisure};
use anyhow::{Context, Result, anyhow, bail};
use base::bounded;
use base::hash::Key;
use engine::store::remote::{Published, Remote, Signature, Signed};
use engine::system::clock;
use engine::system::files::Blob;
use futures_util::{StreamExt, stream};
use object_store::Error;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// The largest record and the largest signature.
const MOST_RECORD: u64 = 16 << 20;
const MOST_SIGNATURE: u64 = 4 << 10;
const SIGNERS: usize = 64;

/// Records that are read at once.
const AT_ONCE: usize = 16;

/// A blob with fewer bytes is written again rather than looked for.
const SMALL: u64 = 1 << 20;

/// One that is older is written again, so that whoever makes room there sees that it is in use.
const OLD_MS: u64 = 7 * 86_400_000;

/// So many records wait for the index at most.
const UNSETTLED: usize = 256;

/// Pushes that fail, in a row, before nothing more is pushed.
const FAILURES: usize = 3;

pub struct Bucket {
    address: Address,
    variables: BTreeMap<String, String>,
    cache: Option<PathBuf>,
    patience: Arc<Patience>,
    moved: Arc<AtomicU64>,
    /// Made when it is first asked; none where it could not be.
    place: OnceLock<Option<Place>>,
    catalogue: OnceLock<Catalogue>,
    /// Published, and in no pack yet.
    unsettled: Mutex<BTreeMap<Key, Signed>>,
    /// Nothing is given to it.
    closed_to_us: AtomicBool,
    failures: AtomicUsize,
    marked: AtomicBool,
}

impl Bucket {
    /// Connects to nothing yet. `variables`: of the environment, those that say who one is.
    pub fn new(address: Address, variables: BTreeMap<String, String>) -> Bucket {
        Bucket {
            address,
            variables,
            cache: None,
            patience: Arc::new(Patience::new()),
            moved: Arc::default(),
            place: OnceLock::new(),
            catalogue: OnceLock::new(),
            unsettled: Mutex::default(),
            closed_to_us: AtomicBool::new(false),
            failures: AtomicUsize::new(0),
            marked: AtomicBool::new(false),
        }
    }

    /// Keeps what came of the index below this folder.
    pub fn with_cache(mut self, folder: &Path) -> Bucket {
        let id = &blake3::hash(self.address.text().as_bytes()).to_hex()[..16];
        self.cache = Some(folder.join(id));
        self
    }

    /// Gives it nothing.
    pub fn read_only(self) -> Bucket {
        self.closed_to_us.store(true, Ordering::Relaxed);
        self
    }

    /// To be told beside what goes on.
    pub fn say(&self, text: &str) {
        self.patience.say(text.into());
    }

    /// For who moves things on purpose, and waits for them.
    pub fn patiently(self) -> Bucket {
        self.patience.have_more();
        self
    }

    /// Everything below a folder; for who looks after the remote itself.
    pub fn entries(&self, folder: &str) -> Result<Vec<Entry>> {
        let place = self.place()?;
        place.block_on(place.list(folder, at_leisure()))
    }

    /// Of so many bytes at most; nothing where there is none.
    pub fn read(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let place = self.place()?;
        Ok(place.block_on(place.get(path, most))?.map(|got| got.bytes))
    }

    /// What lies there now.
    pub fn entry(&self, path: &str) -> Result<Option<Entry>> {
        let place = self.place()?;
        place.block_on(place.head(path))
    }

    /// Several, by their order.
    pub fn read_all(&self, paths: &[String], most: u64) -> Result<Vec<Option<Vec<u8>>>> {
        let place = self.place()?;
        place.block_on(async {
            let each = stream::iter(paths).map(|path| place.get(path, most));
            let mut coming = each.buffered(AT_ONCE);
            let mut all = vec![];
            while let Some(got) = coming.next().await {
                all.push(got?.map(|got| got.bytes));
            }
            Ok(all)
        })
    }

    /// Create-only: false where there is something of this name.
    pub fn add(&self, path: &str, bytes: Vec<u8>) -> Result<bool> {
        let place = self.place()?;
        match place.block_on(place.put(path, bytes, Put::New))? {
            Answer::Given(()) => Ok(true),
            Answer::Refused(Error::AlreadyExists { .. }) => Ok(false),
            Answer::Refused(error) => Err(error.into()),
        }
    }

    pub fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let place = self.place()?;
        let answer = place.block_on(place.put(path, bytes, Put::Over))?;
        answer.given()
    }

    pub fn remove(&self, path: &str) -> Result<()> {
        let place = self.place()?;
        place.block_on(place.remove(path))
    }

    fn place(&self) -> Result<&Place> {
        let make = || {
            let (patience, moved) = (self.patience.clone(), self.moved.clone());
            let made = Place::new(&self.address, &self.variables, patience, moved);
            made.map_err(|error| {
                self.patience.end(format!("it is left alone: {error:#}"));
            })
            .ok()
        };
        let place = self.place.get_or_init(make).as_ref();
        place.ok_or_else(|| anyhow!("{} is left alone", self.address.text()))
    }

    fn catalogue(&self) -> Result<&Catalogue> {
        let place = self.place()?;
        let load = || {
            let loaded = place.block_on(Catalogue::load(place, self.cache.as_deref()));
            match loaded {
                Ok((catalogue, remark)) => {
                    remark.into_iter().for_each(|text| self.patience.say(text));
                    catalogue
                }
                Err(error) => {
                    // What is not read cannot be kept up either.
                    if self.patience.is_open() {
                        let told = innermost(&error);
                        self.patience.end(format!("it is left alone: {told}"));
                    }
                    Catalogue::default()
                }
            }
        };
        Ok(self.catalogue.get_or_init(load))
    }

    fn unsettled(&self) -> MutexGuard<'_, BTreeMap<Key, Signed>> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of something that was given to it.
    fn given<T>(&self, answer: Result<Answer<T>>) -> Result<Answer<T>> {
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
    async fn mark(&self, place: &Place) -> Result<()> {
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
        self.marked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The text that the key has at the remote, and which version of it that is.
    async fn look(&self, place: &Place, key: &Key) -> Result<Option<(String, Got)>> {
        let got = place.get(&record_path(key), MOST_RECORD).await?;
        Ok(got.map(|got| (String::from_utf8_lossy(&got.bytes).into_owned(), got)))
    }

    /// With who answers for it.
    async fn look_signed(&self, place: &Place, key: &Key) -> Result<Option<Signed>> {
        let Some((text, _)) = self.look(place, key).await? else {
            return Ok(None);
        };
        let signatures = self.signatures(place, key).await?;
        Ok(Some(Signed { text, signatures }))
    }

    async fn signatures(&self, place: &Place, key: &Key) -> Result<Vec<Signature>> {
        let folder = signature_folder(key);
        let listed = place.list(&folder, Waiting::Somebody).await?;
        let mut found = vec![];
        for entry in listed.iter().take(SIGNERS) {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            let Some(signer) = name.strip_suffix(".sig") else {
                continue;
            };
            let signer = signer.split('.').next().unwrap_or_default();
            let Some(got) = place
                .get(&format!("{folder}/{name}"), MOST_SIGNATURE)
                .await?
            else {
                continue;
            };
            if let (Ok(text), true) = (String::from_utf8(got.bytes), is_signer(signer)) {
                found.push(Signature {
                    signer: signer.to_string(),
                    text: text.trim_end().to_string(),
                });
            }
        }
        Ok(found)
    }

    async fn publish_at(
        &self,
        place: &Place,
        key: &Key,
        record: &Signed,
        sound: &dyn Fn(&str) -> bool,
    ) -> Result<Published> {
        self.mark(place).await?;
        for signature in &record.signatures {
            // By its text: another record of the key, made by the same hand elsewhere, keeps its own.
            let of = &blake3::hash(record.text.as_bytes()).to_hex()[..16];
            let path = format!("{}/{}.{of}.sig", signature_folder(key), signature.signer);
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
            let Some((there, got)) = self.look(place, key).await? else {
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
                let signatures = self.signatures(place, key).await?;
                let text = there;
                return Ok(Published::Other(Box::new(Signed { text, signatures })));
            }
            how = match refused {
                // A folder knows no versions.
                Some(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                    place.remove(&path).await?;
                    Put::New
                }
                _ => Put::Instead(got.version),
            };
        }
        bail!("what was written under {path} is not what is read there")
    }

    /// Packs that have become many are made one; who may not remove them leaves them.
    async fn gather(&self, place: &Place, catalogue: &Catalogue) -> Result<()> {
        let Some((names, all)) = catalogue.crowded() else {
            return Ok(());
        };
        let (name, bytes) = pack::pack(&all)?;
        if bytes.len() as u64 > pack::MOST {
            return Ok(());
        }
        let path = format!("{}/{name}", catalogue::FOLDER);
        self.given(place.put(&path, bytes, Put::Over).await)?
            .given()?;
        for old in names.iter().filter(|old| **old != name) {
            place
                .remove(&format!("{}/{old}", catalogue::FOLDER))
                .await?;
        }
        Ok(())
    }
}

impl Remote for Bucket {
    fn name(&self) -> &str {
        self.address.text()
    }

    fn is_open(&self) -> bool {
        self.patience.is_open()
    }

    fn takes(&self) -> bool {
        self.is_open() && !self.closed_to_us.load(Ordering::Relaxed)
    }

    fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn close(&self) {
        self.patience.close();
    }

    fn remark(&self) -> Option<String> {
        let text = self.patience.remark()?;
        Some(format!("the remote {}: {text}", self.address.text()))
    }

    fn known(&self, key: &Key) -> Vec<Signed> {
        match self.catalogue() {
            Ok(catalogue) if self.is_open() => catalogue.find(key),
            _ => vec![],
        }
    }

    fn record(&self, key: &Key) -> Result<Option<Signed>> {
        let Ok(place) = self.place() else {
            return Ok(None);
        };
        let began = Instant::now();
        let found = place.block_on(self.look_signed(place, key));
        self.patience.took(began.elapsed());
        // What went wrong is told when it is too much.
        Ok(found.unwrap_or(None))
    }

    fn publish(
        &self,
        key: &Key,
        record: &Signed,
        sound: &dyn Fn(&str) -> bool,
    ) -> Result<Published> {
        let place = self.place()?;
        let published = place.block_on(self.publish_at(place, key, record, sound))?;
        let settled = match &published {
            Published::New | Published::Same => {
                let mut unsettled = self.unsettled();
                unsettled.insert(key.clone(), record.clone());
                unsettled.len() < UNSETTLED
            }
            Published::Other(_) => true,
        };
        // The record is there; the index is a hint, and is asked for again.
        if !settled && let Err(error) = self.settle() {
            self.say(&format!("{error:#}"));
        }
        Ok(published)
    }

    fn pull(
        &self,
        blob: &Blob,
        from: u64,
        into: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let place = self.place()?;
        let path = object_path(blob);
        place.block_on(async {
            let mut pieces = std::pin::pin!(place.pieces(&path, from, blob.size));
            while let Some(piece) = pieces.next().await {
                into(&piece?)?;
            }
            Ok(())
        })
    }

    fn push(&self, blob: &Blob, from: &Path) -> Result<()> {
        let place = self.place()?;
        let path = object_path(blob);
        place.block_on(async {
            self.mark(place).await?;
            if blob.size >= SMALL {
                let there = place.head(&path).await?;
                let young = |e: &Entry| clock::now_ms().saturating_sub(e.modified_ms) < OLD_MS;
                if there.is_some_and(|e| e.size == blob.size && young(&e)) {
                    return Ok(());
                }
            }
            let reading = || format!("reading `{}`", blob.path);
            let mut file = File::open(from).with_context(reading)?;
            let answer = place.put_file(&path, &mut file, blob.size).await;
            let pushing = || format!("pushing `{}`", blob.path);
            self.given(answer).with_context(pushing)?.given()
        })
    }

    fn settle(&self) -> Result<()> {
        let records = std::mem::take(&mut *self.unsettled());
        if records.is_empty() {
            return Ok(());
        }
        let settled = || -> Result<()> {
            let place = self.place()?;
            let (name, bytes) = pack::pack(&records)?;
            let path = format!("{}/{name}", catalogue::FOLDER);
            place.block_on(async {
                self.given(place.put(&path, bytes, Put::Over).await)?
                    .given()?;
                if let Some(catalogue) = self.catalogue.get() {
                    // It is there, whatever becomes of the others.
                    let _ = self.gather(place, catalogue).await;
                }
                Ok(())
            })
        };
        let settled = settled().with_context(|| format!("indexing {}", self.address.text()));
        if settled.is_err() {
            self.unsettled().extend(records);
        }
        settled
    }
}

fn record_path(key: &Key) -> String {
    format!("actions/{}/{key}.json", key.shard())
}

fn signature_folder(key: &Key) -> String {
    format!("sigs/{}/{key}", key.shard())
}

fn object_path(blob: &Blob) -> String {
    format!("objects/{}/{}", blob.digest.shard(), blob.digest)
}

/// What may be the name of a signature.
fn is_signer(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= SIGNERS && bounded::is_name(name) && name.bytes().all(fits)
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
