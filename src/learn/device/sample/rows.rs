//! The rows of a step, and what a device is told of them: the same in all blocks.

use std::cell::OnceCell;

use candle_core::{Device, Result, Tensor};

use crate::device::sample::pages::{NOBODYS, PAGE};

/// A row of a step: its token, where that is, and the pages up to there.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub token: u32,
    pub position: usize,
    pub pages: &'a [u32],
}

impl At<'_> {
    /// Positions that it sees of its page number `page`.
    pub fn sees(&self, page: usize) -> usize {
        (self.position + 1 - page * PAGE).min(PAGE)
    }
}

/// The rows of a step, and how many there are with those that fill the width up.
pub(super) struct Rows<'a> {
    pub rows: &'a [At<'a>],
    pub width: usize,
    /// Pages of the row that has most.
    pub most: usize,
    pub device: &'a Device,
    /// The same in all blocks, made when they are first asked for.
    table: OnceCell<Tensor>,
    places: OnceCell<Tensor>,
}

impl<'a> Rows<'a> {
    pub fn new(rows: &'a [At<'a>], width: usize, device: &'a Device) -> Rows<'a> {
        Rows {
            rows,
            width,
            most: rows.iter().map(|at| at.pages.len()).max().unwrap_or(0),
            device,
            table: OnceCell::new(),
            places: OnceCell::new(),
        }
    }

    /// The pages of every row [width, most].
    pub fn table(&self) -> Result<&Tensor> {
        made(&self.table, || {
            let mut table = vec![NOBODYS; self.width * self.most];
            for (at, own) in self.rows.iter().zip(table.chunks_exact_mut(self.most)) {
                own[..at.pages.len()].copy_from_slice(at.pages);
            }
            Tensor::from_vec(table, (self.width, self.most), self.device)
        })
    }

    /// Where the heads of keys, and those of values, of every row's position are, of all that the cache has: of [.., head_dim] for
    /// every number of a head its first index [rows * kv heads, head_dim].
    pub fn places(&self, kv_heads: usize, dim: usize) -> Result<&Tensor> {
        made(&self.places, || {
            let places = self.rows.iter().flat_map(|at| {
                let first = at.pages[at.position / PAGE] as usize * kv_heads;
                let place = move |head| (first + head) * PAGE + at.position % PAGE;
                (0..kv_heads).map(move |head| place(head) as u32)
            });
            let places: Vec<u32> = places.collect();
            let count = places.len();
            Tensor::from_vec(places, (count, 1), self.device)?
                .expand((count, dim))?
                .contiguous()
        })
    }
}

pub(super) fn made<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
