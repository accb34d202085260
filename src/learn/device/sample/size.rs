//! How large a run of the sampler is: known before anything is sampled, by lengths alone, to the sampler and to whoever plans one.

use crate::device::sample::pages::{self, Page};
use crate::device::sample::prompts::TOGETHER;

/// What a run asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size {
    /// Rows at once.
    pub rows: u64,
    /// Prompts that begin together at most, and tokens of them.
    pub prompts: u64,
    pub together: u64,
    /// Tokens of the shortest prompt, and of the longest.
    pub shortest: u64,
    pub prompt: u64,
    /// Positions of the longest row, and its pages.
    pub kept: u64,
    pub longest: u64,
    /// Pages that rows want which follow each other; and those that no rows at once hold more of, each of another prompt.
    pub wanted: u64,
    pub most: u64,
}

impl Size {
    /// Of prompts of such lengths with so many samples each, of which so many rows go at once, of up to `new` tokens each, of a model
    /// with so many heads.
    pub fn of<I: Iterator<Item = (usize, usize)>>(
        requests: impl Fn() -> I,
        (at_once, new): (usize, usize),
        heads: u64,
    ) -> Size {
        let asked = || requests().filter(|(_, samples)| *samples > 0);
        let prompts = || asked().map(|(prompt, _)| prompt);
        let samples = || asked().map(|(_, samples)| samples);
        let (shortest, prompt) = (prompts().min().unwrap_or(0), prompts().max().unwrap_or(0));
        let kept = pages::kept(prompt, new);
        let longest = pages::pages(kept) as u64;
        let rows = at_once.min(samples().sum()) as u64;
        let rows = pages::rows(rows, longest, heads) as usize;
        let count = prompts().count().min(rows);
        // The first of them may have begun before.
        let fewest = samples().min().unwrap_or(1);
        let begin = count.min(rows.saturating_sub(1).div_ceil(fewest) + 1);
        let together = prompts().sum::<usize>().min(begin * prompt).min(TOGETHER);
        let own = prompts().map(|prompt| pages::own(prompt, new)).max();
        let most = rows * own.unwrap_or(0) + count * (prompt / pages::PAGE);
        Size {
            rows: rows as u64,
            prompts: begin as u64,
            together: together.max(prompt) as u64,
            shortest: shortest as u64,
            prompt: prompt as u64,
            kept: kept as u64,
            longest,
            wanted: pages::wanted(asked(), new, rows) as u64,
            most: most as u64,
        }
    }

    /// Pages of a cache of so many bytes: of all rows where they fit there, and always enough for the longest.
    pub fn pages(&self, page: Page, bytes: u64) -> u64 {
        page.fit(self.wanted, self.longest, bytes)
    }
}
