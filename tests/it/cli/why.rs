//! `why`, reason by reason, and what things cost: what a plan expects, what was paid, what a hit saves.

use super::{Space, redact};
use serde_json::Value;

/// `w` and `v`, and `j` over both, and `k` over that.
const CHAIN: &str = "name = \"chain\"\n[vars]\ntext = \"one\"\n[node.w]\nkind = \"toy-write\"\ntext = \"${text}\"\n\
                     [node.v]\nkind = \"toy-write\"\ntext = \"v\"\n\
                     [node.j]\nkind = \"toy-join\"\nin = { a = \"w\", b = \"v\" }\n\
                     [node.k]\nkind = \"toy-join\"\nin = { a = \"j\" }\n";

fn made() -> Space {
    let space = Space::with(CHAIN);
    space.pipe(&["run", "r.toml", "-q"]).ok();
    space
}

fn record(space: &Space, node: &str) -> (std::path::PathBuf, Value) {
    let list = space.pipe(&["ls", "--json"]).ok().json();
    let found = list["records"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["made_by"]["node"] == node);
    let key = found.unwrap()["key"].as_str().unwrap();
    let path = space.path(&format!("cache/actions/{}/{key}.json", &key[..2]));
    let text = std::fs::read_to_string(&path).unwrap();
    (path, serde_json::from_str(&text).unwrap())
}

/// Another node of the same kind says nothing of the time and the money of one that never ran.
#[test]
fn a_plan_sums_what_is_known_and_counts_what_is_not() {
    let node = |name: &str, seed: u32| {
        format!(
            "[node.{name}]\nkind = \"toy-slow\"\nticks = 4\ntick_dollars = 0.5\nseed = {seed}\n"
        )
    };
    let space = Space::with(&node("mine", 0));
    space.pipe(&["run", "r.toml", "-q"]).ok();
    space.file("r.toml", &(node("mine", 1) + &node("stranger", 2)));
    let plan = space.pipe(&["plan", "r.toml"]).ok().out;
    assert!(plan.contains("2 to run, expected "), "{plan}");
    assert!(plan.contains(", $2.00 and 1 of unknown length\n"), "{plan}");
}

#[test]
fn a_hit_says_who_made_it_when_from_what_and_what_it_saves() {
    let space = made();
    let hit = space.pipe(&["why", "r.toml", "j"]).ok().out;
    assert_eq!(
        redact(&hit, space.dir.path()),
        "`j` is a hit: key #\n  made T ago by node `j` of `chain`; a hit saves T\n  from w.out on `a`: #\n  from v.out on `b`: #"
    );
    let json = space.pipe(&["why", "r.toml", "j", "--json"]).ok().json();
    assert_eq!(json["planned"]["verdict"], "hit");
    assert_eq!(json["record"]["made_by"]["recipe"], "chain");
    assert_eq!(json["record"]["inputs"]["a"], space.digest("w"));
}

#[test]
fn a_changed_input_is_followed_to_its_root() {
    let space = made();
    let set = ["--set", "vars.text=two"];
    let old = space.digest("w");
    space
        .pipe(&[&["run", "r.toml", "-q", "--only", "w"], &set[..]].concat())
        .ok();
    let why = space
        .pipe(&[&["why", "r.toml", "j"], &set[..]].concat())
        .ok()
        .out;
    let lines: Vec<&str> = why.lines().collect();
    assert_eq!(lines[0], "`j` runs:", "{why}");
    let changed = format!("  input `a` changed: {} -> ", &old[..12]);
    assert!(lines[1].starts_with(&changed), "{why}");
    assert!(
        lines[2].starts_with("compared with the record made "),
        "{why}"
    );
    assert_eq!(
        lines[3],
        "above it, `w` (the root): parameter `text`: \"one\" -> \"two\""
    );
    // What hangs below waits for it, and says so.
    let below = space
        .pipe(&[&["why", "r.toml", "k"], &set[..]].concat())
        .ok()
        .out;
    assert!(
        below.starts_with("`k` may run: that depends on the bytes `j` will give\n"),
        "{below}"
    );
    assert!(
        below.contains("above it, `j`: input `a` changed\n"),
        "{below}"
    );
}

#[test]
fn a_new_revision_of_the_kind_is_named() {
    let space = made();
    let (path, mut record) = record(&space, "w");
    // As an older binary would have left it: another revision, and so another key.
    let manifest = record["manifest"].as_str().unwrap();
    assert!(manifest.contains("revision = 1\n"), "{manifest}");
    record["manifest"] = manifest.replace("revision = 1\n", "revision = 0\n").into();
    let key = "0f".repeat(32);
    record["key"] = key.clone().into();
    std::fs::remove_file(path).unwrap();
    space.file(&format!("cache/actions/0f/{key}.json"), &record.to_string());
    let why = space.pipe(&["why", "r.toml", "w"]).ok().out;
    assert!(
        why.starts_with("`w` runs:\n  the kind's revision: 0 -> 1\n"),
        "{why}"
    );
    let plan = space.pipe(&["plan", "r.toml"]).ok().out;
    assert!(plan.contains("the kind's revision: 0 -> 1"), "{plan}");
}

