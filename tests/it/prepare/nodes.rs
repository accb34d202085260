//! The recipe that ships, run whole: what goes in comes out, kept or removed, and what is removed can be read as prompts.

use crate::study::Study;
use pipe::base::rows::Prompt;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_recipe_that_ships_loses_no_prompt() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/prepare.toml");
    let study = Study::new();
    let ran = study.run(&std::fs::read_to_string(path).unwrap());
    let ids = |node: &str, output: &str| -> BTreeSet<String> {
        let rows: Vec<Prompt> = ran.rows(node, output);
        rows.into_iter().map(|p| p.id).collect()
    };
    for (node, from) in [
        ("usable", "train"),
        ("distinct", "usable"),
        ("once", "usable"),
        ("clean", "once"),
        ("sft-prompts", "clean"),
        ("rl-harmful", "clean"),
        ("rl-others", "clean"),
        ("mix", "rl-pool"),
    ] {
        let (kept, removed) = (ids(node, "prompts"), ids(node, "removed"));
        assert!(kept.is_disjoint(&removed), "{node}");
        let all: BTreeSet<String> = kept.union(&removed).cloned().collect();
        assert_eq!(all, ids(from, "prompts"), "{node}");
        let metric = |name: &str| ran.metric(node, name);
        assert_eq!(metric("kept").value as usize, kept.len());
        assert_eq!(metric("kept").n, all.len());
        let texts: Vec<Json> = ran.rows(node, "removed");
        assert!(texts.iter().all(|row| row["reason"].is_string()));
    }
    let removed = |node: &str, reason: &str| ran.metric(node, &format!("removed/{reason}")).value;
    assert!(
        removed("once", "near") > 0.0,
        "the world repeats itself a little"
    );
    assert!(removed("clean", "near") + removed("clean", "contained") > 0.0);
    let evals: BTreeSet<String> = ids("evals", "prompts");
    for row in ran.rows::<Json>("clean", "removed") {
        assert!(evals.contains(row["like"].as_str().unwrap()), "{row}");
        assert!(row["similarity"].as_f64().unwrap() >= 0.8, "{row}");
    }
    assert!(ids("sft-prompts", "prompts").is_disjoint(&ids("rl-harmful", "prompts")));
    assert_eq!(ids("mix", "prompts").len(), 200);
}

#[test]
fn nothing_left_is_an_error_that_counts() {
    let study = Study::new();
    study.file("asks.csv", "prompt\none\ntwo\n");
    let recipe = "[node.p]\nkind = \"prompts-file\"\npath = \"asks.csv\"\n\
                  [node.f]\nkind = \"filter\"\nin = { prompts = \"p\" }\nmin_chars = 9\n";
    let failure = study.try_run(recipe).failure("f");
    assert!(
        failure.contains("nothing is left: kept 0 of 2 prompts, 2 chars"),
        "{failure}"
    );
}

#[test]
fn tokens_are_counted_with_the_template_or_without() {
    let study = Study::new();
    study.file("asks.csv", "prompt\nuse the hammer\n");
    let recipe = |more: &str| {
        format!(
            "[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n\
             [node.p]\nkind = \"prompts-file\"\npath = \"asks.csv\"\n\
             [node.f]\nkind = \"filter\"\nin = {{ prompts = \"p\", model = \"m\" }}\n{more}\n"
        )
    };
    // Three words of the world are three tokens; the template adds more.
    study.run(&recipe("max_tokens = 3\ncounted = \"text\""));
    let failure = study.try_run(&recipe("max_tokens = 3")).failure("f");
    assert!(failure.contains("1 tokens"), "{failure}");
    study.run(&recipe("min_tokens = 4"));
}
