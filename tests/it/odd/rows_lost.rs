//! Rows that order or a file could lose: responses of a prompt that do not stand together, logs that cannot be read, labels that are
//! nearly those that were asked for.

use crate::study::{Ran, Study};
use pipe::base::response::{Outcome, Withheld};
use pipe::base::rows::{Completion, Pair, Prompt, PromptClass, Score};
use pipe::kinds::data::import::found::{Found, Unit, look};
use pipe::kinds::data::labels::nearly;
use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::Path;

const HELP: &str = "Sure, here it is";
const NO: &str = "I cannot help";

/// A file of responses as (prompt, response), and pairs of them.
fn paired(rows: &[(usize, &str)]) -> Ran {
    let study = Study::new();
    let line = |(prompt, response): &(usize, &str)| {
        let row = json!({ "id": format!("p{prompt}"), "prompt": format!("Do {prompt}?"), "response": response });
        row.to_string() + "\n"
    };
    study.file("rows.jsonl", rows.iter().map(line).collect::<String>());
    study.try_run(
        "[node.c]\nkind = \"completions-file\"\npath = \"rows.jsonl\"\nclass = \"harmful\"\n\
         [node.pairs]\nkind = \"preference-pairs\"\nin = { completions = \"c\" }\nreward = { harmful = \"refusal\" }\n",
    )
}

#[test]
fn pairs_do_not_depend_on_where_the_responses_stand() {
    let together = [(0, HELP), (0, NO), (1, NO), (1, HELP), (2, HELP), (2, NO)];
    let by_turns = [(0, HELP), (1, NO), (2, HELP), (0, NO), (1, HELP), (2, NO)];
    let inside = [(0, HELP), (1, NO), (1, HELP), (2, HELP), (2, NO), (0, NO)];
    let pairs = |rows: &[(usize, &str)]| -> Vec<(String, String, String)> {
        let pairs: Vec<Pair> = paired(rows).rows("pairs", "pairs");
        let told = |p: Pair| (p.id, p.chosen, p.rejected);
        pairs.into_iter().map(told).collect()
    };
    let expected = pairs(&together);
    assert_eq!(expected.len(), 3);
    assert!(
        expected
            .iter()
            .all(|(_, chosen, rejected)| chosen == HELP && rejected == NO
                || chosen == NO && rejected == HELP)
    );
    assert_eq!(pairs(&by_turns), expected);
    assert_eq!(pairs(&inside), expected);
    // A prompt with one response makes no pair, and is counted.
    let ran = paired(&[(0, HELP), (1, NO), (0, NO)]);
    let single = ran.metric("pairs", "single");
    assert_eq!((single.value, single.n), (0.5, 2));
    assert!(ran.said("pairs", "1 prompt with a single response"));
    assert!(ran.said("pairs", "1 pair of 2 prompts"));
}

#[test]
fn one_id_is_one_prompt() {
    let study = Study::new();
    let run = |text: &str, more: &str| {
        study.file("rows.csv", text);
        let node = format!("[node.c]\nkind = \"completions-file\"\npath = \"rows.csv\"\n{more}\n");
        study.try_run(&node)
    };
    let failure = run("id,prompt,response\na,One?,x\nb,Two?,y\na,Three?,z\n", "").failure("c");
    for words in [
        "row 3 and",
        "row 1 have the id `a`",
        "different prompts",
        "id_column",
    ] {
        assert!(failure.contains(words), "{words}: {failure}");
    }
    let classes = "id,prompt,response,type\na,One?,x,bad\na,One?,y,fine\n";
    let failure = run(classes, "harmful = [\"bad\"]").failure("c");
    assert!(failure.contains("different classes"), "{failure}");
}

