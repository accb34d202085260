//! Files that a recipe names and this machine may not have: on the hub's cache and elsewhere.

use super::Space;
use std::time::{Duration, Instant};

const RECIPE: &str = r#"
[node.model]
kind = "local-model"
path = "hf://o/m"

[node.data]
kind = "prompts-file"
path = "hf://datasets/o/d@v2/part/asks.csv"

[node.own]
kind = "prompts-file"
path = "own.csv"

[node.served]
kind = "generate"
in = { prompts = "data" }
endpoint.model = "who"
endpoint.url = "http://127.0.0.1:9/v1"
endpoint.key_env = "PIPE_TEST_KEY_THAT_NOBODY_SETS"
"#;

const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

/// A file of a snapshot, as the hub's clients lay it down: a link to a blob.
fn snapshot(space: &Space, commit: &str, text: &str) {
    let data = "hub/datasets--o--d";
    let blob = format!("{data}/blobs/{}", blake3::hash(text.as_bytes()).to_hex());
    let blob = space.file(&blob, text);
    let file = space.path(&format!("{data}/snapshots/{commit}/part/asks.csv"));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(blob, file).unwrap();
}

#[test]
fn all_that_is_missing_is_told_before_anything_runs() {
    let space = Space::with(RECIPE);
    let hub = space.path("hub");
    let own = space.path("own.csv");
    let said = space.pipe(&["check", "r.toml"]).ok();
    assert!(
        said.err.contains("warning: no file or folder `own.csv`"),
        "{}",
        said.err
    );
    let told = format!(
        "nodes that have to run need files that are not on this machine:\n  \
         `data`: no hf://datasets/o/d@v2/part/asks.csv (looked at {hub}/datasets--o--d/refs/v2); get it with `hf download o/d \
         part/asks.csv --repo-type dataset --revision v2`\n  \
         `model`: no hf://o/m (looked at {hub}/models--o--m/refs/main); get it with `hf download o/m`\n  \
         `own`: no {own}\n\
         nodes that have to run need environment variables that are not set here:\n  \
         `served`: PIPE_TEST_KEY_THAT_NOBODY_SETS\n",
        hub = hub.display(),
        own = own.display(),
    );
    let told = told.lines().collect::<Vec<_>>();
    let started = Instant::now();
    let said = space.pipe(&["run", "r.toml"]).ends(3);
    assert!(started.elapsed() < Duration::from_secs(2));
    for line in &told {
        assert!(said.err.contains(line), "{line}\nis not in\n{}", said.err);
    }
    assert!(said.err.ends_with("nothing was started\n"), "{}", said.err);
    assert!(!space.path("cache").exists(), "no run, so no store");

    let plan = space.pipe(&["plan", "r.toml", "--json"]).ok().json();
    let verdict = |node: &str| {
        let nodes = plan["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|n| n["node"] == node);
        node.unwrap()["verdict"].clone()
    };
    assert_eq!(verdict("data"), "needs");
    assert_eq!(verdict("own"), "needs");
    assert_eq!(verdict("served"), "maybe");
    let missing = &plan["missing_files"]["data"][0];
    assert_eq!(missing["param"], "path");
    assert_eq!(missing["written"], "hf://datasets/o/d@v2/part/asks.csv");
    space.file(
        "small.toml",
        "[node.p]\nkind = \"world-prompts\"\nsft = 4\nrl = 4\nvalidation = 4\neval = 8\n",
    );
    space.pipe(&["run", "-q", "small.toml"]).ok();
    let why = space.pipe(&["why", "r.toml", "model"]).ok();
    assert!(
        why.out.contains("`model` cannot run here:\n  no hf://o/m"),
        "{}",
        why.out
    );
}

#[test]
fn a_snapshot_is_read_from_the_cache_and_its_commit_is_kept() {
    let space = Space::with(RECIPE);
    let only = ["run", "r.toml", "--only", "data"];
    snapshot(&space, ONE, "prompt\nhello\n");
    space.file("hub/datasets--o--d/refs/v2", ONE);
    space.pipe(&only).ok();
    let shown = space.pipe(&["show", "r.toml", "data", "--provenance"]).ok();
    let line = format!("hf://datasets/o/d@v2/part/asks.csv was commit {ONE}");
    assert!(shown.out.contains(&line), "{}", shown.out);

    // Another commit with the same bytes is the same node; other bytes are another.
    snapshot(&space, TWO, "prompt\nhello\n");
    space.file("hub/datasets--o--d/refs/v2", TWO);
    let verdict = || {
        let plan = space
            .pipe(&["plan", "r.toml", "--only", "data", "--json"])
            .ok();
        plan.json()["nodes"][0]["verdict"].clone()
    };
    assert_eq!(verdict(), "hit");
    std::fs::remove_dir_all(space.path("hub/datasets--o--d/snapshots").join(TWO)).unwrap();
    assert_eq!(verdict(), "needs");
    snapshot(&space, TWO, "prompt\ngoodbye\n");
    assert_eq!(verdict(), "run");
}
