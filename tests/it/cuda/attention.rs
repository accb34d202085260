//! Attention: outputs, log-sum-exps and gradients over packed sequences, on the tensor cores' layout and in f32.

use super::buffer::{Buffer, Kind, args};
use super::shim::Shim;
use super::{close, differences, normals};
use pipe::learn::device::kernels::TILE;

#[derive(Clone)]
pub struct Shape {
    pub heads: usize,
    pub kv: usize,
    pub dim: usize,
    pub lengths: Vec<usize>,
}

impl Shape {
    fn rows(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn width(&self) -> usize {
        (self.heads + 2 * self.kv) * self.dim
    }

    fn scale(&self) -> f64 {
        f64::from((self.dim as f32).powf(-0.5))
    }

    /// Where q, k, v of a query head lie in a row.
    fn columns(&self, head: usize) -> [usize; 3] {
        let own = head / (self.heads / self.kv);
        [head, self.heads + own, self.heads + self.kv + own].map(|h| h * self.dim)
    }

    fn sequences(&self) -> Vec<std::ops::Range<usize>> {
        let mut end = 0;
        let ranges = self.lengths.iter().map(|n| {
            end += n;
            end - n..end
        });
        ranges.collect()
    }

    /// Probabilities of a row's keys and their log-sum-exp.
    fn row(&self, qkv: &[f64], head: usize, begin: usize, i: usize) -> (Vec<f64>, f64) {
        let [q, k, _] = self.columns(head);
        let at = |row: usize, column: usize| &qkv[row * self.width() + column..][..self.dim];
        let score = |j: usize| {
            at(i, q)
                .iter()
                .zip(at(j, k))
                .map(|(a, b)| a * b)
                .sum::<f64>()
                * self.scale()
        };
        let scores: Vec<f64> = (begin..=i).map(score).collect();
        let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let lse = top + scores.iter().map(|s| (s - top).exp()).sum::<f64>().ln();
        (scores.iter().map(|s| (s - lse).exp()).collect(), lse)
    }

    /// out [rows, heads dim] and lse [heads, rows].
    fn forward(&self, qkv: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (rows, d) = (self.rows(), self.dim);
        let (mut out, mut lse) = (
            vec![0.0; rows * self.heads * d],
            vec![0.0; self.heads * rows],
        );
        for head in 0..self.heads {
            let [_, _, v] = self.columns(head);
            for sequence in self.sequences() {
                for i in sequence.clone() {
                    let (p, of_row) = self.row(qkv, head, sequence.start, i);
                    lse[head * rows + i] = of_row;
                    let out = &mut out[(i * self.heads + head) * d..][..d];
                    for (j, p) in p.iter().enumerate() {
                        let values = &qkv[(sequence.start + j) * self.width() + v..][..d];
                        out.iter_mut().zip(values).for_each(|(o, v)| *o += p * v);
                    }
                }
            }
        }
        (out, lse)
    }

    /// dqkv.
    fn backward(&self, qkv: &[f64], dout: &[f64]) -> Vec<f64> {
        let (w, d) = (self.width(), self.dim);
        let mut dqkv = vec![0.0; qkv.len()];
        for head in 0..self.heads {
            let [q, k, v] = self.columns(head);
            for sequence in self.sequences() {
                for i in sequence.clone() {
                    let (p, _) = self.row(qkv, head, sequence.start, i);
                    let dout = &dout[(i * self.heads + head) * d..][..d];
                    let dp: Vec<f64> = (0..p.len())
                        .map(|j| {
                            (0..d)
                                .map(|c| dout[c] * qkv[(sequence.start + j) * w + v + c])
                                .sum()
                        })
                        .collect();
                    let delta: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                    for j in 0..p.len() {
                        let row = (sequence.start + j) * w;
                        let ds = p[j] * (dp[j] - delta) * self.scale();
                        for c in 0..d {
                            dqkv[i * w + q + c] += ds * qkv[row + k + c];
                            dqkv[row + k + c] += ds * qkv[i * w + q + c];
                            dqkv[row + v + c] += p[j] * dout[c];
                        }
                    }
                }
            }
        }
        dqkv
    }
}

pub fn attends(shim: &Shim, shape: &Shape) {
    let what = format!(
        "{}/{} x {} over {:?}",
        shape.heads, shape.kv, shape.dim, shape.lengths
    );
    let (rows, out_width) = (shape.rows(), shape.heads * shape.dim);
    let qkv = shim.act(&normals("qkv", rows * shape.width(), 1.0));
    let tiles: Vec<usize> = shape
        .sequences()
        .into_iter()
        .flat_map(|s| {
            (0..s.len())
                .step_by(TILE)
                .flat_map(move |first| [s.start, s.end, first])
        })
        .collect();
    let blocks = tiles.len() / 3;
    let tiles = Buffer::ids(&tiles);
    let (out, lse) = (
        shim.unwritten_act(rows * out_width),
        Buffer::unwritten(Kind::F32, shape.heads * rows),
    );
    let (heads, kv, scale) = (shape.heads, shape.kv, shape.scale());
    let arguments = args![&qkv, &tiles, &out, &lse, rows, heads, kv, scale];
    shim.launch("flash_forward", [blocks, heads, 1], &arguments);
    let (of_output, of_lse, of_gradient) = match shim.variant.act {
        Kind::Bf16 => (4e-3, 2e-6, 5e-3),
        _ => (2e-6, 1e-6, 4e-6),
    };
    let x = qkv.values();
    let (want, want_lse) = shape.forward(&x);
    close(&what, &out.values(), &want, of_output);
    close(&what, &lse.values(), &want_lse, of_lse);

    let dout = shim.act(&normals("dout", rows * out_width, 1.0));
    let delta = Buffer::unwritten(Kind::F32, shape.heads * rows);
    shim.launch(
        "flash_delta",
        [rows, heads, 1],
        &args![&out, &dout, &delta, rows, heads],
    );
    let dqkv = shim.unwritten_act(rows * shape.width());
    let arguments = args![
        &qkv, &dout, &lse, &delta, &tiles, &dqkv, rows, heads, kv, scale
    ];
    shim.launch("flash_backward_queries", [blocks, heads, 1], &arguments);
    shim.launch("flash_backward_keys", [blocks, kv, 1], &arguments);
    let want = shape.backward(&x, &dout.values());
    let of = |all: &[f64], first: usize, heads: usize| -> Vec<f64> {
        let rows = all.chunks(shape.width());
        rows.flat_map(|row| row[first * shape.dim..(first + heads) * shape.dim].to_vec())
            .collect()
    };
    let got = dqkv.values();
    for (name, first, n) in [("dq", 0, heads), ("dk", heads, kv), ("dv", heads + kv, kv)] {
        let what = format!("{name} of {what}");
        close(
            &what,
            &of(&got, first, n),
            &of(&want, first, n),
            of_gradient,
        );
    }
}

/// Of every kind of end: a single row, a tile and one more, less than a tile, two tiles and a part.
fn packed(dim: usize) -> Shape {
    Shape {
        heads: 4,
        kv: 2,
        dim,
        lengths: vec![150, 1, 65],
    }
}

#[test]
fn packed_sequences_on_the_tensor_cores() {
    for dim in [64, 128] {
        if let Some(shim) = Shim::get(Kind::Bf16, dim) {
            attends(shim, &packed(dim));
        }
    }
}

#[test]
fn packed_sequences_in_f32() {
    for dim in [64, 128] {
        if let Some(shim) = Shim::get(Kind::F32, dim) {
            attends(shim, &packed(dim));
        }
    }
}

#[test]
fn heads_of_other_widths_and_groups() {
    for (act, dim, heads, kv, lengths) in [
        (Kind::Bf16, 16, 2, 1, vec![17, 64]),
        (Kind::Bf16, 32, 3, 1, vec![17, 64]),
        (Kind::Bf16, 96, 2, 2, vec![33, 1]),
        (Kind::F32, 6, 2, 1, vec![1, 40, 3]),
    ] {
        if let Some(shim) = Shim::get(act, dim) {
            attends(
                shim,
                &Shape {
                    heads,
                    kv,
                    dim,
                    lengths,
                },
            );
        }
    }
}

/// The references' gradients are those of their outputs.
#[test]
fn the_reference_is_its_own_derivative() {
    let shape = Shape {
        heads: 4,
        kv: 2,
        dim: 4,
        lengths: vec![7, 1, 3],
    };
    let qkv = normals("qkv", shape.rows() * shape.width(), 1.0);
    let slopes = normals("dout", shape.rows() * shape.heads * shape.dim, 1.0);
    let gradient = shape.backward(&qkv, &slopes);
    differences("attention", &qkv, &slopes, &gradient, |x| {
        shape.forward(x).0
    });
}
