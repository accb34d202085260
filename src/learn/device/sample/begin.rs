//! Samples that begin: which of them, as rows and pages of the cache become free, and their prompts.

use std::borrow::Cow;
use std::collections::VecDeque;

use anyhow::Result;
use candle_core::Tensor;

use crate::device::net::Net;
use crate::device::ragged::Workspace;
use crate::device::sample::cache::{Cache, Pair};
use crate::device::sample::pages::{PAGE, Pool, Table, kept, own, pages};
use crate::device::sample::prompts::{self, Prompt, TOGETHER};
use crate::sample::{Request, Sample};

/// Samples of one prompt that begin together.
pub(super) struct Group {
    pub request: usize,
    /// The number of the first, and the pages of each.
    pub first: usize,
    pub tables: Vec<Table>,
    /// The pages that the prompt fills, where it is not computed yet.
    fills: Option<Vec<u32>>,
    /// Of one sample that goes on: what it says so far, which is computed with its prompt.
    pub again: Option<Sample>,
}

impl Group {
    /// What is computed before its next tokens.
    fn ids<'a>(&self, requests: &'a [Request]) -> Cow<'a, [u32]> {
        let prompt = &requests[self.request].prompt[..];
        match &self.again {
            None => prompt.into(),
            Some(sample) => [prompt, &sample.ids].concat().into(),
        }
    }
}

/// A sample that left its pages to an older one.
pub(super) struct Left {
    pub request: usize,
    pub number: usize,
    pub sample: Sample,
}

/// A prompt that was computed, and the pages that it fills.
pub(super) struct Begun {
    request: usize,
    filled: Vec<u32>,
    /// By block, its positions beyond those pages; nothing where there are none.
    rest: Vec<Pair>,
    /// After its last token [1, vocabulary].
    pub logits: Tensor,
}

/// Samples that have not begun, and those that left their pages.
pub(super) struct Waiting<'a> {
    requests: &'a [Request],
    /// From the oldest on. All of them go on before another begins.
    left: VecDeque<Left>,
    /// The next (request, sample) to begin.
    next: (usize, usize),
    /// A prompt that was computed and has samples to begin.
    begun: Option<Begun>,
}

