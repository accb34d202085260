//! What a device is said to hold at its peak: at the shapes of Qwen2.5-1.5B by hand, and against what a worker really took.

use crate::study::{Study, program};
use pipe::base::device::DeviceName;
use pipe::learn::decoder::Keep;
use pipe::learn::device::ledger::{self, Dims, Sampling, Training};
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

fn step(tokens: u64, keep: Keep, reference: bool, entropy: bool) -> Training {
    Training {
        adapter: 0,
        reference,
        keep,
        tokens,
        scored: tokens - 1,
        longest: tokens,
        entropy,
        logits_at_once: logits_at_once(),
    }
}

fn gigabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e8).round() / 10.0
}

#[test]
fn full_fine_tuning_of_1_5_b_with_its_reference_fits_into_70_gib() {
    let model = qwen();
    assert_eq!(model.parameters, 1_543_714_304);
    let ledger = ledger::training(&model, &step(4096, Keep::All, true, true));
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
            ("blocks, backward", 44.2),
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
    let recomputed = ledger::training(&model, &step(4096, Keep::States, true, true));
    assert_eq!(gigabytes(recomputed.bytes()), 36.8);
    // What does not fit says so before it runs: all of 16,384 tokens at once, without recompute.
    let long = ledger::training(&model, &step(16_384, Keep::All, true, true));
    assert_eq!(gigabytes(long.bytes()), 83.9);
}

#[test]
fn what_is_not_trained_has_no_moments_and_no_second_copy() {
    let model = qwen();
    let full = ledger::training(&model, &step(2048, Keep::All, true, false));
    let adapter = Training {
        adapter: 20_000_000,
        ..step(2048, Keep::All, true, false)
    };
    let lora = ledger::training(&model, &adapter);
    let named = |l: &ledger::Ledger, what: &str| {
        l.phases[0]
            .buffers
            .iter()
            .find(|b| b.what == what)
            .map(|b| b.bytes)
    };
    assert_eq!(named(&lora, "first moments"), Some(80_000_000));
    // The reference of an adapter is the model with the adapter off.
    assert_eq!(named(&lora, "reference"), None);
    assert_eq!(named(&full, "reference"), Some(4 * model.parameters));
    assert!(lora.bytes() < full.bytes() - 4 * 4 * 1_500_000_000);
}

#[test]
fn rollouts_take_the_cache_of_their_rows() {
    let model = qwen();
    let how = Sampling {
        rows: 256,
        longest: 1124,
        together: ledger::TOGETHER,
        prompt: 100,
        logits_at_once: logits_at_once(),
    };
    let ledger = ledger::sampling(&model, &[], &how);
    let cache = ledger.phases[0]
        .buffers
        .iter()
        .find(|b| b.what == "cache")
        .unwrap();
    // 57,344 bytes a token of 28 blocks, in single precision.
    assert_eq!(cache.bytes, 256 * 1124 * 57_344);
    let beside = ledger::beside(&model, &step(4096, Keep::All, true, true));
    let both = ledger::sampling(&model, &beside, &how);
    assert_eq!(both.bytes() - ledger.bytes(), 4 * 4 * model.parameters);
}

#[test]
fn a_worker_takes_what_the_ledger_says() {
    let recipe = |device: &str| {
        format!(
            r#"
[node.model]
kind = "world-model"
hidden_size = 256
layers = 6
heads = 4
intermediate_size = 1024
[node.corpus]
kind = "world-corpus"
n = 80
[node.it]
kind = "sft"
in = {{ model = "model", conversations = "corpus" }}
epochs = 1.0
batch = 80
lr = 1e-4
device = "{device}"
"#
        )
    };
    let study = Study::new();
    let measured = study.run(&recipe("candle")).record("it").cost.peak_bytes as f64;
    study.file("planned.toml", recipe("candle"));
    let mut command = Command::new(program());
    command.args(["plan", "planned.toml", "--store", "another", "--json"]);
    let out = command.current_dir(study.dir.path()).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let nodes = plan["nodes"].as_array().unwrap();
    let said = nodes.iter().find(|n| n["node"] == "it").unwrap();
    assert!(said["outlook"]["device_bytes"].as_u64() < said["outlook"]["memory_bytes"].as_u64());
    let expected = said["outlook"]["memory_bytes"].as_f64().unwrap();
    let ratio = measured / expected;
    // An upper bound that is not far off: allocators keep some, sequences are shorter than a micro-batch.
    assert!(
        (0.5..1.15).contains(&ratio),
        "{measured} of {expected}: {ratio}"
    );
}
