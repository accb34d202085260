//! Single requests to where a remote is, each with a limit to its time and to its size.

use crate::address::Address;
use crate::clock::Clock;
use crate::patience::{Answer, Patience, Waiting, no_answer};
use anyhow::{Context, Result, bail, ensure};
use base::threads;
use bytes::Bytes;
use engine::system::clock;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, UpdateVersion, WriteMultipart,
};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Bytes that come in one request, and requests that are ahead of what is written.
const PIECE: u64 = 4 << 20;
const AHEAD: usize = 8;

/// How often a piece is asked for.
const TRIES: usize = 3;

/// Bytes that go in one request, and requests of one file at once.
const PART: usize = 8 << 20;
const PARTS: usize = 4;

/// The slowest upload that is waited for, in bytes a second.
const SLOWEST: u64 = 256 << 10;

/// Entries of a listing.
const MOST_ENTRIES: usize = 10_000_000;

pub(crate) struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Until it is dropped.
    runtime: Option<Arc<Runtime>>,
    /// A thread that moves bytes while those who asked for them look at what came; ends when the sender is gone.
    mover: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    pub patience: Arc<Patience>,
    moved: Arc<AtomicU64>,
    clock: Clock,
    /// Where it is, if it is a folder.
    folder: Option<PathBuf>,
}

/// What lies at a remote.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Below the remote's prefix.
    pub path: String,
    pub size: u64,
    pub modified_ms: u64,
}

/// Bytes, and which version of the object they are of.
pub(crate) struct Got {
    pub bytes: Vec<u8>,
    pub version: UpdateVersion,
}

/// What lies under a name has more bytes than whatever may lie there.
#[derive(Debug)]
pub(crate) struct TooLarge {
    path: String,
    version: UpdateVersion,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "`{}` is too large for what it is", self.path)
    }
}

impl std::error::Error for TooLarge {}

/// How something is put.
pub(crate) enum Put {
    Over,
    /// Not where there is something.
    New,
    /// Only over this version.
    Instead(UpdateVersion),
}

/// What a folder's server does not answer hangs on a thread, and nobody waits for that.
impl Drop for Place {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.mover.take() {
            drop(stop);
            let _ = thread.join(); // It does nothing of its own that could fail.
        }
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

impl Place {
    pub fn new(
        address: &Address,
        variables: &BTreeMap<String, String>,
        patience: Arc<Patience>,
        moved: Arc<AtomicU64>,
    ) -> Result<Place> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("preparing for the network")?;
        let runtime = Arc::new(runtime);
        let clock = Clock::default();
        let (whose, variables, hears) = (address.clone(), variables.clone(), clock.clone());
        let (give, taken) = mpsc::channel();
        // On a thread, as the server of a folder may not answer, and as names are looked up on one: where none is given, that is a panic.
        threads::start(move || {
            let _ = give.send(whose.client(&variables, &hears)); // Nobody waits for it any more.
        })?;
        let most = patience.left();
        let made = taken.recv_timeout(most);
        let store = made.map_err(|_| no_answer(most))??;
        let (stop, stopped) = oneshot::channel::<()>();
        let moved_on = runtime.clone();
        let mover = threads::start(move || drop(moved_on.block_on(stopped)))?;
        Ok(Place {
            store,
            prefix: address.prefix().clone(),
            runtime: Some(runtime),
            mover: Some((stop, mover)),
            patience,
            moved,
            clock,
            folder: address.folder().map(PathBuf::from),
        })
    }

