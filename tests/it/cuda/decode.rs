//! Attention of single tokens over pages of a cache that rows share in part.

use super::buffer::{Buffer, Kind, args};
use super::shim::Shim;
use super::{close, normals, tolerance};
use pipe::learn::device::kernels::{GROUP, PAGE};

pub struct Shape {
    pub heads: usize,
    pub kv: usize,
    pub dim: usize,
    /// Position of each row's token.
    pub positions: Vec<usize>,
}

/// Pages of the rows: the first is everybody's where a row's token lies beyond it, all others are a row's own.
fn pages(positions: &[usize], a_row: usize) -> (Vec<usize>, usize) {
    let mut next = 1;
    let mut all = vec![];
    for position in positions {
        for page in 0..a_row {
            let shared = page == 0 && *position >= PAGE;
            all.push(if shared || page > position / PAGE {
                0
            } else {
                next
            });
            next += usize::from(!shared && page <= position / PAGE);
        }
    }
    (all, next)
}

pub fn decodes(shim: &Shim, shape: &Shape) {
    let Shape {
        heads,
        kv,
        dim,
        ref positions,
    } = *shape;
    let what = format!("{heads}/{kv} x {dim} at {positions:?}");
    let (rows, width) = (positions.len(), (heads + 2 * kv) * dim);
    let splits = positions.iter().max().unwrap() / PAGE + 1;
    let (table, count) = pages(positions, splits);
    let keys = shim.act(&normals("keys", count * kv * PAGE * dim, 1.0));
    let values = shim.act(&normals("values", count * kv * PAGE * dim, 1.0));
    let (before_keys, before_values) = (keys.values(), values.values());
    let qkv = shim.act(&normals("qkv", rows * width, 1.0));
    let (of_table, places) = (Buffer::ids(&table), Buffer::ids(positions));
    let half = dim / 2;
    let longest = splits * PAGE;
    let angles = normals("angle", longest * half, 2.0);
    let cos = Buffer::of(
        Kind::F32,
        &angles.iter().map(|a| a.cos()).collect::<Vec<_>>(),
    );
    let sin = Buffer::of(
        Kind::F32,
        &angles.iter().map(|a| a.sin()).collect::<Vec<_>>(),
    );
    let bias = Buffer::of(Kind::F32, &normals("bias", width, 0.5));
    let q_norm = Buffer::of(Kind::F32, &normals("q", dim, 1.0));
    let k_norm = Buffer::of(Kind::F32, &normals("k", dim, 1.0));

    // What `turn_heads` gives, bit for bit, keys and values where they belong, nothing else touched.
    let turned = Buffer::of(shim.variant.act, &qkv.values());
    let raw = shim.unwritten_act(rows * (heads + kv) * dim);
    let arguments = args![
        &turned, &bias, &q_norm, &k_norm, &raw, &cos, &sin, &places, heads, kv, 1e-6
    ];
    let counts = [rows, heads + 2 * kv, 1];
    shim.launch("turn_heads", counts, &arguments);
    let arguments = args![
        &qkv, &bias, &q_norm, &k_norm, &cos, &sin, &places, &keys, &values, &of_table, splits,
        heads, kv, 1e-6
    ];
    shim.launch("turn_heads_cached", counts, &arguments);
    let (mut want_keys, mut want_values) = (before_keys, before_values);
    let (row_of, turned, cached) = (
        qkv.values(),
        turned.values(),
        |n: usize, own: usize, position: usize| {
            ((table[n * splits + position / PAGE] * kv + own) * PAGE + position % PAGE) * dim
        },
    );
    // The cache has no norm of what was rounded on the way, as rows that keep it have.
    let near = tolerance(shim.variant.act) * 2.0;
    for (n, &position) in positions.iter().enumerate() {
        let row = n * width;
        close(
            &what,
            &row_of[row..row + heads * dim],
            &turned[row..row + heads * dim],
            near,
        );
        for own in 0..kv {
            let (to, k) = (cached(n, own, position), row + (heads + own) * dim);
            let v = k + kv * dim;
            close(
                &what,
                &keys.values()[to..to + dim],
                &turned[k..k + dim],
                near,
            );
            assert_eq!(values.values()[to..to + dim], turned[v..v + dim], "{what}");
            want_keys[to..to + dim].copy_from_slice(&keys.values()[to..to + dim]);
            want_values[to..to + dim].copy_from_slice(&turned[v..v + dim]);
        }
    }
    assert!(
        keys.values() == want_keys && values.values() == want_values,
        "{what}: elsewhere"
    );

    let scale = f64::from((dim as f32).powf(-0.5));
    let parts = Buffer::unwritten(Kind::F32, rows * heads * splits * dim);
    let stats = Buffer::unwritten(Kind::F32, rows * heads * splits * 2);
    let out = shim.unwritten_act(rows * heads * dim);
    let groups = (heads / kv).div_ceil(GROUP);
    let arguments = args![
        &qkv, &keys, &values, &of_table, &places, &parts, &stats, splits, heads, kv, scale
    ];
    shim.launch("decode_pages", [rows, kv * groups, splits], &arguments);
    let arguments = args![&parts, &stats, &places, &out, splits, heads];
    shim.launch("decode_merge", [rows, heads, 1], &arguments);
    let mut want = vec![];
    for (n, &position) in positions.iter().enumerate() {
        for head in 0..heads {
            let own = head / (heads / kv);
            let q = &row_of[n * width + head * dim..][..dim];
            let score = |p: usize| -> f64 {
                let k = &want_keys[cached(n, own, p)..][..dim];
                q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() * scale
            };
            let scores: Vec<f64> = (0..=position).map(score).collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            let mut o = vec![0.0; dim];
            for (p, s) in scores.iter().enumerate() {
                let v = &want_values[cached(n, own, p)..][..dim];
                o.iter_mut()
                    .zip(v)
                    .for_each(|(o, v)| *o += (s - top).exp() / sum * v);
            }
            want.extend(o);
        }
    }
    close(
        &what,
        &out.values(),
        &want,
        tolerance(shim.variant.act).max(3e-6),
    );
}

