//! The descent of UMAP: edges pull their ends together, points drawn at random push away, one after the other.

use super::curve::Curve;
use super::graph::Graph;

/// Points in the plane.
pub type Plane = Vec<[f32; 2]>;

/// How points move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    pub curve: Curve,
    pub epochs: usize,
    /// Of the first epochs; from the second on it falls to 0.
    pub rate: f64,
    /// Points that push for every one that pulls.
    pub negatives: f64,
}

/// A coordinate of one pull or push moves by at most this, before the rate.
const MOST: f64 = 4.0;
/// Keeps a push finite.
const SOFT: f64 = 1e-3;

impl Descent {
    pub fn new(curve: Curve, epochs: usize) -> Descent {
        Descent {
            curve,
            epochs,
            rate: 1.0,
            negatives: 5.0,
        }
    }

    /// Moves the points of a graph; `seen` gets the picture after each epoch, with how many were done.
    pub fn run(
        &self,
        at: Plane,
        graph: &Graph,
        state: [i64; 3],
        seen: impl FnMut(usize, &Plane),
    ) -> Plane {
        self.along(at, graph, &graph.epochs_per_turn(self.epochs), state, seen)
    }

    /// The same where an edge has its turn every so many epochs. In the first epoch nothing moves, and the second has the rate of the first.
    /// Every point draws from numbers of its own, which begin with `state` and where it is.
    pub fn along(
        &self,
        mut at: Plane,
        graph: &Graph,
        every: &[f64],
        state: [i64; 3],
        mut seen: impl FnMut(usize, &Plane),
    ) -> Plane {
        let mut draws: Vec<Tau> = at
            .iter()
            .map(|[x, _]| {
                let bits = f64::from(*x).to_bits() as i64;
                Tau(state.map(|word| word.wrapping_add(bits)))
            })
            .collect();
        let every_push: Vec<f64> = every.iter().map(|e| e / self.negatives).collect();
        let (mut next, mut next_push) = (every.to_vec(), every_push.clone());
        let mut rate = self.rate;
        for epoch in 0..self.epochs {
            for edge in 0..every.len() {
                if next[edge] > epoch as f64 {
                    continue;
                }
                let (i, j) = (graph.head[edge], graph.tail[edge]);
                self.pull(&mut at, (i, j), rate);
                next[edge] += every[edge];
                let pushes = ((epoch as f64 - next_push[edge]) / every_push[edge]) as usize;
                for _ in 0..pushes {
                    let k = draws[i].below(graph.n);
                    self.push(&mut at, (i, k), rate);
                }
                next_push[edge] += pushes as f64 * every_push[edge];
            }
            rate = self.rate * (1.0 - epoch as f64 / self.epochs as f64);
            seen(epoch + 1, &at);
        }
        at
    }

    /// Both ends of an edge towards each other.
    fn pull(&self, at: &mut Plane, (i, j): (usize, usize), rate: f64) {
        let square = squared(at[i], at[j]);
        let Curve { a, b } = self.curve;
        let force = if square > 0.0 {
            let power = a * power(square, b);
            -2.0 * b * power / square / (power + 1.0)
        } else {
            0.0
        };
        let step = step(force, at[i], at[j], rate);
        at[i] = moved(at[i], step);
        at[j] = moved(at[j], step.map(|x| -x));
    }

    /// The first away from the second, which stays; points at one place do not push.
    fn push(&self, at: &mut Plane, (i, k): (usize, usize), rate: f64) {
        let square = squared(at[i], at[k]);
        if square <= 0.0 {
            return;
        }
        let Curve { a, b } = self.curve;
        let force = 2.0 * b / ((SOFT + square) * (a * power(square, b) + 1.0));
        at[i] = moved(at[i], step(force, at[i], at[k], rate));
    }
}

/// x^b of x above 0: half the time of `powf`, whose last digits nobody needs here.
fn power(x: f64, b: f64) -> f64 {
    (b * x.ln()).exp()
}

/// Along the line from the second point, by axis.
fn step(force: f64, [x, y]: [f32; 2], [u, v]: [f32; 2], rate: f64) -> [f64; 2] {
    [x - u, y - v].map(|apart| (force * f64::from(apart)).clamp(-MOST, MOST) * rate)
}

fn moved([x, y]: [f32; 2], [dx, dy]: [f64; 2]) -> [f32; 2] {
    [(f64::from(x) + dx) as f32, (f64::from(y) + dy) as f32]
}

/// In single precision, as the points are.
fn squared([x, y]: [f32; 2], [u, v]: [f32; 2]) -> f64 {
    let (dx, dy) = (x - u, y - v);
    f64::from(dx * dx + dy * dy)
}

/// The generator of umap-learn: Tausworthe's with three words (L'Ecuyer 1996). Words begin with up to 64 bits and have 32 after the
/// first number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tau(pub [i64; 3]);

impl Tau {
    /// A number of 32 bits, with a sign.
    pub fn number(&mut self) -> i32 {
        const WORD: i64 = 0xffff_ffff;
        // By word: what is kept of it, shifted by; and by how much the rest is shifted there and back.
        const SHIFTS: [(i64, u32, u32, u32); 3] = [
            (0xffff_fffe, 12, 13, 19),
            (0xffff_fff8, 4, 2, 25),
            (0xffff_fff0, 17, 3, 11),
        ];
        for (word, (kept, up, left, right)) in self.0.iter_mut().zip(SHIFTS) {
            let shifted = ((*word & kept) << up) & WORD;
            let mixed = (word.wrapping_shl(left) & WORD) ^ *word;
            *word = shifted ^ (mixed >> right);
        }
        (self.0[0] ^ self.0[1] ^ self.0[2]) as i32
    }

    /// 0..n: of a negative number what is missing to the next multiple of n.
    pub fn below(&mut self, n: usize) -> usize {
        i64::from(self.number()).rem_euclid(n as i64) as usize
    }
}
