//! Attention over pages by candle's plain operations: who sees which page. A page that rows share is one factor of a product, whose
//! other one is the queries of all of them.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor};

use crate::device::product::product;
use crate::device::sample::cache::Pair;
use crate::device::sample::pages::PAGE;
use crate::device::sample::rows::Rows;
use crate::kernels::attention::Heads;

/// Positions of a page are read in multiples of this: products have few shapes.
const STRIDE: usize = 64;

/// A score with this subtracted has no weight, and no sum of such is infinite.
const FAR: f32 = 1e30;

/// What pages give for the rows that see them, by pairs of page and row: [pairs, heads, head_dim], and twice [pairs, heads, 1].
struct Parts {
    outputs: Tensor,
    tops: Tensor,
    sums: Tensor,
}

/// Who sees which page.
pub(super) struct Seen {
    runs: Vec<Run>,
    /// By page of a row, for every row the pair of this page; the number of pairs where a row has no such page [width].
    pairs: Vec<Tensor>,
}

/// Pages that follow each other in the cache, as many rows see each, and of each as many positions are read.
struct Run {
    first: usize,
    pages: usize,
    sharers: usize,
    positions: usize,
    /// Of every page its rows [pages * sharers].
    rows: Tensor,
    /// 0 where a row sees a position, far below any score where not [pages, 1, positions]; none where all are seen.
    mask: Option<Tensor>,
}

/// A `Run` whose tensors are not made.
#[derive(Default)]
struct Draft {
    first: usize,
    sharers: usize,
    positions: usize,
    rows: Vec<u32>,
    /// Positions that are seen, by page.
    seen: Vec<usize>,
}

impl Seen {
    pub fn new(of: &Rows) -> Result<Seen> {
        let device = of.device;
        let mut by_page: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
        for (row, at) in of.rows.iter().enumerate() {
            for (number, page) in at.pages.iter().enumerate() {
                by_page.entry(*page).or_default().push((row, number));
            }
        }
        let mut pairs = vec![vec![u32::MAX; of.width]; of.most];
        let (mut drafts, mut count): (Vec<Draft>, u32) = (vec![], 0);
        for (page, sharers) in by_page {
            let (row, number) = sharers[0];
            let seen = of.rows[row].sees(number);
            assert!(
                sharers.len() == 1 || seen == PAGE,
                "a page that rows share is full"
            );
            let next = Draft {
                first: page as usize,
                sharers: sharers.len(),
                positions: seen.next_multiple_of(STRIDE),
                ..Draft::default()
            };
            let draft = match drafts.last_mut() {
                Some(last) if last.goes_on(&next) => last,
                _ => {
                    drafts.push(next);
                    drafts.last_mut().expect("it was added")
                }
            };
            draft.seen.push(seen);
            for (row, number) in sharers {
                draft.rows.push(row as u32);
                pairs[number][row] = count;
                count += 1;
            }
        }
        let pairs = pairs.into_iter().map(|pairs| {
            let pairs: Vec<u32> = pairs.into_iter().map(|pair| pair.min(count)).collect();
            Tensor::from_vec(pairs, of.width, device)
        });
        let runs = drafts.into_iter().map(|draft| draft.made(device));
        Ok(Seen {
            runs: runs.collect::<Result<_>>()?,
            pairs: pairs.collect::<Result<_>>()?,
        })
    }

    /// See `Attention::attend`. Computed in f32, with the result in the type of `qkv`.
    pub fn attend(&self, heads: Heads, qkv: &Tensor, cached: &Pair) -> Result<Tensor> {
        let queries = qkv.narrow(1, 0, heads.heads * heads.dim)?;
        let queries = (queries.to_dtype(DType::F32)? * (1.0 / (heads.dim as f64).sqrt()))?;
        let runs = self.runs.iter();
        let all: Vec<Parts> = runs
            .map(|run| run.attend(&queries, cached, heads))
            .collect::<Result<_>>()?;
        self.merged(&all, heads)?.to_dtype(qkv.dtype())
    }

