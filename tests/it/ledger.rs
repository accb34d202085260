//! What a device is said to hold at its peak: at the shapes of Qwen2.5-1.5B by hand, and against what a worker really took.

use crate::kinds::example;
use crate::numerics::tiny;
use crate::reward_model::write;
use crate::study::{Study, program};
use pipe::base::device::{DeviceName, Numerics, Place};
use pipe::base::rng::Seed;
use pipe::base::value::{self, Values};
use pipe::engine::kind::estimate::{ArtifactEstimate, NodePreview};
use pipe::kinds::shared::estimate::size_of;
use pipe::learn::batch::MICRO_TOKENS;
use pipe::learn::config::{Config, Family, Head};
use pipe::learn::decoder::Keep;
use pipe::learn::device::card::{self, Card, Occupied};
use pipe::learn::device::launch::{self, Choice};
use pipe::learn::device::ledger::{self, Beside, By, Dims, Ledger, Sampling, Training};
use pipe::learn::device::{self, together};
use pipe::learn::weights::Weights;
use pipe::world::vocab;
use std::process::Command;

/// What exists at a time on a GPU.
fn logits_at_once() -> u64 {
    ledger::logits_at_once(DeviceName::Cuda(0))
}

fn qwen() -> Dims {
    let (hidden, layers, kv, intermediate, vocabulary) = (1536, 28, 256, 8960, 151_936);
    let block = 2 * hidden
        + hidden * (hidden + 2 * kv)
        + (hidden + 2 * kv)
        + hidden * hidden
        + 3 * intermediate * hidden;
    Dims {
        parameters: vocabulary * hidden + hidden + layers * block,
        layers,
        hidden,
        vocabulary,
        intermediate,
        heads: 12,
        q: 1536,
        kv,
        normed: false,
    }
}

fn step(tokens: u64, keep: Keep, reference: bool) -> Training {
    Training {
        adapter: 0,
        reference,
        keep,
        tokens,
        scored: tokens - 1,
        longest: tokens,
        logits_at_once: logits_at_once(),
        by: PLAIN,
    }
}

/// candle's operations in single precision.
const PLAIN: By = By {
    numerics: Numerics::F32,
    kernels: false,
};

/// A GPU's kernels in these numbers.
fn kernels(numerics: Numerics) -> By {
    Place::new(DeviceName::Cuda(0), Some(numerics)).into()
}

fn gigabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e8).round() / 10.0
}

/// Bytes of a buffer of the first phase that has one of this name; 0: none has.
fn held(ledger: &Ledger, what: &str) -> u64 {
    let mut buffers = ledger.phases.iter().flat_map(|p| &p.buffers);
    buffers.find(|b| b.what == what).map_or(0, |b| b.bytes)
}

#[test]
fn full_fine_tuning_of_1_5_b_with_its_reference_fits_into_70_gib() {
    let model = qwen();
    assert_eq!(model.parameters, 1_543_714_304);
    let ledger = ledger::training(&model, &step(4096, Keep::All, true));
    let phases: Vec<(&str, f64)> = ledger
        .phases
        .iter()
        .map(|p| (p.name, gigabytes(p.bytes())))
        .collect();
    assert_eq!(
        phases,
        [
            ("forward", 43.1),
            ("head, backward", 47.4),
            ("rows of the head, backward", 42.4),
            ("blocks, backward", 44.0),
            ("update", 34.6)
        ]
    );
    assert!(ledger.bytes() < 70 << 30);
    let of = |what: &str| {
        let peak = ledger.peak().unwrap();
        gigabytes(peak.buffers.iter().find(|b| b.what == what).unwrap().bytes)
    };
    for each in [
        "weights",
        "reference",
        "first moments",
        "second moments",
        "gradient",
    ] {
        assert_eq!(of(each), 6.2, "{each}");
    }
    // 29 states and 28 tapes of 23,042 numbers a token.
    assert_eq!(of("hidden states"), 0.7);
    assert_eq!(of("tapes of the blocks"), 10.6);
    // Six of 883 rows of 151,936 logits.
    assert_eq!(of("chunk of logits and its gradient"), 3.2);
    let recomputed = ledger::training(&model, &step(4096, Keep::States, true));
    assert_eq!(gigabytes(recomputed.bytes()), 36.8);
    // What does not fit says so before it runs: all of 16,384 tokens at once, without recompute.
    let long = ledger::training(&model, &step(16_384, Keep::All, true));
    assert_eq!(gigabytes(long.bytes()), 83.7);
}

