//! The device's operations by kernels, which the tests of `cuda` play on candle's CPU: the library's own launches, whole passes and
//! steps of them, held to what the plain operations and the CPU's core give.

use super::learner::{MODELS, adapter};
use super::{Case, Computed, Workspace, devices, goldens, on_kernels, pages, sampler};
use crate::cuda::player::Played;
use crate::numerics::{FAMILIES, relative, tiny, weights};
use crate::study::reference;
use candle_core::{DType, Device, Result, Tensor};
use pipe::base::device::{DeviceName, Numerics};
use pipe::base::rng::Seed;
use pipe::learn::attack::score::{Options, Scorer, Wanted as Asked};
use pipe::learn::batch::Row;
use pipe::learn::config::{Config, Head};
use pipe::learn::cpu::Cpu;
use pipe::learn::decoder::{Keep, Packed};
use pipe::learn::decoder_backward::Upstream;
use pipe::learn::device::launch::{Arg, Choice, by, launch, of_rows, used};
use pipe::learn::device::ops::logits::{self, Slopes};
use pipe::learn::device::ops::{rows, table};
use pipe::learn::device::{self, DeviceWeights};
use pipe::learn::learner::{Learner, Policy};
use pipe::learn::objective::Goal;
use pipe::learn::objective::sft::SftObjective;
use pipe::learn::optim::AdamW;
use pipe::learn::weights::Weights;

/// What a pass forward and back launches of a model that has all there is to a head.
const OF_A_PASS: [&str; 14] = [
    "add_parts",
    "embed",
    "embed_backward",
    "flash_backward_keys",
    "flash_backward_queries",
    "flash_delta",
    "flash_forward",
    "logit_gradient",
    "logit_stats",
    "rms_norm",
    "rms_norm_backward",
    "swiglu",
    "swiglu_backward",
    "turn_heads",
];

/// What a step of the sampler launches besides.
const OF_A_STEP: [&str; 5] = [
    "decode_merge",
    "decode_pages",
    "draw",
    "logit_stats",
    "turn_heads_cached",
];

/// What a step of a learner launches behind its passes.
const OF_AN_UPDATE: [&str; 3] = ["adamw", "square_parts", "square_sum"];

/// Kernels that every block launches as often as each other, forward and back: where heads or rows were computed plainly, they are not.
const ALIKE: [&[&[&str]]; 2] = [
    &[
        &["swiglu"],
        &["turn_heads", "turn_heads_cached"],
        &["flash_forward", "decode_merge"],
    ],
    &[
        &["swiglu_backward"],
        &["turn_heads_backward"],
        &["flash_delta"],
        &["flash_backward_queries"],
        &["flash_backward_keys"],
    ],
];

/// The work on candle's CPU by kernels, each of which is played: all of these, and no block's heads or rows otherwise. None where there is
/// no C compiler, which is told.
fn played<T>(kernels: &[&str], work: impl FnOnce() -> T) -> Option<T> {
    let player = Played::new()?;
    let done = by(player.choice(), work);
    let launched = player.launched();
    for kernel in kernels {
        assert!(launched.contains_key(*kernel), "{kernel} of {launched:?}");
    }
    assert!(!launched.is_empty(), "nothing was played");
    for each in ALIKE {
        let times = |kernels: &&[&str]| -> usize {
            let own = kernels.iter().filter_map(|kernel| launched.get(*kernel));
            own.sum()
        };
        let times: Vec<usize> = each.iter().map(times).collect();
        let alike = times.iter().all(|n| *n == times[0]);
        assert!(alike, "{each:?} {times:?} times: some computed plainly");
    }
    Some(done)
}

/// The same of work whose learners are where `own` says: on a GPU, where there is one, by its kernels.
fn played_or_on_gpu(kernels: &[&str], work: impl FnOnce()) {
    match devices().into_iter().find(|(name, _)| *name == "cuda") {
        None => drop(played(kernels, work)),
        Some((_, gpu)) => {
            assert!(used(&gpu), "a GPU computes by kernels");
            work();
        }
    }
}

