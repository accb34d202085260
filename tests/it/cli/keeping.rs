//! The verbs that care for the store: `gc`, `verify`, `pin`, `unpin`, `accept`, `adopt`, and what `ls`, `why`, `show` and `diff` say of it.

use super::{GREETING, Said, Space, redact};
use serde_json::Value;
use std::path::PathBuf;

fn made() -> Space {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "-q"]).ok();
    space
}

impl Space {
    /// The object of a node's text.
    fn object(&self, node: &str) -> PathBuf {
        let records = self.pipe(&["ls", "--json"]).ok().json();
        let mut found = records["records"].as_array().unwrap().iter().rev();
        let record = found.find(|r| r["made_by"]["node"] == node).expect(node);
        let key = record["key"].as_str().unwrap();
        let path = self.path(&format!("cache/actions/{}/{key}.json", &key[..2]));
        let record: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let digest = record["outputs"]["out"]["files"][0]["digest"]
            .as_str()
            .unwrap();
        self.path(&format!("cache/objects/{}/{digest}", &digest[..2]))
    }

    fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// The number of items of a tier in the answer of `gc --json`.
fn items(said: &Said, tier: &str) -> usize {
    let answer = said.json();
    let all = answer["items"].as_array().unwrap().iter();
    all.filter(|i| i["tier"] == tier).count()
}

#[test]
fn gc_says_what_it_would_remove_and_removes_it_when_told() {
    let space = made();
    let nothing = space.pipe(&["gc"]).ok().out;
    assert!(nothing.contains("nothing to remove\n"), "{nothing}");
    assert!(nothing.contains("the last runs of `greeting`"), "{nothing}");
    let would = space.pipe(&["gc", "--runs", "0"]).ok().out;
    for node in ["hello of greeting", "who of greeting", "both of greeting"] {
        assert!(would.contains(node), "{would}");
    }
    assert!(
        would.contains("21 B would go; `--apply` removes it"),
        "{would}"
    );
    assert!(space.object("both").exists());
    let json = space.pipe(&["gc", "--runs", "0", "--json"]).ok();
    assert_eq!(items(&json, "data"), 3);
    assert_eq!(json.json()["applied"], false);
    let did = space.pipe(&["gc", "--runs", "0", "--apply"]).ok().out;
    assert!(did.contains("removed 21 B"), "{did}");
    assert!(!space.object("both").exists());
    let list = space.pipe(&["ls"]).ok().out;
    let marked = list.lines().filter(|l| l.ends_with("  evicted")).count();
    assert_eq!(marked, 3, "{list}");
    let records = space.pipe(&["ls", "--json"]).ok().json();
    assert_eq!(records["records"][0]["evicted"]["outputs"][0], "out");
    space.pipe(&["verify", "--all"]).ok();
    assert!(
        space
            .pipe(&["gc", "--runs", "0"])
            .ok()
            .out
            .contains("nothing to remove\n")
    );
}

#[test]
fn what_was_evicted_is_made_again_when_it_is_asked_for() {
    let space = made();
    let before = space.digest("both");
    space.pipe(&["gc", "--runs", "0", "--apply"]).ok();
    space.pipe(&["run", "r.toml", "-q", "--only", "both"]).ok();
    assert!(space.object("both").exists());
    assert_eq!(space.digest("both"), before);
    let shown = space.pipe(&["show", "r.toml", "both"]).ok().out;
    assert!(shown.contains("\nhello world\n"), "{shown}");
}

#[test]
fn a_cap_is_kept_and_runs_come_under_it_by_themselves() {
    let space = made();
    let big = |n: u32| format!("node.hello.text={n}{}", "x".repeat(20_000));
    for n in 0..4 {
        space.pipe(&["run", "r.toml", "-q", "--set", &big(n)]).ok();
    }
    let held = space.pipe(&["gc", "--json"]).ok().json()["held_bytes"]
        .as_u64()
        .unwrap();
    let cap = format!("{}B", held - 10_000);
    let said = space
        .pipe(&["gc", "--cap", &cap, "--keep", "--runs", "9"])
        .ok()
        .out;
    assert!(said.contains("from now on"), "{said}");
    let settings = std::fs::read_to_string(space.path("cache/settings.toml")).unwrap();
    assert_eq!(settings, format!("cap = \"{cap}\"\n"));
    let idle = space
        .pipe(&["run", "r.toml", "--set", &big(3), "--json"])
        .ok()
        .json();
    assert!(
        idle["collected"].is_null(),
        "a run that made nothing makes no room"
    );
    let ran = space.pipe(&["run", "r.toml", "--set", &big(4)]).ok().out;
    assert!(ran.contains("the store was above its cap of"), "{ran}");
    assert!(ran.contains("hello of greeting"), "{ran}");
    assert!(space.object("both").exists(), "what the run made stays");
    let after = space
        .pipe(&["run", "r.toml", "--set", &big(4), "--json"])
        .ok();
    let states = after.states();
    assert!(states.iter().all(|(_, is)| is == "hit"), "{states:?}");
    space.pipe(&["gc", "--cap", "none", "--keep"]).ok();
    assert_eq!(
        std::fs::read_to_string(space.path("cache/settings.toml")).unwrap(),
        ""
    );
}

#[test]
fn gc_asks_for_sizes_and_ages_it_can_read() {
    let space = made();
    for (args, words) in [
        (&["--cap", "many"][..], "`--cap many` is not a size"),
        (&["--older-than", "3"], "`--older-than 3` is not an age"),
        (&["--keep"], "--cap"),
    ] {
        let said = space.pipe(&[&["gc"], args].concat()).ends(2);
        assert!(said.err.contains(words), "{}", said.err);
    }
    let said = space
        .pipe(&["gc", "--runs", "0", "--older-than", "1h", "--json"])
        .ok();
    assert_eq!(items(&said, "data"), 0);
    std::fs::write(space.path("cache/settings.toml"), "cap = 3").unwrap();
    let said = space.pipe(&["gc"]).ends(3);
    assert!(said.err.contains("settings.toml"), "{}", said.err);
}

#[test]
fn verify_finds_names_and_moves_what_is_bad() {
    let space = made();
    let well = space.pipe(&["verify", "--all"]).ok().out;
    assert!(well.ends_with(": all is well\n"), "{well}");
    // Of what was not read nobody can say that it is well.
    let part = space.pipe(&["verify", "--sample", "0"]).ok().out;
    assert!(part.contains(" blobs (0 read, 0 B)"), "{part}");
    assert!(
        part.ends_with(" blobs were not read to the byte: `--all` reads every one\n"),
        "{part}"
    );
    assert!(part.contains(": nothing is bad; "), "{part}");
    let object = space.object("who");
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[0] ^= 1;
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, bytes).unwrap();
    let found = space.pipe(&["verify", "--all"]).ends(1).out;
    let first = found.lines().next().unwrap();
    assert!(
        first.starts_with("object ") && first.ends_with("its bytes are not those of its name"),
        "{found}"
    );
    assert!(found.contains("touches `who` of `greeting`"), "{found}");
    assert!(
        found.contains("the next run that needs it makes `who` of `greeting` again"),
        "{found}"
    );
    assert_eq!(space.names_in("cache/quarantine").len(), 1);
    let json = space.pipe(&["verify", "--json"]).ends(1).json();
    assert_eq!(json["ok"], false);
    assert_eq!(json["bad"][0]["problem"], "it is missing");
    space.pipe(&["run", "r.toml", "-q", "--only", "who"]).ok();
    space.pipe(&["verify", "--all"]).ok();
    for share in ["5", "-1%", "half", "101%"] {
        let said = space
            .pipe(&["verify", &format!("--sample={share}")])
            .ends(2);
        assert!(said.err.contains("is not a share"), "{}", said.err);
    }
    space.pipe(&["verify", "--sample", "100%"]).ok();
}

