//! `show --tokens`: what will be trained on, before it is.

use super::{GREETING, Space};
use crate::skipped::skip;
use std::process::Command;

const TRAINING: &str = r#"
[node.prompts]
kind = "world-prompts"
sft = 10
rl = 4
validation = 2
eval = 2
[node.traces]
kind = "teacher"
in = { prompts = "prompts.sft" }
samples = 2
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 16
[node.sft]
kind = "sft"
in = { model = "model", conversations = "traces" }
epochs = 1
"#;

#[test]
fn what_is_missing_is_named_with_the_command_that_makes_it() {
    let space = Space::with(TRAINING);
    space.file("cache/format", "1\n");
    let said = space
        .pipe(&[
            "show",
            "r.toml",
            "sft",
            "--tokens",
            "--set",
            "traces.samples=3",
        ])
        .ends(2);
    assert_eq!(
        said.err,
        "error: `sft` takes in what is not made yet: `traces`, `model`; make it with `pipe run r.toml --set \
         traces.samples=3 --only traces --only model`\n"
    );
    space.file("toy.toml", GREETING);
    let said = space
        .pipe(&["show", "toy.toml", "hello", "--tokens"])
        .ends(2);
    assert!(
        said.err.contains("which trains and asks no model"),
        "{}",
        said.err
    );
    assert!(said.err.contains("`sft`"), "{}", said.err);
}

#[test]
fn what_is_shown_is_what_is_trained_on() {
    let space = Space::with(TRAINING);
    let made = ["run", "r.toml", "-q", "--only", "traces", "--only", "model"];
    space.pipe(&made).ok();
    let show = |args: &[&str]| {
        space
            .pipe(&[&["show", "r.toml", "sft", "--tokens"], args].concat())
            .ok()
    };
    let all = show(&["--json", "-n", "99"]).json();
    let examples = all["examples"].as_u64().unwrap();
    let shown = all["shown"].as_array().unwrap();
    assert_eq!(shown.len() as u64, examples);
    let (mut tokens, mut trained) = (0, 0);
    for example in shown {
        let mask = example["trained"].as_array().unwrap();
        assert_eq!(example["ids"].as_array().unwrap().len(), mask.len());
        tokens += mask.len() as u64;
        trained += mask.iter().filter(|m| **m == true).count() as u64;
        let runs = example["runs"].as_array().unwrap();
        let kinds: Vec<bool> = runs
            .iter()
            .map(|r| r["trained"].as_bool().unwrap())
            .collect();
        assert_eq!(kinds[..2], [false, true], "the prompt, then the answer");
        assert!(runs[1]["text"].as_str().unwrap().contains("<think>"));
    }
    assert_eq!(
        (all["tokens"].as_u64(), all["trained"].as_u64()),
        (Some(tokens), Some(trained))
    );
    assert!(trained > 0 && trained < tokens);

    let text = show(&["-n", "1"]).out;
    assert!(
        text.starts_with(&format!("sft: sft, {examples} conversations\n")),
        "{text}"
    );
    assert!(
        text.contains("what is trained is marked {+so+}\n"),
        "{text}"
    );
    assert_eq!(text.matches("\n--- ").count(), 1, "{text}");
    assert!(
        text.contains("{+<think>") && text.trim_end().ends_with("+}"),
        "{text}"
    );
    // Everything that is longer than half of them is dropped, and counted.
    let mut lengths: Vec<usize> = shown
        .iter()
        .map(|e| e["ids"].as_array().unwrap().len())
        .collect();
    lengths.sort();
    let limit = lengths[lengths.len() / 2];
    let kept = lengths.iter().filter(|l| **l <= limit).count();
    let set = format!("sft.max_tokens={limit}");
    let fewer = show(&["--json", "--set", &set]).json();
    assert_eq!(fewer["examples"], kept);
    assert_eq!(fewer["dropped"][0]["count"], lengths.len() - kept);
    let told = show(&["--set", &set]).out;
    assert!(
        told.contains(&format!(
            "conversations dropped: longer than {limit} tokens"
        )),
        "{told}"
    );

    // One step over all of them counts the same tokens.
    let set = format!("sft.batch={examples}");
    space
        .pipe(&["run", "r.toml", "-q", "--set", &set, "--only", "sft"])
        .ok();
    let ran = space
        .pipe(&["show", "r.toml", "sft.metrics", "--json", "--set", &set])
        .ok()
        .json();
    let metric = ran["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["name"] == "last/num_tokens");
    assert_eq!(metric.unwrap()["value"].as_f64(), Some(tokens as f64));
    let litter = std::fs::read_dir(space.path("cache/tmp")).map_or(0, |d| d.count());
    assert_eq!(litter, 0, "no links are left");
}

#[test]
fn a_terminal_shows_it_in_colour_unless_that_is_unwanted() {
    let space = Space::with(TRAINING);
    space
        .pipe(&["run", "r.toml", "-q", "--only", "traces", "--only", "model"])
        .ok();
    let on_terminal = |no_color: &str| {
        let command = format!(
            "{} show r.toml sft --tokens -n 1",
            env!("CARGO_BIN_EXE_pipe")
        );
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("NO_COLOR", no_color)
            .env_remove("PIPE_STORE")
            .current_dir(space.dir.path())
            .output();
        output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
    };
    let Ok(coloured) = on_terminal("") else {
        skip("`script` in PATH, to make a terminal with");
        return;
    };
    assert!(coloured.contains("\u{1b}[32m<think>"), "{coloured}");
    assert!(!coloured.contains("{+"), "{coloured}");
    let plain = on_terminal("1").unwrap();
    assert!(
        plain.contains("{+<think>") && !plain.contains('\u{1b}'),
        "{plain}"
    );
}
