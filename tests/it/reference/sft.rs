//! The supervised loss with every parameter's gradient against TRL, and steps of AdamW against torch.

use super::{Golden, Gradients, Parity, pack};
use crate::study::reference;
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::objective::sft;
use pipe::learn::optim::{self, AdamW, Moments};
use pipe::learn::weights::Role;
use serde_json::Value;

/// The SFT batch packed: ids, bounds, scored tokens.
pub fn sft_batch(golden: &Golden) -> (Vec<u32>, Vec<usize>, Vec<usize>) {
    let width = golden.shape("ids")[1];
    let (ids, starts) = pack(golden.get("ids"), golden.get("attention_mask"), width);
    let (mask, _) = pack(golden.get("loss_mask"), golden.get("attention_mask"), width);
    let scored = (0..ids.len()).filter(|&i| mask[i] == 1).collect();
    (ids, starts, scored)
}

#[test]
fn supervised_loss_and_every_gradient_agree_with_trl() {
    let Some(folder) = reference(&["losses/sft.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/sft"));
    let weights = checkpoint::load(&folder.join("models/qwen2")).expect("a checkpoint");
    let (ids, starts, scored) = sft_batch(&golden);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let mut workspace = Workspace::new();
    let tape = decoder::forward(&weights, batch, &scored, 1.0, &mut workspace);
    let outcome = sft::sft(&tape.logp, &tape.entropy, &tape.greedy_hit, scored.len());
    let expected = golden.json["loss"].as_f64().expect("a loss");
    let mut loss = Parity::new("SFT: loss", 2e-5);
    loss.check((outcome.loss / expected - 1.0).abs(), "sft");
    let mut grads = vec![0.0; weights.layout.len()];
    backward(
        &weights,
        &tape,
        &outcome.dlogp,
        None,
        &mut grads,
        &mut workspace,
    );
    let mut gradients = Gradients::new("SFT");
    gradients.check(&weights.layout.params, &grads, &golden, "sft");
    loss.report();
    gradients.report();
}

#[test]
fn five_steps_of_adamw_agree_with_torch() {
    let Some(folder) = reference(&["losses/sft.json", "losses/adamw.json"]) else {
        return;
    };
    let sft = Golden::open(&folder.join("losses/sft"));
    let golden = Golden::open(&folder.join("losses/adamw"));
    let start = checkpoint::load(&folder.join("models/qwen2")).expect("a checkpoint");
    let (ids, starts, scored) = sft_batch(&sft);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let mut losses = Parity::new("AdamW: loss of every step", 1e-5);
    let mut norms = Parity::new("AdamW: gradient norm of every step", 1e-4);
    let mut lengths = Parity::new("AdamW: l2 of the weights", 1e-4);
    let mut ways = Parity::new("AdamW: l2 of what moved", 3e-3);
    let mut probes = Parity::new("AdamW: probe of what moved", 1e-2);
    let off = |a: f64, b: f64| (a / b - 1.0).abs();
    let number = |value: &Value| value.as_f64().expect("a number");
    let json = &golden.json;
    for (name, case) in json["cases"].as_object().expect("cases") {
        let mut weights = start.clone();
        let mut moments = Moments::zeros(weights.layout.len());
        let rule = AdamW {
            beta1: number(&json["betas"][0]),
            beta2: number(&json["betas"][1]),
            eps: number(&json["eps"]),
            decay: number(&json["weight_decay"]),
            no_decay: match case["no_decay"].as_array().expect("a list").is_empty() {
                true => vec![],
                false => vec![Role::Norm, Role::Bias],
            },
        };
        let mut workspace = Workspace::new();
        let mut grads = vec![0.0; weights.layout.len()];
        let mut last_loss = 0.0;
        let steps = case["steps"].as_array().expect("steps");
        for step in steps.iter().map(Some).chain([None]) {
            let tape = decoder::forward(&weights, batch, &scored, 1.0, &mut workspace);
            let outcome = sft::sft(&tape.logp, &tape.entropy, &tape.greedy_hit, scored.len());
            last_loss = outcome.loss;
            let Some(step) = step else { break };
            losses.check(off(outcome.loss, number(&step["loss"])), name);
            grads.fill(0.0);
            backward(
                &weights,
                &tape,
                &outcome.dlogp,
                None,
                &mut grads,
                &mut workspace,
            );
            let norm = optim::clip(&mut grads, number(&json["clip"]));
            norms.check(off(norm, number(&step["grad_norm"])), name);
            rule.update(&mut weights, &grads, &mut moments, number(&step["lr"]));
            tape.recycle(&mut workspace);
        }
        losses.check(off(last_loss, number(&case["loss_after"])), name);
        for (i, param) in json["params"].as_array().expect("names").iter().enumerate() {
            let param = param.as_str().expect("a name");
            let range = weights.layout.param(param).expect(param).range.clone();
            let (w, w0) = (&weights.data[range.clone()], &start.data[range]);
            let at = |kind: &str| golden.get(&format!("{name}.{kind}"))[i];
            let l2 = w.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            lengths.check(off(l2, at("l2")), param);
            let moved: Vec<f64> = w
                .iter()
                .zip(w0)
                .map(|(&a, &b)| f64::from(a) - f64::from(b))
                .collect();
            let moved_l2 = moved.iter().map(|x| x * x).sum::<f64>().sqrt();
            ways.check(off(moved_l2, at("moved_l2")), param);
            let probe: f64 = moved
                .iter()
                .enumerate()
                .map(|(i, x)| x * (i as f64).cos())
                .sum();
            let off = (probe - at("moved_probe")).abs() / at("moved_l2");
            probes.check(off, &format!("{name} {param}"));
        }
    }
    for parity in [losses, norms, lengths, ways, probes] {
        parity.report();
    }
}
