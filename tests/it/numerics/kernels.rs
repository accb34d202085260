//! Every kernel against its formula in f64, and its gradient against central differences of that formula, on the shapes
//! that break things: one row, one head, one word, sizes that fill no vector register, ragged sequences, blocks of queries
//! that are full, begun and missing. The head and its chunks are in `whole`.

use super::reference::{self, Heads};
use super::slopes::{Case, PLACES, pulled, wide};
use super::{random, starts, tiny};
use pipe::learn::config::{Family, Head};
use pipe::learn::kernels::attention::{self, Kept};
use pipe::learn::kernels::gemm::{Mat, product};
use pipe::learn::kernels::rope::{self, Rope, Turn};
use pipe::learn::kernels::rows::Shared;
use pipe::learn::kernels::{norm, softmax, swiglu};

#[test]
fn products() {
    let sizes = [
        (1, 1, 1),
        (1, 9, 4),
        (7, 1, 3),
        (5, 6, 1),
        (3, 5, 7),
        (17, 15, 33),
        (64, 65, 16),
        (2, 129, 70),
    ];
    for (m, n, k) in sizes {
        let (a, b) = (random(m * k, 1), random(k * n, 2));
        let (pull, before) = (random(m * n, 3), random(m * n, 4));
        let scale = 0.3;
        // out = before + scale a b, da = scale pull b^T, db = scale a^T pull.
        let mut out = before.clone();
        let (a_, b_, pull_) = (Mat::rows(&a, k), Mat::rows(&b, n), Mat::rows(&pull, n));
        product((m, n, k), scale, a_, b_, &mut out, n, true);
        let (mut da, mut db) = (vec![9.0; m * k], vec![9.0; k * n]);
        product((m, k, n), scale, pull_, b_.t(), &mut da, k, false);
        product((k, n, m), scale, a_.t(), pull_, &mut db, n, false);
        Case {
            name: format!("product {m} {n} {k}"),
            inputs: &[&a, &b],
            loss: &|x| {
                let columns: Vec<f64> = (0..n)
                    .flat_map(|j| (0..k).map(move |i| (i, j)))
                    .map(|(i, j)| x[1][i * n + j])
                    .collect();
                let y = reference::linear(&x[0], &columns, k);
                let y = y
                    .iter()
                    .zip(&before)
                    .map(|(y, b)| f64::from(*b) + f64::from(scale) * y);
                reference::dot(&y.collect::<Vec<_>>(), &wide(&pull))
            },
            value: pulled(&pull, &out),
            gradients: &[&da, &db],
            places: PLACES,
        }
        .check();
    }
}

#[test]
fn a_product_into_columns_leaves_the_others() {
    let (m, n, k, stride) = (5, 3, 4, 8);
    let (a, b) = (random(m * k, 1), random(k * n, 2));
    let mut out = vec![7.0; m * stride];
    let (a_, b_) = (Mat::rows(&a, k), Mat::rows(&b, n));
    product((m, n, k), 1.0, a_, b_, &mut out, stride, false);
    let mut dense = vec![0.0; m * n];
    product((m, n, k), 1.0, a_, b_, &mut dense, n, false);
    for (row, expected) in out.chunks_exact(stride).zip(dense.chunks_exact(n)) {
        assert_eq!(row[..n], *expected);
        assert_eq!(row[n..], [7.0; 5]);
    }
}

#[test]
fn rms_norms() {
    for (rows, d) in [(1, 1), (1, 7), (3, 16), (5, 33), (2, 48), (4, 96)] {
        let (x, w, pull) = (random(rows * d, 1), random(d, 2), random(rows * d, 3));
        let (mut y, mut scales) = (vec![0.0; rows * d], vec![0.0; rows]);
        norm::forward(&x, &w, 1e-5, &mut y, &mut scales);
        let mut again = vec![0.0; rows * d];
        norm::again(&x, &w, &scales, &mut again);
        assert_eq!(y, again, "{rows} {d}");
        let (mut dx, mut dw) = (vec![0.0; rows * d], vec![0.0; d]);
        norm::backward(&x, &w, &scales, &pull, &mut dx, &mut dw);
        Case {
            name: format!("norm {rows} {d}"),
            inputs: &[&x, &w],
            loss: &|x| {
                let y = reference::rms_norm(&x[0], &x[1], f64::from(1e-5f32));
                reference::dot(&y, &wide(&pull))
            },
            value: pulled(&pull, &y),
            gradients: &[&dx, &dw],
            places: PLACES,
        }
        .check();
    }
}

