//! Claims as leases at a remote: a text a key, `leases/ab/KEY`, created once, which its holder replaces by another again and again, as
//! long as he lives. Every text is replaced only where it is still the one that was read, so of two who want it one has it. Whoever sees
//! it stand still for as long as it says that it lasts, by his own clock, replaces it by one with a higher number; the holder finds that
//! when he renews, and has lost. Clocks of two machines are never compared. A text that says nothing, as an upload that was cut off
//! leaves it, is one that stands still, and lasts less. Given up is a lease whose text says so: not everybody may remove what lies at a remote.

use super::{Claim, Claims, Whose};
use crate::store::remote::{Leased, Remote, Terms, Version, Wait};
use crate::system::{Process, clock, fault};
use anyhow::{Context, Result, bail};
use base::hash::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A text that was replaced between two looks is looked at again so often.
const LOOKS: usize = 4;

/// A text that says nothing lasts a part of what leases do: whoever tore his own mends it sooner.
const TORN: u32 = 6;

/// How long a lease lasts at most, whatever it says.
const LONGEST: Duration = Duration::from_secs(3600);

/// What giving one up may take; where it cannot be said, it is given up when it has lasted.
const RELEASE: Duration = Duration::from_secs(2);

/// The leases of one engine.
pub struct Leases {
    remote: Arc<dyn Remote>,
    /// By key, what was seen of leases of others, and since when.
    seen: Mutex<BTreeMap<Key, (String, Instant)>>,
    held: Arc<Count>,
}

/// What stands in a lease. All of its holder's are of one number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sign {
    number: u64,
    /// Another one each time: equal texts would be one version.
    nonce: String,
    holder: Option<Process>,
    run: String,
    node: String,
    /// By the holder's clock; for people.
    since_ms: u64,
    /// How long it lasts.
    seconds: f64,
    #[serde(default)]
    released: bool,
}

/// Who has a lease.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenant {
    pub run: String,
    pub node: String,
    pub host: String,
    pub process: String,
    pub since_ms: u64,
}

pub enum Asked {
    Ours(Arc<dyn Claim>),
    Theirs(Tenant),
    /// Somebody has it, or had: what stands there cannot be read. `read`: something that stood there before it could be.
    Unread {
        read: bool,
    },
}

/// What was seen of a lease.
enum Seen {
    Free { number: u64 },
    Of(Tenant),
}

impl Leases {
    pub(crate) fn new(remote: Arc<dyn Remote>) -> Leases {
        Leases {
            remote,
            seen: Mutex::default(),
            held: Arc::default(),
        }
    }

    pub(crate) fn terms(&self) -> Option<Terms> {
        self.remote.terms()
    }

    /// Who has the key's lease, if anybody; an error where that cannot be read.
    pub fn tenant(&self, key: &Key) -> Result<Option<Tenant>> {
        let there = self.remote.lease(key, Wait::Node)?;
        Ok(
            there.and_then(|there| match self.see(key, &there.text, None) {
                Seen::Of(tenant) => Some(tenant),
                Seen::Free { .. } => None,
            }),
        )
    }

    /// Takes the lease of a key, or says who has it.
    pub fn ask(&self, key: &Key, whose: Whose) -> Result<Asked> {
        let shown = || format!("leasing {}", key.short());
        let lasts = self.terms().unwrap_or_default().lasts;
        // What was looked at before is there: creating it would fail.
        let mut there = match self.seen().contains_key(key) {
            true => match self.remote.lease(key, Wait::Node) {
                Ok(there) => there,
                Err(_) => return Ok(Asked::Unread { read: false }),
            },
            false => None,
        };
        let (mut torn, mut read) = (false, there.is_some());
        for _ in 0..LOOKS {
            let number = match &there {
                None => 0,
                // Of our own upload that was cut off.
                Some(there) if torn && there.text.trim().is_empty() => 0,
                Some(there) => match self.see(key, &there.text, Some(whose)) {
                    Seen::Free { number } => number,
                    Seen::Of(tenant) => return Ok(Asked::Theirs(tenant)),
                },
            };
            let sign = Sign {
                number: number + 1,
                nonce: clock::unique(),
                holder: Process::own(),
                run: whose.run.into(),
                node: whose.node.into(),
                since_ms: clock::now_ms(),
                seconds: lasts.as_secs_f64(),
                released: false,
            };
            let text = text(&sign);
            let over = there.as_ref().map(|there| &there.version);
            let put = self.remote.put_lease(key, &text, over, Wait::Node);
            let failed = match put {
                Ok(Some(version)) => {
                    fault::point("leased").with_context(shown)?;
                    return Ok(Asked::Ours(self.hold(key, sign, version)));
                }
                Ok(None) => None,
                Err(error) => Some(error),
            };
            // The answer may have been lost, and not the lease.
            torn = failed.is_some();
            there = match self.remote.lease(key, Wait::Node) {
                Ok(there) => there,
                // That another one is there is known.
                Err(_) if !torn => return Ok(Asked::Unread { read }),
                Err(error) => return Err(error).with_context(shown),
            };
            read = true;
            match (&there, failed) {
                (Some(there), _) if there.text == text => {
                    let version = there.version.clone();
                    return Ok(Asked::Ours(self.hold(key, sign, version)));
                }
                (None, Some(error)) => return Err(error).with_context(shown),
                _ => {}
            }
        }
        bail!("leasing {}: others write to it all the time", key.short())
    }

