//! What is read of each layout, what is found in a folder, and how a wrong file is named.

use super::{completions, line, log, results, sample, zipped};
use crate::study::Study;
use pipe::kinds::data::import::found::{Layout, Unit, look};
use serde_json::{Value as Json, json};
use std::path::Path;

const ANSWERS: [&str; 3] = ["Sure, first", "I cannot help", "Sorry, no"];

fn read(path: &Path, only: Option<Layout>) -> Vec<Unit> {
    look(path, only).unwrap().units
}

fn scores(unit: &Unit, name: &str) -> Vec<Option<f64>> {
    let value =
        |r: &pipe::kinds::data::import::found::Response| r.scores.get(name).and_then(|s| s.value);
    unit.rows.iter().map(value).collect()
}

#[test]
fn a_folder_of_harmbench_is_completions_with_their_labels() {
    let study = Study::new();
    for (attack, model, labels) in [("GCG", "vicuna", [1, 0, 0]), ("PAIR", "llama", [1, 1, 0])] {
        let home = format!("out/{attack}/base");
        study.file(
            &format!("{home}/completions/{model}.json"),
            completions(&ANSWERS).to_string(),
        );
        study.file(
            &format!("{home}/results/{model}.json"),
            results(&ANSWERS, &labels).to_string(),
        );
        study.file(
            &format!("{home}/test_cases/test_cases.json"),
            "{\"bomb_1\": [\"a\"]}",
        );
        study.file(
            &format!("{home}/test_cases/logs.json"),
            "{\"bomb_1\": [{\"x\": 1}]}",
        );
    }
    study.file("out/notes.json", "[1, 2");
    let units = read(&study.dir.path().join("out"), None);
    let told: Vec<String> = units.iter().map(Unit::summary).collect();
    assert_eq!(
        told,
        [
            "3 responses of vicuna (GCG-base), harmbench; scores: `label`",
            "3 responses of llama (PAIR-base), harmbench; scores: `label`"
        ]
    );
    // The text is that of the completions, not the classifier's cut.
    let vicuna = &units[0];
    assert_eq!(vicuna.rows[0].response, ANSWERS[0]);
    assert_eq!(vicuna.rows[1].prompt, "Case two of bomb");
    assert_eq!(scores(vicuna, "label"), [Some(1.0), Some(0.0), Some(0.0)]);
    assert_eq!(vicuna.rows[1].category, "bomb", "from the first case");
    assert_eq!(vicuna.rows[2].labels["functional"], "standard");
    assert_eq!(vicuna.rows[2].labels["behavior"], "virus_2");
    // Results alone are taken as they are.
    let alone = study.dir.path().join("out/GCG/base/results");
    let units = read(&alone, None);
    assert_eq!(units[0].rows[0].response, "Sure,");
}

#[test]
fn generations_that_failed_are_empty() {
    let study = Study::new();
    let text = r#"{"b": [{"test_case": "t", "generation": null}, {"test_case": "u", "generation": ["x"], "label": -1}]}"#;
    let unit = read(&study.file("m.json", text), None).remove(0);
    assert_eq!(
        (
            unit.rows[0].response.as_str(),
            unit.rows[1].response.as_str()
        ),
        ("", "x")
    );
    assert_eq!(unit.rows[1].scores["label"].value, None, "-1 is no label");
    assert_eq!(unit.rows[1].scores["label"].label, "-1");
}

fn samples() -> Vec<Json> {
    let scored = |grade: Json, share: Json| {
        let explained =
            json!({ "value": grade, "answer": "a", "explanation": "because", "history": [] });
        json!({ "includes": explained, "share": { "value": share } })
    };
    let parts = json!([
        { "type": "reasoning", "reasoning": "It is safe.", "redacted": false },
        { "type": "text", "text": "Take flour." },
    ]);
    let hidden = json!([
        { "type": "reasoning", "reasoning": "AAAA", "redacted": true, "summary": "In short." },
        { "type": "image", "image": "data:" },
        { "type": "text", "text": "attachment://abc" },
    ]);
    let chat = json!([{ "role": "system", "content": "Be kind." }, { "role": "user", "content": "How to bake?" }]);
    let turns = json!([
        { "role": "user", "content": "Hi" }, { "role": "assistant", "content": "Hello" }, { "role": "user", "content": "Bake?" }
    ]);
    vec![
        sample(
            json!("q1"),
            2,
            chat.clone(),
            Some(hidden),
            scored(json!("I"), json!(0.25)),
        ),
        sample(
            json!(2),
            1,
            turns,
            Some(json!("An axe")),
            scored(json!("P"), json!(true)),
        ),
        sample(
            json!("q1"),
            1,
            chat,
            Some(parts),
            scored(json!("C"), json!(7)),
        ),
        sample(json!("bad"), 1, json!("Fail"), None, json!({})),
    ]
}

