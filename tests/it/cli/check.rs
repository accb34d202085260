//! `check`: all errors at once, with place, for people and as JSON.

use super::{GREETING, Space};

const WRONG: &str = r#"
[node.hello]
kind = "world-promts"
text = "hello"

[node.who]
kind = "toy-write"
texd = "world"
text = 7

[node.both]
kind = "toy-join"
in = { a = "hallo", c = "who" }
"#;

#[test]
fn a_right_recipe_is_ok_and_its_nodes_are_counted() {
    let space = Space::with(GREETING);
    let said = space.pipe(&["check", "r.toml"]).ok();
    assert_eq!(said.out, "ok: `greeting` has 3 nodes\n");
    assert_eq!(said.err, "");
    let json = space.pipe(&["check", "r.toml", "--json"]).ok().json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["nodes"][2]["kind"], "toy-join");
    assert!(!space.path("cache").exists(), "check needs no store");
}

#[test]
fn every_error_is_said_at_once_with_line_and_caret() {
    let space = Space::with(WRONG);
    let said = space.pipe(&["check", "r.toml"]).ends(2);
    assert_eq!(said.out, "");
    for (place, message) in [
        ("r.toml:3:8", "unknown kind `world-promts`"),
        ("r.toml:8:1", "unknown parameter `texd`"),
        ("r.toml:9:8", "string"),
        ("r.toml:13:12", "hallo"),
        ("r.toml:13:", "`c`"),
    ] {
        let blocks = said.err.split("\n\n");
        let mut fitting = blocks.filter(|b| b.contains(place) && b.contains(message));
        let block = fitting.next();
        assert!(block.is_some(), "{place} {message} in\n{}", said.err);
        assert!(block.unwrap().contains("^"), "{}", block.unwrap());
    }
    assert!(said.err.contains("did you mean `world-prompts`?"));
    assert!(said.err.contains("did you mean `hello`?"));
    assert!(!said.err.contains('\u{1b}'), "stderr is no terminal");
}

#[test]
fn errors_as_json_have_file_line_and_column() {
    let space = Space::with(WRONG);
    let said = space.pipe(&["check", "r.toml", "--json"]).ends(2);
    let json = said.json();
    assert_eq!(json["ok"], false);
    let first = &json["diagnostics"][0];
    assert_eq!(first["file"], "r.toml");
    assert_eq!(
        (first["line"].as_u64(), first["column"].as_u64()),
        (Some(3), Some(8))
    );
    assert_eq!(first["level"], "error");
    assert_eq!(said.err, "", "the errors are told once");
}

#[test]
fn a_syntax_error_a_missing_file_and_a_cycle_are_told_with_their_place() {
    let space = Space::with("name = \"x\"\n[node.a\nkind = \"toy-write\"\n");
    let said = space.pipe(&["run", "r.toml"]).ends(2);
    assert!(said.err.contains("r.toml:2:"), "{}", said.err);

    let said = space.pipe(&["plan", "absent.toml"]).ends(2);
    assert!(said.err.contains("absent.toml"), "{}", said.err);
    assert!(said.err.contains("there is no such file"), "{}", said.err);

    let circle = "[node.a]\nkind = \"toy-join\"\nin = { a = \"b\" }\n[node.b]\nkind = \"toy-join\"\nin = { a = \"a\" }\n";
    space.file("circle.toml", circle);
    let said = space.pipe(&["check", "circle.toml"]).ends(2);
    assert!(said.err.contains("circle.toml:"), "{}", said.err);
    assert!(
        said.err.contains("need each other: a -> b (a) -> a (a)"),
        "{}",
        said.err
    );
}

#[test]
fn the_resolved_recipe_is_a_recipe_of_the_same_nodes() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    let resolved = space.pipe(&["check", "r.toml", "--resolved"]).ok().out;
    assert!(resolved.contains("text = \"world\""), "{resolved}");
    assert!(resolved.contains("repeat = 1"), "{resolved}");
    space.file("resolved.toml", &resolved);
    let said = space.pipe(&["run", "resolved.toml", "--json"]).ok();
    assert!(
        said.states().iter().all(|(_, s)| s == "hit"),
        "{}",
        said.out
    );
}

#[test]
fn an_unused_variable_is_a_warning_and_no_error() {
    let space = Space::new();
    let text = GREETING.replace("who = \"world\"", "who = \"world\"\nspare = 1");
    space.file("spare.toml", &text);
    let said = space.pipe(&["check", "spare.toml"]).ok();
    assert!(
        said.err.contains("warning: variable `spare` is never used"),
        "{}",
        said.err
    );
    assert!(said.err.contains("spare.toml:5:1"), "{}", said.err);
}

#[test]
fn a_recipe_in_another_folder_reads_paths_beside_itself() {
    let space = Space::new();
    space.file(
        "deep/er/r.toml",
        "[node.s]\nkind = \"toy-source\"\nfrom = \"../data.txt\"\n",
    );
    space.file("deep/data.txt", "from beside");
    space.file("data.txt", "from here");
    space.pipe(&["run", "deep/er/r.toml", "--quiet"]).ok();
    space.pipe(&["export", "deep/er/r.toml", "s", "out"]).ok();
    assert_eq!(
        std::fs::read_to_string(space.path("out/text.txt")).unwrap(),
        "from beside"
    );
    // A path on the command line begins where the command is given.
    space
        .pipe(&[
            "run",
            "deep/er/r.toml",
            "--quiet",
            "--set",
            "s.from=data.txt",
        ])
        .ok();
    let args = [
        "export",
        "deep/er/r.toml",
        "s",
        "out2",
        "--set",
        "s.from=data.txt",
    ];
    space.pipe(&args).ok();
    assert_eq!(
        std::fs::read_to_string(space.path("out2/text.txt")).unwrap(),
        "from here"
    );
}
