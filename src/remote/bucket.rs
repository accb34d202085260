//! A folder or a bucket as the second tier of a store.
//!
//! ```text
//! format                   the version of this layout
//! objects/ab/DIGEST        blobs
//! actions/ab/KEY.json      records, create-only
//! sigs/ab/KEY/SIGNER.TEXT.sig   who answers for a record of these bytes, a file each; there before the record
//! index/NAME.pack          records and signatures of several keys: a hint
//! calls/NAME               answers of services, where somebody shares them
//! leases/ab/KEY            who makes what right now
//! ```

use crate::address::Address;
use crate::care::Care;
use crate::catalogue::Catalogue;
use crate::leases::{self, Written};
use crate::pack;
use crate::patience::{Patience, Waiting, innermost};
use crate::place::{Entry, Place, TooLarge};
use anyhow::{Context, Result, anyhow};
use base::hash::{Digest, Key};
use engine::store::remote::{
    Lacking, Leased, Published, Reconciled, Remote, Signed, Terms, Version, Wait,
};
use engine::system::files::Blob;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// A blob with fewer bytes is written again rather than looked for.
const SMALL: u64 = 1 << 20;

/// One that is older is written again, so that whoever makes room there sees that it is in use.
const OLD_MS: u64 = 7 * 86_400_000;

/// From so many blobs on, whether they are there is seen in lists.
const LISTED: usize = 1000;

/// So many records wait for the index at most.
const UNSETTLED: usize = 256;

pub struct Bucket {
    pub(crate) address: Address,
    variables: BTreeMap<String, String>,
    cache: Option<PathBuf>,
    pub(crate) patience: Arc<Patience>,
    moved: Arc<AtomicU64>,
    /// Made when it is first asked; or why it could not be.
    place: OnceLock<Result<Place, String>>,
    catalogue: OnceLock<Catalogue>,
    /// Published, and in no pack yet.
    unsettled: Mutex<BTreeMap<Key, Signed>>,
    /// Nothing is given to it.
    pub(crate) closed_to_us: AtomicBool,
    pub(crate) failures: AtomicUsize,
    pub(crate) marked: AtomicBool,
    /// How keys are leased; nothing where nobody wants that.
    terms: Option<Terms>,
    /// It takes no leases from us, and whether that was told.
    no_leases: AtomicBool,
    no_leases_told: AtomicBool,
    pub(crate) care: Care,
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
            terms: Some(Terms::default()),
            no_leases: AtomicBool::new(false),
            no_leases_told: AtomicBool::new(false),
            care: Care::default(),
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

    /// How keys are leased; nothing: not at all.
    pub fn with_leases(self, terms: Option<Terms>) -> Bucket {
        Bucket { terms, ..self }
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

    /// Whether it can be used at all: its folder is there, its settings make sense. Connects to nothing.
    pub fn ready(&self) -> Result<()> {
        self.place().map(drop)
    }

    pub(crate) fn place(&self) -> Result<&Place> {
        let make = || {
            let (patience, moved) = (self.patience.clone(), self.moved.clone());
            let made = Place::new(&self.address, &self.variables, patience, moved);
            made.map_err(|error| {
                let why = format!("{error:#}");
                self.patience.end(format!("it is left alone: {why}"));
                why
            })
        };
        let place = self.place.get_or_init(make).as_ref();
        place.map_err(|why| anyhow!("{} is left alone: {why}", self.address.text()))
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

    /// Something that is asked of leases.
    fn timed<'a, T, F: Future<Output = Result<T>>>(
        &'a self,
        wait: Wait,
        ask: impl FnOnce(&'a Place, Waiting) -> F,
    ) -> Result<T> {
        let place = self.place()?;
        let waiting = match wait {
            Wait::Node => Waiting::Somebody,
            Wait::Aside(most) => Waiting::Aside(most),
        };
        let began = Instant::now();
        let answer = place.block_on(ask(place, waiting));
        if wait == Wait::Node {
            self.patience.took(began.elapsed());
        }
        answer
    }

    /// Puts what was published since into the index.
    fn settle_index(&self) -> Result<()> {
        let records = std::mem::take(&mut *self.unsettled());
        if records.is_empty() {
            return Ok(());
        }
        let settled = || -> Result<()> {
            let place = self.place()?;
            place.block_on(async {
                self.put_packs(place, pack::packs(&records)?).await?;
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
            Ok(catalogue) if self.is_open() && !self.care.is_gone(key) => catalogue.find(key),
            _ => vec![],
        }
    }

    fn records(&self, keys: &[&Key], trusted: &[String]) -> Vec<Result<Option<Signed>>> {
        let Ok(place) = self.place() else {
            return keys.iter().map(|_| Ok(None)).collect();
        };
        let began = Instant::now();
        let found = place.block_on(self.look_signed_all(place, keys, trusted));
        self.patience.took(began.elapsed());
        let told = |found: Result<Option<(Signed, bool)>>| match found {
            // A request that failed is told where it ends the patience with the remote; and at once to who asked for nothing else.
            Err(error) if !self.patience.is_endless() && !error.is::<TooLarge>() => Ok(None),
            found => Ok(found?.map(|(signed, _)| signed)),
        };
        found.into_iter().map(told).collect()
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
                self.care.is_back(key);
                let mut unsettled = self.unsettled();
                unsettled.insert(key.clone(), record.clone());
                unsettled.len() < UNSETTLED
            }
            Published::Other(_) => true,
        };
        // One that takes nothing at all says so itself.
        let no_leases = self.no_leases.load(Ordering::Relaxed);
        if no_leases && !self.no_leases_told.swap(true, Ordering::Relaxed) {
            self.say("it takes records and no leases (below `leases/`), so two machines may make the same at once");
        }
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
            if blob.size >= SMALL && !self.care.is_doubted(&blob.digest) {
                let there = place.head(&path).await?;
                let now_ms = place.now_ms().await?;
                let young = |e: &Entry| now_ms.saturating_sub(e.modified_ms) < OLD_MS;
                if there.is_some_and(|e| e.size == blob.size && young(&e)) {
                    return Ok(());
                }
            }
            let coming = self.care.gives();
            self.put_blob(place, blob, from).await?;
            coming.arrived(blob, from);
            Ok(())
        })
    }

