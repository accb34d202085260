//! RMSNorm: y = x r w with r = (mean(x^2) + eps)^(-1/2), and its backward pass.

use super::simd::{dot, vector};

/// Normalises rows of `weight.len()` numbers; `scales` gets r of every row.
pub fn forward(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], scales: &mut [f32]) {
    let d = weight.len();
    vector(
        #[inline(always)]
        move || {
            for ((x, y), r) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(scales) {
                *r = scale(x, eps);
                write(x, weight, *r, y);
            }
        },
    );
}

/// r of one row.
#[inline(always)]
pub fn scale(x: &[f32], eps: f32) -> f32 {
    let square = dot(x, x) / x.len() as f32 + eps;
    // Where the squares overflow r would be 0, and a broken model one that gives every token the same chance.
    if square < f32::INFINITY {
        1.0 / square.sqrt()
    } else {
        f32::NAN
    }
}

/// Normed rows computed once more, from the scales kept by `forward`.
pub fn again(x: &[f32], weight: &[f32], scales: &[f32], y: &mut [f32]) {
    let d = weight.len();
    vector(
        #[inline(always)]
        move || {
            for ((x, y), r) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(scales) {
                write(x, weight, *r, y);
            }
        },
    );
}

/// dx += r (w dy) - x r^3 / d sum(w dy x); dw += dy x r.
pub fn backward(
    x: &[f32],
    weight: &[f32],
    scales: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
) {
    let d = weight.len();
    vector(
        #[inline(always)]
        move || {
            let dw = &mut dw[..d];
            let rows = x.chunks_exact(d).zip(dy.chunks_exact(d));
            for (((x, dy), dx), &r) in rows.zip(dx.chunks_exact_mut(d)).zip(scales) {
                row_backward(x, weight, r, dy, dx, dw);
            }
        },
    );
}

#[inline(always)]
pub fn write(x: &[f32], weight: &[f32], r: f32, y: &mut [f32]) {
    for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
        *y = x * r * w;
    }
}

#[inline(always)]
fn row_backward(x: &[f32], weight: &[f32], r: f32, dy: &[f32], dx: &mut [f32], dw: &mut [f32]) {
    let back = r * r * r / x.len() as f32 * dot3(x, weight, dy);
    for i in 0..x.len() {
        dx[i] += r * weight[i] * dy[i] - back * x[i];
        dw[i] += dy[i] * x[i] * r;
    }
}

#[inline(always)]
fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    use super::simd::{LANES, fold};
    let mut lanes = [0.0f32; LANES];
    let (a_body, a_tail) = a.as_chunks::<LANES>();
    let (b_body, b_tail) = b.as_chunks::<LANES>();
    let (c_body, c_tail) = c.as_chunks::<LANES>();
    for ((x, y), z) in a_body.iter().zip(b_body).zip(c_body) {
        for i in 0..LANES {
            lanes[i] = (x[i] * y[i]).mul_add(z[i], lanes[i]);
        }
    }
    let mut tail = 0.0;
    for ((x, y), z) in a_tail.iter().zip(b_tail).zip(c_tail) {
        tail += x * y * z;
    }
    fold(lanes) + tail
}
