//! The learning core on candle's tensors against the kernels of the CPU and the golden files, on every device there is:
//! candle's CPU always, the first GPU where the feature `cuda` is built in and one is present.

mod bf16;
mod goldens;
mod kernels;
mod kinds;
mod learner;
mod pages;
mod reads;
mod sampler;
mod together;
mod told;

use crate::skipped::skip;
use std::path::{Path, PathBuf};

use crate::numerics::{FAMILIES, relative, tiny, weights};
use crate::reference::{Golden, Gradients, worst};
use crate::study::reference;
use candle_core::{DType, Device, Tensor};
use pipe::base::device::{DeviceName, Numerics, OutOfMemory, Place};
use pipe::base::rng::Seed;
use pipe::learn::checkpoint;
use pipe::learn::config::{Config, Family, Head};
use pipe::learn::decoder::{self, Keep, Packed};
use pipe::learn::decoder_backward::{self, Upstream};
use pipe::learn::device::{self, DeviceWeights, Workspace};
use pipe::learn::optim;
use pipe::learn::weights::Weights;

/// Devices to hold against the kernels.
fn devices() -> Vec<(&'static str, Device)> {
    let mut all = vec![("cpu", Device::Cpu)];
    if candle_core::utils::cuda_is_available() {
        match device::place("cuda:0") {
            Ok(gpu) => all.push(("cuda", gpu)),
            Err(error) => skip(&format!("GPU that works: {error:#}")),
        }
    }
    all
}

/// In single precision, on the first GPU where there is one, on candle's tensors on this machine's cores else.
fn own() -> Place {
    let device = match devices().len() {
        1 => DeviceName::Candle,
        _ => DeviceName::Cuda(0),
    };
    Place::new(device, Some(Numerics::F32))
}

/// A batch and what is asked of it.
struct Case {
    ids: Vec<u32>,
    starts: Vec<usize>,
    scored: Vec<usize>,
    temperature: f32,
    dlogp: Vec<f32>,
    dentropy: Option<Vec<f32>>,
}

impl Case {
    /// Random tokens in sequences of these lengths, scored where `scores` says so for (sequence, position).
    fn random(lengths: &[usize], vocab: usize, scores: impl Fn(usize, usize) -> bool) -> Case {
        let mut rng = Seed::new(5).rng();
        let (mut ids, mut starts, mut scored) = (vec![], vec![0], vec![]);
        for (s, &n) in lengths.iter().enumerate() {
            scored.extend((1..n).filter(|&i| scores(s, i)).map(|i| ids.len() + i));
            ids.extend((0..n).map(|_| rng.below(vocab) as u32));
            starts.push(ids.len());
        }
        let mut numbers = || scored.iter().map(|_| rng.normal() as f32).collect();
        let (dlogp, dentropy) = (numbers(), Some(numbers()));
        Case {
            ids,
            starts,
            scored,
            temperature: 0.8,
            dlogp,
            dentropy,
        }
    }

    fn packed(&self) -> Packed<'_> {
        Packed {
            ids: &self.ids,
            starts: &self.starts,
        }
    }
}

/// What a forward and backward pass give.
struct Computed {
    logp: Vec<f32>,
    entropy: Vec<f32>,
    hits: Vec<bool>,
    grads: Vec<f32>,
}

fn on_kernels(weights: &Weights, case: &Case) -> Computed {
    let mut workspace = decoder::Workspace::new();
    let mut grads = vec![0.0; weights.layout.len()];
    let (batch, t) = (case.packed(), case.temperature);
    let tape = decoder::forward(weights, batch, &case.scored, t, &mut workspace);
    let entropy = case.dentropy.as_deref();
    decoder_backward::backward(
        weights,
        &tape,
        &case.dlogp,
        entropy,
        &mut grads,
        &mut workspace,
    );
    Computed {
        logp: tape.logp,
        entropy: tape.entropy,
        hits: tape.greedy_hit,
        grads,
    }
}