#[test]
fn work_that_launches_nothing_or_not_all_is_no_test_of_kernels() {
    let refused = |kernels: &[&str], work: &dyn Fn()| {
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| played(kernels, work)));
        // Or there is no C compiler, which `skip` tells.
        assert!(matches!(told, Err(_) | Ok(None)), "{kernels:?}");
    };
    let gate = numbers("gate", (2, 8));
    refused(&[], &|| ());
    refused(&["rms_norm"], &|| drop(rows::swiglu(&gate)));
    // Heads that were computed plainly would leave the rows of their block alone.
    refused(&["swiglu"], &|| drop(rows::swiglu(&gate)));
}

#[test]
fn every_family_computes_by_kernels_what_the_cpu_computes() {
    let kernels = [&OF_A_PASS[..], &["turn_heads_backward"]].concat();
    let work = super::every_family_has_the_scores_and_gradients_of_the_kernels;
    played(&kernels, work);
}

#[test]
fn any_number_of_heads_by_kernels() {
    let work = super::any_number_of_heads_has_the_scores_and_gradients_of_the_kernels;
    played(&OF_A_PASS, work);
}

#[test]
fn gradients_at_hidden_states_by_kernels() {
    let work = super::gradients_at_hidden_states_and_embeddings_are_those_of_the_kernels;
    played(&["flash_backward_keys", "rms_norm_backward"], work);
    let work = super::a_batch_without_scored_tokens_has_no_gradient;
    played(&["flash_backward_keys", "embed_backward"], work);
    played(
        &OF_A_PASS,
        super::a_workspace_serves_models_with_other_angles,
    );
}

#[test]
fn adapters_by_kernels_are_peft_s() {
    if reference(&["lora.json"]).is_some() {
        let work = goldens::an_adapter_has_the_logits_and_gradients_of_peft_on_a_device;
        played(&["flash_backward_keys", "swiglu_backward"], work);
    }
}

/// Steps of a learner on short rows: parameters as they moved, and the norms.
fn steps(learner: &mut dyn Learner) -> (Vec<f32>, Vec<f64>) {
    let mut rng = Seed::new(12).rng();
    let rows: Vec<Row> = [21usize, 3, 40]
        .iter()
        .map(|&n| Row {
            ids: (0..n).map(|_| rng.below(37) as u32).collect(),
            mask: (0..n).map(|t| t > n / 3).collect(),
        })
        .collect();
    let before = learner.snapshot().expect("numbers").trained.into_owned();
    let reference = learner
        .score(Policy::Reference, &rows, 1.0)
        .expect("scores");
    let mut norms = vec![];
    for _ in 0..3 {
        let tokens = rows.iter().map(Row::scored).sum();
        let mut goal = Goal::Logp(Box::new(SftObjective::new(tokens)));
        let sum = learner.accumulate(&rows, &mut goal, 1.0, &mut |_| {});
        norms.push(sum.expect("a gradient").loss);
        norms.push(learner.clip(0.5).expect("clipped"));
        learner.update(&AdamW::default(), 1e-3).expect("updated");
    }
    let again = learner
        .score(Policy::Reference, &rows, 1.0)
        .expect("scores");
    assert_eq!(again, reference, "what training began as stays");
    let after = learner.snapshot().expect("numbers").trained.into_owned();
    (
        after.iter().zip(&before).map(|(a, b)| a - b).collect(),
        norms,
    )
}

