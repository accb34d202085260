//! A device in bf16, on candle's CPU: products of bf16 factors summed in f32. Whole models against the kernels of the CPU and the
//! golden files as near as that rounding lets them; masters, moments and checkpoints that are in f32 all the same; the same bytes
//! twice; samples whose log-probabilities are the trainer's.

use super::learner::{MODELS, adapter, moved, rows, steps, weights_of};
use super::{Case, Computed, devices, on_kernels};
use crate::numerics::{FAMILIES, relative, weights};
use crate::reference::{Golden, worst};
use crate::study::reference;
use candle_core::{DType, Device, Tensor};
use pipe::base::device::{Numerics, Place};
use pipe::base::rng::Seed;
use pipe::learn::batch::Row;
use pipe::learn::checkpoint;
use pipe::learn::config::{Family, Head};
use pipe::learn::decoder::Keep;
use pipe::learn::decoder_backward::Upstream;
use pipe::learn::device::product::{add_product, product, product_in};
use pipe::learn::device::{self, DeviceWeights, Parts, Workspace};
use pipe::learn::learner::{Learner, Policy};
use pipe::learn::optim::{self, AdamW};
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::{Options, Request};
use pipe::learn::weights::Weights;

/// How far scores may be from those in f32 (nats), and a parameter's gradient (of its size): a few times 2^-8, which is what one
/// rounding costs.
const SCORES: f64 = 6e-2;
const GRADIENTS: f64 = 7e-2;

/// What the guard of rollouts lets pass, in nats a token.
const GUARD: f64 = 0.1;

fn place(numerics: Numerics) -> Place {
    Place {
        device: super::own().device,
        numerics,
    }
}

fn opened(model: (Family, Head), adapted: bool, numerics: Numerics) -> Box<dyn Learner> {
    let weights = weights_of(model);
    let adapter = adapted.then(|| adapter(&weights));
    let learner = device::open(place(numerics), weights, adapter, true, Keep::All);
    learner.expect("opened")
}

fn in_bf16(weights: &Weights, case: &Case, keep: Keep, device: &Device) -> Computed {
    let mut workspace = Workspace::default();
    let there = DeviceWeights::trained(weights, device, Numerics::Bf16).expect("uploaded");
    let (batch, t) = (case.packed(), case.temperature);
    let upstream = Upstream {
        dlogp: &case.dlogp,
        dentropy: case.dentropy.as_deref(),
        ..Upstream::default()
    };
    let mut grads = there.parts.zeros(device).expect("zeros");
    let tape =
        device::decoder::forward(&there, batch, &case.scored, t, keep, &mut workspace).unwrap();
    device::backward::backward(&there, &tape, upstream, &mut grads).expect("computed");
    let scores = device::decoder::score(&there, batch, &case.scored, t, &mut workspace).unwrap();
    assert_eq!(scores, tape.scores, "with and without a tape");
    Computed {
        logp: scores.logp,
        entropy: scores.entropy,
        hits: scores.greedy_hit,
        grads: grads.download().expect("numbers"),
    }
}

/// The largest difference of a score, and of a parameter's gradient over its size; one that is next to none is measured against all.
fn apart(weights: &Weights, ours: &Computed, theirs: &Computed) -> (f64, f64) {
    let pairs = [(&ours.logp, &theirs.logp), (&ours.entropy, &theirs.entropy)];
    let each = pairs.into_iter().flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b)
    });
    let scores = each.fold(0.0, |most: f64, (a, b)| {
        assert!(a.is_finite());
        most.max(f64::from((a - b).abs()))
    });
    let (total, mut grads) = (optim::norm(&theirs.grads), 0.0f64);
    for param in &weights.layout.params {
        let part = |grads: &[f32]| grads[param.range.clone()].to_vec();
        let (a, b) = (part(&ours.grads), part(&theirs.grads));
        let difference: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let off = optim::norm(&difference) / optim::norm(&b).max(1e-2 * total);
        assert!(off.is_finite(), "{}", param.name);
        grads = grads.max(off);
    }
    (scores, grads)
}

