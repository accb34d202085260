//! The decoder, its gradients and checkpoints against the golden files of transformers and TRL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::weights::Weights;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;

/// The folder of golden files; None (and a line) where it is absent.
pub fn reference() -> Option<PathBuf> {
    let folder = std::env::var_os("PIPE_REFERENCE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/public"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("skipped: no golden files at {}", folder.display());
        return None;
    }
    Some(folder)
}

/// Tensors and scalars of one golden record.
pub struct Golden {
    pub json: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    pub fn open(stem: &Path) -> Golden {
        let text = std::fs::read_to_string(stem.with_extension("json")).expect("golden JSON");
        let bytes = std::fs::read(stem.with_extension("safetensors")).expect("golden tensors");
        let file = SafeTensors::deserialize(&bytes).expect("golden tensors are whole");
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, t)| (name, (t.shape().to_vec(), numbers(t.dtype(), t.data()))))
            .collect();
        Golden {
            json: serde_json::from_str(&text).expect("golden JSON is valid"),
            tensors,
        }
    }

    pub fn get(&self, name: &str) -> &[f64] {
        &self.entry(name).1
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub fn shape(&self, name: &str) -> &[usize] {
        &self.entry(name).0
    }

    fn entry(&self, name: &str) -> &(Vec<usize>, Vec<f64>) {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("golden tensor {name}"))
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.get(name).iter().map(|&x| x as f32).collect()
    }
}

fn numbers(dtype: Dtype, data: &[u8]) -> Vec<f64> {
    match dtype {
        Dtype::F32 => data
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes"))))
            .collect(),
        Dtype::F64 => data
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")))
            .collect(),
        Dtype::I64 => data
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes")) as f64)
            .collect(),
        other => panic!("golden type {other:?}"),
    }
}

/// Largest difference, relative to the largest golden number.
pub fn worst(ours: &[f32], golden: &[f64]) -> f64 {
    assert_eq!(ours.len(), golden.len(), "as many numbers as the golden");
    let scale = golden.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let difference = ours
        .iter()
        .zip(golden)
        .map(|(&a, b)| (f64::from(a) - b).abs())
        .fold(0.0f64, f64::max);
    assert!(ours.iter().all(|x| x.is_finite()), "finite numbers");
    difference / scale.max(1e-30)
}

/// Compares gradients with recorded norms and probes, parameter by parameter.
pub fn check_gradients(weights: &Weights, grads: &[f32], golden: &Golden, case: &str) {
    let names = golden.json["params"].as_array().expect("params");
    let norms = golden.get(&format!("{case}.grad_norm"));
    let probes = golden.get(&format!("{case}.grad_probe"));
    let total = norms.iter().map(|n| n * n).sum::<f64>().sqrt();
    assert_eq!(names.len(), weights.layout.params.len());
    for (i, name) in names.iter().enumerate() {
        let name = name.as_str().expect("a name");
        let param = weights.layout.param(name).expect(name);
        let part = &grads[param.range.clone()];
        let norm = part
            .iter()
            .map(|&g| f64::from(g).powi(2))
            .sum::<f64>()
            .sqrt();
        let probe: f64 = part
            .iter()
            .enumerate()
            .map(|(i, &g)| f64::from(g) * (i as f64).cos())
            .sum();
        let scale = norms[i].max(1e-4 * total);
        let (norm_off, probe_off) = (
            (norm - norms[i]).abs() / scale,
            (probe - probes[i]).abs() / scale,
        );
        assert!(
            norm_off < 1e-4 && probe_off < 2e-4,
            "{case} {name}: norm {norm} against {}, probe {probe} against {}",
            norms[i],
            probes[i]
        );
    }
}

fn models(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.join("forward"))
        .expect("forward goldens")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            path.file_stem()
                .expect("a stem")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert!(!names.is_empty(), "some model has goldens");
    names
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .expect("a list of ids")
        .iter()
        .map(|id| id.as_u64().expect("an id") as u32)
        .collect()
}