#[test]
fn updates_by_kernels_are_the_cpu_s() {
    let kernels = [&OF_AN_UPDATE[..], &["flash_backward_keys"]].concat();
    for (family, head) in MODELS {
        for adapted in [false, true] {
            let weights = weights(family, head);
            let adapter = adapted.then(|| adapter(&weights));
            let mut cpu = Cpu::new(weights.clone(), adapter.clone(), true, Keep::All);
            let there = || {
                let (weights, adapter) = (weights.clone(), adapter.clone());
                let there = device::open(DeviceName::Candle, weights, adapter, true, Keep::States);
                steps(there.expect("opened").as_mut())
            };
            let theirs = steps(&mut cpu);
            let Some(ours) = played(&kernels, there) else {
                return;
            };
            let again = played(&kernels, there);
            assert!(again.as_ref() == Some(&ours), "the same bytes twice");
            let moved = relative(&ours.0, &theirs.0);
            assert!(moved < 2e-3, "{family:?}, adapted {adapted}: {moved}");
            for (a, b) in ours.1.iter().zip(&theirs.1) {
                assert!((a - b).abs() < 1e-4 * b.abs(), "{family:?}: {a} and {b}");
            }
        }
    }
}

/// Of numbers in bf16 on the tensor cores: scores and gradients as near to those of f32, and of plain operations in bf16, as rounding
/// lets them.
#[test]
fn a_model_in_bf16_by_kernels() {
    // With biases and without norms of heads, and the other way round.
    for (family, head) in [FAMILIES[0], FAMILIES[1]] {
        let config = Config {
            head_dim: 32,
            initializer_range: 0.1,
            ..tiny(family, head)
        };
        let mut weights = Weights::random(config, Seed::new(3));
        let mut rng = Seed::new(4).rng();
        weights
            .data
            .iter_mut()
            .for_each(|w| *w += 0.05 * rng.normal() as f32);
        let case = Case::random(&[66, 1, 17], 37, |_, i| i % 3 != 0);
        let exact = on_kernels(&weights, &case);
        let compute = || computed(&weights, &case, Numerics::Bf16);
        let plain = by(Choice::Plain, compute);
        // The table that products read is in bf16, and candle gathers its rows.
        let kernels = OF_A_PASS.into_iter().filter(|kernel| *kernel != "embed");
        let kernels: Vec<&str> = kernels.collect();
        let Some(ours) = played(&kernels, compute) else {
            return;
        };
        let apart = |a: &Computed, b: &Computed| {
            let logp = a
                .logp
                .iter()
                .zip(&b.logp)
                .map(|(a, b)| f64::from((a - b).abs()));
            (logp.fold(0.0, f64::max), relative(&a.grads, &b.grads))
        };
        let (exact, plain) = (apart(&ours, &exact), apart(&ours, &plain));
        println!("{family:?}: of f32 {exact:?}, of plain operations {plain:?}");
        assert!(exact.0 < 4e-2 && exact.1 < 4e-2, "{family:?}: {exact:?}");
        assert!(plain.0 < 4e-2 && plain.1 < 4e-2, "{family:?}: {plain:?}");
    }
}

/// A pass forward and back in these numbers.
fn computed(weights: &Weights, case: &Case, numerics: Numerics) -> Computed {
    let there = DeviceWeights::trained(weights, &Device::Cpu, numerics).expect("uploaded");
    let mut grads = there.parts.zeros(&Device::Cpu).expect("zeros");
    let (batch, t) = (case.packed(), case.temperature);
    let mut workspace = Workspace::default();
    let tape = device::decoder::forward(&there, batch, &case.scored, t, Keep::All, &mut workspace);
    let tape = tape.expect("computed");
    let upstream = Upstream {
        dlogp: &case.dlogp,
        dentropy: case.dentropy.as_deref(),
        ..Upstream::default()
    };
    device::backward::backward(&there, &tape, upstream, &mut grads).expect("computed");
    Computed {
        logp: tape.scores.logp.clone(),
        entropy: tape.scores.entropy.clone(),
        hits: tape.scores.greedy_hit.clone(),
        grads: grads.download().expect("numbers"),
    }
}