#[test]
fn every_family_is_as_near_to_f32_as_its_rounding() {
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let case = Case::random(&[9, 1, 150, 2, 33, 5, 1, 64], 37, |s, i| match s {
            4 => false,
            5 => i == 4,
            _ => i % 3 != 0,
        });
        let kernels = on_kernels(&weights, &case);
        for (name, device) in devices() {
            let ours = in_bf16(&weights, &case, Keep::All, &device);
            let (scores, grads) = apart(&weights, &ours, &kernels);
            println!("{family:?} on {name}: scores {scores:.1e}, gradients {grads:.1e}");
            let near = scores < SCORES && grads < GRADIENTS;
            assert!(near, "{family:?} on {name}: {scores} {grads}");
            assert!(scores > 1e-4 && grads > 1e-4, "{family:?} was rounded");
            let again = in_bf16(&weights, &case, Keep::States, &device);
            assert!(again.grads == ours.grads, "whatever is kept");
        }
    }
}

#[test]
fn every_reference_model_has_the_recorded_scores_but_for_its_rounding() {
    let Some(folder) = reference(&["forward", "models"]) else {
        return;
    };
    for stem in super::golden_models(&folder) {
        let model = stem.file_name().expect("a name").to_string_lossy();
        let golden = Golden::open(&stem);
        let weights = checkpoint::load(&folder.join("models").join(&*model)).expect("a checkpoint");
        let there = DeviceWeights::frozen(&weights, &Device::Cpu, Numerics::Bf16);
        let (there, mut workspace) = (there.expect("uploaded"), Workspace::default());
        let completions = golden.json["completions"].as_array().expect("completions");
        let mut off = 0.0f64;
        for (i, completion) in completions.iter().enumerate() {
            let part = |key: &str| crate::reference::ids(&completion[key]);
            let (prompt, response) = (part("prompt_ids"), part("completion_ids"));
            let ids = [&prompt[..], &response].concat();
            let batch = pipe::learn::decoder::Packed {
                ids: &ids,
                starts: &[0, ids.len()],
            };
            let scored: Vec<usize> = (prompt.len()..ids.len()).collect();
            let scores = device::decoder::score(&there, batch, &scored, 1.0, &mut workspace);
            let recorded = golden.get(&format!("completion{i}.logps_t1.0"));
            off = off.max(worst(&scores.expect("computed").logp, recorded));
        }
        println!("{model}: log-probabilities {off:.1e}");
        assert!(off > 1e-5 && off < SCORES, "{model}: {off}");
    }
}

#[test]
fn steps_of_every_objective_are_those_in_f32_but_for_rounding() {
    for model in MODELS {
        for (name, adapted) in [
            ("sft", false),
            ("sft", true),
            ("dpo", false),
            ("grpo", true),
        ] {
            let [mut ours, mut theirs] =
                [Numerics::Bf16, Numerics::F32].map(|n| opened(model, adapted, n));
            let begins = theirs.snapshot().expect("numbers").trained.into_owned();
            let (a, _) = steps(name, ours.as_mut());
            let (b, _) = steps(name, theirs.as_mut());
            let off = |(a, b): (&f64, &f64)| (a - b).abs() / b.abs().max(1e-1);
            let numbers = a.iter().zip(&b).map(off).fold(0.0, f64::max);
            let ways = [&ours, &theirs].map(|l| moved(l.as_ref(), &begins));
            let moved = relative(&ways[0], &ways[1]);
            let seconds = [&ours, &theirs].map(|l| l.snapshot().expect("numbers").second.to_vec());
            let second = relative(&seconds[0], &seconds[1]);
            println!(
                "{name} {model:?} adapted {adapted}: losses, norms {numbers:.1e}, moved {moved:.1e}, second moments {second:.1e}"
            );
            assert!(numbers < 5e-2, "{name}: {a:?} and {b:?}");
            // AdamW makes a full step of a gradient that is next to none, whatever its sign.
            assert!(moved < 0.3 && second < 5e-2, "{name}: {moved} {second}");
        }
    }
}

