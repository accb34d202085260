//! Products of a few rows with a weight matrix, for decoding: the matrix is laid out once in panels of columns, and
//! every number of the result is one sum over the inner dimension in its own order.
//!
//! So a row's result has the same bits whatever the number of rows it is computed with, which `gemm` does not promise.

use crate::kernels::rows::{Shared, scratch};
use crate::kernels::simd::prefetch;
use crate::sample::team::Team;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Output columns of a panel.
const WIDTH: usize = 16;

/// A linear layer [out, in], stored as panels of `WIDTH` outputs, each [in, WIDTH]; the last is filled up with zeros.
pub struct Panels<'a> {
    inputs: usize,
    outputs: usize,
    data: Cow<'a, [f32]>,
    bias: Option<&'a [f32]>,
}

/// What becomes of the numbers that are in the output already.
#[derive(Clone, Copy, PartialEq)]
pub enum Into {
    Replace,
    Add,
}

impl<'a> Panels<'a> {
    /// `matrix` is row-major [outputs, inputs], `bias` has `outputs` numbers.
    pub fn new(matrix: &[f32], outputs: usize, bias: Option<&'a [f32]>) -> Panels<'a> {
        let inputs = matrix.len() / outputs;
        let mut data = vec![0.0; outputs.div_ceil(WIDTH) * WIDTH * inputs];
        data.par_chunks_exact_mut(WIDTH * inputs)
            .zip(matrix.par_chunks(WIDTH * inputs))
            .for_each(|(panel, rows)| transpose(rows, inputs, panel, WIDTH));
        Panels {
            inputs,
            outputs,
            data: Cow::Owned(data),
            bias,
        }
    }

    /// A matrix that `lay_out` has turned into panels.
    pub fn laid_out(data: &'a [f32], outputs: usize, bias: Option<&'a [f32]>) -> Panels<'a> {
        assert!(
            fits(outputs) && data.len().is_multiple_of(outputs),
            "only whole panels lie where a matrix lay"
        );
        Panels {
            inputs: data.len() / outputs,
            outputs,
            data: Cow::Borrowed(data),
            bias,
        }
    }

    /// The matrix' row for this output.
    pub fn row(&self, output: usize, row: &mut [f32]) {
        let panel = WIDTH * self.inputs;
        let panel = &self.data[output / WIDTH * panel..][..panel];
        for (x, line) in row.iter_mut().zip(panel.chunks_exact(WIDTH)) {
            *x = line[output % WIDTH];
        }
    }

    /// `out` [rows, outputs] from `x` [rows, inputs]. The team shares the panels, not the sums.
    pub fn apply(&self, team: &Team, x: &[f32], out: &mut [f32], into: Into) {
        let rows = out.len() / self.outputs;
        assert!(
            x.len() == rows * self.inputs && out.len() == rows * self.outputs,
            "the rows of a product fit its matrix"
        );
        // Parts of whole pairs: two panels are taken at once where registers are wide.
        let (panels, parts) = (self.outputs.div_ceil(WIDTH), team.parts());
        let pairs = panels.div_ceil(2);
        let bound = |part: usize| (2 * (part * pairs / parts)).min(panels);
        let out = Shared::new(out);
        team.each(&|part| {
            Arch::new().dispatch(Apply {
                panels: self,
                part: bound(part)..bound(part + 1),
                x,
                out,
                into,
            })
        });
    }
}

/// Whether a matrix of so many outputs is as large in panels as in rows.
pub fn fits(outputs: usize) -> bool {
    outputs.is_multiple_of(WIDTH)
}

/// Turns a row-major matrix [.., inputs] of whole panels into these, where it lies.
pub fn lay_out(matrix: &mut [f32], inputs: usize) {
    in_place(matrix, inputs, |rows, panel| {
        transpose(rows, inputs, panel, WIDTH);
    });
}

/// Turns panels back into the matrix.
pub fn lay_back(panels: &mut [f32], inputs: usize) {
    in_place(panels, inputs, |panel, rows| {
        transpose(panel, WIDTH, rows, inputs);
    });
}

fn in_place(data: &mut [f32], inputs: usize, turn: impl Fn(&[f32], &mut [f32]) + Sync) {
    assert!(
        data.len().is_multiple_of(WIDTH * inputs),
        "only whole panels lie where a matrix lay"
    );
    data.par_chunks_exact_mut(WIDTH * inputs).for_each(|panel| {
        scratch(panel.len(), |before| {
            before.copy_from_slice(panel);
            turn(before, panel);
        });
    });
}

