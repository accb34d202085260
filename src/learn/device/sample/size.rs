//! How many samples go through at once, and how large their cache is: known before anything is sampled.

use crate::device::net::Net;
use crate::device::sample::cache;
use crate::device::sample::pages::{self, Page};
use crate::sample::Options;

/// Rows at once, and pages of the cache.
pub(super) struct Room {
    pub rows: usize,
    pub pages: usize,
}

impl Room {
    /// Pages for all rows at their full length where they take no more than `bytes`; always enough for the longest row.
    pub fn new<I: Iterator<Item = (usize, usize)>>(
        net: Net,
        requests: impl Fn() -> I,
        options: &Options,
        bytes: u64,
    ) -> Room {
        let (config, new) = (net.config(), options.max_new_tokens);
        let asked = requests().filter(|(_, samples)| *samples > 0);
        let longest = asked.map(|(prompt, _)| pages::pages(pages::kept(prompt, new)));
        let longest = longest.max().unwrap_or(0);
        let total: usize = requests().map(|(_, samples)| samples).sum();
        let (asked, longest) = (options.batch_rows.min(total) as u64, longest as u64);
        let rows = pages::rows(asked, longest, config.heads as u64) as usize;
        let side = cache::numbers_of_page(config.kv_heads, config.head_dim);
        let bytes_of_page = 2 * config.layers * side * net.between().size_in_bytes();
        let page = Page {
            side: side as u64,
            bytes: bytes_of_page as u64,
        };
        let wanted = pages::wanted(requests(), new, rows) as u64;
        Room {
            rows,
            pages: page.fit(wanted, longest, bytes) as usize,
        }
    }
}