fn on_device(
    weights: &Weights,
    case: &Case,
    device: &Device,
    workspace: &mut Workspace,
) -> candle_core::Result<Computed> {
    let weights = DeviceWeights::upload(weights, device)?;
    let (batch, t) = (case.packed(), case.temperature);
    let upstream = Upstream {
        dlogp: &case.dlogp,
        dentropy: case.dentropy.as_deref(),
        ..Upstream::default()
    };
    let mut gradient = |keep| {
        let mut grads = weights.parts.zeros(device)?;
        let tape = device::decoder::forward(&weights, batch, &case.scored, t, keep, workspace)?;
        device::backward::backward(&weights, &tape, upstream, &mut grads)?;
        candle_core::Result::Ok((tape.scores, grads))
    };
    let (of_tape, grads) = gradient(Keep::All)?;
    let (_, again) = gradient(Keep::States)?;
    assert_eq!(again.download()?, grads.download()?, "whatever is kept");
    let scores = device::decoder::score(&weights, batch, &case.scored, t, workspace)?;
    assert_eq!(scores, of_tape, "with and without a tape");
    Ok(Computed {
        logp: scores.logp,
        entropy: scores.entropy,
        hits: scores.greedy_hit,
        grads: grads.download()?,
    })
}

/// Worst relative errors: of log-probabilities and entropies, and of a parameter's gradient.
#[derive(Default)]
struct Worst {
    scores: f64,
    grads: f64,
}

impl Worst {
    /// Compares a device's outcome with the kernels', parameter by parameter.
    fn hold(&mut self, weights: &Weights, ours: &Computed, kernels: &Computed, what: &str) {
        assert_eq!(ours.logp.len(), kernels.logp.len(), "{what}");
        if !kernels.logp.is_empty() {
            for (name, a, b) in [
                ("log-probabilities", &ours.logp, &kernels.logp),
                ("entropies", &ours.entropy, &kernels.entropy),
            ] {
                let b: Vec<f64> = b.iter().map(|&x| f64::from(x)).collect();
                let off = worst(a, &b);
                assert!(off < 1e-5, "{what}: {name} off by {off}");
                self.scores = self.scores.max(off);
            }
        }
        assert_eq!(ours.hits, kernels.hits, "{what}: greedy choices");
        let total = optim::norm(&kernels.grads);
        for param in &weights.layout.params {
            let part = |grads: &[f32]| grads[param.range.clone()].to_vec();
            let (a, b) = (part(&ours.grads), part(&kernels.grads));
            assert!(a.iter().all(|g| g.is_finite()), "{what} {}", param.name);
            if total == 0.0 {
                assert!(a.iter().all(|&g| g == 0.0), "{what} {}", param.name);
                continue;
            }
            // A gradient that is zero but for rounding (of a key's bias, of the query of a lone token) is measured
            // against all of them; a wrong one would still be off by thousands of times the tolerance.
            let size = optim::norm(&b).max(1e-2 * total);
            let difference: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
            let off = optim::norm(&difference) / size;
            assert!(off < 2e-5, "{what} {}: gradient off by {off}", param.name);
            self.grads = self.grads.max(off);
        }
    }
}

impl Drop for Worst {
    fn drop(&mut self) {
        println!(
            "worst relative error: scores {:.1e}, gradients {:.1e}",
            self.scores, self.grads
        );
    }
}

#[test]
fn every_family_has_the_scores_and_gradients_of_the_kernels() {
    let mut worst = Worst::default();
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        for (name, device) in devices() {
            // Lengths of several groups, of one token, with nothing scored at all and only at the end.
            let ragged = Case::random(&[9, 1, 150, 2, 33, 5, 1, 64], 37, |s, i| match s {
                4 => false,
                5 => i == 4,
                _ => i % 3 != 0,
            });
            let one = Case::random(&[2], 37, |_, _| true);
            let mut workspace = Workspace::default();
            for (what, case) in [("ragged", ragged), ("one token", one)] {
                let ours = on_device(&weights, &case, &device, &mut workspace).expect("computed");
                let kernels = on_kernels(&weights, &case);
                let what = format!("{family:?} on {name}, {what}");
                worst.hold(&weights, &ours, &kernels, &what);
            }
        }
    }
}

