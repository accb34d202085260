//! What a program sees: its files, its parameters, its environment and no other; and what is in its key.

use super::{node, pipe, prompt, refused, rows_after, study};
use crate::study::Study;
use serde_json::{Value, json};
use std::path::Path;

/// A value that must be found nowhere.
const SECRET: &str = "7f3c-not-to-be-seen";

#[test]
fn the_environment_is_an_allow_list() {
    let study = study();
    let seen = study.dir.path().join("seen");
    let lines = format!(
        "values.seen = '{}'\nenv = {{ MINE = \"{{threads}} of them\" }}",
        seen.display()
    );
    study.file(
        "r.toml",
        rows_after("env > '{values.seen}'; pwd > '{values.seen}.cwd'", &lines),
    );
    let mut command = pipe(
        &study,
        &["run", "r.toml", "--store", "store", "--threads", "2"],
    );
    let said = command
        .env("SOME_TOKEN", SECRET)
        .env("USER", "someone")
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let text = std::fs::read_to_string(&seen).unwrap();
    let all: Vec<(&str, &str)> = text.lines().filter_map(|l| l.split_once('=')).collect();
    let of_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    let machine = [
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    let mut names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    names.retain(|n| !of_shell.contains(n) && !machine.contains(n));
    names.sort();
    let expected = [
        "HOME",
        "LANG",
        "LC_ALL",
        "MINE",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PIPE_ATTEMPT",
        "PIPE_JOB",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHASHSEED",
        "PYTHONUNBUFFERED",
        "RAYON_NUM_THREADS",
        "TMPDIR",
        "TZ",
    ];
    assert_eq!(names, expected);
    let value = |name: &str| all.iter().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!(value("MINE"), "2 of them");
    let attempt = Path::new(value("PIPE_ATTEMPT"));
    let cwd = std::fs::read_to_string(study.dir.path().join("seen.cwd")).unwrap();
    for place in [value("HOME"), value("TMPDIR"), cwd.trim()] {
        assert!(Path::new(place).starts_with(attempt), "{place}");
    }
}

#[test]
fn a_secret_that_is_handed_on_is_seen_by_the_program_and_written_nowhere() {
    let study = study();
    let told = study.dir.path().join("told");
    let script = "printf '%s' \"$SOME_TOKEN\" > '{values.told}'; echo \"token $SOME_TOKEN\"; echo \"$SOME_TOKEN!\" >&2\n\
                  echo \"3/4 $SOME_TOKEN\"; echo \"{{\\\"step\\\": 1, \\\"$SOME_TOKEN\\\": 2}}\"";
    let lines = format!(
        "values.told = '{}'\npass_env = [\"SOME_TOKEN\"]",
        told.display()
    );
    study.file("r.toml", rows_after(script, &lines));
    let run = ["run", "r.toml", "--store", "store"];
    let said = pipe(&study, &run)
        .env("SOME_TOKEN", SECRET)
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert_eq!(
        std::fs::read_to_string(told).unwrap(),
        SECRET,
        "the program knew it"
    );
    let shown = [said.stdout, said.stderr].concat();
    assert!(!String::from_utf8_lossy(&shown).contains(SECRET));
    let logs = pipe(&study, &["logs", "it", "--store", "store"])
        .output()
        .unwrap();
    let logs = String::from_utf8(logs.stdout).unwrap();
    assert!(
        logs.contains("token [SOME_TOKEN]") && logs.contains("[SOME_TOKEN]!"),
        "{logs}"
    );
    let holds = holding(&study.store(), SECRET);
    assert_eq!(holds, Vec::<String>::new());

    // Nor does it get into an artifact.
    let mut leak = rows_after("true", "pass_env = [\"SOME_TOKEN\"]");
    leak = leak.replace("cp '{file.0}'", "sed \"s/p a/$SOME_TOKEN/\" '{file.0}' >");
    study.file("r.toml", &leak);
    let said = pipe(&study, &run)
        .env("SOME_TOKEN", SECRET)
        .output()
        .unwrap();
    let err = String::from_utf8(said.stderr).unwrap();
    assert!(err.contains("holds the value of `SOME_TOKEN`"), "{err}");
    assert_eq!(holding(&study.store(), SECRET), Vec::<String>::new());
}

/// Files below a folder that have these words.
fn holding(folder: &Path, words: &str) -> Vec<String> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, words));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(words.len()).any(|w| w == words.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_variable_that_is_not_set_is_told_before_anything_runs() {
    let study = study();
    study.file(
        "r.toml",
        rows_after("", "pass_env = [\"PIPE_TEST_NOT_SET\"]"),
    );
    let said = pipe(&study, &["run", "r.toml", "--store", "store"])
        .output()
        .unwrap();
    let err = String::from_utf8(said.stderr).unwrap();
    assert!(!said.status.success());
    assert!(
        err.contains("PIPE_TEST_NOT_SET") && !err.contains("> it"),
        "{err}"
    );
}

#[test]
fn files_are_copies_side_by_side_and_what_was_not_declared_is_not_there() {
    let study = study();
    study.file("lib/helper.sh", "echo helped");
    study.file("lib/secret.sh", "echo undeclared");
    study.file("conf/deep/a.txt", "deep");
    let script = ". \"$(dirname {file.helper.sh})/helper.sh\"; test ! -e \"$(dirname {file.1})/secret.sh\" && cat {file.conf}/deep/a.txt";
    let lines = "files = [\"rows.jsonl\", \"lib/helper.sh\", \"conf\"]\noutputs = [\"prompts\"]";
    let ran = study.run(&node(
        &format!("{script} && cp {{file.0}} {{out.prompts}}"),
        lines,
    ));
    let logs = &ran.record("it").logs;
    assert!(
        logs.iter().any(|blob| blob.path == "stderr.txt"),
        "{logs:?}"
    );
}

#[test]
fn a_program_is_told_everything_in_one_file() {
    let study = study();
    let told = study.dir.path().join("told.json");
    let lines = format!(
        "in = {{ prompts-2 = \"other\" }}\nvalues = {{ lr = 1e-3, layers = [1, 2], name = \"x\", deep = {{ on = true }}, out = '{}' }}",
        told.display()
    );
    let other =
        "[node.other]\nkind = \"world-prompts\"\nsft = 2\nrl = 2\nvalidation = 2\neval = 2\n";
    let script = "cmp \"$PIPE_JOB\" {job} && cp {job} '{values.out}' && test '{values.lr} {values.layers} {values.deep.on}' = '0.001 [1,2] true'\n\
                  python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))[\"layers\"] == [1, 2]' {values}";
    let lines = lines.replace("\"other\"", "\"other.eval\"");
    study.run(&(other.to_string() + &rows_after(&format!("set -e\n{script}"), &lines)));
    let job: Value = serde_json::from_str(&std::fs::read_to_string(told).unwrap()).unwrap();
    assert_eq!(job["values"]["layers"], json!([1, 2]));
    assert_eq!(job["values"]["deep"], json!({ "on": true }));
    assert!(
        job["inputs"]["prompts-2"]
            .as_str()
            .unwrap()
            .ends_with("/in/prompts-2/rows.jsonl")
    );
    assert!(
        job["outputs"]["prompts"]
            .as_str()
            .unwrap()
            .ends_with("/rows.jsonl")
    );
    assert!(job["files"]["rows.jsonl"].is_string());
    assert_eq!(job["resume"], Value::Null);
}

#[test]
fn the_key_holds_what_files_contain_and_not_where_they_lie() {
    let study = study();
    let key = |recipe: &str| study.run(recipe).record("it").key;
    let here = rows_after("", "");
    let first = key(&here);
    study.file("moved/rows.jsonl", prompt("a") + &prompt("b"));
    assert_eq!(
        key(&here.replace("\"rows.jsonl\"", "\"moved/rows.jsonl\"")),
        first
    );
    let changed = [
        rows_after("", "values.x = 1"),
        rows_after("", "values.x = 2"),
        rows_after("", "values.x = 2.0"),
        rows_after("", "env.X = \"1\""),
        rows_after("", "version = \"2\""),
        rows_after(":", ""),
    ];
    let mut keys: Vec<_> = changed.iter().map(|recipe| key(recipe)).collect();
    keys.push(first.clone());
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), changed.len() + 1, "each is another node");
    for same in [
        "timeout_seconds = 60.0",
        "threads = 1",
        "gpus = \"\"",
        "path = [\"moved\"]",
    ] {
        assert_eq!(key(&rows_after("", same)), first, "{same}");
    }
    study.file("rows.jsonl", prompt("a") + &prompt("c"));
    assert_ne!(key(&here), first);
}

