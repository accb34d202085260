//! Samples that begin: which of them, as rows and pages of the cache become free, and their prompts.

use anyhow::Result;
use candle_core::Tensor;

use crate::device::net::Net;
use crate::device::ragged::Workspace;
use crate::device::sample::cache::{Cache, Pair};
use crate::device::sample::pages::{PAGE, Pool, Table, kept, pages};
use crate::device::sample::prompts::{self, Prompt, TOGETHER};
use crate::sample::Request;

/// Samples of one prompt that begin together.
pub(super) struct Group {
    pub request: usize,
    /// The number of the first, and the pages of each.
    pub first: usize,
    pub tables: Vec<Table>,
    /// The pages that the prompt fills, where it is not computed yet.
    fills: Option<Vec<u32>>,
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

/// Samples that have not begun.
pub(super) struct Waiting<'a> {
    requests: &'a [Request],
    /// The next (request, sample) to begin.
    next: (usize, usize),
    /// A prompt that was computed and has samples to begin.
    begun: Option<Begun>,
}

impl<'a> Waiting<'a> {
    pub fn new(requests: &'a [Request]) -> Waiting<'a> {
        Waiting {
            requests,
            next: (0, 0),
            begun: None,
        }
    }

    /// Whether there is one. Steps over requests that have no more.
    pub fn any(&mut self) -> bool {
        while let Some(request) = self.requests.get(self.next.0) {
            if self.next.1 < request.samples {
                return true;
            }
            self.next = (self.next.0 + 1, 0);
        }
        false
    }

    /// The next samples to begin, of up to `new` tokens, with their pages: no more than `free` rows and than there are pages for,
    /// nor of more prompts than `most` and than are computed together.
    pub fn take(
        &mut self,
        pool: &mut Pool,
        mut free: usize,
        most: usize,
        new: usize,
    ) -> Vec<Group> {
        let (mut groups, mut tokens): (Vec<Group>, usize) = (vec![], 0);
        while free > 0 && groups.len() < most && self.any() {
            let (request, first) = self.next;
            let Request {
                prompt, samples, ..
            } = &self.requests[request];
            let filled = prompt.len() / PAGE;
            let own = pages(kept(prompt.len(), new)) - filled;
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
    /// each of them.
    pub fn computed(
        &mut self,
        groups: &[Group],
        net: Net,
        cache: &Cache,
        workspace: &mut Workspace,
        mut told: impl FnMut(usize),
    ) -> Result<Vec<Begun>> {
        let new = groups.iter().filter(|group| group.fills.is_some());
        let new: Vec<&[u32]> = new.map(|g| &self.requests[g.request].prompt[..]).collect();
        let computed = match new.is_empty() {
            true => vec![],
            false => prompts::compute(net, &new, workspace)?,
        };
        for prompt in &new {
            told(prompt.len());
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
        let length = self.requests[group.request].prompt.len();
        let mut pages = vec![];
        for table in &mut group.tables {
            cache.pool.reach(table, length - 1);
            pages.extend(table.pages.last());
        }
        for (block, pair) in prompt.rest.iter().enumerate() {
            cache.begin(block, &pages, pair)?;
        }
        Ok(())
    }

    /// Keeps a prompt that has samples to begin. Others leave their pages to their rows.
    pub fn keep(&mut self, prompt: Begun, pool: &mut Pool) {
        let (request, begun) = self.next;
        if request == prompt.request && begun < self.requests[request].samples {
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
