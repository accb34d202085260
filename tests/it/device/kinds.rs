//! Kinds on a device through the engine: what they make is what they make on the processor, but for rounding, and their records
//! say where it was made.

use crate::study::{Ran, Study};
use crate::training::WORLD;
use crate::{numerics::relative, reward_model::write_reward_model};
use pipe::base::device::DeviceUsed;
use pipe::base::rows::{Completion, Score};
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
[node.answers]
kind = "generate"
in = { model = "rl", prompts = "prompts.eval" }
max_new_tokens = 20
samples = 2
device = "DEVICE"
[node.judged]
kind = "evaluate"
in = { completions = "answers", reward_model = "preference" }
scorer = "reward_model"
device = "DEVICE"
[node.inside]
kind = "states"
in = { model = "tuned", prompts = "prompts.eval" }
device = "DEVICE"
[node.attack]
kind = "gcg"
in = { model = "tuned", prompts = "prompts.eval" }
steps = 1
width = 4
topk = 4
length = 6
device = "DEVICE"
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
    let ((here, cpu), (there, candle)) = (run("cpu"), run("candle"));
    for node in ["tuned", "rl", "answers", "judged", "inside", "attack"] {
        let origin = candle.record(node).provenance.origin;
        let told: Vec<String> = origin.devices.iter().map(DeviceUsed::told).collect();
        assert_eq!(told, ["candle, f32 candle"], "{node}");
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
