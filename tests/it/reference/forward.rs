//! The forward pass against transformers: logits, hidden states, greedy tokens, log-probabilities, reward scores; and that a
//! checkpoint survives its way through a folder.

use super::{Golden, Parity, ids, models, pack, worst};
use crate::study::reference;
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Workspace};

#[test]
fn forward_agrees_with_transformers_for_every_model() {
    let Some(folder) = reference(&["forward", "models"]) else {
        return;
    };
    let mut logit = Parity::new("logits", 2e-5);
    let mut hidden = Parity::new("hidden states", 2e-5);
    for model in models(&folder) {
        let golden = Golden::open(&folder.join("forward").join(&model));
        let weights = checkpoint::load(&folder.join("models").join(&model)).expect("a checkpoint");
        let mut workspace = Workspace::new();
        let width = golden.shape("ids_right")[1];
        let (ids, starts) = pack(golden.get("ids_right"), golden.get("mask_right"), width);
        let batch = Packed {
            ids: &ids,
            starts: &starts,
        };
        let logits = decoder::logits(&weights, batch, &mut workspace);
        logit.check(worst(&logits, golden.get("logits")), &model);
        // What is packed has no padding: the same sequences padded on the left are the same tokens.
        let (left, _) = pack(golden.get("ids_left"), golden.get("mask_left"), width);
        logit.same(&left, &ids, &format!("{model}, padded on the left"));
        let last_rows = |states: &[f32]| -> Vec<f32> {
            let d = weights.config.hidden_size;
            starts[1..]
                .iter()
                .flat_map(|&end| states[(end - 1) * d..end * d].to_vec())
                .collect()
        };
        let states = decoder::hidden_states(&weights, batch, &mut workspace);
        let ours: Vec<f32> = states.iter().flat_map(|s| last_rows(s)).collect();
        hidden.check(worst(&ours, golden.get("hidden_last")), &model);
        let before = decoder::hidden_before_norm(&weights, batch, &mut workspace);
        let off = worst(&last_rows(&before), golden.get("hidden_last_before_norm"));
        hidden.check(off, &format!("{model}, before the norm"));
    }
    logit.report();
    hidden.report();
}

#[test]
fn greedy_tokens_agree_with_transformers_for_every_model() {
    let Some(folder) = reference(&["forward", "models"]) else {
        return;
    };
    let mut greedy = Parity::new("greedy tokens", f64::MIN_POSITIVE);
    for model in models(&folder) {
        let golden = Golden::open(&folder.join("forward").join(&model));
        let weights = checkpoint::load(&folder.join("models").join(&model)).expect("a checkpoint");
        let mut workspace = Workspace::new();
        let steps = golden.shape("greedy_ids")[1];
        let prompts = golden.json["greedy_prompts"].as_array().expect("prompts");
        for (prompt, expected) in prompts
            .iter()
            .zip(golden.get("greedy_ids").chunks_exact(steps))
        {
            let mut sequence = ids(&prompt["ids"]);
            for &next in expected {
                let starts = [0, sequence.len()];
                let batch = Packed {
                    ids: &sequence,
                    starts: &starts,
                };
                let last = [sequence.len() - 1];
                let z = decoder::logits_at(&weights, batch, &last, &mut workspace);
                let best = (0..z.len()).max_by(|&a, &b| z[a].total_cmp(&z[b]));
                greedy.same(best, Some(next as usize), &model);
                sequence.push(next as u32);
            }
        }
    }
    greedy.report();
}

#[test]
fn completion_logps_and_entropies_agree_at_both_temperatures() {
    let Some(folder) = reference(&["forward", "models"]) else {
        return;
    };
    let mut parity = Parity::new("log-probabilities and entropies", 2e-5);
    for model in models(&folder) {
        let golden = Golden::open(&folder.join("forward").join(&model));
        let weights = checkpoint::load(&folder.join("models").join(&model)).expect("a checkpoint");
        let mut workspace = Workspace::new();
        let completions = golden.json["completions"].as_array().expect("completions");
        for (i, completion) in completions.iter().enumerate() {
            let mut sequence = ids(&completion["prompt_ids"]);
            let prompt = sequence.len();
            sequence.extend(ids(&completion["completion_ids"]));
            let starts = [0, sequence.len()];
            let batch = Packed {
                ids: &sequence,
                starts: &starts,
            };
            let scored: Vec<usize> = (prompt..sequence.len()).collect();
            for temperature in ["1.0", "0.6"] {
                let t = temperature.parse().expect("a number");
                let tape = decoder::forward(&weights, batch, &scored, t, &mut workspace);
                for (name, ours) in [("logps", &tape.logp), ("entropy", &tape.entropy)] {
                    let off = worst(
                        ours,
                        golden.get(&format!("completion{i}.{name}_t{temperature}")),
                    );
                    parity.check(
                        off,
                        &format!("{model} completion {i} {name} at {temperature}"),
                    );
                }
                let scores = decoder::score(&weights, batch, &scored, t, &mut workspace);
                assert_eq!(scores.logp, tape.logp, "{model}: with and without a tape");
                tape.recycle(&mut workspace);
            }
        }
    }
    parity.report();
}

#[test]
fn reward_model_scores_agree_with_transformers() {
    let Some(folder) = reference(&["reward.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("reward"));
    let weights = checkpoint::load(&folder.join("models/reward")).expect("a checkpoint");
    let width = golden.shape("ids")[1];
    let (ids, starts) = pack(golden.get("ids"), golden.get("attention_mask"), width);
    let rows: Vec<usize> = starts[1..].iter().map(|end| end - 1).collect();
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let scores = decoder::logits_at(&weights, batch, &rows, &mut Workspace::new());
    let mut parity = Parity::new("reward scores", 5e-5);
    parity.check(worst(&scores, golden.get("scores")), "scores");
    let squashed: Vec<f32> = scores.iter().map(|&x| 1.0 / (1.0 + (-x).exp())).collect();
    parity.check(worst(&squashed, golden.get("sigmoid")), "sigmoid");
    let d = weights.config.hidden_size;
    let states = decoder::hidden_states(&weights, batch, &mut Workspace::new());
    let last = states.last().expect("a last state");
    let at: Vec<f32> = rows
        .iter()
        .flat_map(|&r| last[r * d..(r + 1) * d].to_vec())
        .collect();
    parity.check(worst(&at, golden.get("hidden_last")), "hidden state");
    parity.report();
}

#[test]
fn a_saved_checkpoint_loads_to_the_same_bits_and_saves_to_the_same_bytes() {
    let Some(folder) = reference(&["forward", "models"]) else {
        return;
    };
    for model in models(&folder) {
        let weights = checkpoint::load(&folder.join("models").join(&model)).expect("a checkpoint");
        let (first, second) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        checkpoint::save(&weights, first.path()).expect("saved");
        let again = checkpoint::load(first.path()).expect("loaded");
        assert_eq!(again.config, weights.config, "{model}");
        assert_eq!(again.data, weights.data, "{model}");
        checkpoint::save(&again, second.path()).expect("saved");
        for file in ["config.json", "model.safetensors"] {
            let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).expect(file);
            assert_eq!(read(&first), read(&second), "{model} {file}");
        }
    }
}