#[test]
fn a_row_of_zeros_is_normed_to_zeros_with_the_gradient_of_a_line() {
    let (w, pull) = (random(5, 2), random(5, 3));
    let (mut y, mut scales) = ([9.0; 5], [0.0]);
    norm::forward(&[0.0; 5], &w, 1e-5, &mut y, &mut scales);
    assert_eq!(y, [0.0; 5]);
    let (mut dx, mut dw) = ([0.0; 5], [0.0; 5]);
    norm::backward(&[0.0; 5], &w, &scales, &pull, &mut dx, &mut dw);
    for ((dx, w), pull) in dx.iter().zip(&w).zip(&pull) {
        let line = w * pull / 1e-5f32.sqrt();
        assert!((dx - line).abs() < 1e-5 * line.abs());
    }
    assert_eq!(dw, [0.0; 5]);
}

#[test]
fn rotations_with_and_without_the_norm_of_each_head() {
    // Positions of ragged sequences, and one far out.
    let rows = [0, 0, 1, 2, 0, 1, 700u32];
    for (dim, heads, n) in [(2, 1, 1), (6, 3, 7), (16, 1, 7), (34, 2, 5), (8, 4, 7)] {
        for normed in [false, true] {
            rotation(dim, heads, &rows[rows.len() - n..], normed);
        }
    }
}

/// Heads begin at column 3 of rows that are 5 wider than the heads.
fn rotation(dim: usize, heads: usize, positions: &[u32], normed: bool) {
    let (first, width) = (3, heads * dim + 5);
    let mut config = tiny(Family::Qwen3, Head::Tied);
    config.head_dim = dim;
    let mut table = Rope::default();
    table.reach(&config, 701);
    let turn = Turn {
        rope: &table,
        positions,
        head_dim: dim,
        stride: width,
    };
    let n = positions.len();
    let (x, w, pull) = (random(n * width, 1), random(dim, 2), random(n * width, 3));
    let eps = 1e-5;
    let weight = normed.then_some((w.as_slice(), eps));
    let mut y = x.clone();
    rope::forward(&mut y, turn, first, heads, weight);
    let mut dx = pull.clone();
    rope::backward(&mut dx, turn, first, heads);
    let columns = first..first + heads * dim;
    let mut dw = vec![0.0; dim];
    if let Some(weight) = weight {
        rope::norm_backward(&mut dx, width, &x, width, columns.clone(), weight, &mut dw);
    }
    for row in 0..n {
        let others = (0..width).filter(|c| !columns.contains(c));
        for at in others.map(|c| row * width + c) {
            assert_eq!((y[at], dx[at]), (x[at], pull[at]), "other columns stay");
        }
    }
    Case {
        name: format!("rotation of {heads} heads of {dim}, {n} rows, normed: {normed}"),
        inputs: &[&x, &w],
        loss: &|x| {
            let mut y = x[0].clone();
            for (row, &position) in y.chunks_exact_mut(width).zip(positions) {
                for head in row[columns.clone()].chunks_exact_mut(dim) {
                    let before = match normed {
                        true => reference::rms_norm(head, &x[1], f64::from(eps)),
                        false => head.to_vec(),
                    };
                    let turned = reference::rotate(&before, position as usize, &table);
                    head.copy_from_slice(&turned);
                }
            }
            reference::dot(&y, &wide(&pull))
        },
        value: pulled(&pull, &y),
        gradients: &[&dx, &dw],
        places: PLACES,
    }
    .check();
}

#[test]
fn the_table_of_a_rotation_has_the_sines_of_its_angles() {
    let config = tiny(Family::Llama, Head::Tied);
    let mut table = Rope::default();
    table.reach(&config, 3);
    table.reach(&config, 500);
    let half = config.head_dim / 2;
    for position in 0..500 {
        for pair in 0..half {
            let frequency = config.rope_theta.powf(-(pair as f64) / half as f64);
            let angle = position as f64 * frequency;
            let at = position * half + pair;
            // The angle is rounded to f32: half a unit of 500 is 1.5e-5.
            assert!((f64::from(table.cos[at]) - angle.cos()).abs() < 4e-5);
            assert!((f64::from(table.sin[at]) - angle.sin()).abs() < 4e-5);
        }
    }
}

