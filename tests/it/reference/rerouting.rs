//! Representation rerouting against the transcribed release: terms, loss and every gradient along its schedule.

use super::{Golden, Gradients, Parity, pack, worst};
use crate::study::reference;
use pipe::base::rng::Seed;
use pipe::learn::adapter::{Adapter, Linear, Net, Options};
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::{Upstream, backward_upstream};
use pipe::learn::objective::rerouting::{Divisor, Rerouting, StateObjective, States, coefficients};
use pipe::learn::peft;

/// The harmful rows, then those to retain, packed; and what the release divides by.
pub struct Batch {
    pub ids: Vec<u32>,
    pub starts: Vec<usize>,
    harmful_rows: usize,
    harmful_tokens: usize,
    /// Padding included.
    retain_positions: usize,
}

pub fn batch(golden: &Golden) -> Batch {
    let part = |name: &str| {
        let width = golden.shape(&format!("{name}_ids"))[1];
        let (ids, mask) = (format!("{name}_ids"), format!("{name}_mask"));
        pack(golden.get(&ids), golden.get(&mask), width)
    };
    let ((mut ids, mut starts), (more, more_starts)) = (part("cb"), part("retain"));
    let (harmful_rows, harmful_tokens) = (starts.len() - 1, ids.len());
    ids.extend(more);
    starts.extend(more_starts[1..].iter().map(|s| s + harmful_tokens));
    Batch {
        ids,
        starts,
        harmful_rows,
        harmful_tokens,
        retain_positions: golden.get("retain_ids").len(),
    }
}

/// The window's loss and its gradient by the adapter.
fn step(net: Net, batch: &Batch, objective: &mut Rerouting) -> (f64, Vec<f32>) {
    let mut workspace = Workspace::new();
    let packed = Packed {
        ids: &batch.ids,
        starts: &batch.starts,
    };
    let layers = net.config().layers;
    let frozen = decoder::hidden_states(net.frozen(), packed, &mut workspace);
    let tape = decoder::forward(net, packed, &[], 1.0, &mut workspace);
    let normed = decoder::normed(net.weights, tape.hidden(layers));
    let mut live: Vec<&[f32]> = (0..layers).map(|i| tape.hidden(i)).collect();
    live.push(&normed);
    let states = States {
        live: &live,
        frozen: &frozen.iter().map(|states| &states[..]).collect::<Vec<_>>(),
        width: net.config().hidden_size,
    };
    let share = objective.share(0..batch.starts.len() - 1, &batch.starts, &states);
    let (last, below) = share.dstates.split_last().expect("states");
    let dhidden: Vec<Option<&[f32]>> = below.iter().map(|d| Some(&d[..])).collect();
    let upstream = Upstream {
        dhidden: &dhidden,
        dnormed: Some(last),
        ..Upstream::default()
    };
    let mut grads = vec![0.0; net.trained()];
    backward_upstream(net, &tape, upstream, &mut grads, &mut workspace);
    (share.loss, grads)
}

pub fn objective(
    layers: &[usize],
    batch: &Batch,
    divisor: Divisor,
    weights: (f64, f64),
) -> Rerouting {
    Rerouting {
        layers: layers.to_vec(),
        divisor,
        coefficients: weights,
        harmful_rows: batch.harmful_rows,
        harmful_tokens: batch.harmful_tokens,
        retain_positions: batch.retain_positions,
        distances: vec![],
        cosines: 0.0,
    }
}

pub fn layers(golden: &Golden) -> Vec<usize> {
    super::ids(&golden.json["layers"])
        .iter()
        .map(|l| *l as usize)
        .collect()
}

