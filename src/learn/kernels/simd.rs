//! Vector forms of the elementwise arithmetic: run-time choice of instruction set, exp, reductions with fixed lanes.
//!
//! The functions marked `inline(always)` are meant to be called inside `vector`, where the compiler may use the widest
//! instructions of the machine. Lanes are counted by the source, not by the machine: AVX2 and AVX-512 add in one order.

/// Partial sums of a reduction.
pub const LANES: usize = 16;

/// Runs `body` compiled for the best instruction set of this machine. Pass `#[inline(always)] move || ...`.
#[inline(always)]
pub fn vector<R, F: FnOnce() -> R>(body: F) -> R {
    pulp::Arch::new().dispatch(body)
}

/// e^x to about 1 ulp; 0 below -87 is rounded to 1e-38, above 88 it saturates.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it rounds to a whole number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few bits so that n * HIGH is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.7);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-HIGH, x);
    let r = n.mul_add(-LOW, r);
    // Taylor to degree 7: the rest is below 6e-9 for |r| <= ln(2) / 2.
    let p = (1.0 / 5040.0f32).mul_add(r, 1.0 / 720.0);
    let p = p.mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    // The low bits of `shifted` count n from those of ROUND. n is at most 128, so the exponent is built as n - 1 and
    // doubled.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    p * f32::from_bits(n.wrapping_add(126) << 23) * 2.0
}

#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut lanes = [0.0f32; LANES];
    let (a_body, a_tail) = a.as_chunks::<LANES>();
    let (b_body, b_tail) = b.as_chunks::<LANES>();
    for (x, y) in a_body.iter().zip(b_body) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum();
    fold(lanes) + tail
}

/// Largest value, of those that are numbers; -inf for an empty slice.
#[inline(always)]
pub fn max(a: &[f32]) -> f32 {
    let larger = |x: f32, best: f32| if x > best { x } else { best };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (body, tail) = a.as_chunks::<LANES>();
    for x in body {
        for i in 0..LANES {
            lanes[i] = larger(x[i], lanes[i]);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = larger(lanes[i + width], lanes[i]);
        }
        width /= 2;
    }
    tail.iter().fold(lanes[0], |best, &x| larger(x, best))
}

/// The lanes added as a tree.
#[inline(always)]
pub fn fold(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `out += a`.
#[inline(always)]
pub fn add(out: &mut [f32], a: &[f32]) {
    for (o, x) in out.iter_mut().zip(a) {
        *o += x;
    }
}

/// Asks for the cache line at an address, which may lie outside of any array.
#[inline(always)]
pub(crate) fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and faults nowhere.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
