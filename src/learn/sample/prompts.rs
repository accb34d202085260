//! The prompts of samples: which sample is the next to start, and what a prompt was computed to, once for all of its samples.
//!
//! Several prompts go through the model in one pass, and what a prompt has in common with an earlier one is copied: neither
//! changes a number of it. Knows nothing of choosing tokens.

use crate::sample::cache::Cache;
use crate::sample::decode::{Buffers, Decoder, Tail};
use base::rng::Seed;
use std::sync::{Arc, Mutex};

/// Tokens of prompts that are computed together, where none is longer: the weights are read once for all of them.
const TOGETHER: usize = 144;

/// Samples of one prompt.
#[derive(Clone, Debug)]
pub struct Request {
    /// Never empty.
    pub prompt: Vec<u32>,
    pub samples: usize,
    /// Token t of sample s is drawn with `seed.at(s).at(t)`.
    pub seed: Seed,
}

/// A prompt's keys and values and the logits after it.
pub(super) struct Prompt {
    pub cache: Cache,
    pub logits: Vec<f32>,
}

/// A prompt that was computed, and whose it is.
pub(super) type Last = (usize, Arc<Prompt>);

/// (samples of it still to start, the prompt), there while samples remain.
type Slot = Mutex<Option<(usize, Arc<Prompt>)>>;

pub(super) struct Prompts<'a> {
    decoder: &'a Decoder<'a>,
    requests: &'a [Request],
    /// The next (request, sample) to start.
    queue: Mutex<(usize, usize)>,
    slots: Vec<Slot>,
}

impl<'a> Prompts<'a> {
    pub fn new(decoder: &'a Decoder<'a>, requests: &'a [Request]) -> Prompts<'a> {
        Prompts {
            decoder,
            requests,
            queue: Mutex::new((0, 0)),
            slots: requests.iter().map(|_| Mutex::new(None)).collect(),
        }
    }

    /// The next samples to start: no more than so many, nor than prompts that are worth being computed together.
    pub fn next(&self, most: usize) -> Vec<(usize, usize)> {
        let mut queue = self
            .queue
            .lock()
            .expect("no thread panics while it holds the queue");
        let (mut next, mut tokens) = (vec![], 0);
        while next.len() < most && queue.0 < self.requests.len() {
            let Request {
                prompt, samples, ..
            } = &self.requests[queue.0];
            if queue.1 == *samples {
                *queue = (queue.0 + 1, 0);
                continue;
            }
            if queue.1 == 0 {
                tokens += prompt.len();
                if tokens > TOGETHER && !next.is_empty() {
                    break;
                }
            }
            next.push(*queue);
            queue.1 += 1;
        }
        next
    }

    /// The prompts of samples that start, which ascend: each is computed by whoever comes first, and let go by whoever comes last.
    /// `last` is one that this team has computed before: what another has in common with it is copied. `computed` is told the
    /// length of each that was not there.
    pub fn take(
        &self,
        samples: &[(usize, usize)],
        last: &mut Option<Last>,
        buffers: &mut Buffers,
        computed: &dyn Fn(usize),
    ) -> Vec<Arc<Prompt>> {
        let mut groups: Vec<(usize, usize)> = vec![];
        for &(request, _) in samples {
            match groups.last_mut() {
                Some((of, count)) if *of == request => *count += 1,
                _ => groups.push((request, 1)),
            }
        }
        // Requests ascend in the queue, so no two teams wait for each other.
        let mut slots: Vec<_> = (groups.iter())
            .map(|&(request, _)| {
                let slot = self.slots[request].lock();
                slot.expect("no thread panics while it computes a prompt")
            })
            .collect();
        let fresh = groups.iter().zip(&slots).filter(|(_, slot)| slot.is_none());
        let fresh: Vec<usize> = fresh.map(|(&(request, _), _)| request).collect();
        let mut new = self.compute(&fresh, last, buffers).into_iter();
        for &request in &fresh {
            computed(self.requests[request].prompt.len());
        }
        let mut prompts = vec![];
        for (&(request, count), slot) in groups.iter().zip(&mut slots) {
            let (left, prompt) = slot.take().unwrap_or_else(|| {
                let prompt = new.next().expect("what was not there was computed");
                (self.requests[request].samples, prompt)
            });
            if left > count {
                **slot = Some((left - count, Arc::clone(&prompt)));
            }
            prompts.extend(std::iter::repeat_n(prompt, count));
        }
        prompts
    }

    /// These prompts, all in one pass.
    fn compute(
        &self,
        fresh: &[usize],
        last: &mut Option<Last>,
        buffers: &mut Buffers,
    ) -> Vec<Arc<Prompt>> {
        let Some(&newest) = fresh.last() else {
            return vec![];
        };
        let ids = |request: usize| &self.requests[request].prompt;
        let mut caches: Vec<Cache> = (fresh.iter())
            .map(|&request| {
                let mut cache = self.decoder.cache(ids(request).len());
                if let Some((earlier, prompt)) = &last {
                    let both = ids(request).iter().zip(ids(*earlier));
                    let alike = both.take_while(|(a, b)| a == b).count();
                    cache.take_over(&prompt.cache, alike.min(ids(request).len() - 1));
                }
                cache
            })
            .collect();
        let mut tails: Vec<Tail> = (caches.iter_mut().zip(fresh))
            .map(|(own, &request)| Tail {
                shared: None,
                tokens: &ids(request)[own.len..],
                own,
                kept: 1,
            })
            .collect();
        self.decoder.extend(&mut tails, buffers);
        let v = self.decoder.vocabulary();
        let mut logits = vec![0.0; fresh.len() * v];
        self.decoder.logits(0..fresh.len(), buffers, &mut logits);
        let each = caches.into_iter().zip(logits.chunks_exact(v));
        let prompts: Vec<Arc<Prompt>> = each
            .map(|(cache, logits)| {
                let logits = logits.to_vec();
                Arc::new(Prompt { cache, logits })
            })
            .collect();
        *last = prompts.last().map(|prompt| (newest, Arc::clone(prompt)));
        prompts
    }
}