/// Weights of 0.02 lie 1.2e-4 apart in bf16: an update of 1e-6 is lost there, and a hundred of them in f32 are not.
#[test]
fn updates_that_are_smaller_than_a_step_of_bf16_add_up_in_the_masters() {
    let weights = weights(Family::Llama, Head::Untied);
    let mut small = weights.clone();
    small.data.fill(0.02);
    let mut there = DeviceWeights::trained(&small, &Device::Cpu, Numerics::Bf16).expect("there");
    // As its products read it: norms as they are, matrices rounded.
    let read = |there: &DeviceWeights| there.kept().unwrap().parts.download().unwrap();
    let before = read(&there);
    let add = |there: &mut DeviceWeights, times: usize| {
        let more = there.parts.zeros(&Device::Cpu).unwrap().len();
        for _ in 0..times {
            let change = |parts: &mut Parts| -> candle_core::Result<()> {
                let all: Vec<f32> = parts.download()?.iter().map(|w| w + 1e-6).collect();
                assert_eq!(all.len(), more);
                *parts = parts.with(&all, &Device::Cpu)?;
                Ok(())
            };
            there.parts.change(change).expect("changed");
        }
    };
    let matrix = weights.layout.embed.start;
    add(&mut there, 10);
    assert_eq!(
        read(&there)[matrix],
        before[matrix],
        "less than half a step"
    );
    assert!(there.parts.download().unwrap()[matrix] > 0.020_009);
    add(&mut there, 90);
    let (now, master) = (
        read(&there)[matrix],
        there.parts.download().unwrap()[matrix],
    );
    assert!(
        now > before[matrix] && (master - 0.0201).abs() < 1e-7,
        "{now} {master}"
    );

    // And so does AdamW: from here to there in steps of a rate of 1e-6 as in f32.
    let far = |numerics| {
        let model = MODELS[1];
        let mut learner = opened(model, false, numerics);
        let begins = learner.snapshot().expect("numbers").trained.into_owned();
        let rows = &rows("sft")[2..4];
        for _ in 0..20 {
            let tokens = rows.iter().map(Row::scored).sum();
            let mut goal = super::learner::sft(tokens);
            learner
                .accumulate(rows, &mut goal, 1.0, &mut |_| {})
                .expect("computed");
            learner.clip(1.0).expect("clipped");
            learner.update(&AdamW::default(), 1e-6).expect("updated");
        }
        moved(learner.as_ref(), &begins)
    };
    let (ours, theirs) = (far(Numerics::Bf16), far(Numerics::F32));
    let off = relative(&ours, &theirs);
    println!("20 updates of 1e-6: {off:.1e} apart");
    assert!(off < 0.3, "{off}");
    let still = |all: &[f32]| all.iter().filter(|x| **x == 0.0).count();
    let (ours, theirs) = (still(&ours), still(&theirs));
    assert!(
        ours <= theirs + theirs / 50,
        "what moves in f32 moves: {ours} and {theirs} do not"
    );
}

fn bits(list: &[f32]) -> Vec<u32> {
    list.iter().map(|x| x.to_bits()).collect()
}

fn all_bits(learner: &dyn Learner) -> [Vec<u32>; 3] {
    let snapshot = learner.snapshot().expect("numbers");
    [&snapshot.trained, &snapshot.first, &snapshot.second].map(|list| bits(list))
}

#[test]
fn a_learner_in_bf16_repeats_its_bytes_and_goes_on_from_a_checkpoint() {
    for adapted in [false, true] {
        let whole = || {
            let mut learner = opened(MODELS[0], adapted, Numerics::Bf16);
            let numbers = [
                steps("sft", learner.as_mut()).0,
                steps("grpo", learner.as_mut()).0,
            ];
            (numbers, all_bits(learner.as_ref()))
        };
        let (numbers, expected) = whole();
        assert!(
            whole() == (numbers, expected.clone()),
            "the same bytes twice"
        );
        // Killed between the two, and gone on in a new process.
        let mut killed = opened(MODELS[0], adapted, Numerics::Bf16);
        steps("sft", killed.as_mut());
        let mut resumed = opened(MODELS[0], adapted, Numerics::Bf16);
        resumed
            .restore(killed.snapshot().expect("numbers"))
            .expect("restored");
        steps("grpo", resumed.as_mut());
        assert!(
            all_bits(resumed.as_ref()) == expected,
            "as if nothing had happened"
        );
    }
}

