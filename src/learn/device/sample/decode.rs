//! One more token for every row under way, through the whole decoder.

use candle_core::{D, DType, Result, Tensor};

use crate::device::block;
use crate::device::decoder::{embed, normed};
use crate::device::net::Net;
use crate::device::ops::product;
use crate::device::ragged::Workspace;
use crate::device::sample::cache::Cache;

/// Columns of a cache are read in multiples of this: products have few shapes.
const STRIDE: usize = 64;

/// The last hidden states [slots, hidden] after the final norm, of every slot's token at its position. The cache reaches these
/// positions and receives the tokens' keys and values.
pub(super) fn step(
    net: Net,
    cache: &mut Cache,
    tokens: &[u32],
    positions: &[u32],
    workspace: &mut Workspace,
) -> Result<Tensor> {
    let length = positions.iter().max().map_or(0, |&p| p as usize + 1);
    cache.reach(length)?;
    let cache = &*cache;
    let columns = cache.read(length, STRIDE);
    let angles = workspace.angles(positions.to_vec(), net.config(), net.device())?;
    let at = Attention {
        net,
        cache,
        columns,
        places: cache.places(positions)?,
        mask: mask(positions, columns, net)?,
    };
    let mut h = embed(net, tokens)?;
    for layer in 0..net.config().layers {
        h = block::forward(net, layer, &h, &angles, |qkv| at.run(layer, qkv))?.0;
    }
    normed(net, &h)
}

/// 0 where a slot sees a column, far below any score where not [slots, 1, columns].
fn mask(positions: &[u32], columns: usize, net: Net) -> Result<Tensor> {
    let slots = positions.len();
    let positions = Tensor::from_slice(positions, (slots, 1), net.device())?;
    let all = Tensor::arange(0u32, columns as u32, net.device())?.reshape((1, columns))?;
    let seen = all.broadcast_le(&positions)?.to_dtype(DType::F32)?;
    seen.affine(FAR, -FAR)?.unsqueeze(1)
}

/// A score with this subtracted has no weight, and no sum of such is infinite.
const FAR: f64 = 1e30;

/// Attention of one token in every slot over the columns of its slot up to its own.
struct Attention<'a> {
    net: Net<'a>,
    cache: &'a Cache,
    columns: usize,
    places: Tensor,
    mask: Tensor,
}

impl Attention<'_> {
    /// From q, k (rotated), v [slots, q + 2 kv] to the heads' outputs side by side [slots, q].
    fn run(&self, layer: usize, qkv: &Tensor) -> Result<Tensor> {
        let config = self.net.config();
        let (q, kv, dim) = (config.q_width(), config.kv_width(), config.head_dim);
        let slots = self.cache.slots();
        let (lines, group) = (slots * config.kv_heads, config.heads / config.kv_heads);
        let own = [qkv.narrow(1, q, kv)?, qkv.narrow(1, q + kv, kv)?];
        self.cache.put(layer, &self.places, &own)?;
        let [keys, values] = self.cache.seen(layer, self.columns)?;
        let queries = (qkv.narrow(1, 0, q)? * (1.0 / (dim as f64).sqrt()))?;
        let queries = queries.reshape((lines, group, dim))?;
        let scores = product(&queries, &keys.t()?)?;
        let scores = scores
            .reshape((slots, config.heads, self.columns))?
            .broadcast_add(&self.mask)?;
        let top = scores.max_keepdim(D::Minus1)?;
        let e = scores.broadcast_sub(&top)?.exp()?;
        let p = e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?;
        let p = p.reshape((lines, group, self.columns))?;
        product(&p, &values)?.reshape((slots, q))
    }
}
