//! The recipes that are part of the program, and the scripts that some of them run: `pipe:tars` is `recipes/tars.toml`, wherever the
//! program is called. Knows their texts, and nothing of what they say.

/// A file of `recipes/`, by its path in there.
pub struct File {
    pub path: &'static str,
    pub text: &'static str,
}

macro_rules! of_folder {
    ($($path:literal,)*) => {
        &[$( File { path: $path, text: include_str!(concat!("../../recipes/", $path)) } ),*]
    };
}

/// All of the folder, sorted; held by a test.
pub const FILES: &[File] = of_folder![
    "ablations/circuit-breakers.toml",
    "ablations/dpo.toml",
    "ablations/harmful-only.toml",
    "ablations/heavy-sft.toml",
    "ablations/lambda-sweep.toml",
    "ablations/no-ambiguous.toml",
    "ablations/no-reasoning.toml",
    "ablations/no-teacher.toml",
    "ablations/other-teacher.toml",
    "ablations/sft-only.toml",
    "ablations/underfit-sft.toml",
    "ablations/unified-reward.toml",
    "attacks.toml",
    "datasets.toml",
    "evals.toml",
    "exec.toml",
    "imported.toml",
    "judges.toml",
    "local-adapter.toml",
    "local-model.toml",
    "lora.toml",
    "paper/da.toml",
    "paper/dpo.toml",
    "paper/evals-endpoint.toml",
    "paper/evals-given.toml",
    "paper/evals.toml",
    "paper/lambda-sweep.toml",
    "paper/no-reasoning.toml",
    "paper/sft-only.toml",
    "paper/tars-1.5b-lab.toml",
    "paper/tars-1.5b.toml",
    "paper/tars-7b.toml",
    "prepare.toml",
    "remote-teacher.toml",
    "reward-model.toml",
    "scripts/served_rewards.py",
    "scripts/short_prompts.py",
    "scripts/trl_grpo.py",
    "scripts/trl_sft.py",
    "spread.toml",
    "tars.toml",
    "trl-grpo.toml",
    "trl.toml",
    "world-headroom.toml",
];

/// The names of the recipes: `tars`, `ablations/no-reasoning`.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().filter_map(|f| f.path.strip_suffix(".toml"))
}

/// The text of the recipe of this name.
pub fn text(name: &str) -> Option<&'static str> {
    let of = |f: &&File| f.path.strip_suffix(".toml") == Some(name);
    FILES.iter().find(of).map(|f| f.text)
}
