//! The terms of a token's loss, each with its slope: the clipped policy term, the KL estimators, and what cuts them.

use super::options::{Kl, Options};

/// A number cut to +- a bound; `slope` is 0 where the bound holds it.
pub(super) struct Clamped {
    pub value: f64,
    pub slope: f64,
}

impl Clamped {
    pub fn new(x: f64, bound: Option<f64>) -> Clamped {
        match bound {
            Some(bound) if x.abs() > bound => Clamped {
                value: bound.copysign(x),
                slope: 0.0,
            },
            _ => Clamped {
                value: x,
                slope: 1.0,
            },
        }
    }
}

/// A loss term and its slope.
pub(super) struct Term {
    pub value: f64,
    pub slope: f64,
    pub clamped: bool,
}

/// The policy term and its slope by the ratio.
pub(super) fn policy_term(options: &Options, ratio: f64, advantage: f64) -> Term {
    let (bound, own) = match options.delta {
        Some(delta) if ratio > delta => (delta, 0.0),
        _ => (ratio, 1.0),
    };
    let clipped = ratio.clamp(1.0 - options.clip_low, 1.0 + options.clip_high);
    let (free, cut) = (bound * advantage, clipped * advantage);
    let inside = f64::from(u8::from(clipped == ratio));
    let (mut gain, mut slope) = if free <= cut {
        (free, own * advantage)
    } else {
        (cut, inside * advantage)
    };
    if let Some(dual) = options.dual_clip
        && advantage < 0.0
        && gain < dual * advantage
    {
        (gain, slope) = (dual * advantage, 0.0);
    }
    Term {
        value: -gain,
        slope: -slope,
        clamped: false,
    }
}

/// The KL of a row to the reference by the options' estimator, summed over its tokens: what is taken off a reward.
pub fn kl_sum(options: &Options, logp: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(logp.len(), reference.len(), "one number per token");
    let tokens = logp.iter().zip(reference);
    tokens.map(|(&l, &r)| kl_of(options, l, r).value).sum()
}

/// The KL term and its slope by logp.
pub(super) fn kl_of(options: &Options, logp: f32, reference: f32) -> Term {
    let d = Clamped::new(f64::from(reference) - f64::from(logp), options.log_clamp);
    let (value, slope) = match options.kl {
        Kl::K1 => (-d.value, 1.0),
        Kl::K2 => (d.value * d.value / 2.0, -d.value),
        Kl::K3 => (d.value.exp_m1() - d.value, -d.value.exp_m1()),
    };
    let cut = Clamped::new(value, options.kl_clamp);
    Term {
        value: cut.value,
        slope: slope * d.slope * cut.slope,
        clamped: d.slope * cut.slope == 0.0,
    }
}
