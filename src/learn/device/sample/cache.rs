//! Keys and values of the rows under way on a device: a slot for each row, a column for each position of it. They are written in
//! place; what lies behind a row's own position means nothing, and is finite.

use candle_core::{DType, Device, Result, Tensor};

use crate::config::Config;

/// Columns that are added together.
const PAGE: usize = 128;

/// Keys and values, each [heads of keys and values, positions, head_dim], of one sequence in one block.
pub(super) type Pair = [Tensor; 2];

pub(super) struct Cache {
    kv_heads: usize,
    dim: usize,
    slots: usize,
    columns: usize,
    /// The longest a sequence may get.
    longest: usize,
    /// By block, keys and values [slots * kv heads, columns, dim].
    blocks: Vec<Pair>,
    device: Device,
}

impl Cache {
    pub fn new(config: &Config, slots: usize, longest: usize, device: &Device) -> Result<Cache> {
        let mut cache = Cache {
            kv_heads: config.kv_heads,
            dim: config.head_dim,
            slots,
            columns: 0,
            longest,
            blocks: vec![],
            device: device.clone(),
        };
        cache.columns = PAGE.min(longest);
        for _ in 0..config.layers {
            let pair = [cache.zeros(cache.columns)?, cache.zeros(cache.columns)?];
            cache.blocks.push(pair);
        }
        Ok(cache)
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Makes room for sequences of this length.
    pub fn reach(&mut self, length: usize) -> Result<()> {
        if length <= self.columns {
            return Ok(());
        }
        let columns = length.next_multiple_of(PAGE).min(self.longest);
        let more = self.zeros(columns - self.columns)?;
        for side in self.blocks.iter_mut().flatten() {
            *side = Tensor::cat(&[&*side, &more], 1)?;
        }
        self.columns = columns;
        Ok(())
    }

    /// Leaves these slots, in this order.
    pub fn keep(&mut self, slots: &[usize]) -> Result<()> {
        let kv = self.kv_heads;
        let lines = slots.iter().flat_map(|slot| slot * kv..(slot + 1) * kv);
        let lines: Vec<u32> = lines.map(|line| line as u32).collect();
        let lines = Tensor::from_slice(&lines, lines.len(), &self.device)?;
        for side in self.blocks.iter_mut().flatten() {
            *side = side.index_select(&lines, 0)?;
        }
        self.slots = slots.len();
        Ok(())
    }

    /// Sequences in the slots `first..first + count` begin with these keys and values.
    pub fn begin(&self, block: usize, first: usize, count: usize, with: &Pair) -> Result<()> {
        let kv = self.kv_heads;
        for (side, with) in self.blocks[block].iter().zip(with) {
            let (_, positions, dim) = with.dims3()?;
            let with = with.unsqueeze(0)?.expand((count, kv, positions, dim))?;
            let with = with.reshape((count * kv, positions, dim))?.contiguous()?;
            side.narrow(0, first * kv, count * kv)?
                .slice_set(&with, 1, 0)?;
        }
        Ok(())
    }

    /// Of one position for every slot, as `put` wants it.
    pub fn places(&self, positions: &[u32]) -> Result<Tensor> {
        let (slots, kv, dim) = (self.slots, self.kv_heads, self.dim);
        Tensor::from_slice(positions, (slots, 1, 1), &self.device)?
            .expand((slots, kv, dim))?
            .reshape((slots * kv, 1, dim))?
            .contiguous()
    }

    /// Writes the keys and values of one position of every slot, each [slots, kv heads * dim].
    pub fn put(&self, block: usize, places: &Tensor, with: &Pair) -> Result<()> {
        let lines = self.slots * self.kv_heads;
        for (side, with) in self.blocks[block].iter().zip(with) {
            let with = with.reshape((lines, 1, self.dim))?.contiguous()?;
            side.scatter_set(places, &with, 1)?;
        }
        Ok(())
    }

    /// So many columns are read for sequences of this length.
    pub fn read(&self, length: usize, stride: usize) -> usize {
        length.next_multiple_of(stride).min(self.columns)
    }

    /// The first columns of all slots: keys and values [slots * kv heads, columns, dim].
    pub fn seen(&self, block: usize, columns: usize) -> Result<Pair> {
        let [keys, values] = &self.blocks[block];
        Ok([keys.narrow(1, 0, columns)?, values.narrow(1, 0, columns)?])
    }

    fn zeros(&self, columns: usize) -> Result<Tensor> {
        let shape = (self.slots * self.kv_heads, columns, self.dim);
        Tensor::zeros(shape, DType::F32, &self.device)
    }
}