/// A log of inspect_ai of one sample a response, with a score each.
fn log(model: &str, responses: &[(Json, Json)]) -> Json {
    let sample = |(i, (message, score)): (usize, &(Json, Json))| {
        let mut choice = json!({ "message": { "role": "assistant", "content": message }, "stop_reason": "stop" });
        if message.is_object() {
            choice = message.clone();
        }
        json!({
            "id": i + 1, "epoch": 1, "input": format!("Ask {i}?"), "target": "",
            "output": { "model": model, "choices": [choice] },
            "scores": { "acc": { "value": score } },
        })
    };
    let samples: Vec<Json> = responses.iter().enumerate().map(sample).collect();
    json!({ "version": 2, "status": "success", "eval": { "model": model, "task": "t" }, "samples": samples })
}

fn one(model: &str) -> Json {
    log(model, &[(json!("Mix."), json!(1.0))])
}

fn found(study: &Study) -> Found {
    look(&study.dir.path().join("logs"), None).unwrap()
}

fn why<'a>(found: &'a Found, name: &str) -> &'a str {
    let of = found.passed.iter().find(|(path, _)| path.ends_with(name));
    &of.unwrap_or_else(|| panic!("{name} is not in {:?}", found.passed))
        .1
}

#[test]
fn every_file_of_a_folder_is_taken_or_named() {
    let study = Study::new();
    let text = |model: &str| one(model).to_string();
    study.file("logs/plain.json", text("plain"));
    study.file("logs/below/UPPER.JSON", text("upper"));
    study.file("logs/bom.json", format!("\u{feff}{}", text("bom")));
    // As Python writes what is no number: only in place of a value, never in a text.
    let nan = log(
        "nan",
        &[
            (json!("It is NaN, or \\ \"Infinity\""), json!("@")),
            (json!("-1"), json!(0.5)),
        ],
    );
    study.file("logs/nan.json", nan.to_string().replace("\"@\"", "NaN"));
    let half = log("half", &[(json!("@"), json!(1))]).to_string();
    study.file(
        "logs/half.json",
        half.replace('@', "a \\ud83d b \\ud83d\\ude00"),
    );
    for (name, bytes) in [("le", &[0xff, 0xfe][..]), ("be", &[0xfe, 0xff][..])] {
        let little = name == "le";
        let wide = text(name);
        let units = wide.encode_utf16().flat_map(|u| {
            if little {
                u.to_le_bytes()
            } else {
                u.to_be_bytes()
            }
        });
        let units: Vec<u8> = bytes.iter().copied().chain(units).collect();
        study.file(&format!("logs/{name}.json"), units);
    }
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packed.write_all(text("packed").as_bytes()).unwrap();
    study.file("logs/packed.json.gz", packed.finish().unwrap());
    // What is not taken.
    let whole = text("torn");
    study.file("logs/torn.json", &whole[..whole.len() / 2]);
    study.file("logs/empty.json", "");
    study.file("logs/latin.json", b"{\"a\": \"\xe9\"}");
    study.file("logs/other.json", "{\"a\": 1, \"b\": 2}");
    study.file("logs/notes.txt", "x");
    study.file("logs/rows.jsonl", "{\"a\": 1}\n");
    study.file("logs/zip.eval", "PK");
    let mut none = one("none");
    none["samples"] = json!([]);
    none["status"] = "error".into();
    none["error"] = json!({ "message": "no key\nmore" });
    study.file("logs/none.json", none.to_string());
    study.file("logs/a/b/c/d/e/f/deep.json", text("deep"));

    let there = found(&study);
    let mut models: Vec<&str> = there.units.iter().map(|u| u.model.as_str()).collect();
    models.sort();
    assert_eq!(
        models,
        ["be", "bom", "half", "le", "nan", "packed", "plain", "upper"]
    );
    for (name, reason) in [
        ("torn.json", "as a file that was cut off"),
        ("empty.json", "it is empty"),
        ("latin.json", "byte 7 is not UTF-8"),
        ("other.json", "an object of 2 keys (`a`, `b`)"),
        ("notes.txt", "its name ends in none of"),
        ("rows.jsonl", "it is no log of samples: line 1"),
        ("zip.eval", "it is no zip"),
        (
            "none.json",
            "it has no response; its evaluation did not succeed, the status is `error`: no key",
        ),
        ("f", "more than 5 folders deep"),
    ] {
        assert!(
            why(&there, name).contains(reason),
            "{name}: {}",
            why(&there, name)
        );
    }
    assert_eq!(there.passed.len(), 9);
    let unit = |model: &str| -> &Unit { there.units.iter().find(|u| u.model == model).unwrap() };
    let nan = unit("nan");
    let values: Vec<_> = nan
        .rows
        .iter()
        .map(|r| (r.response.as_str(), r.scores["acc"].value))
        .collect();
    assert_eq!(
        values,
        [("It is NaN, or \\ \"Infinity\"", None), ("-1", Some(0.5))]
    );
    let remark = "1 response is unscorable by `acc`, as it says no number from 0 to 1: \"NaN\" (1)";
    assert_eq!(nan.remarks(), [remark]);
    assert_eq!(unit("half").rows[0].response, "a \u{fffd} b \u{1f600}");
    // The node counts them.
    let ran = study
        .run("[node.it]\nkind = \"import\"\npath = \"logs\"\nmodel = \"nan\"\nscore = \"acc\"\n");
    let passed = ran.metric("it", "files/passed_over");
    assert_eq!((passed.value, passed.n), (9.0, 17));
    assert_eq!(ran.metric("it", "files").value, 1.0);
    assert_eq!(ran.metric("it", "files/other_models").value, 7.0);
    assert_eq!(ran.metric("it", "unscorable").value, 0.5);
    assert_eq!(ran.metric("it", "unscorable/harmless").value, 0.5);
    assert_eq!(ran.metric("it", "unreadable/harmless").value, 0.0);
    let compliance = ran.metric("it", "compliance");
    assert_eq!((compliance.value, compliance.n), (1.0, 1));
    assert!(ran.said("it", "torn.json: it is no JSON") && ran.said("it", remark));
}