#[test]
fn a_log_of_inspect_is_the_same_as_a_file_and_as_a_zip() {
    let study = Study::new();
    let file = study.file("a/log.json", log(&samples()).to_string());
    let whole = read(&file, None).remove(0);
    for head in ["header.json", "_journal/start.json"] {
        let zip = study.dir.path().join("log.eval");
        zipped(&zip, &samples(), head);
        let packed = read(&zip, Some(Layout::Inspect)).remove(0);
        assert_eq!(packed.rows, whole.rows, "{head}");
        assert_eq!(
            (packed.model, packed.group),
            ("mock/model".into(), "tiny".into())
        );
    }
    assert_eq!(
        whole.summary(),
        "3 responses of mock/model (tiny), inspect; scores: `includes`, `share`; 1 without a response"
    );
    let rows = &whole.rows;
    let keys: Vec<&str> = rows.iter().map(|r| r.key.as_str()).collect();
    assert_eq!(keys, ["q1", "q1", "2"], "by sample, then by epoch");
    assert_eq!(
        rows[0].response,
        "<think>\nIt is safe.\n</think>\n\nTake flour."
    );
    assert_eq!(
        rows[1].response,
        "<think>\nIn short.\n</think>\n\n[image]\na long text"
    );
    assert_eq!(rows[2].response, "An axe");
    assert_eq!((rows[0].unfinished, rows[1].unfinished), (false, true));
    assert_eq!(rows[0].prompt, "How to bake?");
    assert_eq!(
        rows[2].prompt,
        "user: Hi\n\nassistant: Hello\n\nuser: Bake?"
    );
    assert_eq!(
        (rows[0].tokens, rows[0].served.as_deref()),
        (7, Some("mock-1"))
    );
    assert_eq!(rows[0].category, "food");
    assert_eq!(
        scores(&whole, "includes"),
        [Some(1.0), Some(0.0), Some(0.5)]
    );
    assert_eq!(
        scores(&whole, "share"),
        [None, Some(0.25), Some(1.0)],
        "7 is no share"
    );
    assert_eq!(rows[0].scores["includes"].words.as_deref(), Some("because"));
}

