//! Pages of the cache: which of them are free, whose the others are, and how many a run of the sampler wants. Knows no tensors.
//!
//! A row takes a page when it reaches it: out of those that were promised to it when it began, or, where it is longer than was
//! expected, one that nobody was promised. No page is promised twice, but what is promised is what is expected: where there is none
//! to spare, promises are taken back and rows leave their pages (`Run::reach`). Rows of one prompt hold the pages that it fills
//! together.

use std::collections::VecDeque;

pub(crate) use crate::device::kernels::PAGE;

/// Of the rows that fill a width up: nobody reads it.
pub(super) const NOBODYS: u32 = 0;

/// Pages that hold so many positions.
pub(crate) fn pages(positions: usize) -> usize {
    positions.div_ceil(PAGE)
}

/// Positions of a sample that are kept: its last token is never computed with.
pub(crate) fn kept(prompt: usize, new: usize) -> usize {
    prompt + new.saturating_sub(1)
}

/// Pages that such a sample has for itself, besides those that its prompt fills.
pub(crate) fn own(prompt: usize, new: usize) -> usize {
    pages(kept(prompt, new)) - prompt / PAGE
}

/// candle's kernels count elements in 32 bits; half of that leaves room for what they multiply by.
const ELEMENTS: u64 = 1 << 31;

/// Rows at once, of so many that are asked for, whose longest has so many pages: the scores of a step are one tensor.
pub(crate) fn rows(asked: u64, longest: u64, heads: u64) -> u64 {
    let scores = longest * PAGE as u64 * heads;
    asked.min(ELEMENTS / scores.max(1)).max(1)
}

/// What a page holds.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    /// Numbers of its keys, or values, in one block.
    side: u64,
    /// Bytes of all of it.
    pub bytes: u64,
}

impl Page {
    /// Of a model with so many blocks and keys so wide, whose numbers have so many bytes.
    pub fn new(layers: u64, kv_width: u64, number: u64) -> Page {
        let side = PAGE as u64 * kv_width;
        Page {
            side,
            bytes: layers * 2 * side * number,
        }
    }

    /// Pages of a cache whose rows want so many: in no more than so many bytes, and always enough for the longest row.
    pub fn fit(self, wanted: u64, longest: u64, bytes: u64) -> u64 {
        let most = (bytes / self.bytes.max(1)).min(ELEMENTS / self.side.max(1));
        wanted.min(most).max(longest)
    }
}

/// What `rows` samples at once hold at most if all of them become `new` tokens long, whichever they are of those that follow
/// each other. `requests` are the lengths of the prompts and the samples of each.
pub(crate) fn wanted(
    requests: impl Iterator<Item = (usize, usize)>,
    new: usize,
    rows: usize,
) -> usize {
    let own = |prompt| own(prompt, new);
    // Under way: of a prompt of this length, so many samples.
    let mut under_way: VecDeque<(usize, usize)> = VecDeque::new();
    let (mut count, mut held, mut most) = (0, 0, 0);
    for (prompt, samples) in requests {
        for sample in 0..samples {
            if count == rows {
                let oldest = under_way.front_mut().expect("rows are under way");
                (count, held) = (count - 1, held - own(oldest.0));
                oldest.1 -= 1;
                if oldest.1 == 0 {
                    held -= oldest.0 / PAGE;
                    under_way.pop_front();
                }
            }
            match under_way.back_mut().filter(|_| sample > 0) {
                Some(begun) => begun.1 += 1,
                None => {
                    held += prompt / PAGE;
                    under_way.push_back((prompt, 1));
                }
            }
            (count, held) = (count + 1, held + own(prompt));
            most = most.max(held);
        }
    }
    most
}

/// The pages of a row in the order of its positions, and how many more are promised to it.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub pages: Vec<u32>,
    promised: usize,
}