#[test]
fn gated_units() {
    for (rows, f) in [(1, 1), (1, 7), (3, 16), (2, 40), (4, 33)] {
        let mut x = random(rows * 2 * f, 1);
        // Gates far out on either side, where silu is flat or straight.
        x[0] = -30.0;
        x[f / 2] = 30.0;
        let pull = random(rows * f, 2);
        let mut act = vec![0.0; rows * f];
        swiglu::forward(&x, &mut act, f);
        let (mut dx, mut again) = (vec![0.0; rows * 2 * f], vec![0.0; rows * f]);
        swiglu::backward(&x, &pull, &mut dx, &mut again, f);
        assert_eq!(act, again, "{rows} {f}");
        Case {
            name: format!("gated unit {rows} {f}"),
            inputs: &[&x],
            loss: &|x| reference::dot(&reference::swiglu(&x[0], f), &wide(&pull)),
            value: pulled(&pull, &act),
            gradients: &[&dx],
            places: PLACES,
        }
        .check();
    }
}

#[test]
fn log_probabilities_and_entropies_of_logits() {
    for v in [1, 2, 15, 16, 17, 151] {
        for spread in [0.01, 1.0, 12.0] {
            for (dlogp, dentropy) in [(1.3, -0.7), (0.0, 1.0), (-2.0, 0.0)] {
                let z: Vec<f32> = random(v, 1).iter().map(|z| z * spread + 10.0).collect();
                let target = v / 2;
                let row = softmax::stats(&z);
                let mut dz = z.clone();
                softmax::backward(&mut dz, row, target, dlogp, dentropy);
                Case {
                    name: format!("logits {v} of spread {spread}, {dlogp} {dentropy}"),
                    inputs: &[&z],
                    loss: &|x| {
                        let l = reference::log_softmax(&x[0]);
                        f64::from(dlogp) * l[target] + f64::from(dentropy) * reference::entropy(&l)
                    },
                    value: f64::from(dlogp * (z[target] - row.lse) + dentropy * row.entropy),
                    gradients: &[&dz],
                    places: PLACES,
                }
                .check();
                let top = z.iter().copied().fold(f32::MIN, f32::max);
                assert_eq!(Some(row.greedy), z.iter().position(|z| *z == top));
            }
        }
    }
}

#[test]
fn attentions() {
    // Heads, key/value heads, width of a head, lengths of the sequences.
    let shapes: [(usize, usize, usize, &[usize]); 8] = [
        (1, 1, 4, &[1]),
        (1, 1, 8, &[5]),
        (1, 1, 2, &[64, 65]),
        (4, 4, 6, &[3, 1, 9]),
        (4, 2, 8, &[70, 1, 2]),
        (6, 1, 5, &[17]),
        (3, 3, 17, &[130]),
        (2, 1, 16, &[1, 1, 1]),
    ];
    for (heads, kv_heads, dim, lengths) in shapes {
        let shape = Heads {
            heads,
            kv_heads,
            dim,
        };
        let starts = starts(lengths);
        let rows = *starts.last().unwrap();
        let qkv = random(rows * (heads + 2 * kv_heads) * dim, 1);
        let pull = random(rows * heads * dim, 2);
        let (out, dqkv) = attended(shape, &qkv, &starts, &pull);
        Case {
            name: format!("attention {heads}/{kv_heads} of {dim} on {lengths:?}"),
            inputs: &[&qkv],
            loss: &|x| {
                let out = reference::attention(&x[0], shape, &starts);
                reference::dot(&out, &wide(&pull))
            },
            value: pulled(&pull, &out),
            gradients: &[&dqkv],
            places: PLACES,
        }
        .check();
    }
}

/// Output and gradient of the attention of all heads and sequences.
fn attended(shape: Heads, qkv: &[f32], starts: &[usize], pull: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let heads = attention::Heads {
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        dim: shape.dim,
    };
    let rows = pull.len() / heads.out_width();
    // What was there before does not count.
    let (mut out, mut lse) = (vec![5.0; pull.len()], vec![5.0; shape.heads * rows]);
    let mut dqkv = vec![5.0; qkv.len()];
    let each = || {
        let sequences = starts.windows(2).map(|b| b[0]..b[1]);
        sequences.flat_map(|s| (0..shape.kv_heads).map(move |kv| (s.clone(), kv)))
    };
    let (to, kept) = (Shared::new(&mut out), Shared::new(&mut lse));
    for (sequence, kv) in each() {
        // SAFETY: one thread, one call at a time.
        unsafe { attention::forward(heads, qkv, sequence, 0, kv, to, kept) };
    }
    let to = Shared::new(&mut dqkv);
    for (sequence, kv) in each() {
        let kept = Kept {
            qkv,
            out: &out,
            lse: &lse,
            dout: pull,
        };
        // SAFETY: as above.
        unsafe { attention::backward(heads, kept, sequence, 0, kv, to) };
    }
    (out, dqkv)
}
