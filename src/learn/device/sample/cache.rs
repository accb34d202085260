//! Keys and values of the rows under way on a device, in pages that rows of one prompt share. They are written in place; what
//! lies behind a row's own position means nothing, and is finite.
//!
//! A page holds the heads of keys and values one after the other, of each `PAGE` positions. Which page is whose: `pages`.

use candle_core::{Result, Tensor};

use crate::device::kernels::Variant;
use crate::device::launch::{Arg, launch, of_heads};
use crate::device::net::Net;
use crate::device::ops::heads::Turn;
use crate::device::sample::pages::{PAGE, Page, Pool, Used};
use crate::device::sample::rows::Rows;
use crate::kernels::attention::Heads;

/// Keys and values, each [heads of keys and values, positions, head_dim], of one sequence in one block.
pub(super) type Pair = [Tensor; 2];

pub(super) struct Cache {
    kv_heads: usize,
    dim: usize,
    page: Page,
    pub pool: Pool,
    /// By block, keys and values [pages * kv heads, PAGE, head_dim].
    blocks: Vec<Pair>,
}

impl Cache {
    /// So many pages, and one that nobody reads.
    pub fn new(net: Net, pages: usize) -> Result<Cache> {
        let (config, numbers) = (net.config(), net.between());
        let shape = ((pages + 1) * config.kv_heads, PAGE, config.head_dim);
        let side = || Tensor::zeros(shape, numbers, net.device());
        let pair = |_| Ok([side()?, side()?]);
        Ok(Cache {
            kv_heads: config.kv_heads,
            dim: config.head_dim,
            page: page(net),
            pool: Pool::new(pages),
            blocks: (0..config.layers).map(pair).collect::<Result<_>>()?,
        })
    }

    pub fn used(&self) -> Used {
        self.pool.used(self.page.bytes as usize)
    }

    /// Keys and values of a block.
    pub fn block(&self, block: usize) -> &Pair {
        &self.blocks[block]
    }

    /// The first positions of a sequence fill these pages.
    pub fn fill(&self, block: usize, pages: &[u32], with: &Pair) -> Result<()> {
        if pages.is_empty() {
            return Ok(());
        }
        let (kv, dim) = (self.kv_heads, self.dim);
        for (side, with) in self.blocks[block].iter().zip(with) {
            let with = with
                .narrow(1, 0, pages.len() * PAGE)?
                .reshape((kv, pages.len(), PAGE, dim))?
                .transpose(0, 1)?
                .contiguous()?
                .reshape((pages.len() * kv, PAGE, dim))?;
            for run in runs(pages) {
                let own = with.narrow(0, run.at * kv, run.count * kv)?;
                self.pages(side, &run)?.slice_set(&own, 0, 0)?;
            }
        }
        Ok(())
    }

    /// Each of these pages begins with these positions.
    pub fn begin(&self, block: usize, pages: &[u32], with: &Pair) -> Result<()> {
        for (side, with) in self.blocks[block].iter().zip(with) {
            let (kv, positions, dim) = with.dims3()?;
            for run in runs(pages) {
                let each = with.unsqueeze(0)?.expand((run.count, kv, positions, dim))?;
                let each = each
                    .reshape((run.count * kv, positions, dim))?
                    .contiguous()?;
                self.pages(side, &run)?.slice_set(&each, 1, 0)?;
            }
        }
        Ok(())
    }

    fn pages(&self, side: &Tensor, run: &Run) -> Result<Tensor> {
        let kv = self.kv_heads;
        side.narrow(0, run.first as usize * kv, run.count * kv)
    }

    /// From the product's q, k, v of a block [width, q + 2 kv], whose numbers nobody else has, to the same with its queries
    /// turned; keys, turned, and values go to where the rows are. By a kernel where there is one.
    pub fn receive(&self, block: usize, turn: &Turn, qkv: Tensor, rows: &Rows) -> Result<Tensor> {
        if let Some(variant) = of_heads(qkv.device(), qkv.dtype(), self.dim) {
            return self.launch(block, turn, qkv, rows, variant);
        }
        let (qkv, _) = turn.forward(qkv)?;
        let (kv, dim) = (self.kv_heads, self.dim);
        let (q, places) = (turn.shape.heads * dim, rows.places(kv, dim)?);
        for (i, side) in self.blocks[block].iter().enumerate() {
            let own = qkv.narrow(0, 0, rows.rows.len())?;
            let own = own.narrow(1, q + i * kv * dim, kv * dim)?;
            let own = own.contiguous()?.reshape(((), dim))?;
            side.reshape(((), dim))?.scatter_set(places, &own, 0)?;
        }
        Ok(qkv)
    }

    fn launch(
        &self,
        block: usize,
        turn: &Turn,
        qkv: Tensor,
        rows: &Rows,
        variant: Variant,
    ) -> Result<Tensor> {
        let Heads {
            heads,
            kv_heads: kv,
            ..
        } = turn.shape;
        let (qkv, [keys, values]) = (qkv.contiguous()?, &self.blocks[block]);
        let [cos, sin] = &turn.angles.table;
        let arguments = [
            Arg::Write(&qkv),
            Arg::read(turn.bias),
            Arg::read(turn.norms.map(|norms| norms[0])),
            Arg::read(turn.norms.map(|norms| norms[1])),
            Arg::Read(cos),
            Arg::Read(sin),
            Arg::Read(&turn.angles.positions),
            Arg::Write(keys),
            Arg::Write(values),
            Arg::Read(rows.table()?),
            Arg::I32(rows.most),
            Arg::I32(heads),
            Arg::I32(kv),
            Arg::F32(turn.eps),
        ];
        let counts = [rows.width, heads + 2 * kv, 1];
        launch("turn_heads_cached", variant, counts, &arguments)?;
        Ok(qkv)
    }
}

/// What a page of this model's cache holds.
pub(super) fn page(net: Net) -> Page {
    let (config, number) = (net.config(), net.between().size_in_bytes());
    let [layers, kv_width] = [config.layers, config.kv_width()].map(|n| n as u64);
    Page::new(layers, kv_width, number as u64)
}

/// Pages that follow each other, in a list at `at`.
struct Run {
    at: usize,
    first: u32,
    count: usize,
}

fn runs(pages: &[u32]) -> Vec<Run> {
    let mut runs: Vec<Run> = vec![];
    for (at, &page) in pages.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.first + run.count as u32 == page => run.count += 1,
            _ => runs.push(Run {
                at,
                first: page,
                count: 1,
            }),
        }
    }
    runs
}