    /// Waits until all that were held are given up; not for long.
    pub fn settle(&self, most: Duration) {
        let (count, none) = &*self.held;
        let held = count.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = none.wait_timeout_while(held, most, |held| *held > 0); // What is left lasts as long as it says.
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<Key, (String, Instant)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `whose`: of what this one had before nothing is renewed, as its answer was lost.
    fn see(&self, key: &Key, text: &str, whose: Option<Whose>) -> Seen {
        let sign = read(text);
        let number = sign.as_ref().map_or(0, |sign| sign.number);
        if let Some(sign) = &sign {
            let own = whose.is_some_and(|whose| whose.run == sign.run && !sign.run.is_empty());
            let own = own && sign.holder == Process::own();
            let holder = sign.holder.as_ref();
            let dead = holder.and_then(Process::lives) == Some(false);
            if sign.released || own || dead {
                return Seen::Free { number };
            }
        }
        let own = self.terms().unwrap_or_default().lasts;
        let said = |sign: &Sign| Duration::try_from_secs_f64(sign.seconds).ok();
        let lasts = match &sign {
            Some(sign) => said(sign).map_or(own, |lasts| lasts.min(LONGEST)),
            None => own / TORN,
        };
        let mut seen = self.seen();
        let now = (text.to_string(), Instant::now());
        let first = seen.entry(key.clone()).or_insert_with(|| now.clone());
        if first.0 != now.0 {
            *first = now;
        }
        match first.1.elapsed() > lasts {
            true => Seen::Free { number },
            false => Seen::Of(sign.map(tenant).unwrap_or_default()),
        }
    }

    fn hold(&self, key: &Key, sign: Sign, version: Version) -> Arc<dyn Claim> {
        self.seen().remove(key);
        Arc::new(Held {
            remote: self.remote.clone(),
            key: key.clone(),
            state: Mutex::new((sign, version)),
            lost: AtomicBool::new(false),
            _counted: Counted::new(&self.held),
        })
    }
}

impl Claims for Leases {
    fn take(&self, key: &Key, whose: Whose) -> Result<Option<Arc<dyn Claim>>> {
        Ok(match self.ask(key, whose)? {
            Asked::Ours(claim) => Some(claim),
            Asked::Theirs(_) | Asked::Unread { .. } => None,
        })
    }

    fn lasts(&self) -> Option<Duration> {
        self.terms().map(|terms| terms.lasts)
    }

    fn sign(&self, key: &Key) -> Option<String> {
        let there = self.remote.lease(key, Wait::Node).ok()??;
        match self.see(key, &there.text, None) {
            Seen::Of(_) => Some(there.text),
            Seen::Free { .. } => None,
        }
    }
}

struct Held {
    remote: Arc<dyn Remote>,
    key: Key,
    /// As it was written last.
    state: Mutex<(Sign, Version)>,
    lost: AtomicBool,
    _counted: Counted,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, (Sign, Version)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it could be written: false where it is somebody else's.
    fn write(&self, released: bool, wait: Wait) -> Result<bool> {
        let mut state = self.state();
        let sign = Sign {
            nonce: clock::unique(),
            released,
            ..state.0.clone()
        };
        let text = text(&sign);
        let mut over = Some(state.1.clone());
        for _ in 0..LOOKS {
            let put = self
                .remote
                .put_lease(&self.key, &text, over.as_ref(), wait)?;
            if let Some(version) = put {
                *state = (sign, version);
                return Ok(true);
            }
            // It is somebody else's, or the answer to an earlier try was lost.
            over = match self.remote.lease(&self.key, wait)? {
                // Whoever makes room there took it for one of the dead.
                None => None,
                Some(there) if there.text == text => {
                    *state = (sign, there.version);
                    return Ok(true);
                }
                Some(there) if self.is_ours(&sign, &there) => Some(there.version),
                Some(_) => {
                    self.lost.store(true, Ordering::Relaxed);
                    return Ok(false);
                }
            };
        }
        bail!("others write to it all the time")
    }

    /// Of an earlier try, or torn by one.
    fn is_ours(&self, sign: &Sign, there: &Leased) -> bool {
        read(&there.text).is_none_or(|there| {
            let same = (there.number, &there.run) == (sign.number, &sign.run);
            same && there.holder == sign.holder
        })
    }
}

impl Claim for Held {
    fn number(&self) -> u64 {
        self.state().0.number
    }

    fn renew(&self) -> Result<bool> {
        if self.lost.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let lasts = Duration::try_from_secs_f64(self.state().0.seconds).unwrap_or(LONGEST);
        let wait = Wait::Aside((lasts / 6).max(RELEASE));
        fault::point("lease-renew")?;
        self.write(false, wait)
            .with_context(|| format!("renewing the lease of {}", self.key.short()))
    }

    fn file(&self) -> Option<&File> {
        None
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.lost.load(Ordering::Relaxed) {
            let _ = self.write(true, Wait::Aside(RELEASE)); // As `RELEASE` says.
        }
    }
}

fn read(text: &str) -> Option<Sign> {
    serde_json::from_str(text).ok()
}

fn text(sign: &Sign) -> String {
    let text = serde_json::to_string_pretty(sign).expect("a sign has a JSON form");
    text + "\n"
}

fn tenant(sign: Sign) -> Tenant {
    let process = sign.holder.as_ref().map(ToString::to_string);
    Tenant {
        run: sign.run,
        node: sign.node,
        host: sign.holder.map(|holder| holder.host).unwrap_or_default(),
        process: process.unwrap_or_default(),
        since_ms: sign.since_ms,
    }
}

/// How many are held.
type Count = (Mutex<usize>, Condvar);

struct Counted(Arc<Count>);

impl Counted {
    fn new(count: &Arc<Count>) -> Counted {
        *count.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (count, none) = &*self.0;
        *count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        none.notify_all();
    }
}
