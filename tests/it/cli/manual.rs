//! The manual: help of every verb, kinds, completions.

use super::Space;

const VERBS: [&str; 27] = [
    "check",
    "claims",
    "plan",
    "run",
    "status",
    "logs",
    "stop",
    "why",
    "show",
    "report",
    "diff",
    "table",
    "ls",
    "calls",
    "export",
    "import",
    "fetch",
    "accept",
    "adopt",
    "pin",
    "unpin",
    "gc",
    "verify",
    "kinds",
    "schema",
    "man",
    "completions",
];

#[test]
fn every_verb_has_help_with_an_example() {
    let space = Space::shipped();
    let overview = space.pipe(&["--help"]).ok().out;
    for verb in VERBS {
        assert!(overview.contains(&format!("  {verb} ")), "{overview}");
        let help = space.pipe(&[verb, "--help"]).ok().out;
        assert!(help.contains(&format!("Example: pipe {verb}")), "{help}");
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(110), "{help}");
    }
    assert!(!overview.contains("worker"), "{overview}");
    assert!(overview.contains("130 interrupted"), "{overview}");
    assert!(space.pipe(&["--version"]).ok().out.starts_with("pipe "));
}

#[test]
fn a_wrong_word_on_the_command_line_is_exit_2_with_a_tip() {
    let space = Space::shipped();
    let said = space.pipe(&["rum", "r.toml"]).ends(2);
    assert!(said.err.contains("'run'"), "{}", said.err);
    let said = space.pipe(&["run"]).ends(2);
    assert!(said.err.contains("<RECIPE>"), "{}", said.err);
    space.pipe(&[]).ends(2);
}

#[test]
fn kinds_are_listed_and_each_has_a_page_with_an_example_that_checks() {
    let space = Space::shipped();
    let list = space.pipe(&["kinds"]).ok().out;
    assert!(!list.contains("toy-"), "{list}");
    let json = space.pipe(&["kinds", "--json"]).ok().json();
    let names: Vec<&str> = json["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| k["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"grpo") && names.len() >= 10, "{names:?}");
    for name in names {
        assert!(list.contains(name), "{list}");
        let page = space.pipe(&["kinds", name]).ok().out;
        assert!(page.starts_with(&format!("{name}: ")), "{page}");
        assert!(page.contains("\nExample\n"), "{page}");
        assert!(page.contains(&format!("kind = \"{name}\"")), "{page}");
        let json = space.pipe(&["kinds", name, "--json"]).ok().json();
        assert_eq!(json["name"], name);
        for param in json["params"].as_array().unwrap() {
            assert!(!param["doc"].as_str().unwrap().is_empty(), "{param}");
            assert!(page.contains(param["name"].as_str().unwrap()), "{page}");
        }
    }
    let said = space.pipe(&["kinds", "grop"]).ends(2);
    assert_eq!(said.err, "error: no kind `grop`; did you mean `grpo`?\n");
    let said = space.pipe(&["kinds", "nothing-like-it"]).ends(2);
    assert!(said.err.contains("`pipe kinds`"), "{}", said.err);
}

#[test]
fn data_sets_are_listed_and_each_has_a_page() {
    let space = Space::shipped();
    let list = space.pipe(&["kinds", "--datasets"]).ok().out;
    for set in pipe::data::schema::ALL {
        assert!(list.contains(set.name) && list.contains(set.summary));
        let page = space.pipe(&["kinds", &format!("dataset.{}", set.name)]);
        let page = page.ok().out;
        for column in set.columns {
            assert!(page.contains(&column.told()), "{}: {page}", set.name);
        }
        assert!(page.contains("Licence") && page.contains("Traps"), "{page}");
    }
    let json = space.pipe(&["kinds", "dataset.xstest", "--json"]);
    let json = json.ok().json();
    assert_eq!(json["columns"][0]["names"][0], "prompt");
    assert_eq!(json["published"][0]["rows"], 450);
    let wrong = space.pipe(&["kinds", "dataset.xtest"]);
    assert!(
        wrong.err.contains("did you mean `dataset.xstest`?"),
        "{}",
        wrong.err
    );
}

#[test]
fn scorers_are_listed() {
    let space = Space::shipped();
    let list = space.pipe(&["kinds", "--scorers"]).ok().out;
    for name in ["format", "safety", "task", "refusal"] {
        assert!(list.contains(name), "{list}");
    }
    let json = space.pipe(&["kinds", "--scorers", "--json"]).ok().json();
    assert!(json["scorers"][0]["summary"].is_string());
}

#[test]
fn completions_are_made_for_the_usual_shells() {
    let space = Space::shipped();
    for shell in ["bash", "zsh", "fish"] {
        let script = space.pipe(&["completions", shell]).ok().out;
        assert!(
            script.contains("pipe") && script.contains("export"),
            "{script}"
        );
    }
    space.pipe(&["completions", "cmd.exe"]).ends(2);
    let bash = space.pipe(&["completions", "bash"]).ok().out;
    for name in pipe::kinds::REGISTRY.names() {
        assert!(bash.contains(name), "{name} is completed");
    }
    assert!(!bash.contains("toy-"), "kinds of tests are not");
}

#[test]
fn man_pages_are_made_for_every_verb() {
    let space = Space::shipped();
    let page = space.pipe(&["man"]).ok().out;
    assert!(page.contains(".TH pipe 1"), "{page}");
    assert!(page.contains("130 interrupted"), "{page}");
    let said = space.pipe(&["man", "pages/man1"]).ok();
    assert_eq!(said.out, "");
    let names: Vec<String> = std::fs::read_dir(space.path("pages/man1"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    // The overview, and a verb's own verb.
    assert_eq!(names.len(), VERBS.len() + 2, "{names:?}");
    for verb in VERBS {
        let page = std::fs::read_to_string(space.path(&format!("pages/man1/pipe-{verb}.1")));
        let page = page.unwrap();
        assert!(page.contains(&format!("Example: pipe {verb}")), "{page}");
    }
    space.file("file", "");
    let said = space.pipe(&["man", "file"]).ends(2);
    assert_eq!(said.err, "error: file is not a folder\n");
}

#[test]
fn the_schema_is_printed_as_json() {
    let schema = Space::shipped().pipe(&["schema"]).ok().json();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(schema["definitions"]["grpo"]["properties"]["lr"].is_object());
}
