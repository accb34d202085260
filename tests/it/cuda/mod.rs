//! The CUDA kernels of `learn::device`, without a GPU: their own text, compiled as C, against formulas in f64.
//!
//! `shim.h` plays a block's threads, its barriers and the tensor cores (`shim.rs` launches). References are written from the
//! formulas on top of the kernels' files, on inputs as the kernel reads them (rounded to bf16 where that is its type), and
//! their gradients are held against finite differences. What a GPU's own arithmetic adds is `bench/gpu`'s, which repeats
//! these launches.

mod attention;
mod barriers;
mod buffer;
mod cases;
mod compiled;
mod declared;
mod decode;
mod heads;
mod logits;
mod model;
mod optimizer;
pub mod player;
mod record;
mod rows;
mod shim;
mod table;
mod whole;

use buffer::Kind;
use pipe::base::rng::Seed;

/// Normal numbers, by name.
fn normals(name: &str, n: usize, scale: f64) -> Vec<f64> {
    let mut rng = Seed::new(7).child(name).rng();
    (0..n).map(|_| rng.normal() * scale).collect()
}

/// How far a kernel may be from f64: what its type of activations rounds to, or what sums in f32 lose.
fn tolerance(act: Kind) -> f64 {
    match act {
        Kind::Bf16 => 1.0 / 256.0,
        _ => 2e-6,
    }
}

/// As vectors within `tolerance` of each other, and no number further than four times that of the largest.
fn close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let (mut off, mut size, mut largest) = (0.0, 0.0, 0.0f64);
    for (g, w) in got.iter().zip(want) {
        off += (g - w) * (g - w);
        size += w * w;
        largest = largest.max(w.abs());
    }
    let relative = (off / f64::max(size, 1e-300)).sqrt();
    // What is no number is not within anything.
    let within = relative <= tolerance || (off == 0.0 && size == 0.0);
    assert!(within, "{what}: {relative:.2e} away of {tolerance:.1e}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let fine = (g - w).abs() <= 4.0 * tolerance * largest;
        assert!(fine, "{what}: number {i} is {g}, and is to be {w}");
    }
}

/// dL/dx of L = sum of `slopes` times f(x) at some of the places of x, by central differences, against `gradient`.
fn differences(
    what: &str,
    x: &[f64],
    slopes: &[f64],
    gradient: &[f64],
    f: impl Fn(&[f64]) -> Vec<f64>,
) {
    let loss = |x: &[f64]| -> f64 { f(x).iter().zip(slopes).map(|(y, s)| y * s).sum() };
    let mut rng = Seed::new(11).child(what).rng();
    let largest = gradient.iter().fold(0.0f64, |a, g| a.max(g.abs()));
    for _ in 0..24 {
        let i = rng.below(x.len());
        let mut moved = x.to_vec();
        let mut at = |step: f64| {
            moved[i] = x[i] + step;
            loss(&moved)
        };
        let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
        let off = (slope - gradient[i]).abs();
        assert!(
            off <= 1e-6 * largest.max(1.0),
            "{what}: {slope} and {}",
            gradient[i]
        );
    }
}
