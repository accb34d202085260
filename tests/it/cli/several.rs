//! Several recipes and the variants of a matrix in one command: one graph, every node once, told apart by name.

use super::{GREETING, Space, redact};

/// `r.toml` greets the world; this one somebody else.
const MOON: &str = "extends = \"r.toml\"\nname = \"moon\"\n[vars]\nwho = \"moon\"\n";

fn space() -> Space {
    let space = Space::with(GREETING);
    space.file("moon.toml", MOON);
    space
}

#[test]
fn what_recipes_share_is_one_node_and_runs_once() {
    let space = space();
    let said = space.pipe(&["check", "r.toml", "moon.toml"]).ok();
    assert_eq!(
        said.out,
        "ok: `greeting` has 3 nodes\nok: `moon` has 3 nodes\ntogether 6 nodes, 5 of them distinct\n"
    );
    let plan = space.pipe(&["plan", "r.toml", "moon.toml"]).ok().out;
    for name in [
        "hello",
        "who@greeting",
        "who@moon",
        "both@greeting",
        "both@moon",
    ] {
        let named = |l: &&str| l.split_whitespace().nth(1) == Some(name);
        assert_eq!(plan.lines().filter(named).count(), 1, "{name}\n{plan}");
    }
    let run = space.pipe(&["run", "r.toml", "moon.toml"]).ok();
    assert!(run.out.contains("5 nodes: 5 ran; "), "{}", run.out);
    let shared = redact(&run.out, space.dir.path());
    assert!(
        shared.contains("1 of 6 nodes in 2 variants are shared (saved T)"),
        "{shared}"
    );
    // Alone, each is all hits, and its records carry its own names.
    for recipe in ["r.toml", "moon.toml"] {
        let again = space.pipe(&["run", recipe]).ok();
        assert!(again.out.contains("3 nodes: 3 hits"), "{}", again.out);
    }
    let records = space.pipe(&["ls", "--json"]).ok().json();
    let mut made: Vec<(String, String)> = records["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            let of = |field: &str| r["made_by"][field].as_str().unwrap().to_string();
            (of("node"), of("recipe"))
        })
        .collect();
    made.sort();
    let made: Vec<(&str, &str)> = made.iter().map(|(n, r)| (&**n, &**r)).collect();
    assert_eq!(
        made,
        [
            ("both", "greeting"),
            ("both", "moon"),
            ("hello", "greeting"),
            ("who", "greeting"),
            ("who", "moon"),
        ]
    );
}

#[test]
fn a_name_that_several_variants_have_is_all_of_them_for_only_and_an_error_for_one() {
    let space = space();
    let args = ["run", "r.toml", "--matrix", "who=sun,moon,mars"];
    let run = space
        .pipe(&[&args[..], &["--only", "who", "--json"]].concat())
        .ok();
    let states = run.json()["states"].as_array().unwrap().clone();
    let names: Vec<&str> = states.iter().map(|s| s["node"].as_str().unwrap()).collect();
    assert_eq!(names, ["who@who=sun", "who@who=moon", "who@who=mars"]);
    assert_eq!(
        run.json()["shared"]["nodes"],
        0,
        "`hello` is not in this run"
    );
    let all = space.pipe(&[&args[..], &["--json"]].concat()).ok().json();
    assert_eq!(
        all["shared"]["nodes"], 2,
        "`hello` would have been made twice more"
    );
    let one = ["show", "r.toml", "who@who=mars", "--matrix", "who=sun,mars"];
    assert!(space.pipe(&one).ok().out.contains("mars"));
    let several = ["show", "r.toml", "who", "--matrix", "who=sun,mars"];
    let said = space.pipe(&several).ends(2);
    assert_eq!(
        said.err,
        "error: `who` is 2 nodes here: `who@who=sun`, `who@who=mars`\n"
    );
}

#[test]
fn what_is_wrong_on_the_command_line_says_for_which_recipes() {
    let space = space();
    space.file(
        "bare.toml",
        "[node.w]\nkind = \"toy-write\"\ntext = \"t\"\n",
    );
    space.file(
        "other.toml",
        "[node.v]\nkind = \"toy-write\"\ntext = \"t\"\n",
    );
    space.file("bad.toml", "[node.v]\nkind = \"toy-wirte\"\n");
    let all = ["check", "bare.toml", "r.toml", "other.toml", "bad.toml"];
    let said = space
        .pipe(&[&all[..], &["--set", "vars.who=x"]].concat())
        .ends(2);
    let told = "unknown variable `who` in `bare.toml`, `other.toml`";
    assert!(said.err.contains(told), "{}", said.err);
    assert_eq!(said.err.matches("unknown variable").count(), 1);
    assert!(said.err.contains("toy-wirte"), "{}", said.err);
    let said = space.pipe(&["check", "bare.toml", "other.toml", "--set", "vars.who=x"]);
    let said = said.ends(2);
    assert!(
        said.err.contains("unknown variable `who`\n"),
        "{}",
        said.err
    );
}

#[test]
fn recipes_of_one_name_and_files_named_twice() {
    let space = space();
    space.file("copy.toml", GREETING);
    let said = space.pipe(&["check", "r.toml", "copy.toml"]).ends(2);
    assert!(
        said.err
            .contains("r.toml and copy.toml are both called `greeting`"),
        "{}",
        said.err
    );
    let twice = space.pipe(&["check", "r.toml", "./r.toml"]).ok();
    assert_eq!(twice.out, "ok: `greeting` has 3 nodes\n");
}

#[test]
fn a_node_is_known_by_the_name_that_it_has_beside_other_recipes() {
    let space = space();
    space.pipe(&["run", "r.toml", "-q", "--only", "hello"]).ok();
    let both = ["r.toml", "moon.toml", "--matrix", "who=a,b"];
    let plan = space.pipe(&[&["plan"], &both[..]].concat()).ok().out;
    for named in ["who@moon", "who@moon,who=a"] {
        let matrix: &[&str] = match named.contains(',') {
            true => &["--matrix", "who=a,b"],
            false => &[],
        };
        let args = [&["why", "moon.toml", named], matrix].concat();
        let said = space.pipe(&args).ok().out;
        assert!(said.contains(" runs:\n  never run\n"), "{said}\n{plan}");
    }
    // Of another recipe it is another node.
    let said = space.pipe(&["why", "moon.toml", "who@greeting"]).ends(2);
    assert!(said.err.contains("no node `who@greeting`"), "{}", said.err);
}