#[test]
fn rerouting_agrees_with_the_release_along_its_schedule() {
    let Some(folder) = reference(&["losses/rr.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/rr"));
    let full = checkpoint::load(&folder.join("models/llama")).expect("a checkpoint");
    let adapter = peft::load(&folder.join("models/rr_lora"), &full.config).expect("an adapter");
    let (batch, layers) = (batch(&golden), layers(&golden));
    let dropped = full.first_blocks(layers.iter().max().expect("layers") + 1);
    let alpha = golden.json["alpha"].as_f64().expect("alpha");
    let mut losses = Parity::new("RR: loss and terms", 2e-5);
    let mut gradients = Gradients::new("RR");
    for (name, case) in golden.json["cases"].as_object().expect("cases") {
        let mut parts = name.split('.');
        let mut part = || parts.next().expect("shape.divisor.step");
        let (shape, divisor, at) = (part(), part(), part());
        let weights = if shape == "full" { &full } else { &dropped };
        let divisor = match divisor {
            "cb" => Divisor::Released,
            "cb_token" => Divisor::Tokens,
            other => panic!("divisor {other}"),
        };
        let at: u64 = at.trim_start_matches("step").parse().expect("a step");
        let scheduled = coefficients(alpha, at, 150);
        let mut objective = objective(&layers, &batch, divisor, scheduled);
        let net = Net {
            weights,
            adapter: Some(&adapter),
        };
        let (loss, grads) = step(net, &batch, &mut objective);
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        for (ours, key) in [(scheduled.0, "retain"), (scheduled.1, "cb")] {
            let theirs = number(&case["coefficients"][key]);
            losses.check((ours - theirs).abs() / alpha, name);
        }
        losses.check((loss / number(&case["loss"]) - 1.0).abs(), name);
        let (retain, reroute) = objective.terms();
        let key = if divisor == Divisor::Tokens {
            "cb_token"
        } else {
            "cb"
        };
        let targets: f64 = layers.iter().map(|&l| objective.distances[l]).sum();
        let targets = targets / (layers.len() * batch.retain_positions) as f64;
        for (ours, key) in [
            (retain, "retain"),
            (reroute, key),
            (targets, "retain_targets"),
        ] {
            let theirs = number(&case["terms"][key]);
            losses.check((ours / theirs - 1.0).abs(), &format!("{name} {key}"));
        }
        gradients.check(&adapter.params, &grads, &golden, name);
    }
    losses.report();
    gradients.report();
}

/// Recorded distances and cosines of every position, from the states themselves.
#[test]
fn distances_and_cosines_of_every_position_agree() {
    let Some(folder) = reference(&["losses/rr.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/rr"));
    let full = checkpoint::load(&folder.join("models/llama")).expect("a checkpoint");
    let adapter = peft::load(&folder.join("models/rr_lora"), &full.config).expect("an adapter");
    let layers = layers(&golden);
    let dropped = full.first_blocks(layers.iter().max().expect("layers") + 1);
    let mut parity = Parity::new("RR: distance and cosine of every position", 2e-5);
    for (shape, weights) in [("full", &full), ("dropped", &dropped)] {
        let net = Net {
            weights,
            adapter: Some(&adapter),
        };
        for (set, recorded) in [("retain", "retain_distance"), ("cb", "cos")] {
            let recorded = format!("{shape}.{recorded}");
            let theirs = golden.get(&recorded);
            let width = golden.shape(&format!("{set}_ids"))[1];
            let mask = golden.get(&format!("{set}_mask"));
            let (ids, starts) = pack(golden.get(&format!("{set}_ids")), mask, width);
            let packed = Packed {
                ids: &ids,
                starts: &starts,
            };
            let mut workspace = Workspace::new();
            let live = decoder::hidden_states(net, packed, &mut workspace);
            let frozen = decoder::hidden_states(net.frozen(), packed, &mut workspace);
            let chosen: Vec<usize> = match set {
                "cb" => layers.clone(),
                _ => (0..live.len()).collect(),
            };
            let d = weights.config.hidden_size;
            let mut ours = vec![];
            for state in chosen {
                let mut rows = live[state]
                    .chunks_exact(d)
                    .zip(frozen[state].chunks_exact(d));
                for m in mask {
                    ours.push(match *m == 1.0 {
                        true => measure(set, rows.next().expect("a row a token")),
                        false => 0.0,
                    });
                }
            }
            parity.check(worst(&ours, theirs), &recorded);
        }
    }
    parity.report();
}

fn measure(set: &str, (h, h0): (&[f32], &[f32])) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    let out = match set {
        "cb" => dot(h, h0) / (dot(h, h) * dot(h0, h0)).sqrt(),
        _ => {
            let gap: Vec<f32> = h.iter().zip(h0).map(|(a, b)| a - b).collect();
            dot(&gap, &gap).sqrt()
        }
    };
    out as f32
}

#[test]
fn a_fresh_adapter_has_nothing_to_retain_and_a_finite_gradient_near_zero() {
    let Some(folder) = reference(&["losses/rr.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/rr"));
    let weights = checkpoint::load(&folder.join("models/llama")).expect("a checkpoint");
    let options = Options {
        rank: 4,
        alpha: 8.0,
        rank_stabilised: false,
        targets: Linear::ALL.to_vec(),
        blocks: 0..weights.config.layers,
    };
    let adapter = Adapter::new(&weights.config, &options, Seed::new(1));
    let net = Net {
        weights: &weights,
        adapter: Some(&adapter),
    };
    let batch = batch(&golden);
    let mut objective = objective(&layers(&golden), &batch, Divisor::Released, (5.0, 5.0));
    let (_, grads) = step(net, &batch, &mut objective);
    let (retain, reroute) = objective.terms();
    let terms = &golden.json["fresh_adapter"]["terms"];
    assert_eq!(Some(retain), terms["retain"].as_f64());
    assert!((reroute - terms["cb"].as_f64().expect("a number")).abs() < 1e-6);
    assert!(grads.iter().all(|g| g.abs() < 1e-5));
}
