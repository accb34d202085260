//! What one knows from here of an attempt that a job attends to: what its worker said so far, what the engine wants of it.

use super::super::{Listener, News, Place};
use super::pace::{Pace, Stood};
use crate::kind::attempt::{Attempt, Spec};
use crate::kind::failure::End;
use crate::kind::messages::Message;
use crate::run::dispatch::Asked;
use base::hash::Key;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Of the words of a worker, read at once.
const MOST: u64 = 4 << 20;

/// How an attempt ended, for whoever waits for it.
#[derive(Clone, Default)]
pub struct Ended(Arc<Mutex<Option<End>>>);

impl Ended {
    fn set(&self, end: End) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    pub fn take(&self) -> End {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.take().expect("news of an end come after it")
    }
}

/// What the engine wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Stop,
    Kill,
    /// To go on without this engine.
    Leave,
}

pub struct Watched {
    pub attempt: Attempt,
    pub key: Key,
    /// Of its job: the name of the first attempt in it.
    pub job: String,
    listener: Listener,
    ended: Ended,
    /// Bytes of its messages that were passed on.
    offset: u64,
    told: Option<Place>,
    /// Whoever attends to it has begun.
    pub begun: bool,
    /// All before it in its job are over.
    pub turn: bool,
    /// When it is looked at next, and when also at what changes seldom.
    pub pace: Pace,
    pub closely: Instant,
    /// What is asked of it, since when; and what its attendant was told of that.
    pub asked: Option<(Ask, Instant)>,
    pub marked: Option<Asked>,
    /// Of the claim of its key.
    pub stood: Stood,
    /// Since when there is an end whose record is not to be seen yet.
    pub unseen: Option<Instant>,
}

impl Watched {
    pub fn new(attempt: Attempt, spec: &Spec, ended: Ended, listener: Listener) -> Watched {
        let now = Instant::now();
        Watched {
            job: attempt.name(),
            attempt,
            key: spec.key.clone(),
            listener,
            ended,
            offset: 0,
            told: None,
            begun: false,
            turn: false,
            pace: Pace::new(now),
            closely: now,
            asked: None,
            marked: None,
            stood: Stood::default(),
            unseen: None,
        }
    }

    pub fn says(&self, text: String) {
        (self.listener)(News::Message(Message::Log { text }));
    }

    /// Where it is, if that is new.
    pub fn tell(&mut self, place: Place) {
        if self.told.as_ref() != Some(&place) {
            (self.listener)(News::Place(place.clone()));
            self.told = Some(place);
        }
    }

    /// Passes on what its worker said since; whether anything was. The file is opened anew each time: shared folders show then what
    /// others wrote.
    pub fn pass_on(&mut self) -> bool {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(self.attempt.messages())?;
            if file.metadata()?.len() <= self.offset {
                return Ok(vec![]);
            }
            file.seek(SeekFrom::Start(self.offset))?;
            let mut bytes = vec![];
            file.take(MOST).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let whole = bytes
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        // A line that is longer than all that is read at once is nobody's.
        self.offset += match (whole, bytes.len() as u64) {
            (0, MOST) => MOST,
            _ => whole as u64,
        };
        for line in bytes[..whole]
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
        {
            (self.listener)(News::Message(Message::read(line)));
        }
        !bytes.is_empty()
    }

    /// The last that is heard of it.
    pub fn end(mut self, end: End) {
        self.pass_on();
        self.ended.set(end);
        (self.listener)(News::Ended);
    }
}