#[test]
fn any_number_of_heads_has_the_scores_and_gradients_of_the_kernels() {
    let mut worst = Worst::default();
    for (heads, kv_heads) in [(1, 1), (3, 3), (6, 1), (6, 2)] {
        let config = Config {
            heads,
            kv_heads,
            ..tiny(Family::Qwen3, Head::Untied)
        };
        let weights = Weights::random(config, Seed::new(8));
        let case = Case::random(&[7, 40, 3], 37, |_, _| true);
        for (name, device) in devices() {
            let mut workspace = Workspace::default();
            let ours = on_device(&weights, &case, &device, &mut workspace).expect("computed");
            let what = format!("{heads} heads over {kv_heads} on {name}");
            worst.hold(&weights, &ours, &on_kernels(&weights, &case), &what);
        }
    }
}

#[test]
fn long_sequences_are_cut_into_queries_and_long_heads_into_rows() {
    let mut worst = Worst::default();
    let weights = weights(Family::Qwen2, Head::Tied);
    let case = Case::random(&[1030, 515, 3], 37, |_, i| i % 2 == 0);
    let kernels = on_kernels(&weights, &case);
    for (name, device) in devices() {
        for rows in [1000, 7, 0] {
            let mut workspace = Workspace::new(rows * 37);
            // With no room at all it is row by row, which takes a few rows only to see.
            let few = Case::random(&[6, 4], 37, |_, _| true);
            let (case, kernels) = match rows {
                0 => (&few, &on_kernels(&weights, &few)),
                _ => (&case, &kernels),
            };
            let ours = on_device(&weights, case, &device, &mut workspace).expect("computed");
            let what = format!("{rows} rows of logits on {name}");
            worst.hold(&weights, &ours, kernels, &what);
        }
    }
}

#[test]
fn a_batch_without_scored_tokens_has_no_gradient() {
    let weights = weights(Family::Qwen3, Head::Tied);
    let case = Case::random(&[5, 3], 37, |_, _| false);
    for (_, device) in devices() {
        let mut workspace = Workspace::default();
        let ours = on_device(&weights, &case, &device, &mut workspace).expect("computed");
        assert!(ours.logp.is_empty() && ours.entropy.is_empty() && ours.hits.is_empty());
        assert!(ours.grads.iter().all(|&g| g == 0.0));
    }
}

#[test]
fn a_workspace_serves_models_with_other_angles() {
    let case = Case::random(&[12, 5], 37, |_, _| true);
    let mut worst = Worst::default();
    for (name, device) in devices() {
        let mut workspace = Workspace::default();
        for rope_theta in [10000.0, 500.0] {
            let config = Config {
                rope_theta,
                ..tiny(Family::Llama, Head::Untied)
            };
            let weights = Weights::random(config, Seed::new(8));
            let ours = on_device(&weights, &case, &device, &mut workspace).expect("computed");
            let what = format!("theta {rope_theta} on {name}");
            worst.hold(&weights, &ours, &on_kernels(&weights, &case), &what);
        }
    }
}

#[test]
fn gradients_at_hidden_states_and_embeddings_are_those_of_the_kernels() {
    let weights = weights(Family::Llama, Head::Untied);
    let case = Case::random(&[11, 4], 37, |s, _| s == 0);
    let (n, d) = (case.ids.len(), weights.config.hidden_size);
    let mut rng = Seed::new(9).rng();
    let pulls: Vec<Vec<f32>> = (0..2)
        .map(|_| (0..n * d).map(|_| rng.normal() as f32).collect())
        .collect();
    let dhidden = [Some(&pulls[0][..]), None, Some(&pulls[1][..])];
    let upstream = Upstream {
        dlogp: &case.dlogp,
        dentropy: case.dentropy.as_deref(),
        dhidden: &dhidden,
        dnormed: Some(&pulls[0]),
    };
    let (batch, t) = (case.packed(), case.temperature);
    let mut workspace = decoder::Workspace::new();
    let tape = decoder::forward(&weights, batch, &case.scored, t, &mut workspace);
    let mut grads = vec![0.0; weights.layout.len()];
    let own = Some(&mut grads[..]);
    let dembed = decoder_backward::backward_from(&weights, &tape, upstream, own, &mut workspace);
    for (_, device) in devices() {
        let mut workspace = Workspace::default();
        let uploaded = DeviceWeights::upload(&weights, &device).expect("uploaded");
        let keep = Keep::All;
        let ours =
            device::decoder::forward(&uploaded, batch, &case.scored, t, keep, &mut workspace);
        let ours = ours.expect("computed");
        let flat = |t: &candle_core::Tensor| -> Vec<f32> {
            t.flatten_all().unwrap().to_vec1().expect("numbers")
        };
        for i in 0..=weights.config.layers {
            assert!(
                relative(&flat(ours.hidden(i)), tape.hidden(i)) < 1e-5,
                "{i}"
            );
        }
        let mut on_device = uploaded.parts.zeros(&device).expect("zeros");
        for keep in [false, true] {
            let own = keep.then_some(&mut on_device);
            let there = device::backward::backward_from(&uploaded, &ours, upstream, own);
            assert!(relative(&flat(&there.expect("computed")), &dembed) < 2e-5);
        }
        let on_device = on_device.download().expect("numbers");
        assert!(relative(&on_device, &grads) < 2e-5);
    }
}