/// A list as CUDA reads one: nothing behind the first that is no device, parts of a GPU are of one.
#[test]
fn devices_that_are_named_are_what_a_program_waits_for() {
    let study = Study::new();
    study.file("rows.jsonl", prompt("a"));
    let plain = study.graph(&rows_after("", ""));
    assert_eq!(plain.nodes()[0].needs().gpus, 0);
    for (gpus, needed) in [
        ("", 0),
        ("0", 1),
        ("0,1", 2),
        ("1, 1", 1),
        ("0,-1,2", 1),
        ("-1", 0),
        ("GPU-8932f937,GPU-d3ab1b0f", 2),
        ("MIG-1b0f,MIG-8932", 1),
    ] {
        let recipe = rows_after("", &format!("gpus = \"{gpus}\""));
        let graph = study.graph(&recipe);
        assert_eq!(graph.nodes()[0].needs().gpus, needed, "{gpus}");
        study.file("r.toml", &recipe);
        let said = pipe(&study, &["plan", "r.toml", "--json", "--store", "store"])
            .output()
            .unwrap();
        let plan: Value = serde_json::from_slice(&said.stdout).unwrap();
        let shown = &plan["nodes"][0]["gpus"];
        assert_eq!(shown.as_u64().unwrap_or_default(), needed as u64, "{plan}");
    }
    // More than any machine has is told by a plan, and refused by a run.
    let many: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let recipe = rows_after("", &format!("gpus = \"{}\"", many.join(",")));
    study.file("r.toml", &recipe);
    for (verb, ended) in [("plan", 0), ("run", 3)] {
        let said = pipe(&study, &[verb, "r.toml", "--store", "store"])
            .output()
            .unwrap();
        let err = String::from_utf8(said.stderr).unwrap();
        assert!(err.contains("nodes need more than the "), "{err}");
        assert!(err.contains("`it`: 500"), "{err}");
        assert_eq!(said.status.code(), Some(ended), "{err}");
    }
}

#[test]
fn an_interpreter_comes_from_the_environment_that_is_named() {
    let study = Study::new();
    study.file("rows.jsonl", prompt("a"));
    let python = study.file(
        "venv/bin/python",
        "#!/bin/sh\necho \"it is me: $VIRTUAL_ENV\"; cp \"$1\" \"$2\"\n",
    );
    let run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(python, run).unwrap();
    let recipe = "[node.it]\nkind = \"exec\"\ncommand = [\"{python}\", \"{file.0}\", \"{out.prompts}\"]\n\
                  files = [\"rows.jsonl\"]\noutputs = [\"prompts\"]\nvenv = \"venv\"\n";
    study.run(recipe);
    std::fs::remove_file(study.dir.path().join("venv/bin/python")).unwrap();
    study.file("rows.jsonl", prompt("b"));
    let told = refused(&study, recipe);
    assert!(
        told.contains("`venv` is no Python environment: there is no program "),
        "{told}"
    );
}
