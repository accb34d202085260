//! The rules of the searches: which replacements are tried, which is taken, what is kept. Ids and numbers in, ids out: knows no
//! model, and draws from the stream that it is given.
//!
//! Ties go to the lowest id, the lowest index, the entry that was there first.

use crate::attack::allowed::Allowed;
use base::rng::Rng;

/// The `topk` allowed tokens of every position whose gradient [suffix, vocabulary] is the most negative; all of them where there
/// are fewer.
pub fn most_negative(
    gradient: &[f32],
    vocabulary: usize,
    topk: usize,
    allowed: &Allowed,
) -> Vec<Vec<u32>> {
    let of_position = |slopes: &[f32]| {
        let order = |a: &u32, b: &u32| {
            let (x, y) = (slopes[*a as usize], slopes[*b as usize]);
            x.total_cmp(&y).then(a.cmp(b))
        };
        let mut ids = allowed.ids.clone();
        let k = topk.min(ids.len());
        if k > 0 && k < ids.len() {
            ids.select_nth_unstable_by(k - 1, order);
        }
        ids.truncate(k);
        ids.sort_unstable_by(order);
        ids
    };
    gradient.chunks_exact(vocabulary).map(of_position).collect()
}

/// The position of every candidate, one each: candidate w of W replaces floor(w n / W), as in llm-attacks and HarmBench.
pub fn even(length: usize, width: usize) -> Vec<Vec<usize>> {
    (0..width).map(|w| vec![w * length / width]).collect()
}

/// Different positions of every candidate, drawn uniformly, as in nanoGCG.
pub fn drawn(length: usize, width: usize, replace: usize, rng: &mut Rng) -> Vec<Vec<usize>> {
    let mut all: Vec<usize> = (0..length).collect();
    let mut of_candidate = || {
        rng.shuffle(&mut all);
        all[..replace.min(length)].to_vec()
    };
    (0..width).map(|_| of_candidate()).collect()
}

/// The candidates: each the suffix, with `top[position][pick]` at its positions.
pub fn replaced(
    suffix: &[u32],
    top: &[Vec<u32>],
    positions: &[Vec<usize>],
    picks: &[Vec<usize>],
) -> Vec<Vec<u32>> {
    let candidates = positions.iter().zip(picks);
    candidates
        .map(|(positions, picks)| {
            let mut ids = suffix.to_vec();
            for (&position, &pick) in positions.iter().zip(picks) {
                ids[position] = top[position][pick];
            }
            ids
        })
        .collect()
}

/// The index of the least loss among the kept; None where none is.
pub fn least(losses: &[f64], kept: &[bool]) -> Option<usize> {
    let found = losses.iter().zip(kept).enumerate();
    let found = found.filter(|(_, (_, kept))| **kept);
    let least = found.min_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b));
    least.map(|(i, _)| i)
}

/// The suffixes that a search may go on from, the best first. As in nanoGCG: one of size 0 forgets all but the last, one of size b
/// starts from the best of b and replaces its worst.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer<T> {
    size: usize,
    /// Ascending losses.
    entries: Vec<(f64, T)>,
}

impl<T> Buffer<T> {
    /// `entries` that it begins with; never none.
    pub fn new(size: usize, entries: Vec<(f64, T)>) -> Buffer<T> {
        let mut buffer = Buffer {
            size,
            entries: vec![],
        };
        for (loss, entry) in entries {
            buffer.put(loss, entry);
        }
        assert!(!buffer.entries.is_empty(), "a search begins somewhere");
        buffer
    }

    /// Takes an entry in, if it is better than the worst; says whether it was.
    pub fn offer(&mut self, loss: f64, entry: T) -> bool {
        let worst = self.entries.last().map_or(f64::INFINITY, |(loss, _)| *loss);
        let better = self.size == 0 || loss < worst;
        if better {
            self.put(loss, entry);
        }
        better
    }

    fn put(&mut self, loss: f64, entry: T) {
        if self.entries.len() >= self.size.max(1) {
            self.entries.pop();
        }
        let place = self.entries.partition_point(|(other, _)| *other <= loss);
        self.entries.insert(place, (loss, entry));
    }

    pub fn best(&self) -> &T {
        &self.entries[0].1
    }

    pub fn entries(&self) -> &[(f64, T)] {
        &self.entries
    }
}

/// Whether the suffix is tried out after this step, counted from 0: every so many steps and at the last, as in HarmBench; 0 is
/// never.
pub fn due(step: usize, steps: usize, every: usize) -> bool {
    every > 0 && (step.is_multiple_of(every) || step + 1 == steps)
}

/// Tokens that a proposal of random search replaces: of at most `largest` all as long as the target is unlikely, half of them above a
/// probability of 0.01, a quarter above 0.1; one at least.
pub fn change(largest: usize, probability: f64) -> usize {
    let share = match probability {
        p if p <= 0.01 => 1,
        p if p <= 0.1 => 2,
        _ => 4,
    };
    (largest / share).max(1)
}

/// The suffix with new tokens from a place on. Where they run over its end it gets longer.
pub fn laid_over(suffix: &[u32], at: usize, new: &[u32]) -> Vec<u32> {
    let behind = suffix.get(at + new.len()..).unwrap_or(&[]);
    [&suffix[..at], new, behind].concat()
}
