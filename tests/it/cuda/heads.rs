//! Heads between their product and attention: bias, norm, rotation, and the way back.

use super::buffer::{Buffer, Kind, args};
use super::rows::{both, norm, norm_backward};
use super::shim::Shim;
use super::{close, differences, normals, tolerance};
use pipe::learn::device::kernels::ROWS;

/// A model's heads, and what it has of them.
#[derive(Clone, Copy)]
pub struct Heads {
    pub heads: usize,
    pub kv: usize,
    pub dim: usize,
    pub norm: bool,
    pub bias: bool,
}

impl Heads {
    fn width(&self) -> usize {
        (self.heads + 2 * self.kv) * self.dim
    }
}

const EPS: f64 = 1e-6;

struct Turn<'a> {
    shape: Heads,
    positions: &'a [usize],
    cos: &'a [f64],
    sin: &'a [f64],
    q_norm: &'a [f64],
    k_norm: &'a [f64],
}

impl Turn<'_> {
    /// Norm and rotation of the heads of q and k; what comes in has its bias.
    fn forward(&self, qkv: &[f64]) -> Vec<f64> {
        let Heads { heads, kv, dim, .. } = self.shape;
        let mut out = qkv.to_vec();
        for (n, row) in out.chunks_mut(self.shape.width()).enumerate() {
            for (h, head) in row.chunks_mut(dim).enumerate().take(heads + kv) {
                let w = if h < heads { self.q_norm } else { self.k_norm };
                if self.shape.norm {
                    let normed = norm(head, w, EPS).0;
                    head.copy_from_slice(&normed);
                }
                self.rotate(head, self.positions[n], 1.0);
            }
        }
        out
    }

    fn rotate(&self, head: &mut [f64], position: usize, sign: f64) {
        let half = self.shape.dim / 2;
        for i in 0..half {
            let (c, s) = (
                self.cos[position * half + i],
                sign * self.sin[position * half + i],
            );
            let (a, b) = (head[i], head[i + half]);
            head[i] = a * c - b * s;
            head[i + half] = b * c + a * s;
        }
    }

    /// Gradients of what came in, of q_norm and of k_norm.
    fn backward(&self, qkv: &[f64], dout: &[f64]) -> [Vec<f64>; 3] {
        let Heads { heads, kv, dim, .. } = self.shape;
        let mut d = dout.to_vec();
        let (mut dq, mut dk) = (vec![0.0; dim], vec![0.0; dim]);
        for (n, row) in d.chunks_mut(self.shape.width()).enumerate() {
            for (h, head) in row.chunks_mut(dim).enumerate().take(heads + kv) {
                self.rotate(head, self.positions[n], -1.0);
                if self.shape.norm {
                    let (w, dw) = if h < heads {
                        (self.q_norm, &mut dq)
                    } else {
                        (self.k_norm, &mut dk)
                    };
                    let at = n * self.shape.width() + h * dim;
                    let (dx, more) = norm_backward(&qkv[at..at + dim], w, EPS, head);
                    head.copy_from_slice(&dx);
                    dw.iter_mut().zip(more).for_each(|(a, b)| *a += b);
                }
            }
        }
        [d, dq, dk]
    }
}

