//! Who starts next: threads, GPUs, memory and the number of nodes at once.

use super::exec::Exec;
use super::supervise::UNREACHED;
use crate::events::event::State;
use crate::graph::NodeId;
use crate::kind::failure::Class;
use crate::kind::{Needs, Threads};
use crate::plan::SLACK;
use crate::run::executor::{Elsewhere, Expected, Resources};
use base::text::count;
use std::time::Instant;

/// Threads that a node gets at least if it can use them all: training scales well to two threads.
const FEW: usize = 2;

/// Nodes whose remaining paths are at least this share of the longest ready one's are alike: where one is ready or running
/// for every core, a core each is the better use, as nothing waits for a second thread.
const ALIKE: f64 = 0.75;

/// Nodes whose outputs are being committed at once, at most: a disk that is slower than the nodes is not to be buried.
const COMMITTED: usize = 16;

/// Nodes that are being committed, or whose attempts are being removed, at once: each has a thread and open files.
const TRAILING: usize = 64;

/// So many of the ready nodes are looked at in one round.
const WINDOW: usize = 64;

impl Exec<'_> {
    /// Starts what the free threads and GPUs allow, the longest remaining path first. Nodes that can use all cores share them evenly,
    /// but none gets fewer than `FEW`: a long node keeps what it was given, so it had better wait for enough. Unless many
    /// long ones are ready: then a thread each.
    pub(super) fn start_ready(&mut self) {
        let before = self.running.len();
        self.start_due();
        if let Some(there) = self.settings.executor.elsewhere()
            && self.running.len() == before
        {
            there.at_rest();
        }
    }

    fn start_due(&mut self) {
        if self.ready.len() == 0 {
            return;
        }
        let now = Instant::now();
        self.later.retain(|_, until| *until > now);
        let due = |id: &NodeId| !self.later.contains_key(id);
        let order: Vec<NodeId> = self
            .ready
            .longest_first()
            .filter(due)
            .take(WINDOW)
            .collect();
        let all = self.settings.capacity.threads.max(1);
        let longest = order.first().map_or(0.0, |id| self.remaining[*id]);
        let long = |id: &&NodeId| {
            self.needs(**id).threads == Threads::All && self.remaining[**id] >= ALIKE * longest
        };
        let alike = order.iter().chain(self.running.keys()).filter(long);
        let few = match alike.count() >= all {
            true => 1,
            false => FEW.min(all),
        };
        let mut left = order.len();
        for id in order {
            // Both empty the queue, or will.
            if self.trouble.is_some() || self.halted.is_some() {
                return;
            }
            if self.looks_first(id) {
                left -= 1;
                continue;
            }
            let needs = self.needs(id);
            if let Some(there) = self.settings.executor.elsewhere() {
                self.start_elsewhere(there, id);
                continue;
            }
            if needs.gpus > self.settings.capacity.gpus {
                self.refuse(id, needs.gpus);
                left -= 1;
                continue;
            }
            let threads = match needs.threads {
                Threads::None => 0,
                Threads::One => 1,
                Threads::All => (self.free.threads / left).max(few),
            };
            left -= 1;
            if threads > self.free.threads || needs.gpus > self.free.gpus || !self.has_room(id) {
                continue;
            }
            if let Some(other) = self.has_its_card(id) {
                self.wait_for_card(id, other);
                continue;
            }
            let taken = Resources {
                threads,
                gpus: needs.gpus,
                memory: None,
            };
            if let Err(error) = self.start(id, taken) {
                self.give_up(id, &error);
            }
        }
    }

    /// What it takes there is no part of what there is here: as many jobs at once as were allowed.
    fn start_elsewhere(&mut self, there: &dyn Elsewhere, id: NodeId) {
        let most = self.settings.capacity.threads;
        let most = self.settings.jobs.map_or(most, |jobs| jobs.min(most));
        let most = most.saturating_sub(self.leasing.count());
        if !there.has_room(&self.needs_there(id), self.expected(id), most) {
            return;
        }
        if let Err(error) = self.start(id, Resources::default()) {
            self.give_up(id, &error);
        }
    }

    /// What is asked for a node that runs elsewhere: as it was planned; of a hit whose bytes are gone, what was said of it.
    pub(super) fn needs_there(&self, id: NodeId) -> Needs {
        let planned = self.needs.get(id).copied();
        planned.unwrap_or_else(|| self.needs(id))
    }

    /// How long a node will take, for others that would share a job with it: as it was planned, else as the longest of its kind took in
    /// this run. None of one that was tried before, since it may be what ended its job; nor of one that waited for its turn in vain twice.
    pub(super) fn expected(&self, id: NodeId) -> Option<Expected> {
        let tried = self.tries.range((id, "")..);
        let mut tried = tried.take_while(|((of, _), _)| *of == id);
        if tried.any(|((_, class), times)| *class != UNREACHED || *times > 1) {
            return None;
        }
        let node = self.graph.node(id);
        let planned = self.lengths.get(id).copied();
        let seconds = planned.or_else(|| self.longest.get(node.kind.name).copied())?;
        let said = node.needs().hours;
        let limited = self.needs_there(id).hours.is_some();
        let hours = said.or(limited.then_some(seconds * SLACK / 3600.0));
        Some(Expected { seconds, hours })
    }

    /// One that could wait for ever: of those that were to run, `wanting` has refused it before; this was a hit whose bytes are gone.
    fn refuse(&mut self, id: NodeId, gpus: usize) {
        let needed = count(gpus as u64, "GPU", "GPUs");
        let there = self.settings.capacity.gpus;
        let failed = State::Failed {
            message: format!("it needs {needed}, and there are {there}"),
            tail: String::new(),
            class: Class::Error,
            peak_bytes: None,
        };
        self.fail(id, failed);
    }

    /// The node of this run that computes on the GPU of this one. What other runs have is seen by workers.
    fn has_its_card(&self, id: NodeId) -> Option<NodeId> {
        let device = self.graph.node(id).device().filter(|d| d.is_gpu())?;
        let mut works = self.running.iter().filter(|(_, r)| r.task.is_some());
        let other = works.find(|(other, _)| self.graph.node(**other).device() == Some(device));
        other.map(|(other, _)| *other)
    }

    fn wait_for_card(&mut self, id: NodeId, other: NodeId) {
        if self.without_card.insert(id) {
            let device = self.graph.node(id).device().unwrap_or_default();
            let other = self.name(other);
            self.log(
                id,
                format!("waits for {device}, which `{other}` computes on"),
            );
        }
    }

    fn needs(&self, id: NodeId) -> Needs {
        self.graph.node(id).needs()
    }

    /// Whether a node may run beside those that do. One that is alone may as soon as what was committed is put away, so none waits for
    /// ever.
    fn has_room(&self, id: NodeId) -> bool {
        let committed = self.running.values().filter(|r| r.task.is_none());
        let committed = committed.count();
        if self.sweeping.len() + committed >= TRAILING {
            return false;
        }
        if self.running.is_empty() && self.leasing.count() == 0 {
            return true;
        }
        if committed >= COMMITTED {
            return false;
        }
        if self
            .settings
            .jobs
            .is_some_and(|most| self.running.len() + self.leasing.count() >= most)
        {
            return false;
        }
        let expected = |id: &NodeId| self.peaks.get(*id).copied().unwrap_or_default();
        // A node that has grown beyond what was expected counts as what it is.
        let taken = self
            .running
            .iter()
            .map(|(id, r)| expected(id).max(r.watch.peak()))
            .chain(self.leasing.asked.keys().map(expected));
        let taken: u64 = taken.sum();
        let wanted = expected(&id);
        wanted == 0
            || self
                .settings
                .capacity
                .memory
                .is_none_or(|all| taken + wanted <= all)
    }
}
