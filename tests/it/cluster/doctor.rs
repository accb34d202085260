//! What is found out about a folder: by two sides that see the same, and by one that is told of what broken file systems do.

use pipe::engine::system::probe::{self, Examined};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn doctor(args: &[&str]) -> (Option<i32>, String) {
    let said = Command::new(crate::study::program())
        .arg("doctor")
        .args(args)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    (said.status.code(), String::from_utf8(said.stdout).unwrap())
}

#[test]
fn a_folder_of_this_machine_does_all_that_is_needed_and_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("other-name");
    let folder = dir.path().join("shared");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let (here, there) = (folder.to_str().unwrap(), link.to_str().unwrap());
    let (code, out) = doctor(&[here, there, "--variable", "HOME", "--json"]);
    assert_eq!(code, Some(0), "{out}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let holds: Vec<&str> = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["holds"] == true)
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    for name in [
        "visible",
        "flock",
        "record-lock",
        "link",
        "create",
        "rename",
        "clock",
        "version",
        "variables",
    ] {
        assert!(holds.contains(&name), "{name}: {told:#}");
    }
    assert_eq!(
        (
            &told["usable"],
            &told["locks"],
            &told["one_machine"],
            &told["may_not"]
        ),
        (&true.into(), &Value::Null, &true.into(), &json!([]))
    );
    assert_eq!(told["there"]["variables"], json!(["HOME"]));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn two_folders_that_are_not_the_same_are_told_apart() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let said = Command::new(crate::study::program())
        .arg("doctor")
        .args([a.path(), b.path()])
        .output()
        .unwrap();
    let err = String::from_utf8(said.stderr).unwrap();
    assert!(err.contains("are not the same folder"), "{err}");
    assert_eq!(said.status.code(), Some(3));
}

#[test]
fn a_store_that_is_not_there_yet_is_looked_for_where_it_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("not/yet");
    let (code, out) = doctor(&["--store", store.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("both sides are this machine"), "{out}");
    // What one machine does says nothing of two.
    assert!(!out.contains("locks ="), "{out}");
    assert!(!store.exists());
}

/// What is concluded where the other side answers so.
fn told(answer: fn(&Value) -> Value) -> Examined {
    told_by("another", answer)
}

fn told_by(boot: &str, answer: fn(&Value) -> Value) -> Examined {
    let boot = boot.to_string();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_path_buf();
    let other = std::thread::spawn(move || {
        for number in 0.. {
            let question = read(&folder, &format!("question-{number}.json"));
            let reply = match question["what"].as_str().unwrap() {
                "who" => json!({
                    "host": "n7", "boot": boot, "version": "0.0.1", "now_ms": 0, "cpus": 8, "memory": 1, "gpus": 4,
                    "free": 1, "filesystem": "lustre", "variables": [],
                }),
                _ => answer(&question),
            };
            let draft = folder.join("draft");
            std::fs::write(&draft, reply.to_string()).unwrap();
            std::fs::rename(&draft, folder.join(format!("reply-{number}.json"))).unwrap();
            if question["what"] == "end" {
                break;
            }
        }
    });
    let patience = |waited: Duration| {
        anyhow::ensure!(waited < Duration::from_secs(20), "silence");
        Ok(())
    };
    let names = ["HF_TOKEN".to_string()];
    let examined = probe::examine(dir.path(), "9.9.9", &names, &patience).unwrap();
    other.join().unwrap();
    examined
}

fn read(folder: &Path, name: &str) -> Value {
    let since = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(folder.join(name)) {
            return serde_json::from_str(&text).unwrap();
        }
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "{name} never came"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn holds(examined: &Examined, name: &str) -> Option<bool> {
    let found = examined.findings.iter().find(|f| f.name == name);
    found
        .unwrap_or_else(|| panic!("{name}: {examined:?}"))
        .holds
}

#[test]
fn where_both_had_a_lock_claims_are_links_and_gc_is_refused() {
    let examined = told(|question| match question["what"].as_str().unwrap() {
        "try" | "hold" => true.into(),
        "race" => json!([]),
        "read" => json!({ "whole": 9, "absent": 0, "torn": 0 }),
        _ => Value::Null,
    });
    assert_eq!(holds(&examined, "flock"), Some(false));
    assert_eq!(holds(&examined, "record-lock"), Some(false));
    assert_eq!(holds(&examined, "link"), Some(true));
    assert_eq!(
        (examined.usable, examined.locks, examined.alone()),
        (true, Some("link"), false)
    );
    let may_not = examined.may_not.join("\n");
    for said in [
        "`pipe gc --apply` is refused",
        "each would pay",
        "the same pipe",
        "the clocks differ",
    ] {
        assert!(may_not.contains(said), "{said}: {may_not}");
    }
    let unset = examined
        .findings
        .iter()
        .find(|f| f.name == "variables")
        .unwrap();
    assert_eq!(unset.told, "not set there: HF_TOKEN");
}

#[test]
fn locks_that_exclude_nobody_on_one_machine_are_none_for_two() {
    let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let examined = told_by(own.trim(), |question| {
        match question["what"].as_str().unwrap() {
            "try" | "hold" => true.into(),
            "race" => json!([]),
            "read" => json!({ "whole": 9, "absent": 0, "torn": 0 }),
            _ => Value::Null,
        }
    });
    assert_eq!((examined.alone(), examined.locks), (true, Some("link")));
}

#[test]
fn where_a_name_has_two_winners_or_a_file_is_torn_no_store_may_lie() {
    let examined = told(|question| match question["what"].as_str().unwrap() {
        "try" => false.into(),
        "hold" => true.into(),
        // The first and the last name, which the side that asks had as well.
        "race" => (0..400).collect::<Vec<_>>().into(),
        "read" => json!({ "whole": 9, "absent": 2, "torn": 1 }),
        _ => Value::Null,
    });
    assert_eq!(holds(&examined, "link"), Some(false));
    assert_eq!(holds(&examined, "rename"), Some(false));
    assert!(!examined.usable);
    let torn = examined
        .findings
        .iter()
        .find(|f| f.name == "rename")
        .unwrap();
    assert_eq!(
        torn.told,
        "a file that is replaced was read 9 times whole, 2 times absent, 1 times torn"
    );
    assert!(
        examined.may_not[0].starts_with("no store may lie here"),
        "{:?}",
        examined.may_not
    );
}
