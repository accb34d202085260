//! Every recorded case of DPO and its kin: losses, rewards, TRL's metrics, every parameter's gradient.

use super::{Golden, Gradients, Parity, ids, worst};
use crate::study::reference;
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::objective::dpo::{self, Loss, NllMean, Options, Pairs, Totals};
use serde_json::Value;
use std::collections::BTreeMap;

/// The recorded pairs packed, chosen and rejected by turns: ids, bounds, scored tokens, bounds of those.
pub struct Batch {
    pub ids: Vec<u32>,
    pub starts: Vec<usize>,
    pub scored: Vec<usize>,
    pub bounds: Vec<usize>,
}

pub fn batch(golden: &Golden) -> Batch {
    let mut all = Batch {
        ids: vec![],
        starts: vec![0],
        scored: vec![],
        bounds: vec![0],
    };
    for row in golden.json["rows"].as_array().expect("rows") {
        for answer in ["chosen_ids", "rejected_ids"] {
            all.ids.extend(ids(&row["prompt_ids"]));
            let first = all.ids.len();
            all.ids.extend(ids(&row[answer]));
            all.scored.extend(first..all.ids.len());
            all.starts.push(all.ids.len());
            all.bounds.push(all.scored.len());
        }
    }
    all
}

pub fn options_of(name: &str, options: &Value) -> Options {
    let number = |value: &Value| value.as_f64().expect("a number");
    let words = options["loss_type"].as_array().expect("loss types");
    let smoothing = || number(&options["label_smoothing"]);
    let (loss, label_smoothing) = match words[0].as_str().expect("a word") {
        // TRL accepts a smoothing here and ignores it.
        "sigmoid" => (Loss::Sigmoid, 0.0),
        // One pair at a time, that is cDPO.
        "aot" => (Loss::Cdpo, smoothing()),
        "robust" => (Loss::Robust, smoothing()),
        "ipo" => (Loss::Ipo, 0.0),
        "sigmoid_norm" => (Loss::SigmoidNorm, 0.0),
        other => panic!("{name}: loss type {other}"),
    };
    let nll_coefficient = match words.get(1).map(|word| word.as_str().expect("a word")) {
        None => 0.0,
        Some("sft") => number(&options["loss_weights"][1]),
        Some(other) => panic!("{name}: loss type {other}"),
    };
    Options {
        loss,
        beta: number(&options["beta"]),
        label_smoothing,
        nll_coefficient,
        nll_mean: NllMean::Token,
    }
}

/// Sums over the tokens of each row.
pub fn sums(logp: &[f32], bounds: &[usize]) -> Vec<f64> {
    let sum = |b: &[usize]| logp[b[0]..b[1]].iter().map(|&x| f64::from(x)).sum();
    bounds.windows(2).map(sum).collect()
}