    fn path(&self, below: &str) -> Path {
        let mut path = self.prefix.clone();
        for part in below.split('/') {
            path = path.join(part);
        }
        path
    }

    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref();
        runtime
            .expect("it is there until this is dropped")
            .block_on(work)
    }

    /// A whole object of so many bytes at most; nothing where there is none.
    pub async fn get(&self, below: &str, most: u64) -> Result<Option<Got>> {
        self.get_in(Waiting::Somebody, below, most).await
    }

    pub async fn get_in(&self, waiting: Waiting, below: &str, most: u64) -> Result<Option<Got>> {
        let path = self.path(below);
        let request = async {
            let given = self.store.get_opts(&path, GetOptions::default()).await?;
            let meta = given.meta.clone();
            if meta.size > most {
                return Ok((meta, None));
            }
            Ok((meta, Some(given.bytes().await?)))
        };
        let answer = self.patience.ask(waiting, request).await?;
        let Some((meta, bytes)) = answer.found()? else {
            return Ok(None);
        };
        let version = UpdateVersion {
            e_tag: meta.e_tag,
            version: meta.version,
        };
        let Some(bytes) = bytes else {
            let path = below.to_string();
            return Err(TooLarge { path, version }.into());
        };
        self.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(Some(Got {
            bytes: bytes.into(),
            version,
        }))
    }

    /// As `get_in`. What is too large for what it is says nothing: as if it were empty.
    pub async fn get_any(&self, waiting: Waiting, below: &str, most: u64) -> Result<Option<Got>> {
        let got = self.get_in(waiting, below, most).await;
        got.or_else(|error| {
            let TooLarge { version, .. } = error.downcast()?;
            let bytes = vec![];
            Ok(Some(Got { bytes, version }))
        })
    }

    /// What time it is there. A folder's file system is asked by a file that goes at once; one's own clock counts only where nobody
    /// tells.
    pub async fn now_ms(&self) -> Result<u64> {
        match self.folder.clone() {
            _ if self.clock.now_ms().is_some() => {}
            None => drop(self.head("format").await?),
            Some(folder) => {
                let written = tokio::task::spawn_blocking(move || clock::there_ms(&folder));
                let asked = async { Ok(written.await.ok().flatten()) };
                let answer = self.patience.ask(in_background(0), asked).await?;
                if let Some(there_ms) = answer.given()? {
                    self.clock.hear(there_ms);
                }
            }
        }
        Ok(self.clock.now_ms().unwrap_or_else(clock::now_ms))
    }

    pub async fn head(&self, below: &str) -> Result<Option<Entry>> {
        let path = self.path(below);
        let request = self.store.head(&path);
        let answer = self.patience.ask(in_background(0), request).await?;
        Ok(answer.found()?.map(|meta| self.entry(&meta)))
    }

    fn entry(&self, meta: &ObjectMeta) -> Entry {
        let path = meta.location.as_ref();
        let below = path.strip_prefix(self.prefix.as_ref()).unwrap_or(path);
        Entry {
            path: below.trim_start_matches('/').to_string(),
            size: meta.size,
            modified_ms: u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0),
        }
    }

    /// Everything below a folder.
    pub async fn list(&self, below: &str, waiting: Waiting) -> Result<Vec<Entry>> {
        let found = self.list_some(below, waiting, MOST_ENTRIES + 1).await?;
        ensure!(
            found.len() <= MOST_ENTRIES,
            "`{below}` has more than {MOST_ENTRIES} entries"
        );
        Ok(found)
    }

    /// So much of it at most.
    pub async fn list_some(
        &self,
        below: &str,
        waiting: Waiting,
        most: usize,
    ) -> Result<Vec<Entry>> {
        let path = self.path(below);
        let listed = self.store.list(Some(&path)).take(most);
        let request = listed.map_ok(|meta| self.entry(&meta)).try_collect();
        let answer = self.patience.ask(waiting, request).await?;
        Ok(answer.found()?.unwrap_or_default())
    }

    /// An error of the outer kind: nobody answers; of the inner: it is refused.
    pub async fn put(&self, below: &str, bytes: Vec<u8>, how: Put) -> Result<Answer<()>> {
        let waiting = in_background(bytes.len() as u64);
        Ok(match self.put_in(waiting, below, bytes, how).await? {
            Answer::Given(_) => Answer::Given(()),
            Answer::Refused(error) => Answer::Refused(error),
        })
    }

    /// As `put`; which version it is.
    pub async fn put_in(
        &self,
        waiting: Waiting,
        below: &str,
        bytes: Vec<u8>,
        how: Put,
    ) -> Result<Answer<UpdateVersion>> {
        let path = self.path(below);
        let size = bytes.len() as u64;
        let options = PutOptions {
            mode: match how {
                Put::Over => PutMode::Overwrite,
                Put::New => PutMode::Create,
                Put::Instead(version) => PutMode::Update(version),
            },
            ..PutOptions::default()
        };
        let payload = PutPayload::from_bytes(Bytes::from(bytes));
        let request = self.store.put_opts(&path, payload, options);
        let answer = self.patience.ask(waiting, request).await?;
        self.moved.fetch_add(size, Ordering::Relaxed);
        Ok(match answer {
            Answer::Given(put) => Answer::Given(put.into()),
            Answer::Refused(error) => Answer::Refused(error),
        })
    }

    /// The bytes of a file, in parts where they are many: it appears whole.
    pub async fn put_file(
        &self,
        below: &str,
        file: &mut dyn Read,
        size: u64,
    ) -> Result<Answer<()>> {
        if size <= PART as u64 {
            let mut bytes = vec![];
            file.take(size + 1).read_to_end(&mut bytes)?;
            ensure!(
                bytes.len() as u64 == size,
                "it has other bytes than its record says"
            );
            return self.put(below, bytes, Put::Over).await;
        }
        let path = self.path(below);
        let begun = self.store.put_multipart(&path);
        let upload = match self.patience.ask(in_background(0), begun).await? {
            Answer::Given(upload) => upload,
            Answer::Refused(error) => return Ok(Answer::Refused(error)),
        };
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut left = size;
        while left > 0 {
            let mut part = vec![0; usize::try_from(left).map_or(PART, |left| left.min(PART))];
            file.read_exact(&mut part)
                .context("reading what is to go")?;
            left -= part.len() as u64;
            let room = upload.wait_for_capacity(PARTS);
            let waited = in_background((PARTS * PART) as u64);
            if let Answer::Refused(error) = self.patience.ask(waited, room).await? {
                let _ = upload.abort().await; // What stays of it is invisible; servers remove it in time.
                return Ok(Answer::Refused(error));
            }
            let n = part.len() as u64;
            upload.put(Bytes::from(part));
            self.moved.fetch_add(n, Ordering::Relaxed);
        }
        let finished = upload.finish();
        let answer = self
            .patience
            .ask(in_background((PARTS * PART) as u64), finished);
        Ok(match answer.await? {
            Answer::Given(_) => Answer::Given(()),
            Answer::Refused(error) => Answer::Refused(error),
        })
    }

    pub async fn remove(&self, below: &str) -> Result<()> {
        self.remove_in(in_background(0), below).await
    }

    pub async fn remove_in(&self, waiting: Waiting, below: &str) -> Result<()> {
        let path = self.path(below);
        let request = self.store.delete(&path);
        let answer = self.patience.ask(waiting, request).await?;
        answer.found().map(drop)
    }

    /// The bytes of an object from one on, in order, several requests ahead.
    pub fn pieces<'a>(
        &'a self,
        below: &str,
        from: u64,
        size: u64,
    ) -> impl Stream<Item = Result<Bytes>> + 'a {
        let path = self.path(below);
        let begins = (from..size).step_by(PIECE as usize);
        let pieces = begins.map(move |begin| {
            let path = path.clone();
            async move { self.piece(&path, begin..size.min(begin + PIECE)).await }
        });
        stream::iter(pieces).buffered(AHEAD)
    }

    async fn piece(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.piece_once(path, range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(_) if tried < TRIES && self.patience.is_open() => {
                    // Of what is shorter than it should be a server gives no range; that says nothing about the way there.
                    let head = self.store.head(path);
                    if let Ok(Answer::Given(meta)) =
                        self.patience.ask(Waiting::Somebody, head).await
                        && meta.size < range.end
                    {
                        bail!(
                            "its bytes are not those of its name: there are {} of them",
                            meta.size
                        );
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// It may take long, as long as something comes.
    async fn piece_once(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let request = self.store.get_opts(path, options);
        let given = match self.patience.ask(Waiting::Somebody, request).await? {
            Answer::Given(given) => given,
            Answer::Refused(Error::NotFound { .. }) => bail!("the remote does not have it"),
            Answer::Refused(error) => return Err(error.into()),
        };
        ensure!(
            given.meta.size >= range.end,
            "its bytes are not those of its name: there are {} of them",
            given.meta.size
        );
        let wanted = (range.end - range.start) as usize;
        let mut bytes = Vec::with_capacity(wanted);
        let mut coming = given.into_stream();
        let began = Instant::now();
        loop {
            let next = self.patience.ask(Waiting::Somebody, coming.try_next());
            let Some(more) = next.await?.given()? else {
                break;
            };
            self.moved.fetch_add(more.len() as u64, Ordering::Relaxed);
            bytes.extend_from_slice(&more);
            ensure!(bytes.len() <= wanted, "it gives more than it was asked for");
        }
        if bytes.len() < wanted {
            let error = anyhow::anyhow!("it breaks off");
            self.patience
                .failed(&error, began.elapsed(), Waiting::Nobody(Duration::ZERO));
            return Err(error);
        }
        Ok(bytes.into())
    }
}

/// Nobody waits for it: it may take as long as the slowest upload that is any use.
pub(crate) fn in_background(bytes: u64) -> Waiting {
    Waiting::Nobody(Duration::from_secs(10 + bytes / SLOWEST))
}

/// How a read, which nobody waits for, is asked.
pub(crate) fn at_leisure() -> Waiting {
    Waiting::Nobody(Duration::from_secs(600))
}
