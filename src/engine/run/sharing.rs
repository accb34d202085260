//! Asks a remote while a run goes on: before a node starts, whether somebody has made it meanwhile, and for the bytes of its inputs;
//! afterwards, to take what was made. On threads of their own, few at once; a run never waits for them longer than it is worth.

use super::errands::{Back, Errand, Fetched};
use super::exec::{Exec, News};
use super::leases::Answer;
use super::leasing;
use crate::events::event::State;
use crate::graph::NodeId;
use crate::store::index::RecordSummary;
use crate::store::record::{Artifact, Record};
use crate::store::remote::Published;
use crate::store::{Lookup, Store};
use anyhow::Result;
use base::device::Moved;
use base::hash::Key;
use base::text::count;
use base::threads;
use std::collections::VecDeque;
use std::thread::Scope;
use std::time::{Duration, Instant};

/// Errands at once; of these, records that are given to the remote.
const AT_ONCE: usize = 8;
const PUBLISHED_AT_ONCE: usize = 4;

/// What a pull may take, however soon the node is made again.
const SHORT: Duration = Duration::from_secs(2);

/// When every node has ended, the run waits for records on their way as long as in this time one arrives or so many bytes move.
const LOOK: Duration = Duration::from_secs(2);
const MOVES: u64 = 2 << 20;

/// Whose bytes: an input of a node, or an output of a hit.
struct Wanted {
    of: NodeId,
    record: Record,
    outputs: Vec<String>,
}

impl<'a> Exec<'a> {
    /// Whether the remote is to be asked before this node starts, or is being asked.
    pub(super) fn looks_first(&mut self, id: NodeId) -> bool {
        if self.errands.before.contains(&id) || self.leasing.is_asked(id) {
            return true;
        }
        if self.errands.asked.contains_key(&id) || !self.store.has_remote() {
            return false;
        }
        if self.errands.before.len() < AT_ONCE {
            self.errands.asked.insert(id, 1);
            self.errands.before.insert(id);
            self.errands.ask(Errand::Before(id));
        }
        true
    }

