//! Leases of nodes at a remote: of those that take long, whoever is about to make one asks for it there, when there is room for it here;
//! and who finds that another machine makes it waits without room, looks in at a calm pace, and takes over the record or the lease.

use super::errands::Errand;
use super::exec::{Exec, STOP_GRACE};
use super::executor::Resources;
use super::keeper::{Keeper, LEFT};
use super::leases::{Answer, Waiting};
use super::queue::Ready;
use crate::events::event::{Event, Holder, State};
use crate::graph::NodeId;
use crate::kind::failure::Class;
use crate::store::claims::lease::{Asked, Tenant};
use crate::store::claims::{Claim, Whose};
use crate::store::index::RecordSummary;
use crate::store::{Lookup, Store};
use crate::system::host;
use base::hash::Key;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How soon who waits for another machine looks in again: a part of the time that he has waited, and no sooner than this.
const SOON: Duration = Duration::from_millis(500);
const PART: u32 = 5;

/// How long one waits for another machine at most: so many times what a node is expected to take, and no less than an hour; where
/// nobody knows what it takes, a day.
const LONG: f64 = 4.0;
const AT_LEAST: Duration = Duration::from_secs(3600);
const UNKNOWN: f64 = 86_400.0;

impl Exec<'_> {
    /// Whether a node's lease is asked for before it is made. What is made whatever others have needs none.
    pub(super) fn wants_lease(&self, id: NodeId) -> bool {
        let Some((_, terms)) = self.store.leases() else {
            return false;
        };
        let seconds = self.lengths.get(id).copied().unwrap_or(f64::INFINITY);
        let ours = self.planner.forced(id) || self.planner.is_lost(id);
        seconds >= terms.least_seconds && !ours && !self.leasing.over.contains(&id)
    }

    /// How long one waits for others to make it: whoever may write leases could hold one for ever.
    fn bearable(&self, id: NodeId) -> Duration {
        let seconds = self
            .lengths
            .get(id)
            .map_or(UNKNOWN, |seconds| LONG * seconds);
        Duration::try_from_secs_f64(seconds).map_or(AT_LEAST, |long| long.max(AT_LEAST))
    }

    /// Whether another machine was seen to make it, so that one looks whether it still does.
    pub(super) fn is_theirs(&self, id: NodeId) -> bool {
        self.leasing.theirs.contains_key(&id)
    }

    /// Its room here is kept until there is an answer.
    pub(super) fn ask_lease(&mut self, id: NodeId, lock: Arc<dyn Claim>, taken: Resources) {
        let ready = self.ready.get(id);
        let key = ready.expect("only a ready node is started").key.clone();
        self.free.take(&taken);
        let waiting = Waiting {
            key: key.clone(),
            lock,
            taken,
        };
        self.leasing.asked.insert(id, waiting);
        let (run, node) = (self.run.clone(), self.name(id));
        self.errands
            .first
            .push_back(Errand::Lease { id, key, run, node });
    }

    pub(super) fn leased(&mut self, id: NodeId, answer: Answer) {
        let waiting = self.leasing.asked.remove(&id);
        let Waiting { key, lock, taken } = waiting.expect("it was asked for");
        self.free.give_back(&taken);
        // It was stopped meanwhile.
        if self.ready.get(id).is_none() {
            return;
        }
        let lease = match answer {
            Answer::Ours(keeper) => Some(Arc::new(keeper)),
            Answer::Unknown => None,
            Answer::Made(brief) => {
                drop(lock);
                self.ready.remove(id);
                self.use_hit(id, *brief);
                return self.advance();
            }
            Answer::Theirs(tenant) => {
                drop(lock);
                return self.others_make(id, key, Some(tenant));
            }
            Answer::Unread { read } => {
                drop(lock);
                if read {
                    self.leasing.unread.remove(&id);
                }
                return self.others_make(id, key, None);
            }
        };
        self.leasing.theirs.remove(&id);
        self.leasing.unread.remove(&id);
        self.leasing.given.insert(id, (lock, lease));
        if let Err(error) = self.start(id, taken) {
            self.give_up(id, &error);
        }
    }

    /// Why one waits no longer for whoever has its lease. Where nothing of that can be read he may be gone when it has lasted.
    fn waited(&mut self, id: NodeId, is_read: bool, lasts: Duration) -> Option<&'static str> {
        let now = Instant::now();
        let since = *self.leasing.theirs.entry(id).or_insert(now);
        if is_read {
            self.leasing.unread.remove(&id);
        } else if now - *self.leasing.unread.entry(id).or_insert(now) > lasts {
            return Some(
                "somebody has its lease, which cannot be read for longer than one lasts: it is made here as well",
            );
        }
        (now - since > self.bearable(id))
            .then_some("another run has its lease for too long: it is made here as well")
    }

    /// It waits, and is asked for again after a while. `tenant`: who has its lease, as far as that can be read.
    pub(super) fn others_make(&mut self, id: NodeId, key: Key, tenant: Option<Tenant>) {
        // Its inputs are brought when it is made here.
        self.errands.asked.remove(&id);
        let lasts = self.store.leases().map_or(SOON, |(_, terms)| terms.lasts);
        if let Some(why) = self.waited(id, tenant.is_some(), lasts) {
            self.leasing.over.insert(id);
            return self.log(id, why.into());
        }
        let since = self.leasing.theirs[&id];
        let pause = (since.elapsed() / PART).max(SOON).min(lasts / 3);
        self.later.insert(id, Instant::now() + pause);
        let remote = self.store.remote().map(|remote| remote.name().to_string());
        // Of a text that says nothing nobody can tell whose it is.
        let tenant = tenant.filter(|tenant| !tenant.host.is_empty());
        let by = tenant.map(|tenant| Holder {
            run: tenant.run,
            node: tenant.node,
            attempt: String::new(),
            here: tenant.host == host(),
            host: tenant.host,
            worker: tenant.process,
            since_ms: tenant.since_ms,
            orphan: false,
            remote,
        });
        self.set(id, State::Held { key, by });
    }

    /// Whose lease is somebody else's by now stops: they make it.
    pub(super) fn stop_left(&mut self) {
        for running in self.running.values_mut() {
            let lost = running.lease.as_ref().is_some_and(|lease| lease.lost());
            let Some(task) = running.task.as_ref().filter(|_| lost) else {
                continue;
            };
            match running.left {
                None => {
                    task.stop();
                    running.left = Some(Instant::now());
                }
                Some(since) if since.elapsed() > STOP_GRACE => task.kill(),
                Some(_) => {}
            }
        }
    }

    /// A node that was stopped for that waits for them.
    pub(super) fn give_way(&mut self, id: NodeId) {
        let running = self.running.remove(&id).expect("only a running node ends");
        self.free.give_back(&running.taken);
        if self.settings.executor.elsewhere().is_none() {
            running.attempt.drop_outputs();
        }
        if self.stopping.is_some() {
            self.set(id, State::Interrupted);
            return self.advance();
        }
        // Nothing starts any more, so nobody would ever look whether they have made it.
        if let Some(because) = self.halted.clone() {
            self.set(id, State::Skipped { because });
            return self.advance();
        }
        self.emit(Event::Retry {
            node: self.name(id),
            class: Class::Evicted,
            message: LEFT.into(),
            attempt: 1,
            pause_seconds: 0.0,
        });
        let (resumable, resumed) = (running.attempt.resumable(), running.attempt.fraction());
        let key = running.key.clone();
        self.set(
            id,
            State::Ready {
                key: key.clone(),
                reasons: vec![],
                resumable,
                resumed,
            },
        );
        let manifest = running.manifest;
        self.ready
            .insert(id, self.remaining[id], Ready { key, manifest });
        self.errands.asked.remove(&id);
        self.leasing.theirs.insert(id, Instant::now());
    }

    /// It was finished here and has a record at the remote, whose maker took over its lease.
    pub(super) fn beaten(&mut self, id: NodeId, brief: RecordSummary) {
        let running = self.running.remove(&id).expect("only a running node ends");
        self.free.give_back(&running.taken);
        running.attempt.drop_outputs();
        self.log(id, format!("{LEFT}; its record counts"));
        self.use_hit(id, brief);
        self.advance();
    }
}

/// On a thread of its own.
pub(super) fn ask(store: &Store, key: &Key, run: &str, node: &str) -> Answer {
    let Some((leases, terms)) = store.leases() else {
        return Answer::Unknown;
    };
    // What goes wrong with the remote is told of it as a whole.
    let claim = match leases.ask(key, Whose { run, node }) {
        Ok(Asked::Ours(claim)) => claim,
        Ok(Asked::Theirs(tenant)) => return Answer::Theirs(tenant),
        Ok(Asked::Unread { read }) => return Answer::Unread { read },
        Err(_) => return Answer::Unknown,
    };
    // Whoever had it before may have made it.
    if claim.number() > 1
        && let Some(brief) = made(store, key)
    {
        return Answer::Made(Box::new(brief));
    }
    Keeper::of_lease(claim, terms.lasts).map_or(Answer::Unknown, Answer::Ours)
}

/// What the remote has of a key.
pub(super) fn made(store: &Store, key: &Key) -> Option<RecordSummary> {
    match store.ask_remote(key) {
        Ok(Lookup::Evicted(record)) => Some(RecordSummary::of(&record, true)),
        _ => None,
    }
}
