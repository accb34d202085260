//! The sampler against transformers' greedy runs and logits processors, against the trainer's forward pass, and
//! against itself: alone or in company, on one thread or more.

use crate::reference::Golden;
use crate::study::reference;
use pipe::base::rng::Seed;
use pipe::learn::checkpoint;
use pipe::learn::config::{Config, Family, Head, RopeScaling};
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::forecast::Tally;
use pipe::learn::sample::{Options, Request, Sample, Stopped, sample, sample_alone};
use pipe::learn::weights::Weights;
use serde_json::Value;
use std::collections::BTreeSet;

fn options(choice: Choice, max_new_tokens: usize, stops: &[u32]) -> Options {
    Options {
        choice,
        max_new_tokens,
        stop_ids: stops.iter().copied().collect(),
        batch_rows: 64,
    }
}

fn run(weights: &Weights, requests: &[Request], options: &Options) -> Vec<Vec<Sample>> {
    sample(weights, requests, options, &mut |_| {}, &|| false).unwrap()
}

fn request(prompt: &[u32], samples: usize, seed: u64) -> Request {
    Request {
        prompt: prompt.to_vec(),
        samples,
        seed: Seed::new(seed),
    }
}

/// A small random model whose distributions are far from flat.
fn model(family: Family) -> Weights {
    let config = Config {
        family,
        head: Head::Tied,
        vocab_size: 150,
        hidden_size: 48,
        intermediate_size: 80,
        layers: 3,
        heads: 4,
        kv_heads: 2,
        head_dim: 12,
        rms_norm_eps: 1e-6,
        rope_theta: 10000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings: 256,
        initializer_range: 0.15,
        bos_token_id: Value::Null,
        eos_token_id: Value::Null,
        pad_token_id: Value::Null,
    };
    Weights::random(config, Seed::new(3))
}

/// Prompts of 1 to 40 tokens.
fn prompts(count: usize) -> Vec<Request> {
    let mut rng = Seed::new(8).rng();
    (0..count)
        .map(|i| {
            let prompt: Vec<u32> = (0..1 + (i * 13) % 40)
                .map(|_| rng.below(150) as u32)
                .collect();
            request(&prompt, 1 + i % 5, i as u64)
        })
        .collect()
}

/// Log-probabilities of a completion by the trainer's forward pass.
fn trainer_logps(weights: &Weights, prompt: &[u32], ids: &[u32], temperature: f32) -> Vec<f32> {
    let all = [prompt, ids].concat();
    let scored: Vec<usize> = (prompt.len()..all.len()).collect();
    let batch = Packed {
        ids: &all,
        starts: &[0, all.len()],
    };
    decoder::score(weights, batch, &scored, temperature, &mut Workspace::new()).logp
}

fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance, "number {i}: {a} against {b}");
    }
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn greedy_runs_are_those_of_transformers() {
    let Some(root) = reference(&["forward", "models"]) else {
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("forward")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let golden = Golden::open(&path.with_extension(""));
        let name = path.file_stem().unwrap();
        let weights = checkpoint::load(&root.join("models").join(name)).unwrap();
        let prompts = golden.json["greedy_prompts"].as_array().unwrap();
        let requests: Vec<_> = prompts
            .iter()
            .map(|p| request(&ids(&p["ids"]), 1, 0))
            .collect();
        let length = golden.shape("greedy_ids")[1];
        let samples = run(&weights, &requests, &options(Choice::greedy(), length, &[]));
        let expected = golden.get("greedy_ids");
        for (i, (samples, request)) in samples.iter().zip(&requests).enumerate() {
            let row = &expected[i * length..(i + 1) * length];
            let row: Vec<u32> = row.iter().map(|&x| x as u32).collect();
            assert_eq!(samples[0].ids, row, "{name:?} prompt {i}");
            assert!(!samples[0].finished);
            let logps = trainer_logps(&weights, &request.prompt, &row, 1.0);
            assert_close(&samples[0].logps, &logps, 1e-5);
            seen += 1;
        }
        let stop = golden.json["stop_token"].as_u64().unwrap() as u32;
        let samples = run(
            &weights,
            &requests,
            &options(Choice::greedy(), length, &[stop]),
        );
        let expected = golden.json["greedy_stopped_ids"].as_array().unwrap();
        for (samples, expected) in samples.iter().zip(expected) {
            assert_eq!(samples[0].ids, ids(expected), "{name:?} with a stop token");
            assert_eq!(samples[0].finished, samples[0].ids.last() == Some(&stop));
        }
    }
    assert!(seen > 0);
}