    /// Sends what waits, as far as there is room; and at the end of a run sees that it does not wait for nothing.
    pub(super) fn send<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        self.check_end();
        while let Some(errand) = self.errands.first.pop_front() {
            self.errands.under_way += 1;
            self.go(errand, scope);
        }
        let mut later = VecDeque::new();
        while self.errands.under_way < AT_ONCE
            && let Some(errand) = self.errands.waiting.pop_front()
        {
            let publishes = matches!(errand, Errand::Publish(..));
            if publishes && self.errands.publishing >= PUBLISHED_AT_ONCE {
                later.push_back(errand);
                continue;
            }
            self.errands.publishing += usize::from(publishes);
            self.errands.under_way += 1;
            self.go(errand, scope);
        }
        later.append(&mut self.errands.waiting);
        self.errands.waiting = later;
        let over = self.open == 0 && self.errands.waiting.is_empty();
        if over && self.errands.under_way == 0 && self.errands.unsettled > 0 {
            self.errands.unsettled = 0;
            self.errands.under_way += 1;
            self.go(Errand::Settle, scope);
        }
    }

    fn go<'scope>(&mut self, errand: Errand, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let (store, sender) = (self.store, self.sender.clone());
        let stop = self.settings.stop.clone();
        let wanted = self.wanted(&errand);
        let ask = match &errand {
            Errand::Before(id) if !self.planner.forced(*id) && !self.planner.is_lost(*id) => {
                self.ready.get(*id).map(|ready| ready.key.clone())
            }
            _ => None,
        };
        let of = match &errand {
            Errand::Bytes(id, _) => Some(*id),
            _ => None,
        };
        let lease_of = match &errand {
            Errand::Lease { id, .. } => Some(*id),
            _ => None,
        };
        // What another machine makes needs no inputs here.
        let (look, theirs) = match &errand {
            Errand::Before(id) => {
                let theirs = self.is_theirs(*id);
                let look = (theirs || !wanted.is_empty()) && self.wants_lease(*id);
                (look, theirs)
            }
            _ => (false, false),
        };
        let run = move || {
            let stopped = || stop.requests() > 0;
            let back = match errand {
                Errand::Before(id) => {
                    let asked = Asked {
                        key: ask.as_ref(),
                        look,
                        theirs,
                    };
                    Back::Before(id, fetch(store, id, asked, &wanted, &stopped))
                }
                Errand::Lease { id, key, run, node } => {
                    Back::Lease(id, leasing::ask(store, &key, &run, &node))
                }
                Errand::Bytes(id, brief) => {
                    let fetched = fetch(store, id, Asked::default(), &wanted, &stopped);
                    Back::Bytes(id, brief, fetched)
                }
                Errand::Publish(id, record) => {
                    // Who asks twice wants to be gone; after the first request it may end.
                    let published = store.publish(&record, true, &|| stop.requests() > 1);
                    Back::Published(id, record, published)
                }
                Errand::Settle => {
                    Back::Settled(store.remote().map_or(Ok(()), |remote| remote.settle()))
                }
            };
            let _ = sender.send(News::Back(back)); // The loop waits for it.
        };
        if let Err(error) = threads::start_in(scope, run) {
            // The errand is lost with the thread.
            self.errands.under_way -= 1;
            self.errands.before.clear();
            if let Some(id) = of {
                self.set(id, State::Interrupted);
            }
            if let Some(id) = lease_of {
                self.leased(id, Answer::Unknown);
            }
            self.trouble.get_or_insert_with(|| format!("{error:#}"));
        }
    }

    /// The bytes that an errand is for, as far as they are not here.
    fn wanted(&self, errand: &Errand) -> Vec<Wanted> {
        let record = |key: &Key| self.store.record(key).ok().flatten();
        match errand {
            Errand::Before(id) => {
                let inputs = self.graph.node(*id).inputs.values();
                let wanted = inputs.filter_map(|edge| {
                    let brief = self.briefs.get(edge.node)?;
                    Some(Wanted {
                        of: edge.node,
                        record: record(&brief.key).filter(|r| self.lacks(r, edge.output))?,
                        outputs: vec![edge.output.to_string()],
                    })
                });
                wanted.collect()
            }
            Errand::Bytes(id, brief) => {
                let wanted = record(&brief.key).map(|record| Wanted {
                    of: *id,
                    outputs: record.outputs.keys().cloned().collect(),
                    record,
                });
                wanted.into_iter().collect()
            }
            Errand::Lease { .. } | Errand::Publish(..) | Errand::Settle => vec![],
        }
    }

    /// Whether bytes of this output are not here, and may be at the remote.
    fn lacks(&self, record: &Record, output: &str) -> bool {
        let files = record.outputs.get(output).map(|a| &a.files);
        let mut files = files.into_iter().flatten();
        files.any(|blob| !self.store.objects().has(blob)) && self.store.may_pull(&record.key)
    }

    pub(super) fn back(&mut self, back: Back) {
        self.errands.under_way -= 1;
        match back {
            Back::Before(id, fetched) => self.before_start(id, fetched),
            Back::Lease(id, answer) => self.leased(id, answer),
            Back::Bytes(id, brief, fetched) => self.bytes_came(id, brief, fetched),
            Back::Published(id, record, published) => self.published(id, &record, published),
            Back::Settled(settled) => {
                if let Err(error) = settled {
                    self.log_somewhere(format!("{error:#}; `pipe push` puts it right"));
                }
            }
        }
        if let Some(text) = self.store.remote_remark() {
            self.log_somewhere(text);
        }
    }

    fn before_start(&mut self, id: NodeId, fetched: Fetched) {
        self.errands.before.remove(&id);
        for (node, text) in fetched.told {
            self.log(node, text);
        }
        if fetched.read {
            self.leasing.unread.remove(&id);
        }
        // It was stopped meanwhile.
        let Some(ready) = self.ready.get(id) else {
            return;
        };
        if fetched.theirs.is_some() || fetched.unread {
            let key = ready.key.clone();
            return self.others_make(id, key, fetched.theirs);
        }
        if let Some(brief) = fetched.found {
            self.ready.remove(id);
            self.use_hit(id, *brief);
            return self.advance();
        }
        if !fetched.lost.is_empty() {
            for above in fetched.lost {
                // One that was made here meanwhile has its bytes.
                if matches!(self.states[above], State::Hit { .. }) {
                    self.invalidate(above);
                }
            }
            // Its inputs will be others' work.
            self.errands.asked.remove(&id);
            self.wait_again(id);
        }
    }

    /// It is judged anew when its inputs are there.
    pub(super) fn wait_again(&mut self, id: NodeId) {
        self.ready.remove(id);
        self.set(id, State::Waiting);
        self.advance();
    }

    fn bytes_came(&mut self, id: NodeId, mut brief: Box<RecordSummary>, fetched: Fetched) {
        for (node, text) in fetched.told {
            self.log(node, text);
        }
        if fetched.lost.is_empty() {
            brief.evicted = false;
            self.hit(id, *brief);
            return self.advance();
        }
        self.planner.lose(id);
        if self.settings.stop.requests() > 0 {
            self.set(id, State::Interrupted);
            return self.advance();
        }
        self.set(id, State::Waiting);
        self.due.insert(id);
        self.advance();
    }

    fn published(&mut self, id: NodeId, record: &Record, published: Result<Option<Published>>) {
        self.errands.publishing -= 1;
        self.leasing.published(id);
        match published {
            Ok(Some(Published::Other(there))) => {
                // Its bytes may have been given, and gone while somebody made room.
                self.errands.unsettled += 1;
                if let Some(text) = differs(record, &there) {
                    self.log(id, text);
                }
            }
            Ok(Some(_)) => {
                self.errands.arrived += 1;
                self.errands.unsettled += 1;
            }
            // It takes nothing, or is closed: that is told once.
            Ok(None) => {}
            Err(error) => {
                let remote = self.store.remote();
                let refuses = remote.is_some_and(|r| !r.takes());
                let told = remote.is_none() || refuses && self.errands.refusal_told;
                self.errands.refusal_told |= refuses;
                if !told {
                    self.log(id, format!("{error:#}; it is in the store of this machine"));
                }
            }
        }
    }

    /// Of no node in particular.
    fn log_somewhere(&mut self, text: String) {
        if let Some(id) = self.planner.selected().last() {
            self.log(*id, text);
        }
    }

    /// When every node has ended, what is still on its way to the remote may arrive, as long as it moves.
    fn check_end(&mut self) {
        if self.open > 0 || !self.errands.busy() {
            return;
        }
        let Some(remote) = self.store.remote() else {
            self.errands.waiting.clear();
            self.errands.unsettled = 0;
            return;
        };
        let moved = (remote.moved(), self.errands.arrived);
        let Some((looked, bytes, records)) = self.errands.looked else {
            self.errands.looked = Some((Instant::now(), moved.0, moved.1));
            return;
        };
        let stopped = self.settings.stop.requests() > 1;
        if looked.elapsed() < LOOK && !stopped {
            return;
        }
        self.errands.looked = Some((Instant::now(), moved.0, moved.1));
        let stands = moved.0.saturating_sub(bytes) < MOVES && moved.1 == records;
        if !stopped && !stands {
            return;
        }
        let waiting = self.errands.waiting.iter();
        let left = waiting.filter(|errand| matches!(errand, Errand::Publish(..)));
        let left = (left.count() + self.errands.publishing) as u64;
        let why = match stopped {
            true => "the run was stopped",
            false => "it is too slow to be waited for",
        };
        let text = format!(
            "{} not at {} yet, as {why}; `pipe push` sends what is missing",
            count(left, "record is", "records are"),
            remote.name()
        );
        remote.close();
        self.log_somewhere(text);
    }
}

