//! What several processes spend and set aside of one budget together: a file in the folder of calls, read and written under its lock. Each
//! of them has a slot, whose file it holds locked as long as it lives: what a dead one had set aside counts as spent, since it may have
//! been billed. Who is alone begins anew with what the journal says.

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    pub dollars: f64,
    pub tokens: u64,
}

impl Amount {
    pub fn add(&mut self, more: Amount) {
        self.dollars += more.dollars;
        self.tokens += more.tokens;
    }

    pub fn take(&mut self, less: Amount) {
        self.dollars = (self.dollars - less.dollars).max(0.0);
        self.tokens = self.tokens.saturating_sub(less.tokens);
        // Sums of fractions do not come back to zero by themselves, and somebody may wait for just that.
        if self.tokens == 0 {
            self.dollars = 0.0;
        }
    }
}

pub(crate) struct Ledger {
    path: PathBuf,
    sums: File,
    /// The own slot, and its lock.
    slot: u32,
    _lock: File,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub spent: Amount,
    /// By slot.
    reserved: BTreeMap<u32, Amount>,
}

impl Sums {
    /// Set aside by all.
    pub fn reserved(&self) -> Amount {
        let mut sum = Amount::default();
        self.reserved.values().for_each(|one| sum.add(*one));
        sum
    }
}

impl Ledger {
    /// `folder`: of the journal. `who`: whose budget it is. `spent`: by the journal, which is read under the lock: before it, whoever
    /// was the last to have the budget may have spent more and gone.
    pub fn open(
        folder: &Path,
        who: &str,
        spent: impl FnOnce() -> Result<Amount>,
    ) -> Result<Ledger> {
        let folder = folder.join("budgets");
        std::fs::create_dir_all(&folder).context("creating the folder of budgets")?;
        let digest = blake3::hash(who.as_bytes()).to_hex();
        let path = folder.join(&digest[..16]);
        let sums = open(&path)?;
        flock(&sums, FlockOperation::LockExclusive).context("locking a budget")?;
        let (slot, lock) = free_slot(&path)?;
        let ledger = Ledger {
            path,
            sums,
            slot,
            _lock: lock,
        };
        let opened = ledger.begin(spent);
        flock(&ledger.sums, FlockOperation::Unlock).context("unlocking a budget")?;
        opened.map(|()| ledger)
    }

    /// Under the lock.
    fn begin(&self, spent: impl FnOnce() -> Result<Amount>) -> Result<()> {
        let mut sums = match self.others_live()? {
            true => self.read()?,
            false => Sums {
                spent: spent()?,
                ..Sums::default()
            },
        };
        self.bury(self.slot, &mut sums);
        self.write(&sums)
    }

    /// Changes what all of them have.
    pub fn with<T>(&self, change: impl FnOnce(&mut Sums) -> T) -> Result<T> {
        flock(&self.sums, FlockOperation::LockExclusive).context("locking a budget")?;
        let changed = self.read().and_then(|mut sums| {
            let changed = change(&mut sums);
            self.write(&sums).map(|()| changed)
        });
        flock(&self.sums, FlockOperation::Unlock).context("unlocking a budget")?;
        changed
    }

    pub fn set_aside(&self, sums: &mut Sums, amount: Amount) {
        sums.reserved.entry(self.slot).or_default().add(amount);
    }

    pub fn give_back(&self, sums: &mut Sums, amount: Amount) {
        if let Some(own) = sums.reserved.get_mut(&self.slot) {
            own.take(amount);
        }
    }

    pub fn give_all_back(&self, sums: &mut Sums) {
        sums.reserved.remove(&self.slot);
    }

    /// What the dead had set aside counts as spent. Whether there was any.
    pub fn bury_dead(&self, sums: &mut Sums) -> Result<bool> {
        let mut buried = false;
        let others: Vec<u32> = sums.reserved.keys().copied().collect();
        for slot in others.into_iter().filter(|slot| *slot != self.slot) {
            if lock_of(&self.path, slot)?.is_some() {
                self.bury(slot, sums);
                buried = true;
            }
        }
        Ok(buried)
    }

    fn bury(&self, slot: u32, sums: &mut Sums) {
        let left = sums.reserved.remove(&slot);
        sums.spent.add(left.unwrap_or_default());
    }

    fn others_live(&self) -> Result<bool> {
        for slot in (0..).take_while(|slot| slot_file(&self.path, *slot).exists()) {
            if slot != self.slot && lock_of(&self.path, slot)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read(&self) -> Result<Sums> {
        let shown = || format!("reading the budget {}", self.path.display());
        let length = self.sums.metadata().with_context(shown)?.len();
        let mut bytes = vec![0; length.min(MOST) as usize];
        self.sums.read_exact_at(&mut bytes, 0).with_context(shown)?;
        // Whoever was killed while writing may have left the end of a longer text.
        let mut texts = serde_json::Deserializer::from_slice(&bytes).into_iter();
        let first = texts.next().context("it is empty").with_context(shown)?;
        first.with_context(shown)
    }

    fn write(&self, sums: &Sums) -> Result<()> {
        let shown = || format!("writing the budget {}", self.path.display());
        let mut text = serde_json::to_vec(sums).with_context(shown)?;
        text.push(b'\n');
        self.sums.write_all_at(&text, 0).with_context(shown)?;
        self.sums.set_len(text.len() as u64).with_context(shown)
    }
}

/// Larger than what any number of processes set aside.
const MOST: u64 = 1 << 20;

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    let options = options.create(true).truncate(false).read(true).write(true);
    let file = options.open(path);
    file.with_context(|| format!("opening the budget {}", path.display()))
}

fn slot_file(path: &Path, slot: u32) -> PathBuf {
    path.with_extension(slot.to_string())
}

/// The lock of a slot, unless somebody lives who has it.
fn lock_of(path: &Path, slot: u32) -> Result<Option<File>> {
    let file = open(&slot_file(path, slot))?;
    let free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok(free.then_some(file))
}

fn free_slot(path: &Path) -> Result<(u32, File)> {
    for slot in 0.. {
        if let Some(lock) = lock_of(path, slot)? {
            return Ok((slot, lock));
        }
    }
    unreachable!("numbers do not end")
}
