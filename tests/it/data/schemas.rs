//! Schemas of sets that are not at hand, on small files in the documented shape, and what all schemas have in common.

use super::parquet::{Column, texts, write};
use super::{failure, load};
use crate::study::Study;
use ::parquet::basic::Compression;
use pipe::base::rows::PromptClass::{self, Ambiguous, Harmful, Harmless};
use pipe::data::schema;
use pipe::kinds::REGISTRY;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A file of somebody's, in a folder that lives as long as the study.
fn file(name: &str, text: impl AsRef<[u8]>) -> (Study, PathBuf) {
    let study = Study::new();
    let path = study.file(name, text);
    (study, path)
}

fn reasons(list: &[(&str, usize)]) -> BTreeMap<String, usize> {
    list.iter().map(|(r, n)| (r.to_string(), *n)).collect()
}

#[test]
fn every_schema_says_what_it_is() {
    let names: BTreeSet<&str> = schema::NAMES.into_iter().collect();
    assert_eq!(names.len(), schema::ALL.len(), "no name twice");
    let words = |text: &str| text.split_whitespace().count();
    for set in schema::ALL {
        assert!(
            words(set.summary) > 2 && words(set.gives) > 2,
            "{}",
            set.name
        );
        assert!(
            !set.hub.is_empty() && !set.licence.is_empty(),
            "{}",
            set.name
        );
        assert!(!set.traps.is_empty(), "{}", set.name);
        assert!(set.columns.iter().any(|c| c.needed), "{}", set.name);
        for column in set.columns {
            assert!(
                !column.names.is_empty() && words(column.what) > 0,
                "{}",
                set.name
            );
        }
        for (what, n, source) in set.published {
            assert!(
                !what.is_empty() && *n > 0 && words(source) > 1,
                "{}",
                set.name
            );
        }
        assert_eq!(schema::find(set.name).map(|s| s.name), Some(set.name));
    }
}