/// The same by kernels: tokens of a pass, what is kept, bf16 and f32, each with its peak in GiB and what that is.
#[test]
fn a_gpu_has_room_for_1_5_b_in_both_numbers_and_for_more_tokens_in_bf16() {
    let model = qwen();
    let peak = |tokens, keep, numerics| {
        let how = Training {
            by: kernels(numerics),
            ..step(tokens, keep, true)
        };
        let ledger = ledger::training(&model, &how);
        let bytes = ledger.bytes() as f64 / f64::from(1 << 30);
        let name = ledger.peak().unwrap().name;
        ((bytes * 10.0).round() / 10.0, name)
    };
    let mut table = vec![];
    for numerics in [Numerics::F32, Numerics::Bf16] {
        for keep in [Keep::All, Keep::States] {
            for tokens in [2048, 4096, 8192, 16_384] {
                let (gib, name) = peak(tokens, keep, numerics);
                println!("{numerics} {keep:?} {tokens}: {gib} GiB, {name}");
                table.push((tokens, gib));
            }
        }
    }
    assert_eq!(table, TABLE);
    // The goal: all of it at 4,096 tokens on a card of 80 GB, in either; and 16,384 in bf16.
    for numerics in [Numerics::F32, Numerics::Bf16] {
        assert!(peak(4096, Keep::All, numerics).0 <= 70.0);
    }
    assert!(peak(16_384, Keep::All, Numerics::Bf16).0 <= 70.0);
    // What stays while it samples takes as much in both: masters and moments in f32, and one copy more in f32, or two in bf16.
    let resident = |numerics| {
        let how = Training {
            by: kernels(numerics),
            ..step(1, Keep::States, true)
        };
        Beside::trained(&model, &how).bytes()
    };
    assert_eq!(resident(Numerics::F32), 16 * model.parameters);
    assert_eq!(resident(Numerics::Bf16), 16 * model.parameters);
    // Below an adapter there is nothing but what products read.
    let lora = Training {
        adapter: 20_000_000,
        by: kernels(Numerics::Bf16),
        ..step(1, Keep::States, true)
    };
    let all = Beside::trained(&model, &lora).bytes();
    assert_eq!(all, 2 * model.parameters + 14 * 20_000_000);
}

/// Heads wider than any kernel is for are computed plainly, and the rest by kernels.
#[test]
fn heads_without_kernels_are_said_to_be_plain() {
    let gpu = |numerics| Place::new(DeviceName::Cuda(0), Some(numerics));
    let told = |numerics, head_dim| {
        let config = Config {
            head_dim,
            ..tiny(Family::Llama, Head::Tied)
        };
        device::numerics_of(gpu(numerics), &config)
    };
    assert_eq!(told(Numerics::Bf16, 128), "bf16 kernels");
    assert_eq!(told(Numerics::Bf16, 72), "bf16 kernels and candle");
    assert_eq!(told(Numerics::F32, 72), "f32 kernels");
    assert_eq!(told(Numerics::F32, 256), "f32 kernels and candle");
    let plain = launch::by(Choice::Plain, || told(Numerics::Bf16, 256));
    assert_eq!(plain, "bf16 candle");
    // The same numbers in half as many heads.
    let (narrow, wide) = (qwen(), Dims { heads: 6, ..qwen() });
    let masks = |model: &Dims, by| {
        let how = Training {
            by,
            ..step(4096, Keep::All, true)
        };
        held(&ledger::training(model, &how), "masks") > 0
    };
    let scores = |model: &Dims, by| {
        let beside = Beside::asked(model, by);
        let how = rollouts(model, &beside, by, None, (256, 1024));
        held(&how.ledger(model, &beside), "scores of a step") > 0
    };
    for (model, by, plain) in [
        (&narrow, kernels(Numerics::Bf16), false),
        (&wide, kernels(Numerics::Bf16), true),
        (&narrow, PLAIN, true),
    ] {
        assert_eq!((masks(model, by), scores(model, by)), (plain, plain));
    }
}