/// `to` [width, to_width] becomes the transposed `from` [.., width]; what it has more columns than `from` has rows stays.
fn transpose(from: &[f32], width: usize, to: &mut [f32], to_width: usize) {
    for (column, line) in to.chunks_exact_mut(to_width).enumerate().take(width) {
        for (to, row) in line.iter_mut().zip(from.chunks_exact(width)) {
            *to = row[column];
        }
    }
}

struct Apply<'a> {
    panels: &'a Panels<'a>,
    /// The panels to multiply with.
    part: Range<usize>,
    x: &'a [f32],
    out: Shared<'a>,
    into: Into,
}

/// Lines of a panel between two looks ahead.
const FETCH: usize = 32;

/// What a tile fetches of the panels after its own: `lines` from `next` on for every `FETCH` of its own.
#[derive(Clone, Copy)]
struct Fetch {
    next: *const f32,
    lines: usize,
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Panels side by side, vectors of a panel's line, and rows that fill the registers with sums. Where a line is one vector,
        // a second panel halves what is read of the rows for a product.
        match S::F32_LANES {
            16 => self.run::<S, 2, 1, 12>(simd),
            8 => self.run::<S, 1, 2, 6>(simd),
            4 => self.run::<S, 1, 4, 2>(simd),
            _ => self.run::<S, 1, WIDTH, 1>(simd),
        }
    }
}