/// What a run of the sampler took of its pages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Pages that there were, and bytes of one over all blocks.
    pub pages: usize,
    pub bytes: usize,
    /// Held at once, at most; and taken, each as often as it was.
    pub most: usize,
    pub taken: usize,
    /// How often a sample left its pages to an older one, to be computed again later.
    pub left: usize,
}

#[derive(Debug)]
pub(super) struct Pool {
    /// By page, how many hold it.
    holders: Vec<u32>,
    /// Those that nobody holds, promised or not; what was given back last is taken first.
    free: Vec<u32>,
    promised: usize,
    most: usize,
    taken: usize,
    /// Counted by whoever takes pages from a row.
    pub left: usize,
}

impl Pool {
    /// So many pages besides nobody's.
    pub fn new(pages: usize) -> Pool {
        let mut holders = vec![0; pages + 1];
        holders[NOBODYS as usize] = 1;
        Pool {
            holders,
            free: (1..=pages as u32).rev().collect(),
            promised: 0,
            most: 0,
            taken: 0,
            left: 0,
        }
    }

    /// Pages that are neither held nor promised.
    pub fn spare(&self) -> usize {
        self.free.len() - self.promised
    }

    /// Pages that somebody holds.
    pub fn held(&self) -> usize {
        self.holders.len() - 1 - self.free.len()
    }

    /// Pages for a prompt to fill, which holds them until they are `released`. There are as many to spare.
    pub fn fill(&mut self, count: usize) -> Vec<u32> {
        assert!(count <= self.spare(), "a prompt waits for its pages");
        (0..count).map(|_| self.pop()).collect()
    }

    /// A row that begins with these pages of its prompt, and to which so many more are promised. There are as many to spare.
    pub fn begin(&mut self, shared: &[u32], promised: usize) -> Table {
        assert!(promised <= self.spare(), "a row waits for its pages");
        for &page in shared {
            self.holders[page as usize] += 1;
        }
        self.promised += promised;
        Table {
            pages: shared.to_vec(),
            promised,
        }
    }

    /// The page of this position is the row's: one more is taken where it has come to its end. False: it was promised no more, and
    /// there is none to spare.
    #[must_use]
    pub fn reach(&mut self, table: &mut Table, position: usize) -> bool {
        while table.pages.len() <= position / PAGE {
            match (table.promised, self.spare()) {
                (0, 0) => return false,
                (0, _) => {}
                (promised, _) => {
                    table.promised = promised - 1;
                    self.promised -= 1;
                }
            }
            let page = self.pop();
            table.pages.push(page);
        }
        true
    }

    /// Takes back one of the pages that were promised to a row. False: none is promised.
    #[must_use]
    pub fn take_back(&mut self, table: &mut Table) -> bool {
        let promised = table.promised > 0;
        table.promised -= usize::from(promised);
        self.promised -= usize::from(promised);
        promised
    }

    /// Whether one of these pages has no other holder.
    pub fn would_free(&self, pages: &[u32]) -> bool {
        pages.iter().any(|&page| self.holders[page as usize] == 1)
    }

    /// A row that ends: what it alone holds is free, and so is what it was promised.
    pub fn end(&mut self, table: Table) {
        self.promised -= table.promised;
        self.release(&table.pages);
    }

    /// One holder less. Of pages that become free the first is the next to be taken.
    pub fn release(&mut self, pages: &[u32]) {
        for &page in pages.iter().rev() {
            let holders = &mut self.holders[page as usize];
            *holders -= 1;
            if *holders == 0 {
                self.free.push(page);
            }
        }
    }

    /// With so many bytes a page.
    pub fn used(&self, bytes: usize) -> Used {
        Used {
            pages: self.holders.len() - 1,
            bytes,
            most: self.most,
            taken: self.taken,
            left: self.left,
        }
    }

    fn pop(&mut self) -> u32 {
        let page = self.free.pop().expect("what is promised is free");
        self.holders[page as usize] = 1;
        self.taken += 1;
        self.most = self.most.max(self.held());
        page
    }
}
