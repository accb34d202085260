//! One number out of seeds and prompts together: the estimate, its interval, its p, and how many seeds would settle it. Seeds (trainings
//! that repeat each other) and prompts are both draws of many; values of one prompt under several seeds hang together, values of
//! one seed as well. Knows nothing of what the numbers measure.
//!
//! The mean over S seeds, each a mean over its prompts, has the variance V1 + V2. V1 = s² / S is what the spread s of the seeds' means
//! shows, with k = S - 1 degrees of freedom. V2 is what these prompts have in common in all seeds, which no further seed
//! averages away: the mean covariance of two seeds over the prompts that both have, 0 where they share none.
//!
//! The half width at level 1 - α is h with h² = z² V2 + t² V1 g, where z and t are the quantiles of the normal and of Student's
//! distribution with k degrees, and g = (x / (x + a))^b with x = V1 / V2. Where all noise is of one sort, h is that sort's own
//! interval. Between the two t² V1 alone would be too wide, and Satterthwaite's degrees of freedom too narrow (87 % at two seeds):
//! a = 0.2 and b = min(2, 4.5 / k) hold 94.6 to 95.4 % for k from 2 on at any ratio. For two seeds no smooth rule does; a = 0.12
//! holds 94.0 to 96.8 %. `tests/it/coverage.rs` measures it.
//!
//! Shares are known to one prompt at best, and prompts that all came out alike do not say that others would. So V1 gets the
//! variance of rounding to a prompt, and V2 what pseudo-prompts add: two of each outcome (Agresti and Coull 1998), or half a one in each
//! of the four cells of a paired table (Agresti and Min 2005), of which every further seed needs less. They also move the
//! interval's centre inwards, not the value.

use crate::stats;
use std::collections::BTreeMap;

/// By prompt: what was measured of one seed.
pub type Values = BTreeMap<String, f64>;

/// The level of a verdict and of the intervals that are shown: 95 %.
pub const ALPHA: f64 = 0.05;

/// How sure an experiment is to settle what is as it seems: 80 % (Cohen 1988).
const POWER: f64 = 0.8;

/// No p smaller than this is told from it.
const SMALLEST: f64 = 1e-9;

/// Which values a mean can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// 0 to 1, of what prompts come to.
    Share,
    /// 0 to 1, of whatever else.
    Bounded,
    /// Of two shares: -1 to 1.
    Difference,
    /// Never negative.
    Count,
    Free,
}

impl Range {
    /// Of metrics of this unit.
    pub fn of(unit: &str) -> Range {
        match unit {
            "share" => Range::Share,
            "auroc" | "cka" => Range::Bounded,
            "words" | "tokens" | "prompts" | "rows" | "bytes" | "seconds" | "count" => Range::Count,
            _ => Range::Free,
        }
    }

    /// Of what one of these has more than another.
    pub fn of_difference(self) -> Range {
        match self {
            Range::Share => Range::Difference,
            _ => Range::Free,
        }
    }

    /// What of an interval is among these.
    pub fn within(self, (low, high): (f64, f64)) -> (f64, f64) {
        match self {
            Range::Share | Range::Bounded => (low.max(0.0), high.min(1.0)),
            Range::Difference => (low.max(-1.0), high.min(1.0)),
            Range::Count => (low.max(0.0), high),
            Range::Free => (low, high),
        }
    }
}

/// The mean over seeds, and what is known of its noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub seeds: usize,
    /// Of the seed that has fewest; of a contrast, on the side that has fewest.
    pub prompts: usize,
    /// The mean of each seed.
    pub each: Vec<f64>,
    range: Range,
    /// Of the interval.
    centre: f64,
    /// s²: of one seed's mean around all seeds' mean. None of a single seed.
    between: Option<f64>,
    /// V2; of a single seed all the noise there is.
    common: f64,
}

/// What would settle a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enough {
    /// So many seeds in all.
    Seeds(usize),
    /// So many prompts in each of so many seeds; seeds alone would not do.
    Prompts { prompts: usize, seeds: usize },
    /// More than anybody would run.
    Nothing,
}

