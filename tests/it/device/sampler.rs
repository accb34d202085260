//! The sampler on a device against the one on this machine's cores and against transformers' greedy runs: the same tokens by
//! the same numbers, log-probabilities of the trainer, rows that leave and slots that are taken over.

use super::devices;
use crate::numerics::{FAMILIES, weights};
use crate::reference::{Golden, ids};
use crate::study::reference;
use pipe::base::rng::Seed;
use pipe::learn::adapter::{Adapter, Linear, Options as LoraOptions};
use pipe::learn::batch::Row;
use pipe::learn::checkpoint;
use pipe::learn::cpu::Cpu;
use pipe::learn::decoder::Keep;
use pipe::learn::device::{self, DeviceWeights, Workspace};
use pipe::learn::learner::{Learner, Policy};
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::forecast::Tally;
use pipe::learn::sample::{self, NotFinite, Options, Request, Sample, Stopped};
use pipe::learn::weights::Weights;
use std::sync::atomic::{AtomicUsize, Ordering};

pub fn options(choice: Choice, max_new_tokens: usize, batch_rows: usize, stops: &[u32]) -> Options {
    Options {
        choice,
        max_new_tokens,
        stop_ids: stops.iter().copied().collect(),
        batch_rows,
    }
}

/// Prompts of 1 to 40 tokens with 1 to 5 samples each.
fn requests(count: usize) -> Vec<Request> {
    let mut rng = Seed::new(8).rng();
    let request = |i: usize, rng: &mut pipe::base::rng::Rng| Request {
        prompt: (0..1 + (i * 13) % 40)
            .map(|_| rng.below(37) as u32)
            .collect(),
        samples: 1 + i % 5,
        seed: Seed::new(i as u64),
    };
    (0..count).map(|i| request(i, &mut rng)).collect()
}

fn run(learner: &mut dyn Learner, requests: &[Request], options: &Options) -> Vec<Vec<Sample>> {
    let samples = learner.sample(Policy::Live, requests, options, &mut |_| {}, &|| false);
    samples.expect("sampled")
}

fn both(weights: Weights, adapter: Option<Adapter>) -> [Box<dyn Learner>; 2] {
    let cpu = Cpu::frozen(weights.clone(), adapter.clone());
    [
        Box::new(cpu),
        device::open(super::own(), weights, adapter, false, Keep::All).expect("opened"),
    ]
}

/// Tokens alike, log-probabilities within rounding. Gives the worst difference of these.
pub fn alike(ours: &[Vec<Sample>], theirs: &[Vec<Sample>], what: &str) -> f32 {
    let mut worst = 0.0f32;
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(ours.len(), theirs.len(), "{what}: request {i}");
        for (s, (a, b)) in ours.iter().zip(theirs).enumerate() {
            assert_eq!(a.ids, b.ids, "{what}: request {i} sample {s}");
            assert_eq!(a.finished, b.finished, "{what}: request {i} sample {s}");
            for (x, y) in a.logps.iter().zip(&b.logps) {
                worst = worst.max((x - y).abs());
            }
        }
    }
    assert!(worst < 2e-5, "{what}: log-probabilities off by {worst}");
    worst
}

#[test]
fn greedy_runs_on_a_device_are_those_of_transformers() {
    let Some(root) = reference(&["forward", "models"]) else {
        return;
    };
    for stem in super::golden_models(&root) {
        let golden = Golden::open(&stem);
        let name = stem.file_name().expect("a name");
        let weights = checkpoint::load(&root.join("models").join(name)).expect("a checkpoint");
        let prompts = golden.json["greedy_prompts"].as_array().expect("prompts");
        let request = |prompt: &serde_json::Value| Request {
            prompt: ids(&prompt["ids"]),
            samples: 2,
            seed: Seed::new(0),
        };
        let requests: Vec<Request> = prompts.iter().map(request).collect();
        let length = golden.shape("greedy_ids")[1];
        let [_, mut there] = both(weights, None);
        let all = options(Choice::greedy(), length, 64, &[]);
        let expected = golden.get("greedy_ids").chunks(length);
        for (samples, expected) in run(there.as_mut(), &requests, &all).iter().zip(expected) {
            let expected: Vec<u32> = expected.iter().map(|&id| id as u32).collect();
            assert!(
                samples.iter().all(|s| s.ids == expected && !s.finished),
                "{name:?}"
            );
        }
        let stop = golden.json["stop_token"].as_u64().expect("a token") as u32;
        let stopped = options(Choice::greedy(), length, 3, &[stop]);
        let expected = golden.json["greedy_stopped_ids"].as_array().expect("runs");
        for (samples, expected) in run(there.as_mut(), &requests, &stopped)
            .iter()
            .zip(expected)
        {
            for sample in samples {
                assert_eq!(sample.ids, ids(expected), "{name:?} with a stop token");
                assert_eq!(sample.finished, sample.ids.last() == Some(&stop));
            }
        }
    }
}