/// The real tokens of a padded batch, packed.
fn pack(ids: &[f64], mask: &[f64], width: usize) -> (Vec<u32>, Vec<usize>) {
    let (mut packed, mut starts) = (Vec::new(), vec![0]);
    for (ids, mask) in ids.chunks_exact(width).zip(mask.chunks_exact(width)) {
        packed.extend(
            ids.iter()
                .zip(mask)
                .filter(|(_, m)| **m == 1.0)
                .map(|(id, _)| *id as u32),
        );
        starts.push(packed.len());
    }
    (packed, starts)
}

#[test]
fn forward_agrees_with_transformers_for_every_model() {
    let Some(folder) = reference() else { return };
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
        let off = worst(&logits, golden.get("logits"));
        assert!(off < 2e-5, "{model}: logits off by {off}");
        let last_rows = |states: &[f32]| -> Vec<f32> {
            let d = weights.config.hidden_size;
            starts[1..]
                .iter()
                .flat_map(|&end| states[(end - 1) * d..end * d].to_vec())
                .collect()
        };
        let states = decoder::hidden_states(&weights, batch, &mut workspace);
        let ours: Vec<f32> = states.iter().flat_map(|s| last_rows(s)).collect();
        let off = worst(&ours, golden.get("hidden_last"));
        assert!(off < 2e-5, "{model}: hidden states off by {off}");
        let before = decoder::hidden_before_norm(&weights, batch, &mut workspace);
        let off = worst(&last_rows(&before), golden.get("hidden_last_before_norm"));
        assert!(off < 2e-5, "{model}: state before the norm off by {off}");
    }
}

#[test]
fn greedy_tokens_agree_with_transformers_for_every_model() {
    let Some(folder) = reference() else { return };
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
                assert_eq!(best, Some(next as usize), "{model}");
                sequence.push(next as u32);
            }
        }
    }
}

#[test]
fn completion_logps_and_entropies_agree_at_both_temperatures() {
    let Some(folder) = reference() else { return };
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
                    assert!(
                        off < 2e-5,
                        "{model} completion {i} {name} at {temperature}: {off}"
                    );
                }
                let scores = decoder::score(&weights, batch, &scored, t, &mut workspace);
                assert_eq!(scores.logp, tape.logp, "{model}: with and without a tape");
                tape.recycle(&mut workspace);
            }
        }
    }
}

/// The SFT batch packed: ids, bounds, scored tokens.
fn sft_batch(golden: &Golden) -> (Vec<u32>, Vec<usize>, Vec<usize>) {
    let width = golden.shape("ids")[1];
    let (ids, starts) = pack(golden.get("ids"), golden.get("attention_mask"), width);
    let (mask, _) = pack(golden.get("loss_mask"), golden.get("attention_mask"), width);
    let scored = (0..ids.len()).filter(|&i| mask[i] == 1).collect();
    (ids, starts, scored)
}

#[test]
fn supervised_loss_and_every_gradient_agree_with_trl() {
    let Some(folder) = reference() else { return };
    let golden = Golden::open(&folder.join("losses/sft"));
    let weights = checkpoint::load(&folder.join("models/qwen2")).expect("a checkpoint");
    let (ids, starts, scored) = sft_batch(&golden);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let mut workspace = Workspace::new();
    let tape = decoder::forward(&weights, batch, &scored, 1.0, &mut workspace);
    let n = scored.len() as f32;
    let loss = -tape.logp.iter().sum::<f32>() / n;
    let expected = golden.json["loss"].as_f64().expect("a loss");
    assert!((f64::from(loss) / expected - 1.0).abs() < 2e-5, "{loss}");
    let mut grads = vec![0.0; weights.layout.len()];
    let dlogp = vec![-1.0 / n; scored.len()];
    backward(&weights, &tape, &dlogp, None, &mut grads, &mut workspace);
    check_gradients(&weights, &grads, &golden, "sft");
}
