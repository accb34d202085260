//! What the store's folders hold, packed in one file, so that a plan of thousands of hits reads one file instead of
//! thousands. Derived: whatever is in doubt is read again from `actions/`, `objects/` and `plans/`, and the file may be
//! deleted at any time.
//!
//! Each of the three folders has 256 shards. A shard is believed as long as its folder has the modification time that it had
//! when it was read; a folder changed so shortly before that its time could stay the same is read again. Only shards that are
//! asked for are looked at.
//!
//! ```text
//! index = magic, table, check of the table, shards
//! table = 3 x 256 x (mtime, read at, offset, length, check of the shard)
//! ```

mod brief;
pub mod pack;
mod scan;

pub use brief::{PackedBlob, Part, RecordSummary};

use crate::store::Store;
use crate::system::clock;
use crate::system::files;
use base::hash::{Key, PlanKey};
use memmap2::Mmap;
use scan::{Folder, Place};
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

const MAGIC: &[u8; 12] = b"pipe index 4";
const SHARDS: usize = 256;
const ENTRY: usize = 40;
const TABLE: usize = 3 * SHARDS * ENTRY;
const HEAD: usize = MAGIC.len() + TABLE + 32;

/// As for source files: coarser than the clock of any file system we expect.
const RACY_NS: i64 = 2_000_000_000;

/// Where a shard's entries lie.
enum Bytes {
    /// In the packed file.
    Packed(Range<usize>),
    /// Read from the folder.
    Read(Vec<u8>),
}

/// What is known of a shard: its entries, packed (`brief` for actions, sorted digests with sizes for objects, sorted pairs for plans).
struct Shard {
    mtime: i64,
    read_at: i64,
    bytes: Bytes,
}

/// A view of the store as it was when each shard was first asked for.
pub struct Index<'a> {
    store: &'a Store,
    /// The packed file, where its table can be used.
    packed: Option<Mmap>,
    /// By folder and shard.
    shards: Vec<Option<Shard>>,
    /// Some shard was read from its folder.
    changed: bool,
}