fn numbers(name: &str, shape: (usize, usize)) -> Tensor {
    let mut rng = Seed::new(5).child(name).rng();
    let all: Vec<f32> = (0..shape.0 * shape.1)
        .map(|_| rng.normal() as f32)
        .collect();
    Tensor::from_vec(all, shape, &Device::Cpu).expect("numbers")
}

fn flat(t: &Tensor) -> Vec<f32> {
    let t = t.flatten_all().and_then(|t| t.to_dtype(DType::F32));
    t.and_then(|t| t.to_vec1()).expect("numbers")
}

/// What an operation gives both ways, by these kernels: of rows alone, as no block has its heads there.
fn both_ways(what: &str, kernels: &[&str], most: f64, work: impl Fn() -> Result<Vec<Tensor>>) {
    let Some(player) = Played::new() else {
        return;
    };
    let plain = by(Choice::Plain, &work).expect("computed");
    let ours = by(player.choice(), &work).expect("computed");
    let launched = player.launched();
    let names: Vec<&str> = launched.keys().map(String::as_str).collect();
    assert_eq!(names, kernels, "{what}");
    assert_eq!(plain.len(), ours.len());
    for (i, (a, b)) in ours.iter().zip(&plain).enumerate() {
        assert_eq!((a.shape(), a.dtype()), (b.shape(), b.dtype()), "{what} {i}");
        let off = relative(&flat(a), &flat(b));
        assert!(off <= most, "{what} {i}: off by {off}");
    }
}

#[test]
fn rows_both_ways() {
    for act in [DType::F32, DType::BF16] {
        let most = if act == DType::F32 { 1e-5 } else { 6e-3 };
        for (n, width) in [(1, 5), (37, 24), (2, 300)] {
            // Rows that lie in a wider tensor.
            let x = numbers("x", (n, 2 * width))
                .narrow(1, width, width)
                .expect("columns");
            let weight = numbers("w", (1, width)).flatten_all().expect("a row");
            let (dy, onto) = (numbers("dy", (n, width)), numbers("onto", (n, width)));
            let kernels = ["add_parts", "rms_norm", "rms_norm_backward"];
            both_ways("norm", &kernels, most, || {
                let (y, r) = rows::norm(&x, &weight, 1e-5, act)?;
                let again = rows::norm_again(&x, &weight, &r, 1e-5, act)?;
                assert_eq!(flat(&again), flat(&y), "once more");
                let (dx, dw) = rows::norm_backward(&x, &weight, &r, &dy, None)?;
                let onto = onto.copy()?;
                let (sum, _) = rows::norm_backward(&x, &weight, &r, &dy, Some(onto))?;
                Ok(vec![y, r, dx, dw, sum])
            });
            let gate_up = numbers("gate", (n, 2 * width))
                .to_dtype(act)
                .expect("rounded");
            let dact = numbers("dact", (n, width)).to_dtype(act).expect("rounded");
            both_ways("swiglu", &["swiglu", "swiglu_backward"], most, || {
                let before = flat(&gate_up);
                let out = rows::swiglu(&gate_up)?;
                let (back, again) = rows::swiglu_backward(&gate_up, dact.copy()?)?;
                assert_eq!(flat(&again), flat(&out), "once more");
                assert_eq!(flat(&gate_up), before, "the tape is as it was");
                Ok(vec![out, back])
            });
        }
    }
}

