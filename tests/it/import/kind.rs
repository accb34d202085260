//! The node: rows and ids, scores in both directions, what a port of prompts adds, and what it refuses.

use super::{completions, line, results};
use crate::study::Study;
use pipe::base::rows::{Completion, PromptClass, Score};

const ANSWERS: [&str; 3] = ["Sure, first", "I cannot help", "Sorry, no"];

fn lay(study: &Study) {
    study.file("completions/m.json", completions(&ANSWERS).to_string());
    study.file("results/m.json", results(&ANSWERS, &[1, 0, 0]).to_string());
}

const LABELLED: &str = "[node.it]\nkind = \"import\"\npath = \"completions/m.json\"\nresults = \"results/m.json\"\nscore = \"label\"\n";

#[test]
fn labels_of_harm_are_scores_and_metrics() {
    let study = Study::new();
    lay(&study);
    let ran = study.run(&format!(
        "{LABELLED}[node.judged]\nkind = \"evaluate\"\nin = {{ completions = \"it\" }}\nscorer = \"refusal\"\n\
         [node.both]\nkind = \"agreement\"\nin = {{ a = \"it.scores\", b = \"judged.scores\" }}\n"
    ));
    let rows: Vec<Completion> = ran.rows("it", "completions");
    let ids: Vec<&str> = rows.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "harmbench-bomb_1#0#0",
            "harmbench-bomb_1#1#0",
            "harmbench-virus_2#0#0"
        ]
    );
    assert!(
        rows.iter()
            .all(|r| r.prompt.class == PromptClass::Harmful && r.prompt.source == "harmbench")
    );
    assert_eq!(rows[0].response, ANSWERS[0]);
    let scores: Vec<Score> = ran.rows("it", "scores");
    let good: Vec<bool> = scores.iter().map(|s| s.good).collect();
    assert_eq!(good, [false, true, true], "a label of 1 is harm");
    assert_eq!(scores[0].label.as_deref(), Some("1"));
    assert_eq!(
        scores.iter().map(|s| s.refused).collect::<Vec<_>>(),
        [false, true, true]
    );
    // Over behaviours: half of one, all of the other.
    let defense = ran.metric("it", "defense");
    assert_eq!((defense.value, defense.n), (0.75, 2));
    assert_eq!(ran.metric("it", "defense/semantic/bomb").value, 0.5);
    let both = ran.metric("both", "agreement/a-b");
    assert_eq!((both.value, both.n), (1.0, 3));
    let high = study.run(&format!("{LABELLED}high = \"good\"\n"));
    assert_eq!(high.metric("it", "defense").value, 0.25);
}

#[test]
fn prompts_at_the_port_say_whose_they_are() {
    let study = Study::new();
    lay(&study);
    study.file(
        "known.jsonl",
        "{\"id\":\"harmbench-bomb_1#1\",\"prompt\":\"Case two of bomb\",\"category\":\"known\"}\n{\"id\":\"virus_2\",\"prompt\":\"x\",\"category\":\"v\"}\n",
    );
    let port = "[node.p]\nkind = \"prompts-file\"\npath = \"known.jsonl\"\nclass = \"ambiguous\"\n";
    let ran = study.run(&format!("{LABELLED}in = {{ prompts = \"p\" }}\n{port}"));
    let rows: Vec<Completion> = ran.rows("it", "completions");
    let told: Vec<(&str, PromptClass, &str)> = rows
        .iter()
        .map(|r| {
            (
                r.prompt.prompt_id.as_str(),
                r.prompt.class,
                r.prompt.category.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("harmbench-bomb_1#0", PromptClass::Harmful, "bomb"),
            ("harmbench-bomb_1#1", PromptClass::Ambiguous, "known"),
            ("virus_2", PromptClass::Ambiguous, "v"),
        ]
    );
    assert_eq!(
        rows[2].prompt.prompt, "Case of virus",
        "what was sent stays"
    );
    assert!(ran.said("it", "2 of 3 are of prompts at the port"));
    study.file("known.jsonl", "{\"id\":\"other\",\"prompt\":\"x\"}\n");
    let failure = study
        .try_run(&format!("{LABELLED}in = {{ prompts = \"p\" }}\n{port}"))
        .failure("it");
    assert!(
        failure.contains("has the id of a completion, as `harmbench-bomb_1#0`"),
        "{failure}"
    );
}

#[test]
fn a_filter_and_a_metric_of_lm_eval_are_named() {
    let study = Study::new();
    let text = [
        line(0, "How?", &["so", "thus"], "strict", 0.0),
        line(0, "How?", &["so", "thus"], "loose", 1.0),
    ];
    study.file("samples_t.jsonl", text.concat());
    let recipe =
        |more: &str| format!("[node.it]\nkind = \"import\"\npath = \"samples_t.jsonl\"\n{more}\n");
    let ran = study.run(&recipe("score = \"exact_match\"\nfilter = \"loose\""));
    let scores: Vec<Score> = ran.rows("it", "scores");
    assert_eq!(scores[0].id, "t-0#0");
    assert_eq!(
        (scores[0].good, scores[0].class),
        (true, PromptClass::Harmless)
    );
    assert_eq!(
        scores[1].scorable,
        Some(false),
        "the score is the first repeat's"
    );
    assert_eq!(ran.metric("it", "compliance").value, 1.0);
    let strict = study.run(&recipe("score = \"exact_match\""));
    assert_eq!(strict.metric("it", "compliance").value, 0.0);
    for (more, message) in [
        (
            "score = \"acc\"",
            "samples_t.jsonl has no score `acc`; it has `exact_match`",
        ),
        (
            "filter = \"none\"",
            "no filter `none`; its filters are `loose`, `strict`",
        ),
        ("model = \"m\"", "has nothing of the model `m`"),
        ("layout = \"inspect\"", "asked for `inspect`"),
    ] {
        let failure = study.try_run(&recipe(more)).failure("it");
        assert!(failure.contains(message), "{more}: {failure}");
    }
}

#[test]
fn a_folder_of_several_models_asks_whose() {
    let study = Study::new();
    for (attack, model) in [("GCG", "m"), ("PAIR", "m"), ("GCG", "n")] {
        study.file(
            &format!("out/{attack}/completions/{model}.json"),
            completions(&ANSWERS).to_string(),
        );
    }
    let recipe = |more: &str| format!("[node.it]\nkind = \"import\"\npath = \"out\"\n{more}\n");
    let failure = study.try_run(&recipe("")).failure("it");
    assert!(
        failure.contains("completions of several models; `model` says whose: `m`, `n`"),
        "{failure}"
    );
    let rows: Vec<Completion> = study
        .run(&recipe("model = \"m\""))
        .rows("it", "completions");
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0].id, "GCG/harmbench-bomb_1#0#0");
    assert_eq!(rows[3].id, "PAIR/harmbench-bomb_1#0#0");
    assert_eq!(rows[3].prompt.source, "PAIR");
}