#[test]
fn the_verb_names_what_it_passes_over() {
    let study = Study::new();
    study.file("logs/a.json", one("good").to_string());
    let nan = log("nan", &[(json!("Mix."), json!("@"))]).to_string();
    study.file("logs/b.json", nan.replace("\"@\"", "NaN"));
    study.file("logs/c.json", format!("\u{feff}{}", one("bom")));
    study.file("logs/d.json", "{\"eval\": ");
    let run = |dir: &Path, more: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pipe"))
            .args(["import", "logs", "--force"])
            .args(more)
            .current_dir(dir)
            .env_remove("PIPE_STORE")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(output.stderr));
        (text(output.stdout), text(output.stderr))
    };
    let (out, err) = run(study.dir.path(), &[]);
    for words in [
        "nan: 1 response is unscorable by `acc`",
        "1 file is passed over, named above with the reason",
        "good",
        "bom",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(
        err.contains("passed over logs/d.json: it is no JSON: it ends inside of a value"),
        "{err}"
    );
    let (out, _) = run(study.dir.path(), &["--json"]);
    let json: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(json["found"].as_array().unwrap().len(), 3);
    assert_eq!(json["passed_over"].as_array().unwrap().len(), 1);
    assert_eq!(json["found"][1]["unscorable"]["acc"], 1);
}

