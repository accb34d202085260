//! Named randomness: every random choice comes from a `Seed` reached by names and numbers.
//!
//! `seed.child("shuffle").at(7)` is the same on every machine and never shifts when another consumer is added.
//! The streams are part of the keys' promise (same recipe, same bytes), so this code does not change silently.

/// A point in the tree of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    pub fn new(seed: u64) -> Seed {
        Seed(mix(seed ^ 0x9e37_79b9_7f4a_7c15))
    }

    /// The child of this name.
    pub fn child(self, name: &str) -> Seed {
        let digest = blake3::hash(name.as_bytes());
        let word = u64::from_le_bytes(
            digest.as_bytes()[..8]
                .try_into()
                .expect("a digest has 32 bytes"),
        );
        Seed(mix(self.0.rotate_left(17) ^ word))
    }

    /// The child of this number.
    pub fn at(self, index: u64) -> Seed {
        Seed(mix(self.0 ^ mix(index.wrapping_add(0x632b_e59b_d9b4_e019))))
    }

    pub fn rng(self) -> Rng {
        Rng(self.0)
    }

    /// One uniform number in [0, 1) without a stream: for counted randomness (seed, prompt, sample, position).
    pub fn unit(self) -> f64 {
        to_unit(mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    }
}

/// A stream of random numbers (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn unit(&mut self) -> f64 {
        to_unit(self.next_u64())
    }

    /// Uniform in 0..n. `n` is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a choice needs at least one option");
        // Multiply-shift: the bias is below n / 2^64.
        ((self.next_u64() as u128 * n as u128) >> 64) as usize
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// One item of a slice that is not empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let u = 1.0 - self.unit();
        let v = self.unit();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Fisher–Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn to_unit(word: u64) -> f64 {
    (word >> 11) as f64 / (1u64 << 53) as f64
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
