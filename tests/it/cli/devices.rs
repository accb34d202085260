//! `device` as its user meets it: set for a node or for all that have it, refused where a kind or a machine has none, told by plans.

use super::Space;

const RECIPE: &str = r#"
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 32
[node.prompts]
kind = "world-prompts"
sft = 4
rl = 4
validation = 2
eval = 4
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.eval" }
max_new_tokens = 4
[node.only]
kind = "toy-compute"
text = "processor"
[node.scores]
kind = "evaluate"
in = { completions = "answers" }
"#;

#[test]
fn a_device_that_a_kind_cannot_use_is_an_error_of_check() {
    let space = Space::with(RECIPE);
    let said = space
        .pipe(&["check", "r.toml", "--set", "only.device=candle"])
        .ends(2);
    assert!(
        said.err
            .contains("`device = \"candle\"` is not available for `toy-compute`: it says so"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("write `device = \"cpu\"`"),
        "{}",
        said.err
    );
    let said = space
        .pipe(&["check", "r.toml", "--set", "answers.device=gpu"])
        .ends(2);
    assert!(said.err.contains("did you mean `cuda:0`?"), "{}", said.err);
    let said = space
        .pipe(&["check", "r.toml", "--set", "answers.numerics=bf16"])
        .ends(2);
    assert!(
        said.err
            .contains("`numerics = \"bf16\"` is not available for `generate`: `cpu` computes in single precision"),
        "{}",
        said.err
    );
    for set in ["answers.device=candle", "answers.device=cuda:0"] {
        let args = [
            "check",
            "r.toml",
            "--set",
            "answers.numerics=bf16",
            "--set",
            set,
        ];
        space.pipe(&args).ends(0);
    }
    // It judges by no model.
    let said = space
        .pipe(&["check", "r.toml", "--set", "scores.device=candle"])
        .ends(2);
    assert!(
        said.err
            .contains("`device` acts only where the reward model judges"),
        "{}",
        said.err
    );
    space
        .pipe(&["check", "r.toml", "--set", "answers.device=candle"])
        .ok();
}

#[test]
fn a_star_sets_a_parameter_at_every_node_that_has_it() {
    let space = Space::with(RECIPE);
    let all = [
        "check",
        "r.toml",
        "--resolved",
        "--set",
        "*.device=candle",
        "--set",
        "only.device=cpu",
    ];
    let said = space.pipe(&all).ok();
    assert_eq!(
        said.out.matches("device = \"candle\"").count(),
        1,
        "{}",
        said.out
    );
    // What it would do nothing at is passed over, what refuses it says so.
    let said = space
        .pipe(&["check", "r.toml", "--set", "*.device=candle"])
        .ends(2);
    assert_eq!(said.err.matches("error: ").count(), 1, "{}", said.err);
    let said = space
        .pipe(&["check", "r.toml", "--set", "*.devise=candle"])
        .ends(2);
    assert!(
        said.err.contains("no node has a parameter `devise`"),
        "{}",
        said.err
    );
    assert!(said.err.contains("device"), "{}", said.err);
    let said = space
        .pipe(&["check", "r.toml", "--set", "*.kind=sft"])
        .ends(2);
    assert!(said.err.contains("`*` sets parameters"), "{}", said.err);
}

#[test]
fn a_machine_without_the_device_says_so_before_anything_starts() {
    let space = Space::with(RECIPE);
    let gpu = ["--set", "answers.device=cuda:0"];
    // The recipe is right: another machine may have it.
    space.pipe(&[&["check", "r.toml"][..], &gpu].concat()).ok();
    let lacks = "nodes that have to run need devices that are not here:\n  `answers`: `cuda:0`: this binary computes on the CPU only";
    let said = space.pipe(&[&["plan", "r.toml"][..], &gpu].concat()).ok();
    assert!(said.err.contains(lacks), "{}", said.err);
    let plan = space
        .pipe(&[&["plan", "r.toml", "--json"][..], &gpu].concat())
        .ok()
        .json();
    let missing = plan["missing_devices"]["answers"].as_str().unwrap();
    assert!(missing.starts_with("`cuda:0`: this binary"), "{missing}");
    let said = space.pipe(&[&["run", "r.toml"][..], &gpu].concat()).ends(3);
    assert!(said.err.contains(lacks), "{}", said.err);
    assert!(said.err.contains("nothing was started"), "{}", said.err);
    assert!(!space.path("cache").exists());
}

#[test]
fn a_plan_and_the_provenance_tell_devices() {
    let space = Space::with("[node.it]\nkind = \"toy-compute\"\n");
    let on = |device: &str| format!("it.device={device}");
    space
        .pipe(&["run", "r.toml", "--set", &on("cuda:704"), "--quiet"])
        .ends(3);
    space
        .pipe(&["run", "r.toml", "--set", &on("candle"), "--quiet"])
        .ok();
    let said = space.pipe(&["show", "r.toml", "it", "--provenance"]).ok();
    assert!(
        said.out.contains("device       candle, f32 candle\n"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("numerics     f32 candle\n"),
        "{}",
        said.out
    );
    let said = space
        .pipe(&["plan", "r.toml", "--fresh", "it", "--set", &on("candle")])
        .ok();
    assert!(!said.err.contains("computed on"), "{}", said.err);
    let said = space.pipe(&["plan", "r.toml", "--fresh", "it"]).ok();
    let told = "warning: `it` was computed on candle, f32 candle, and is to be made again on cpu, f32: its bytes will be others";
    assert!(said.err.contains(told), "{}", said.err);
    let plan = space
        .pipe(&["plan", "r.toml", "--fresh", "it", "--json"])
        .ok()
        .json();
    assert_eq!(plan["nodes"][0]["moved"]["before"], "candle, f32 candle");
    let said = space.pipe(&["why", "r.toml", "it"]).ok();
    assert!(said.out.contains(" on candle, f32 candle;"), "{}", said.out);
    let said = space.pipe(&["run", "r.toml", "--fresh", "it"]).ok();
    assert!(
        said.err.contains(
            "came out other than before, on another device: candle, f32 candle before, cpu, f32 now"
        ),
        "{}",
        said.err
    );
    assert!(!said.err.contains("reproducible"), "{}", said.err);
}