#[test]
fn every_recorded_preference_loss_and_gradient_agrees() {
    let Some(folder) = reference(&["losses/dpo.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/dpo"));
    let load = |name: &str| checkpoint::load(&folder.join("models").join(name)).expect("a model");
    let (weights, frozen) = (load("qwen2"), load("qwen2_ref"));
    let batch = batch(&golden);
    let packed = Packed {
        ids: &batch.ids,
        starts: &batch.starts,
    };
    let mut workspace = Workspace::new();
    let tape = decoder::forward(&weights, packed, &batch.scored, 1.0, &mut workspace);
    let scores = decoder::score(&frozen, packed, &batch.scored, 1.0, &mut workspace);
    let (live, reference) = (
        sums(&tape.logp, &batch.bounds),
        sums(&scores.logp, &batch.bounds),
    );
    let half = |list: &[f64], which: usize| -> Vec<f32> {
        list.chunks_exact(2)
            .map(|pair| pair[which] as f32)
            .collect()
    };
    let mut summed = Parity::new("DPO: summed log-probabilities", 2e-6);
    for (name, list, which) in [
        ("chosen_logps", &live, 0),
        ("rejected_logps", &live, 1),
        ("ref_chosen_logps", &reference, 0),
        ("ref_rejected_logps", &reference, 1),
    ] {
        summed.check(worst(&half(list, which), golden.get(name)), name);
    }
    let lengths: Vec<f64> = batch
        .bounds
        .windows(2)
        .map(|b| (b[1] - b[0]) as f64)
        .collect();
    for (name, which) in [("chosen_lengths", 0), ("rejected_lengths", 1)] {
        summed.check(worst(&half(&lengths, which), golden.get(name)), name);
    }

    let mut losses = Parity::new("DPO and kin: loss", 2e-5);
    let mut rewards = Parity::new("DPO and kin: rewards and margins", 1e-4);
    let mut named = Parity::new("DPO and kin: TRL's metrics", 1e-4);
    let mut gradients = Gradients::new("DPO and kin");
    for (name, case) in golden.json["cases"].as_object().expect("cases") {
        let mut options = options_of(name, &case["options"]);
        if case["one_pair_at_a_time"] == true {
            options.nll_mean = NllMean::Pair;
        }
        let pairs = live.len() / 2;
        let tokens = |row: usize| batch.bounds[row + 1] - batch.bounds[row];
        let window = Totals {
            pairs,
            chosen_tokens: (0..pairs).map(|pair| tokens(2 * pair)).sum(),
        };
        let outcome = dpo::dpo(
            &options,
            Pairs {
                starts: &batch.bounds,
                logp: &tape.logp,
                entropy: &tape.entropy,
                greedy_hit: &tape.greedy_hit,
                reference: &reference,
            },
            window,
        );
        let expected = case["loss"].as_f64().expect("a loss");
        losses.check((outcome.loss / expected - 1.0).abs(), name);
        let mut ours = [vec![], vec![], vec![], vec![]];
        for pair in 0..pairs {
            let (w, l) = (2 * pair, 2 * pair + 1);
            let both = |list: &[f64]| [list[w], list[l]];
            let one = dpo::pair(
                &options,
                both(&live),
                both(&reference),
                [tokens(w), tokens(l)],
            );
            let anchor = match options.nll_mean {
                NllMean::Pair => live[w] / tokens(w) as f64,
                NllMean::Token => {
                    (0..pairs).map(|pair| live[2 * pair]).sum::<f64>() / window.chosen_tokens as f64
                }
            };
            ours[0].push((one.loss - options.nll_coefficient * anchor) as f32);
            ours[1].push(one.rewards[0] as f32);
            ours[2].push(one.rewards[1] as f32);
            ours[3].push((one.rewards[0] - one.rewards[1]) as f32);
        }
        let tensor = |what: &str| golden.get(&format!("{name}.{what}"));
        losses.check(worst(&ours[0], tensor("losses")), name);
        let kinds = ["rewards_chosen", "rewards_rejected", "margins"];
        for (what, ours) in kinds.into_iter().zip(&ours[1..]) {
            rewards.check(worst(ours, tensor(what)), &format!("{name} {what}"));
        }
        let metrics: BTreeMap<_, _> = outcome.metrics.named().into_iter().collect();
        let accuracy = case["accuracy"].as_f64().expect("an accuracy");
        named.check((metrics["rewards/accuracies"] - accuracy).abs(), name);
        for (metric, value) in case["trl_metrics"].as_object().into_iter().flatten() {
            // The mean logit is not carried: it says nothing of a softmax, which forgets a constant.
            if metric.starts_with("logits/") {
                continue;
            }
            let value = value.as_f64().expect("a number");
            let off = (metrics[metric.as_str()] - value).abs() / value.abs().max(0.1);
            named.check(off, &format!("{name} {metric}"));
        }
        let mut grads = vec![0.0; weights.layout.len()];
        backward(
            &weights,
            &tape,
            &outcome.dlogp,
            None,
            &mut grads,
            &mut workspace,
        );
        gradients.check(&weights.layout.params, &grads, &golden, name);
    }
    for parity in [summed, losses, rewards, named] {
        parity.report();
    }
    gradients.report();
}
