//! The README's lists of scorers and of what is in a key are the binary's own. `PIPE_BLESS=1` writes it anew.

use super::Space;
use crate::skipped::skip;
use pipe::kinds::scorers;
use std::path::Path;

const END: &str = "<!-- end -->";

/// Holds a list of the README against what the binary prints, or writes it anew.
fn listed(command: &str, shown: impl Fn(&str) -> String) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let list = shown(&Space::shipped().pipe(&words).ok().out);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- pipe {command} -->\n");
    let (before, rest) = readme.split_once(&begin).expect("the list has a beginning");
    let (there, after) = rest.split_once(END).expect("the list has an end");
    if std::env::var_os("PIPE_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{list}{END}{after}")).unwrap();
        return list;
    }
    assert_eq!(
        there, list,
        "PIPE_BLESS=1 cargo test --release cli::keys -- --test-threads 1 writes it anew"
    );
    list
}

#[test]
fn the_readme_says_of_every_kind_what_is_in_its_key() {
    let table = listed("kinds --keys", str::to_string);
    assert!(table.contains("| grpo "), "{table}");
    assert!(!table.contains("toy-"), "{table}");
}

#[test]
fn the_readme_lists_every_scorer() {
    let list = listed("kinds --scorers", |out| format!("```text\n{out}```\n"));
    for scorer in scorers::ALL {
        assert!(list.contains(scorer.summary), "{}", scorer.name);
    }
}

#[test]
fn a_record_tells_how_it_came_to_be() {
    let space = Space::with("[node.w]\nkind = \"toy-write\"\ntext = \"t\"\n");
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        let identity = ["-c", "user.name=n", "-c", "user.email=e"];
        let output = git
            .args(identity)
            .args(args)
            .current_dir(space.path("."))
            .output();
        output.is_ok_and(|o| o.status.success())
    };
    let repository =
        git(&["init", "-q"]) && git(&["add", "r.toml"]) && git(&["commit", "-qm", "x"]);
    space.pipe(&["run", "r.toml"]).ok();
    let page = space
        .pipe(&["show", "r.toml", "w", "--provenance"])
        .ok()
        .out;
    for fact in [
        "binary",
        "processor",
        "threads",
        "wall time",
        "cpu time",
        "peak memory",
        "param text = \"t\"",
    ] {
        assert!(page.contains(fact), "{fact} in {page}");
    }
    let data = space
        .pipe(&["show", "r.toml", "w", "--provenance", "--json"])
        .ok()
        .json();
    let origin = &data["made_by"]["origin"];
    assert_eq!(origin["build"].as_str().unwrap().len(), 12);
    assert_eq!(data["cost"]["threads"], 1);
    if !repository {
        skip("`git` in PATH");
        return;
    }
    assert_eq!(origin["commit"].as_str().unwrap().len(), 40);
    assert_eq!(origin["dirty"], false);
    // A change of a tracked file is told; the key does not know.
    space.file("r.toml", "[node.w]\nkind = \"toy-write\"\ntext = \"u\"\n");
    space.pipe(&["run", "r.toml"]).ok();
    let data = space
        .pipe(&["show", "r.toml", "w", "--provenance", "--json"])
        .ok()
        .json();
    assert_eq!(data["made_by"]["origin"]["dirty"], true);
}
