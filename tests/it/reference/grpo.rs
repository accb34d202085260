//! Advantages, and every recorded case of GRPO, GSPO and the TARS release, with every parameter's gradient.

use super::{Golden, Gradients, Parity, pack, worst};
use crate::study::reference;
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Tape, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::objective::advantage::{Advantage, advantages};
use pipe::learn::objective::grpo::{self, Aggregation, Options, Ratio, Rows, Totals};
use serde_json::Value;
use std::collections::BTreeMap;

/// GRPO's batch: prompts and completions packed, completion tokens scored, row by row.
pub struct Rollouts {
    pub ids: Vec<u32>,
    pub starts: Vec<usize>,
    pub scored: Vec<usize>,
    /// Scored tokens of each row.
    pub lengths: Vec<usize>,
}

pub fn rollouts(golden: &Golden) -> Rollouts {
    let (tp, tc) = (
        golden.shape("prompt_ids")[1],
        golden.shape("completion_ids")[1],
    );
    let (prompts, prompt_starts) = pack(golden.get("prompt_ids"), golden.get("prompt_mask"), tp);
    let (answers, answer_starts) = pack(
        golden.get("completion_ids"),
        golden.get("completion_mask"),
        tc,
    );
    let mut all = Rollouts {
        ids: vec![],
        starts: vec![0],
        scored: vec![],
        lengths: vec![],
    };
    for (p, a) in prompt_starts.windows(2).zip(answer_starts.windows(2)) {
        all.ids.extend(&prompts[p[0]..p[1]]);
        let first = all.ids.len();
        all.ids.extend(&answers[a[0]..a[1]]);
        all.scored.extend(first..all.ids.len());
        all.lengths.push(all.ids.len() - first);
        all.starts.push(all.ids.len());
    }
    all
}

/// The real entries of a padded [N, T] tensor, row by row.
fn unpadded(golden: &Golden, name: &str, lengths: &[usize]) -> Vec<f32> {
    let width = golden.shape(name)[1];
    golden
        .get(name)
        .chunks_exact(width)
        .zip(lengths)
        .flat_map(|(row, &n)| row[..n].iter().map(|&x| x as f32))
        .collect()
}

fn options_of(name: &str, options: &Value) -> Options {
    let number = |key: &str| options[key].as_f64();
    if name.starts_with("verl") {
        let clip = number("clip").expect("clip");
        return Options {
            aggregation: Aggregation::TokenMeanMicroSum,
            clip_low: clip,
            clip_high: clip,
            dual_clip: number("dual_clip"),
            beta: number("kl_coef").expect("kl_coef"),
            log_clamp: Some(20.0),
            kl_clamp: Some(10.0),
            entropy: number("entropy_coef").expect("entropy_coef"),
            ..Options::default()
        };
    }
    Options {
        aggregation: match options["loss_type"].as_str().expect("a loss type") {
            "grpo" => Aggregation::SequenceMean,
            "bnpo" => Aggregation::Bnpo,
            "dapo" => Aggregation::TokenMean,
            "dr_grpo" => Aggregation::DrGrpo,
            other => panic!("loss type {other}"),
        },
        ratio: match options["importance_sampling_level"].as_str() {
            Some("sequence") => Ratio::Sequence,
            _ => Ratio::Token,
        },
        clip_low: number("epsilon").expect("epsilon"),
        clip_high: number("epsilon_high").expect("epsilon_high"),
        delta: number("delta"),
        beta: number("beta").expect("beta"),
        kl_times_ratio: options["use_bias_correction_kl"] == true,
        entropy: number("entropy_coef").unwrap_or(0.0),
        ..Options::default()
    }
}

/// One recorded case: the objective on recorded log-probabilities, micro-batch by micro-batch.
pub fn run_case(
    golden: &Golden,
    name: &str,
    case: &Value,
    lengths: &[usize],
) -> (f64, Vec<f32>, Option<Vec<f32>>, grpo::Sums) {
    let options = options_of(name, &case["options"]);
    let t = case["options"]["temperature"].as_f64().unwrap_or(1.0);
    let tensor = |kind: &str| unpadded(golden, &format!("{kind}.t{t:.1}"), lengths);
    let (logp, old) = (tensor("logps"), tensor("old_logps"));
    let (reference, entropy) = (tensor("ref_logps"), tensor("entropy"));
    let source = if name.starts_with("verl") {
        "advantages.verl"
    } else {
        "advantages.group"
    };
    let advantages = golden.floats(source);
    let masked = name.ends_with("masked_row").then_some(1);
    let parts = case["options"]["parts"].as_u64().unwrap_or(1) as usize;
    let n = lengths.len();
    let kept = |row: usize| if masked == Some(row) { 0 } else { lengths[row] };
    let window = Totals {
        rows: n,
        tokens: (0..n).map(kept).sum(),
        micro_batches: parts,
        max_length: golden.json["max_completion_length"]
            .as_u64()
            .expect("a length") as usize,
    };
    let offsets: Vec<usize> = (0..=n).map(|i| lengths[..i].iter().sum()).collect();
    let (mut loss, mut sums) = (0.0, grpo::Sums::default());
    let mut dlogp = vec![0.0; logp.len()];
    let mut dentropy: Option<Vec<f32>> = None;
    for rows in (0..n).collect::<Vec<_>>().chunks(n / parts) {
        let tokens: Vec<usize> = rows
            .iter()
            .flat_map(|&row| offsets[row]..offsets[row] + kept(row))
            .collect();
        let pick = |list: &[f32]| tokens.iter().map(|&t| list[t]).collect::<Vec<f32>>();
        let mut starts = vec![0];
        for &row in rows {
            starts.push(starts[starts.len() - 1] + kept(row));
        }
        let (logp, old) = (pick(&logp), pick(&old));
        let (reference, entropy) = (pick(&reference), pick(&entropy));
        let micro = Rows {
            starts: &starts,
            advantages: &advantages[rows[0]..rows[0] + rows.len()],
            logp: &logp,
            old: (!name.ends_with("on_policy")).then_some(&old),
            reference: (options.beta != 0.0).then_some(&reference),
            sampler: None,
            entropy: &entropy,
        };
        let outcome = grpo::grpo(&options, micro, window);
        loss += outcome.loss;
        sums.merge(&outcome.metrics);
        for (i, &t) in tokens.iter().enumerate() {
            dlogp[t] = outcome.dlogp[i];
        }
        if let Some(part) = outcome.dentropy {
            let all = dentropy.get_or_insert_with(|| vec![0.0; dlogp.len()]);
            for (i, &t) in tokens.iter().enumerate() {
                all[t] = part[i];
            }
        }
    }
    (loss, dlogp, dentropy, sums)
}

