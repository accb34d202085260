//! What the machine gives to one large matrix product at this moment, over all threads.

use crate::turns::answer;
use anyhow::{Context, Result};
use serde_json::json;
use std::time::Instant;

/// Answers the unit `peak N`: a product of N x N matrices.
pub fn serve(unit: &str) -> Result<()> {
    let n = unit
        .strip_prefix("peak ")
        .with_context(|| format!("no unit is called {unit}"))?;
    let mut square = Square::new(n.parse().context("a peak has a size")?);
    square.product();
    let start = Instant::now();
    square.product();
    let seconds = start.elapsed().as_secs_f64();
    answer(json!({"seconds": seconds, "flop": square.flop()}));
    Ok(())
}

struct Square {
    n: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Square {
    fn new(n: usize) -> Square {
        let full = || vec![1.0f32; n * n];
        let (a, b, c) = (full(), full(), full());
        Square { n, a, b, c }
    }

    fn flop(&self) -> f64 {
        2.0 * (self.n as f64).powi(3)
    }

    fn product(&mut self) {
        let n = self.n;
        // SAFETY: the three matrices are n x n and row-major.
        unsafe {
            gemm::gemm(
                n,
                n,
                n,
                self.c.as_mut_ptr(),
                1,
                n as isize,
                false,
                self.a.as_ptr(),
                1,
                n as isize,
                self.b.as_ptr(),
                1,
                n as isize,
                0.0f32,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(rayon::current_num_threads()),
            );
        }
    }
}