/// A checkpoint is of masters: whoever computes in other numbers goes on from the same bits.
#[test]
fn a_checkpoint_goes_on_in_other_numbers() {
    for adapted in [false, true] {
        for [from, to] in [
            [Numerics::Bf16, Numerics::F32],
            [Numerics::F32, Numerics::Bf16],
        ] {
            let mut first = opened(MODELS[0], adapted, from);
            steps("sft", first.as_mut());
            let mut second = opened(MODELS[0], adapted, to);
            second
                .restore(first.snapshot().expect("numbers"))
                .expect("restored");
            assert!(
                all_bits(second.as_ref()) == all_bits(first.as_ref()),
                "not a bit is lost"
            );
            // Both go on, to about the same place.
            let begins = first.snapshot().expect("numbers").trained.into_owned();
            let (a, _) = steps("sft", first.as_mut());
            let (b, _) = steps("sft", second.as_mut());
            let off = a
                .iter()
                .zip(&b)
                .map(|(a, b)| (a - b).abs() / b.abs().max(0.1));
            assert!(off.fold(0.0, f64::max) < 5e-2, "{a:?} and {b:?}");
            let off = relative(
                &moved(first.as_ref(), &begins),
                &moved(second.as_ref(), &begins),
            );
            assert!(off < 0.3, "{off}");
            // What comes out at the end are the masters.
            let last = all_bits(second.as_ref())[0].clone();
            let (weights, adapter) = second.finish().expect("numbers");
            let below = weights.data.clone();
            assert!(bits(&adapter.map_or(weights.data, |adapter| adapter.data)) == last);
            if adapted {
                let begun = weights_of(MODELS[0]).data;
                assert!(
                    bits(&below) == bits(&begun),
                    "what is below leaves as it came"
                );
            }
        }
    }
}

#[test]
fn the_reference_and_a_model_that_is_asked_compute_what_training_begins_as() {
    let rows = &rows("sft")[2..4];
    for model in MODELS {
        let mut there = opened(model, false, Numerics::Bf16);
        let mut score = |policy| there.score(policy, rows, 1.0).expect("computed").concat();
        let (before, live) = (score(Policy::Reference), score(Policy::Live));
        assert_eq!(before, live, "the same weights in the same numbers");
        steps("sft", there.as_mut());
        let mut score = |policy| there.score(policy, rows, 1.0).expect("computed").concat();
        assert_eq!(score(Policy::Reference), before);
        assert_ne!(score(Policy::Live), live);
        let mut asked = device::asked(place(Numerics::Bf16), weights_of(model)).expect("opened");
        let scores = asked.score(Policy::Live, rows, 1.0).expect("computed");
        assert_eq!(scores.concat(), before);
    }
}

#[test]
fn samples_have_the_log_probabilities_of_the_trainer() {
    for (model, adapted) in [(MODELS[0], false), (MODELS[1], true)] {
        let mut there = opened(model, adapted, Numerics::Bf16);
        let request = |i: u32| Request {
            prompt: (0..1 + i * 7).map(|t| (t * t + i) % 37).collect(),
            samples: 4,
            seed: Seed::new(7).at(u64::from(i)),
        };
        let requests: Vec<Request> = (0..6).map(request).collect();
        let options = Options {
            choice: Choice::plain(1.0),
            max_new_tokens: 40,
            stop_ids: [1].into(),
            batch_rows: 9,
        };
        let live = Policy::Live;
        let samples = there.sample(live, &requests, &options, &mut |_| {}, &|| false);
        let samples = samples.expect("sampled");
        let rows = requests
            .iter()
            .zip(&samples)
            .flat_map(|(request, samples)| {
                samples.iter().map(|sample| Row {
                    ids: [&request.prompt[..], &sample.ids].concat(),
                    mask: (0..request.prompt.len() + sample.ids.len())
                        .map(|t| t >= request.prompt.len())
                        .collect(),
                })
            });
        let rows: Vec<Row> = rows.collect();
        let scores = there.score(live, &rows, 1.0).expect("computed").concat();
        let logps = samples.iter().flatten().flat_map(|s| s.logps.iter());
        let gaps: Vec<f64> = logps
            .zip(&scores)
            .map(|(a, b)| f64::from((a - b).abs()))
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let most = gaps.iter().copied().fold(0.0, f64::max);
        println!(
            "{model:?}: {mean:.1e} in the mean, {most:.1e} at most of {}",
            gaps.len()
        );
        assert!(
            gaps.len() > 200 && mean < GUARD / 10.0 && most < GUARD,
            "{mean} {most}"
        );
    }
}

