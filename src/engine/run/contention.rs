//! Keys that somebody else executes: who that is, and what is done about workers whose engine is gone.

use super::exec::{Exec, Held};
use crate::events::event::Holder;
use crate::events::event::{Event, OrphanAction, State};
use crate::graph::NodeId;
use crate::run::holder;
use base::hash::Key;
use std::time::{Duration, Instant};

/// Who holds a key is read from files; no need to do so with every look at its lock.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Exec<'_> {
    pub(super) fn wait_for_holder(&mut self, id: NodeId, key: Key, twin: bool) {
        let fresh = self
            .held
            .get(&id)
            .is_some_and(|h| h.looked.elapsed() < LOOK_EVERY);
        if twin || !fresh {
            let by = if twin {
                None
            } else {
                holder::find(self.store, &*self.settings.executor, &key)
            };
            self.see(id, by);
        }
        let by = self.held.get(&id).and_then(|h| h.by.clone());
        self.set(id, State::Held { key, by });
        self.end_orphan(id);
    }

    fn see(&mut self, id: NodeId, by: Option<Holder>) {
        let before = self.held.remove(&id);
        let same =
            |held: &Held| held.by.as_ref().map(|b| &b.attempt) == by.as_ref().map(|b| &b.attempt);
        let mut orphan = before.filter(same).and_then(|held| held.orphan);
        if let Some(holder) = by.as_ref().filter(|h| h.orphan && orphan.is_none()) {
            orphan = Some((Instant::now(), false));
            self.tell(id, holder.clone(), OrphanAction::Seen);
        }
        let looked = Instant::now();
        self.held.insert(id, Held { looked, by, orphan });
    }

    /// Kills an orphan that has had its time.
    fn end_orphan(&mut self, id: NodeId) {
        let Some(patience) = self.settings.orphans.patience else {
            return;
        };
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        let (Some((since, false)), Some(holder)) = (held.orphan, held.by.clone()) else {
            return;
        };
        if since.elapsed() < patience {
            return;
        }
        held.orphan = Some((since, true));
        if holder::kill(self.store, &*self.settings.executor, &holder) {
            self.tell(id, holder, OrphanAction::Killed);
        }
    }

    /// The lock is ours: whoever had it has ended.
    pub(super) fn got_lock(&mut self, id: NodeId) {
        let Some(held) = self.held.remove(&id) else {
            return;
        };
        if let (Some((_, false)), Some(holder)) = (held.orphan, held.by) {
            self.tell(id, holder, OrphanAction::Ended);
        }
    }

    fn tell(&mut self, id: NodeId, holder: Holder, action: OrphanAction) {
        let node = self.name(id);
        self.emit(Event::Orphan {
            node,
            holder,
            action,
        });
    }
}
