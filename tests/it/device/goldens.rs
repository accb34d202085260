//! What PEFT, TRL and the authors' releases computed, against the passes of a device: adapters, preferences, policies, hidden
//! states, a score head.

use super::devices;
use crate::reference::{Golden, Gradients, Parity, dpo, grpo, lora, pack, rerouting, sft, worst};
use crate::study::reference;
use candle_core::{Device, Tensor};
use pipe::learn::checkpoint;
use pipe::learn::decoder::{Keep, Packed};
use pipe::learn::decoder_backward::Upstream;
use pipe::learn::device::{self, DeviceAdapter, DeviceWeights, Net, Parts, Workspace};
use pipe::learn::objective::dpo::{NllMean, Pairs, Totals};
use pipe::learn::objective::rerouting::{Divisor, StateObjective, States, coefficients};
use pipe::learn::peft;
use std::path::Path;

/// A model on a device.
struct There {
    weights: DeviceWeights,
    adapter: Option<DeviceAdapter>,
    workspace: Workspace,
}

impl There {
    fn new(folder: &Path, model: &str, adapter: Option<&str>, device: &Device) -> There {
        let weights = checkpoint::load(&folder.join("models").join(model)).expect("a checkpoint");
        let adapter = adapter.map(|name| {
            let folder = folder.join("models").join(name);
            let adapter = peft::load(&folder, &weights.config).expect("an adapter");
            DeviceAdapter::upload(&adapter, device).expect("uploaded")
        });
        There {
            weights: DeviceWeights::upload(&weights, device).expect("uploaded"),
            adapter,
            workspace: Workspace::default(),
        }
    }

    fn net(&self) -> Net<'_> {
        Net {
            weights: &self.weights,
            adapter: self.adapter.as_ref(),
        }
    }

    fn zeros(&self, device: &Device) -> Parts {
        let parts = self.adapter.as_ref().map(|adapter| &adapter.parts);
        let zeros = parts.unwrap_or(&self.weights.parts).zeros(device);
        zeros.expect("zeros")
    }
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().expect("numbers")
}

