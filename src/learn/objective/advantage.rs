//! Advantages of grouped samples: reward minus the mean of its group, over a standard deviation (Shao et al. 2024).

use anyhow::{Result, ensure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Over the standard deviation of the own group.
    Group,
    /// Over that of all rewards.
    Batch,
    /// Not divided (Dr. GRPO, Liu et al. 2025).
    None,
}

/// One advantage per reward; rewards lie group by group. Standard deviations are unbiased (n - 1). A group whose
/// rewards are equal gets exactly 0; a reward of None (unscorable) takes no part and gets 0.
///
/// Errors: groups of one sample, rewards that fill no whole groups, a reward that is not finite.
pub fn advantages(
    rewards: &[Option<f64>],
    group: usize,
    scale: Scale,
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
        let mut known = rewards.iter().flatten();
        let first = known.next();
        let flat = known.all(|r| Some(r) == first);
        let divisor = match scale {
            Scale::Group => own + eps,
            Scale::Batch => all + eps,
            Scale::None => 1.0,
        };
        out.extend(rewards.iter().map(|reward| match reward {
            Some(r) if !flat => ((r - mean) / divisor) as f32,
            _ => 0.0,
        }));
    }
    Ok(out)
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