/// Half of a card, and no more than is left beside what stays there.
#[test]
fn the_cache_of_samples_is_what_a_card_has_left() {
    let (model, by) = (qwen(), kernels(Numerics::Bf16));
    let many = |model: &Dims, total: u64, beside: &Beside| {
        rollouts(model, beside, by, Some(total), (1024, 4096))
    };
    let asked = Beside::asked(&model, by);
    assert_eq!(many(&model, 80 << 30, &asked).cache_bytes, 40 << 30);
    let how = Training {
        by,
        ..step(4096, Keep::All, true)
    };
    let beside = Beside::trained(&model, &how);
    for total in [36 << 30, 48 << 30, 64 << 30] {
        let how = many(&model, total, &beside);
        let (cache, room) = (how.cache_bytes, total * 9 / 10);
        assert!(cache <= room.saturating_sub(beside.bytes()) && cache <= total / 2);
        let all = how.ledger(&model, &beside).bytes();
        // But for the page that nobody reads.
        assert!(all <= room + (8 << 20), "{all} of {room}");
        assert!(
            all + (1 << 30) > room || cache == total / 2,
            "{all} of {room}"
        );
    }
    // Nothing is left: the longest row has its pages, and what is there says so.
    assert_eq!(many(&model, 24 << 30, &beside).cache_bytes, 0);
    // Of few words, with heads of a width that has no kernels, there are scores of as many rows as there are, and not as there might be.
    let small = Dims {
        parameters: 3_000_000,
        layers: 4,
        hidden: 96,
        vocabulary: 640,
        intermediate: 256,
        heads: 4,
        q: 96,
        kv: 96,
        normed: false,
    };
    let how = many(&small, 24 << 30, &Beside::asked(&small, by));
    assert_eq!(how.cache_bytes, 12 << 30);
    // Elsewhere nobody asks.
    let (here, lengths) = (Place::new(DeviceName::Candle, None), || {
        [(600, 8)].into_iter()
    });
    let here = Sampling::new((here, None), (&model, &beside), lengths, (256, 1024));
    assert_eq!(here.cache_bytes, 1 << 32);
}

/// A judge that is on the same card is no room for the cache of samples, nor for more tokens of a step; and what a plan says is both.
#[test]
fn models_of_one_process_share_a_card() {
    let (model, by) = (qwen(), kernels(Numerics::Bf16));
    let gpu = DeviceName::Cuda(900);
    let judge = Occupied::new(gpu, 23 << 30);
    let trained = Occupied::new(gpu, 24 << 30);
    assert_eq!((judge.others(), trained.others()), (24 << 30, 23 << 30));
    let how = Training {
        by,
        ..step(1, Keep::All, true)
    };
    let (total, beside) = (Some(80 << 30), Beside::trained(&model, &how));
    let of = |card: Card| {
        let place = Place::new(DeviceName::Cuda(0), None);
        let lengths = || std::iter::repeat_n((600, 8), 1000);
        let tokens = together::at_most(gpu, &model, &how, card);
        let rows = Sampling::new((place, card), (&model, &beside), lengths, (1024, 4096));
        (
            tokens,
            rows.cache_bytes,
            rows.ledger(&model, &beside).bytes(),
        )
    };
    let (alone, others) = (of(total.into()), trained.others());
    let both = of(Card { total, others });
    assert!(both.0 < alone.0, "{both:?} and {alone:?}");
    assert!(both.1 < alone.1, "{both:?} and {alone:?}");
    let room = (80 << 30) / 10 * 9;
    assert!(alone.2 + others > room && both.2 + others <= room + (8 << 20));
    drop(judge);
    assert_eq!(trained.others(), 0);
}

/// Where pages are few a row leaves them, and is computed again with all that it says so far: with the adapter on, as it was sampled.
#[test]
fn rows_that_leave_their_pages_are_computed_whole() {
    let (model, by) = (qwen(), kernels(Numerics::Bf16));
    let adapter = Training {
        adapter: 20_000_000,
        by,
        ..step(4096, Keep::All, false)
    };
    let asked = Beside::asked(&model, by);
    let adapted = Beside::trained(&model, &adapter);
    let passing = |beside: &Beside, cache_bytes: u64, what: &str| {
        let device = (Place::new(DeviceName::Cuda(0), None), None);
        let lengths = || std::iter::repeat_n((600, 1), 1000);
        let rows = (8, 30_000);
        let mut how = Sampling::new(device, (&model, beside), lengths, rows);
        how.cache_bytes = cache_bytes;
        held(&how.ledger(&model, beside), what)
    };
    let kept = "keys and values of prompts";
    // Of each token two sides of 256 numbers in 28 blocks.
    let token = 28 * 2 * 256 * 2;
    assert_eq!(passing(&asked, u64::MAX, kept), 4096 * token);
    assert_eq!(passing(&asked, 2 << 30, kept), (600 + 30_000 - 1) * token);
    let block = "a block forward";
    let [bare, adapted] = [&asked, &adapted].map(|beside| passing(beside, u64::MAX, block));
    assert!(adapted > bare, "{adapted} and {bare}");
}