#[test]
fn what_has_no_answer_is_known_as_such() {
    let study = Study::new();
    let thought = json!([{ "type": "reasoning", "reasoning": "It is harmful" }]);
    let choice = |content: Json, stop: &str| {
        let message = json!({ "role": "assistant", "content": content });
        (
            json!({ "message": message, "stop_reason": stop }),
            json!("C"),
        )
    };
    let mut call = choice(json!(""), "stop");
    call.0["message"]["tool_calls"] = json!([{ "id": "1", "function": "f", "arguments": {} }]);
    let responses = [
        choice(json!("Mix."), "stop"),
        choice(json!(""), "content_filter"),
        choice(json!(""), "tool_calls"),
        call,
        choice(thought.clone(), "max_tokens"),
        choice(thought, "stop"),
        choice(json!("<think>\nIt is"), "stop"),
    ];
    study.file("logs/a.json", log("m", &responses).to_string());
    let ran = study.run(
        "[node.it]\nkind = \"import\"\npath = \"logs\"\nscore = \"acc\"\nclass = \"harmful\"\n",
    );
    let rows: Vec<Completion> = ran.rows("it", "completions");
    let outcomes: Vec<Outcome> = rows.iter().map(Completion::outcome).collect();
    use Outcome::{Answered, Blocked, CutOff, Empty, ToolCall};
    assert_eq!(
        outcomes,
        [Answered, Blocked, ToolCall, ToolCall, CutOff, Empty, CutOff]
    );
    assert_eq!(rows[1].withheld, Some(Withheld::Blocked));
    // Whatever somebody said of it.
    let scores: Vec<Score> = ran.rows("it", "scores");
    let good: Vec<bool> = scores.iter().map(|s| s.good).collect();
    assert_eq!(good, [true, true, false, false, false, false, false]);
    assert!(scores.iter().all(|s| !s.answer.contains("It is")));
    assert_eq!(ran.metric("it", "unreadable").value, 5.0 / 7.0);
}

#[test]
fn choices_beyond_the_first_are_counted() {
    let study = Study::new();
    let mut log = one("m");
    let choices = &mut log["samples"][0]["output"]["choices"];
    let first = choices[0].clone();
    choices.as_array_mut().unwrap().push(first);
    study.file("logs/a.json", log.to_string());
    let found = found(&study);
    let unit = &found.units[0];
    assert_eq!((unit.rows.len(), unit.left()), (1, 1));
    assert!(
        unit.summary().contains("1 as a further choice"),
        "{}",
        unit.summary()
    );
}

#[test]
fn logs_of_one_task_are_not_one_prompt_and_a_second_try_is_no_second_sample() {
    let study = Study::new();
    study.file("logs/a.json", one("m").to_string());
    let mut other = one("m");
    other["samples"][0]["input"] = "Another?".into();
    study.file("logs/b.json", other.to_string());
    let node = "[node.it]\nkind = \"import\"\npath = \"logs\"\n";
    let ran = study.run(node);
    let rows: Vec<Completion> = ran.rows("it", "completions");
    let ids: Vec<&str> = rows.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["t/t-1#0", "t/t-1#1#0"]);
    assert!(ran.said("it", "2 files are of `t`"));
    assert_eq!(ran.metric("it", "files").value, 2.0);
    // The same evaluation, the first time cut off.
    let mut first = log("m", &[(json!("Mix."), json!(1))]);
    first["status"] = "cancelled".into();
    let mut second = log(
        "m",
        &[(json!("Mix."), json!(1)), (json!("Bake."), json!(1))],
    );
    for (log, created) in [(&mut first, "2026-01-02"), (&mut second, "2026-01-03")] {
        log["eval"]["task_id"] = "x".into();
        log["eval"]["created"] = created.into();
    }
    study.file("logs/a.json", first.to_string());
    study.file("logs/b.json", second.to_string());
    let there = found(&study);
    assert_eq!((there.units.len(), there.units[0].rows.len()), (1, 2));
    assert!(why(&there, "a.json").contains("it is of the same evaluation as"));
    // Alone it is taken, with a word.
    std::fs::remove_file(study.dir.path().join("logs/b.json")).unwrap();
    let ran = study.run(node);
    assert!(ran.said("it", "did not succeed, the status is `cancelled`"));
    assert_eq!(ran.metric("it", "files/not_whole").value, 1.0);
}

