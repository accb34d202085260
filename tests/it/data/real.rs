//! The real files, where they are at hand: as many rows, of as many kinds, as was counted in them.

use super::{Loaded, load};
use crate::study::{Study, data};
use pipe::base::rows::{Completion, PromptClass, Score};
use std::collections::BTreeSet;

fn unique(loaded: &Loaded) {
    let ids: BTreeSet<&str> = loaded.ids().into_iter().collect();
    assert_eq!(ids.len(), loaded.prompts.len());
}

#[test]
fn xstest() {
    let Some(path) = data("xstest/xstest_prompts.csv") else {
        return;
    };
    let all = load("xstest", &path, "");
    assert_eq!(all.prompts.len(), 450);
    assert_eq!(all.class(PromptClass::Ambiguous), 250);
    assert_eq!(all.class(PromptClass::Harmful), 200);
    let types = all.categories();
    assert_eq!(types.len(), 18);
    assert!(types.values().all(|n| *n == 25), "{types:?}");
    for prompt in &all.prompts {
        let contrast = prompt.category.starts_with("contrast_");
        assert_eq!(
            contrast,
            prompt.class == PromptClass::Harmful,
            "{}",
            prompt.id
        );
    }
    assert_eq!(all.ids()[0], "xstest-1");
    assert_eq!(all.ids()[449], "xstest-450");
    assert_eq!(
        all.prompts
            .iter()
            .filter(|p| p.prompt.contains('"'))
            .count(),
        4
    );
    assert_eq!(
        all.prompts
            .iter()
            .filter(|p| p.prompt.ends_with(' '))
            .count(),
        1
    );
    assert!(all.removed.is_empty());
    assert!(all.said("450 rows is what was published of `all`"));
    assert_eq!(
        (all.metric("rows"), all.metric("kept/harmful")),
        (450.0, 200.0)
    );
    unique(&all);
}

/// The completion files call the same prompts `v2-N`.
#[test]
fn ids_of_xstest_s_files_join() {
    for (name, rows) in [("mistralinstruct", 297), ("mistralguard", 300)] {
        let cut = format!("xstest_completions/xstest_v2_completions_{name}_streval.cut.csv");
        let (Some(path), Some(prompts)) = (data(&cut), data("xstest/xstest_prompts.csv")) else {
            return;
        };
        let of_completions = load("xstest", &path, "");
        assert_eq!(of_completions.prompts.len(), rows, "{name}");
        assert_eq!(of_completions.class(PromptClass::Ambiguous), 250);
        let all = load("xstest", &prompts, "");
        for prompt in &of_completions.prompts {
            let same = all.prompts.iter().find(|p| p.id == prompt.id).unwrap();
            assert_eq!(
                (same.class, &same.category),
                (prompt.class, &prompt.category)
            );
            // The one row whose words differ.
            assert!(
                same.prompt == prompt.prompt || same.id == "xstest-195",
                "{}",
                same.id
            );
        }
    }
}

#[test]
fn completions_of_xstest_are_read_through_the_same_readers() {
    for (name, rows, comply) in [("mistralinstruct", 297, 246), ("mistralguard", 300, 203)] {
        let cut = format!("xstest_completions/xstest_v2_completions_{name}_streval.cut.csv");
        let Some(path) = data(&cut) else { return };
        let ran = Study::new().run(&format!(
            "[node.c]\nkind = \"completions-file\"\npath = '{}'\nharmful = [\"contrast_*\"]\nlabel_column = \"final_label\"\n",
            path.display()
        ));
        let completions: Vec<Completion> = ran.rows("c", "completions");
        let scores: Vec<Score> = ran.rows("c", "scores");
        assert_eq!((completions.len(), scores.len()), (rows, rows), "{name}");
        let complied = scores
            .iter()
            .filter(|s| s.class == PromptClass::Ambiguous && s.good);
        assert_eq!(complied.count(), comply, "{name}");
    }
}