#[test]
fn every_recorded_policy_loss_and_gradient_agrees() {
    let Some(folder) = reference(&["losses/grpo.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/grpo"));
    let weights = checkpoint::load(&folder.join("models/qwen2")).expect("a checkpoint");
    let batch = rollouts(&golden);
    let mut workspace = Workspace::new();
    let mut tapes: BTreeMap<String, Tape> = BTreeMap::new();
    for temperature in ["1.0", "0.6"] {
        let packed = Packed {
            ids: &batch.ids,
            starts: &batch.starts,
        };
        let t = temperature.parse().expect("a number");
        let tape = decoder::forward(&weights, packed, &batch.scored, t, &mut workspace);
        for (name, ours) in [("logps", &tape.logp), ("entropy", &tape.entropy)] {
            let stem = format!("{name}.t{temperature}");
            let golden: Vec<f64> = unpadded(&golden, &stem, &batch.lengths)
                .into_iter()
                .map(f64::from)
                .collect();
            assert!(worst(ours, &golden) < 2e-5, "{stem}");
        }
        tapes.insert(temperature.into(), tape);
    }
    let mut losses = Parity::new("GRPO, GSPO, TARS release: loss", 5e-5);
    let mut slopes = Parity::new("GRPO, GSPO, TARS release: dL/dlogp", 1e-4);
    let mut gradients = Gradients::new("GRPO, GSPO, TARS release");
    let mut named = Parity::new("GRPO: TRL's metrics", 2e-5);
    for table in ["cases", "verl_cases"] {
        for (name, case) in golden.json[table].as_object().expect("cases") {
            let (loss, dlogp, dentropy, sums) = run_case(&golden, name, case, &batch.lengths);
            let expected = case["loss"].as_f64().expect("a loss");
            let off = (loss - expected).abs() / expected.abs().max(0.1);
            losses.check(off, name);
            let recorded: Vec<f64> =
                unpadded(&golden, &format!("{name}.dloss_dlogps"), &batch.lengths)
                    .into_iter()
                    .map(f64::from)
                    .collect();
            slopes.check(worst(&dlogp, &recorded), name);
            let ours: BTreeMap<_, _> = sums.named().into_iter().collect();
            for (metric, value) in case["trl_metrics"].as_object().into_iter().flatten() {
                if let Some(ours) = ours.get(metric.as_str()) {
                    let value = value.as_f64().expect("a number");
                    let off = (ours - value).abs() / value.abs().max(0.1);
                    named.check(off, &format!("{name} {metric}"));
                }
            }
            let t = case["options"]["temperature"].as_f64().unwrap_or(1.0);
            let tape = &tapes[&format!("{t:.1}")];
            let mut grads = vec![0.0; weights.layout.len()];
            let dentropy = dentropy.as_deref();
            backward(&weights, tape, &dlogp, dentropy, &mut grads, &mut workspace);
            gradients.check(&weights.layout.params, &grads, &golden, name);
        }
    }
    for parity in [losses, slopes, named] {
        parity.report();
    }
    gradients.report();
}

#[test]
fn advantages_agree_with_trl_and_flat_groups_get_zero() {
    let Some(folder) = reference(&["losses/grpo.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/grpo"));
    let rewards: Vec<Option<f64>> = golden.get("rewards").iter().map(|&r| Some(r)).collect();
    let group = golden.shape("rewards")[1];
    let cases = [
        ("group", Advantage::Group, 1e-4),
        ("batch", Advantage::Batch, 1e-4),
        ("none", Advantage::None, 0.0),
        ("verl", Advantage::Group, 1e-6),
    ];
    let mut parity = Parity::new("advantages", 1e-5);
    for (name, scale, eps) in cases {
        let ours = advantages(&rewards, group, scale, eps).expect("advantages");
        let off = worst(&ours, golden.get(&format!("advantages.{name}")));
        parity.check(off, name);
        let flat = rewards
            .chunks(group)
            .position(|g| g.iter().all(|r| r == &g[0]))
            .expect("a flat group is recorded");
        assert!(
            ours[flat * group..(flat + 1) * group]
                .iter()
                .all(|&a| a == 0.0)
        );
    }
    parity.report();
}