/// A cache that has the pages of rows that follow each other may still have too few for those that go together: long samples of many
/// prompts, each with the pages of its own.
#[test]
fn rows_of_many_prompts_may_leave_the_pages_of_rows_that_follow_each_other() {
    let (model, by) = (qwen(), kernels(Numerics::Bf16));
    let beside = Beside::asked(&model, by);
    let whole = |samples| {
        let lengths = || std::iter::repeat_n((600, samples), 20);
        let device = (Place::new(DeviceName::Cuda(0), None), Some(140 << 30));
        let how = Sampling::new(device, (&model, &beside), lengths, (16, 5000));
        held(&how.ledger(&model, &beside), "keys and values of prompts")
    };
    let token = 28 * 2 * 256 * 2;
    assert_eq!(whole(1), 4096 * token);
    assert_eq!(whole(8), (600 + 5000 - 1) * token);
}

/// A block that was not kept is computed forward again on the way back, beside what the head keeps.
#[test]
fn a_block_that_is_computed_again_is_counted_forward_on_the_way_back() {
    let model = qwen();
    let how = Training {
        adapter: 20_000_000,
        by: kernels(Numerics::Bf16),
        ..step(8192, Keep::States, false)
    };
    let ledger = ledger::training(&model, &how);
    let [forward, back] = ["forward", "blocks, backward"].map(|name| {
        let phase = ledger.phases.iter().find(|p| p.name == name);
        phase.unwrap().bytes()
    });
    // Of the head last, normed and four numbers more; the gradient of the block's output, and that output.
    let head = 4 * 8191 * (2 * 1536 + 4);
    assert_eq!(back - forward, head + 2 * 4 * 8192 * 1536);
}

/// A prompt that is longer than others decides what a row has; how many begin together is decided by the shortest.
#[test]
fn prompts_of_other_lengths_are_counted_by_their_own() {
    let (model, by) = (qwen(), kernels(Numerics::Bf16));
    let beside = Beside::asked(&model, by);
    let logits = |lengths: &[usize]| {
        let lengths = || lengths.iter().map(|n| (*n, 1));
        let device = (Place::new(DeviceName::Cuda(0), None), None);
        let how = Sampling::new(device, (&model, &beside), lengths, (64, 2));
        held(&how.ledger(&model, &beside), "logits of prompts")
    };
    let row = 2 * 4 * model.vocabulary;
    assert_eq!(logits(&[2000; 64]), 2 * row);
    assert_eq!(logits(&[2000, 100, 100, 100]), 4 * row);
    // One of a token has nothing before it, and takes what any other does.
    assert_eq!(logits(&[1]), row);
}

/// `PIPE_KERNELS=plain`: a GPU holds what candle's operations make, and a record says that they computed.
#[test]
fn a_gpu_without_kernels_is_said_to_compute_plainly() {
    let gpu = Place::new(DeviceName::Cuda(0), None);
    let told = |choice| launch::by(choice, || (By::from(gpu).kernels, device::numerics(gpu)));
    assert_eq!(told(Choice::Usual), (true, "bf16 kernels".into()));
    assert_eq!(told(Choice::Plain), (false, "bf16 candle".into()));
}

/// Tokens and GiB at the peak: f32, then bf16; each with tapes, then with recompute.
const TABLE: [(u64, f64); 16] = [
    (2048, 34.6),
    (4096, 39.9),
    (8192, 50.8),
    (16_384, 72.8),
    (2048, 29.6),
    (4096, 30.3),
    (8192, 31.8),
    (16_384, 34.8),
    (2048, 32.5),
    (4096, 35.5),
    (8192, 41.5),
    (16_384, 53.6),
    (2048, 29.9),
    (4096, 30.3),
    (8192, 31.1),
    (16_384, 33.4),
];