#[test]
fn weights_come_back_from_a_device_bit_for_bit() {
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        for (_, device) in devices() {
            let there = DeviceWeights::upload(&weights, &device).expect("uploaded");
            let back = there.download().expect("numbers");
            assert_eq!(back.data, weights.data);
            assert_eq!(back.config, weights.config);
        }
    }
}

#[test]
fn without_the_feature_cuda_is_an_error_that_says_how_to_build() {
    if candle_core::utils::cuda_is_available() {
        return;
    }
    let error = |name| format!("{:#}", device::place(name).expect_err(name));
    for name in ["cuda:0", "cuda:17"] {
        assert!(error(name).contains("--features cuda"), "{}", error(name));
    }
    for name in ["cuda", "cuda:", "cuda:x", "cpu", "candle:0", "gpu"] {
        assert!(error(name).contains("`cuda:0`"), "{}", error(name));
    }
}

#[test]
fn a_model_that_a_device_cannot_count_is_refused_in_words() {
    let small = tiny(Family::Qwen2, Head::Tied);
    assert!(device::supports(&small).is_ok());
    let large = Config {
        vocab_size: 1 << 20,
        hidden_size: 1 << 12,
        ..small
    };
    let error = device::supports(&large).expect_err("2^32 numbers");
    assert!(error.to_string().contains("embeddings"), "{error}");
}

#[test]
fn no_room_on_a_device_is_an_error_of_its_own_sort() {
    let cuda = anyhow::anyhow!("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")");
    let error = device::room::told(&Device::Cpu, "a gradient", cuda.context("in a product"));
    assert!(error.is::<OutOfMemory>());
    assert_eq!(error.to_string(), "out of memory on candle (a gradient)");
    let other = device::room::told(&Device::Cpu, "a gradient", anyhow::anyhow!("a shape"));
    assert_eq!(other.to_string(), "a shape");
}

/// What no card has room for is told with the card's name and its numbers, and what was there goes on.
#[test]
fn a_gpu_without_room_is_told_with_its_numbers() {
    for (name, device) in devices().into_iter().filter(|(name, _)| *name == "cuda") {
        let (free, total) = device::sizes(&device).expect("a GPU tells its memory");
        assert!(free <= total && total > 0, "{free} of {total}");
        let numbers = total as usize / 4 + 1;
        let error = Tensor::zeros(numbers, DType::F32, &device).expect_err("more than there is");
        let error = device::room::told(&device, "a test", error.into());
        let told = error.downcast_ref::<OutOfMemory>().expect("its own sort");
        assert_eq!(told.device.to_string(), "cuda:0", "{name}");
        assert_eq!(told.total, Some(total));
        assert!(told.free.is_some_and(|free| free <= total), "{told}");
        let still = Tensor::ones(8, DType::F32, &device).and_then(|t| t.sum_all());
        let still = still.and_then(|sum| sum.to_scalar::<f32>());
        assert_eq!(still.expect("computed"), 8.0);
    }
}

fn golden_models(folder: &Path) -> Vec<PathBuf> {
    let mut stems: Vec<PathBuf> = std::fs::read_dir(folder.join("forward"))
        .expect("forward goldens")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| path.with_extension(""))
        .collect();
    stems.sort();
    assert!(!stems.is_empty(), "some model has goldens");
    stems
}

