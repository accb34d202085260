//! What `--json` prints has the members that `pipe help json` lists, verb by verb, with the version of their shape first.

use super::{GREETING, Said, Space};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// By section: member paths, and whether each is always there.
pub(super) fn documented() -> BTreeMap<String, Vec<(String, bool)>> {
    let text = Space::new().pipe(&["help", "json"]).ok().out;
    let mut sections: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_string();
        } else if let Some(rest) = line.strip_prefix("- `") {
            let name = rest.split('`').next().unwrap();
            let always = !name.ends_with('?');
            let path = name.trim_end_matches('?').to_string();
            sections
                .entry(section.clone())
                .or_default()
                .push((path, always));
        }
    }
    sections
}

/// The object under a path like `a[].b`, for every element of the lists on the way.
fn under<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    match path.split_once("[].") {
        None => vec![value],
        Some((list, rest)) => {
            let list = value[list]
                .as_array()
                .unwrap_or_else(|| panic!("{list} is a list"));
            list.iter().flat_map(|v| under(v, rest)).collect()
        }
    }
}

pub(super) fn hold(members: &[(String, bool)], value: &Value, what: &str) {
    let top = |path: &str| path.split("[]").next().unwrap().to_string();
    let listed: BTreeSet<String> = members.iter().map(|(path, _)| top(path)).collect();
    let object = value.as_object().unwrap();
    assert_eq!(
        object.keys().next().map(String::as_str),
        Some("schema"),
        "{what}"
    );
    assert_eq!(object["schema"], 1, "{what}");
    for key in object.keys().skip(1) {
        assert!(listed.contains(key), "{what}: `{key}` is not documented");
    }
    for (path, always) in members {
        let last = path.rsplit('.').next().unwrap();
        for holder in under(value, path) {
            let there = holder
                .as_object()
                .unwrap()
                .contains_key(last.trim_end_matches("[]"));
            assert!(there || !always, "{what}: `{path}` is missing in {holder}");
        }
    }
}

#[test]
fn every_verb_prints_the_documented_members() {
    let space = Space::with(GREETING);
    space.file("bad.toml", "[node.x]\nkind = \"toy-wrote\"\n");
    space.pipe(&["run", "r.toml"]).ok();
    let all = documented();
    let mut held = BTreeSet::new();
    let mut check = |section: &str, args: &[&str], code: i32| {
        let said = space.pipe(&[args, &["--json"]].concat()).ends(code);
        let members = all
            .get(section)
            .unwrap_or_else(|| panic!("{section} is documented"));
        hold(members, &said.json(), &args.join(" "));
        held.insert(section.to_string());
    };
    check("check", &["check", "r.toml"], 0);
    check("check", &["check", "bad.toml"], 2);
    check("plan", &["plan", "r.toml"], 0);
    check("run", &["run", "r.toml"], 0);
    check("run --detach", &["run", "r.toml", "--detach"], 0);
    check("status", &["status"], 0);
    check("status", &["status", "last"], 0);
    check("logs", &["logs", "hello"], 0);
    check("stop", &["stop", "last"], 0);
    check("why", &["why", "r.toml", "both"], 0);
    check("show", &["show", "r.toml"], 0);
    check("show NODE", &["show", "r.toml", "both"], 0);
    check("diff", &["diff", "r.toml", "r.toml"], 0);
    check("table", &["table", "r.toml"], 0);
    let crossed = [
        "table",
        "r.toml",
        "--spread=who",
        "--matrix",
        "who=sun,moon",
    ];
    check("table --spread", &crossed, 0);
    check("claims", &["claims", "r.toml"], 0);
    check("report", &["report", "r.toml"], 0);
    check("ls", &["ls"], 0);
    check("ls --runs", &["ls", "--runs"], 0);
    check("ls --pins", &["ls", "--pins"], 0);
    check("ls --size", &["ls", "--size"], 0);
    check("verify", &["verify"], 0);
    check("doctor", &["doctor"], 0);
    check("gc", &["gc"], 0);
    check("calls", &["calls"], 0);
    check("pin", &["pin", "r.toml", "--name", "kept"], 0);
    check("unpin", &["unpin", "kept"], 0);
    let changed = [
        "accept",
        "r.toml",
        "who",
        "--set",
        "vars.who=moon",
        "--reason",
        "same",
    ];
    check("accept", &changed, 0);
    check("export", &["export", "r.toml", "both", "there"], 0);
    check("fetch", &["fetch", "r.toml"], 0);
    let made = r#"{"b": [{"test_case": "do", "generation": "no"}]}"#;
    space.file("made.json", made);
    check("import", &["import", "made.json"], 0);
    check("kinds", &["kinds"], 0);
    check("kinds --scorers", &["kinds", "--scorers"], 0);
    check("kinds --datasets", &["kinds", "--datasets"], 0);
    check("kinds NAME", &["kinds", "mix"], 0);
    check("kinds NAME.PARAM", &["kinds", "grpo.judge"], 0);
    let remote = space.path("team");
    std::fs::create_dir(&remote).unwrap();
    space.file(
        "profiles/lab.toml",
        "executor = \"command\"\n[command]\nsubmit = \"true\"\nlook = \"true\"\ncancel = \"true\"\n",
    );
    let mut ben = space.command(&["keys", "new", "--name", "ben"]);
    ben.env("PIPE_CONFIG", space.path("ben"));
    let line = Said::new(ben.output().unwrap()).ok().out;
    let line = line.lines().next().unwrap().to_string();
    let mut check = |section: &str, args: &[&str]| {
        let mut command = space.command(&[args, &["--json"]].concat());
        command.env("PIPE_REMOTE", &remote);
        command.env("PIPE_PROFILES", space.path("profiles"));
        let said = Said::new(command.output().unwrap()).ends(0);
        hold(&all[section], &said.json(), &args.join(" "));
        held.insert(section.to_string());
    };
    check("profiles", &["profiles"]);
    check("profiles --check", &["profiles", "--check", "lab"]);
    check("keys new", &["keys", "new", "--name", "anna"]);
    check("keys show", &["keys", "show"]);
    check("keys list", &["keys", "list"]);
    check("keys trust", &["keys", "trust", line.trim()]);
    check("keys untrust", &["keys", "untrust", "ben"]);
    check("push", &["push", "r.toml"]);
    check("push --calls", &["push", "--calls"]);
    check("pull", &["pull", "r.toml"]);
    check("gc --remote", &["gc", "--remote"]);
    // Lines instead of one document, and two that need rows and files.
    let lines = space
        .pipe(&["logs", "hello", "--follow", "--json"])
        .ok()
        .out;
    assert!(!lines.is_empty());
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        hold(&all["logs --follow"], &value, "logs --follow");
    }
    let elsewhere = [
        "logs --follow",
        "run --until-settled",
        "show --rows",
        "adopt",
        "calls --list",
        "calls show",
    ]
    .map(String::from);
    held.extend(elsewhere);
    let sections: BTreeSet<String> = all.keys().cloned().collect();
    assert_eq!(held, sections, "every section is held by this test");
}