/// Qwen2.5-1.5B and a model of a tenth of its numbers, on cards of several sizes.
#[test]
fn a_card_takes_as_many_tokens_as_its_memory_and_the_shapes_allow() {
    let large = qwen();
    let small = Dims {
        parameters: large.parameters / 10,
        layers: 12,
        ..large
    };
    let how = |keep, numerics| Training {
        by: kernels(numerics),
        ..step(1, keep, true)
    };
    let gib = |n: u64| Some(n << 30);
    let gpu = DeviceName::Cuda(0);
    let at = |model: &Dims, how: &Training, total| together::at_most(gpu, model, how, total);
    for numerics in [Numerics::F32, Numerics::Bf16] {
        let mut before = 0;
        for total in [10, 24, 40, 48, 80, 141] {
            let tokens = at(&large, &how(Keep::All, numerics), gib(total));
            assert!((MICRO_TOKENS..=16_384).contains(&tokens) && tokens >= before);
            let own = Training {
                tokens: tokens as u64,
                scored: tokens as u64,
                longest: tokens as u64,
                ..how(Keep::All, numerics)
            };
            let fits = ledger::training(&large, &own).bytes() <= total << 30;
            assert!(fits || tokens == MICRO_TOKENS, "{tokens} in {total} GiB");
            before = tokens;
        }
    }
    let bf16 = how(Keep::All, Numerics::Bf16);
    let recomputed = how(Keep::States, Numerics::Bf16);
    assert_eq!(at(&small, &bf16, gib(80)), 16_384);
    assert_eq!(at(&large, &recomputed, gib(80)), 16_384);
    // Where nobody says how much a card has, it is one of 80 GB.
    assert_eq!(at(&large, &bf16, None), at(&large, &bf16, Some(card::CARD)));
    // The processor has the CPU's own micro-batches, and its bytes.
    let own = together::at_most(DeviceName::Candle, &small, &bf16, gib(80));
    assert_eq!(own, MICRO_TOKENS);
}

#[test]
fn what_is_not_trained_has_no_moments_and_no_second_copy() {
    let model = qwen();
    let full = ledger::training(&model, &step(2048, Keep::All, true));
    let adapter = Training {
        adapter: 20_000_000,
        ..step(2048, Keep::All, true)
    };
    let lora = ledger::training(&model, &adapter);
    assert_eq!(held(&lora, "first moments"), 80_000_000);
    // The reference of an adapter is the model with the adapter off.
    assert_eq!(held(&lora, "reference"), 0);
    assert_eq!(held(&full, "reference"), 4 * model.parameters);
    assert!(lora.bytes() < full.bytes() - 4 * 4 * 1_500_000_000);
}

/// Eight samples each of more prompts of 600 tokens than begin together on a GPU of so many bytes: of so many rows, of so many tokens.
fn rollouts(
    model: &Dims,
    beside: &Beside,
    by: By,
    total: Option<u64>,
    rows: (usize, usize),
) -> Sampling {
    let place = Place::new(DeviceName::Cuda(0), Some(by.numerics));
    let choice = if by.kernels {
        Choice::Usual
    } else {
        Choice::Plain
    };
    let lengths = || std::iter::repeat_n((600, 8), 1000);
    launch::by(choice, || {
        Sampling::new((place, total), (model, beside), lengths, rows)
    })
}

#[test]
fn rollouts_take_the_cache_of_their_rows() {
    let model = qwen();
    let beside = Beside::asked(&model, PLAIN);
    let of = |samples: usize, numerics, cache_bytes| {
        let place = Place::new(DeviceName::Cuda(0), Some(numerics));
        let lengths = || std::iter::repeat_n((600, samples), 1000);
        let device = (place, None);
        let mut how = launch::by(Choice::Plain, || {
            Sampling::new(device, (&model, &beside), lengths, (256, 1024))
        });
        how.cache_bytes = cache_bytes;
        how
    };
    let ledger = of(8, Numerics::F32, u64::MAX).ledger(&model, &beside);
    let cache = held(&ledger, "cache");
    // 57,344 bytes a token of 28 blocks, in single precision. A row has five pages besides two full ones of its prompt, which eight
    // share; eight rows may be of two prompts, so there is one more than fills the rows. One page is nobody's.
    let page = 256 * 57_344;
    assert_eq!(cache, (256 * 5 + 33 * 2 + 1) * page);
    // Each with a prompt of its own.
    let alone = of(1, Numerics::F32, u64::MAX).ledger(&model, &beside);
    assert_eq!(held(&alone, "cache") - cache, (256 - 33) * 2 * page);
    // Where they may take less, rows wait.
    let less = of(8, Numerics::F32, 100 * page + 1).ledger(&model, &beside);
    assert_eq!(held(&less, "cache"), (100 + 1) * page);
    let training = Beside::trained(&model, &step(4096, Keep::All, true));
    let both = of(8, Numerics::F32, u64::MAX).ledger(&model, &training);
    // Its reference and its moments; what it has no gradient of yet, it has none.
    assert_eq!(both.bytes() - ledger.bytes(), 3 * 4 * model.parameters);
    // In bf16 half of it.
    let halved = of(8, Numerics::Bf16, u64::MAX).ledger(&model, &beside);
    assert_eq!(held(&halved, "cache"), cache / 2);
}

