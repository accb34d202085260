//! SwiGLU: act = silu(gate) * up, on rows that hold gate and up side by side.

use super::simd::{sigmoid, vector};

/// `gate_up` is [rows, 2 f], `act` [rows, f].
pub fn forward(gate_up: &[f32], act: &mut [f32], f: usize) {
    vector(
        #[inline(always)]
        move || {
            for (row, act) in gate_up.chunks_exact(2 * f).zip(act.chunks_exact_mut(f)) {
                let (gate, up) = row.split_at(f);
                for ((a, &g), &u) in act.iter_mut().zip(gate).zip(up) {
                    *a = g * sigmoid(g) * u;
                }
            }
        },
    );
}

/// From `dact` [rows, f] to `dgate_up` [rows, 2 f]; computes `act` again on the way.
pub fn backward(gate_up: &[f32], dact: &[f32], dgate_up: &mut [f32], act: &mut [f32], f: usize) {
    vector(
        #[inline(always)]
        move || {
            let rows = gate_up.chunks_exact(2 * f).zip(dact.chunks_exact(f));
            let outs = dgate_up
                .chunks_exact_mut(2 * f)
                .zip(act.chunks_exact_mut(f));
            for ((row, dact), (drow, act)) in rows.zip(outs) {
                let (gate, up) = row.split_at(f);
                let (dgate, dup) = drow.split_at_mut(f);
                row_backward(gate, up, dact, dgate, dup, act);
            }
        },
    );
}

#[inline(always)]
fn row_backward(
    gate: &[f32],
    up: &[f32],
    dact: &[f32],
    dgate: &mut [f32],
    dup: &mut [f32],
    act: &mut [f32],
) {
    let f = gate.len();
    let (up, dact) = (&up[..f], &dact[..f]);
    let (dgate, dup, act) = (&mut dgate[..f], &mut dup[..f], &mut act[..f]);
    for i in 0..f {
        let (g, u, d) = (gate[i], up[i], dact[i]);
        let s = sigmoid(g);
        let silu = g * s;
        act[i] = silu * u;
        dup[i] = d * silu;
        dgate[i] = d * u * s * (1.0 + g * (1.0 - s));
    }
}
