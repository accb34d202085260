//! What nests, and what names things: bounded, and an error beyond.

use crate::toys::REGISTRY;
use pipe::base::bounded;
use pipe::kinds::scorers::reward::Expr;
use pipe::recipe::{self, Overrides};

fn check(text: &str) -> Result<(), String> {
    let overrides = Overrides {
        cwd: std::env::temp_dir(),
        ..Overrides::default()
    };
    let read = recipe::from_text("r.toml", text, &overrides, &REGISTRY);
    read.map(drop).map_err(|diags| diags.render(false))
}

#[track_caller]
fn refused(text: &str, words: &str) {
    let told = check(text)
        .err()
        .unwrap_or_else(|| panic!("taken:\n{text}"));
    assert!(told.contains(words), "{words} is not in\n{told}");
}

#[test]
fn reward_expressions_do_not_go_deeper_than_a_stack() {
    let deep = |n: usize| format!("{}format{}", "(".repeat(n), ")".repeat(n));
    assert!(Expr::parse(&deep(60)).is_ok());
    for n in [100, 20_000] {
        let told = Expr::parse(&deep(n)).unwrap_err();
        assert!(
            told.contains("parentheses and signs within each other"),
            "{told}"
        );
    }
    for text in [
        "-".repeat(20_000) + "1",
        "min(".repeat(20_000),
        "max(1,".repeat(20_000),
    ] {
        let told = Expr::parse(&text).unwrap_err();
        assert!(told.contains("within each other"), "{told}");
    }
    // A long chain is a deep tree.
    assert!(Expr::parse(&vec!["1"; 500].join(" + ")).is_ok());
    let told = Expr::parse(&vec!["1"; 50_000].join(" + ")).unwrap_err();
    assert_eq!(told, "the expression has more than 1000 parts");
}

const NODE: &str = "[node.p]\nkind = \"world-prompts\"\n";

#[test]
fn recipes_that_nest_without_end_are_an_error() {
    let deep =
        |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for n in [200, 20_000] {
        for value in [deep("[", "]", n), deep("{ a = ", " }", n)] {
            assert!(check(&format!("[vars]\nv = {value}\n{NODE}")).is_err());
            assert!(check(&format!("{NODE}seed = {value}\n")).is_err());
        }
        let dotted = "a.".repeat(n) + "a = 1";
        assert!(check(&format!("[vars]\n{dotted}\n{NODE}")).is_err());
        let header = "a.".repeat(n) + "a";
        assert!(check(&format!("{NODE}[vars.{header}]\nb = 1\n")).is_err());
    }
}

#[test]
fn what_is_sent_along_nests_within_bounds() {
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let node = format!(
        "{NODE}[node.g]\nkind = \"generate\"\nin = {{ prompts = \"p.eval\" }}\nendpoint.model = \"m\"\nendpoint.url = \"http://localhost:1/v1\"\n\
         endpoint.extra_body = '{deep}'\n"
    );
    refused(&node, "`endpoint.extra_body` is no JSON");
}

#[test]
fn patterns_that_are_too_large_are_an_error() {
    for pattern in [
        "(".repeat(20_000) + &")".repeat(20_000),
        "(a{1000}){1000}".into(),
    ] {
        refused(
            &format!(
                "{NODE}[node.f]\nkind = \"filter\"\nin = {{ prompts = \"p.eval\" }}\nmatching = ['{pattern}']\n"
            ),
            "is no regular expression",
        );
    }
}

#[test]
fn axes_of_a_thousand_million_cells_are_not_made() {
    let axes: String = (0..9)
        .map(|i| format!("a{i} = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n"))
        .collect();
    let vars: String = (0..9).map(|i| format!("a{i} = 0\n")).collect();
    refused(
        &format!("[vars]\n{vars}[matrix]\nmax = 9000000000\n{axes}{NODE}"),
        "`[matrix]` makes more than 10000 combinations",
    );
}

#[test]
fn names_are_bounded_and_can_be_seen() {
    let long = "x".repeat(300);
    for (name, why) in [
        ("../../etc", "it cannot be the name of a file everywhere"),
        ("a/b", "it cannot be the name of a file everywhere"),
        ("..", "it cannot be the name of a file everywhere"),
        (
            "a\\u202Eb",
            "U+202E in it cannot be seen, or turns what is around it",
        ),
        ("a\\u200Bb", "U+200B in it cannot be seen"),
        ("a\\u0007b", "U+0007 in it cannot be seen"),
        ("a\\nb", "U+000A in it cannot be seen"),
        ("", "it is empty"),
        ("  ", "it is empty"),
        (long.as_str(), "it has 300 characters, more than 100"),
    ] {
        let told = format!("this cannot be a recipe's name: {why}");
        refused(&format!("name = \"{name}\"\n{NODE}"), &told);
    }
    for name in ["tars", "λ sweep, 3 seeds", "日本語", "a.b-c_d"] {
        assert_eq!(
            check(&format!("name = \"{name}\"\n{NODE}")),
            Ok(()),
            "{name}"
        );
    }
    let told = "this cannot be a node's name: it has 300 characters";
    refused(&NODE.replace("node.p", &format!("node.{long}")), told);
    let told = "this cannot be a variable's name: U+202E";
    refused(&format!("[vars]\n\"a\\u202E\" = 1\n{NODE}"), told);
    assert!(
        !bounded::is_name("a\u{202e}b"),
        "nor of a file of somebody else's"
    );
}

#[test]
fn recipes_do_not_extend_one_another_without_end() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..200 {
        let text = format!("extends = \"r{}.toml\"\n", i + 1);
        std::fs::write(folder.path().join(format!("r{i}.toml")), text).unwrap();
    }
    std::fs::write(folder.path().join("r200.toml"), NODE).unwrap();
    let load = |name: &str| {
        let overrides = Overrides {
            cwd: folder.path().into(),
            ..Overrides::default()
        };
        let read = recipe::load(name.as_ref(), &overrides, &REGISTRY);
        read.map(drop).map_err(|diags| diags.render(false))
    };
    let told = load("r0.toml").unwrap_err();
    assert!(
        told.contains("more than 100 recipes extend one another"),
        "{told}"
    );
    assert_eq!(load("r150.toml"), Ok(()));
}