#[test]
fn labels_are_nearly_the_same_by_case_blanks_signs_and_plurals() {
    for (a, b) in [
        ("Unsafe", "unsafe"),
        ("unsafe ", "unsafe"),
        ("un-safe", "unsafe"),
        ("2 Full Refusal", "2_full_refusal"),
        ("refusals", "refusal"),
        ("categories", "category"),
        ("\u{ff55}\u{ff4e}safe", "unsafe"),
        ("1.0", "1"),
    ] {
        assert!(nearly(a, b) && nearly(b, a), "{a:?} {b:?}");
    }
    for (a, b) in [
        ("safe", "unsafe"),
        ("-1", "1"),
        ("1", "10"),
        ("", "unsafe"),
        ("same", "same"),
        ("?", "!"),
    ] {
        assert!(!nearly(a, b), "{a:?} {b:?}");
    }
}

fn prompts(text: &str, more: &str) -> (Study, Ran) {
    let study = Study::new();
    study.file("lab.csv", text);
    let ran = study.try_run(&format!(
        "[node.p]\nkind = \"prompts-file\"\npath = \"lab.csv\"\n{more}\n"
    ));
    (study, ran)
}

#[test]
fn a_label_that_is_nearly_one_that_is_named_is_an_error() {
    let text = "id,prompt,label\n1,a,safe\n2,b,Unsafe\n3,c,unsafe \n4,d,unsafe\n";
    let failure = prompts(text, "harmful = [\"unsafe\"]").1.failure("p");
    for words in [
        "\"Unsafe\" (",
        "row 2) is nearly \"unsafe\"",
        "\"unsafe \" (",
        "row 3)",
        "in `harmful` as well",
    ] {
        assert!(failure.contains(words), "{words}: {failure}");
    }
    // Named, they count as they are named.
    let named = "harmful = [\"unsafe\", \"unsafe \"]\nharmless = [\"Unsafe\"]\n";
    let (_study, ran) = prompts(text, named);
    let rows: Vec<Prompt> = ran.rows("p", "prompts");
    let classes: Vec<PromptClass> = rows.iter().map(|r| r.class).collect();
    use PromptClass::{Ambiguous, Harmful, Harmless};
    assert_eq!(classes, [Ambiguous, Harmless, Harmful, Harmful]);
    assert!(ran.said(
        "p",
        "labels nobody asked for: \"safe\" (1); these are ambiguous"
    ));
    let unnamed = ran.metric("p", "labels/unnamed");
    assert_eq!((unnamed.value, unnamed.n), (1.0, 4));
    assert_eq!(ran.metric("p", "kept/harmful").value, 2.0);
    // A column of labels that nobody asks for is told.
    let (_study, ran) = prompts(text, "");
    assert!(ran.said("p", "\"Unsafe\" (1)") && ran.said("p", "these are ambiguous"));
    let failure = prompts(text, "harmful = [\"toxic\"]").1.failure("p");
    assert!(
        failure.contains("no row has the label `toxic` that `harmful` names"),
        "{failure}"
    );
}

#[test]
fn classes_and_labels_of_completions_are_not_guessed() {
    let study = Study::new();
    let run = |types: [&str; 3], labels: [&str; 3], more: &str| {
        let row = |i: usize| format!("{i},Ask {i}?,x,{},{}\n", types[i], labels[i]);
        study.file(
            "c.csv",
            format!(
                "id,prompt,response,type,said\n{}{}{}",
                row(0),
                row(1),
                row(2)
            ),
        );
        study.try_run(&format!(
            "[node.c]\nkind = \"completions-file\"\npath = \"c.csv\"\nharmful = [\"contrast_*\"]\nlabel_column = \"said\"\n{more}\n"
        ))
    };
    let types = ["contrast_a", "b", "contrast_c"];
    let labels = ["1_full_compliance", "2_full_refusal", "9_unsure"];
    let ran = run(types, labels, "");
    assert_eq!(ran.metric("c", "kept/harmful").value, 2.0);
    assert_eq!(ran.metric("c", "labels/unnamed").value, 1.0);
    assert!(ran.said(
        "c",
        "labels nobody asked for: \"9_unsure\" (1); these are unscorable"
    ));
    assert!(ran.said(
        "c",
        "labels nobody asked for: \"b\" (1); these are ambiguous"
    ));
    for (types, labels, words) in [
        (
            ["contrast_a", "b", "Contrast_c"],
            labels,
            "\"Contrast_c\" (",
        ),
        (
            types,
            ["1_full_compliance", "2 Full refusal", "x"],
            "is nearly \"2_full_refusal\"",
        ),
        (
            types,
            ["yes", "no", "no"],
            "no row has a label that `refused` or `answered` names; the labels are \"no\" (2), \"yes\" (1)",
        ),
    ] {
        let failure = run(types, labels, "").failure("c");
        assert!(failure.contains(words), "{words}: {failure}");
    }
}