#[test]
pub fn an_adapter_has_the_logits_and_gradients_of_peft_on_a_device() {
    let Some(folder) = reference(&["lora.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("lora"));
    let (_, adapter) = lora::load(&folder);
    let width = golden.shape("ids")[1];
    let (ids, starts) = pack(golden.get("ids"), &vec![1.0; width], width);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let all: Vec<usize> = (0..ids.len()).collect();
    let (tids, tstarts, scored) = sft::sft_batch(&Golden::open(&folder.join("losses/sft")));
    let training = Packed {
        ids: &tids,
        starts: &tstarts,
    };
    for (name, device) in devices() {
        let mut there = There::new(&folder, "qwen2", Some("lora"), &device);
        let mut workspace = std::mem::take(&mut there.workspace);
        let mut parity = Parity::new(&format!("LoRA on {name}: logits"), 2e-5);
        for (net, recorded) in [
            (there.net(), "logits_adapter"),
            (there.net().frozen(), "logits_base"),
        ] {
            let logits = device::decoder::logits_at(net, batch, &all, &mut workspace);
            let logits = flat(&logits.expect("computed"));
            parity.check(worst(&logits, golden.get(recorded)), recorded);
        }
        parity.report();
        let slope = vec![-1.0 / scored.len() as f32; scored.len()];
        let upstream = Upstream {
            dlogp: &slope,
            ..Upstream::default()
        };
        for keep in [Keep::All, Keep::States] {
            let net = there.net();
            let tape = device::decoder::forward(net, training, &scored, 1.0, keep, &mut workspace);
            let tape = tape.expect("computed");
            let mut grads = there.zeros(&device);
            device::backward::backward(net, &tape, upstream, &mut grads).expect("computed");
            let sum: f64 = tape.scores.logp.iter().map(|&x| f64::from(x)).sum();
            let expected = golden.json["sft_loss"].as_f64().expect("a loss");
            let mut loss = Parity::new(&format!("LoRA on {name}: SFT loss"), 2e-5);
            loss.check((-sum / scored.len() as f64 / expected - 1.0).abs(), "sft");
            loss.report();
            let mut gradients = Gradients::new(&format!("LoRA on {name}, {keep:?}"));
            let grads = grads.download().expect("numbers");
            gradients.check(&adapter.params, &grads, &golden, "sft");
            gradients.report();
        }
    }
}

#[test]
fn preference_losses_and_gradients_agree_with_trl_on_a_device() {
    let Some(folder) = reference(&["losses/dpo.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/dpo"));
    let batch = dpo::batch(&golden);
    let packed = Packed {
        ids: &batch.ids,
        starts: &batch.starts,
    };
    for (name, device) in devices() {
        let there = There::new(&folder, "qwen2", None, &device);
        let frozen = There::new(&folder, "qwen2_ref", None, &device);
        let mut workspace = Workspace::default();
        let (scored, keep) = (&batch.scored, Keep::All);
        let scores = device::decoder::score(&frozen.weights, packed, scored, 1.0, &mut workspace);
        let reference = dpo::sums(&scores.expect("computed").logp, &batch.bounds);
        let tape =
            device::decoder::forward(&there.weights, packed, scored, 1.0, keep, &mut workspace);
        let tape = tape.expect("computed");
        let mut losses = Parity::new(&format!("DPO on {name}: loss"), 2e-5);
        let mut gradients = Gradients::new(&format!("DPO on {name}"));
        let layout = there.weights.layout();
        for (case, recorded) in golden.json["cases"].as_object().expect("cases") {
            let mut options = dpo::options_of(case, &recorded["options"]);
            if recorded["one_pair_at_a_time"] == true {
                options.nll_mean = NllMean::Pair;
            }
            let pairs = reference.len() / 2;
            let tokens = |row: usize| batch.bounds[row + 1] - batch.bounds[row];
            let window = Totals {
                pairs,
                chosen_tokens: (0..pairs).map(|pair| tokens(2 * pair)).sum(),
            };
            let of = Pairs {
                starts: &batch.bounds,
                logp: &tape.scores.logp,
                entropy: &tape.scores.entropy,
                greedy_hit: &tape.scores.greedy_hit,
                reference: &reference,
            };
            let outcome = pipe::learn::objective::dpo::dpo(&options, of, window);
            let expected = recorded["loss"].as_f64().expect("a loss");
            losses.check((outcome.loss / expected - 1.0).abs(), case);
            let upstream = Upstream {
                dlogp: &outcome.dlogp,
                ..Upstream::default()
            };
            let mut grads = there.zeros(&device);
            let done = device::backward::backward(&there.weights, &tape, upstream, &mut grads);
            done.expect("computed");
            let grads = grads.download().expect("numbers");
            gradients.check(&layout.params, &grads, &golden, case);
        }
        losses.report();
        gradients.report();
    }
}

#[test]
fn gradients_of_policies_agree_with_trl_on_a_device() {
    let Some(folder) = reference(&["losses/grpo.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/grpo"));
    let batch = grpo::rollouts(&golden);
    let packed = Packed {
        ids: &batch.ids,
        starts: &batch.starts,
    };
    for (name, device) in devices() {
        let there = There::new(&folder, "qwen2", None, &device);
        let mut workspace = Workspace::default();
        let mut tape = |t: f32| {
            let (net, scored) = (there.net(), &batch.scored);
            device::decoder::forward(net, packed, scored, t, Keep::States, &mut workspace)
                .expect("computed")
        };
        let (plain, sharp) = (tape(1.0), tape(0.6));
        let mut gradients = Gradients::new(&format!("GRPO, GSPO, TARS release on {name}"));
        // One case of every name before its grid: the slopes alone differ between the others.
        let mut seen = std::collections::BTreeSet::new();
        for table in ["cases", "verl_cases"] {
            for (case, recorded) in golden.json[table].as_object().expect("cases") {
                if !seen.insert(case.split(".eps").next().map(str::to_string)) {
                    continue;
                }
                let (_, dlogp, dentropy, _) =
                    grpo::run_case(&golden, case, recorded, &batch.lengths);
                let t = recorded["options"]["temperature"].as_f64().unwrap_or(1.0);
                let tape = if t == 1.0 { &plain } else { &sharp };
                let upstream = Upstream {
                    dlogp: &dlogp,
                    dentropy: dentropy.as_deref(),
                    ..Upstream::default()
                };
                let mut grads = there.zeros(&device);
                let done = device::backward::backward(there.net(), tape, upstream, &mut grads);
                done.expect("computed");
                let grads = grads.download().expect("numbers");
                gradients.check(&there.weights.layout().params, &grads, &golden, case);
            }
        }
        gradients.report();
    }
}

#[test]
fn rerouting_agrees_with_the_release_on_a_device() {
    let Some(folder) = reference(&["losses/rr.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/rr"));
    let full = checkpoint::load(&folder.join("models/llama")).expect("a checkpoint");
    let adapter = peft::load(&folder.join("models/rr_lora"), &full.config).expect("an adapter");
    let (batch, layers) = (rerouting::batch(&golden), rerouting::layers(&golden));
    let packed = Packed {
        ids: &batch.ids,
        starts: &batch.starts,
    };
    let alpha = golden.json["alpha"].as_f64().expect("alpha");
    let blocks = full.config.layers;
    for (name, device) in devices() {
        let there = There::new(&folder, "llama", Some("rr_lora"), &device);
        let (net, mut workspace) = (there.net(), Workspace::default());
        let mut frozen = vec![];
        let kept = |_: usize, h: &Tensor| {
            frozen.push(flat(h));
            Ok(())
        };
        device::decoder::each_state(net.frozen(), packed, &mut workspace, kept).expect("states");
        let tape = device::decoder::forward(net, packed, &[], 1.0, Keep::States, &mut workspace);
        let tape = tape.expect("computed");
        let mut live: Vec<Vec<f32>> = (0..blocks).map(|i| flat(tape.hidden(i))).collect();
        let normed = device::decoder::normed(net, tape.hidden(blocks));
        live.push(flat(&normed.expect("computed")));
        let live: Vec<&[f32]> = live.iter().map(Vec::as_slice).collect();
        let states = States {
            live: &live,
            frozen: &frozen.iter().map(|states| &states[..]).collect::<Vec<_>>(),
            width: full.config.hidden_size,
        };
        let mut losses = Parity::new(&format!("RR on {name}: loss"), 2e-5);
        let mut gradients = Gradients::new(&format!("RR on {name}"));
        for (case, recorded) in golden.json["cases"].as_object().expect("cases") {
            let Some(rest) = case.strip_prefix("full.") else {
                continue;
            };
            let (divisor, at) = rest.split_once(".step").expect("divisor.step");
            let divisor = match divisor {
                "cb" => Divisor::Released,
                _ => Divisor::Tokens,
            };
            let weights = coefficients(alpha, at.parse().expect("a step"), 150);
            let mut objective = rerouting::objective(&layers, &batch, divisor, weights);
            let share = objective.share(0..batch.starts.len() - 1, &batch.starts, &states);
            let expected = recorded["loss"].as_f64().expect("a loss");
            losses.check((share.loss / expected - 1.0).abs(), case);
            let (last, below) = share.dstates.split_last().expect("states");
            let dhidden: Vec<Option<&[f32]>> = below.iter().map(|d| Some(&d[..])).collect();
            let upstream = Upstream {
                dhidden: &dhidden,
                dnormed: Some(last),
                ..Upstream::default()
            };
            let mut grads = there.zeros(&device);
            device::backward::backward(net, &tape, upstream, &mut grads).expect("computed");
            let grads = grads.download().expect("numbers");
            gradients.check(&adapter.params, &grads, &golden, case);
        }
        losses.report();
        gradients.report();
    }
}

#[test]
fn a_score_head_agrees_with_transformers_on_a_device() {
    let Some(folder) = reference(&["reward.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("reward"));
    let width = golden.shape("ids")[1];
    let (ids, starts) = pack(golden.get("ids"), golden.get("attention_mask"), width);
    let rows: Vec<usize> = starts[1..].iter().map(|end| end - 1).collect();
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    for (name, device) in devices() {
        let mut there = There::new(&folder, "reward", None, &device);
        let mut workspace = std::mem::take(&mut there.workspace);
        let scores = device::decoder::logits_at(there.net(), batch, &rows, &mut workspace);
        let mut parity = Parity::new(&format!("reward scores on {name}"), 5e-5);
        let scores = flat(&scores.expect("computed"));
        parity.check(worst(&scores, golden.get("scores")), "scores");
        parity.report();
    }
}
