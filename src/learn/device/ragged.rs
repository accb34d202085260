//! Packed sequences of different lengths: their angles, and tiles for the kernels of attention. Knows no weights.

use std::sync::OnceLock;

use candle_core::{Device, Result, Tensor};

use crate::config::Config;
use crate::decoder::Packed;
use crate::device::attention::groups::Padded;
use crate::device::kernels::TILE;
use crate::device::sample::Used;
use crate::kernels::rope::{self, Rope};

/// What lives from step to step, and how much memory a step may use. It does not change results beyond rounding.
#[derive(Debug)]
pub struct Workspace {
    pub(super) logits_at_once: usize,
    pub(super) cache_bytes: u64,
    /// What the last samples took of their cache.
    pub used: Used,
    table: Option<Table>,
}

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace::new(logits_at_once(false))
    }
}

/// Logits that exist at the same time: 128 MB; on a GPU 512 MB, and a few times that while they are computed with. Far fewer than
/// candle's kernels count in 32 bits.
pub(super) fn logits_at_once(gpu: bool) -> usize {
    if gpu { 1 << 27 } else { 1 << 25 }
}

/// Keys and values of rows that are sampled together, but on a GPU: 4 GiB.
pub(super) const CACHE: u64 = 1 << 32;

/// Cosines and sines of the positions 0..`len` on the device, each [len, head_dim / 2].
#[derive(Debug)]
struct Table {
    frequencies: Vec<f32>,
    len: usize,
    cos: Tensor,
    sin: Tensor,
}

impl Workspace {
    /// What suits this device.
    pub(super) fn of(device: &Device) -> Workspace {
        Workspace::new(logits_at_once(!device.is_cpu()))
    }

    /// The head holds that many logits (numbers, not rows) at once; a row is never cut.
    pub fn new(logits_at_once: usize) -> Workspace {
        Workspace {
            logits_at_once,
            cache_bytes: CACHE,
            used: Used::default(),
            table: None,
        }
    }

    /// Samples keep keys and values in no more than so many bytes, if the longest of them alone takes no more; others wait.
    pub fn with_cache(self, bytes: u64) -> Workspace {
        Workspace {
            cache_bytes: bytes,
            ..self
        }
    }

    /// Cosines and sines of these positions.
    pub(super) fn angles(
        &mut self,
        positions: Vec<u32>,
        config: &Config,
        device: &Device,
    ) -> Result<Angles> {
        let (rows, longest) = (positions.len(), positions.iter().max());
        let table = self.table(config, longest.map_or(0, |&p| p as usize + 1), device)?;
        Ok(Angles {
            table: [table.cos.clone(), table.sin.clone()],
            positions: Tensor::from_vec(positions, rows, device)?,
            of_rows: OnceLock::new(),
        })
    }

    fn table(&mut self, config: &Config, len: usize, device: &Device) -> Result<&Table> {
        let frequencies = rope::frequencies(config);
        let kept = self.table.take().filter(|table| {
            table.frequencies == frequencies
                && table.len >= len
                && table.cos.device().same_device(device)
        });
        let table = match kept {
            Some(table) => table,
            None => {
                let len = len.next_power_of_two();
                let mut rope = Rope::default();
                rope.reach(config, len);
                let shape = (len, config.head_dim / 2);
                Table {
                    frequencies,
                    len,
                    cos: Tensor::from_vec(rope.cos, shape, device)?,
                    sin: Tensor::from_vec(rope.sin, shape, device)?,
                }
            }
        };
        Ok(self.table.insert(table))
    }
}

/// By which heads are turned.
#[derive(Debug)]
pub struct Angles {
    /// Every row's position [rows], and cosines and sines of all [positions, head_dim / 2].
    pub positions: Tensor,
    pub table: [Tensor; 2],
    /// For plain operations; made when they first ask.
    of_rows: OnceLock<[Tensor; 2]>,
}

impl Angles {
    /// Cosines and sines of every row's position [rows, 1, head_dim / 2].
    pub fn of_rows(&self) -> Result<&[Tensor; 2]> {
        if self.of_rows.get().is_none() {
            let of = |table: &Tensor| table.index_select(&self.positions, 0)?.unsqueeze(1);
            let [cos, sin] = &self.table;
            // Who was faster made the same.
            let _ = self.of_rows.set([of(cos)?, of(sin)?]);
        }
        Ok(self.of_rows.get().expect("they were made"))
    }
}

/// One batch as the device sees it.
#[derive(Debug)]
pub struct Ragged {
    pub rows: usize,
    pub ids: Vec<u32>,
    starts: Vec<usize>,
    pub angles: Angles,
    /// For the kernels of attention [tiles, 3]: the row where a tile's sequence begins, the one after its last, and the first row of
    /// the tile counted from there.
    pub tiles: Tensor,
    /// For plain operations; made when they first ask.
    padded: OnceLock<Padded>,
}

impl Ragged {
    pub fn new(
        batch: Packed,
        config: &Config,
        workspace: &mut Workspace,
        device: &Device,
    ) -> Result<Ragged> {
        let positions = batch.positions(config.vocab_size);
        let tiles = tiles(batch.starts);
        let count = tiles.len();
        Ok(Ragged {
            rows: positions.len(),
            ids: batch.ids.to_vec(),
            starts: batch.starts.to_vec(),
            angles: workspace.angles(positions, config, device)?,
            tiles: Tensor::from_vec(tiles.concat(), (count, 3), device)?,
            padded: OnceLock::new(),
        })
    }

    /// Its sequences as groups, for that many query heads.
    pub(crate) fn padded(&self, heads: usize) -> Result<&Padded> {
        if self.padded.get().is_none() {
            let made = Padded::new(&self.starts, heads, self.tiles.device())?;
            // Who was faster made the same.
            let _ = self.padded.set(made);
        }
        Ok(self.padded.get().expect("it was made"))
    }
}

/// Those with most keys to see first: what is left at the end is short.
fn tiles(starts: &[usize]) -> Vec<[u32; 3]> {
    let mut tiles = vec![];
    for bounds in starts.windows(2) {
        let firsts = (0..bounds[1] - bounds[0]).step_by(TILE);
        tiles.extend(firsts.map(|first| [bounds[0], bounds[1], first].map(|row| row as u32)));
    }
    tiles.sort_by_key(|&[_, _, first]| std::cmp::Reverse(first));
    tiles
}