impl Enough {
    /// What settles both questions.
    pub fn most(self, other: Enough) -> Enough {
        match (self, other) {
            (Enough::Nothing, _) | (_, Enough::Nothing) => Enough::Nothing,
            (Enough::Seeds(a), Enough::Seeds(b)) => Enough::Seeds(a.max(b)),
            (Enough::Prompts { prompts, seeds }, Enough::Seeds(n))
            | (Enough::Seeds(n), Enough::Prompts { prompts, seeds }) => Enough::Prompts {
                prompts,
                seeds: seeds.max(n),
            },
            (
                Enough::Prompts { prompts, seeds },
                Enough::Prompts {
                    prompts: p,
                    seeds: s,
                },
            ) => Enough::Prompts {
                prompts: prompts.max(p),
                seeds: seeds.max(s),
            },
        }
    }

    /// How many answers that takes, of what takes more prompts.
    fn answers(self) -> usize {
        match self {
            Enough::Prompts { prompts, seeds } => prompts * seeds,
            _ => 0,
        }
    }

    /// What settles one of both, the one that takes least.
    pub fn least(self, other: Enough) -> Enough {
        match (self, other) {
            (Enough::Seeds(a), Enough::Seeds(b)) => Enough::Seeds(a.min(b)),
            (Enough::Seeds(n), _) | (_, Enough::Seeds(n)) => Enough::Seeds(n),
            (Enough::Nothing, other) | (other, Enough::Nothing) => other,
            (a, b) => match a.answers() <= b.answers() {
                true => a,
                false => b,
            },
        }
    }
}

/// The mean over metrics (one, mostly) of the means over seeds of the means over prompts. Every metric has the same seeds.
/// None without a value in each.
pub fn estimate(metrics: &[Vec<Values>], range: Range) -> Option<Estimate> {
    let parts = metrics.len();
    let weights = vec![1.0 / parts.max(1) as f64; parts];
    let found = combined(metrics, &weights, range, Pseudo::of)?;
    let counts = |m: &Vec<Values>| m.iter().map(Values::len).min().unwrap_or_default();
    Some(Estimate {
        prompts: metrics.iter().map(counts).sum(),
        ..found
    })
}

/// What the first has more than the second, each the mean over its own prompts, of which they may share some or none: the mean over
/// seeds of the difference of the means. `range`: of the values of either. None without a value in each.
pub fn contrast(of: Vec<Values>, than: Vec<Values>, range: Range) -> Option<Estimate> {
    let found = combined(&[of, than], &[1.0, -1.0], range, Pseudo::of_two)?;
    Some(Estimate {
        range: range.of_difference(),
        ..found
    })
}

/// The sum of the metrics' means, each times its weight.
fn combined(
    metrics: &[Vec<Values>],
    weights: &[f64],
    range: Range,
    pseudo: fn(Range, f64, usize, usize) -> Pseudo,
) -> Option<Estimate> {
    let seeds = metrics.first()?.len();
    let fits = metrics.iter().all(|m| m.len() == seeds);
    if !fits || seeds == 0 || metrics.iter().flatten().any(Values::is_empty) {
        return None;
    }
    let mean = |values: &Values| values.values().sum::<f64>() / values.len() as f64;
    let weighted = || metrics.iter().zip(weights);
    let of_seed = |s: usize| weighted().map(|(m, w)| w * mean(&m[s])).sum::<f64>();
    let each: Vec<f64> = (0..seeds).map(of_seed).collect();
    let value = stats::mean(&each)?;
    let counts = |m: &Vec<Values>| m.iter().map(Values::len).min().unwrap_or_default();
    let pseudo = metrics.iter().map(|m| {
        let means: Vec<f64> = m.iter().map(mean).collect();
        let mean = stats::mean(&means).unwrap_or_default();
        pseudo(range, mean, counts(m), seeds)
    });
    let pseudo: Vec<Pseudo> = pseudo.collect();
    let own = common(metrics, weights, &pseudo);
    let summed = |of: fn(&Pseudo) -> f64, power: i32| -> f64 {
        let each = pseudo.iter().zip(weights);
        each.map(|(p, w)| w.powi(power) * of(p)).sum()
    };
    let rounding = summed(|p| p.rounding, 2);
    let spread = stats::sd(&each).map(|sd| sd * sd + rounding);
    Some(Estimate {
        value,
        seeds,
        prompts: metrics.iter().map(counts).min().unwrap_or_default(),
        each,
        range,
        centre: summed(|p| p.centre, 1),
        between: spread,
        common: own.max(0.0) + summed(|p| p.variance, 2),
    })
}