#[test]
fn a_pin_keeps_its_artifacts_until_it_is_taken_back() {
    let space = made();
    let said = space.pipe(&[
        "pin", "r.toml", "both", "--name", "paper", "--note", "table 2",
    ]);
    assert_eq!(said.ok().out, "pinned 1 record as `paper`\n");
    let list = space.pipe(&["ls", "--pins"]).ok().out;
    let line = list.lines().nth(1).unwrap();
    assert!(
        line.starts_with("paper  r.toml") && line.ends_with("table 2"),
        "{list}"
    );
    let pins = space.pipe(&["ls", "--pins", "--json"]).ok().json();
    assert_eq!(pins["pins"][0]["nodes"][0]["node"], "both");
    let said = space.pipe(&["pin", "r.toml", "--name", "paper"]).ends(2);
    assert!(said.err.contains("there is a pin `paper`"), "{}", said.err);
    space.pipe(&["gc", "--runs", "0", "--apply"]).ok();
    assert!(space.object("both").exists() && !space.object("who").exists());
    let said = space.pipe(&["unpin", "papr"]).ends(2);
    assert_eq!(
        said.err,
        "error: there is no pin `papr`; did you mean `paper`?\n"
    );
    space.pipe(&["unpin", "paper"]).ok();
    space.pipe(&["gc", "--runs", "0", "--apply"]).ok();
    assert!(!space.object("both").exists());
}

