//! Norm, SwiGLU, embedding, casts: what goes row by row or number by number.

use super::buffer::{Arg, Buffer, Kind, args};
use super::shim::Shim;
use super::{close, differences, normals, tolerance};
use pipe::learn::device::kernels::ROWS;

pub fn both(head: usize) -> impl Iterator<Item = &'static Shim> {
    [Kind::Bf16, Kind::F32]
        .into_iter()
        .filter_map(move |act| Shim::get(act, head))
}

pub fn norm(x: &[f64], w: &[f64], eps: f64) -> (Vec<f64>, Vec<f64>) {
    let d = w.len();
    let r: Vec<f64> = x
        .chunks(d)
        .map(|x| (x.iter().map(|x| x * x).sum::<f64>() / d as f64 + eps).powf(-0.5))
        .collect();
    let y = x.iter().enumerate().map(|(i, x)| x * r[i / d] * w[i % d]);
    (y.collect(), r)
}

/// dx and dw.
pub fn norm_backward(x: &[f64], w: &[f64], eps: f64, dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let d = w.len();
    let (_, r) = norm(x, w, eps);
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; d]);
    for (n, r) in r.iter().enumerate() {
        let row = n * d..(n + 1) * d;
        let (x, dy, dx) = (&x[row.clone()], &dy[row.clone()], &mut dx[row]);
        let inner: f64 = (0..d).map(|i| w[i] * dy[i] * x[i]).sum();
        for i in 0..d {
            dx[i] = r * w[i] * dy[i] - x[i] * r.powi(3) / d as f64 * inner;
            dw[i] += dy[i] * x[i] * r;
        }
    }
    (dx, dw)
}

pub fn norms(shim: &Shim, rows: usize, width: usize) {
    let what = format!("norm {rows} x {width}");
    let x = Buffer::of(Kind::F32, &normals("x", rows * width, 1.5));
    let w = Buffer::of(Kind::F32, &normals("w", width, 1.0));
    let dy = Buffer::of(Kind::F32, &normals("dy", rows * width, 1.0));
    let before = Buffer::of(Kind::F32, &normals("before", rows * width, 1.0));
    let dx = Buffer::of(Kind::F32, &before.values());
    let eps = f64::from(1e-6f32);
    let (y, r) = (
        shim.unwritten_act(rows * width),
        Buffer::unwritten(Kind::F32, rows),
    );
    shim.launch("rms_norm", [rows, 1, 1], &args![&x, &w, &y, &r, width, eps]);
    let (want, scales) = norm(&x.values(), &w.values(), eps);
    close(&what, &y.values(), &want, tolerance(shim.variant.act));
    close(&what, &r.values(), &scales, 1e-6);

    let blocks = rows.div_ceil(ROWS);
    let partial = Buffer::unwritten(Kind::F32, blocks * width);
    let arguments = args![&x, &w, &r, &dy, &dx, &partial, rows, width, ROWS];
    shim.launch("rms_norm_backward", [rows, 1, 1], &arguments);
    let dw = Buffer::zeros(Kind::F32, width);
    shim.launch(
        "add_parts",
        [width, 1, 1],
        &args![&partial, &dw, blocks, width],
    );
    let (x, w, dy) = (x.values(), w.values(), dy.values());
    let (mut want, of_w) = norm_backward(&x, &w, eps, &dy);
    differences(&what, &x, &dy, &want, |x| norm(x, &w, eps).0);
    differences(&what, &w, &dy, &of_w, |w| norm(&x, w, eps).0);
    for (want, before) in want.iter_mut().zip(before.values()) {
        *want += before;
    }
    close(&what, &dx.values(), &want, 1e-6);
    close(&what, &dw.values(), &of_w, 1e-6);
}

#[test]
fn norms_of_any_width() {
    for shim in both(64) {
        for (rows, width) in [(1, 5), (37, 64), (4, 257), (2, 1536)] {
            norms(shim, rows, width);
        }
    }
}

#[test]
fn a_norm_whose_squares_overflow_is_no_number() {
    for shim in both(64) {
        let x = Buffer::of(Kind::F32, &[1e30, 1.0]);
        let w = Buffer::of(Kind::F32, &[1.0, 1.0]);
        let (y, r) = (shim.unwritten_act(2), Buffer::unwritten(Kind::F32, 1));
        shim.launch("rms_norm", [1, 1, 1], &args![&x, &w, &y, &r, 2, 1e-6]);
        assert!(y.values().iter().chain(&r.values()).all(|x| x.is_nan()));
    }
}