impl<'a> Waiting<'a> {
    pub fn new(requests: &'a [Request]) -> Waiting<'a> {
        Waiting {
            requests,
            left: VecDeque::new(),
            next: (0, 0),
            begun: None,
        }
    }

    /// A sample that is older than those that left before it.
    pub fn leave(&mut self, left: Left) {
        self.left.push_front(left);
    }

    /// From the oldest on.
    pub fn left(&self) -> &VecDeque<Left> {
        &self.left
    }

    /// Gives back the pages of a prompt that waits for samples to begin, which will be computed again. False: there is none that would
    /// free a page.
    pub fn forget(&mut self, pool: &mut Pool) -> bool {
        let begun = self.begun.take_if(|begun| pool.would_free(&begun.filled));
        begun.inspect(|begun| pool.release(&begun.filled)).is_some()
    }

    /// Whether there is one.
    pub fn any(&mut self) -> bool {
        !self.left.is_empty() || self.fresh()
    }

    /// Whether there is one that has not begun. Steps over requests that have no more.
    fn fresh(&mut self) -> bool {
        while let Some(request) = self.requests.get(self.next.0) {
            if self.next.1 < request.samples {
                return true;
            }
            self.next = (self.next.0 + 1, 0);
        }
        false
    }

    /// The next samples to begin or to go on, with their pages: no more than `free` rows and than there are pages for, nor of more
    /// prompts than `most` and than are computed together. One that begins is expected to have so many tokens, one that goes on has
    /// pages for all of `new`.
    pub fn take(
        &mut self,
        pool: &mut Pool,
        mut free: usize,
        most: usize,
        (expected, new): (usize, usize),
    ) -> Vec<Group> {
        let (mut groups, mut tokens): (Vec<Group>, usize) = (vec![], 0);
        while let Some(Left {
            request, sample, ..
        }) = self.left.front()
        {
            let prompt = self.requests[*request].prompt.len();
            let length = prompt + sample.ids.len();
            let fills = length / PAGE;
            let own = pages(kept(prompt, new)) - fills;
            tokens += length;
            let many = groups.len() == most || tokens > TOGETHER && !groups.is_empty();
            if free == 0 || many || pool.spare() < fills + own {
                return groups;
            }
            let left = self.left.pop_front().expect("it was just looked at");
            let fills = pool.fill(fills);
            groups.push(Group {
                request: left.request,
                first: left.number,
                tables: vec![pool.begin(&fills, own)],
                fills: Some(fills),
                again: Some(left.sample),
            });
            free -= 1;
        }
        while free > 0 && groups.len() < most && self.fresh() {
            let (request, first) = self.next;
            let Request {
                prompt, samples, ..
            } = &self.requests[request];
            let filled = prompt.len() / PAGE;
            let own = own(prompt.len(), expected);
            let begun = self.begun.as_ref().filter(|begun| begun.request == request);
            let fills = match begun {
                Some(_) => 0,
                None => filled,
            };
            if begun.is_none() {
                tokens += prompt.len();
            }
            let Some(spare) = pool.spare().checked_sub(fills) else {
                break;
            };
            let count = (samples - first).min(free);
            let count = count.min(spare.checked_div(own).unwrap_or(count));
            if count == 0 || (tokens > TOGETHER && !groups.is_empty()) {
                break;
            }
            let (filled, fills) = match begun {
                Some(begun) => (begun.filled.clone(), None),
                None => {
                    let fills = pool.fill(fills);
                    (fills.clone(), Some(fills))
                }
            };
            groups.push(Group {
                request,
                first,
                tables: (0..count).map(|_| pool.begin(&filled, own)).collect(),
                fills,
                again: None,
            });
            self.next.1 += count;
            free -= count;
            if self.next.1 < *samples {
                break;
            }
        }
        groups
    }

    /// The prompts of these groups: those that are not known yet are computed, and fill their pages. `told` gets the length of
    /// each of them that is computed for the first time.
    pub fn computed(
        &mut self,
        groups: &[Group],
        net: Net,
        cache: &Cache,
        workspace: &mut Workspace,
        mut told: impl FnMut(usize),
    ) -> Result<Vec<Begun>> {
        let new = groups.iter().filter(|group| group.fills.is_some());
        let new: Vec<Cow<[u32]>> = new.map(|group| group.ids(self.requests)).collect();
        let new: Vec<&[u32]> = new.iter().map(|ids| &ids[..]).collect();
        let computed = match new.is_empty() {
            true => vec![],
            false => prompts::compute(net, &new, workspace)?,
        };
        let first = |group: &&Group| group.again.is_none() && group.first == 0;
        for group in groups.iter().filter(first) {
            told(self.requests[group.request].prompt.len());
        }
        let mut computed = computed.into_iter();
        let each = groups.iter().map(|group| match &group.fills {
            None => Ok(self.begun.take().expect("the prompt was kept")),
            Some(fills) => {
                let Prompt { blocks, logits } = computed.next().expect("it was computed");
                for (block, pair) in blocks.iter().enumerate() {
                    cache.fill(block, fills, pair)?;
                }
                Ok(Begun {
                    request: group.request,
                    filled: fills.clone(),
                    rest: beyond(blocks, fills.len() * PAGE)?,
                    logits,
                })
            }
        });
        each.collect()
    }

    /// Lays what its prompt has beyond full pages into a page of every row.
    pub fn lay(&self, group: &mut Group, prompt: &Begun, cache: &mut Cache) -> Result<()> {
        if prompt.rest.is_empty() {
            return Ok(());
        }
        let length = group.ids(self.requests).len();
        let mut pages = vec![];
        for table in &mut group.tables {
            let reached = cache.pool.reach(table, length - 1);
            assert!(reached, "what is computed has its pages");
            pages.extend(table.pages.last());
        }
        for (block, pair) in prompt.rest.iter().enumerate() {
            cache.begin(block, &pages, pair)?;
        }
        Ok(())
    }

    /// Keeps a prompt of this group that has samples to begin. Others leave their pages to their rows.
    pub fn keep(&mut self, group: &Group, prompt: Begun, pool: &mut Pool) {
        let (request, begun) = self.next;
        let begin = request == prompt.request && begun < self.requests[request].samples;
        if begin && group.again.is_none() {
            self.begun = Some(prompt);
        } else {
            pool.release(&prompt.filled);
        }
    }
}

/// By block, the positions from `first` on, without those before them.
fn beyond(blocks: Vec<Pair>, first: usize) -> candle_core::Result<Vec<Pair>> {
    let beyond = |side: &Tensor| match side.dim(1)? - first {
        0 => Ok(None),
        _ if first == 0 => Ok(Some(side.clone())),
        count => side.narrow(1, first, count)?.force_contiguous().map(Some),
    };
    let mut all = vec![];
    for [keys, values] in &blocks {
        if let (Some(keys), Some(values)) = (beyond(keys)?, beyond(values)?) {
            all.push([keys, values]);
        }
    }
    Ok(all)
}