#[test]
fn rows_at_the_ends_of_pages() {
    for act in [Kind::Bf16, Kind::F32] {
        for (heads, kv, dim, positions) in [
            (2, 1, 16, vec![17, 256]),
            (4, 2, 64, vec![0, 255, 256, 300]),
            (12, 1, 128, vec![40, 511]),
            (2, 2, 64, vec![31]),
        ] {
            if let Some(shim) = Shim::get(act, dim) {
                decodes(
                    shim,
                    &Shape {
                        heads,
                        kv,
                        dim,
                        positions,
                    },
                );
            }
        }
    }
}

/// A row's bits are its own: alone, and beside longer rows, it gets the same.
#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    let Some(shim) = Shim::get(Kind::Bf16, 64) else {
        return;
    };
    let (heads, kv, dim) = (4usize, 2usize, 64usize);
    let width = (heads + 2 * kv) * dim;
    let keys = shim.act(&normals("keys", 4 * kv * PAGE * dim, 1.0));
    let values = shim.act(&normals("values", 4 * kv * PAGE * dim, 1.0));
    let row = normals("row", width, 1.0);
    let outputs = |rows: Vec<Vec<f64>>, positions: &[usize], splits: usize| {
        let qkv = shim.act(&rows.concat());
        let table = Buffer::ids(&(0..rows.len() * splits).map(|i| i % 4).collect::<Vec<_>>());
        let places = Buffer::ids(positions);
        let n = rows.len();
        let parts = Buffer::unwritten(Kind::F32, n * heads * splits * dim);
        let stats = Buffer::unwritten(Kind::F32, n * heads * splits * 2);
        let out = shim.unwritten_act(n * heads * dim);
        let arguments = args![
            &qkv, &keys, &values, &table, &places, &parts, &stats, splits, heads, kv, 0.125
        ];
        shim.launch("decode_pages", [n, kv, splits], &arguments);
        let arguments = args![&parts, &stats, &places, &out, splits, heads];
        shim.launch("decode_merge", [n, heads, 1], &arguments);
        out.bytes()[..heads * dim * 2].to_vec()
    };
    let alone = outputs(vec![row.clone()], &[100], 1);
    let beside = outputs(vec![row, normals("other", width, 1.0)], &[100, 700], 3);
    assert_eq!(alone, beside);
}