#[test]
fn samples_of_lm_eval_are_repeats_by_filter() {
    let study = Study::new();
    let text = [
        line(0, "How?", &["so", "thus"], "strict", 0.0),
        line(1, "Why?", &["because"], "strict", 1.0),
        line(0, "How?", &["so", "thus"], "loose", 1.0),
        line(1, "Why?", &["because"], "loose", 1.0),
    ];
    let home = "out/some__model";
    let time = "2026-01-02T03-04-05.678901";
    study.file(
        &format!("{home}/samples_my_task_{time}.jsonl"),
        text.concat(),
    );
    let out = study.dir.path().join("out");
    let unit = read(&out, None).remove(0);
    assert_eq!(
        (unit.model.as_str(), unit.group.as_str()),
        ("some__model", "my_task")
    );
    study.file(
        &format!("{home}/results_{time}.json"),
        "{\"model_name\": \"some/model\", \"results\": {}}",
    );
    let unit = read(&out, None).remove(0);
    assert_eq!(
        unit.summary(),
        "3 responses of some/model (my_task), lm-eval; scores: `exact_match`"
    );
    let texts: Vec<&str> = unit.rows.iter().map(|r| r.response.as_str()).collect();
    assert_eq!(texts, ["so", "thus", "because"]);
    assert_eq!(scores(&unit, "exact_match"), [Some(0.0), None, Some(1.0)]);
    let loose = &unit.filters["loose"];
    assert_eq!(loose[0].scores["exact_match"].value, Some(1.0));
    // An older version has a list of arguments.
    let old = json!({ "doc_id": 5, "arguments": [["Ask", {}]], "resps": [["say"]] });
    let unit = read(&study.file("samples_old.jsonl", old.to_string()), None).remove(0);
    assert_eq!(
        (unit.rows[0].prompt.as_str(), unit.group.as_str()),
        ("Ask", "old")
    );
    // A chat of an endpoint is a text with its messages, in a list.
    let chat = json!([r#"[{"role": "user", "content": "Ask"}]"#]);
    let chat = json!({ "doc_id": 5, "arguments": { "gen_args_0": { "arg_0": chat } }, "resps": [["say"]] });
    let unit = read(&study.file("samples_chat.jsonl", chat.to_string()), None).remove(0);
    assert_eq!(unit.rows[0].prompt, "Ask");
}

#[test]
fn a_task_of_multiple_choice_is_passed_over_in_a_folder() {
    let study = Study::new();
    let choice = json!({ "doc_id": 0, "arguments": { "gen_args_0": { "arg_0": "q", "arg_1": " a" } },
                         "resps": [[["-0.1", "False"]], [["-0.5", "False"]]] });
    study.file("out/samples_choice.jsonl", choice.to_string());
    study.file(
        "out/samples_text.jsonl",
        line(0, "How?", &["so"], "none", 1.0),
    );
    let found = look(&study.dir.path().join("out"), None).unwrap();
    assert_eq!(found.units.len(), 1);
    let (file, why) = &found.passed[0];
    assert!(
        file.ends_with("samples_choice.jsonl") && why.contains("likelihoods"),
        "{why}"
    );
}

#[test]
fn a_wrong_file_is_an_error_that_names_it() {
    let study = Study::new();
    let choice = json!({ "doc_id": 0, "arguments": { "gen_args_0": { "arg_0": "q", "arg_1": " a" } },
                         "resps": [[["-0.1", "False"]], [["-0.5", "False"]]] });
    let mut torn = log(&samples());
    torn["samples"][1]["input"] = json!([{ "role": "system", "content": "x" }]);
    for (name, text, message) in [
        ("a.json", "{", "it is no JSON"),
        ("a.json", "[1]", "it is no object of behaviours"),
        ("a.json", "{\"b\": 1}", "`b` has no array of test cases"),
        (
            "a.json",
            "{\"b\": [{\"test_case\": \"x\"}]}",
            "`b`, case 1: it has no `generation`",
        ),
        (
            "a.json",
            "{\"b\": [{\"test_case\": [\"i\", \"x\"], \"generation\": \"\"}]}",
            "its `test_case` is no text",
        ),
        ("a.json", "{}", "has no response"),
        ("a.eval", "PK", "it is no zip"),
        (
            "log.json",
            &torn.to_string(),
            "sample 2, epoch 1: its `input` has no message of a user",
        ),
        (
            "samples_x.jsonl",
            "{\"doc_id\": 1}",
            "line 1 is no sample of lm-evaluation-harness",
        ),
        ("samples_x.jsonl", "\n", "it has no line"),
        (
            "samples_x.jsonl",
            &choice.to_string(),
            "its `resps` are no texts but likelihoods",
        ),
        (
            "a.csv",
            "prompt\nx\n",
            "holds no completions that are known",
        ),
    ] {
        let path = study.file(name, text);
        let error = format!("{:#}", look(&path, None).unwrap_err());
        assert!(
            error.contains(message) && error.contains(name),
            "{text}: {error}"
        );
    }
    let missing = format!(
        "{:#}",
        look(&study.dir.path().join("gone"), None).unwrap_err()
    );
    assert!(
        missing.contains("gone") && missing.contains("no such file or folder"),
        "{missing}"
    );
    let file = study.file("ok/m.json", completions(&ANSWERS).to_string());
    let other = format!("{:#}", look(&file, Some(Layout::LmEval)).unwrap_err());
    assert!(other.contains("asked for `lm-eval`"), "{other}");
    // Labels of other completions.
    let study = Study::new();
    study.file("completions/m.json", completions(&ANSWERS).to_string());
    let mut moved = results(&ANSWERS, &[1, 0, 0]);
    moved["virus_2"][0]["test_case"] = "another".into();
    study.file("results/m.json", moved.to_string());
    let error = format!("{:#}", look(study.dir.path(), None).unwrap_err());
    assert!(
        error.contains("`virus_2`, case 1 is not that of the completions"),
        "{error}"
    );
}
