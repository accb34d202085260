//! Causal attention over padded groups of sequences, forward and backward, by candle's plain operations on f32.
//!
//! Scores exist for one block of queries at a time, with only the keys a block can see; the backward pass computes the
//! probabilities again. The query heads of one key/value head are rows of one product, so keys are never repeated.

use candle_core::{D, Result, Tensor};

use crate::device::attention::groups::{Group, Padded};
use crate::device::product::product;
use crate::device::ragged::Ragged;
use crate::kernels::attention::Heads;

/// `qkv` [rows, width] to the heads' outputs side by side [rows, out_width].
pub fn forward(shape: Heads, qkv: &Tensor, ragged: &Ragged) -> Result<Tensor> {
    let padded = ragged.padded(shape.heads)?;
    let mut outs = Vec::new();
    for group in &padded.groups {
        let view = View::new(shape, qkv, padded, group)?;
        let mut blocks = Vec::new();
        for first in (0..group.longest).step_by(padded.queries) {
            let block = view.block(first)?;
            let out = product(&block.p, &block.values)?;
            blocks.push(out.reshape((view.batch, view.group, block.n, shape.dim))?);
        }
        let out = Tensor::cat(&blocks, 2)?; // (sequences * kv, group, T, dim)
        outs.push(group.to_rows(&out, shape.heads, shape.dim)?);
    }
    Tensor::cat(&outs, 0)?.index_select(&padded.place, 0)
}

/// dL/d(qkv) [rows, width] from dL/d(out) [rows, out_width].
pub fn backward(shape: Heads, qkv: &Tensor, dout: &Tensor, ragged: &Ragged) -> Result<Tensor> {
    let padded = ragged.padded(shape.heads)?;
    let mut all = Vec::new();
    for group in &padded.groups {
        let view = View::new(shape, qkv, padded, group)?;
        // Padding has no gradient, so no real key gets one from it.
        let dout = dout.index_select(&group.pick, 0)?;
        let dout = dout.broadcast_mul(&group.real)?;
        let dout = group.by_head(&dout, 0, shape.heads, shape.dim)?;
        let dout = dout.reshape((view.batch, view.group, group.longest, shape.dim))?;
        let mut dqueries = Vec::new();
        let mut sums: Option<(Tensor, Tensor)> = None;
        for first in (0..group.longest).step_by(padded.queries) {
            let block = view.block(first)?;
            let dout = view.queries_of(&dout, first, block.n)?;
            let dvalues = product(&block.p.t()?, &dout)?;
            let dp = product(&dout, &block.values.t()?)?;
            // ds = p (dp - sum_j p_j dp_j)
            let pdp = (&block.p * &dp)?;
            let delta = pdp.sum_keepdim(D::Minus1)?;
            let ds = (pdp - block.p.broadcast_mul(&delta)?)?;
            let dq = (product(&ds, &block.keys)? * view.scale)?;
            dqueries.push(dq.reshape((view.batch, view.group, block.n, shape.dim))?);
            let dkeys = product(&ds.t()?, &block.queries)?;
            let unseen = group.longest - first - block.n;
            let dkeys = dkeys.pad_with_zeros(1, 0, unseen)?;
            let dvalues = dvalues.pad_with_zeros(1, 0, unseen)?;
            sums = Some(match sums {
                Some((keys, values)) => ((keys + dkeys)?, (values + dvalues)?),
                None => (dkeys, dvalues),
            });
        }
        let (dkeys, dvalues) = sums.expect("a group has a sequence, and that a token");
        let rows = [
            group.to_rows(&Tensor::cat(&dqueries, 2)?, shape.heads, shape.dim)?,
            group.to_rows(&dkeys, shape.kv_heads, shape.dim)?,
            group.to_rows(&dvalues, shape.kv_heads, shape.dim)?,
        ];
        all.push(Tensor::cat(&rows, 1)?);
    }
    Tensor::cat(&all, 0)?.index_select(&padded.place, 0)
}

/// A group's queries, keys and values by head.
struct View<'a> {
    padded: &'a Padded,
    dim: usize,
    longest: usize,
    /// sequences * kv heads.
    batch: usize,
    /// Query heads of one key/value head.
    group: usize,
    scale: f64,
    /// [batch, group, longest, dim], times `scale`.
    queries: Tensor,
    /// [batch, longest, dim].
    keys: Tensor,
    values: Tensor,
}

/// One block of queries with the keys it can see.
struct Block {
    n: usize,
    /// [batch, group * n, dim], times `scale`.
    queries: Tensor,
    /// [batch, seen, dim].
    keys: Tensor,
    values: Tensor,
    /// Probabilities [batch, group * n, seen].
    p: Tensor,
}

impl<'a> View<'a> {
    fn new(shape: Heads, qkv: &Tensor, padded: &'a Padded, group: &Group) -> Result<View<'a>> {
        let Heads {
            heads,
            kv_heads,
            dim,
        } = shape;
        let rows = qkv.index_select(&group.pick, 0)?;
        let (batch, longest) = (group.sequences * kv_heads, group.longest);
        let scale = 1.0 / (dim as f64).sqrt();
        let queries = (group.by_head(&rows, 0, heads, dim)? * scale)?;
        let keys = group.by_head(&rows, heads, kv_heads, dim)?;
        let values = group.by_head(&rows, heads + kv_heads, kv_heads, dim)?;
        Ok(View {
            padded,
            dim,
            longest,
            batch,
            group: heads / kv_heads,
            scale,
            queries: queries.reshape((batch, heads / kv_heads, longest, dim))?,
            keys: keys.reshape((batch, longest, dim))?,
            values: values.reshape((batch, longest, dim))?,
        })
    }

    /// `n` queries from `first` on of all heads of a group as rows of one matrix [batch, group * n, dim].
    fn queries_of(&self, queries: &Tensor, first: usize, n: usize) -> Result<Tensor> {
        queries
            .narrow(2, first, n)?
            .reshape((self.batch, self.group * n, self.dim))
    }

    fn block(&self, first: usize) -> Result<Block> {
        let n = self.padded.queries.min(self.longest - first);
        let seen = first + n;
        let queries = self.queries_of(&self.queries, first, n)?;
        let keys = self.keys.narrow(1, 0, seen)?.contiguous()?;
        let values = self.values.narrow(1, 0, seen)?.contiguous()?;
        let scores = product(&queries, &keys.t()?)?;
        let scores = scores.reshape((self.batch, self.group, n, seen))?;
        let scores = scores.broadcast_add(&self.padded.mask(first, n)?)?;
        let top = scores.max_keepdim(D::Minus1)?;
        let e = scores.broadcast_sub(&top)?.exp()?;
        let p = e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?;
        let p = p.reshape((self.batch, self.group * n, seen))?;
        Ok(Block {
            n,
            queries,
            keys,
            values,
            p,
        })
    }
}