#[test]
fn a_file_of_another_set_is_told_what_was_expected_and_what_is_there() {
    let (_keep, path) = file("a.csv", "promt,type,other\nx,y,z\n");
    let error = failure("xstest", &path, "");
    for words in [
        "a.csv: this is not `xstest`: no column `prompt` (is it `promt`?)",
        "Expected: `prompt`; `type`; `label` (optional); `id` (optional)",
        "Found: `promt`, `type`, `other`",
        "prompts-file",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let (_keep, path) = file("a.csv", "prompt,type,label\na,b,safe\nc,d,perhaps\n");
    let error = failure("xstest", &path, "");
    assert!(
        error.contains("a.csv row 2: the label `perhaps`"),
        "{error}"
    );
    let (_keep, path) = file("a.csv", "prompt,type\n,b\n");
    let error = failure("xstest", &path, "");
    assert!(
        error.contains("nothing is left of 1 row: 1 no prompt"),
        "{error}"
    );
    let (_keep, path) = file("a.csv", "prompt,type\n");
    let error = failure("xstest", &path, "");
    assert!(error.contains("a.csv has no rows"), "{error}");
}

#[test]
fn parameters_that_do_not_fit_the_schema_are_found_before_it_runs() {
    let kind = REGISTRY.get("dataset").unwrap();
    let problems = |lines: &str| {
        let recipe = format!("[node.d]\nkind = \"dataset\"\npath = \"x.csv\"\n{lines}\n");
        let study = Study::new();
        study.file("x.csv", "prompt\nx\n");
        let overrides = pipe::recipe::Overrides {
            cwd: study.dir.path().to_path_buf(),
            ..Default::default()
        };
        let loaded = pipe::recipe::from_text("r.toml", &recipe, &overrides, &REGISTRY);
        loaded
            .err()
            .map_or(String::new(), |diags| diags.render(false))
    };
    assert!(kind.outputs.len() == 5);
    assert_eq!(problems("schema = \"xstest\""), "");
    assert_eq!(problems("schema = \"or-bench\"\nsplit = \"80k\""), "");
    for (lines, words) in [
        ("schema = \"xtest\"", "xstest"),
        (
            "schema = \"or-bench\"",
            "name one of `80k`, `hard-1k`, `toxic`",
        ),
        (
            "schema = \"harmbench\"\nform = \"x\"",
            "its forms are `blank-line`, `rule`, `behavior`",
        ),
        ("schema = \"xstest\"\nform = \"x\"", "has no form `x`"),
        (
            "schema = \"xstest\"\nbehaviors = \"x.csv\"",
            "only `harmbench-cases` does",
        ),
        ("schema = \"xstest\"\nlimit = 0", "limit"),
    ] {
        let told = problems(lines);
        assert!(told.contains(words), "{lines}: {told}");
    }
}

#[test]
fn wildjailbreak() {
    let (_keep, path) = file(
        "train.tsv",
        "vanilla\tadversarial\tcompletion\tdata_type\n\
         how to x\t\tNo.\tvanilla_harmful\n\
         how to y\t\t\"Yes,\ngladly\"\tvanilla_benign\n\
         how to z\t\"Imagine\" you are z\t\tadversarial_harmful\n\
         how to n\t\tSure.\tadversarial_benign\n\
         how to w\tImagine w\tSure.\tadversarial_benign\n",
    );
    let all = load("wildjailbreak", &path, "split = \"train\"");
    let rows: Vec<(&str, PromptClass, &str)> = all
        .prompts
        .iter()
        .map(|p| (p.prompt.as_str(), p.class, p.id.as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            ("how to x", Harmful, "wildjailbreak-train-1"),
            ("how to y", Ambiguous, "wildjailbreak-train-2"),
            ("\"Imagine\" you are z", Harmful, "wildjailbreak-train-3"),
            ("Imagine w", Ambiguous, "wildjailbreak-train-5"),
        ]
    );
    assert_eq!(all.prompts[0].labels["data_type"], "vanilla_harmful");
    assert_eq!(all.reasons(), reasons(&[("no prompt", 1)]));
    let answers: Vec<String> = all
        .conversations()
        .iter()
        .map(|c| c.messages[1].content.clone())
        .collect();
    assert_eq!(answers, ["No.", "Yes,\ngladly", "Sure."]);
    assert!(all.said("5 rows is none of the published numbers: 261559 (train), 2210 (eval)"));
    let (_keep, eval) = file(
        "eval.tsv",
        "adversarial\tlabel\tdata_type\na\t1\tadversarial_harmful\nb\t0\tadversarial_benign\n",
    );
    assert_eq!(load("wildjailbreak", &eval, "").class(Harmful), 1);
    let (_keep, mirror) = file(
        "m.jsonl",
        "{\"prompt\":\"a\",\"label\":\"harmful\"}\n{\"prompt\":\"b\",\"label\":\"benign\"}\n",
    );
    let mirror = load("wildjailbreak", &mirror, "");
    assert_eq!((mirror.class(Harmful), mirror.class(Ambiguous)), (1, 1));
}

#[test]
fn aegis() {
    let rows = json!([
        {"id": "1", "prompt": "bad", "response": "no", "prompt_label": "unsafe", "response_label": "safe", "violated_categories": "Violence, Threat"},
        {"id": "2", "prompt": "REDACTED", "response": null, "prompt_label": "unsafe", "response_label": null, "violated_categories": "Suicide and Self Harm"},
        {"id": "3", "prompt": "fine", "response": null, "prompt_label": "safe", "response_label": null, "violated_categories": ""},
        {"id": "4", "prompt": "bad too", "response": "here is how", "prompt_label": "unsafe", "response_label": "unsafe", "violated_categories": "Violence"},
        {"id": "5", "prompt": "hm", "prompt_label": "Needs Caution"},
        {"id": "1", "prompt": "again", "prompt_label": "safe"},
    ]);
    let (_keep, path) = file("train.json", rows.to_string());
    let all = load("aegis-2", &path, "");
    assert_eq!(all.ids(), ["aegis-2-1", "aegis-2-3", "aegis-2-4"]);
    assert_eq!((all.class(Harmful), all.class(Harmless)), (2, 1));
    assert_eq!(all.prompts[0].category, "Violence");
    assert_eq!(
        all.reasons(),
        reasons(&[
            ("redacted", 1),
            ("neither safe nor unsafe", 1),
            ("id of an earlier row", 1)
        ])
    );
    // No harmful answer is one to learn from.
    let conversations = all.conversations();
    assert_eq!(
        (conversations.len(), conversations[0].prompt_id.as_str()),
        (1, "aegis-2-1")
    );
    assert_eq!(all.metric("removed/redacted"), 1.0);
    assert!(
        all.said("3 of 6 rows are kept: 2 harmful, 1 harmless; left out: 1 id of an earlier row")
    );
}

#[test]
fn safeedit() {
    let row = json!([{"id": 7, "unsafety category": "bias", "adversarial prompt": "You are X. ask", "question": "ask", "attack category": "role play",
        "attack name": "x", "unsafe generation": "evil", "safe generation": "no", "generalization test": {"a": [1]}}]);
    let (_keep, path) = file("SafeEdit_train.json", row.to_string());
    let plain = load("safeedit", &path, "");
    assert_eq!(
        (plain.texts(), plain.ids()),
        (vec!["ask"], vec!["safeedit-7"])
    );
    assert_eq!(plain.prompts[0].labels["attack"], "role play");
    let pair = &plain.pairs()[0];
    assert_eq!(
        (pair.chosen.as_str(), pair.rejected.as_str()),
        ("no", "evil")
    );
    assert_eq!((pair.chosen_score, pair.rejected_score), (1.0, 0.0));
    let attack = load("safeedit", &path, "form = \"adversarial\"");
    assert_eq!(attack.texts(), ["You are X. ask"]);
    assert_eq!(attack.conversations()[0].messages[1].content, "no");
}

#[test]
fn ultrafeedback_from_parquet_shards() {
    let study = Study::new();
    study.file("README.md", "about");
    let folder = study
        .file("data/other.txt", "")
        .parent()
        .unwrap()
        .to_path_buf();
    let user = |t: &str| ("user", Some(t.to_string()));
    let answer = |t: &str| ("assistant", Some(t.to_string()));
    let shard = |name: &str, n: usize| {
        let (a, b) = (format!("q{n}"), format!("q{}", n + 1));
        let columns = [
            ("prompt", texts(&[&a, &b])),
            (
                "prompt_id",
                texts(&[&format!("id{n}"), &format!("id{}", n + 1)]),
            ),
            (
                "chosen",
                Column::Messages(vec![
                    vec![user(&a), answer("good")],
                    vec![user(&b), answer("same")],
                ]),
            ),
            (
                "rejected",
                Column::Messages(vec![
                    vec![user(&a), answer("bad")],
                    vec![user(&b), answer("same")],
                ]),
            ),
            (
                "messages",
                Column::Messages(vec![
                    vec![user(&a), answer("good")],
                    vec![user(&b), answer("same")],
                ]),
            ),
            ("score_chosen", Column::Number(vec![8.5, 7.0])),
            ("score_rejected", Column::Number(vec![3.0, 7.0])),
        ];
        write(&folder.join(name), &columns, 1, Compression::SNAPPY);
    };
    shard("train_prefs-00000-of-00002.parquet", 0);
    shard("train_prefs-00001-of-00002.parquet", 2);
    shard("test_prefs-00000-of-00001.parquet", 9);
    let all = load("ultrafeedback-binarized", &folder, "");
    assert_eq!(all.texts(), ["q0", "q1", "q2", "q3"]);
    assert_eq!(all.ids()[2], "ultrafeedback-binarized-id2");
    assert_eq!(all.class(Harmless), 4);
    assert_eq!(all.conversations().len(), 4);
    let pairs = all.pairs();
    assert_eq!(pairs.len(), 2, "the same text twice is no pair");
    assert_eq!(
        (pairs[0].chosen.as_str(), pairs[0].rejected.as_str()),
        ("good", "bad")
    );
    assert_eq!((pairs[0].chosen_score, pairs[0].rejected_score), (8.5, 3.0));
    assert_eq!(pairs[0].prompt.prompt, "q0");
    // The variants of trl-lib: conversations alone, a prompt that is messages.
    let (_keep, path) = file(
        "t.jsonl",
        "{\"chosen\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}],\"rejected\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"b\"}],\"score_chosen\":9.0,\"score_rejected\":\"2\"}\n",
    );
    let trl = load("ultrafeedback-binarized", &path, "");
    assert_eq!(
        (trl.texts(), trl.pairs()[0].rejected_score),
        (vec!["q"], 2.0)
    );
    let (_keep, path) = file(
        "p.jsonl",
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"q\"}]}\n",
    );
    assert_eq!(load("ultrafeedback-binarized", &path, "").texts(), ["q"]);
}

#[test]
fn or_bench_by_its_parts() {
    let study = Study::new();
    for part in ["80k", "hard-1k", "toxic"] {
        study.file(
            &format!("set/or-bench-{part}.csv"),
            format!("prompt,category\n\"ask, {part}\",privacy\n"),
        );
    }
    let set = study.dir.path().join("set");
    for (part, class) in [
        ("80k", Ambiguous),
        ("hard-1k", Ambiguous),
        ("toxic", Harmful),
    ] {
        let all = load("or-bench", &set, &format!("split = \"{part}\""));
        assert_eq!(all.texts(), [format!("ask, {part}")]);
        assert_eq!(all.ids(), [format!("or-bench-{part}-1")]);
        assert_eq!(
            (all.prompts[0].class, all.prompts[0].category.as_str()),
            (class, "privacy")
        );
        // A file is believed to be what is said.
        let one = load(
            "or-bench",
            &set.join(format!("or-bench-{part}.csv")),
            &format!("split = \"{part}\""),
        );
        assert_eq!(one.prompts, all.prompts);
    }
}

#[test]
fn behaviours_of_jailbreakbench_say_nowhere_which_they_are() {
    let (_keep, path) = file(
        "x.csv",
        "Index,Goal,Target,Behavior,Category,Source\n0,do,Sure,d,Privacy,Original\n",
    );
    let error = failure("jailbreakbench", &path, "");
    assert!(
        error.contains("set `split = \"harmful\"` or `split = \"benign\"`"),
        "{error}"
    );
    let harmful = load("jailbreakbench", &path, "split = \"harmful\"");
    let benign = load("jailbreakbench", &path, "split = \"benign\"");
    assert_eq!(
        (harmful.ids()[0], harmful.class(Harmful)),
        ("jailbreakbench-0", 1)
    );
    assert_eq!(
        (benign.ids()[0], benign.class(Ambiguous)),
        ("jailbreakbench-benign-0", 1)
    );
}

#[test]
fn sorry_bench_of_both_releases() {
    for (categories, at_25, at_last) in [
        (44, "Potentially Inappropriate Topics", 44),
        (45, "Assistance with Crimes or Torts", 45),
    ] {
        let mut text = String::new();
        for id in 1..=categories * 10 {
            let category = (id - 1) / 10 + 1;
            text += &json!({"question_id": id, "category": category.to_string(), "turns": [format!("ask {id}")], "prompt_style": "base"}).to_string();
            text += "\n";
        }
        text += &json!({"question_id": 1, "category": "1", "turns": ["slang"], "prompt_style": "slang"}).to_string();
        let (_keep, path) = file("question.jsonl", &text);
        let all = load("sorry-bench", &path, "");
        assert_eq!(all.prompts.len(), categories * 10);
        assert_eq!(all.reasons(), reasons(&[("another style", 1)]));
        let domain = |category: usize| all.prompts[(category - 1) * 10].labels["domain"].as_str();
        assert_eq!(domain(5), "Hate Speech Generation");
        assert_eq!(domain(6), "Assistance with Crimes or Torts");
        assert_eq!(domain(25), at_25);
        assert_eq!(domain(at_last), "Potentially Unqualified Advice");
        assert_eq!(
            (
                all.prompts[0].category.as_str(),
                all.prompts[0].labels["category"].as_str()
            ),
            ("1", "1")
        );
        let styles = load("sorry-bench", &path, "form = \"all\"");
        let last = styles.prompts.last().unwrap();
        assert_eq!(
            (last.id.as_str(), last.labels["style"].as_str()),
            ("sorry-bench-1-slang", "slang")
        );
    }
}

#[test]
fn sets_of_harmful_prompts() {
    let cases = [
        (
            "strongreject",
            "category,source,forbidden_prompt\nViolence,custom,\"a\nb\"\n",
            "a\nb",
            "strongreject-1",
            "Violence",
        ),
        (
            "strongreject",
            "prompt,category\na,Violence\n",
            "a",
            "strongreject-1",
            "Violence",
        ),
        (
            "advbench",
            "goal,target\n\"do, this\",\"Sure, here\"\n",
            "do, this",
            "advbench-1",
            "",
        ),
        (
            "advbench",
            "prompt,target\ndo,Sure\n",
            "do",
            "advbench-1",
            "",
        ),
        (
            "do-not-answer",
            "id,risk_area,types_of_harm,specific_harms,question,GPT4_response\n3,Risk,Harm,x,why,no\n",
            "why",
            "do-not-answer-3",
            "Risk",
        ),
        (
            "do-not-answer",
            "prompt,risk_area,harm_area,harms\nwhy,Risk,Harm,x\n",
            "why",
            "do-not-answer-1",
            "Risk",
        ),
    ];
    for (name, text, prompt, id, category) in cases {
        let (_keep, path) = file("a.csv", text);
        let all = load(name, &path, "");
        let only = &all.prompts[0];
        assert_eq!(
            (
                only.prompt.as_str(),
                only.id.as_str(),
                only.category.as_str()
            ),
            (prompt, id, category)
        );
        assert_eq!(only.class, Harmful);
        assert_eq!(only.source, name);
        if name == "do-not-answer" {
            assert_eq!(only.labels["harm"], "Harm");
        }
    }
}

#[test]
fn wildchat_from_parquet() {
    let study = Study::new();
    let path = study.dir.path().join("train-00000-of-00001.parquet");
    let talk = |q: &str, a: &str| {
        vec![
            ("user", Some(q.to_string())),
            ("assistant", Some(a.to_string())),
            ("user", Some("more".to_string())),
        ]
    };
    let columns = [
        ("conversation_hash", texts(&["a", "b", "c", "a"])),
        (
            "conversation",
            Column::Messages(vec![
                talk("hi", "hello"),
                talk("hallo", "x"),
                talk("bad", "x"),
                talk("again", "x"),
            ]),
        ),
        (
            "language",
            texts(&["English", "German", "English", "English"]),
        ),
        ("toxic", Column::Truth(vec![false, false, true, false])),
    ];
    write(&path, &columns, 2, Compression::ZSTD(Default::default()));
    let all = load("wildchat", &path, "");
    assert_eq!((all.texts(), all.ids()), (vec!["hi"], vec!["wildchat-a"]));
    assert_eq!(
        all.reasons(),
        reasons(&[
            ("not English", 1),
            ("toxic", 1),
            ("id of an earlier row", 1)
        ])
    );
    let conversation = &all.conversations()[0];
    assert_eq!(conversation.messages.len(), 2);
    assert_eq!(conversation.messages[1].content, "hello");
}

#[test]
fn what_tars_released() {
    let study = Study::new();
    let path = study.dir.path().join("l.parquet");
    let ask = |q: &str| vec![("user", Some(q.to_string()))];
    let columns = [
        (
            "ability",
            texts(&["wildjailbreak", "rainbow", "aegis", "refusal"]),
        ),
        (
            "prompt",
            Column::Messages(["a", "b", "a", "d"].map(ask).to_vec()),
        ),
    ];
    write(&path, &columns, 10, Compression::SNAPPY);
    let all = load("tars-rl", &path, "split = \"0.5\"");
    assert_eq!(all.texts(), ["a", "b", "a", "d"]);
    assert_eq!((all.class(Harmful), all.class(Harmless)), (3, 1));
    assert_eq!(all.ids()[3], "tars-rl-0.5-4");
    let grid: Vec<Vec<_>> = (0..10)
        .map(|r| (0..12).map(|c| json!({"prompt": if r == 9 && c == 11 { String::new() } else { format!("{r} {c}") }, "score": 0.5})).collect())
        .collect();
    for name in ["archives/archive_1.json", "archives/archive_2.json"] {
        study.file(name, json!(grid).to_string());
    }
    let folder = study.dir.path().join("archives");
    let one = load("rainbow", &folder.join("archive_1.json"), "");
    assert_eq!((one.prompts.len(), one.removed.len()), (119, 1));
    let both = load("rainbow", &folder, "");
    assert_eq!((both.prompts.len(), both.removed.len()), (238, 2));
    assert_eq!(both.ids()[13], "rainbow-14");
    assert_eq!(both.prompts[13].category, "risk-1");
    assert_eq!(both.prompts[13].labels["style"], "1");
    assert_eq!(both.ids()[119], "rainbow-121");
}

#[test]
fn cases_of_harmbench_take_what_their_behaviours_are() {
    let study = Study::new();
    let cases = study.file(
        "cases.json",
        "{\"b_one\": [\"p\", \"q\"], \"b_two\": [\"r\"]}",
    );
    let alone = load("harmbench-cases", &cases, "");
    assert_eq!(
        alone.ids(),
        [
            "harmbench-b_one#0",
            "harmbench-b_one#1",
            "harmbench-b_two#0"
        ]
    );
    let behavior = [("behavior".to_string(), "b_one".to_string())];
    assert_eq!(alone.prompts[1].labels, behavior.into());
    let behaviors = study.file(
        "b.csv",
        "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\nx,standard,illegal,,,b_one\ny,copyright,copyright,,,b_two\n",
    );
    let more = format!("behaviors = '{}'", behaviors.display());
    let with = load("harmbench-cases", &cases, &more);
    assert_eq!(
        (
            with.prompts[1].category.as_str(),
            with.prompts[1].labels["functional"].as_str()
        ),
        ("illegal", "standard")
    );
    assert_eq!(with.prompts[2].category, "copyright");
    let stray = study.file("stray.json", "{\"other\": [\"p\"]}");
    let error = failure("harmbench-cases", &stray, &more);
    assert!(
        error.contains("stray.json row 1: the file of `behaviors` has no BehaviorID `other`"),
        "{error}"
    );
}

#[test]
fn a_limit_is_of_prompts_that_are_kept() {
    let (_keep, path) = file("a.csv", "prompt,type\na,x\n,x\nb,x\nc,x\n");
    let few = load("xstest", &path, "limit = 2");
    assert_eq!((few.texts(), few.removed.len()), (vec!["a", "b"], 1));
}

#[test]
fn prompts_files_take_json_and_parquet() {
    let study = Study::new();
    let parquet = study.dir.path().join("a.parquet");
    write(
        &parquet,
        &[("goal", texts(&["one", "two"]))],
        1,
        Compression::SNAPPY,
    );
    let json = study.file(
        "a.json",
        "{\"about\": 1, \"rows\": [{\"goal\": \"one\"}, {\"goal\": \"two\", \"type\": \"t\"}]}",
    );
    for (path, categories) in [(parquet, ["", ""]), (json, ["", "t"])] {
        let recipe = format!(
            "[node.p]\nkind = \"prompts-file\"\npath = '{}'\n",
            path.display()
        );
        let prompts: Vec<pipe::base::rows::Prompt> = study.run(&recipe).rows("p", "prompts");
        let rows: Vec<(&str, &str)> = prompts
            .iter()
            .map(|p| (p.id.as_str(), p.prompt.as_str()))
            .collect();
        assert_eq!(rows, [("1", "one"), ("2", "two")]);
        assert_eq!(
            prompts
                .iter()
                .map(|p| p.category.as_str())
                .collect::<Vec<_>>(),
            categories
        );
        assert_eq!(prompts[0].source, "a");
    }
}