pub fn gates(shim: &Shim, rows: usize, width: usize) {
    let what = format!("swiglu {rows} x {width}");
    let gate_up = shim.act(&normals("gate", rows * 2 * width, 2.0));
    let out = shim.unwritten_act(rows * width);
    let dout = shim.act(&normals("dact", rows * width, 1.0));
    let forward = |x: &[f64]| -> Vec<f64> {
        let rows = x.chunks(2 * width);
        rows.flat_map(|row| (0..width).map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[i + width]))
            .collect()
    };
    shim.launch("swiglu", [rows, 1, 1], &args![&gate_up, &out, width]);
    let x = gate_up.values();
    close(
        &what,
        &out.values(),
        &forward(&x),
        tolerance(shim.variant.act),
    );

    let slopes = dout.values();
    // The activation again takes the place of its gradient.
    shim.launch(
        "swiglu_backward",
        [rows, 1, 1],
        &args![&gate_up, &dout, &dout, width],
    );
    let mut want = vec![0.0; x.len()];
    for (n, d) in slopes.iter().enumerate() {
        let at = n / width * 2 * width + n % width;
        let (g, u) = (x[at], x[at + width]);
        let s = 1.0 / (1.0 + (-g).exp());
        want[at] = d * u * s * (1.0 + g * (1.0 - s));
        want[at + width] = d * g * s;
    }
    differences(&what, &x, &slopes, &want, forward);
    close(&what, &gate_up.values(), &want, tolerance(shim.variant.act));
    assert_eq!(
        dout.bytes(),
        out.bytes(),
        "{what}: the same activation again"
    );
}

#[test]
fn gates_of_any_width() {
    for shim in both(64) {
        for (rows, width) in [(1, 3), (3, 300), (2, 256)] {
            gates(shim, rows, width);
        }
    }
}

#[test]
fn a_gate_of_any_size_gives_a_number() {
    for shim in both(64) {
        let gate_up = shim.act(&[-1e30, -200.0, 200.0, 1.0, 1.0, 1.0]);
        let out = shim.unwritten_act(3);
        shim.launch("swiglu", [1, 1, 1], &args![&gate_up, &out, 3]);
        assert_eq!(out.values(), [0.0, 0.0, 200.0]);
    }
}

#[test]
fn rows_of_the_table_and_their_gradient() {
    let Some(shim) = Shim::get(Kind::Bf16, 64) else {
        return;
    };
    let (vocabulary, width) = (37, 300);
    let ids = [5usize, 36, 0, 5, 5, 12, 36, 1];
    let table = Buffer::of(Kind::F32, &normals("table", vocabulary * width, 1.0));
    let (of_ids, h) = (
        Buffer::ids(&ids),
        Buffer::unwritten(Kind::F32, ids.len() * width),
    );
    shim.launch(
        "embed",
        [ids.len(), 1, 1],
        &args![&table, &of_ids, &h, width],
    );
    let rows = table.values();
    let want: Vec<f64> = ids
        .iter()
        .flat_map(|&id| rows[id * width..(id + 1) * width].to_vec())
        .collect();
    assert_eq!(h.values(), want);

    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|&row| ids[row]);
    let mut starts: Vec<usize> = (0..ids.len())
        .filter(|&i| i == 0 || ids[order[i]] != ids[order[i - 1]])
        .collect();
    let segments = starts.len();
    starts.push(ids.len());
    let dtable = Buffer::of(Kind::F32, &normals("dtable", vocabulary * width, 1.0));
    let dh = Buffer::of(Kind::F32, &normals("dh", ids.len() * width, 1.0));
    let mut want = dtable.values();
    for (row, &id) in ids.iter().enumerate() {
        for i in 0..width {
            want[id * width + i] += dh.values()[row * width + i];
        }
    }
    let (order, starts) = (Buffer::ids(&order), Buffer::ids(&starts));
    let counts = [segments, width, 1];
    shim.launch(
        "embed_backward",
        counts,
        &args![&dh, &of_ids, &order, &starts, &dtable, width],
    );
    close("embed_backward", &dtable.values(), &want, 1e-6);
}

#[test]
fn numbers_are_rounded_to_the_nearest_and_added() {
    for shim in both(64) {
        let values = [
            1.0,
            -1.00390625,
            1.01171875,
            3.0e38,
            -0.0,
            f64::INFINITY,
            1e-41,
            0.1,
        ];
        let x = Buffer::of(Kind::F32, &values);
        let (y, z) = (shim.unwritten_act(8), Buffer::unwritten(Kind::F32, 8));
        shim.launch("to_activations", [8, 1, 1], &args![&x, &y, Arg::I64(8)]);
        assert_eq!(y.bytes(), shim.act(&x.values()).bytes());
        shim.launch("of_activations", [8, 1, 1], &args![&y, &z, Arg::I64(8)]);
        assert_eq!(z.values(), y.values());
        let one = Buffer::of(Kind::F32, &[1.0; 8]);
        shim.launch("add_to", [8, 1, 1], &args![&z, &one, Arg::I64(8)]);
        let sums: Vec<f64> = y
            .values()
            .iter()
            .map(|&y| f64::from(y as f32 + 1.0))
            .collect();
        assert_eq!(z.values(), sums);
    }
    if let Some(shim) = Shim::get(Kind::Bf16, 64) {
        let (x, y) = (Buffer::of(Kind::F32, &[f64::NAN]), shim.unwritten_act(1));
        shim.launch("to_activations", [1, 1, 1], &args![&x, &y, Arg::I64(1)]);
        assert!(y.values()[0].is_nan(), "what is no number stays none");
    }
}
