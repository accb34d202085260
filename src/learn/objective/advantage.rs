//! Advantages of grouped samples: reward minus the mean of its group, over a standard deviation (GRPO, Shao et al. 2024,
//! section 4.1.2), or minus the mean of the others (RLOO, Ahmadian et al. 2024, eq. 8).
//!
//! Departures: standard deviations are unbiased, as in TRL and verl; what is unscorable takes no part, where TRL counts it
//! as a reward of NaN in sums that skip it.

use anyhow::{Result, ensure};
use base::choice;

choice! {
    /// How a reward becomes an advantage.
    pub enum Advantage {
        /// Over the standard deviation of the own group.
        Group = "group",
        /// Over that of all rewards.
        Batch = "batch",
        /// Not divided (Dr. GRPO, Liu et al. 2025).
        None = "none",
        /// Not divided, and the mean is that of the other samples: n / (n - 1) times the advantage against the whole mean.
        Rloo = "rloo",
    }
}

/// One advantage per reward; rewards lie group by group. A group whose rewards are equal, or of which only one is known,
/// gets exactly 0; a reward of None (unscorable) takes no part in any mean and gets 0.
///
/// Errors: groups of one sample, rewards that fill no whole groups, a reward that is not finite.
pub fn advantages(
    rewards: &[Option<f64>],
    group: usize,
    how: Advantage,
    eps: f64,
) -> Result<Vec<f32>> {
    ensure!(
        group >= 2,
        "an advantage needs groups of two samples or more"
    );
    ensure!(
        rewards.len().is_multiple_of(group),
        "{} rewards do not fill groups of {group}",
        rewards.len()
    );
    ensure!(
        rewards.iter().flatten().all(|r| r.is_finite()),
        "a reward is not finite"
    );
    let (_, all) = moments(rewards);
    let mut out = Vec::with_capacity(rewards.len());
    for rewards in rewards.chunks_exact(group) {
        let (mean, own) = moments(rewards);
        let flat = flat(rewards);
        let known = rewards.iter().flatten().count() as f64;
        let divisor = match how {
            Advantage::Group => own + eps,
            Advantage::Batch => all + eps,
            Advantage::None => 1.0,
            Advantage::Rloo => (known - 1.0) / known,
        };
        out.extend(rewards.iter().map(|reward| match reward {
            Some(r) if !flat => ((r - mean) / divisor) as f32,
            _ => 0.0,
        }));
    }
    Ok(out)
}

/// Whether the known rewards of a group are all the same, so that it teaches nothing.
pub fn flat(rewards: &[Option<f64>]) -> bool {
    let mut known = rewards.iter().flatten();
    let first = known.next();
    known.all(|reward| Some(reward) == first)
}

/// Mean and unbiased standard deviation of the known rewards; zeros where they are undefined.
fn moments(rewards: &[Option<f64>]) -> (f64, f64) {
    let known: Vec<f64> = rewards.iter().flatten().copied().collect();
    let n = known.len() as f64;
    if known.is_empty() {
        return (0.0, 0.0);
    }
    let mean = known.iter().sum::<f64>() / n;
    if known.len() == 1 {
        return (mean, 0.0);
    }
    let squares: f64 = known.iter().map(|r| (r - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}