/// Of seeds that are known by their means alone, each over `prompts` prompts of its own or of all.
pub fn of_means(each: &[f64], prompts: usize, range: Range) -> Option<Estimate> {
    let value = stats::mean(each)?;
    let pseudo = Pseudo::of(range, value, prompts.max(1), each.len());
    Some(Estimate {
        value,
        seeds: each.len(),
        prompts,
        each: each.to_vec(),
        range,
        centre: pseudo.centre,
        between: stats::sd(each).map(|sd| sd * sd + pseudo.rounding),
        common: pseudo.variance,
    })
}

/// What bounded values get beside their own.
struct Pseudo {
    centre: f64,
    /// The part of V2.
    variance: f64,
    /// The part of s².
    rounding: f64,
    /// What the own prompts' part of V2 is multiplied with.
    shrink: f64,
}

/// Pseudo-prompts: how many, the sum of their values, the sum of their squared distances from a mean.
type Added = (f64, f64, fn(f64) -> f64);

impl Pseudo {
    fn of(range: Range, mean: f64, n: usize, seeds: usize) -> Pseudo {
        let two_of_each: Added = (4.0, 2.0, |m| 2.0 * m * m + 2.0 * (1.0 - m) * (1.0 - m));
        let half_a_cell: Added = (2.0, 0.0, |m| {
            0.5 * (1.0 - m) * (1.0 - m) + 0.5 * (1.0 + m) * (1.0 + m) + m * m
        });
        match range {
            Range::Share => Pseudo::with(two_of_each, mean, n, 1.0),
            // A difference that one training shows by chance, S of them hardly show together.
            Range::Difference => Pseudo::with(half_a_cell, mean, n, seeds as f64),
            Range::Bounded | Range::Count | Range::Free => Pseudo::none(mean),
        }
    }

    /// Of a mean from which another is taken away: of two shares each gets one of each outcome (Agresti and Caffo 2000).
    fn of_two(range: Range, mean: f64, n: usize, _: usize) -> Pseudo {
        let one_of_each: Added = (2.0, 1.0, |m| m * m + (1.0 - m) * (1.0 - m));
        match range {
            Range::Share => Pseudo::with(one_of_each, mean, n, 1.0),
            _ => Pseudo::none(mean),
        }
    }

    fn none(mean: f64) -> Pseudo {
        Pseudo {
            centre: mean,
            variance: 0.0,
            rounding: 0.0,
            shrink: 1.0,
        }
    }

    fn with((extra, sum, squares): Added, mean: f64, n: usize, thin: f64) -> Pseudo {
        let n = n as f64;
        let all = n + extra;
        let centre = (mean * n + sum) / all;
        Pseudo {
            centre,
            variance: squares(centre) / (all * all) / thin,
            rounding: 1.0 / (12.0 * n * n),
            shrink: (n / all) * (n / all),
        }
    }
}

/// V2 of the prompts themselves: of every two seeds the covariance over what both have, or of a single seed its variance.
fn common(metrics: &[Vec<Values>], weights: &[f64], pseudo: &[Pseudo]) -> f64 {
    let seeds = metrics[0].len();
    // By prompt: what it adds to the mean, over all seeds, and the squares of what it adds to each.
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for s in 0..seeds {
        let mut added: BTreeMap<&str, f64> = BTreeMap::new();
        for ((metric, pseudo), weight) in metrics.iter().zip(pseudo).zip(weights) {
            let values = &metric[s];
            let n = values.len() as f64;
            let mean = values.values().sum::<f64>() / n;
            // One prompt shows no spread.
            let scale = (n / (n - 1.0).max(1.0) * pseudo.shrink).sqrt() * weight / n;
            for (prompt, value) in values {
                *added.entry(prompt).or_default() += (value - mean) * scale;
            }
        }
        for (prompt, u) in added {
            let sum = sums.entry(prompt).or_default();
            sum.0 += u;
            sum.1 += u * u;
        }
    }
    match seeds {
        1 => sums.values().map(|s| s.1).sum(),
        _ => {
            let between: f64 = sums
                .values()
                .map(|(sum, squares)| sum * sum - squares)
                .sum();
            between / (seeds * (seeds - 1)) as f64
        }
    }
}

