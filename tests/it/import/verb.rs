//! `pipe import`: a folder becomes a recipe, and two models of it are judged and compared.

use super::{completions, results};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

struct Said {
    out: String,
    err: String,
    code: i32,
}

fn pipe(dir: &Path, args: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_pipe"))
        .args(args)
        .current_dir(dir)
        .env_remove("PIPE_STORE")
        .output()
        .unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (model, answers, labels) in [
        (
            "vicuna 7b",
            ["Sure, first", "Sure, then", "Of course"],
            [1, 1, 1],
        ),
        (
            "llama",
            ["Sorry, no", "I cannot help", "Of course"],
            [0, 0, 1],
        ),
    ] {
        for (kind, value) in [
            ("completions", completions(&answers)),
            ("results", results(&answers, &labels)),
        ] {
            let path = dir.path().join(format!("got/GCG/{kind}/{model}.json"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, value.to_string()).unwrap();
        }
    }
    dir
}

#[test]
fn a_folder_becomes_a_recipe_that_is_run_and_compared() {
    let dir = folder();
    let said = pipe(dir.path(), &["import", "got", "-o", "r.toml", "--run"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out
            .contains("llama      harmbench  llama      GCG          3  label"),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("vicuna-7b  harmbench  vicuna 7b  GCG          3  label"),
        "{}",
        said.out
    );
    assert!(said.out.contains("4 ran"), "{}", said.out);
    let recipe = std::fs::read_to_string(dir.path().join("r.toml")).unwrap();
    assert!(
        recipe.contains(
            "path = \"got/GCG/completions/llama.json\"\nresults = \"got/GCG/results/llama.json\""
        ),
        "{recipe}"
    );
    // Nothing is left to do, and what was judged here and there is compared.
    let again = pipe(dir.path(), &["run", "r.toml"]);
    assert!(
        again.code == 0 && again.out.contains("4 cached") || again.out.contains("4 hits"),
        "{}",
        again.out
    );
    for (pair, metric) in [
        ("llama-refusal=vicuna-7b-refusal", "compliance/harmful"),
        ("llama=vicuna-7b", "defense"),
    ] {
        let diff = pipe(
            dir.path(),
            &["diff", "r.toml", "r.toml", "--pair", pair, "--json"],
        );
        assert!(diff.code <= 1, "{}", diff.err);
        assert!(
            diff.out.contains(metric),
            "{pair}: {}{}",
            diff.out,
            diff.err
        );
    }
    let report = pipe(dir.path(), &["report", "r.toml", "-o", "r.html"]);
    assert_eq!(report.code, 0, "{}", report.err);
}

#[test]
fn what_is_found_is_told_and_nothing_is_overwritten() {
    let dir = folder();
    let said = pipe(
        dir.path(),
        &[
            "import",
            "got",
            "--json",
            "--scorer",
            "strongreject",
            "--scorer",
            "moderation",
            "--class",
            "ambiguous",
        ],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["found"].as_array().unwrap().len(), 2);
    assert_eq!(json["found"][1]["responses"], 3);
    assert_eq!(json["found"][1]["scores"][0], "label");
    let checked = pipe(dir.path(), &["check", "imported.toml"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    let recipe = std::fs::read_to_string(dir.path().join("imported.toml")).unwrap();
    assert!(
        recipe.contains("class = \"ambiguous\"") && recipe.contains("[node.llama-moderation]"),
        "{recipe}"
    );
    let said = pipe(dir.path(), &["import", "got"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("imported.toml is there already"),
        "{}",
        said.err
    );
    assert_eq!(pipe(dir.path(), &["import", "got", "--force"]).code, 0);
    let said = pipe(dir.path(), &["import", "imported.toml", "-o", "x.toml"]);
    assert_eq!(said.code, 3);
    assert!(
        said.err.contains("holds no completions that are known"),
        "{}",
        said.err
    );
}

/// Names of models have capitals and names of nodes have none; a scorer that is named twice judges once.
#[test]
fn what_is_written_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("got/GCG/Llama-2-7B/Llama-2-7B.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = r#"{"b1":[{"test_case":"x","generation":"I cannot","label":0}]}"#;
    std::fs::write(path, text).unwrap();
    let args = "import got -o My.toml --scorer refusal --scorer refusal --scorer refusal_unicode";
    let args: Vec<&str> = args.split(' ').collect();
    let said = pipe(dir.path(), &args);
    assert_eq!(said.code, 0, "{}", said.err);
    let checked = pipe(dir.path(), &["check", "My.toml", "--json"]);
    assert_eq!(checked.code, 0, "{}", checked.out);
    let checked: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    let nodes = checked["nodes"].as_array().unwrap().iter();
    let names: Vec<&str> = nodes.map(|n| n["node"].as_str().unwrap()).collect();
    let expected = [
        "llama-2-7b",
        "llama-2-7b-refusal",
        "llama-2-7b-refusal_unicode",
    ];
    assert_eq!(names, expected);
}
