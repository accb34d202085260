//! Training and sampling kinds on a tiny world, through the engine with worker processes: exactness, resumption, learning,
//! and how they fail.

use crate::study::{Ran, Study, run_in};
use pipe::base::rows::{Completion, Conversation, Measured, VALUES};
use pipe::engine::events::event::{Event, State};
use pipe::engine::run::Stop;
use pipe::kinds::REGISTRY;
use pipe::learn::chat;
use pipe::learn::tokenizer::Tokenizer;
use pipe::recipe::{self, Overrides};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A model that has seen nothing, and what it can learn from.
pub const WORLD: &str = r#"
[node.untrained]
kind = "world-model"
hidden_size = 32
layers = 1
heads = 2
intermediate_size = 64
initial_std = 0.02
common_std = 0.0
[node.prompts]
kind = "world-prompts"
sft = 60
rl = 40
validation = 20
eval = 20
[node.traces]
kind = "teacher"
in = { prompts = "prompts.sft" }
samples = 4
style = "mixed"
[node.mix]
kind = "mix"
in = { prompts = "prompts.rl" }
total = 48
"#;

/// A model that reasons now and then: what RL starts from. Some 85 steps.
pub const REASONER: &str = r#"
[node.reasoner]
kind = "sft"
in = { model = "untrained", conversations = "traces" }
lr = 1e-2
batch = 16
epochs = 6
checkpoint_every = 1
"#;

/// RL from the reasoner, with what its recipe has to say besides.
pub fn rl(reward: &str, extra: &str) -> String {
    format!(
        r#"
[node.rl]
kind = "grpo"
in = {{ model = "reasoner", prompts = "mix", validation = "prompts.validation" }}
reward = {{ harmful = "{reward}", harmless = "{reward}", ambiguous = "{reward}" }}
temperature = 1.0
max_new_tokens = 60
{extra}
"#
    )
}

/// WORLD, REASONER and a short RL.
fn chain(extra: &str) -> String {
    let short = "steps = 8\nbatch = 4\ngroup = 4\nlr = 1e-3\nvalidation_samples = 1\n";
    [WORLD, REASONER, &rl("format", &format!("{short}{extra}"))].concat()
}