#[test]
fn an_artifact_that_is_gone_is_named() {
    let space = made();
    let (_, record) = record(&space, "w");
    let digest = record["outputs"]["out"]["files"][0]["digest"]
        .as_str()
        .unwrap();
    std::fs::remove_file(space.path(&format!("cache/objects/{}/{digest}", &digest[..2]))).unwrap();
    let why = space.pipe(&["why", "r.toml", "w"]).ok().out;
    assert!(
        why.starts_with("`w` runs:\n  its artifact is gone or damaged: `out/text.txt`\n"),
        "{why}"
    );
}

#[test]
fn a_forced_node_is_explained_as_the_run_would_see_it() {
    let space = made();
    let why = space.pipe(&["why", "r.toml", "w", "--fresh", "w"]).ok().out;
    assert!(why.starts_with("`w` runs:\n  forced by --fresh\n"), "{why}");
    let below = space.pipe(&["why", "r.toml", "k", "--fresh", "w"]).ok().out;
    assert!(below.starts_with("`k` may run"), "{below}");
    assert!(
        below.contains("above it, `w` (the root): forced by --fresh\n"),
        "{below}"
    );
    space.pipe(&["why", "r.toml", "w", "--fresh", "ww"]).ends(2);
}

/// Ten ticks of half a dollar each.
fn paid(seed: u32, extra: &str) -> String {
    format!(
        "[node.slow]\nkind = \"toy-slow\"\nticks = 10\ntick_ms = 1\ntick_dollars = 0.5\nseed = {seed}\n{extra}\n\
         [node.below]\nkind = \"toy-join\"\nin = {{ a = \"slow\" }}\n"
    )
}

#[test]
fn money_is_kept_over_attempts_and_expected_for_what_is_left() {
    let space = Space::with(&paid(1, ""));
    let unknown = space.pipe(&["plan", "r.toml"]).ok().out;
    assert!(!unknown.contains('$'), "{unknown}");
    let ran = space.pipe(&["run", "r.toml"]).ok().out;
    assert!(ran.contains(", $5.00 in all\n"), "{ran}");
    let ran = space.pipe(&["show", "r.toml"]).ok().out;
    let costs = |out: &str, node: &str| {
        let line = out.lines().find(|l| l.starts_with(node)).unwrap();
        line.split_whitespace().last().unwrap().to_string()
    };
    assert!(ran.contains(" paid\n"), "{ran}");
    assert_eq!(
        (costs(&ran, "slow"), costs(&ran, "below")),
        ("$5.00".into(), "$0".into()),
        "{ran}"
    );
    let again = space.pipe(&["run", "r.toml"]).ok().out;
    assert!(
        again.contains("2 hits (saved ") && again.contains(", $5.00)"),
        "{again}"
    );
    let hit = space.pipe(&["why", "r.toml", "slow"]).ok().out;
    assert!(
        hit.contains("a hit saves ") && hit.contains(", $5.00\n"),
        "{hit}"
    );

    space.file("r.toml", &paid(2, "die_at = 5"));
    let before = space.pipe(&["plan", "r.toml"]).ok().out;
    assert!(
        before.contains("$5.00  parameter `seed`: 1 -> 2"),
        "{before}"
    );
    assert!(
        before.contains("2 to run or decide, expected ") && before.contains(", $5.00\n"),
        "{before}"
    );
    space
        .pipe(&["run", "r.toml", "-q", "--retries", "0"])
        .ends(1);
    // It died in its fifth tick and goes on from the checkpoint after the fourth.
    let plan = space.pipe(&["plan", "r.toml"]).ok().out;
    let line = plan.lines().find(|l| l.contains("slow")).unwrap();
    assert!(line.starts_with("RESUME 40 %"), "{plan}");
    assert!(
        line.contains("$3.00  parameter `seed`: 1 -> 2; an attempt did not end"),
        "{plan}"
    );
    let json = space.pipe(&["plan", "r.toml", "--json"]).ok().json();
    assert_eq!(json["nodes"][0]["expected_dollars"], 3.0);
    let whole = json["nodes"][1]["expected_dollars"].as_f64();
    assert_eq!(whole, Some(0.0), "what costs nothing is known to");
    let why = space.pipe(&["why", "r.toml", "slow"]).ok().out;
    assert!(
        why.starts_with(
            "`slow` goes on at 40 %, an attempt did not end:\n  parameter `seed`: 1 -> 2\n"
        ),
        "{why}"
    );

    // Five ticks of the first attempt and six of the second were paid, these six in this run.
    let ran = space.pipe(&["run", "r.toml"]).ok().out;
    assert!(ran.contains(", $3.00 in all\n"), "{ran}");
    let ran = space.pipe(&["show", "r.toml"]).ok().out;
    assert_eq!(costs(&ran, "slow"), "$5.50", "{ran}");
    let shown = space.pipe(&["show", "r.toml", "slow"]).ok().out;
    assert!(shown.contains(", $5.50 (cpu"), "{shown}");
    let json = space
        .pipe(&["show", "r.toml", "slow", "--json"])
        .ok()
        .json();
    assert_eq!(json["cost"]["dollars"], 5.5);
    let json = space
        .pipe(&["show", "r.toml", "below", "--json"])
        .ok()
        .json();
    assert!(
        json["cost"].get("dollars").is_none(),
        "nothing paid is nothing written"
    );
}
