//! Products of a few rows with a weight matrix, for decoding: the matrix is laid out once in panels of columns, and
//! every number of the result is one sum over the inner dimension in its own order.
//!
//! So a row's result has the same bits whatever the number of rows it is computed with, which `gemm` does not promise.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Output columns of a panel.
const WIDTH: usize = 16;

/// A linear layer [out, in], stored as panels of `WIDTH` outputs, each [in, WIDTH]; the last is filled up with zeros.
pub struct Panels {
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

    /// `out` [rows, outputs] from `x` [rows, inputs].
    pub fn apply(&self, x: &[f32], out: &mut [f32], into: Into) {
        let rows = out.len() / self.outputs;
        assert!(
            x.len() == rows * self.inputs && out.len() == rows * self.outputs,
            "the rows of a product fit its matrix"
        );
        Arch::new().dispatch(Apply {
            panels: self,
            x,
            out,
            into,
        });
    }
}

struct Apply<'a> {
    panels: &'a Panels,
    x: &'a [f32],
    out: &'a mut [f32],
    into: Into,
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
    fn run<S: Simd, const VECTORS: usize, const ROWS: usize>(mut self, simd: S) {
        let (k, n) = (self.panels.inputs, self.panels.outputs);
        let rows = self.x.len() / k;
        for (i, panel) in self.panels.data.chunks_exact(WIDTH * k).enumerate() {
            let first = i * WIDTH;
            let columns = first..(first + WIDTH).min(n);
            let mut row = 0;
            while row + ROWS <= rows {
                self.tile::<S, VECTORS, ROWS>(simd, panel, row, columns.clone());
                row += ROWS;
            }
            while row + 2 <= rows {
                self.tile::<S, VECTORS, 2>(simd, panel, row, columns.clone());
                row += 2;
            }
            if row < rows {
                self.tile::<S, VECTORS, 1>(simd, panel, row, columns);
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        panel: &[f32],
        row: usize,
        columns: std::ops::Range<usize>,
    ) {
        let (k, n) = (self.panels.inputs, self.panels.outputs);
        let x: [&[f32]; ROWS] = std::array::from_fn(|r| &self.x[(row + r) * k..(row + r + 1) * k]);
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        let panel = S::as_simd_f32s(panel).0;
        for (j, weights) in panel.chunks_exact(VECTORS).enumerate() {
            for r in 0..ROWS {
                let factor = simd.splat_f32s(x[r][j]);
                for v in 0..VECTORS {
                    sums[r][v] = simd.mul_add_f32s(factor, weights[v], sums[r][v]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let mut line = [0.0; WIDTH];
            for (to, sum) in S::as_mut_simd_f32s(&mut line).0.iter_mut().zip(sums) {
                *to = *sum;
            }
            let at = (row + r) * n;
            let out = &mut self.out[at + columns.start..at + columns.end];
            let bias = self.panels.bias.as_ref().map(|b| &b[columns.clone()]);
            // Whole panels have a length the compiler knows.
            match out.as_chunks_mut::<WIDTH>() {
                ([whole], []) => write(whole, &line, bias, self.into),
                (_, part) => write(part, &line, bias, self.into),
            }
        }
    }
}

#[inline(always)]
fn write(out: &mut [f32], line: &[f32; WIDTH], bias: Option<&[f32]>, into: Into) {
    for (i, (to, &sum)) in out.iter_mut().zip(line).enumerate() {
        let sum = bias.map_or(sum, |bias| sum + bias[i]);
        *to = match into {
            Into::Replace => sum,
            Into::Add => *to + sum,
        };
    }
}
