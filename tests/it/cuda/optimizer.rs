//! The norm of all gradients and AdamW: bit for bit what `learn::optim` makes of them.

use super::buffer::{Arg, Buffer, Kind, args};
use super::normals;
use super::shim::Shim;
use pipe::learn::device::kernels::PART;

/// Squares of all gradients, and two steps of AdamW with and without clipping, as `learn::optim` makes them.
pub fn steps(shim: &Shim, n: usize) {
    use pipe::learn::optim;
    let g = Buffer::of(Kind::F32, &normals("g", n, 0.3));
    let parts = n.div_ceil(PART);
    let (partial, squares) = (
        Buffer::unwritten(Kind::F64, parts),
        Buffer::unwritten(Kind::F64, 1),
    );
    shim.launch("square_parts", [n, 1, 1], &args![&g, Arg::I64(n), &partial]);
    shim.launch(
        "square_sum",
        [1, 1, 1],
        &args![&partial, Arg::I64(parts), &squares],
    );
    let norm = squares.values()[0].sqrt();
    let gradients: Vec<f32> = g.values().iter().map(|&g| g as f32).collect();
    assert!((norm - optim::norm(&gradients)).abs() <= 1e-13 * norm);

    let start = normals("weights", n, 1.0);
    for clipped in [false, true] {
        let (w, shadow) = (
            Buffer::of(Kind::F32, &start),
            Buffer::unwritten(Kind::Bf16, n),
        );
        let (m, v) = (Buffer::zeros(Kind::F32, n), Buffer::zeros(Kind::F32, n));
        let mut kept: [Vec<f32>; 3] = [w.values(), vec![0.0; n], vec![0.0; n]]
            .map(|all| all.iter().map(|&x| x as f32).collect());
        let most = norm / 2.0;
        let mut scaled = gradients.clone();
        if clipped {
            optim::clip(&mut scaled, most);
        }
        for t in 1..=2 {
            let (lr, beta1, beta2, eps, decay) = (0.01, 0.9, 0.95, 1e-8, 0.1);
            let rates = [
                beta1,
                1.0 - beta1,
                beta2,
                1.0 - beta2,
                (1.0 - f64::powi(beta2, t)).powf(-0.5),
                eps,
                lr / (1.0 - f64::powi(beta1, t)),
                1.0 - lr * decay,
            ];
            let of_norm = clipped.then_some(&squares);
            let mut arguments = args![
                &w,
                &shadow,
                &g,
                &m,
                &v,
                Arg::I64(n),
                of_norm,
                Arg::F64(most)
            ]
            .to_vec();
            arguments.extend(rates.map(Arg::F32));
            shim.launch("adamw", [n, 1, 1], &arguments);
            // The same in f32, operation by operation.
            let [beta1, rest1, beta2, rest2, scale2, eps, move_by, keep] = rates.map(|x| x as f32);
            let [weights, first, second] = &mut kept;
            for i in 0..n {
                first[i] = beta1 * first[i] + rest1 * scaled[i];
                second[i] = beta2 * second[i] + rest2 * scaled[i] * scaled[i];
                weights[i] =
                    keep * weights[i] - move_by * first[i] / (second[i].sqrt() * scale2 + eps);
            }
        }
        let exact = |all: &[f32]| -> Vec<f64> { all.iter().map(|&x| f64::from(x)).collect() };
        for (buffer, kept) in [&w, &m, &v].into_iter().zip(&kept) {
            assert_eq!(buffer.values(), exact(kept), "clipped {clipped}");
        }
        let rounded = Buffer::of(Kind::Bf16, &w.values());
        assert_eq!(
            shadow.bytes(),
            rounded.bytes(),
            "the shadow is the weights in bf16"
        );
    }
}

#[test]
fn adamw_is_the_optimizer_s_bit_for_bit() {
    let Some(shim) = Shim::get(Kind::Bf16, 64) else {
        return;
    };
    for n in [1, 300, 16384 + 77] {
        steps(shim, n);
    }
}
