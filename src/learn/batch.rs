//! Token sequences with their loss masks, cut into micro-batches and packed without padding.

use crate::decoder::Packed;
use std::ops::Range;

/// A token sequence and which of its tokens are scored. Token 0 has no predictor and is never scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub ids: Vec<u32>,
    pub mask: Vec<bool>,
}

impl Row {
    pub fn scored(&self) -> usize {
        self.mask.iter().filter(|m| **m).count()
    }
}

/// Tokens of a micro-batch: enough for the kernels, small enough for the memory. A unit of rows is never cut.
pub const MICRO_TOKENS: usize = 2048;

/// Tokens of micro-batches whose hidden states are on the host together: with the adapter, without it, and their gradient.
pub const STATES_TOGETHER: usize = 4 * MICRO_TOKENS;

/// Cuts the rows into micro-batches, by sizes only: runs of at most `MICRO_TOKENS` tokens. Rows of a unit (`unit` rows each) stay
/// together, whatever their length.
pub fn micro_batches(rows: &[Row], unit: usize) -> Vec<Range<usize>> {
    runs(rows, unit, MICRO_TOKENS)
}

/// The same with another number of tokens: for what means the same however it is cut.
pub fn runs(rows: &[Row], unit: usize, most: usize) -> Vec<Range<usize>> {
    let mut runs = vec![];
    let (mut start, mut tokens) = (0, 0);
    for (i, rows) in rows.chunks(unit).enumerate() {
        let more: usize = rows.iter().map(|row| row.ids.len()).sum();
        if i * unit > start && tokens + more > most {
            runs.push(start..i * unit);
            (start, tokens) = (i * unit, 0);
        }
        tokens += more;
    }
    if start < rows.len() {
        runs.push(start..rows.len());
    }
    runs
}

/// Rows packed one after another, without padding.
pub struct Batch {
    pub ids: Vec<u32>,
    pub starts: Vec<usize>,
    /// Indices of the scored tokens, ascending.
    pub scored: Vec<usize>,
    /// Row i has the scored tokens `bounds[i]..bounds[i + 1]`.
    pub bounds: Vec<usize>,
}

impl Batch {
    pub fn pack<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Batch {
        let mut batch = Batch {
            ids: vec![],
            starts: vec![0],
            scored: vec![],
            bounds: vec![0],
        };
        for row in rows {
            assert_eq!(
                row.ids.len(),
                row.mask.len(),
                "ids and mask are born together"
            );
            let offset = batch.ids.len();
            batch.ids.extend(&row.ids);
            batch.scored.extend(
                (1..row.ids.len())
                    .filter(|i| row.mask[*i])
                    .map(|i| offset + i),
            );
            batch.starts.push(batch.ids.len());
            batch.bounds.push(batch.scored.len());
        }
        batch
    }

    pub fn packed(&self) -> Packed<'_> {
        Packed {
            ids: &self.ids,
            starts: &self.starts,
        }
    }
}
