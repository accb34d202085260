//! What one knows of a job from here: whether it was submitted, what its scheduler said last, what its worker said so far.

use super::super::{Listener, News, Place};
use crate::kind::attempt::{Attempt, Spec};
use crate::kind::failure::End;
use crate::kind::messages::Message;
use crate::run::scheduler::{Cause, JobId, Order};
use base::hash::Key;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Of the words of a worker, read at once.
const MOST: u64 = 4 << 20;

/// How a job ended, for whoever waits for it.
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

/// How far its submission is.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// To be submitted.
    New,
    /// It may have been: it is looked for from then on; so often it was not found.
    Doubtful {
        at: Instant,
        missed: usize,
    },
    Submitted(JobId),
}

pub struct Watched {
    pub attempt: Attempt,
    pub key: Key,
    pub order: Order,
    pub stage: Stage,
    listener: Listener,
    ended: Ended,
    /// Bytes of its messages that were passed on.
    offset: u64,
    told: Option<Place>,
    /// How often its submission was doubtful.
    pub doubts: usize,
    /// Since when its scheduler says that it is over, and how, or that it does not know it.
    pub over: Option<(Instant, Cause, String)>,
    pub unknown: Option<Instant>,
    /// What is asked of it, since when, and whether the scheduler was told.
    pub asked: Option<(Ask, Instant)>,
    pub cancelled: Option<Instant>,
    /// When the scheduler is asked again to cancel it.
    pub again: Option<Instant>,
    /// Of the claim of its key: what was seen, and since when.
    pub sign: Option<(String, Instant)>,
    /// Since when there is an end whose record is not to be seen yet.
    pub unseen: Option<Instant>,
}

impl Watched {
    pub fn new(
        attempt: Attempt,
        spec: &Spec,
        order: Order,
        job: Option<JobId>,
        doubtful: bool,
        listener: Listener,
    ) -> Watched {
        let stage = match (job, doubtful) {
            (Some(job), _) => Stage::Submitted(job),
            (None, true) => Stage::Doubtful {
                at: Instant::now(),
                missed: 0,
            },
            (None, false) => Stage::New,
        };
        Watched {
            attempt,
            key: spec.key.clone(),
            order,
            stage,
            listener,
            ended: Ended::default(),
            offset: 0,
            told: None,
            doubts: 0,
            over: None,
            unknown: None,
            asked: None,
            cancelled: None,
            again: None,
            sign: None,
            unseen: None,
        }
    }

    pub fn ending(self, ended: Ended) -> Watched {
        Watched { ended, ..self }
    }

    pub fn job(&self) -> Option<&JobId> {
        match &self.stage {
            Stage::Submitted(job) => Some(job),
            _ => None,
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

    /// Passes on what its worker said since. The file is opened anew each time: shared folders show then what others wrote.
    pub fn pass_on(&mut self) {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(self.attempt.messages())?;
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
    }

    /// The last that is heard of it.
    pub fn end(mut self, end: End) {
        self.pass_on();
        self.ended.set(end);
        (self.listener)(News::Ended);
    }
}