#[test]
fn processors_leave_what_those_of_transformers_leave() {
    let Some(root) = reference(&["forward", "models"]) else {
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("forward")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.with_extension("");
        if path.extension().is_none_or(|e| e != "json")
            || !Golden::open(&stem).has("sampling.logits")
        {
            continue;
        }
        let golden = Golden::open(&stem);
        let logits = golden.floats("sampling.logits");
        let v = golden.shape("sampling.logits")[1];
        let at = |temperature| Choice::plain(temperature);
        let cases = [
            ("temperature0.6", at(0.6)),
            (
                "top_p0.8_top_k20",
                Choice {
                    top_p: 0.8,
                    top_k: 20,
                    ..at(0.7)
                },
            ),
            (
                "top_p0.5",
                Choice {
                    top_p: 0.5,
                    ..at(1.0)
                },
            ),
            (
                "min_p0.1",
                Choice {
                    min_p: 0.1,
                    ..at(1.5)
                },
            ),
            (
                "repetition1.1",
                Choice {
                    repetition_penalty: 1.1,
                    ..at(1.0)
                },
            ),
        ];
        for (name, choice) in cases {
            let expected = golden.floats(&format!("sampling.{name}"));
            let tokens = golden.get("sampling.seen_ids");
            let width = golden.shape("sampling.seen_ids")[1];
            for (row, z) in logits.chunks_exact(v).enumerate() {
                let mut z = z.to_vec();
                let tokens = tokens[row * width..(row + 1) * width]
                    .iter()
                    .map(|&x| x as u32);
                choice.process(&mut z, &tokens.collect::<Vec<_>>());
                // The golden numbers are the probabilities that are left.
                let total: f64 = z.iter().map(|&z| f64::from(z).exp()).sum();
                for (i, (&z, &e)) in z.iter().zip(&expected[row * v..]).enumerate() {
                    let p = (f64::from(z).exp() / total) as f32;
                    let same = (p == 0.0) == (e == 0.0) && (p - e).abs() < 1e-6;
                    assert!(same, "{name} row {row} token {i}: {p} against {e}");
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "no golden has sampling.logits");
}

#[test]
fn sampled_logps_are_the_trainers() {
    for family in [Family::Qwen2, Family::Qwen3, Family::Llama] {
        let weights = model(family);
        let requests = prompts(9);
        for temperature in [1.0, 0.6] {
            let options = options(Choice::plain(temperature), 30, &[7, 9]);
            let samples = run(&weights, &requests, &options);
            for (request, samples) in requests.iter().zip(&samples) {
                assert_eq!(samples.len(), request.samples);
                for s in samples {
                    let logps = trainer_logps(&weights, &request.prompt, &s.ids, temperature);
                    assert_close(&s.logps, &logps, 1e-5);
                }
            }
        }
    }
}

#[test]
fn truncation_does_not_change_what_a_logp_means() {
    let weights = model(Family::Qwen2);
    let requests = prompts(5);
    let choice = Choice {
        top_p: 0.7,
        top_k: 30,
        repetition_penalty: 1.2,
        ..Choice::plain(0.8)
    };
    for (request, samples) in
        requests
            .iter()
            .zip(run(&weights, &requests, &options(choice, 20, &[])))
    {
        for s in samples {
            let logps = trainer_logps(&weights, &request.prompt, &s.ids, 0.8);
            assert_close(&s.logps, &logps, 1e-5);
        }
    }
}

#[test]
fn a_sample_has_the_same_bits_alone_and_in_company_and_on_any_threads() {
    let weights = model(Family::Qwen3);
    let requests = prompts(23);
    let penalised = Choice {
        repetition_penalty: 1.3,
        top_k: 40,
        ..Choice::plain(0.9)
    };
    for choice in [Choice::plain(1.0), penalised] {
        let options = options(choice, 25, &[3, 4, 5]);
        let together = run(&weights, &requests, &options);
        for batch_rows in [1, 3, 17] {
            let options = Options {
                batch_rows,
                ..options.clone()
            };
            assert_eq!(
                run(&weights, &requests, &options),
                together,
                "{batch_rows} rows"
            );
        }
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let there = pool.install(|| run(&weights, &requests, &options));
            assert_eq!(there, together, "{threads} threads");
            // With a thread or more to spare for every row they share the work.
            let few = Options {
                batch_rows: (threads / 2).max(1),
                ..options.clone()
            };
            let there = pool.install(|| run(&weights, &requests[..7], &few));
            assert_eq!(there, together[..7], "few rows on {threads} threads");
        }
        for (request, samples) in requests.iter().zip(&together) {
            let alone = run(&weights, std::slice::from_ref(request), &options);
            assert_eq!(&alone[0], samples);
            // Fewer samples of a group are the first of more.
            let one = Request {
                samples: 1,
                ..request.clone()
            };
            assert_eq!(run(&weights, &[one], &options)[0][0], samples[0]);
        }
    }
}

/// Prompts that begin alike, so that one is copied from another, give what each gives alone (above); and so do weights that are
/// sampled where they lie, which are left as they were.
#[test]
fn weights_that_are_sampled_in_place_give_the_same_bits_and_are_left_as_they_were() {
    for (family, head, vocab_size) in [
        (Family::Llama, Head::Tied, 160),
        (Family::Qwen2, Head::Untied, 160),
        // Not a number of whole panels.
        (Family::Qwen3, Head::Tied, 150),
    ] {
        let config = Config {
            head,
            vocab_size,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            ..model(family).config
        };
        let mut weights = Weights::random(config, Seed::new(5));
        let before = weights.data.clone();
        let mut requests = prompts(20);
        let beginning = requests[3].prompt.clone();
        for request in &mut requests[9..] {
            request.prompt.splice(0..0, beginning.iter().copied());
        }
        let options = options(Choice::plain(0.8), 12, &[3, 4]);
        let expected: Vec<Vec<Sample>> = (requests.iter())
            .map(|request| run(&weights, std::slice::from_ref(request), &options).remove(0))
            .collect();
        let alone = |weights: &mut Weights, stop: bool| {
            sample_alone(weights, &requests, &options, &mut |_| {}, &|| stop)
        };
        let found = alone(&mut weights, false).unwrap();
        assert_eq!(found, expected, "{family:?}");
        assert_eq!(weights.data, before, "{family:?}");
        assert!(alone(&mut weights, true).unwrap_err().is::<Stopped>());
        assert_eq!(weights.data, before, "{family:?}, after a stop");
    }
}

#[test]
fn samples_of_a_group_differ_and_follow_the_seed() {
    let weights = model(Family::Llama);
    let options = options(Choice::plain(1.0), 20, &[]);
    let first = run(&weights, &[request(&[1, 2, 3], 8, 1)], &options);
    let distinct: BTreeSet<_> = first[0].iter().map(|s| s.ids.clone()).collect();
    assert_eq!(distinct.len(), 8);
    let other = run(&weights, &[request(&[1, 2, 3], 8, 2)], &options);
    assert_ne!(first, other);
}

#[test]
fn a_row_ends_with_its_first_stop_token_or_at_the_limit() {
    let weights = model(Family::Qwen2);
    let stops: Vec<u32> = (0..20).collect();
    let samples = run(
        &weights,
        &prompts(20),
        &options(Choice::plain(1.0), 12, &stops),
    );
    let (mut finished, mut cut) = (0, 0);
    for s in samples.iter().flatten() {
        let first = s.ids.iter().position(|id| stops.contains(id));
        assert_eq!(s.ids.len(), s.logps.len());
        match first {
            Some(at) => {
                assert!(s.finished && at + 1 == s.ids.len());
                finished += 1;
            }
            None => {
                assert!(!s.finished && s.ids.len() == 12);
                cut += 1;
            }
        }
    }
    assert!(finished > 0 && cut > 0, "{finished} finished, {cut} cut");
}

#[test]
fn draws_follow_the_distribution() {
    let logits: Vec<f32> = (0..200).map(|i| ((i * 37) % 23) as f32 / 4.0).collect();
    for choice in [
        Choice::plain(1.0),
        Choice::plain(0.5),
        Choice {
            top_k: 3,
            ..Choice::plain(2.0)
        },
    ] {
        let mut left = logits.clone();
        choice.process(&mut left, &[]);
        let total: f64 = left.iter().map(|&z| f64::from(z).exp()).sum();
        let n = 40_000;
        let mut counts = vec![0usize; logits.len()];
        for i in 0..n {
            // Evenly spaced draws: every count is within one of its expectation.
            let unit = (i as f64 + 0.5) / n as f64;
            counts[choice.pick(&mut logits.clone(), &[], unit).0 as usize] += 1;
        }
        for (i, (&count, &z)) in counts.iter().zip(&left).enumerate() {
            let expected = n as f64 * f64::from(z).exp() / total;
            assert!(
                (count as f64 - expected).abs() < 2.0,
                "token {i}: {count} for {expected}"
            );
        }
    }
}

#[test]
fn a_low_temperature_approaches_greedy_and_ties_go_to_the_first() {
    let weights = model(Family::Qwen2);
    let requests = [request(&[5, 6, 7], 2, 4)];
    let greedy = run(&weights, &requests, &options(Choice::greedy(), 20, &[]));
    let cold = run(&weights, &requests, &options(Choice::plain(1e-4), 20, &[]));
    assert_eq!(greedy[0][0].ids, cold[0][0].ids);
    assert_eq!(greedy[0][0], greedy[0][1]);
    let (token, logp) = Choice::greedy().pick(&mut [0.0, 2.0, 2.0, 2.0], &[], 0.9);
    assert_eq!(token, 1);
    assert!((logp + (3.0f32 + (-2.0f32).exp()).ln()).abs() < 1e-6);
}

#[test]
fn progress_counts_everything_and_a_stop_is_an_error() {
    let weights = model(Family::Qwen2);
    let requests = prompts(12);
    let options = options(Choice::plain(1.0), 15, &[1, 2]);
    let mut last = (0, 0);
    let mut reports = 0;
    let mut progress = |tally: &Tally| {
        assert!(tally.ended >= last.0 && tally.tokens >= last.1);
        last = (tally.ended, tally.tokens);
        reports += 1;
    };
    let samples = sample(&weights, &requests, &options, &mut progress, &|| false).unwrap();
    let tokens = samples.iter().flatten().map(|s| s.ids.len()).sum();
    assert_eq!(last, (samples.iter().flatten().count(), tokens));
    assert!(reports > 10);

    let asked = std::sync::atomic::AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 3;
    let error = sample(&weights, &requests, &options, &mut |_| {}, &stop).unwrap_err();
    assert!(error.is::<Stopped>());
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let weights = model(Family::Qwen2);
    let good = options(Choice::plain(1.0), 5, &[]);
    let refuse = |requests: &[Request], options: &Options| {
        let error = sample(&weights, requests, options, &mut |_| {}, &|| false).unwrap_err();
        error.to_string()
    };
    assert!(refuse(&[request(&[], 1, 0)], &good).contains("no tokens"));
    assert!(refuse(&[request(&[150], 1, 0)], &good).contains("token 150"));
    let cases = [
        ("temperature", Choice::plain(-1.0)),
        ("temperature", Choice::plain(f32::NAN)),
        (
            "top_p",
            Choice {
                top_p: 0.0,
                ..Choice::plain(1.0)
            },
        ),
        (
            "min_p",
            Choice {
                min_p: 2.0,
                ..Choice::plain(1.0)
            },
        ),
        (
            "repetition_penalty",
            Choice {
                repetition_penalty: 0.0,
                ..Choice::plain(1.0)
            },
        ),
    ];
    for (word, choice) in cases {
        let message = refuse(
            &[request(&[1], 1, 0)],
            &Options {
                choice,
                ..good.clone()
            },
        );
        assert!(message.contains(word), "{message}");
    }
    let none = run(&weights, &[request(&[1], 0, 0)], &good);
    assert_eq!(none, [vec![]]);
    assert!(run(&weights, &[], &good).is_empty());
}
