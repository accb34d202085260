//! What was found at a remote so far, and what makes it believed: it is whole, about the key that was asked for, and signed by
//! somebody who is trusted.

use super::ahead::Ahead;
use super::claims::lease::Leases;
use super::found::{Elsewhere, Found};
use super::record::Record;
use super::remote::{Remote, Signed, Trust};
use crate::system::clock;
use anyhow::{Context, Result, bail, ensure};
use base::hash::Key;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The second tier, and what was found there so far.
pub(super) struct Second {
    pub remote: Arc<dyn Remote>,
    pub trust: Arc<dyn Trust>,
    pub leases: Leases,
    /// None for what was refused, which is told once.
    found: Mutex<BTreeMap<Key, Option<Arc<Elsewhere>>>>,
    /// Records that were whole, and whose signer nobody trusts.
    distrusted: AtomicUsize,
    /// While somebody goes on with what was found before it is judged.
    ahead: Mutex<Option<Arc<Ahead>>>,
    remarks: Mutex<Remarks>,
}

/// What went wrong, for who reads through the store and keeps no journal.
#[derive(Default)]
struct Remarks {
    all: Vec<String>,
    told: usize,
}

/// So many of those are named: who trusts nobody yet meets a whole remote of them.
const NAMED: usize = 3;

impl Second {
    pub fn new(remote: Arc<dyn Remote>, trust: Arc<dyn Trust>) -> Second {
        Second {
            leases: Leases::new(remote.clone()),
            remote,
            trust,
            found: Mutex::default(),
            distrusted: AtomicUsize::new(0),
            ahead: Mutex::default(),
            remarks: Mutex::default(),
        }
    }

    pub fn remark(&self, text: String) {
        self.remarks().all.push(text);
    }

    /// Those that were not told before.
    pub fn new_remarks(&self) -> Vec<String> {
        let mut remarks = self.remarks();
        remarks.all.extend(self.remote.remark());
        let new = remarks.all[remarks.told..].to_vec();
        remarks.told = remarks.all.len();
        new
    }

    pub fn all_remarks(&self) -> Vec<String> {
        self.remarks().all.clone()
    }

    fn remarks(&self) -> MutexGuard<'_, Remarks> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what was found of a key was not believed.
    pub fn refused(&self, key: &Key) -> bool {
        self.found().get(key).is_some_and(Option::is_none)
    }

    pub fn refuse(&self, key: &Key) {
        self.found().insert(key.clone(), None);
    }

    pub fn forget(&self, key: &Key) {
        self.found().remove(key);
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<Key, Option<Arc<Elsewhere>>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found of a key, if anything.
    pub fn record(&self, key: &Key) -> Option<Record> {
        self.one(key).map(|one| one.record.clone())
    }

    pub fn one(&self, key: &Key) -> Option<Arc<Elsewhere>> {
        self.found().get(key).cloned().flatten()
    }

    /// Does something with records that are taken by `take_ahead`. Nothing where one of them is not believed: then none was taken.
    pub fn ahead<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let ahead = Arc::new(Ahead::default());
        *self.lock_ahead() = Some(ahead.clone());
        let (done, judged) = ahead.beside(self.trust.as_ref(), || {
            let done = work();
            *self.lock_ahead() = None;
            done
        });
        let mut found = self.found();
        let Some(signers) = judged.signers else {
            judged.taken.iter().for_each(|key| drop(found.remove(key)));
            return None;
        };
        for (key, signer) in signers {
            if let Some(Some(one)) = found.get_mut(&key) {
                Arc::make_mut(one).found.signer = signer;
            }
        }
        Some(done)
    }

    /// As `take`; inside of `ahead` who signed it is looked at beside.
    pub fn take_ahead(&self, key: &Key, mut signed: Vec<Signed>) -> Result<Option<Arc<Elsewhere>>> {
        let ahead = self.lock_ahead().clone();
        let Some(ahead) = ahead.filter(|_| signed.len() == 1) else {
            return self.take(key, signed);
        };
        // What is wrong with it is told there.
        let Ok(record) = checked(&signed[0].text, key) else {
            return self.take(key, signed);
        };
        let one = self.insert(key, record, signed.remove(0), None);
        ahead.give(one.clone());
        Ok(Some(one))
    }

    fn lock_ahead(&self) -> MutexGuard<'_, Option<Arc<Ahead>>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(
        &self,
        key: &Key,
        record: Record,
        signed: Signed,
        signer: Option<String>,
    ) -> Arc<Elsewhere> {
        let found = Found {
            remote: self.remote.name().to_string(),
            signer,
            at_ms: clock::now_ms(),
        };
        let one = Arc::new(Elsewhere {
            record,
            signed,
            found,
        });
        self.found().insert(key.clone(), Some(one.clone()));
        one
    }

    /// Looks at what was found, and believes the first that can be.
    pub fn take(&self, key: &Key, signed: Vec<Signed>) -> Result<Option<Arc<Elsewhere>>> {
        let (mut believed, mut of) = (Ok(None), None);
        for one in signed {
            let first = of.is_none();
            let judged = self.believed(key, &one);
            let found = matches!(judged, Ok(Some(_)));
            if first || found {
                (believed, of) = (judged, Some(one));
            }
            if found {
                break;
            }
        }
        let Some(signed) = of else {
            return Ok(None);
        };
        let shown = || format!("record {} of {}", key.short(), self.remote.name());
        let (record, signer) = match believed.with_context(shown) {
            Ok(Some(believed)) => believed,
            Ok(None) => {
                self.refuse(key);
                return Ok(None);
            }
            Err(error) => {
                self.refuse(key);
                return Err(error);
            }
        };
        Ok(Some(self.insert(key, record, signed, signer)))
    }

    /// Whole, about this key, and signed by somebody who is trusted. Nothing for one that is not, when enough of them were named.
    fn believed(&self, key: &Key, signed: &Signed) -> Result<Option<(Record, Option<String>)>> {
        let record = checked(&signed.text, key)?;
        let error = match self.trust.signer(signed) {
            Ok(signer) => return Ok(Some((record, signer))),
            Err(error) => error,
        };
        // It was told before, and counts once.
        if self.refused(key) {
            return Err(error);
        }
        match self.distrusted.fetch_add(1, Ordering::Relaxed) + 1 {
            n if n < NAMED => Err(error),
            NAMED => bail!(
                "{error:#} (others that are not believed are not named one by one: `pipe why RECIPE NODE` tells of each)"
            ),
            _ => Ok(None),
        }
    }
}

/// A record that was asked for by its key and came from who knows where.
pub(super) fn checked(text: &str, key: &Key) -> Result<Record> {
    let record = Record::from_sealed(text)?;
    ensure!(record.key == *key, "it is about another key");
    match record.problem() {
        Some(problem) => bail!(problem),
        None => Ok(record),
    }
}
