//! The linear layers of a block, and the pair of low-rank matrices that an adapter puts on one: y += scale B (A x). Knows neither
//! weights nor adapters as a whole.

use crate::config::Config;
use crate::kernels::gemm::{Mat, product};
use crate::kernels::rows::scratch;
use rayon::prelude::*;

/// The linear layers of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Linear {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

impl Linear {
    pub const ALL: [Linear; 7] = [
        Linear::Q,
        Linear::K,
        Linear::V,
        Linear::O,
        Linear::Gate,
        Linear::Up,
        Linear::Down,
    ];

    /// Its name in a Hugging Face model, as PEFT's `target_modules` has it.
    pub fn word(self) -> &'static str {
        match self {
            Linear::Q => "q_proj",
            Linear::K => "k_proj",
            Linear::V => "v_proj",
            Linear::O => "o_proj",
            Linear::Gate => "gate_proj",
            Linear::Up => "up_proj",
            Linear::Down => "down_proj",
        }
    }

    /// Its path in a model, for example `model.layers.0.self_attn.q_proj`.
    pub fn path(self, layer: usize) -> String {
        let part = match self {
            Linear::Q | Linear::K | Linear::V | Linear::O => "self_attn",
            Linear::Gate | Linear::Up | Linear::Down => "mlp",
        };
        format!("model.layers.{layer}.{part}.{}", self.word())
    }

    /// (out, in).
    pub fn shape(self, config: &Config) -> (usize, usize) {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        match self {
            Linear::Q => (config.q_width(), d),
            Linear::K | Linear::V => (config.kv_width(), d),
            Linear::O => (d, config.q_width()),
            Linear::Gate | Linear::Up => (f, d),
            Linear::Down => (d, f),
        }
    }
}

const ROWS: usize = 256;

/// The adapters of one block.
#[derive(Clone, Copy, Default)]
pub struct Pairs<'a>(pub(crate) [Option<Pair<'a>>; 7]);

impl<'a> Pairs<'a> {
    pub fn get(&self, linear: Linear) -> Option<Pair<'a>> {
        self.0[linear as usize]
    }
}

/// A [rank, in] and B [out, rank] of one linear layer.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub a: &'a [f32],
    pub b: &'a [f32],
    pub rank: usize,
    pub scale: f32,
}

impl Pair<'_> {
    fn inner(&self) -> usize {
        self.a.len() / self.rank
    }

    fn outer(&self) -> usize {
        self.b.len() / self.rank
    }

    /// W += scale B A; `w` is [out, in].
    pub fn fold(&self, w: &mut [f32]) {
        let inner = self.inner();
        assert_eq!(w.len(), self.outer() * inner, "an adapter fits its matrix");
        w.par_chunks_mut(ROWS * inner)
            .zip(self.b.par_chunks(ROWS * self.rank))
            .for_each(|(w, b)| {
                let (b, a) = (Mat::rows(b, self.rank), Mat::rows(self.a, inner));
                let size = (w.len() / inner, inner, self.rank);
                product(size, self.scale, b, a, w, inner, true);
            });
    }

    /// y += scale B (A x) on `rows` rows of `x`; rows of `y` are `stride` apart.
    pub fn forward(&self, x: &[f32], rows: usize, y: &mut [f32], stride: usize) {
        scratch(rows * self.rank, |u| {
            self.down(x, rows, u);
            let b = Mat::rows(self.b, self.rank).t();
            let size = (rows, self.outer(), self.rank);
            product(size, 1.0, Mat::rows(u, self.rank), b, y, stride, true);
        });
    }

    /// dx += scale A^T (B^T dy) on `rows` rows; rows of `dy` are `stride` apart.
    pub fn backward(&self, dy: &[f32], stride: usize, rows: usize, dx: &mut [f32]) {
        let inner = self.inner();
        scratch(rows * self.rank, |du| {
            self.up(dy, stride, rows, du);
            let a = Mat::rows(self.a, inner);
            let size = (rows, inner, self.rank);
            product(size, 1.0, Mat::rows(du, self.rank), a, dx, inner, true);
        });
    }

    /// u = scale A x [rows, rank].
    pub fn down(&self, x: &[f32], rows: usize, u: &mut [f32]) {
        let inner = self.inner();
        let a = Mat::rows(self.a, inner).t();
        let size = (rows, self.rank, inner);
        product(
            size,
            self.scale,
            Mat::rows(x, inner),
            a,
            u,
            self.rank,
            false,
        );
    }

    /// du = scale B^T dy [rows, rank], the gradient at A x.
    pub fn up(&self, dy: &[f32], stride: usize, rows: usize, du: &mut [f32]) {
        let b = Mat::rows(self.b, self.rank);
        let size = (rows, self.rank, self.outer());
        product(
            size,
            self.scale,
            Mat::rows(dy, stride),
            b,
            du,
            self.rank,
            false,
        );
    }
}
