//! What a step of GRPO measures of its rollouts, under TRL's names where TRL has one. No times: a curve has the same bytes
//! whenever it is made.

use base::rows::PromptClass;
use base::stats;
use learn::batch::Row;
use learn::guard::Gap;
use learn::objective::advantage;
use std::collections::BTreeMap;

/// A rollout with what came of it.
pub(crate) struct Rollout {
    pub class: PromptClass,
    pub row: Row,
    /// The sampler's log-probability of each token.
    pub sampler: Vec<f32>,
    pub finished: bool,
    /// None: it has no score, or none that counts.
    pub reward: Option<f64>,
    /// A scorer had no score for it.
    pub unscorable: bool,
    /// What the KL to the reference takes off the reward, and the reference's log-probability of each token; where it does.
    pub kl_penalty: Option<f64>,
    pub reference: Vec<f32>,
    pub scores: BTreeMap<&'static str, f64>,
}

/// `group` rollouts a prompt, one prompt after another; `compared` are the values that advantages compare, in this order.
pub fn metrics(rollouts: &[Rollout], compared: &[Option<f64>], group: usize) -> Vec<(String, f64)> {
    let mut out: Vec<(String, f64)> = vec![];
    let mut put = |name: &str, value: f64| out.push((name.to_string(), value));
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let mean = |values: &[f64]| stats::mean(values).unwrap_or(0.0);
    let sd = |values: &[f64]| stats::sd(values).unwrap_or(0.0);

    // Where nothing has a reward there is no mean, and it is not 0.
    let rewards: Vec<f64> = rollouts.iter().filter_map(|r| r.reward).collect();
    if !rewards.is_empty() {
        put("reward", mean(&rewards));
        put("reward_std", sd(&rewards));
    }
    let flat = compared.chunks(group).filter(|g| advantage::flat(g));
    put(
        "frac_reward_zero_std",
        share(flat.count(), compared.len() / group),
    );
    let unscorable = rollouts.iter().filter(|r| r.unscorable).count();
    put("frac_unscorable", share(unscorable, rollouts.len()));
    let trained = rollouts.iter().filter(|r| r.row.scored() > 0).count();
    put("frac_trained", share(trained, rollouts.len()));
    if rollouts.iter().any(|r| r.kl_penalty.is_some()) {
        let penalties: Vec<f64> = rollouts.iter().filter_map(|r| r.kl_penalty).collect();
        put("reward_kl_penalty", mean(&penalties));
    }

    let tokens: usize = rollouts.iter().map(|r| r.row.ids.len()).sum();
    put("num_tokens", tokens as f64);
    let lengths = |wanted: &dyn Fn(&Rollout) -> bool| -> Vec<f64> {
        let wanted = rollouts.iter().filter(|r| wanted(r));
        wanted.map(|r| r.sampler.len() as f64).collect()
    };
    let all = lengths(&|_| true);
    let ended = lengths(&|r| r.finished);
    // As TRL: 0 where no rollout ended.
    for (kind, lengths) in [("length", &all), ("terminated_length", &ended)] {
        let least = lengths.iter().copied().reduce(f64::min).unwrap_or(0.0);
        put(&format!("completions/mean_{kind}"), mean(lengths));
        put(&format!("completions/min_{kind}"), least);
        let most = lengths.iter().copied().fold(0.0, f64::max);
        put(&format!("completions/max_{kind}"), most);
    }
    let cut = rollouts.len() - ended.len();
    put("completions/clipped_ratio", share(cut, rollouts.len()));

    for class in PromptClass::ALL {
        let of_class: Vec<f64> = rollouts
            .iter()
            .filter(|r| r.class == class)
            .filter_map(|r| r.reward)
            .collect();
        if !of_class.is_empty() {
            put(&format!("reward/{}", class.word()), mean(&of_class));
        }
    }
    let mut by_scorer: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, score) in rollouts.iter().flat_map(|r| &r.scores) {
        by_scorer.entry(name).or_default().push(*score);
    }
    for (name, scores) in &by_scorer {
        put(&format!("rewards/{name}/mean"), mean(scores));
        put(&format!("rewards/{name}/std"), sd(scores));
    }
    out
}

/// How far a server's log-probabilities are from ours, under TRL's names.
pub fn of_gap(gap: &Gap) -> Vec<(String, f64)> {
    let mut out = vec![
        ("sampling/sampling_logp_difference/mean".into(), gap.mean),
        ("sampling/sampling_logp_difference/max".into(), gap.max),
    ];
    if let Some((_, start)) = gap.probe {
        out.push(("sampling/start_logp_difference/mean".into(), start));
    }
    out
}