#[test]
fn tokens_are_those_of_the_kernels_and_logps_those_of_the_trainer() {
    let (mut apart, mut gap) = (0.0f32, 0.0f32);
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        for adapted in [false, true] {
            let lora = LoraOptions {
                rank: 2,
                alpha: 4.0,
                rank_stabilised: true,
                targets: Linear::ALL.to_vec(),
                blocks: 0..weights.config.layers,
            };
            let adapter = adapted.then(|| {
                let mut adapter = Adapter::new(&weights.config, &lora, Seed::new(2));
                adapter.stir(0.1, Seed::new(6));
                adapter
            });
            let [mut cpu, mut there] = both(weights.clone(), adapter);
            let requests = requests(9);
            // Rows enough for all, and so few that slots are taken over in the middle of a group.
            for (temperature, rows) in [(1.0, 64), (0.6, 4), (0.0, 7)] {
                let options = options(Choice::plain(temperature), 40, rows, &[7, 9]);
                let ours = run(there.as_mut(), &requests, &options);
                let theirs = run(cpu.as_mut(), &requests, &options);
                let what = format!("{family:?} adapted {adapted} at {temperature}");
                apart = apart.max(alike(&ours, &theirs, &what));
                let ended = ours.iter().flatten().any(|s| s.finished);
                assert!(ended || temperature == 0.0, "{what}: one ends");
                let rows = requests.iter().zip(&ours).flat_map(|(request, samples)| {
                    samples.iter().map(|sample| Row {
                        ids: [&request.prompt[..], &sample.ids].concat(),
                        mask: (0..request.prompt.len() + sample.ids.len())
                            .map(|t| t >= request.prompt.len())
                            .collect(),
                    })
                });
                let rows: Vec<Row> = rows.collect();
                let temperature = if temperature == 0.0 { 1.0 } else { temperature };
                let scores = there.score(Policy::Live, &rows, temperature);
                let scores = scores.expect("computed").concat();
                let logps = ours.iter().flatten().flat_map(|s| s.logps.iter());
                // A row's first token may be its prompt's: a prompt of one token predicts the second.
                for (a, b) in logps.zip(&scores) {
                    gap = gap.max((a - b).abs());
                }
            }
        }
    }
    println!("apart from the kernels' by {apart:.1e}, from the trainer's by {gap:.1e}");
    assert!(gap < 2e-5, "{gap}");
}

#[test]
fn truncation_and_penalty_choose_as_the_kernels_choose() {
    let (family, head) = FAMILIES[1];
    let [mut cpu, mut there] = both(weights(family, head), None);
    let requests = requests(6);
    let plain = Choice::plain(0.8);
    for choice in [
        Choice {
            top_p: 0.7,
            ..plain
        },
        Choice { top_k: 5, ..plain },
        Choice {
            min_p: 0.1,
            ..plain
        },
        Choice {
            repetition_penalty: 1.3,
            top_p: 0.9,
            ..plain
        },
        Choice {
            repetition_penalty: 1.3,
            ..Choice::greedy()
        },
    ] {
        let options = options(choice, 20, 5, &[7]);
        let ours = run(there.as_mut(), &requests, &options);
        alike(
            &ours,
            &run(cpu.as_mut(), &requests, &options),
            &format!("{choice:?}"),
        );
    }
}