impl Estimate {
    /// At level 1 - `alpha`, within what the mean can be; none where nothing varies and nothing is known of what could.
    pub fn interval(&self, alpha: f64) -> Option<(f64, f64)> {
        let half = self.half(alpha)?;
        let (low, high) = (self.centre - half, self.centre + half);
        // The pseudo-prompts move the centre by less than they widen; rounding may not.
        let (low, high) = (low.min(self.value), high.max(self.value));
        Some(self.range.within((low, high)))
    }

    fn half(&self, alpha: f64) -> Option<f64> {
        let half = self.half_at(alpha, self.seeds)?;
        (half > 0.0).then_some(half)
    }

    fn half_at(&self, alpha: f64, seeds: usize) -> Option<f64> {
        let Some(between) = self.between else {
            let freedom = self.prompts.saturating_sub(1).max(1);
            return Some(stats::student(alpha, freedom) * self.common.sqrt());
        };
        let imagined = Imagined::new(between, alpha, seeds)?;
        Some(imagined.half(self.common))
    }

    fn error_at(&self, seeds: usize) -> f64 {
        (self.between.unwrap_or_default() / seeds as f64 + self.common).sqrt()
    }

    /// √(V1 + V2).
    pub fn error(&self) -> f64 {
        self.error_at(self.seeds)
    }

    /// Two-sided, of the mean being `bound`: the α at which the interval ends there. None where there is no interval.
    pub fn p(&self, bound: f64) -> Option<f64> {
        self.half(ALPHA)?;
        let distance = (self.centre - bound).abs();
        let outside = |alpha: f64| self.half(alpha).is_some_and(|half| half < distance);
        if distance == 0.0 || !outside(1.0 - SMALLEST) {
            return Some(1.0);
        }
        let (mut low, mut high) = (SMALLEST.ln(), 0.0_f64);
        if outside(SMALLEST) {
            return Some(SMALLEST);
        }
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            match outside(middle.exp()) {
                true => high = middle,
                false => low = middle,
            }
        }
        Some(high.exp())
    }

    /// Whether the mean is above, below, or not told from a bound.
    pub fn side(&self, bound: f64) -> std::cmp::Ordering {
        self.centre.total_cmp(&bound)
    }

    /// The difference from a bound that this many seeds and prompts settle with a power of 80 %.
    pub fn detectable(&self, alpha: f64) -> Option<f64> {
        Some(self.half(alpha)? + power() * self.error())
    }

    /// How many seeds settle, with a power of 80 %, on which side of the nearest of these bounds the mean is, if it is where
    /// it seems to be. None of a single seed, which says nothing of others.
    pub fn enough(&self, bounds: &[f64], alpha: f64, most: usize) -> Option<Enough> {
        self.between?;
        // Where nothing varies, there is no noise to set a difference against.
        if self.half(alpha).is_none() {
            return Some(Enough::Nothing);
        }
        let gaps = bounds.iter().map(|b| (self.centre - b).abs());
        let gap = gaps.fold(f64::INFINITY, f64::min);
        let enough = |seeds: usize| {
            let half = self.half_at(alpha, seeds).unwrap_or(f64::INFINITY);
            gap >= half + power() * self.error_at(seeds)
        };
        if let Some(seeds) = (self.seeds + 1..=most).find(|s| enough(*s)) {
            return Some(Enough::Seeds(seeds));
        }
        Some(
            self.prompts_for(gap, alpha, most)
                .unwrap_or(Enough::Nothing),
        )
    }

    /// What no seed averages away shrinks with more prompts; the seeds' own noise, with the t of so many, has to be small enough beside it.
    /// Of all numbers of seeds the one that takes fewest answers.
    fn prompts_for(&self, gap: f64, alpha: f64, most: usize) -> Option<Enough> {
        let between = self.between?;
        let fewest = |seeds: usize| {
            let imagined = Imagined::new(between, alpha, seeds)?;
            let mut steps = (1..).map(|k| STEP.powi(k)).take_while(|t| *t < MOST_TIMES);
            let settles = |times: &f64| {
                let common = self.common / times;
                gap >= imagined.half(common) + power() * (imagined.own + common).sqrt()
            };
            let prompts = steps.find(settles)? * self.prompts as f64;
            Some((prompts.ceil() as usize, seeds))
        };
        let all = (self.seeds..=most).filter_map(fewest);
        let (prompts, seeds) = all.min_by_key(|(prompts, seeds)| prompts * seeds)?;
        (prompts > 0).then_some(Enough::Prompts { prompts, seeds })
    }

    /// Of two estimates over the same seeds: how far their means over seeds go together, from -1 to 1, of all their noise.
    /// None below three seeds.
    pub fn correlation(&self, other: &Estimate) -> Option<f64> {
        let n = self.each.len();
        if n < 3 || other.each.len() != n {
            return None;
        }
        let pairs = self.each.iter().zip(&other.each);
        let products = pairs.map(|(a, b)| (a - self.value) * (b - other.value));
        let covariance = products.sum::<f64>() / ((n - 1) * n) as f64;
        let noise = self.error() * other.error();
        (noise > 0.0).then(|| (covariance / noise).clamp(-1.0, 1.0))
    }
}