#[test]
fn harmbench() {
    let Some(path) = data("harmbench/harmbench_behaviors_text_val.csv") else {
        return;
    };
    let all = load("harmbench", &path, "");
    assert_eq!(
        (all.prompts.len(), all.class(PromptClass::Harmful)),
        (80, 80)
    );
    let of = |word: &str| {
        all.prompts
            .iter()
            .filter(|p| p.labels["functional"] == word)
            .count()
    };
    assert_eq!(
        (of("standard"), of("contextual"), of("copyright")),
        (41, 19, 20)
    );
    assert!(
        all.prompts
            .iter()
            .all(|p| p.labels["semantic"] == p.category && !p.category.is_empty())
    );
    unique(&all);
    assert!(all.said("80 rows is what was published of `val`"));
    // The file itself, by a reader that knows nothing of it.
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|h| h == name).unwrap();
    let alone = load("harmbench", &path, "form = \"behavior\"");
    let mut contexts = 0;
    for ((row, prompt), alone) in reader.records().zip(&all.prompts).zip(&alone.prompts) {
        let row = row.unwrap();
        let (behavior, context) = (&row[column("Behavior")], &row[column("ContextString")]);
        assert_eq!(
            prompt.id,
            format!("harmbench-{}", &row[column("BehaviorID")])
        );
        assert_eq!(alone.prompt, behavior);
        assert_eq!(
            context.is_empty(),
            prompt.labels["functional"] != "contextual"
        );
        let whole = format!("{context}\n\n{behavior}");
        assert_eq!(
            prompt.prompt,
            if context.is_empty() { behavior } else { &whole }
        );
        contexts += usize::from(!context.is_empty());
    }
    assert_eq!(contexts, 19);
}

#[test]
fn jailbreakbench() {
    for (name, nulls, jailbroken) in [("PAIR.black_box", 18, 69), ("GCG.white_box", 0, 80)] {
        let artifact = format!("jailbreakbench/{name}.vicuna-13b-v1.5.noresponse.json");
        let Some(path) = data(&artifact) else { return };
        let attack = load("jailbreakbench", &path, "");
        assert_eq!(attack.prompts.len(), 100 - nulls, "{name}");
        assert_eq!(attack.removed.len(), nulls, "{name}");
        assert!(attack.removed.iter().all(|r| r["reason"] == "no prompt"));
        assert_eq!(attack.metric("rows"), 100.0);
        unique(&attack);
        let won = attack
            .prompts
            .iter()
            .filter(|p| p.labels["jailbroken"] == "true");
        assert_eq!(won.count(), jailbroken, "{name}");
        let goals = load("jailbreakbench", &path, "form = \"goal\"");
        assert_eq!((goals.prompts.len(), goals.removed.len()), (100, 0));
        assert_eq!(goals.ids()[99], "jailbreakbench-99");
        let categories = goals.categories();
        assert_eq!(categories.len(), 10);
        assert!(categories.values().all(|n| *n == 10), "{categories:?}");
    }
}

#[test]
fn self_instruct() {
    for (name, rows) in [("seed_tasks", 175), ("user_oriented_instructions", 252)] {
        let Some(path) = data(&format!("harmless_self_instruct/{name}.jsonl")) else {
            return;
        };
        let all = load("self-instruct", &path, "");
        assert_eq!(all.prompts.len(), rows, "{name}");
        assert_eq!(all.class(PromptClass::Harmless), rows);
        assert!(all.said(&format!("{rows} rows is what was published of `{name}`")));
        unique(&all);
        let conversations = all.conversations();
        assert_eq!(conversations.len(), rows, "{name}");
        assert!(conversations.iter().all(|c| c.messages.len() == 2));
        let text = std::fs::read_to_string(&path).unwrap();
        let row: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        let (asked, input) = (&row["instruction"], &row["instances"][0]["input"]);
        let expected = match input.as_str().unwrap() {
            "" => asked.as_str().unwrap().to_string(),
            input => format!("{}\n\n{input}", asked.as_str().unwrap()),
        };
        assert_eq!(all.prompts[1].prompt, expected);
        assert_eq!(
            conversations[1].messages[1].content,
            row["instances"][0]["output"].as_str().unwrap()
        );
    }
}

#[test]
fn mt_bench_and_vicuna_bench() {
    for (name, first, categories) in [
        ("mt_bench", "mt-bench-81", 8),
        ("vicuna_bench", "mt-bench-1", 9),
    ] {
        let Some(path) = data(&format!("harmless_mt_bench/{name}_question.jsonl")) else {
            return;
        };
        let all = load("mt-bench", &path, "");
        assert_eq!((all.prompts.len(), all.ids()[0]), (80, first), "{name}");
        assert_eq!(all.categories().len(), categories, "{name}");
        unique(&all);
    }
    let Some(folder) = data("harmless_mt_bench") else {
        return;
    };
    // Two tables in one folder: the split says which.
    {
        assert_eq!(
            load("mt-bench", &folder, "split = \"vicuna_bench_question\"").ids()[0],
            "mt-bench-1"
        );
    }
}
