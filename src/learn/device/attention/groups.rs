//! Packed sequences of different lengths as padded groups of similar ones, which batched products need.
//!
//! Rows travel by gathers in both directions: no two ever write one place, so the order of sums is fixed. Padding lies on
//! the right, where a causal mask hides it from every real query. Knows no weights.

use candle_core::{DType, Device, Result, Tensor};

/// Queries whose scores are held at once, per head and sequence; and scores at most, as candle's kernels count them in 32 bits.
pub(crate) const QUERIES: usize = 512;
pub(crate) const SCORES: usize = 1 << 31;

/// Sequences of similar length.
#[derive(Debug)]
pub struct Group {
    pub sequences: usize,
    pub longest: usize,
    /// The packed row of every padded row [sequences * longest]; padding shows some row of its own sequence.
    pub pick: Tensor,
    /// 1 for a real row, 0 for padding [sequences * longest, 1].
    pub real: Tensor,
}

impl Group {
    /// Heads `first..first + heads` of padded rows [sequences * longest, ..] as [sequences, heads, longest, dim].
    pub(crate) fn by_head(
        &self,
        rows: &Tensor,
        first: usize,
        heads: usize,
        dim: usize,
    ) -> Result<Tensor> {
        rows.reshape((self.sequences, self.longest, (), dim))?
            .narrow(2, first, heads)?
            .transpose(1, 2)?
            .contiguous()
    }

    /// The way back: [sequences, heads, longest, dim], its first two dimensions cut in any way, to padded rows
    /// [sequences * longest, heads * dim].
    pub(crate) fn to_rows(&self, by_head: &Tensor, heads: usize, dim: usize) -> Result<Tensor> {
        let (s, t) = (self.sequences, self.longest);
        by_head
            .reshape((s, heads, t, dim))?
            .transpose(1, 2)?
            .reshape((s * t, heads * dim))
    }
}

/// A batch as padded groups.
#[derive(Debug)]
pub(crate) struct Padded {
    pub groups: Vec<Group>,
    /// Where each packed row lies among the padded rows of all groups [rows].
    pub place: Tensor,
    /// Queries of a block.
    pub queries: usize,
    /// For the queries `queries * i ..` of the longest sequence: 0 where a key is seen, -inf where not [queries, keys].
    masks: Vec<Tensor>,
}

impl Padded {
    pub fn new(starts: &[usize], heads: usize, device: &Device) -> Result<Padded> {
        let rows = starts.last().copied().unwrap_or(0);
        let longest = starts.windows(2).map(|b| b[1] - b[0]).max().unwrap_or(0);
        let (mut groups, mut widest) = (Vec::new(), 1);
        let mut place = vec![0u32; rows];
        let mut padded = 0;
        for group in similar(starts) {
            let longest = starts[group[0] + 1] - starts[group[0]];
            let (mut pick, mut real) = (Vec::new(), Vec::new());
            for &s in &group {
                let (start, end) = (starts[s], starts[s + 1]);
                for i in 0..longest {
                    let row = (start + i).min(end - 1);
                    pick.push(row as u32);
                    real.push(if start + i < end { 1.0f32 } else { 0.0 });
                    if start + i < end {
                        place[row] = (padded + pick.len() - 1) as u32;
                    }
                }
            }
            let n = pick.len();
            padded += n;
            widest = widest.max(n);
            groups.push(Group {
                sequences: group.len(),
                longest,
                pick: Tensor::from_vec(pick, n, device)?,
                real: Tensor::from_vec(real, (n, 1), device)?,
            });
        }
        let queries = QUERIES.min(SCORES / (heads * widest)).max(1);
        Ok(Padded {
            groups,
            place: Tensor::from_vec(place, rows, device)?,
            queries,
            masks: masks(longest, queries, device)?,
        })
    }

    /// The mask of `n` queries from `first` (a multiple of `queries`) on: [n, first + n].
    pub fn mask(&self, first: usize, n: usize) -> Result<Tensor> {
        self.masks[first / self.queries]
            .narrow(0, 0, n)?
            .narrow(1, 0, first + n)
    }
}

/// Sequences from long to short, cut into groups whose shortest is at least half of the longest: at most half of the
/// padded rows are padding, and there are few groups. Empty sequences are left out.
fn similar(starts: &[usize]) -> Vec<Vec<usize>> {
    let length = |s: usize| starts[s + 1] - starts[s];
    let mut order: Vec<usize> = (0..starts.len() - 1).filter(|&s| length(s) > 0).collect();
    order.sort_by_key(|&s| (std::cmp::Reverse(length(s)), s));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for s in order {
        match groups.last_mut() {
            Some(group) if 2 * length(s) >= length(group[0]) => group.push(s),
            _ => groups.push(vec![s]),
        }
    }
    groups
}

/// A block of queries sees all keys before it, and of its own keys those up to the query's: every block's mask ends in the
/// same triangle.
fn masks(longest: usize, queries: usize, device: &Device) -> Result<Vec<Tensor>> {
    let own = queries.min(longest);
    let mut triangle = vec![0.0f32; own * own];
    for (i, row) in triangle.chunks_exact_mut(own).enumerate() {
        row[i + 1..].fill(f32::NEG_INFINITY);
    }
    let triangle = Tensor::from_vec(triangle, (own, own), device)?;
    let mut masks = Vec::new();
    for first in (0..longest).step_by(queries) {
        let n = queries.min(longest - first);
        let own = triangle.narrow(0, 0, n)?.narrow(1, 0, n)?;
        masks.push(match first {
            0 => own,
            _ => Tensor::cat(&[Tensor::zeros((n, first), DType::F32, device)?, own], 1)?,
        });
    }
    Ok(masks)
}