/// So many seeds with the spread of those that there are.
struct Imagined {
    /// V1.
    own: f64,
    freedom: usize,
    t: f64,
    z: f64,
}

impl Imagined {
    /// None of fewer than two.
    fn new(between: f64, alpha: f64, seeds: usize) -> Option<Imagined> {
        let freedom = seeds.checked_sub(1).filter(|k| *k > 0)?;
        Some(Imagined {
            own: between / seeds as f64,
            freedom,
            t: stats::student(alpha, freedom),
            z: stats::normal(alpha),
        })
    }

    /// h, where the prompts leave the variance `common`.
    fn half(&self, common: f64) -> f64 {
        let weight = match self.own + common > 0.0 {
            true => {
                let a = if self.freedom == 1 { 0.12 } else { 0.2 };
                let b = (4.5 / self.freedom as f64).min(2.0);
                // x / (x + a) without dividing by V2, which may be nothing.
                (self.own / (self.own + a * common)).powf(b)
            }
            false => 0.0,
        };
        (self.z * self.z * common + self.t * self.t * self.own * weight).sqrt()
    }
}

/// How finely numbers of prompts are tried: no one wants to know it better.
const STEP: f64 = 1.02;

/// More prompts than so many times those there are is no advice.
const MOST_TIMES: f64 = 100.0;

/// The quantile of the normal distribution that belongs to `POWER`.
fn power() -> f64 {
    stats::normal(2.0 * (1.0 - POWER))
}

/// p of the smallest of two p that came out of estimates with this correlation: how often the smaller of two is as small as this one if
/// neither says anything. With a correlation that few seeds tell, less of it is believed.
pub fn either(p: f64, correlation: Option<f64>, seeds: usize) -> f64 {
    let believed = correlation.map_or(0.0, |r| r * (seeds.saturating_sub(2)) as f64 / seeds as f64);
    let z = stats::normal(p);
    1.0 - stats::normal_square(z, believed)
}

/// Holm (1979): by p, what each comes to when all are asked at once.
pub fn holm(all: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|a, b| all[*a].total_cmp(&all[*b]));
    let mut out = vec![0.0; all.len()];
    let mut highest = 0.0_f64;
    for (rank, i) in order.into_iter().enumerate() {
        highest = highest.max((all[i] * (all.len() - rank) as f64).min(1.0));
        out[i] = highest;
    }
    out
}
