//! What a record keeps beside its key: how it came to be.

use super::Space;
use crate::skipped::skip;

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