#[test]
fn every_reference_model_has_the_recorded_scores_and_the_kernels_gradients() {
    let Some(folder) = reference(&["forward", "models"]) else {
        return;
    };
    let mut seen = Worst::default();
    for stem in golden_models(&folder) {
        let model = stem.file_name().expect("a name").to_string_lossy();
        let golden = Golden::open(&stem);
        let weights = checkpoint::load(&folder.join("models").join(&*model)).expect("a checkpoint");
        let completions = golden.json["completions"].as_array().expect("completions");
        for temperature in ["1.0", "0.6"] {
            // All completions in one packed batch.
            let (mut ids, mut starts, mut scored) = (vec![], vec![0], vec![]);
            let mut recorded = [vec![], vec![]];
            for (i, completion) in completions.iter().enumerate() {
                for key in ["prompt_ids", "completion_ids"] {
                    let part = completion[key].as_array().expect("a list of ids");
                    let first = ids.len();
                    ids.extend(part.iter().map(|id| id.as_u64().expect("an id") as u32));
                    if key == "completion_ids" {
                        scored.extend(first..ids.len());
                    }
                }
                starts.push(ids.len());
                for (list, name) in recorded.iter_mut().zip(["logps", "entropy"]) {
                    let name = format!("completion{i}.{name}_t{temperature}");
                    list.extend_from_slice(golden.get(&name));
                }
            }
            let mut rng = Seed::new(2).rng();
            let mut numbers = || scored.iter().map(|_| rng.normal() as f32).collect();
            let (dlogp, dentropy) = (numbers(), Some(numbers()));
            let case = Case {
                ids,
                starts,
                scored,
                temperature: temperature.parse().expect("a number"),
                dlogp,
                dentropy,
            };
            let kernels = on_kernels(&weights, &case);
            for (name, device) in devices() {
                let mut workspace = Workspace::default();
                let ours = on_device(&weights, &case, &device, &mut workspace).expect("computed");
                let what = format!("{model} at {temperature} on {name}");
                seen.hold(&weights, &ours, &kernels, &what);
                for (ours, recorded) in [&ours.logp, &ours.entropy].into_iter().zip(&recorded) {
                    let off = worst(ours, recorded);
                    assert!(off < 2e-5, "{what}: off by {off}");
                }
            }
        }
    }
}

#[test]
fn supervised_loss_and_every_gradient_agree_with_trl_on_a_device() {
    let Some(folder) = reference(&["losses/sft.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("losses/sft"));
    let weights = checkpoint::load(&folder.join("models/qwen2")).expect("a checkpoint");
    let width = golden.shape("ids")[1];
    let rows = |name: &str| -> Vec<&[f64]> { golden.get(name).chunks(width).collect() };
    let (mut ids, mut starts, mut scored) = (vec![], vec![0], vec![]);
    let masks = rows("attention_mask").into_iter().zip(rows("loss_mask"));
    for (row, (real, trained)) in rows("ids").into_iter().zip(masks) {
        for i in (0..width).filter(|&i| real[i] == 1.0) {
            if trained[i] == 1.0 {
                scored.push(ids.len());
            }
            ids.push(row[i] as u32);
        }
        starts.push(ids.len());
    }
    let n = scored.len() as f32;
    let case = Case {
        dlogp: vec![-1.0 / n; scored.len()],
        dentropy: None,
        ids,
        starts,
        scored,
        temperature: 1.0,
    };
    for (name, device) in devices() {
        let ours = on_device(&weights, &case, &device, &mut Workspace::default());
        let ours = ours.expect("computed");
        let loss = f64::from(-ours.logp.iter().sum::<f32>() / n);
        let expected = golden.json["loss"].as_f64().expect("a loss");
        assert!((loss / expected - 1.0).abs() < 2e-5, "{loss} on {name}");
        let mut gradients = Gradients::new(&format!("SFT on candle's tensors, {name}"));
        gradients.check(&weights.layout.params, &ours.grads, &golden, "sft");
        gradients.report();
    }
}
