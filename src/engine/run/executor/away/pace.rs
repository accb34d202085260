//! How often one looks at what an attempt elsewhere has written: every look is a question to a file server that thousands of others
//! ask as well. Where something moved one looks again soon, where nothing does less and less often, and all together no more often
//! than a server bears.

use std::time::{Duration, Instant};

/// As soon as this, where few are looked at.
const SOON: Duration = Duration::from_millis(100);
/// All together, looks in a second.
const LOOKS: u32 = 200;
/// As late as this: at one whose worker is at work; at one that is the next of its job; at one that has others before it.
const AT_WORK: Duration = Duration::from_secs(2);
const NEXT: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(30);

/// How often one also looks at what changes without a word: whether whoever attends to an attempt gives signs of life.
const CLOSELY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// After a kill nobody waits longer than this for the scheduler to confirm it.
pub const KILLED: Duration = Duration::from_secs(20);

/// What is known of an attempt when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is about to end, or something moved: it may be over any moment.
    Moving,
    AtWork,
    Next,
    Later,
}

#[derive(Clone, Debug)]
pub struct Pace {
    due: Instant,
    pause: Duration,
    /// What many others leave between two looks.
    share: Duration,
}

impl Pace {
    pub fn new(now: Instant) -> Pace {
        Pace {
            due: now,
            pause: SOON,
            share: Duration::ZERO,
        }
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// Something is known to have happened.
    pub fn hurry(&mut self, now: Instant) {
        (self.due, self.pause) = (now, SOON);
    }

    /// `all`: how many are looked at besides.
    pub fn looked(&mut self, now: Instant, seen: Seen, all: usize) {
        self.share = Duration::from_secs(1) * all as u32 / LOOKS;
        let least = SOON.max(self.share);
        let most = match seen {
            Seen::Moving => least,
            Seen::AtWork => AT_WORK,
            Seen::Next => NEXT,
            Seen::Later => LATER,
        };
        self.pause = (2 * self.pause).min(most).max(least);
        self.due = now + self.pause;
    }

    /// Who looks so seldom does not know what happened in between: signs of life may have been kept from all. `closely`: how often one
    /// means to look. Where the job is over hardly anybody is left to give signs, and one may look as seldom as at what has not begun.
    pub fn lapse(&self, closely: Duration, over: bool) -> Duration {
        let seldom = if over { LATER } else { AT_WORK };
        3 * closely + 2 * seldom.max(self.share)
    }
}

/// `lasts`: how long a claim counts without a sign of life.
pub fn closely(lasts: Option<Duration>) -> Duration {
    let [least, most] = CLOSELY;
    lasts.map_or(most, |lasts| (lasts / 6).clamp(least, most))
}

/// For how long a sign of life has been the same for one who looked all the while. Whoever did not look has seen nothing: the folder
/// may have hung, for those who give the signs as well, and then they have all of their time again.
#[derive(Clone, Debug, Default)]
pub struct Stood {
    sign: String,
    /// Since when it is the same, and when it was looked at last.
    seen: Option<(Instant, Instant)>,
}

impl Stood {
    /// `lapse`: between two looks at most.
    pub fn see(&mut self, sign: &str, now: Instant, lapse: Duration) -> Duration {
        let before = self.seen.filter(|(_, looked)| {
            self.sign == sign && now.saturating_duration_since(*looked) <= lapse
        });
        let since = before.map_or(now, |(since, _)| since);
        self.sign = sign.into();
        self.seen = Some((since, now));
        now.saturating_duration_since(since)
    }
}