    /// The outputs of every row [width, q]; of a row that is none, zero. With the scores s_p, sums z_p and outputs o_p of its
    /// pages: sum o_p exp(s_p - max s) / sum z_p exp(s_p - max s).
    fn merged(&self, all: &[Parts], heads: Heads) -> Result<Tensor> {
        let joined = |of: fn(&Parts) -> &Tensor, width: usize, none: f32| {
            let all: Vec<&Tensor> = all.iter().map(of).collect();
            let none = Tensor::full(none, (1, heads.heads, width), all[0].device())?;
            Tensor::cat(&[all, vec![&none]].concat(), 0)
        };
        let outputs = joined(|parts| &parts.outputs, heads.dim, 0.0)?;
        let tops = joined(|parts| &parts.tops, 1, -FAR)?;
        let sums = joined(|parts| &parts.sums, 1, 1.0)?;
        let each = self.pairs.iter().map(|pairs| tops.index_select(pairs, 0));
        let each: Vec<Tensor> = each.collect::<Result<_>>()?;
        let mut top = each[0].clone();
        for other in &each[1..] {
            top = top.maximum(other)?;
        }
        let mut whole: Option<(Tensor, Tensor)> = None;
        for (pairs, of_page) in self.pairs.iter().zip(&each) {
            let weight = (of_page - &top)?.exp()?;
            let output = outputs.index_select(pairs, 0)?.broadcast_mul(&weight)?;
            let sum = (sums.index_select(pairs, 0)? * weight)?;
            whole = Some(match whole {
                None => (output, sum),
                Some((outputs, sums)) => ((outputs + output)?, (sums + sum)?),
            });
        }
        let (output, sum) = whole.expect("a row has a page");
        let width = output.dim(0)?;
        let output = output.broadcast_div(&sum)?;
        output.reshape((width, heads.heads * heads.dim))
    }
}

impl Draft {
    fn goes_on(&self, next: &Draft) -> bool {
        self.first + self.seen.len() == next.first
            && self.sharers == next.sharers
            && self.positions == next.positions
    }

    fn made(self, device: &Device) -> Result<Run> {
        let (pages, positions) = (self.seen.len(), self.positions);
        let hidden = self.seen.iter().any(|&seen| seen < positions);
        let mask = hidden.then(|| {
            let seen = self.seen.iter();
            let mask = seen
                .flat_map(|&seen| (0..positions).map(move |p| if p < seen { 0.0 } else { -FAR }));
            Tensor::from_vec(mask.collect::<Vec<f32>>(), (pages, 1, positions), device)
        });
        Ok(Run {
            first: self.first,
            pages,
            sharers: self.sharers,
            positions,
            rows: Tensor::from_slice(&self.rows, self.rows.len(), device)?,
            mask: mask.transpose()?,
        })
    }
}

impl Run {
    /// `queries` [width, q], scaled.
    fn attend(&self, queries: &Tensor, cached: &Pair, heads: Heads) -> Result<Parts> {
        let [keys, values] = cached;
        let Heads {
            kv_heads: kv, dim, ..
        } = heads;
        let (lines, sharing) = (self.pages * kv, self.sharers * heads.heads / kv);
        let queries = queries.index_select(&self.rows, 0)?;
        let queries = self.swapped(&queries, (self.sharers, kv), heads, dim)?;
        let queries = queries.reshape((lines, sharing, dim))?;
        let own = |side: &Tensor| {
            side.narrow(0, self.first * kv, lines)?
                .narrow(1, 0, self.positions)?
                .to_dtype(DType::F32)
        };
        let mut scores = product(&queries, &own(keys)?.t()?)?;
        if let Some(mask) = &self.mask {
            let by_page = (self.pages, kv * sharing, self.positions);
            scores = scores.reshape(by_page)?.broadcast_add(mask)?;
            scores = scores.reshape((lines, sharing, self.positions))?;
        }
        let tops = scores.max_keepdim(D::Minus1)?;
        let weights = scores.broadcast_sub(&tops)?.exp()?;
        let sums = weights.sum_keepdim(D::Minus1)?;
        let outputs = product(&weights, &own(values)?)?;
        let by_row = |t: &Tensor, width: usize| {
            let rows = self.swapped(t, (kv, self.sharers), heads, width)?;
            rows.reshape((self.pages * self.sharers, heads.heads, width))
        };
        Ok(Parts {
            outputs: by_row(&outputs, dim)?,
            tops: by_row(&tops, 1)?,
            sums: by_row(&sums, 1)?,
        })
    }

    /// Of every page [a, b, query heads of a head of keys, width] as [b, a, ..].
    fn swapped(
        &self,
        t: &Tensor,
        (a, b): (usize, usize),
        heads: Heads,
        width: usize,
    ) -> Result<Tensor> {
        if self.sharers == 1 {
            return Ok(t.clone());
        }
        let each = heads.heads / heads.kv_heads * width;
        t.reshape((self.pages, a, b, each))?
            .transpose(1, 2)?
            .contiguous()
    }
}