#[test]
fn logits_both_ways() {
    for (n, vocabulary) in [(1, 3), (5, 2500)] {
        let z = (numbers("z", (n, vocabulary)) * 3.0).expect("logits");
        let targets: Vec<u32> = (0..n).map(|i| (i * 997 % vocabulary) as u32).collect();
        let targets = Tensor::from_vec(targets, (n, 1), &Device::Cpu).expect("targets");
        let (dlogp, dentropy) = (numbers("dlogp", (n, 1)), numbers("dentropy", (n, 1)));
        for act in [DType::F32, DType::BF16] {
            for entropy in [None, Some(&dentropy)] {
                let most = if act == DType::F32 { 1e-5 } else { 6e-3 };
                both_ways("logits", &["logit_gradient", "logit_stats"], most, || {
                    let stats = logits::stats(&z, Some(&targets), 0.8)?;
                    let slopes = Slopes {
                        targets: &targets,
                        lse: &stats.lse,
                        entropy: &stats.entropy,
                        dlogp: &dlogp,
                        dentropy: entropy,
                    };
                    let dz = logits::gradient(z.copy()?, &slopes, 0.8, act)?;
                    let logp = stats.logp.expect("of targets");
                    let greedy = (stats.greedy.to_dtype(DType::F32)? + 1.0)?;
                    Ok(vec![logp, stats.lse, stats.entropy, greedy, dz])
                });
            }
        }
    }
    // Of two largest the first is the greedy choice, as the CPU has it.
    let z = Tensor::new(&[[1f32, 7.0, 7.0], [7.0, 1.0, 7.5]], &Device::Cpu).expect("logits");
    let greedy = || {
        let stats = logits::stats(&z, None, 1.0).expect("computed");
        stats.greedy.flatten_all().and_then(|t| t.to_vec1::<u32>())
    };
    both_ways("greedy", &["logit_stats"], 0.0, || {
        assert_eq!(greedy()?, [1, 2]);
        Ok(vec![])
    });
}

/// Where two logits are the largest, the model is said to choose the first of them, by whatever it is asked: in training, and behind a
/// candidate.
#[test]
fn the_greedy_choice_of_a_tie_is_the_cpu_s() {
    let (family, head) = (FAMILIES[2].0, Head::Untied);
    let mut weights = weights(family, head);
    // Tokens 3 and 9 have one row of the head, which is all there is to choose.
    let (d, head) = (weights.config.hidden_size, weights.layout.head.start);
    let row: Vec<f32> = weights.data[head..head + d].to_vec();
    weights.data[head..head + 37 * d].fill(0.0);
    for token in [3, 9] {
        weights.data[head + token * d..head + (token + 1) * d].copy_from_slice(&row);
    }
    let case = Case {
        dentropy: None,
        ..Case::random(&[40], 37, |_, _| true)
    };
    let tied = Case {
        ids: [&case.ids[..20], &[9, 3, 9, 3, 9, 3], &case.ids[26..]].concat(),
        ..case
    };
    let kernels = on_kernels(&weights, &tied);
    let there = DeviceWeights::upload(&weights, &Device::Cpu).expect("uploaded");
    let mut scorer = Scorer::new(&weights).expect("a language head");
    let options = Options {
        tokens: 50,
        stop: &|| false,
    };
    let prompts: Vec<Vec<u32>> = (1..12).map(|n| tied.ids[..n].to_vec()).collect();
    let mut work = || {
        let ours = computed(&weights, &tied, Numerics::F32);
        assert_eq!(ours.hits, kernels.hits);
        for wanted in [Asked::Target(&[9]), Asked::Target(&[3]), Asked::First(&[9])] {
            let net = (&there).into();
            let mut workspace = Workspace::default();
            let ours = device::attack::score(net, &prompts, wanted, options, &mut workspace);
            let ours: Vec<bool> = ours.expect("scored").iter().map(|s| s.greedy).collect();
            let theirs = scorer.score(&prompts, wanted, options).expect("scored");
            let theirs: Vec<bool> = theirs.iter().map(|s| s.greedy).collect();
            assert_eq!(ours, theirs, "{wanted:?}");
        }
    };
    work();
    played(&["logit_stats"], work);
}

#[test]
fn rows_of_a_table_both_ways() {
    let ids = [5u32, 36, 0, 5, 5, 12, 36, 1];
    let (embeddings, more) = (numbers("table", (37, 300)), numbers("more", (8, 300)));
    both_ways("table", &["embed", "embed_backward"], 1e-6, || {
        let sums = embeddings.copy()?;
        table::add(&sums, &ids, &more)?;
        Ok(vec![table::gather(&embeddings, &ids)?, sums])
    });
}

