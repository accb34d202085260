//! The decoder, its gradients and checkpoints against the golden files of transformers and TRL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Tape, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::objective::advantage::{Scale, advantages};
use pipe::learn::objective::grpo::{self, Aggregation, Options, Ratio, Rows, Window};
use pipe::learn::objective::sft;
use pipe::learn::optim::{self, AdamW, Moments};
use pipe::learn::weights::{Role, Weights};
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

/// GRPO's batch: prompts and completions packed, completion tokens scored, row by row.
struct Rollouts {
    ids: Vec<u32>,
    starts: Vec<usize>,
    scored: Vec<usize>,
    /// Scored tokens of each row.
    lengths: Vec<usize>,
}

fn rollouts(golden: &Golden) -> Rollouts {
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
            aggregation: Aggregation::Dapo,
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
            "grpo" => Aggregation::Grpo,
            "bnpo" => Aggregation::Bnpo,
            "dapo" => Aggregation::Dapo,
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
fn run_case(
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
    let window = Window {
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
    let Some(folder) = reference() else { return };
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
    let mut seen = 0;
    for table in ["cases", "verl_cases"] {
        for (name, case) in golden.json[table].as_object().expect("cases") {
            let (loss, dlogp, dentropy, sums) = run_case(&golden, name, case, &batch.lengths);
            let expected = case["loss"].as_f64().expect("a loss");
            let off = (loss - expected).abs() / expected.abs().max(0.1);
            assert!(off < 5e-5, "{name}: loss {loss} against {expected}");
            let recorded: Vec<f64> =
                unpadded(&golden, &format!("{name}.dloss_dlogps"), &batch.lengths)
                    .into_iter()
                    .map(f64::from)
                    .collect();
            let off = worst(&dlogp, &recorded);
            assert!(off < 1e-4, "{name}: dloss_dlogps off by {off}");
            let ours: BTreeMap<_, _> = sums.named().into_iter().collect();
            for (metric, value) in case["trl_metrics"].as_object().into_iter().flatten() {
                if let Some(ours) = ours.get(metric.as_str()) {
                    let value = value.as_f64().expect("a number");
                    assert!(
                        (ours - value).abs() < 2e-5 * value.abs().max(0.1),
                        "{name}: {metric} {ours} against {value}"
                    );
                }
            }
            let t = case["options"]["temperature"].as_f64().unwrap_or(1.0);
            let tape = &tapes[&format!("{t:.1}")];
            let mut grads = vec![0.0; weights.layout.len()];
            let dentropy = dentropy.as_deref();
            backward(&weights, tape, &dlogp, dentropy, &mut grads, &mut workspace);
            check_gradients(&weights, &grads, &golden, name);
            seen += 1;
        }
    }
    assert!(seen > 30, "the record holds the cases");
}

#[test]
fn advantages_agree_with_trl_and_flat_groups_get_zero() {
    let Some(folder) = reference() else { return };
    let golden = Golden::open(&folder.join("losses/grpo"));
    let rewards: Vec<Option<f64>> = golden.get("rewards").iter().map(|&r| Some(r)).collect();
    let group = golden.shape("rewards")[1];
    let cases = [
        ("group", Scale::Group, 1e-4),
        ("batch", Scale::Batch, 1e-4),
        ("none", Scale::None, 0.0),
        ("verl", Scale::Group, 1e-6),
    ];
    for (name, scale, eps) in cases {
        let ours = advantages(&rewards, group, scale, eps).expect("advantages");
        let off = worst(&ours, golden.get(&format!("advantages.{name}")));
        assert!(off < 1e-5, "{name}: {off}");
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
}

#[test]
fn five_steps_of_adamw_agree_with_torch() {
    let Some(folder) = reference() else { return };
    let sft = Golden::open(&folder.join("losses/sft"));
    let golden = Golden::open(&folder.join("losses/adamw"));
    let start = checkpoint::load(&folder.join("models/qwen2")).expect("a checkpoint");
    let (ids, starts, scored) = sft_batch(&sft);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let close = |a: f64, b: f64, tolerance: f64, what: &str| {
        assert!((a / b - 1.0).abs() < tolerance, "{what}: {a} against {b}");
    };
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
            close(outcome.loss, number(&step["loss"]), 1e-5, name);
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
            close(norm, number(&step["grad_norm"]), 1e-4, name);
            rule.update(&mut weights, &grads, &mut moments, number(&step["lr"]));
            tape.recycle(&mut workspace);
        }
        close(last_loss, number(&case["loss_after"]), 1e-5, name);
        for (i, param) in json["params"].as_array().expect("names").iter().enumerate() {
            let param = param.as_str().expect("a name");
            let range = weights.layout.param(param).expect(param).range.clone();
            let (w, w0) = (&weights.data[range.clone()], &start.data[range]);
            let at = |kind: &str| golden.get(&format!("{name}.{kind}"))[i];
            let l2 = w.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            close(l2, at("l2"), 1e-4, param);
            let moved: Vec<f64> = w
                .iter()
                .zip(w0)
                .map(|(&a, &b)| f64::from(a) - f64::from(b))
                .collect();
            let moved_l2 = moved.iter().map(|x| x * x).sum::<f64>().sqrt();
            close(moved_l2, at("moved_l2"), 3e-3, param);
            let probe: f64 = moved
                .iter()
                .enumerate()
                .map(|(i, x)| x * (i as f64).cos())
                .sum();
            let off = (probe - at("moved_probe")).abs() / at("moved_l2");
            assert!(off < 1e-2, "{name} {param}: moved probe off by {off}");
        }
    }
}

#[test]
fn reward_model_scores_agree_with_transformers() {
    let Some(folder) = reference() else { return };
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
    let off = worst(&scores, golden.get("scores"));
    assert!(off < 5e-5, "scores off by {off}");
}

#[test]
fn a_saved_checkpoint_loads_to_the_same_bits_and_saves_to_the_same_bytes() {
    let Some(folder) = reference() else { return };
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