/// A vocabulary of several blocks, the last of which is not full, and logits that are computed a row at a time.
#[test]
fn draws_over_many_blocks_are_those_of_the_kernels() {
    let config = pipe::learn::config::Config {
        vocab_size: 1300,
        initializer_range: 0.1,
        ..crate::numerics::tiny(FAMILIES[0].0, FAMILIES[0].1)
    };
    let weights = Weights::random(config, Seed::new(5));
    let requests = requests(6);
    for temperature in [1.0, 0.5, 0.0] {
        let options = options(Choice::plain(temperature), 30, 64, &[7]);
        let nobody = &mut |_: &Tally| {};
        let theirs = sample::sample(&weights, &requests, &options, nobody, &|| false).unwrap();
        for (name, device) in devices() {
            let there = DeviceWeights::upload(&weights, &device).expect("uploaded");
            for at_once in [1 << 20, 1300] {
                let workspace = &mut Workspace::new(at_once);
                let net = (&there).into();
                let go = &|| false;
                let ours = device::sample::sample(net, &requests, &options, nobody, go, workspace);
                let what = format!("{name} at {temperature}, {at_once} logits");
                alike(&ours.expect("sampled"), &theirs, &what);
            }
        }
    }
}

#[test]
fn a_long_run_outgrows_its_pages() {
    let (family, head) = FAMILIES[2];
    let [mut cpu, mut there] = both(weights(family, head), None);
    let requests = requests(3);
    let options = options(Choice::plain(1.0), 300, 4, &[]);
    let ours = run(there.as_mut(), &requests, &options);
    alike(&ours, &run(cpu.as_mut(), &requests, &options), "300 tokens");
}

#[test]
fn progress_is_told_and_stopping_is_heard() {
    let (family, head) = FAMILIES[0];
    let [_, mut there] = both(weights(family, head), None);
    let requests = requests(5);
    let options = options(Choice::plain(1.0), 10, 4, &[7]);
    let total: usize = requests.iter().map(|r| r.samples).sum();
    let mut last = (0, 0, 0.0);
    let mut told = |tally: &Tally| {
        assert!(tally.ended >= last.0 && tally.tokens >= last.1 && tally.done() >= last.2);
        last = (tally.ended, tally.tokens, tally.done());
    };
    let samples = there.sample(Policy::Live, &requests, &options, &mut told, &|| false);
    let tokens: usize = samples
        .expect("sampled")
        .iter()
        .flatten()
        .map(|s| s.ids.len())
        .sum();
    assert_eq!((last.0, last.1), (total, tokens));
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) == 5;
    let error = there.sample(Policy::Live, &requests, &options, &mut |_| {}, &stop);
    assert!(error.expect_err("stopped").is::<Stopped>());
    assert_eq!(
        asked.into_inner(),
        6,
        "it is asked before every step and no more"
    );
}

#[test]
pub(super) fn what_cannot_be_sampled_is_refused_as_the_kernels_refuse_it() {
    let (family, head) = FAMILIES[0];
    let good = weights(family, head);
    let mut broken = good.clone();
    let d = good.config.hidden_size;
    broken.data[30 * d..31 * d].fill(f32::INFINITY);
    let scored = Weights::random(
        crate::numerics::tiny(family, pipe::learn::config::Head::Score { labels: 1 }),
        Seed::new(3),
    );
    let request = |prompt: &[u32]| Request {
        prompt: prompt.to_vec(),
        samples: 2,
        seed: Seed::new(1),
    };
    let plain = options(Choice::plain(1.0), 5, 4, &[]);
    for (weights, prompt, options) in [
        (&broken, &[1, 2][..], plain.clone()),
        (
            &broken,
            &[1, 2],
            options(
                Choice {
                    top_p: 0.5,
                    ..Choice::plain(1.0)
                },
                5,
                4,
                &[],
            ),
        ),
        (&good, &[], plain.clone()),
        (&good, &[99], plain.clone()),
        (&good, &[1], options(Choice::plain(-1.0), 5, 4, &[])),
        (&good, &[1], options(Choice::plain(1.0), 0, 4, &[])),
        (&scored, &[1], plain.clone()),
    ] {
        let [ours, theirs] = both(weights.clone(), None).map(|mut learner| {
            let (live, requests) = (Policy::Live, [request(prompt)]);
            let samples = learner.sample(live, &requests, &options, &mut |_| {}, &|| false);
            let error = samples.expect_err("refused");
            (error.is::<NotFinite>(), error.to_string())
        });
        assert_eq!(ours, theirs);
    }
    // Nothing is asked for.
    let [_, mut there] = both(good, None);
    let none = Request {
        samples: 0,
        ..request(&[1])
    };
    assert_eq!(run(there.as_mut(), &[none], &plain), [vec![]]);
}