#[test]
fn sft_and_grpo_give_the_same_bytes_on_one_thread_and_on_two() {
    let run = |threads| {
        let study = Study::new();
        let ran = study.run_with(&chain(""), |s| s.capacity.threads = threads, |_| {});
        [ran.digests("reasoner"), ran.digests("rl")]
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn training_that_is_killed_again_and_again_ends_in_the_same_bytes() {
    let recipe = chain("checkpoint_every = 2");
    let calm = Study::new().run(&recipe);
    let study = Study::new();
    for (node, moment) in [("reasoner", 2), ("reasoner", 40), ("rl", 1), ("rl", 5)] {
        let ran = killed_at(&study, &recipe, node, moment);
        assert!(
            ran.failure(node).contains("killed by SIGKILL"),
            "{}",
            ran.failure(node)
        );
    }
    let ran = study.run(&recipe);
    for node in ["reasoner", "rl"] {
        assert_eq!(ran.digests(node), calm.digests(node), "{node}");
    }
    assert_eq!(ran.record("rl").cost.attempts, 3);
    assert!(ran.said("rl", "resumed at step 4 of 8") || ran.said("rl", "resumed at step 6 of 8"));
}

#[test]
fn training_whose_engine_is_killed_ends_in_the_same_bytes() {
    const STORE: &str = "PIPE_TEST_TRAINING_OF_KILLED_ENGINE";
    let recipe = chain("checkpoint_every = 2");
    let study = Study::new();
    if let Some(root) = std::env::var_os(STORE) {
        // The child: an engine that will be killed.
        run_in(Path::new(&root), &study.graph(&recipe), |_| {}, |_| {});
        return;
    }
    let calm = Study::new().run(&recipe);
    for family in ["step-2", "step-30", "step-4"] {
        let mut engine = Command::new(std::env::current_exe().unwrap())
            .args([
                "training::training_whose_engine_is_killed_ends_in_the_same_bytes",
                "--exact",
            ])
            .env(STORE, study.store())
            .spawn()
            .unwrap();
        let start = Instant::now();
        // `step-4` is reached by the second node, `step-2` and `step-30` by the first.
        while !checkpoints(&study).iter().any(|c| c.ends_with(family)) {
            assert!(start.elapsed().as_secs() < 60, "{family} never came");
            if engine.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        engine.kill().unwrap();
        engine.wait().unwrap();
    }
    let ran = study.run(&recipe);
    for node in ["reasoner", "rl"] {
        assert_eq!(ran.digests(node), calm.digests(node), "{node}");
    }
    assert!(ran.record("reasoner").cost.attempts > 1);
}

#[test]
fn a_torn_checkpoint_falls_back_to_the_one_before() {
    let recipe = [WORLD, REASONER].concat();
    let calm = Study::new().run(&recipe);
    let tear: [fn(&Path); 3] = [
        |folder| {
            let path = folder.join("state.safetensors");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        |folder| std::fs::write(folder.join("curve.jsonl"), "{\"step\":1}\n").unwrap(),
        |folder| std::fs::remove_file(folder.join("state.safetensors")).unwrap(),
    ];
    for tear in tear {
        let study = Study::new();
        killed_at(&study, &recipe, "reasoner", 9);
        let mut kept = checkpoints(&study);
        kept.sort_by_key(|path| step_of(path));
        // Two, and a third where the kill came before the oldest was dropped.
        assert!((2..=3).contains(&kept.len()), "{kept:?}");
        let (newest, before) = (kept.pop().unwrap(), kept.pop().unwrap());
        tear(&newest);
        let ran = study.run(&recipe);
        assert!(ran.said("reasoner", "does not hold what was written"));
        let resumed = format!("resumed at step {} of", step_of(&before));
        assert!(ran.said("reasoner", &resumed), "{:?}", ran.said);
        assert_eq!(ran.digests("reasoner"), calm.digests("reasoner"));
    }
}

#[test]
fn a_stop_is_an_interruption_that_keeps_every_step() {
    const LAST: u64 = 8;
    // No checkpoint is due on the way, so what is kept was saved because of the stop.
    // Scoring the held-out prompts is long, so that a stop after the last step still finds somebody to stop.
    let recipe = chain("checkpoint_every = 1000")
        .replace("validation_samples = 1", "validation_samples = 8");
    let calm = Study::new().run(&recipe);
    let study = Study::new();
    let mut reached = 0;
    // Where a machine is slow to heed, a stop at step 4 comes as late as the one at 8.
    for moment in [2, 4, LAST] {
        if reached == LAST {
            break;
        }
        let stop = Stop::default();
        let asked = stop.clone();
        let ran = study.run_with(
            &recipe,
            |s| s.stop = stop,
            |event| {
                if let Event::Metric { node, metric } = event
                    && node == "rl"
                {
                    reached = metric.step;
                    if reached >= moment && asked.requests() == 0 {
                        asked.request();
                    }
                }
            },
        );
        if reached == LAST && *ran.state("rl") != State::Interrupted {
            break; // The scoring was over before the stop was heard.
        }
        assert_eq!(*ran.state("rl"), State::Interrupted, "{:?}", ran.said);
        let newest = checkpoints(&study).iter().map(|p| step_of(p)).max();
        assert_eq!(newest, Some(reached), "no step is lost");
    }
    assert_eq!(reached, LAST);
    let ran = study.run(&recipe);
    assert_eq!(ran.digests("rl"), calm.digests("rl"));
}

#[test]
fn the_loss_falls_on_two_hundred_conversations() {
    let recipe = format!(
        r#"{WORLD}
[node.corpus]
kind = "world-corpus"
n = 200
[node.base]
kind = "sft"
in = {{ model = "untrained", conversations = "corpus" }}
lr = 1e-2
epochs = 8
"#
    );
    let curve = Study::new().run(&recipe).curve("base");
    assert_eq!(
        curve.len(),
        100,
        "200 conversations in batches of 16, 8 times"
    );
    let loss = |steps: &[Json]| {
        steps
            .iter()
            .map(|s| s["loss"].as_f64().unwrap())
            .sum::<f64>()
            / steps.len() as f64
    };
    let (first, last) = (loss(&curve[..5]), loss(&curve[95..]));
    assert!(last < 0.5 * first, "{first} fell to {last} only");
}

#[test]
fn eight_examples_are_learned_by_heart() {
    let recipe = r#"
[node.untrained]
kind = "world-model"
hidden_size = 32
layers = 2
heads = 2
intermediate_size = 64
[node.prompts]
kind = "world-prompts"
sft = 8
[node.traces]
kind = "teacher"
in = { prompts = "prompts.sft" }
samples = 1
empty_rate = 0.0
[node.heart]
kind = "sft"
in = { model = "untrained", conversations = "traces" }
lr = 1e-2
batch = 8
epochs = 150
"#;
    let ran = Study::new().run(recipe);
    assert_eq!(ran.rows::<Conversation>("traces", "conversations").len(), 8);
    let accuracy = ran.metric("heart", "last/mean_token_accuracy").value;
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn grpo_is_on_policy_at_every_step_and_at_the_reference_at_the_first() {
    let curve = Study::new()
        .run(&chain("truncated = \"score\""))
        .curve("rl");
    assert_eq!(curve.len(), 8);
    let value = |step: &Json, name: &str| {
        step[name]
            .as_f64()
            .unwrap_or_else(|| panic!("no {name} in {step}"))
    };
    assert_eq!(value(&curve[0], "kl"), 0.0);
    assert!(value(&curve[7], "kl") > 0.0, "it moved");
    for step in &curve {
        assert_eq!(value(step, "ratio/mean"), 1.0);
        for name in ["clip_ratio/low_mean", "clip_ratio/high_mean"] {
            assert_eq!(value(step, name), 0.0);
        }
        let flat = value(step, "frac_reward_zero_std");
        assert!((0.0..=1.0).contains(&flat) && (flat * 4.0).fract() == 0.0);
        assert_eq!(value(step, "reward"), value(step, "rewards/format/mean"));
        assert_eq!(value(step, "reward_std"), value(step, "rewards/format/std"));
        // The sampler's numbers are the trainer's, at the same weights.
        assert!(value(step, "sampling/sampling_logp_difference/max") < 1e-4);
        let ratio = |what: &str| value(step, &format!("sampling/importance_sampling_ratio/{what}"));
        assert!((ratio("min") - 1.0).abs() < 1e-4 && (ratio("max") - 1.0).abs() < 1e-4);
        let length = |what: &str| value(step, &format!("completions/{what}"));
        assert!(length("max_terminated_length") <= length("max_length"));
        assert!(length("min_terminated_length") >= length("min_length"));
        assert_eq!(value(step, "frac_unscorable"), 0.0);
        assert_eq!(value(step, "frac_trained"), 1.0);
    }
    let flat: f64 = curve.iter().map(|s| value(s, "frac_reward_zero_std")).sum();
    assert!(flat < 8.0, "some group has a spread");
}

#[test]
fn groups_without_a_spread_are_counted_and_teach_nothing() {
    let short = "steps = 2\nbatch = 4\ngroup = 4\nlr = 1e-3\nkl.coefficient = 0.0\nentropy_coefficient = 0.0\n";
    let recipe = [
        WORLD,
        REASONER,
        &rl(
            "0.5",
            &format!("{short}weight_decay = 0.0\ntruncated = \"score\""),
        ),
    ]
    .concat();
    let ran = Study::new().run(&recipe);
    for step in ran.curve("rl") {
        assert_eq!(step["frac_reward_zero_std"], 1.0);
        assert_eq!(step["reward"], 0.5);
        assert_eq!(step["grad_norm"], 0.0);
    }
    assert_eq!(
        ran.bytes("rl", "model", "model.safetensors"),
        ran.bytes("reasoner", "model", "model.safetensors")
    );
}

#[test]
fn a_group_of_one_is_refused_before_anything_runs() {
    let recipe = [WORLD, REASONER, &rl("format", "steps = 2\ngroup = 1")].concat();
    let overrides = Overrides {
        sets: vec![],
        matrix: vec![],
        cwd: PathBuf::from("."),
    };
    let Err(diags) = recipe::from_text("study.toml", &recipe, &overrides, &REGISTRY) else {
        panic!("a group of one has no advantage");
    };
    let text = diags.render(false);
    assert!(
        text.contains("a group of 1 has no advantage to compare"),
        "{text}"
    );
    assert!(text.contains("`group` is 1, outside of 2 to"), "{text}");
}

#[test]
fn rl_raises_what_it_is_rewarded_for_beyond_the_interval() {
    let settings = "steps = 20\nbatch = 8\ngroup = 8\nlr = 3e-3";
    let ran = Study::new().run(&[WORLD, REASONER, &rl("format", settings)].concat());
    let before = ran.metric("rl", "held_out_reward/before");
    let after = ran.metric("rl", "held_out_reward/after");
    let (high, low) = (before.interval.unwrap().1, after.interval.unwrap().0);
    assert!(low > high + 0.1, "{before:?}, then {after:?}");
    assert_eq!(after.n, 60, "one observation a held-out prompt");
}

#[test]
fn every_choice_of_grpo_is_a_computation_of_its_own() {
    let study = Study::new();
    let settings = "steps = 3\nbatch = 4\ngroup = 4\nlr = 1e-3\nkl.coefficient = 0.1\n";
    let mut recipe = [WORLD, REASONER].concat();
    let choices = [
        "truncated = \"penalise\"",
        "aggregation = \"sequence-mean\"",
        "aggregation = \"dr-grpo\"",
        "aggregation = \"sequence-sum\"",
        // So many rollouts that there are several micro-batches.
        "batch = 16\naggregation = \"token-mean\"",
        "batch = 16\naggregation = \"bnpo\"",
        "batch = 16\naggregation = \"token-mean-micro-sum\"",
        "advantage = \"batch\"",
        "advantage = \"none\"",
        "advantage = \"rloo\"",
        // Of so small groups many have one reward only.
        "group = 2",
        "group = 2\nzero_variance = \"drop\"",
        "kl.applied_to = \"reward\"",
        // With one update the ratio is 1, and the gradient that of `k2`.
        "updates = 3\nkl.times_ratio = true",
        "kl.clamp = 1e-6",
        "updates = 3",
        "updates = 3\nratio = \"sequence\"",
        "updates = 3\nclip.low = 0.001\nclip.high = 0.001",
        "updates = 3\nclip.delta = 1.001",
        "updates = 3\nclip.dual = 1.0",
        "kl.estimator = \"k1\"",
        // On policy its slope is that of k3 times the ratio.
        "updates = 3\nkl.estimator = \"k2\"",
        "kl.coefficient = 0.0",
        "entropy_coefficient = 0.0",
        "truncated = \"score\"",
        "truncated = \"mask\"",
        "temperature = 0.9",
        "warmup_ratio = 0.5",
        "seed = 1",
    ];
    for (i, choice) in choices.iter().enumerate() {
        let name = choice.split(' ').next().unwrap();
        let others: Vec<&str> = settings.lines().filter(|l| !l.starts_with(name)).collect();
        // Without held-out prompts; few tokens, so that some rollouts are cut.
        let node = rl("format", &format!("{}\n{choice}", others.join("\n")))
            .replace("[node.rl]", &format!("[node.rl-{i}]"))
            .replace(", validation = \"prompts.validation\"", "")
            .replace("max_new_tokens = 60", "max_new_tokens = 40");
        let node = match name {
            "temperature" => node.replacen("temperature = 1.0\n", "", 1),
            _ => node,
        };
        recipe.push_str(&node);
    }
    let ran = study.run(&recipe);
    let mut models = std::collections::BTreeMap::new();
    for (i, choice) in choices.iter().enumerate() {
        let digest = ran.digests(&format!("rl-{i}")).remove("model").unwrap();
        if let Some(twin) = models.insert(digest, choice) {
            panic!("{choice} gives what {twin} gives");
        }
    }
    assert!(
        ran.curve("rl-0")
            .iter()
            .any(|s| s["completions/clipped_ratio"].as_f64() > Some(0.0))
    );
}

#[test]
fn a_class_without_a_reward_is_named_before_the_first_step() {
    let node = rl("format", "steps = 2").replace("harmless = \"format\", ", "");
    let failure = Study::new()
        .try_run(&[WORLD, REASONER, &node].concat())
        .failure("rl");
    let words = "there are harmless prompts and the reward table has no entry for them";
    assert!(failure.contains(words), "{failure}");
}

#[test]
fn the_probe_sees_room_between_the_average_and_the_best() {
    let probe = |samples| {
        format!(
            "[node.probe-{samples}]\nkind = \"probe\"\nin = {{ model = \"reasoner\", prompts = \"prompts.validation\" }}\n\
             reward = {{ harmful = \"format\", ambiguous = \"format\" }}\nsamples = {samples}\nmax_new_tokens = 60\n\
             prompts_per_class = 15\n"
        )
    };
    let recipe = [WORLD, REASONER, &probe(8), &probe(1)].concat();
    let ran = Study::new().run(&recipe);
    for class in ["harmful", "ambiguous"] {
        let of = |node: &str, what: &str| ran.metric(node, &format!("{what}/{class}"));
        let (average, best) = (of("probe-8", "average"), of("probe-8", "best"));
        assert_eq!(
            (average.n, best.n),
            (15, 15),
            "the first so many of a class"
        );
        assert!(best.value > average.value + 0.1, "{average:?} {best:?}");
        assert_eq!(of("probe-1", "average").value, of("probe-1", "best").value);
    }
    let text = ran.text("probe-8", "metrics", "metrics.json");
    assert!(
        !text.contains("harmless"),
        "a class without a reward is not asked"
    );
}

#[test]
fn traces_without_reasoning_are_dropped_and_counted() {
    let study = Study::new();
    let ran = study.run(WORLD);
    let kept = ran.metric("traces", "kept");
    let rows: Vec<Conversation> = ran.rows("traces", "conversations");
    assert_eq!(kept.n, 240);
    assert_eq!(kept.value, rows.len() as f64 / 240.0);
    assert!(
        (0.8..1.0).contains(&kept.value),
        "about a tenth is empty: {kept:?}"
    );
    for row in &rows {
        let text = &row.messages[1].content;
        assert!(
            !pipe::base::response::split(text)
                .reasoning
                .unwrap()
                .is_empty(),
            "{}",
            row.id
        );
        assert!(row.id.starts_with(&format!("{}#", row.prompt_id)));
    }
    let empty = WORLD.replace("samples = 4", "samples = 4\nempty_rate = 1.0");
    let failure = study.try_run(&empty).failure("traces");
    assert!(
        failure.contains("nothing is left to train on: 0 of 240 traces are kept, 240 empty"),
        "{failure}"
    );
}

#[test]
fn steps_that_nothing_is_left_of_are_counted_and_change_nothing() {
    const STEPS: usize = 12;
    let settings =
        "steps = 12\nbatch = 4\ngroup = 2\nvalidation_samples = 1\ncheckpoint_every = 1\n";
    let masked = [
        WORLD,
        REASONER,
        &rl("format", &format!("{settings}truncated = \"mask\"")),
    ]
    .concat()
    .replace("max_new_tokens = 60", "max_new_tokens = 2");
    let dropped = rl(
        "0.5",
        &format!("{settings}truncated = \"score\"\nzero_variance = \"drop\""),
    );
    let dropped = [WORLD, REASONER, &dropped].concat();
    for (recipe, kill) in [(masked, false), (dropped, true)] {
        let study = Study::new();
        if kill {
            // A checkpoint remembers what was skipped.
            killed_at(&study, &recipe, "rl", 1);
        }
        let ran = study.run(&recipe);
        let curve = ran.curve("rl");
        assert_eq!(curve.len(), STEPS);
        for (i, step) in curve.iter().enumerate() {
            assert_eq!(step["step"], i + 1);
            assert_eq!(step["skipped_updates"], (i + 1) as f64);
            assert_eq!(step["frac_trained"], 0.0);
            assert_eq!(step["frac_reward_zero_std"], 1.0);
        }
        assert_eq!(
            ran.bytes("rl", "model", "model.safetensors"),
            ran.bytes("reasoner", "model", "model.safetensors")
        );
    }
}

#[test]
fn what_becomes_of_the_unscorable_is_said_in_the_recipe() {
    let short = "steps = 2\nbatch = 4\ngroup = 4\nlr = 1e-3\nvalidation_samples = 1\n";
    // No number where the tags are missing.
    let of = |choice: &str| {
        let node = rl(
            "2 - 1 / format",
            &format!("{short}{choice}\ntruncated = \"score\""),
        );
        [WORLD, REASONER, &node].concat()
    };
    let study = Study::new();
    let failure = study.try_run(&of("")).failure("rl");
    assert!(
        failure.contains("`unscorable` says what becomes of such ones"),
        "{failure}"
    );
    let mut rewards = vec![];
    for choice in ["zero", "mask"] {
        let ran = study.run(&of(&format!("unscorable = \"{choice}\"")));
        let first = &ran.curve("rl")[0];
        let value = |name: &str| first[name].as_f64().unwrap();
        let lost = value("frac_unscorable");
        assert!(lost > 0.0 && lost < 1.0, "{first}");
        let trained = if choice == "mask" { 1.0 - lost } else { 1.0 };
        assert_eq!(value("frac_trained"), trained, "{first}");
        rewards.push((value("reward"), lost));
        held_out(&ran, choice == "mask");
    }
    // What has a score has reward 1.
    assert_eq!(rewards[1].0, 1.0);
    assert!((rewards[0].0 - (1.0 - rewards[0].1)).abs() < 1e-12);
}

/// Before and after are means over the same prompts, those that have a reward both times; how many lack one is told of each.
fn held_out(ran: &Ran, masked: bool) {
    let of = |name: &str| ran.metric("rl", name);
    let names = ["before", "after"].map(|when| format!("held_out_reward/{when}"));
    let values = ran.text("rl", "metrics", VALUES);
    let values: Vec<Measured> = (values.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let lacks = |row: &Measured| {
        let of = |name: &String| row.values[&format!("unscorable/{name}")] > 0.0;
        names.each_ref().map(of)
    };
    let lacking: Vec<[bool; 2]> = values.iter().map(lacks).collect();
    assert!(lacking.iter().any(|[b, a]| b != a), "{lacking:?}");
    for (row, [before, after]) in values.iter().zip(&lacking) {
        let there = !masked || !before && !after;
        for name in &names {
            assert_eq!(row.values.contains_key(name), there, "{row:?}");
        }
    }
    let both = lacking.iter().filter(|[b, a]| !masked || !b && !a).count();
    for (at, name) in names.iter().enumerate() {
        assert_eq!(of(name).n, both, "{name}");
        let lost = of(&format!("unscorable/{name}"));
        let count = lacking.iter().filter(|each| each[at]).count();
        assert_eq!((lost.value, lost.n), (count as f64 / 60.0, 60), "{name}");
    }
    let all = lacking.iter().flatten().filter(|lacks| **lacks).count();
    assert!((of("unscorable").value - all as f64 / 120.0).abs() < 1e-12);
    let told = format!("the held-out reward is of the {both} that have both");
    assert_eq!(ran.said("rl", &told), masked, "{:?}", ran.said);
}

#[test]
fn several_updates_share_their_rollouts_and_survive_a_kill_between_them() {
    let recipe = chain("updates = 3\ncheckpoint_every = 2").replace("steps = 8", "steps = 9");
    let calm = Study::new().run(&recipe);
    let curve = calm.curve("rl");
    let value = |step: usize, name: &str| curve[step][name].as_f64().unwrap();
    for step in 0..9 {
        // The first update on rollouts is on policy, up to the rounding of another packing; the next ones are not.
        let off = (value(step, "ratio/mean") - 1.0).abs();
        assert_eq!(off > 1e-5, step % 3 != 0, "step {step}: {off}");
        let same = value(step, "reward") == value(step - step % 3, "reward");
        assert!(same, "rollouts of step {step}");
    }
    assert_eq!(calm.digests("rl"), {
        let study = Study::new();
        for moment in [2, 5] {
            killed_at(&study, &recipe, "rl", moment);
        }
        let ran = study.run(&recipe);
        let resumed = |step: u64| ran.said("rl", &format!("resumed at step {step} of 9"));
        assert!(resumed(3) || resumed(6), "{:?}", ran.said);
        ran.digests("rl")
    });
}

#[test]
fn training_that_diverges_names_the_cause_and_keeps_its_checkpoint() {
    let study = Study::new();
    let recipe = [WORLD, REASONER].concat().replace("lr = 1e-2", "lr = 1e6");
    let failure = study.try_run(&recipe).failure("reasoner");
    assert!(failure.contains("training diverged"), "{failure}");
    assert!(failure.contains("a lower `lr` may help"), "{failure}");
    assert!(failure.starts_with("not finite: `"), "{failure}");
    let kept = checkpoints(&study);
    assert!(!kept.is_empty(), "the step before is kept");
    assert!(kept.iter().all(|c| c.join("state.safetensors").is_file()));
}

#[test]
fn a_template_that_fails_names_the_conversation() {
    let study = Study::new();
    let folder = broken_model(&study, |folder| {
        edit_json(&folder.join("tokenizer_config.json"), |config| {
            let text = "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('not like this') }}{% endif %}\
                        {{ m.content }}{% endfor %}";
            config["chat_template"] = text.into();
        });
    });
    let recipe = format!(
        "{WORLD}\n[node.local]\nkind = \"local-model\"\npath = '{}'\n{}",
        folder.display(),
        REASONER.replace("untrained", "local")
    );
    let failure = study.try_run(&recipe).failure("reasoner");
    assert!(failure.contains("conversation "), "{failure}");
    assert!(failure.contains("not like this"), "{failure}");
}

#[test]
fn conversations_that_are_too_long_are_dropped_and_counted() {
    let study = Study::new();
    let ran = study.run(WORLD);
    let folder = study.dir.path().join("model");
    ran.export("untrained", "model", &folder);
    let tokenizer = Tokenizer::load(&folder).unwrap();
    let rows: Vec<Conversation> = ran.rows("traces", "conversations");
    let lengths: Vec<usize> = rows
        .iter()
        .map(|c| {
            chat::render_training(&tokenizer, &c.messages)
                .unwrap()
                .ids
                .len()
        })
        .collect();
    let mut sorted = lengths.clone();
    sorted.sort_unstable();
    let limit = sorted[sorted.len() / 2];
    let dropped = lengths.iter().filter(|l| **l > limit).count();
    assert!(dropped > 0, "the lengths differ");
    let with = |limit: usize| {
        let node = REASONER.replace("epochs = 6", "epochs = 1");
        format!("{WORLD}{node}max_tokens = {limit}\n")
    };
    let ran = study.run(&with(limit));
    let words = format!("dropped {dropped} conversations of more than {limit} tokens");
    assert!(ran.said("reasoner", &words), "{:?}", ran.said);
    let metric = ran.metric("reasoner", "truncation/dropped");
    assert_eq!((metric.value, metric.n), (dropped as f64, rows.len()));
    let steps = ((lengths.len() - dropped) as f64 / 16.0).round() as usize;
    assert_eq!(ran.curve("reasoner").len(), steps);
    let failure = study.try_run(&with(3)).failure("reasoner");
    let words = format!("all {} conversations are longer than 3 tokens", rows.len());
    assert!(failure.contains(&words), "{failure}");
}

#[test]
fn generate_gives_the_same_bytes_however_it_is_saved_cut_and_threaded() {
    let recipe = |save_every: usize| {
        format!(
            r#"{WORLD}
[node.answers]
kind = "generate"
in = {{ model = "untrained", prompts = "prompts.eval" }}
samples = 3
max_new_tokens = 80
save_every = {save_every}
"#
        )
    };
    let calm = Study::new().run_with(&recipe(512), |s| s.capacity.threads = 1, |_| {});
    let rows: Vec<Completion> = calm.rows("answers", "completions");
    assert_eq!(rows.len(), 180);
    let whole: std::collections::BTreeSet<&str> =
        rows.iter().map(|r| r.response.as_str()).collect();
    assert!(whole.len() > 100, "the samples differ");

    let study = Study::new();
    for pass in 0..2 {
        let mut done = false;
        let ran = study.run_with(
            &recipe(1),
            |_| {},
            |event| {
                let more = checkpoints(&study).len() > 2 * pass + 1;
                if matches!(event, Event::Progress { node, .. } if node == "answers")
                    && !done
                    && more
                {
                    done = kill_worker_of(&study, "answers");
                }
            },
        );
        assert!(done, "there was a moment to kill it");
        assert!(ran.failure("answers").contains("SIGKILL"));
    }
    let saved = checkpoints(&study);
    assert!(saved.iter().any(|c| step_of(c) > 0), "{saved:?}");
    let ran = study.run(&recipe(7));
    assert_eq!(ran.record("answers").cost.attempts, 3);
    assert_eq!(ran.digests("answers"), calm.digests("answers"));
}

#[test]
fn a_stopped_generate_is_interrupted_and_continues() {
    let recipe = format!(
        "{WORLD}\n[node.answers]\nkind = \"generate\"\nin = {{ model = \"untrained\", prompts = \"prompts.rl\" }}\n\
         samples = 8\nmax_new_tokens = 200\nsave_every = 8\n"
    );
    let study = Study::new();
    let stop = Stop::default();
    let asked = stop.clone();
    let ran = study.run_with(
        &recipe,
        |s| s.stop = stop,
        |event| {
            let begun = matches!(event, Event::Progress { node, done, .. } if node == "answers" && *done > 0);
            if begun && asked.requests() == 0 {
                asked.request();
            }
        },
    );
    assert_eq!(*ran.state("answers"), State::Interrupted);
    assert_eq!(
        study.run(&recipe).digests("answers"),
        Study::new().run(&recipe).digests("answers")
    );
}

/// Runs until the node has made so many steps, then kills its worker.
pub fn killed_at(study: &Study, recipe: &str, node: &str, moment: u64) -> Ran {
    let mut killed = false;
    let ran = study.run_with(
        recipe,
        |_| {},
        |event| {
            let now = matches!(event, Event::Metric { node: n, metric } if n == node && metric.step >= moment);
            if now && !killed {
                killed = kill_worker_of(study, node);
            }
        },
    );
    assert!(killed, "{node} never came to step {moment}");
    ran
}

/// Kills the worker process that has an attempt of this node in this study's store. False where there is none.
fn kill_worker_of(study: &Study, node: &str) -> bool {
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let Ok(line) = std::fs::read(path.join("cmdline")) else {
            continue;
        };
        let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
        let [_, verb, dir, ..] = words.as_slice() else {
            continue;
        };
        let dir = PathBuf::from(String::from_utf8_lossy(dir).into_owned());
        if *verb != b"worker" || !dir.starts_with(study.store()) {
            continue;
        }
        let spec: Json =
            serde_json::from_slice(&std::fs::read(dir.join("attempt.json")).unwrap()).unwrap();
        if spec["node"] == node {
            let pid = path.file_name().unwrap().to_str().unwrap();
            let status = Command::new("kill").args(["-KILL", pid]).status().unwrap();
            return status.success();
        }
    }
    false
}

/// The whole checkpoints of all attempts.
pub fn checkpoints(study: &Study) -> Vec<PathBuf> {
    let mut found = vec![];
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|e| e.path()).collect()
    };
    for attempt in list(&study.store().join("attempts")) {
        let saved = list(&attempt.join("resume"));
        found.extend(saved.into_iter().filter(|p| p.extension().is_none()));
    }
    found
}

pub fn step_of(checkpoint: &Path) -> u64 {
    let name = checkpoint.file_name().unwrap().to_str().unwrap();
    name.rsplit('-').next().unwrap().parse().unwrap()
}

/// The tiny model as a folder, after something was done to it.
fn broken_model(study: &Study, harm: impl FnOnce(&Path)) -> PathBuf {
    let folder = study.dir.path().join("broken");
    study.run(WORLD).export("untrained", "model", &folder);
    harm(&folder);
    folder
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Json)) {
    let mut value: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}
