//! Products of a few rows with a weight matrix, for decoding: the matrix is laid out once in panels of columns, and
//! every number of the result is one sum over the inner dimension in its own order.
//!
//! So a row's result has the same bits whatever the number of rows it is computed with, which `gemm` does not promise.

use crate::kernels::rows::Shared;
use crate::kernels::simd::prefetch;
use crate::sample::team::Team;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Output columns of a panel.
const WIDTH: usize = 16;

/// A linear layer [out, in], stored as panels of `WIDTH` outputs, each [in, WIDTH]; the last is filled up with zeros.
pub(crate) struct Panels {
    inputs: usize,
    outputs: usize,
    data: Vec<f32>,
    bias: Option<Vec<f32>>,
}

/// What becomes of the numbers that are in the output already.
#[derive(Clone, Copy, PartialEq)]
pub enum Into {
    Replace,
    Add,
}

impl Panels {
    /// `matrix` is row-major [outputs, inputs], `bias` has `outputs` numbers.
    pub fn new(matrix: &[f32], outputs: usize, bias: Option<&[f32]>) -> Panels {
        let inputs = matrix.len() / outputs;
        let mut data = vec![0.0; outputs.div_ceil(WIDTH) * WIDTH * inputs];
        data.par_chunks_exact_mut(WIDTH * inputs)
            .zip(matrix.par_chunks(WIDTH * inputs))
            .for_each(|(panel, rows)| {
                for (column, row) in rows.chunks_exact(inputs).enumerate() {
                    for (k, &w) in row.iter().enumerate() {
                        panel[k * WIDTH + column] = w;
                    }
                }
            });
        Panels {
            inputs,
            outputs,
            data,
            bias: bias.map(<[f32]>::to_vec),
        }
    }

    /// `out` [rows, outputs] from `x` [rows, inputs]. The team shares the panels, not the sums.
    pub fn apply(&self, team: &Team, x: &[f32], out: &mut [f32], into: Into) {
        let rows = out.len() / self.outputs;
        assert!(
            x.len() == rows * self.inputs && out.len() == rows * self.outputs,
            "the rows of a product fit its matrix"
        );
        let (panels, parts) = (self.outputs.div_ceil(WIDTH), team.parts());
        let out = Shared::new(out);
        team.each(&|part| {
            Arch::new().dispatch(Apply {
                panels: self,
                part: part * panels / parts..(part + 1) * panels / parts,
                x,
                out,
                into,
            })
        });
    }
}

struct Apply<'a> {
    panels: &'a Panels,
    /// The panels to multiply with.
    part: Range<usize>,
    x: &'a [f32],
    out: Shared<'a>,
    into: Into,
}

/// Lines of a panel between two looks ahead.
const FETCH: usize = 32;

/// What a tile fetches of the panel after its own: `lines` from `next` on for every `FETCH` of its own.
#[derive(Clone, Copy)]
struct Fetch {
    next: *const f32,
    lines: usize,
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Vectors of a panel, and rows that fill the registers with sums.
        match S::F32_LANES {
            16 => self.run::<S, 1, 12>(simd),
            8 => self.run::<S, 2, 6>(simd),
            4 => self.run::<S, 4, 2>(simd),
            _ => self.run::<S, WIDTH, 1>(simd),
        }
    }
}

impl Apply<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const ROWS: usize>(self, simd: S) {
        let k = self.panels.inputs;
        let rows = self.x.len() / k;
        // Tiles of even heights: a low one at the end would leave the arithmetic waiting for its few sums.
        let tiles = rows.div_ceil(ROWS);
        for i in self.part.clone() {
            let panel = &self.panels.data[i * WIDTH * k..(i + 1) * WIDTH * k];
            let mut next = panel.as_ptr_range().end;
            for tile in 0..tiles {
                let rows = tile * rows / tiles..(tile + 1) * rows / tiles;
                let fetch = Fetch {
                    next,
                    lines: FETCH.div_ceil(tiles),
                };
                next = next.wrapping_add(k.div_ceil(FETCH) * fetch.lines * WIDTH);
                match rows.len() {
                    1 => self.tile::<S, VECTORS, 1>(simd, panel, i, rows.start, fetch),
                    2 => self.tile::<S, VECTORS, 2>(simd, panel, i, rows.start, fetch),
                    3 => self.tile::<S, VECTORS, 3>(simd, panel, i, rows.start, fetch),
                    4 => self.tile::<S, VECTORS, 4>(simd, panel, i, rows.start, fetch),
                    5 => self.tile::<S, VECTORS, 5>(simd, panel, i, rows.start, fetch),
                    6 => self.tile::<S, VECTORS, 6>(simd, panel, i, rows.start, fetch),
                    7 => self.tile::<S, VECTORS, 7>(simd, panel, i, rows.start, fetch),
                    8 => self.tile::<S, VECTORS, 8>(simd, panel, i, rows.start, fetch),
                    9 => self.tile::<S, VECTORS, 9>(simd, panel, i, rows.start, fetch),
                    10 => self.tile::<S, VECTORS, 10>(simd, panel, i, rows.start, fetch),
                    11 => self.tile::<S, VECTORS, 11>(simd, panel, i, rows.start, fetch),
                    12 => self.tile::<S, VECTORS, 12>(simd, panel, i, rows.start, fetch),
                    _ => unreachable!("a tile has at most 12 rows"),
                }
            }
        }
    }

    /// One panel, number `index`, with `ROWS` rows from `row` on.
    #[inline(always)]
    fn tile<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &self,
        simd: S,
        panel: &[f32],
        index: usize,
        row: usize,
        fetch: Fetch,
    ) {
        let (k, n) = (self.panels.inputs, self.panels.outputs);
        let columns = index * WIDTH..((index + 1) * WIDTH).min(n);
        let x: [&[f32]; ROWS] = std::array::from_fn(|r| &self.x[(row + r) * k..(row + r + 1) * k]);
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        let mut next = fetch.next;
        let panel = S::as_simd_f32s(panel).0;
        for (block, lines) in panel.chunks(FETCH * VECTORS).enumerate() {
            for _ in 0..fetch.lines {
                prefetch(next);
                next = next.wrapping_add(WIDTH);
            }
            let x: [&[f32]; ROWS] = std::array::from_fn(|r| &x[r][block * FETCH..]);
            for (j, line) in lines.chunks_exact(VECTORS).enumerate() {
                for r in 0..ROWS {
                    let factor = simd.splat_f32s(x[r][j]);
                    for v in 0..VECTORS {
                        sums[r][v] = simd.mul_add_f32s(factor, line[v], sums[r][v]);
                    }
                }
            }
        }
        let bias = self.panels.bias.as_ref().map(|b| &b[columns.clone()]);
        for (r, sums) in sums.iter().enumerate() {
            let at = (row + r) * n;
            // SAFETY: no other thread has these panels.
            let out = unsafe { self.out.slice(at + columns.start..at + columns.end) };
            if out.len() == WIDTH {
                write::<S, VECTORS>(simd, out, sums, bias, self.into);
                continue;
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