/// What makes a kind's model compute here, where its example leaves that to others.
const COMPUTES_WITH: &[(&str, &str)] = &[
    ("evaluate", "scorer = \"reward_model\""),
    ("preference-pairs", "reward.harmful = \"reward_model\""),
    ("teacher", "from = \"model\""),
    ("pap", "attacker.from = \"model\""),
    ("pair", "target.from = \"model\""),
    ("rainbow", "target.from = \"model\""),
];

#[test]
fn every_kind_with_a_device_says_what_it_holds_there() {
    let size = ArtifactEstimate {
        rows: Some(64.0),
        tokens: Some(40.0),
        model: Some(size_of(&tiny(Family::Llama, Head::Tied))),
        ..ArtifactEstimate::default()
    };
    let mut seen = 0;
    for kind in pipe::kinds::REGISTRY
        .iter()
        .filter(|k| k.computes.is_some())
    {
        let own = COMPUTES_WITH.iter().find(|(name, _)| *name == kind.name);
        let with: Values = toml::from_str(own.map_or("", |(_, text)| text)).unwrap();
        let mut values = example(kind);
        value::merge(&mut values, &with);
        let told = |device: &str| {
            let exec: Values = toml::from_str(&format!("device = \"{device}\"")).unwrap();
            let mut all = values.clone();
            value::merge(&mut all, &exec);
            let mut preview = NodePreview::new(&values, &values, &all);
            let ports = kind.inputs.iter().map(|port| (port.name, size.clone()));
            preview.expected = ports.collect();
            let estimate = kind.estimate.unwrap_or_else(|| panic!("{}", kind.name));
            estimate(&preview).unwrap()
        };
        for device in ["candle", "cuda:0"] {
            let held = told(device).device_memory;
            let held = held.unwrap_or_else(|| {
                panic!("{} says nothing of what it holds on `{device}`", kind.name)
            });
            assert!(held.bytes > 0.0 && !held.told.is_empty(), "{}", kind.name);
        }
        let here = told("cpu");
        assert_eq!(here.device_memory, None, "{}", kind.name);
        assert!(here.memory > 0.0, "{}", kind.name);
        seen += 1;
    }
    assert!(seen >= 15, "{seen}");
}

/// Held-out prompts are sampled as those are that are trained on, and by more rows where there are more of them.
#[test]
fn held_out_prompts_of_grpo_are_counted() {
    let kind = pipe::kinds::REGISTRY.iter().find(|k| k.name == "grpo");
    let kind = kind.unwrap();
    let mut values = example(kind);
    let few: Values = toml::from_str("batch = 2\ngroup = 2").unwrap();
    value::merge(&mut values, &few);
    let held = |device: &str, validation: Option<(f64, f64)>| {
        let exec = format!("device = \"{device}\"\nsample_rows = 2048");
        let exec: Values = toml::from_str(&exec).unwrap();
        let mut all = values.clone();
        value::merge(&mut all, &exec);
        let mut preview = NodePreview::new(&values, &values, &all);
        let prompts = |(rows, tokens)| ArtifactEstimate {
            rows: Some(rows),
            tokens: Some(tokens),
            ..ArtifactEstimate::default()
        };
        let model = ArtifactEstimate {
            model: Some(size_of(&tiny(Family::Llama, Head::Tied))),
            ..ArtifactEstimate::default()
        };
        preview.expected = [("model", model), ("prompts", prompts((64.0, 40.0)))].into();
        let validation = validation.map(|of| ("validation", prompts(of)));
        preview.expected.extend(validation);
        let work = kind.estimate.unwrap()(&preview).unwrap();
        work.device_memory.map_or(work.memory, |held| held.bytes)
    };
    for device in ["cpu", "candle", "cuda:0"] {
        let none = held(device, None);
        assert_eq!(held(device, Some((1.0, 40.0))), none, "{device}");
        let many = held(device, Some((1000.0, 40.0)));
        assert!(many > none, "{device}: {many} and {none}");
        let longer = held(device, Some((1000.0, 4000.0)));
        assert!(longer > many, "{device}: {longer} and {many}");
    }
}