#[test]
fn nobody_launches_on_a_cpu_unless_it_is_played() {
    assert!(!used(&Device::Cpu));
    let (x, y) = (numbers("x", (1, 4)), numbers("y", (1, 4)));
    let add = || {
        let arguments = [Arg::Write(&y), Arg::Read(&x), Arg::I64(4)];
        launch("add_to", of_rows(DType::F32), [4, 1, 1], &arguments)
    };
    let error = add().expect_err("nobody").to_string();
    assert!(error.contains("nobody launches"), "{error}");
    let before = flat(&y);
    played(&["add_to"], || {
        assert!(used(&Device::Cpu));
        by(Choice::Plain, || assert!(!used(&Device::Cpu)));
        add().expect("played");
        let sums: Vec<f32> = before.iter().zip(flat(&x)).map(|(y, x)| y + x).collect();
        assert_eq!(flat(&y), sums);
    });
    assert!(!used(&Device::Cpu), "only while it lasts");
}

/// Samples by kernels, in a cache whose pages are shared, waited for and given back: those of the plain operations.
#[test]
fn samples_by_kernels() {
    let work = pages::few_rows_say_by_kernels_what_they_say_without;
    played(&OF_A_STEP, work);
    played_or_on_gpu(&OF_A_STEP, pages::few_rows_in_bf16_are_the_trainer_s);
    let refused = sampler::what_cannot_be_sampled_is_refused_as_the_kernels_refuse_it;
    played_or_on_gpu(&["flash_forward", "logit_stats"], refused);
}

#[test]
fn a_broken_window_by_kernels() {
    let work = super::learner::a_window_that_is_broken_or_empty_is_told_as_the_kernels_tell_it;
    played_or_on_gpu(&["flash_forward", "logit_stats"], work);
}

/// What a kernel counts in 32 bits is refused in words where it does not fit.
#[test]
fn a_launch_counts_what_it_is_given() {
    let x = numbers("x", (1, 4));
    let error = |counts, last| {
        let arguments = [Arg::Read(&x), Arg::Write(&x), last];
        let done = launch("to_activations", of_rows(DType::F32), counts, &arguments);
        done.expect_err("too many").to_string()
    };
    let told = error([4, 1, 1], Arg::I32(1 << 31));
    assert!(told.contains("counts in 32 bits"), "{told}");
    let told = error([1 << 40, 1, 1], Arg::I64(1 << 40));
    assert!(told.contains("no room"), "{told}");
}

/// A passage of every length that a tile has an end for.
#[test]
fn sequences_of_any_length_by_kernels() {
    let (family, head) = FAMILIES[1];
    let weights = weights(family, head);
    let there = DeviceWeights::upload(&weights, &Device::Cpu).expect("uploaded");
    for lengths in [vec![1], vec![63, 1, 64], vec![65, 128], vec![129]] {
        let n: usize = lengths.iter().sum();
        let ids: Vec<u32> = (0..n).map(|i| (i * i % 37) as u32).collect();
        let mut starts = vec![0];
        for length in &lengths {
            starts.push(starts.last().unwrap() + length);
        }
        let batch = Packed {
            ids: &ids,
            starts: &starts,
        };
        let last: Vec<usize> = starts[1..].iter().map(|end| end - 1).collect();
        let logits = || {
            let mut workspace = Workspace::default();
            let logits = device::decoder::logits_at(&there, batch, &last, &mut workspace);
            flat(&logits.expect("computed"))
        };
        let plain = logits();
        played(&["embed", "flash_forward"], || {
            let off = relative(&logits(), &plain);
            assert!(off < 1e-5, "{lengths:?}: {off}");
        });
    }
}