#[test]
fn a_run_is_pinned_by_the_beginning_of_its_id() {
    let space = made();
    let run = space.names_in("cache/runs").remove(0);
    let said = space.pipe(&["pin", &run[..20], "--json"]).ok().json();
    assert_eq!(said["pin"]["name"], run.as_str());
    assert_eq!(said["pin"]["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(
        space.pipe(&["gc", "--runs", "0", "--json"]).ok().json()["items"],
        Value::Array(vec![])
    );
    let said = space.pipe(&["pin", "nothing"]).ends(2);
    assert!(
        said.err.contains("no run of the store begins with it"),
        "{}",
        said.err
    );
    let said = space.pipe(&["pin", &run, "bth", "--name", "x"]).ends(2);
    assert!(said.err.contains("did you mean `both`?"), "{}", said.err);
    let said = space.pipe(&["pin", "r.toml", "--name", "../x"]).ends(2);
    assert!(said.err.contains("a pin's name"), "{}", said.err);
    let other = ["pin", "r.toml", "--set", "vars.who=you"];
    let said = space.pipe(&other).ok().out;
    assert!(said.contains("not pinned: `who`, `both`"), "{said}");
    let none = ["pin", "r.toml", "who", "--set", "vars.who=you"];
    let said = space.pipe(&none).ends(2).err;
    let command = "pipe run r.toml --set vars.who=you --only who";
    assert_eq!(
        said,
        format!("error: there is no artifact to pin; `{command}` makes them\n")
    );
}

#[test]
fn an_accepted_node_is_a_hit_and_everybody_says_so() {
    let space = made();
    let set = ["--set", "node.hello.repeat=2"];
    let with = |args: &[&str]| space.pipe(&[args, &set[..]].concat());
    let accept = [
        "accept",
        "r.toml",
        "hello",
        "--reason",
        "only the log changes",
    ];
    let said = with(&accept).ok().out;
    assert!(said.contains("`hello` is accepted: key "), "{said}");
    assert!(said.contains("  parameter `repeat`: 1 -> 2\n"), "{said}");
    let plan = with(&["plan", "r.toml", "--json"]).ok().json();
    let verdicts: Vec<&str> = plan["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(
        verdicts,
        ["hit", "hit", "hit"],
        "the same bytes go on below"
    );
    let why = with(&["why", "r.toml", "hello"]).ok().out;
    assert!(
        why.contains("not made by running it: accepted: only the log changes"),
        "{why}"
    );
    let below = with(&["why", "r.toml", "both"]).ok().out;
    assert!(
        below.contains("it rests on `hello`, accepted: only the log changes"),
        "{below}"
    );
    let shown = with(&["show", "r.toml", "hello"]).ok().out;
    assert!(
        shown.contains("  accepted from ") && shown.contains("although parameter `repeat`: 1 -> 2"),
        "{shown}"
    );
    let list = space.pipe(&["ls"]).ok().out;
    assert_eq!(
        list.lines().filter(|l| l.ends_with("  accepted")).count(),
        1,
        "{list}"
    );
    let json = with(&["why", "r.toml", "both", "--json"]).ok().json();
    assert_eq!(json["rests_on"][0]["vouched"]["how"], "accepted");
    space.file(
        "two.toml",
        &GREETING.replace("text = \"hello\"", "text = \"hello\"\nrepeat = 2"),
    );
    let diff = space.pipe(&["diff", "r.toml", "two.toml"]).ends(1).out;
    assert!(
        diff.contains("hello was accepted: only the log changes"),
        "{diff}"
    );
    space.pipe(&["verify", "--all"]).ok();
    let said = with(&accept).ends(2);
    assert!(said.err.contains("`hello` is a hit"), "{}", said.err);
}

#[test]
fn what_cannot_be_accepted_is_refused_with_the_reason() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "-q", "--only", "who"]).ok();
    let accept = |args: &[&str]| {
        let said = space.pipe(&[&["accept", "r.toml"], args].concat());
        said.ends(2).err
    };
    let open = accept(&["both", "--reason", "r"]);
    assert!(
        open.contains("it depends on the bytes `hello` will give"),
        "{open}"
    );
    let empty = accept(&["who", "--reason", " "]);
    assert!(empty.contains("`--reason` has to say something"), "{empty}");
    let unknown = accept(&[
        "who",
        "--reason",
        "r",
        "--set",
        "vars.who=x",
        "--from",
        "feed",
    ]);
    assert!(
        unknown.contains("no record's key and no run begins with `feed`"),
        "{unknown}"
    );
    space.file("slow.toml", "[node.slow]\nkind = \"toy-slow\"\n");
    let said = space
        .pipe(&["accept", "slow.toml", "slow", "--reason", "r"])
        .ends(2);
    assert!(
        said.err.contains("no earlier record of `slow`"),
        "{}",
        said.err
    );
    let records = space.pipe(&["ls", "--json"]).ok().json();
    let key = records["records"][0]["key"].as_str().unwrap();
    let said = space
        .pipe(&[
            "accept",
            "slow.toml",
            "slow",
            "--reason",
            "r",
            "--from",
            &key[..10],
        ])
        .ends(2);
    assert!(said.err.contains("is of kind `toy-write`"), "{}", said.err);
    std::fs::remove_file(space.object("who")).unwrap();
    let lost = accept(&["who", "--reason", "r", "--set", "vars.who=x"]);
    assert!(lost.contains("is not whole"), "{lost}");
    assert_eq!(
        space.pipe(&["ls", "--json"]).ok().json()["records"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn accept_takes_the_record_it_is_told_to() {
    let space = Space::with(GREETING);
    for who in ["one", "two"] {
        space
            .pipe(&["run", "r.toml", "-q", "--set", &format!("vars.who={who}")])
            .ok();
    }
    let runs = space.names_in("cache/runs");
    let args = [
        "accept",
        "r.toml",
        "who",
        "--reason",
        "r",
        "--from",
        &runs[0],
        "--set",
        "vars.who=three",
    ];
    space.pipe(&args).ok();
    let shown = space
        .pipe(&["show", "r.toml", "who", "--set", "vars.who=three"])
        .ok()
        .out;
    assert!(shown.contains("\none\n"), "{shown}");
}

const ROW: &str =
    r#"{"id":"p","class":"harmful","prompt":"x","source":"s","category":"c","difficulty":1}"#;

#[test]
fn adopted_files_are_an_artifact_like_any_other() {
    let space = Space::with(GREETING);
    space.file("made/rows.jsonl", &format!("{ROW}\n"));
    space.file("made/text.txt", "elsewhere");
    let adopt = [
        "adopt",
        "r.toml",
        "hello",
        "made",
        "--reason",
        "made by hand",
    ];
    let said = space.pipe(&adopt).ok().out;
    assert!(said.contains("`hello` is adopted: key "), "{said}");
    assert!(said.contains("out/text.txt"), "{said}");
    assert!(space.names_in("cache/attempts").is_empty());
    space.pipe(&["run", "r.toml", "-q"]).ok();
    let shown = space.pipe(&["show", "r.toml", "both"]).ok().out;
    assert!(shown.contains("\nelsewhere world\n"), "{shown}");
    let shown = space.pipe(&["show", "r.toml", "hello"]).ok().out;
    assert!(
        shown.contains("adopted from `made`: made by hand"),
        "{shown}"
    );
    let below = space.pipe(&["why", "r.toml", "both"]).ok().out;
    assert!(
        below.contains("it rests on `hello`, adopted: made by hand"),
        "{below}"
    );
    assert!(space.pipe(&["ls"]).ok().out.contains("  adopted\n"));
    space.pipe(&["verify", "--all"]).ok();
    space.pipe(&["gc", "--runs", "0", "--apply"]).ok();
    assert!(space.object("hello").exists(), "it cannot be made again");
    assert!(!space.object("both").exists());
    std::fs::write(space.path("made/text.txt"), "changed").unwrap();
    let said = space.pipe(&adopt).ends(2);
    assert!(said.err.contains("`hello` is a hit"), "{}", said.err);
}

#[test]
fn what_is_no_artifact_is_not_adopted() {
    let space = Space::with(GREETING);
    space.file("good.jsonl", &format!("{ROW}\n"));
    space.file("bad.jsonl", "{\"id\": 3}\n");
    space.file("empty/.keep", "");
    space.file("linked/text.txt", "x");
    std::os::unix::fs::symlink("../good.jsonl", space.path("linked/rows.jsonl")).unwrap();
    std::os::unix::fs::symlink("good.jsonl", space.path("link.jsonl")).unwrap();
    space.pipe(&["run", "r.toml", "-q", "--only", "who"]).ok();
    for (path, words) in [
        ("nothing", "cannot read nothing"),
        ("bad.jsonl", "rows.jsonl: line 1"),
        ("empty", "rows.jsonl"),
        ("linked", "links are not followed"),
        ("link.jsonl", "is a link"),
        ("cache/objects", "is a part of the store, or holds it"),
        (".", "is a part of the store, or holds it"),
    ] {
        let said = space
            .pipe(&["adopt", "r.toml", "hello", path, "--reason", "r"])
            .ends(2);
        assert!(said.err.contains(words), "{path}: {}", said.err);
    }
    let other = [
        "adopt",
        "r.toml",
        "hello",
        "good.jsonl",
        "--reason",
        "r",
        "--output",
        "more=good.jsonl",
    ];
    let said = space.pipe(&other).ends(2);
    assert!(said.err.contains("delivers no `more`"), "{}", said.err);
    assert!(
        space.names_in("cache/attempts").is_empty(),
        "what was copied goes"
    );
    assert_eq!(
        space.pipe(&["ls", "--json"]).ok().json()["records"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    space
        .pipe(&["adopt", "r.toml", "hello", "good.jsonl", "--reason", "r"])
        .ok();
}

#[test]
fn a_model_folder_is_checked_before_it_is_adopted() {
    let space = Space::with(
        "[node.model]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 16\n",
    );
    space.pipe(&["run", "r.toml", "-q"]).ok();
    space.pipe(&["export", "r.toml", "model", "out"]).ok();
    let adopt = |folder: &str| {
        let set = ["--set", "node.model.seed=7"];
        space.pipe(
            &[
                &["adopt", "r.toml", "model", folder, "--reason", "r"],
                &set[..],
            ]
            .concat(),
        )
    };
    let weights = std::fs::read(space.path("out/model.safetensors")).unwrap();
    type Change<'a> = &'a dyn Fn(&PathBuf);
    let cases: [(&str, Change, &str); 4] = [
        (
            "no-config",
            &|dir| std::fs::remove_file(dir.join("config.json")).unwrap(),
            "it has no `config.json`",
        ),
        (
            "no-weights",
            &|dir| std::fs::remove_file(dir.join("model.safetensors")).unwrap(),
            "no `*.safetensors`",
        ),
        (
            "cut",
            &|dir| {
                std::fs::write(dir.join("model.safetensors"), &weights[..weights.len() - 4])
                    .unwrap()
            },
            "is cut short",
        ),
        (
            "header",
            &|dir| std::fs::write(dir.join("model.safetensors"), [255; 16]).unwrap(),
            "a header longer than the file",
        ),
    ];
    for (name, harm, words) in cases {
        let dir = space.path(name);
        std::fs::create_dir(&dir).unwrap();
        for entry in std::fs::read_dir(space.path("out")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
        }
        harm(&dir);
        let said = adopt(name).ends(2);
        assert!(said.err.contains(words), "{name}: {}", said.err);
    }
    adopt("out").ok();
}

#[test]
fn sizes_are_shown_by_record_kind_type_and_folder() {
    let space = made();
    let list = space.pipe(&["ls", "--size"]).ok().out;
    let text = redact(&list, space.dir.path());
    for line in ["kind size", "type size", "folder files size", "objects"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(
        list.contains("`pipe gc --cap none` would free 0 B"),
        "{list}"
    );
    let json = space.pipe(&["ls", "--size", "--json"]).ok().json();
    assert_eq!(json["types"]["prompts"], 21);
    assert_eq!(
        json["kinds"]["toy-join"].as_u64().map(|n| n >= 11),
        Some(true)
    );
    assert_eq!(json["records"].as_array().unwrap().len(), 3);
    let folders = json["folders"].as_array().unwrap().iter();
    let sum: u64 = folders.map(|f| f["bytes"].as_u64().unwrap()).sum();
    assert_eq!(json["bytes"], sum);
    // A node of the same text shares its blob.
    space
        .pipe(&["run", "r.toml", "-q", "--set", "node.who.weight=2.0"])
        .ok();
    let json = space.pipe(&["ls", "--size", "--json"]).ok().json();
    let records = json["records"].as_array().unwrap().iter();
    let shared = records.filter(|r| r["node"] == "who" && r["shared_bytes"].as_u64() >= Some(5));
    assert_eq!(shared.count(), 2);
    assert_eq!(json["types"]["prompts"], 21);
}