    fn doubt(&self, digest: &Digest) {
        self.care.doubt(digest);
    }

    fn reconcile(
        &self,
        whole: bool,
        sound: &dyn Fn(&Key, &str) -> Result<()>,
    ) -> Result<Reconciled> {
        let place = self.place()?;
        // What came of it before says nothing of what lies there.
        let catalogue = place.block_on(Catalogue::load(place, None))?.0;
        place.block_on(self.reconcile_at(place, &catalogue, whole, sound))
    }

    fn lacking(&self, blobs: &[&Blob]) -> Result<Lacking> {
        let place = self.place()?;
        let sizes = match blobs.len() > LISTED {
            true => place.block_on(self.sizes_by_list(place, blobs)),
            false => place.block_on(self.sizes_by_name(place, blobs)),
        };
        let mut lacking = Lacking::default();
        for (blob, size) in sizes {
            let digest = blob.digest.clone();
            match size {
                Ok(None) => drop(lacking.absent.insert(digest)),
                Ok(Some(size)) if size != blob.size || self.care.is_doubted(&digest) => {
                    lacking.wrong.insert(digest);
                }
                Ok(Some(_)) => {}
                Err(error) => drop(lacking.untold.insert(digest, innermost(&error))),
            }
        }
        Ok(lacking)
    }

    fn settle(&self) -> Result<()> {
        let indexed = self.settle_index();
        let back = self.put_back();
        let back = back.with_context(|| format!("looking again at {}", self.address.text()));
        match (indexed, back) {
            (Err(one), Err(other)) => Err(anyhow!("{one:#}; {other:#}")),
            (indexed, back) => indexed.and(back),
        }
    }

    fn terms(&self) -> Option<Terms> {
        let takes = self.takes() && !self.no_leases.load(Ordering::Relaxed);
        self.terms.filter(|_| takes)
    }

    fn lease(&self, key: &Key, wait: Wait) -> Result<Option<Leased>> {
        self.timed(wait, |place, waiting| async move {
            match self.address.is_folder() {
                true => leases::read_file(place, key, waiting).await,
                false => leases::read(place, key, waiting).await,
            }
        })
    }

    fn put_lease(
        &self,
        key: &Key,
        text: &str,
        over: Option<&Version>,
        wait: Wait,
    ) -> Result<Option<Version>> {
        let written = self.timed(wait, |place, waiting| async move {
            match self.address.is_folder() {
                true => leases::write_file(place, key, text, over, waiting).await,
                false => leases::write(place, key, text, over, waiting).await,
            }
        })?;
        match written {
            Written::Is(version) => Ok(Some(version)),
            Written::Not => Ok(None),
            Written::Refused(error) => {
                self.no_leases.store(true, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

pub(crate) fn object_path(blob: &Blob) -> String {
    format!("objects/{}/{}", blob.digest.shard(), blob.digest)
}