pub fn turns(shim: &Shim, shape: Heads, rows: usize) {
    let Heads { heads, kv, dim, .. } = shape;
    let what = format!(
        "heads {heads}/{kv} x {dim}, norm {}, bias {}",
        shape.norm, shape.bias
    );
    let (width, half) = (shape.width(), dim / 2);
    let positions: Vec<usize> = (0..rows).map(|n| (n * 5 + 2) % 11).collect();
    let angles = normals("angle", 11 * half, 2.0);
    let f32s = |values: Vec<f64>| Buffer::of(Kind::F32, &values);
    let cos = f32s(angles.iter().map(|a| a.cos()).collect());
    let sin = f32s(angles.iter().map(|a| a.sin()).collect());
    let (q_norm, k_norm) = (f32s(normals("q", dim, 1.0)), f32s(normals("k", dim, 1.0)));
    let bias = f32s(normals("bias", width, 0.5));
    let places = Buffer::ids(&positions);
    let qkv = shim.act(&normals("qkv", rows * width, 1.0));
    let raw = shim.unwritten_act(rows * (heads + kv) * dim);
    let mut started = qkv.values();
    if shape.bias {
        started
            .iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x += bias.values()[i % width]);
    }
    // What a model without norms or biases has not.
    fn had(it: bool, buffer: &Buffer) -> Option<&Buffer> {
        it.then_some(buffer)
    }
    let (of_q, of_k) = (had(shape.norm, &q_norm), had(shape.norm, &k_norm));
    let (kept, of_bias) = (had(shape.norm, &raw), had(shape.bias, &bias));
    let arguments = args![
        &qkv, of_bias, of_q, of_k, kept, &cos, &sin, &places, heads, kv, EPS
    ];
    shim.launch("turn_heads", [rows, heads + 2 * kv, 1], &arguments);
    if shape.norm {
        // The kernel norms what it keeps.
        for (n, kept) in raw.values().chunks((heads + kv) * dim).enumerate() {
            let own = &mut started[n * width..][..kept.len()];
            close(&what, kept, own, tolerance(shim.variant.act));
            own.copy_from_slice(kept);
        }
    }
    let turn = Turn {
        shape,
        positions: &positions,
        cos: &cos.values(),
        sin: &sin.values(),
        q_norm: &q_norm.values(),
        k_norm: &k_norm.values(),
    };
    close(
        &what,
        &qkv.values(),
        &turn.forward(&started),
        tolerance(shim.variant.act),
    );

    let dqkv = shim.act(&normals("dqkv", rows * width, 1.0));
    let given = dqkv.values();
    let blocks = rows.div_ceil(ROWS);
    let norm_partial = Buffer::unwritten(Kind::F32, blocks * 2 * dim);
    let bias_partial = Buffer::unwritten(Kind::F32, blocks * width);
    let parts = [
        had(shape.norm, &norm_partial),
        had(shape.bias, &bias_partial),
    ];
    let arguments = args![
        &dqkv, kept, of_q, of_k, &cos, &sin, &places, parts[0], parts[1], rows, ROWS, heads, kv,
        EPS
    ];
    shim.launch("turn_heads_backward", [rows, 1, 1], &arguments);
    let [want, dq, dk] = turn.backward(&started, &given);
    differences(&what, &started, &given, &want, |x| turn.forward(x));
    close(&what, &dqkv.values(), &want, tolerance(shim.variant.act));
    let sums = |partial: &Buffer, n: usize| {
        let mut sums = vec![0.0; n];
        partial
            .values()
            .iter()
            .enumerate()
            .for_each(|(i, x)| sums[i % n] += x);
        sums
    };
    if shape.norm {
        close(
            &what,
            &sums(&norm_partial, 2 * dim),
            &[dq, dk].concat(),
            1e-5,
        );
    }
    if shape.bias {
        let mut of_rows = vec![0.0; width];
        want.iter()
            .enumerate()
            .for_each(|(i, x)| of_rows[i % width] += x);
        close(&what, &sums(&bias_partial, width), &of_rows, 1e-5);
    }
}

#[test]
fn heads_are_biased_normed_and_turned() {
    for dim in [64, 128] {
        for shim in both(dim) {
            for (heads, kv, norm, bias, rows) in [
                (4, 2, true, true, 35),
                (4, 2, false, true, 1),
                (3, 1, true, false, 3),
                (2, 2, false, false, 2),
            ] {
                turns(
                    shim,
                    Heads {
                        heads,
                        kv,
                        dim,
                        norm,
                        bias,
                    },
                    rows,
                );
            }
        }
    }
}
