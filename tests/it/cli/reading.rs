//! `show`, `ls` and `export`: what is in the store, for reading and as plain files.

use super::{GREETING, Said, Space};

/// The cheapest recipe that has rows, metrics, a model and texts.
const WORLD: &str = r#"
name = "small-world"
[node.prompts]
kind = "world-prompts"
sft = 12
rl = 12
validation = 6
eval = 4
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 16
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.eval" }
max_new_tokens = 4
[node.judged-eval]
kind = "evaluate"
in = { completions = "answers" }
"#;

#[test]
fn rows_metrics_models_and_the_study_are_shown() {
    let space = Space::with(WORLD);
    space.file("cache/format", "1\n");
    let early = space.pipe(&["show", "r.toml", "answers"]).ends(2);
    assert!(
        early
            .err
            .contains("`answers` has no artifact for this recipe as it stands; `pipe run r.toml --only answers` makes it, `pipe why r.toml answers` says"),
        "{}",
        early.err
    );
    let ran = space.pipe(&["run", "r.toml"]).ok();
    assert!(ran.out.contains("measure [95 % interval]"), "{}", ran.out);
    let next = "next:\n  pipe report r.toml\n";
    assert!(ran.out.contains(next), "{}", ran.out);

    let rows = space
        .pipe(&["show", "r.toml", "prompts.eval", "-n", "2"])
        .ok()
        .out;
    assert!(
        rows.starts_with("prompts.eval: prompts of kind `world-prompts`\n"),
        "{rows}"
    );
    assert!(rows.contains("12 of 12 rows fit; 2 shown\n"), "{rows}");
    assert_eq!(rows.matches("\n--- ").count(), 2, "{rows}");
    let args = [
        "show",
        "r.toml",
        "prompts.eval",
        "-n",
        "99",
        "--where",
        "class=harmless",
        "--json",
    ];
    let json = space.pipe(&args).ok().json();
    assert_eq!(json["rows"], 12);
    let shown = json["shown"].as_array().unwrap();
    assert_eq!(shown.len(), 4);
    assert!(shown.iter().all(|row| row["class"] == "harmless"));

    let metrics = space.pipe(&["show", "r.toml", "judged-eval"]).ok().out;
    assert!(metrics.contains("metric"), "{metrics}");
    assert!(metrics.contains("well_formed"), "{metrics}");
    let model = space.pipe(&["show", "r.toml", "model"]).ok().out;
    assert!(model.contains("hidden_size: 16\n"), "{model}");
    assert!(model.contains("model.safetensors"), "{model}");
    let table = space.pipe(&["show", "r.toml"]).ok().out;
    assert!(table.contains("well-formed think tags"), "{table}");
    assert!(table.contains("4 of 4 nodes have artifacts\n"), "{table}");
    let json = space.pipe(&["show", "r.toml", "--json"]).ok().json();
    assert_eq!(json["nodes"].as_array().unwrap().len(), 4);
}

#[test]
fn what_cannot_be_shown_is_said_with_a_way_on() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    let said = space.pipe(&["show", "r.toml", "hallo"]).ends(2);
    assert_eq!(
        said.err,
        "error: the recipe has no node `hallo`; did you mean `hello`?\n"
    );
    let said = space.pipe(&["show", "r.toml", "hello.text"]).ends(2);
    assert_eq!(
        said.err,
        "error: `hello` has no output `text`; it has `out`\n"
    );
    let world = "[node.p]\nkind = \"world-prompts\"\nsft = 2\nrl = 2\nvalidation = 1\neval = 1\n";
    space.file("w.toml", world);
    space.pipe(&["run", "w.toml", "--quiet"]).ok();
    let said = space
        .pipe(&["show", "w.toml", "p", "--where", "harmful"])
        .ends(2);
    assert_eq!(
        said.err,
        "error: `--where harmful` is not of the form FIELD=VALUE\n"
    );
    let said = space
        .pipe(&["show", "w.toml", "p", "--where", "clas=harmful"])
        .ends(2);
    assert!(
        said.err
            .contains("no row has a field `clas`; did you mean `class`?"),
        "{}",
        said.err
    );
    let asked = |filter: &str| {
        let said = space.pipe(&["show", "w.toml", "p.eval", "--where", filter]);
        said.ok().out
    };
    let (none, slip) = (asked("class=harmfull"), "no row has `class` = `harmfull`; ");
    let told = format!("rows fit; 0 shown\n{slip}did you mean `harmful`?\n");
    assert!(none.contains(&told), "{none}");
    let none = asked("class=7");
    let there = "`class` = `7`; there is `ambiguous`, `harmful`, `harmless`\n";
    assert!(none.contains(there), "{none}");
    assert!(!asked("class=harmful").contains("no row has"));
    let said = space.pipe(&["rnu", "w.toml"]).ends(2);
    assert!(
        said.err.contains("subcommand exists: 'run'"),
        "{}",
        said.err
    );
}