/// What is asked of a node.
#[derive(Default)]
struct Asked<'a> {
    /// Whether somebody has made what has this key.
    key: Option<&'a Key>,
    /// Whether somebody makes it now.
    look: bool,
    /// Whether somebody was seen to make it.
    theirs: bool,
}

/// Whether somebody has made the node meanwhile; else the bytes of its inputs.
fn fetch(
    store: &Store,
    id: NodeId,
    asked: Asked,
    wanted: &[Wanted],
    stopped: &dyn Fn() -> bool,
) -> Fetched {
    let mut fetched = Fetched::default();
    if let Some(key) = asked.key {
        match store.ask_remote(key) {
            Ok(Lookup::Evicted(record)) => {
                fetched.found = Some(Box::new(RecordSummary::of(&record, true)));
                return fetched;
            }
            Ok(_) => {}
            Err(error) => fetched
                .told
                .push((id, format!("{error:#}; it is left alone"))),
        }
        if let Some((leases, _)) = store.leases().filter(|_| asked.look) {
            match leases.tenant(key) {
                Ok(tenant) => (fetched.theirs, fetched.read) = (tenant, true),
                // Who makes it is not known to have ended; of one that nobody was seen to make the lease is asked for.
                Err(_) => fetched.unread = asked.theirs,
            }
        }
        if fetched.theirs.is_some() || fetched.unread {
            return fetched;
        }
    }
    for one in wanted {
        let began = Instant::now();
        let most = SHORT.max(Duration::try_from_secs_f64(one.record.cost.seconds).unwrap_or(SHORT));
        let enough = || match (stopped(), began.elapsed() > most) {
            (true, _) => Some("the run was stopped"),
            (_, true) => Some("it takes longer than making it took"),
            _ => None,
        };
        let artifacts = one.outputs.iter();
        let artifacts = artifacts.filter_map(|o| Some((o, one.record.outputs.get(o)?)));
        for (output, artifact) in artifacts {
            match pull(store, &one.record.key, output, artifact, &enough) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    let text = match stopped() {
                        true => format!("{error:#}"),
                        false => format!("{error:#}; it is made here"),
                    };
                    fetched.told.push((one.of, text));
                }
            }
            fetched.lost.insert(one.of);
            break;
        }
    }
    fetched
}