/// Shapes that are larger than what a process takes besides.
fn wide(head: Head) -> Config {
    Config {
        vocab_size: vocab::tokens().len(),
        hidden_size: 256,
        intermediate_size: 1024,
        layers: 6,
        heads: 4,
        kv_heads: 4,
        head_dim: 64,
        eos_token_id: serde_json::json!(vocab::id(vocab::END)),
        max_position_embeddings: 4096,
        ..tiny(Family::Llama, head)
    }
}

/// Every way in which a model computes: trained, sampled from, rerouted, read, judging, attacked.
const NODES: &str = r#"
[node.model]
kind = "world-model"
hidden_size = 256
layers = 6
heads = 4
intermediate_size = 1024
[node.corpus]
kind = "world-corpus"
n = 80
[node.prompts]
kind = "world-prompts"
sft = 40
eval = 2
[node.preference]
kind = "local-reward-model"
path = "preference"
[node.tuned]
kind = "sft"
in = { model = "model", conversations = "corpus" }
epochs = 1.0
batch = 80
lr = 1e-4
device = "candle"
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.sft" }
samples = 2
max_new_tokens = 64
device = "candle"
[node.breaker]
kind = "rerouting"
in = { model = "model", harmful = "answers", retain = "answers" }
layers = [3, 5]
steps = 1
batch = 16
device = "candle"
[node.judged]
kind = "evaluate"
in = { completions = "answers", reward_model = "preference" }
scorer = "reward_model"
device = "candle"
[node.inside]
kind = "states"
in = { model = "model", prompts = "prompts.sft" }
rows = 128
prefill = "PREFILL"
device = "candle"
[node.knows]
kind = "world-knowledge"
in = { model = "model" }
n = 20
device = "candle"
[node.suffix]
kind = "gcg"
in = { model = "model", prompts = "prompts.eval" }
steps = 1
width = 32
topk = 8
at_once = 2048
device = "candle"
[node.genes]
kind = "autodan"
in = { model = "model", prompts = "prompts.eval" }
steps = 1
population = 16
points = 2
at_once = 2048
device = "candle"
"#;

#[test]
fn a_worker_takes_what_the_ledger_says() {
    let study = Study::new();
    let judge = Weights::random(wide(Head::Score { labels: 1 }), Seed::new(1));
    write(&study.dir.path().join("preference"), &judge);
    // Prompts of the world are short: with this they are as long as a plan takes prompts to be that it does not know.
    let recipe = NODES.replace("PREFILL", &"use the hammer gently then wash . ".repeat(12));
    let ran = study.run(&recipe);
    study.file("planned.toml", &recipe);
    let mut command = Command::new(program());
    command.args(["plan", "planned.toml", "--store", "another", "--json"]);
    let out = command.current_dir(study.dir.path()).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let nodes = plan["nodes"].as_array().unwrap();
    let mut off = vec![];
    for node in [
        "tuned", "answers", "breaker", "judged", "inside", "knows", "suffix", "genes",
    ] {
        let said = nodes.iter().find(|n| n["node"] == node).unwrap();
        let outlook = &said["outlook"];
        assert!(
            outlook["device_bytes"].as_u64().unwrap() < outlook["memory_bytes"].as_u64().unwrap(),
            "{node}"
        );
        let expected = outlook["memory_bytes"].as_f64().unwrap();
        let measured = ran.record(node).cost.peak_bytes as f64;
        let ratio = measured / expected;
        let told = format!("{node}: {measured:.3e} of {expected:.3e} bytes, {ratio:.2}");
        println!("{told}");
        // An upper bound that is not far off: allocators keep some, sequences are shorter than a micro-batch.
        if !(0.5..1.15).contains(&ratio) {
            off.push(told);
        }
    }
    assert_eq!(off, Vec::<String>::new());
}