impl Apply<'_> {
    #[inline(always)]
    fn run<S: Simd, const PANELS: usize, const VECTORS: usize, const ROWS: usize>(self, simd: S) {
        let mut index = self.part.start;
        while index + PANELS <= self.part.end {
            self.panels::<S, PANELS, VECTORS, ROWS>(simd, index);
            index += PANELS;
        }
        for index in index..self.part.end {
            self.panels::<S, 1, VECTORS, ROWS>(simd, index);
        }
    }

    /// `PANELS` panels from number `index` on, with all rows.
    #[inline(always)]
    fn panels<S: Simd, const PANELS: usize, const VECTORS: usize, const ROWS: usize>(
        &self,
        simd: S,
        index: usize,
    ) {
        let k = self.panels.inputs;
        let rows = self.x.len() / k;
        // Tiles of even heights: a low one at the end would leave the arithmetic waiting for its few sums.
        let tiles = rows.div_ceil(ROWS);
        let panels = &self.panels.data[index * WIDTH * k..(index + PANELS) * WIDTH * k];
        let mut next = panels.as_ptr_range().end;
        for tile in 0..tiles {
            let rows = tile * rows / tiles..(tile + 1) * rows / tiles;
            let fetch = Fetch {
                next,
                lines: (PANELS * FETCH).div_ceil(tiles),
            };
            next = next.wrapping_add(k.div_ceil(FETCH) * fetch.lines * WIDTH);
            let at = (index, rows.start);
            match rows.len() {
                1 => self.tile::<S, PANELS, VECTORS, 1>(simd, panels, at, fetch),
                2 => self.tile::<S, PANELS, VECTORS, 2>(simd, panels, at, fetch),
                3 => self.tile::<S, PANELS, VECTORS, 3>(simd, panels, at, fetch),
                4 => self.tile::<S, PANELS, VECTORS, 4>(simd, panels, at, fetch),
                5 => self.tile::<S, PANELS, VECTORS, 5>(simd, panels, at, fetch),
                6 => self.tile::<S, PANELS, VECTORS, 6>(simd, panels, at, fetch),
                7 => self.tile::<S, PANELS, VECTORS, 7>(simd, panels, at, fetch),
                8 => self.tile::<S, PANELS, VECTORS, 8>(simd, panels, at, fetch),
                9 => self.tile::<S, PANELS, VECTORS, 9>(simd, panels, at, fetch),
                10 => self.tile::<S, PANELS, VECTORS, 10>(simd, panels, at, fetch),
                11 => self.tile::<S, PANELS, VECTORS, 11>(simd, panels, at, fetch),
                12 => self.tile::<S, PANELS, VECTORS, 12>(simd, panels, at, fetch),
                _ => unreachable!("a tile has at most 12 rows"),
            }
        }
    }

    /// `PANELS` panels from number `index` on with `ROWS` rows from `row` on. Every sum has its own order, that of the inner
    /// dimension, whatever lies beside it.
    #[inline(always)]
    fn tile<S: Simd, const PANELS: usize, const VECTORS: usize, const ROWS: usize>(
        &self,
        simd: S,
        panels: &[f32],
        (index, row): (usize, usize),
        fetch: Fetch,
    ) {
        let k = self.panels.inputs;
        let rows: [&[f32]; ROWS] =
            std::array::from_fn(|r| &self.x[(row + r) * k..(row + r + 1) * k]);
        let panels: [&[[S::f32s; VECTORS]]; PANELS] = std::array::from_fn(|p| {
            let panel = &panels[p * WIDTH * k..(p + 1) * WIDTH * k];
            S::as_simd_f32s(panel).0.as_chunks::<VECTORS>().0
        });
        let mut sums = [[[simd.splat_f32s(0.0); VECTORS]; PANELS]; ROWS];
        let mut next = fetch.next;
        for first in (0..k).step_by(FETCH) {
            for _ in 0..fetch.lines {
                prefetch(next);
                next = next.wrapping_add(WIDTH);
            }
            let block = first..(first + FETCH).min(k);
            let x: [&[f32]; ROWS] = std::array::from_fn(|r| &rows[r][block.clone()]);
            let lines: [&[[S::f32s; VECTORS]]; PANELS] =
                std::array::from_fn(|p| &panels[p][block.clone()]);
            for j in 0..block.len() {
                let mut line = [[simd.splat_f32s(0.0); VECTORS]; PANELS];
                for p in 0..PANELS {
                    for v in 0..VECTORS {
                        line[p][v] = lines[p][j][v];
                    }
                }
                for r in 0..ROWS {
                    let factor = simd.splat_f32s(x[r][j]);
                    for p in 0..PANELS {
                        for v in 0..VECTORS {
                            sums[r][p][v] = simd.mul_add_f32s(factor, line[p][v], sums[r][p][v]);
                        }
                    }
                }
            }
        }
        // A copy, made number by number: an array that is walked over lies in memory, and sums belong in registers.
        let mut done = [[[simd.splat_f32s(0.0); VECTORS]; PANELS]; ROWS];
        for r in 0..ROWS {
            for p in 0..PANELS {
                for v in 0..VECTORS {
                    done[r][p][v] = sums[r][p][v];
                }
            }
        }
        for (r, sums) in done.iter().enumerate() {
            for (p, sums) in sums.iter().enumerate() {
                self.write::<S, VECTORS>(simd, row + r, index + p, sums);
            }
        }
    }

    /// The numbers of one panel in one row of the output.
    #[inline(always)]
    fn write<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        row: usize,
        panel: usize,
        sums: &[S::f32s; VECTORS],
    ) {
        let n = self.panels.outputs;
        let columns = panel * WIDTH..((panel + 1) * WIDTH).min(n);
        let bias = self.panels.bias.map(|b| &b[columns.clone()]);
        // SAFETY: no other thread has these panels.
        let out = unsafe {
            self.out
                .slice(row * n + columns.start..row * n + columns.end)
        };
        if out.len() == WIDTH {
            return write::<S, VECTORS>(simd, out, sums, bias, self.into);
        }
        // The last panel may be wider than what is left of the row.
        let (mut wide, mut wide_bias) = ([0.0; WIDTH], [0.0; WIDTH]);
        wide[..out.len()].copy_from_slice(out);
        let bias = bias.map(|bias| {
            wide_bias[..bias.len()].copy_from_slice(bias);
            &wide_bias[..]
        });
        write::<S, VECTORS>(simd, &mut wide, sums, bias, self.into);
        out.copy_from_slice(&wide[..out.len()]);
    }
}

/// `WIDTH` numbers of a row of the output.
#[inline(always)]
fn write<S: Simd, const VECTORS: usize>(
    simd: S,
    out: &mut [f32],
    sums: &[S::f32s; VECTORS],
    bias: Option<&[f32]>,
    into: Into,
) {
    let out = S::as_mut_simd_f32s(out).0;
    let bias = bias.map(|bias| S::as_simd_f32s(bias).0);
    for (v, (to, &sum)) in out.iter_mut().zip(sums).enumerate() {
        let sum = bias.map_or(sum, |bias| simd.add_f32s(sum, bias[v]));
        *to = match into {
            Into::Replace => sum,
            Into::Add => simd.add_f32s(*to, sum),
        };
    }
}