fn pull(
    store: &Store,
    key: &Key,
    output: &str,
    artifact: &Artifact,
    enough: &dyn Fn() -> Option<&'static str>,
) -> Result<bool> {
    match artifact.files.iter().all(|blob| store.objects().has(blob)) {
        true => Ok(true),
        false => store.pull(key, output, artifact, enough),
    }
}

/// What is to be said of a record that has the key at the remote, where its outputs are others.
fn differs(record: &Record, there: &str) -> Option<String> {
    let there = Record::from_text(there).ok()?;
    let other = |(name, a): (&String, &Artifact)| {
        let same = there
            .outputs
            .get(name)
            .is_some_and(|b| b.digest == a.digest);
        (!same).then(|| format!("`{name}`"))
    };
    let others: Vec<String> = record.outputs.iter().filter_map(other).collect();
    (!others.is_empty()).then(|| {
        let made = &there.provenance;
        let [own, its] = [record, &there].map(|r| &r.provenance.origin.devices[..]);
        let why = match Moved::between(its, own) {
            None => "the node is not reproducible".to_string(),
            Some(moved) => format!(
                "they are of another device: {} there, {} here",
                moved.before, moved.now
            ),
        };
        format!(
            "the remote has other bytes of {}, made by run {} of `{}`: {why}",
            others.join(", "),
            made.run,
            made.recipe
        )
    })
}
