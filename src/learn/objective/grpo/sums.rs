//! What GRPO counts as micro-batches pass, under TRL's names: clips, KL, entropy, and how far the sampler is from the trainer.

/// Sums over tokens and rows; those of micro-batches add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    pub tokens: usize,
    pub entropy: f64,
    /// The KL term before `beta`; None without a reference.
    pub kl: Option<f64>,
    /// Tokens where a clamp of the log-ratio or the KL term stopped the gradient.
    pub clamped: usize,
    pub ratio: f64,
    /// Clip counts and what they are counted over (tokens, or rows for `Ratio::Sequence`).
    pub counted: usize,
    pub low: usize,
    pub high: usize,
    /// Smallest low and largest high fraction of a row that has tokens.
    pub low_min: Option<f64>,
    pub high_max: Option<f64>,
    pub mismatch: Option<Mismatch>,
}

/// How far the trainer's log-probabilities, at the weights that sampled, are from those the sampler reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mismatch {
    pub tokens: usize,
    /// Of |trainer - sampler|.
    pub difference: f64,
    pub difference_max: f64,
    /// Of exp(trainer - sampler).
    pub ratio: f64,
    pub ratio_min: f64,
    pub ratio_max: f64,
    /// Of exp |trainer - sampler| (NeMo-RL's token_mult_prob_error).
    pub factor: f64,
    /// Of k3 with d = sampler - trainer (NeMo-RL's gen_kl_error).
    pub kl: f64,
}

impl Mismatch {
    pub(super) fn token(trainer: f32, sampler: f32) -> Mismatch {
        let gap = f64::from(trainer) - f64::from(sampler);
        Mismatch {
            tokens: 1,
            difference: gap.abs(),
            difference_max: gap.abs(),
            ratio: gap.exp(),
            ratio_min: gap.exp(),
            ratio_max: gap.exp(),
            factor: gap.abs().exp(),
            kl: (-gap).exp_m1() + gap,
        }
    }

    pub(super) fn and(self, other: Mismatch) -> Mismatch {
        Mismatch {
            tokens: self.tokens + other.tokens,
            difference: self.difference + other.difference,
            difference_max: self.difference_max.max(other.difference_max),
            ratio: self.ratio + other.ratio,
            ratio_min: self.ratio_min.min(other.ratio_min),
            ratio_max: self.ratio_max.max(other.ratio_max),
            factor: self.factor + other.factor,
            kl: self.kl + other.kl,
        }
    }

    fn named(&self) -> [(&'static str, f64); 7] {
        let n = self.tokens as f64;
        [
            (
                "sampling/sampling_logp_difference/mean",
                self.difference / n,
            ),
            ("sampling/sampling_logp_difference/max", self.difference_max),
            ("sampling/importance_sampling_ratio/min", self.ratio_min),
            ("sampling/importance_sampling_ratio/mean", self.ratio / n),
            ("sampling/importance_sampling_ratio/max", self.ratio_max),
            ("sampling/token_mult_prob_error", self.factor / n),
            ("sampling/gen_kl_error", self.kl / n),
        ]
    }
}

impl Sums {
    pub fn merge(&mut self, other: &Sums) {
        let both = |a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        self.tokens += other.tokens;
        self.entropy += other.entropy;
        self.kl = both(self.kl, other.kl, |a, b| a + b);
        self.clamped += other.clamped;
        self.ratio += other.ratio;
        self.counted += other.counted;
        self.low += other.low;
        self.high += other.high;
        self.low_min = both(self.low_min, other.low_min, f64::min);
        self.high_max = both(self.high_max, other.high_max, f64::max);
        self.mismatch = match (self.mismatch, other.mismatch) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
    }

    /// Means under TRL's names (and `ratio/mean`, `clamped`); empty without tokens.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        if self.tokens == 0 {
            return Vec::new();
        }
        let (tokens, counted) = (self.tokens as f64, self.counted as f64);
        let mut list = vec![
            ("entropy", self.entropy / tokens),
            ("ratio/mean", self.ratio / tokens),
            ("clamped", self.clamped as f64 / tokens),
            ("clip_ratio/low_mean", self.low as f64 / counted),
            ("clip_ratio/high_mean", self.high as f64 / counted),
            (
                "clip_ratio/region_mean",
                (self.low + self.high) as f64 / counted,
            ),
            ("clip_ratio/low_min", self.low_min.unwrap_or(0.0)),
            ("clip_ratio/high_max", self.high_max.unwrap_or(0.0)),
        ];
        if let Some(kl) = self.kl {
            list.push(("kl", kl / tokens));
        }
        list.extend(self.mismatch.iter().flat_map(Mismatch::named));
        list
    }

    /// A row's clip counts.
    pub(super) fn count(&mut self, low: usize, high: usize, counted: usize) {
        self.low += low;
        self.high += high;
        self.counted += counted;
        let (low, high) = (low as f64 / counted as f64, high as f64 / counted as f64);
        self.low_min = Some(self.low_min.map_or(low, |least| least.min(low)));
        self.high_max = Some(self.high_max.map_or(high, |most| most.max(high)));
    }
}