/// Factors by rows, by columns and in batches, against f64 of the rounded numbers.
#[test]
fn a_product_is_of_factors_in_bf16_and_of_sums_in_f32() {
    for (_, device) in devices() {
        products(&device);
    }
}

fn products(device: &Device) {
    let mut rng = Seed::new(3).rng();
    let mut numbers = |shape: &[usize]| {
        let n = shape.iter().product::<usize>();
        let all: Vec<f32> = (0..n).map(|_| rng.normal() as f32).collect();
        Tensor::from_vec(all, shape, device).expect("a tensor")
    };
    let wide = |t: &Tensor| -> Vec<f64> {
        let t = t
            .to_dtype(DType::BF16)
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap();
        t.flatten_all().unwrap().to_vec1().unwrap()
    };
    let flat = |t: &Tensor| -> Vec<f32> { t.flatten_all().unwrap().to_vec1().unwrap() };
    let to_f32 = |all: &[f64]| -> Vec<f32> { all.iter().map(|&x| x as f32).collect() };
    let (m, k, n) = (5, 130, 7);
    for batch in [None, Some(3)] {
        let sizes = |rows: usize, columns: usize| match batch {
            None => vec![rows, columns],
            Some(batch) => vec![batch, rows, columns],
        };
        for (by_columns_a, by_columns_b) in [(false, false), (true, false), (false, true)] {
            let mut factor = |rows, columns, by_columns| match by_columns {
                false => numbers(&sizes(rows, columns)),
                true => numbers(&sizes(columns, rows)).t().unwrap(),
            };
            let (a, b) = (factor(m, k, by_columns_a), factor(k, n, by_columns_b));
            let (of_a, of_b) = (wide(&a), wide(&b));
            let mut expected = vec![];
            for i in 0..batch.unwrap_or(1) * m {
                let of_b = &of_b[i / m * k * n..(i / m + 1) * k * n];
                for j in 0..n {
                    let each = (0..k).map(|l| of_a[i * k + l] * of_b[l * n + j]);
                    expected.push(each.sum::<f64>());
                }
            }
            let exact = flat(&product(&a, &b).unwrap());
            let exact: Vec<f64> = exact.into_iter().map(f64::from).collect();
            assert!(
                worst(&to_f32(&expected), &exact) > 1e-4,
                "factors in f32 are not rounded"
            );
            let rounded = |t: &Tensor| device::product::rounded(t, DType::BF16).unwrap();
            let (a16, b16) = (rounded(&a), rounded(&b));
            assert_eq!(a16.stride(), a.stride(), "it lies as it did");
            let ours = flat(&product(&a16, &b16).unwrap());
            assert!(worst(&ours, &expected) < 1e-6);
            // One of them in bf16 is enough.
            assert_eq!(flat(&product(&a, &b16).unwrap()), ours);
            // Written in bf16 it is rounded once.
            let narrow = product_in(DType::BF16, &a16, &b16).unwrap();
            assert_eq!(narrow.dtype(), DType::BF16);
            let once = Tensor::from_vec(ours.clone(), narrow.shape(), device).unwrap();
            assert_eq!(wide(&narrow), wide(&once));
            // Added to a sum in f32: in place on a GPU, and twice as much.
            let mut sum = Tensor::from_vec(ours.clone(), narrow.shape(), device).unwrap();
            add_product(&mut sum, &a16, &b16).unwrap();
            let twice: Vec<f64> = expected.iter().map(|x| 2.0 * x).collect();
            assert!(worst(&flat(&sum), &twice) < 1e-6);
            let mut sum = Tensor::zeros(narrow.shape(), DType::F32, device).unwrap();
            add_product(&mut sum, &a, &b).unwrap();
            assert_eq!(sum.dtype(), DType::F32);
            assert!(worst(&flat(&sum), &exact) < 1e-6);
        }
    }
}