#[test]
fn long_commands_are_advised_once_and_warnings_are_wrapped() {
    let space = Space::with(WORLD);
    let long = format!("model.description={}", "very ".repeat(50));
    let ran = space.pipe(&["run", "r.toml", "--set", &long]).ok();
    let next = "\nnext (…: the recipes and flags of this run):\n  pipe report …\n";
    assert!(ran.out.contains(next), "{}", ran.out);
    let mut plan = space.command(&["plan", "r.toml", "--fresh", "model"]);
    plan.args(["--set", "*.device=cuda:7"]).env("COLUMNS", "60");
    let plan = Said::new(plan.output().unwrap()).ok();
    let warned: Vec<&str> = plan.err.lines().collect();
    assert!(warned.len() > 2, "{}", plan.err);
    let words = |line: &str| line.trim().contains(' ');
    let wide = warned
        .iter()
        .filter(|l| words(l) && l.len() > 60 && !l.contains('`'));
    assert_eq!(wide.count(), 0, "{}", plan.err);
}

#[test]
fn ls_lists_records_and_runs() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    space.file("bad.toml", "[node.bad]\nkind = \"toy-fail\"\n");
    space.pipe(&["run", "bad.toml", "--quiet"]).ends(1);
    let list = space.pipe(&["ls"]).ok().out;
    assert!(list.contains("3 records in "), "{list}");
    let joins = space.pipe(&["ls", "--kind", "toy-join"]).ok().out;
    assert!(joins.contains("1 record in "), "{joins}");
    assert!(joins.contains("greeting"), "{joins}");
    let json = space.pipe(&["ls", "--json"]).ok().json();
    assert_eq!(json["records"].as_array().unwrap().len(), 3);
    let runs = space.pipe(&["ls", "--runs"]).ok().out;
    let ends: Vec<&str> = runs
        .lines()
        .skip(1)
        .map(|l| if l.contains("done") { "done" } else { "failed" })
        .collect();
    assert_eq!(ends, ["done", "failed"], "{runs}");
    let json = space.pipe(&["ls", "--runs", "--json"]).ok().json();
    assert_eq!(json["runs"][1]["end"], "failed");
    assert_eq!(json["runs"][0]["nodes"], 3);
}

#[test]
fn export_fills_an_absent_or_empty_folder_and_no_other_unless_forced() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    let said = space.pipe(&["export", "r.toml", "both", "new/folder"]).ok();
    assert_eq!(said.out, "new/folder/text.txt\n");
    let text = |path: &str| std::fs::read_to_string(space.path(path)).unwrap();
    assert_eq!(text("new/folder/text.txt"), "hello world");
    std::fs::create_dir(space.path("empty")).unwrap();
    space.pipe(&["export", "r.toml", "both.out", "empty"]).ok();
    assert_eq!(text("empty/text.txt"), "hello world");
    // What was exported is the user's own: it can be changed, and the store stays as it was.
    space.file("empty/text.txt", "mine");

    let said = space.pipe(&["export", "r.toml", "hello", "empty"]).ends(2);
    assert_eq!(
        said.err,
        "error: empty is not empty; `--force` writes into it all the same\n"
    );
    assert_eq!(text("empty/text.txt"), "mine");
    space.file("empty/other.txt", "other");
    space
        .pipe(&["export", "r.toml", "hello", "empty", "--force"])
        .ok();
    assert_eq!(
        (text("empty/text.txt"), text("empty/other.txt")),
        ("hello".into(), "other".into())
    );
    let json = space
        .pipe(&["export", "r.toml", "both", "third", "--json"])
        .ok()
        .json();
    assert_eq!(json["files"][0]["bytes"], 11);

    space.file("a-file", "x");
    let said = space.pipe(&["export", "r.toml", "both", "a-file"]).ends(2);
    assert!(said.err.contains("a-file is not a folder"), "{}", said.err);
}

#[test]
fn a_damaged_artifact_is_not_exported() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    let digest = {
        let records = space.pipe(&["ls", "--json"]).ok().json();
        let both = records["records"].as_array().unwrap().iter();
        let both = both
            .clone()
            .find(|r| r["made_by"]["node"] == "both")
            .unwrap();
        let key = both["key"].as_str().unwrap();
        let record = space.path(&format!("cache/actions/{}/{key}.json", &key[..2]));
        let record: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(record).unwrap()).unwrap();
        record["outputs"]["out"]["files"][0]["digest"]
            .as_str()
            .unwrap()
            .to_string()
    };
    let object = space.path(&format!("cache/objects/{}/{digest}", &digest[..2]));
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "hullo world").unwrap();
    let said = space.pipe(&["export", "r.toml", "both", "out"]).ends(3);
    assert!(said.err.contains("text.txt"), "{}", said.err);
    assert!(
        !space.path("out/text.txt").exists(),
        "nothing damaged is handed out"
    );
}