impl<'a> Index<'a> {
    pub fn open(store: &'a Store) -> Index<'a> {
        Index {
            store,
            packed: open_packed(&path(store)),
            shards: std::iter::repeat_with(|| None).take(3 * SHARDS).collect(),
            changed: false,
        }
    }

    /// The record of a key, without its manifest and file names. An unreadable record is absent here.
    pub fn brief(&mut self, key: &Key) -> Option<RecordSummary> {
        let raw = pack::raw(key.as_str())?;
        let bytes = self.shard((Folder::Actions, usize::from(raw[0])));
        brief::find(bytes, &raw)
    }

    /// Whether every blob of its outputs lies in the store with its size; the bytes are looked at where a blob is used.
    pub fn whole(&mut self, brief: &RecordSummary) -> bool {
        let mut blobs = brief.outputs.iter().flat_map(|o| &o.blobs);
        blobs.all(|lump| self.has(lump))
    }

    fn has(&mut self, (raw, size): &PackedBlob) -> bool {
        let bytes = self.shard((Folder::Objects, usize::from(raw[0])));
        pack::search(bytes, 40, raw).is_some_and(|entry| entry[32..] == size.to_le_bytes())
    }

    /// The key that this place had last, if it is still written down.
    pub fn hint(&mut self, plan: &PlanKey) -> Option<Key> {
        let raw = pack::raw(plan.as_str())?;
        let bytes = self.shard((Folder::Plans, usize::from(raw[0])));
        let pair = pack::search(bytes, 64, &raw)?;
        Some(Key::from_bytes(pair[32..].try_into().ok()?))
    }

    /// Whether the key that this place had last is this one.
    pub fn remembers(&mut self, plan: &PlanKey, key: &Key) -> bool {
        let (Some(plan), Some(key)) = (pack::raw(plan.as_str()), pack::raw(key.as_str())) else {
            return false;
        };
        let bytes = self.shard((Folder::Plans, usize::from(plan[0])));
        pack::search(bytes, 64, &plan).is_some_and(|pair| pair[32..] == key)
    }

    /// All records, by key.
    pub fn briefs(&mut self) -> Vec<RecordSummary> {
        let mut all = vec![];
        for n in 0..SHARDS {
            all.extend(brief::all(self.shard((Folder::Actions, n))));
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Looks at every shard, so that the next one who opens the index finds it up to date.
    pub(crate) fn refreshed(mut self) -> Index<'a> {
        for folder in Folder::ALL {
            for n in 0..SHARDS {
                self.shard((folder, n));
            }
        }
        self
    }

    /// Writes the packed file if a shard was read from its folder. It only saves time, so a store that cannot be written to is
    /// no error.
    pub fn save(&mut self) {
        if !self.changed {
            return;
        }
        let mut table = Vec::with_capacity(TABLE);
        let mut blobs: Vec<u8> = vec![];
        let start = HEAD as u64;
        for folder in Folder::ALL {
            for n in 0..SHARDS {
                let place = (folder, n);
                let known = self.shards[number(place)].as_ref();
                let (mtime, read_at, bytes) = match (known, self.entry(place)) {
                    (Some(shard), _) => (shard.mtime, shard.read_at, self.bytes(shard)),
                    (None, Some(entry)) => {
                        let range = self.packed_shard(&entry).unwrap_or(0..0);
                        (entry.mtime, entry.read_at, self.packed_bytes(range))
                    }
                    (None, None) => (0, 0, [].as_slice()),
                };
                let row = Entry {
                    mtime,
                    read_at,
                    offset: start + blobs.len() as u64,
                    length: bytes.len() as u64,
                    check: check(bytes),
                };
                row.write(&mut table);
                blobs.extend(bytes);
            }
        }
        let mut file = MAGIC.to_vec();
        file.extend(&table);
        file.extend(blake3::hash(&table).as_bytes());
        file.extend(blobs);
        self.changed = files::replace(&self.store.tmp(), &path(self.store), &file).is_err();
    }

    fn shard(&mut self, place: Place) -> &[u8] {
        let number = number(place);
        if self.shards[number].is_none() {
            self.shards[number] = Some(self.load(place));
        }
        let shard = self.shards[number].as_ref();
        shard.map(|shard| self.bytes(shard)).unwrap_or_default()
    }

    fn bytes<'s>(&'s self, shard: &'s Shard) -> &'s [u8] {
        match &shard.bytes {
            Bytes::Packed(range) => self.packed_bytes(range.clone()),
            Bytes::Read(bytes) => bytes,
        }
    }

    fn packed_bytes(&self, range: Range<usize>) -> &[u8] {
        let packed = self.packed.as_ref();
        packed.and_then(|p| p.get(range)).unwrap_or_default()
    }

    fn load(&mut self, place: Place) -> Shard {
        let dir = scan::dir(self.store, place);
        let Ok(meta) = fs::metadata(&dir) else {
            return Shard {
                mtime: 0,
                read_at: 0,
                bytes: Bytes::Read(vec![]),
            };
        };
        let mtime = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
        let entry = self.entry(place);
        let old = entry.and_then(|e| self.packed_shard(&e));
        if let (Some(entry), Some(range)) = (entry, &old)
            && entry.mtime == mtime
            && entry.read_at - mtime > RACY_NS
        {
            return Shard {
                mtime,
                read_at: entry.read_at,
                bytes: Bytes::Packed(range.clone()),
            };
        }
        self.changed = true;
        let read_at = i64::try_from(clock::now_ns()).unwrap_or_default();
        let old = self.packed_bytes(old.unwrap_or(0..0));
        Shard {
            mtime,
            read_at,
            bytes: Bytes::Read(scan::read(self.store, place, old)),
        }
    }

    fn entry(&self, place: Place) -> Option<Entry> {
        let at = MAGIC.len() + number(place) * ENTRY;
        Entry::read(self.packed.as_ref()?.get(at..at + ENTRY)?)
    }

    /// Nothing where the bytes are not those that were written.
    fn packed_shard(&self, entry: &Entry) -> Option<Range<usize>> {
        let start = usize::try_from(entry.offset).ok()?;
        let end = start.checked_add(usize::try_from(entry.length).ok()?)?;
        let bytes = self.packed.as_ref()?.get(start..end)?;
        (check(bytes) == entry.check).then_some(start..end)
    }
}

/// Of a shard among all of them.
fn number((folder, n): Place) -> usize {
    folder as usize * SHARDS + n
}

#[derive(Clone, Copy)]
struct Entry {
    mtime: i64,
    read_at: i64,
    offset: u64,
    length: u64,
    check: u64,
}

impl Entry {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.mtime.to_le_bytes());
        out.extend(self.read_at.to_le_bytes());
        for number in [self.offset, self.length, self.check] {
            out.extend(number.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Entry> {
        let mut unpack = pack::Unpack(bytes);
        Some(Entry {
            mtime: unpack.u64()? as i64,
            read_at: unpack.u64()? as i64,
            offset: unpack.u64()?,
            length: unpack.u64()?,
            check: unpack.u64()?,
        })
    }
}

fn check(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    pack::Unpack(hash.as_bytes()).u64().unwrap_or_default()
}

fn path(store: &Store) -> PathBuf {
    store.root().join("memo/index")
}

fn open_packed(path: &PathBuf) -> Option<Mmap> {
    let file = File::open(path).ok()?;
    // SAFETY: the file is never written to, only replaced by another one, so the pages do not change. Who cuts it by hand ends
    // this process, and loses nothing: nothing is written from here but a new index.
    let map = unsafe { Mmap::map(&file) }.ok()?;
    let table = map.get(MAGIC.len()..MAGIC.len() + TABLE)?;
    let fits = map.starts_with(MAGIC)
        && map.get(MAGIC.len() + TABLE..HEAD)? == blake3::hash(table).as_bytes();
    fits.then_some(map)
}
