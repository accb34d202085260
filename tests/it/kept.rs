//! Recipes that runs of older versions kept, in the words of then: read as the same graphs as today's words give.

use pipe::base::diag::Diag;
use pipe::recipe::{Loaded, Overrides, from_resolved, from_text};
use std::path::PathBuf;

/// Every parameter flat in its node, as nothing was a table and no default was left out.
const FLAT: &str = include_str!("golden/kept/study.toml");

/// The same in the words of today, as an author writes it.
const TODAY: &str = r#"
name = "study"
[node.prompts]
kind = "world-prompts"
depth = 2
[node.model]
kind = "world-model"
[node.traces]
kind = "teacher"
in = { prompts = "prompts.sft" }
style = "mixed"
endpoint.batch = 1
[node.sft]
kind = "sft"
in = { conversations = "traces", model = "model" }
warmup_ratio = 0.05
[node.rl]
kind = "grpo"
in = { model = "sft", prompts = "prompts.rl" }
reward = { ambiguous = "format * task", harmful = "format * safety", harmless = "format * task" }
steps = 20
max_new_tokens = 64
guard.grad_norm = 50.0
kl = { estimator = "k2", coefficient = 0.002, applied_to = "reward" }
lora = { rank = 4, alpha = 8.0, targets = ["q_proj", "v_proj"] }
judge = { concurrency = 4, omit = ["seed"] }
moderation.batch = 32
score.batch = 16
[node.answers]
kind = "generate"
in = { model = "rl", prompts = "prompts.eval" }
endpoint.batch = 1
[node.served]
kind = "generate"
in = { prompts = "prompts.eval" }
system = "Answer."
[node.served.endpoint]
model = "somebody/model"
url = "http://localhost:8000/v1"
api = "chat"
key_env = "SOME_KEY"
server = "vllm"
omit = ["top_k"]
concurrency = 4
batch = 2
retries = 3
price_prompt = 0.4
price_completion = 1.6
[node.refusals]
kind = "evaluate"
in = { completions = "answers" }
scorer = "refusal"
moderation.batch = 32
score.batch = 16
[node.moderated]
kind = "evaluate"
in = { completions = "served" }
scorer = "moderation"
score_threshold = 0.7
moderation = { model = "omni", url = "http://localhost:8001/v1", batch = 8 }
score.batch = 16
[node.reroute]
kind = "rerouting"
in = { harmful = "served", model = "model", retain = "served" }
layers = [1]
lora = { rank = 4, alpha = 8.0, initial_sd = 0.02 }
"#;

fn overrides() -> Overrides {
    Overrides {
        cwd: PathBuf::from("/nowhere"),
        ..Overrides::default()
    }
}

fn kept(text: &str) -> Result<Loaded, String> {
    let loaded = from_resolved("kept.toml", text, &overrides(), &crate::toys::REGISTRY);
    let mut loaded = loaded.map_err(|diags| diags.render(false))?;
    assert_eq!(loaded.len(), 1);
    Ok(loaded.remove(0))
}

#[test]
fn a_flat_recipe_is_the_graph_that_it_was() {
    let old = kept(FLAT).unwrap_or_else(|told| panic!("{told}"));
    // What does nothing is no error of a recipe that was kept, and so today's words are read as kept as well.
    let today = kept(TODAY).unwrap_or_else(|told| panic!("{told}"));
    for (old, today) in old.graph.nodes().iter().zip(today.graph.nodes()) {
        assert_eq!(old.name, today.name);
        assert_eq!(old.params, today.params, "{}", old.name);
        assert_eq!(old.exec, today.exec, "{}", old.name);
        assert_eq!(old.inputs, today.inputs, "{}", old.name);
    }
    assert_eq!(old.graph.nodes().len(), today.graph.nodes().len());
    assert_eq!(old.resolved_text(), today.resolved_text());
}

#[test]
fn an_author_who_writes_flat_words_is_told_of_each() {
    let told = from_text("r.toml", FLAT, &overrides(), &crate::toys::REGISTRY);
    let told = told.err().expect("it is refused");
    let said = |d: &Diag| format!("{}; {}", d.message, d.help.clone().unwrap_or_default());
    let told: Vec<String> = told.iter().map(said).collect();
    for expected in [
        "`lora_rank` is now `lora.rank`",
        "`judge_retries` is now `judge.retries`",
        "`served` is now `endpoint.model`",
        "write `endpoint.concurrency`",
    ] {
        let found = told.iter().any(|said| said.contains(expected));
        assert!(found, "{expected}: {told:#?}");
    }
}

#[test]
fn what_counts_something_else_or_means_nothing_is_not_guessed() {
    for (line, expected) in [
        ("warmup_steps = 1", "`warmup_steps` is now `warmup_ratio`"),
        ("verdict = 1", "unknown parameter `verdict`"),
    ] {
        let text = FLAT.replace("warmup_steps = 0", line);
        assert_ne!(text, FLAT);
        let told = kept(&text).err().expect("it is refused");
        assert!(told.contains(expected), "{line}: {told}");
        assert_eq!(told.matches("error: ").count(), 1, "{told}");
    }
}
