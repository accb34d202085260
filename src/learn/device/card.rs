//! What of a GPU's memory is given out: by its whole memory and by what the models of this process hold there, never by what is free at the
//! moment, so that the same work on the same device is cut the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::device::DeviceName;

/// Where nobody says what a GPU has.
pub const CARD: u64 = 80_000_000_000;

/// In hundredths, what the ledger's buffers may take: its context, its libraries and what its allocator keeps have the rest.
const SHARE: u64 = 90;

/// Bytes of a GPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Card {
    /// In all, where that is known.
    pub total: Option<u64>,
    /// That other models of the same process hold, a judge beside what is trained.
    pub others: u64,
}

impl From<Option<u64>> for Card {
    fn from(total: Option<u64>) -> Card {
        Card { total, others: 0 }
    }
}

impl Card {
    pub(super) fn all(self) -> u64 {
        self.total.unwrap_or(CARD)
    }

    /// What the ledger's buffers of one model may take.
    pub(super) fn room(self) -> u64 {
        (self.all() / 100 * SHARE).saturating_sub(self.others)
    }
}

/// By device, what models hold.
static HELD: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

fn held() -> MutexGuard<'static, BTreeMap<String, u64>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one model holds on a device for as long as it is there.
#[derive(Debug)]
pub struct Occupied {
    device: DeviceName,
    bytes: u64,
}

impl Occupied {
    pub fn new(device: DeviceName, bytes: u64) -> Occupied {
        *held().entry(device.to_string()).or_default() += bytes;
        Occupied { device, bytes }
    }

    /// What all others hold there.
    pub fn others(&self) -> u64 {
        on(self.device) - self.bytes
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        if let Some(all) = held().get_mut(&self.device.to_string()) {
            *all -= self.bytes;
        }
    }
}

/// What models hold on a device.
pub(super) fn on(device: DeviceName) -> u64 {
    held().get(&device.to_string()).copied().unwrap_or(0)
}