#[test]
fn what_picks_by_labels_does_not_leave_out_their_like() {
    let study = Study::new();
    study.file(
        "a.csv",
        "id,prompt,category\n1,Ask?,Food\n2,Tell?,food\n3,Do?,law\n",
    );
    let pool = "[node.p]\nkind = \"prompts-file\"\npath = \"a.csv\"\n";
    let filter = |categories: &str| {
        let node = format!(
            "{pool}[node.f]\nkind = \"filter\"\nin = {{ prompts = \"p.prompts\" }}\ncategories = [{categories}]\n"
        );
        study.try_run(&node)
    };
    let failure = filter("\"food\"").failure("f");
    assert!(
        failure.contains("some prompts have \"Food\" and some \"food\""),
        "{failure}"
    );
    assert_eq!(filter("\"food\", \"Food\"").metric("f", "kept").value, 2.0);
    study.file("A.csv", "id,prompt\n9,Other?\n");
    let mix = |counts: &str| {
        let node = format!(
            "{pool}[node.q]\nkind = \"prompts-file\"\npath = \"A.csv\"\n\
             [node.both]\nkind = \"pool\"\nin = {{ a = \"p.prompts\", b = \"q.prompts\" }}\n\
             [node.m]\nkind = \"mix-sources\"\nin = {{ prompts = \"both.prompts\" }}\ncounts = {{ {counts} }}\n"
        );
        study.try_run(&node)
    };
    let failure = mix("a = 2").failure("m");
    assert!(
        failure.contains("the pool has \"A\" and \"a\""),
        "{failure}"
    );
    assert_eq!(mix("a = 2, A = 1").metric("m", "kept").value, 3.0);
}

#[test]
fn judges_that_write_one_label_in_two_ways_do_not_disagree() {
    let study = Study::new();
    let agree = |labels: [&str; 2], more: &str| {
        study.file(
            "a.csv",
            "id,prompt,response,said\n1,Ask?,x,refusal\n2,Tell?,y,answer\n",
        );
        study.file(
            "b.csv",
            format!(
                "id,prompt,response,said\n1,Ask?,x,{}\n2,Tell?,y,{}\n",
                labels[0], labels[1]
            ),
        );
        let node = |name: &str, said: [&str; 2]| {
            format!(
                "[node.{name}]\nkind = \"completions-file\"\npath = \"{name}.csv\"\nlabel_column = \"said\"\n\
                 refused = [\"{}\"]\nanswered = [\"{}\"]\n",
                said[0], said[1]
            )
        };
        let judges = node("a", ["refusal", "answer"]) + &node("b", labels);
        study.try_run(&format!(
            "{judges}[node.r]\nkind = \"evaluate\"\nin = {{ completions = \"a.completions\" }}\nscorer = \"refusal\"\n\
             [node.both]\nkind = \"agreement\"\nin = {{ a = \"a.scores\", b = \"{more}\" }}\non = \"label\"\n"
        ))
    };
    assert_eq!(
        agree(["refusal", "answer"], "b.scores")
            .metric("both", "agreement/a-b")
            .value,
        1.0
    );
    let failure = agree(["Refusal", "answer"], "b.scores").failure("both");
    assert!(
        failure.contains("a says \"refusal\" where b says \"Refusal\""),
        "{failure}"
    );
    let failure = agree(["refusal", "answer"], "r.scores").failure("both");
    assert!(
        failure.contains("`refused_label` and `answered_label` name them"),
        "{failure}"
    );
}
