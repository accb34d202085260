//! How a node follows its calls, and what becomes of it where they stop.

use anyhow::anyhow;
use base::calls::Calls;
use base::text::dollars;
use engine::kind::context::{Interrupted, NodeCtx, Transient};
use services::client::CallObserver;
use services::fault::Stopped;

/// Passes calls on to a node: progress, cost, and whether it is to stop.
pub struct NodeObserver<'a> {
    pub ctx: &'a NodeCtx,
    /// What is counted, as `answers`.
    pub unit: &'static str,
    /// Calls of other clients of the node, or of earlier rounds.
    pub others: Calls,
    /// Whether this is the node's progress, or only a part of something else.
    pub shown: bool,
}

impl<'a> NodeObserver<'a> {
    pub fn new(ctx: &'a NodeCtx, unit: &'static str) -> NodeObserver<'a> {
        NodeObserver {
            ctx,
            unit,
            others: Calls::default(),
            shown: true,
        }
    }
}

impl CallObserver for NodeObserver<'_> {
    fn stop(&self) -> bool {
        self.ctx.stop()
    }

    fn progress(&mut self, done: usize, total: usize, calls: &Calls) {
        let mut all = self.others;
        all.add(calls);
        self.ctx.record_calls(&all);
        if self.shown {
            let counted = (done as u64, total as u64);
            let made = all.made + all.rejected;
            self.ctx
                .call_progress(counted, self.unit, &note(&all), made);
        }
    }

    fn say(&mut self, text: &str) {
        self.ctx.log(text);
    }
}

/// `12 from the journal, 3 retries, $0.42`.
fn note(calls: &Calls) -> String {
    let mut parts = vec![];
    let mut part = |n: u64, what: &str| {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    };
    part(calls.reused, "from the journal");
    part(calls.retries, "retries");
    part(calls.rejected, "rejected");
    if calls.dollars > 0.0 {
        parts.push(dollars(calls.dollars));
    }
    parts.join(", ")
}

/// What becomes of a node whose calls stopped.
pub fn stopped(stopped: Stopped) -> anyhow::Error {
    match stopped {
        Stopped::Asked => Interrupted.into(),
        Stopped::Unreachable(told) => Transient(anyhow!(told)).into(),
        Stopped::Denied(told) => anyhow!(told),
        Stopped::Budget(told) => anyhow!(
            "{told}; every answer so far is kept: raise the budget and run again to go on from there"
        ),
        Stopped::Journal(error) => error,
    }
}
