//! How long what is open will take: nodes that wait for each other, so many at work at once. Knows no events and no clock.

use base::text::duration;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A node that is not done.
pub struct Open {
    /// That it still takes.
    pub seconds: f64,
    /// Places, among all that are open, of those that have to be done before; each before its own.
    pub after: Vec<usize>,
    /// It is at work.
    pub works: bool,
}

/// What a run still takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Left {
    pub seconds: f64,
    /// Every node's share of it is.
    pub known: bool,
    /// Of some of them no more than their share is known.
    pub at_most: bool,
}

impl Left {
    /// `about 12 m`; nothing where nothing can be said.
    pub fn told(&self) -> Option<String> {
        let seconds = duration(self.seconds);
        match (self.known, self.at_most) {
            (true, false) => Some(format!("about {seconds}")),
            (true, true) => Some(format!("up to {seconds}")),
            (false, false) if self.seconds > 0.0 => Some(format!("more than {seconds}")),
            (false, _) => None,
        }
    }
}

/// Until the last is done, if as many are at work as are now, at least one, and of those that could begin the one begins from which the
/// longest way to the end leads, as a run starts them.
pub fn seconds(all: &[Open]) -> f64 {
    let free = all.iter().filter(|open| open.works).count().max(1);
    let ways = ways(all);
    let mut below: Vec<Vec<usize>> = vec![vec![]; all.len()];
    let mut waits: Vec<usize> = vec![0; all.len()];
    for (i, open) in all.iter().enumerate() {
        waits[i] = open.after.len();
        for above in &open.after {
            below[*above].push(i);
        }
    }
    // Those at work go on; of the others the longest way first.
    let rank = |i: usize| (all[i].works, Length(ways[i]), Reverse(i));
    let ready = (0..all.len()).filter(|i| waits[*i] == 0 || all[*i].works);
    let mut ready: BinaryHeap<_> = ready.map(rank).collect();
    let mut begun: Vec<bool> = vec![false; all.len()];
    let mut at_work: BinaryHeap<Reverse<(Length, usize)>> = BinaryHeap::new();
    let mut now = 0.0;
    loop {
        while at_work.len() < free {
            let Some((_, _, Reverse(i))) = ready.pop() else {
                break;
            };
            if !std::mem::replace(&mut begun[i], true) {
                at_work.push(Reverse((Length(now + all[i].seconds), i)));
            }
        }
        let Some(Reverse((Length(ends), i))) = at_work.pop() else {
            return now;
        };
        now = ends;
        for next in &below[i] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                ready.push(rank(*next));
            }
        }
    }
}

/// By node, the seconds of the longest way from its begin to the end.
fn ways(all: &[Open]) -> Vec<f64> {
    let mut longest: Vec<f64> = vec![0.0; all.len()];
    for (i, open) in all.iter().enumerate().rev() {
        longest[i] += open.seconds;
        for above in &open.after {
            longest[*above] = longest[*above].max(longest[i]);
        }
    }
    longest
}

/// Seconds as they are compared.
#[derive(Clone, Copy, PartialEq)]
struct Length(f64);

impl Eq for Length {}

impl PartialOrd for Length {
    fn partial_cmp(&self, other: &Length) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Length {
    fn cmp(&self, other: &Length) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
