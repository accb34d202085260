//! Kinds on a device through the engine: what they make is what they make on the processor, but for rounding, and their records
//! say where it was made.

use crate::study::{Ran, Study};
use crate::training::WORLD;
use crate::{numerics::relative, reward_model::write_reward_model};
use pipe::base::device::DeviceUsed;
use pipe::base::rows::{Completion, Score};
use pipe::engine::store::record::Record;
use pipe::learn::checkpoint;
use pipe::learn::config::Family;
use std::path::Path;

/// Training with all weights and with an adapter, RL judged by a reward model, states, samples, a search; each on this device.
fn recipe(device: &str) -> String {
    let nodes = r#"
[node.tuned]
kind = "sft"
in = { model = "untrained", conversations = "traces" }
lr = 1e-2
batch = 40
epochs = 1
device = "DEVICE"
numerics = "f32"
[node.preference]
kind = "local-reward-model"
path = "preference"
[node.rl]
kind = "grpo"
in = { model = "tuned", prompts = "mix", validation = "prompts.validation", reward_model = "preference" }
reward = { harmful = "reward_model", harmless = "reward_model", ambiguous = "reward_model" }
temperature = 1.0
max_new_tokens = 20
steps = 2
batch = 2
group = 2
lr = 1e-3
validation_samples = 1
lora.rank = 2
kl.coefficient = 0.01
device = "DEVICE"
numerics = "f32"
[node.answers]
kind = "generate"
in = { model = "rl", prompts = "prompts.eval" }
max_new_tokens = 20
samples = 2
device = "DEVICE"
numerics = "f32"
[node.judged]
kind = "evaluate"
in = { completions = "answers", reward_model = "preference" }
scorer = "reward_model"
device = "DEVICE"
numerics = "f32"
[node.inside]
kind = "states"
in = { model = "tuned", prompts = "prompts.eval" }
device = "DEVICE"
numerics = "f32"
[node.attack]
kind = "gcg"
in = { model = "tuned", prompts = "prompts.eval" }
steps = 1
width = 4
topk = 4
length = 6
device = "DEVICE"
numerics = "f32"
"#;
    [WORLD, &nodes.replace("DEVICE", device)].concat()
}

fn run(device: &str) -> (Study, Ran) {
    let study = Study::new();
    write_reward_model(&study.dir.path().join("preference"), Family::Llama);
    let ran = study.run(&recipe(device));
    (study, ran)
}

fn weights(folder: &Path, ran: &Ran, node: &str) -> Vec<f32> {
    let to = folder.join(format!("{node}-model"));
    ran.export(node, "model", &to);
    checkpoint::load(&to).unwrap().data
}

#[test]
fn kinds_on_a_device_make_what_they_make_on_the_processor() {
    let ((here, cpu), (there, candle)) = (run("cpu"), run(&super::own().device.to_string()));
    for node in ["tuned", "rl", "answers", "judged", "inside", "attack"] {
        let origin = candle.record(node).provenance.origin;
        let told: Vec<String> = origin.devices.iter().map(DeviceUsed::told).collect();
        assert!(
            told[0].starts_with(&super::own().device.to_string()),
            "{node}: {told:?}"
        );
        let numerics = pipe::learn::device::numerics(super::own());
        assert!(
            told[0].ends_with(&format!(", {numerics}")),
            "{node}: {told:?}"
        );
        assert_eq!(told.len(), 1, "{node}: {told:?}");
    }
    // `device` is in no key; other bytes of a model make other keys below it.
    assert_eq!(cpu.record("tuned").key, candle.record("tuned").key);
    for node in ["tuned", "rl"] {
        let theirs = weights(here.dir.path(), &cpu, node);
        let off = relative(&weights(there.dir.path(), &candle, node), &theirs);
        println!("{node}: weights off by {off:.1e}");
        assert!(off > 0.0 && off < 1e-3, "{node}: {off}");
    }
    let texts = |ran: &Ran| -> Vec<String> {
        let rows: Vec<Completion> = ran.rows("answers", "completions");
        rows.into_iter().map(|row| row.response).collect()
    };
    let (ours, theirs) = (texts(&candle), texts(&cpu));
    let alike = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
    println!("{alike} of {} responses are the same", theirs.len());
    assert_eq!(ours.len(), theirs.len());
    assert!(10 * alike >= 9 * theirs.len(), "{alike}");
    let scores = |ran: &Ran| -> Vec<Score> { ran.rows("judged", "scores") };
    assert_eq!(scores(&candle).len(), scores(&cpu).len());
}

/// The same node in both numbers: one key, weights that are alike but for rounding, and records that tell.
#[test]
fn a_kind_in_bf16_makes_what_it_makes_in_f32_but_for_rounding() {
    let of = |numerics: &str| {
        let text =
            recipe("candle").replace("numerics = \"f32\"", &format!("numerics = \"{numerics}\""));
        let (head, _) = text.split_once("[node.preference]").expect("it follows");
        let study = Study::new();
        let ran = study.run(head);
        let tuned = weights(study.dir.path(), &ran, "tuned");
        (ran.record("tuned"), tuned)
    };
    let ((f32, theirs), (bf16, ours)) = (of("f32"), of("bf16"));
    let told = |record: &Record| -> Vec<String> {
        let devices = record.provenance.origin.devices.iter();
        devices.map(DeviceUsed::told).collect()
    };
    assert_eq!(told(&f32), ["candle, f32 candle"]);
    assert_eq!(told(&bf16), ["candle, bf16 candle"]);
    assert_eq!(f32.key, bf16.key);
    let off = relative(&ours, &theirs);
    println!("weights off by {off:.1e}");
    assert!(off > 1e-6 && off < 5e-2, "{off}");
}
