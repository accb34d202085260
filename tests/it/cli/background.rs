//! Runs in the background: started, looked at, listened to, stopped; and runs that were cut off.

use super::{GREETING, Said, Space, lines, wait_until};
use pipe::engine::events::life;
use pipe::engine::store::Store;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;

fn slow(space: &Space, ticks: usize) -> std::path::PathBuf {
    let count = space.path("ticks");
    let recipe = format!(
        "[node.slow]\nkind = \"toy-slow\"\nticks = {ticks}\ntick_ms = 20\ncount = {:?}\n\
         [node.below]\nkind = \"toy-join\"\nin = {{ a = \"slow\" }}\n",
        count.to_str().unwrap()
    );
    space.file("r.toml", &recipe);
    count
}

fn status(space: &Space, run: &str) -> Value {
    let said = space.pipe(&["status", run, "--json"]).ok().json();
    said["runs"][0].clone()
}

fn alive(space: &Space, run: &str) -> bool {
    life::alive(&Store::open(&space.path("cache")).unwrap(), run)
}

fn detached(space: &Space) -> String {
    let said = space.pipe(&["run", "r.toml", "--detach"]).ok();
    assert_eq!(said.err, "");
    said.out.trim().to_string()
}

#[test]
fn a_detached_run_is_seen_stopped_and_gone_on_with() {
    let space = Space::new();
    let ticks = slow(&space, 4000);
    let run = detached(&space);
    assert!(
        alive(&space, &run),
        "it goes on after its starter has returned"
    );
    wait_until(|| lines(&ticks).len() >= 5);
    let seen = status(&space, &run);
    assert_eq!(
        (&seen["run"], &seen["state"]),
        (&run.clone().into(), &"running".into())
    );
    assert_eq!(
        (&seen["nodes"][0]["state"], &seen["nodes"][1]["state"]),
        (&"running".into(), &"waiting".into())
    );
    let page = space.pipe(&["status"]).ok().out;
    assert!(page.contains(&format!("run {run}: running, ")), "{page}");
    let stop = space.pipe(&["stop", &run[..run.len() - 1]]).ok().out;
    assert!(
        stop.starts_with(&format!("asked run {run} to stop")),
        "{stop}"
    );
    wait_until(|| !alive(&space, &run));
    assert_eq!(status(&space, &run)["state"], "interrupted");
    let stop = space.pipe(&["stop", &run]).ok().out;
    assert_eq!(stop, format!("run {run} does not run\n"));
    let kept = space.path("cache/runs").join(&run);
    let err = std::fs::read_to_string(kept.join("err.txt")).unwrap();
    assert!(err.contains("- slow  interrupted"), "{err}");
    let plan = space.pipe(&["plan", "r.toml"]).ok().out;
    assert!(plan.contains("RESUME"), "{plan}");
}

#[test]
fn what_is_wrong_with_a_detached_run_is_said_at_once() {
    let space = Space::with("[node.x]\nkind = \"toy-wrote\"\n");
    let said = space.pipe(&["run", "r.toml", "--detach"]).ends(2);
    assert!(
        said.err.contains("unknown kind `toy-wrote`"),
        "{}",
        said.err
    );
    assert!(
        !space.path("cache").exists(),
        "there is no run and no store"
    );
    let said = space.pipe(&["status"]).ends(3);
    assert!(said.err.contains("there is no store"), "{}", said.err);
}

/// As one in the foreground: nothing was started, so nothing is there.
#[test]
fn a_detached_run_that_is_refused_leaves_no_store() {
    let space = Space::with("[node.x]\nkind = \"toy-source\"\nfrom = \"absent.txt\"\n");
    let said = space.pipe(&["run", "r.toml", "--detach"]).ends(3);
    let told = space.pipe(&["run", "r.toml"]).ends(3);
    assert_eq!(said.err, told.err);
    assert!(said.err.contains("nothing was started"), "{}", said.err);
    assert!(!space.path("cache").exists());
}

/// Told once where the command was typed, and kept with the rest of what the run says.
#[test]
fn what_a_detached_run_says_before_it_begins_is_told_and_kept() {
    let text = "[vars]\nidle = 1\n[node.x]\nkind = \"toy-write\"\ntext = \"x\"\n";
    let space = Space::with(text);
    let said = space.pipe(&["run", "r.toml", "--detach"]).ok();
    let warning = "variable `idle` is never used";
    assert_eq!(said.err.matches(warning).count(), 1, "{}", said.err);
    let run = said.out.trim().to_string();
    wait_until(|| !alive(&space, &run));
    let kept = |name: &str| std::fs::read_to_string(space.path("cache/runs").join(&run).join(name));
    let err = kept("err.txt").unwrap();
    assert_eq!(err.matches(warning).count(), 1, "{err}");
    assert!(err.contains("+ x  done"), "{err}");
    // A run has ended when its nodes have; what it says of them comes after.
    wait_until(|| kept("out.txt").is_ok_and(|out| out.contains("1 node: 1 ran")));
}

#[test]
fn logs_follow_a_node_to_its_end_and_are_kept() {
    let space = Space::new();
    slow(&space, 30);
    let run = detached(&space);
    let followed = space.pipe(&["logs", &run, "slow", "--follow"]).ok().out;
    assert!(followed.contains("starting at 0 of 30 with "), "{followed}");
    assert_eq!(
        status(&space, &run)["nodes"][0]["state"],
        "done",
        "it follows to the end"
    );
    let later = space.pipe(&["logs", "slow"]).ok().out;
    assert_eq!(later, followed);
    let said = space.pipe(&["logs", "slwo"]).ends(2);
    assert!(said.err.contains("did you mean `slow`?"), "{}", said.err);
    // In a later run the node is a hit: whoever made it speaks.
    wait_until(|| !alive(&space, &run));
    space.pipe(&["run", "r.toml", "-q"]).ok();
    assert_eq!(space.pipe(&["logs", "last", "slow"]).ok().out, followed);
}

#[test]
fn a_silent_node_has_run_for_as_long_as_the_clock_says() {
    let space = Space::with(
        "[node.mute]\nkind = \"exec\"\ncommand = [\"sh\", \"-c\", \"sleep 600; touch {out.prompts}\"]\n\
         outputs = [\"prompts\"]\n",
    );
    let run = detached(&space);
    wait_until(|| status(&space, &run)["nodes"][0]["state"] == "running");
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let said = space.pipe(&["logs", "mute"]).ok().out;
    space.pipe(&["stop", &run]).ok();
    wait_until(|| !alive(&space, &run));
    let (ran, silent) = said
        .split_once(": it has run for ")
        .and_then(|(_, times)| times.trim_end().split_once(", silent for "))
        .expect(&said);
    for time in [ran, silent] {
        assert!(!time.ends_with(" ms"), "{said}");
    }
}

#[test]
fn a_node_that_said_nothing_is_told_how_it_stands() {
    let space = Space::with(
        "[node.prompts]\nkind = \"world-prompts\"\nsft = 2\nrl = 2\nvalidation = 1\neval = 1\n\
         [node.bad]\nkind = \"toy-fail\"\n[node.below]\nkind = \"toy-join\"\nin = { a = \"bad\" }\n",
    );
    space.pipe(&["run", "r.toml", "-q"]).ends(1);
    let said = space.pipe(&["logs", "prompts"]).ok().out;
    assert!(said.starts_with("`prompts` said nothing in run "), "{said}");
    assert!(said.contains(": it is done, in "), "{said}");
    assert!(
        said.ends_with("; `pipe show RECIPE prompts` has its metrics and curves\n"),
        "{said}"
    );
    let said = space.pipe(&["logs", "below"]).ok().out;
    assert!(
        said.ends_with(": it was skipped, as `bad` failed\n"),
        "{said}"
    );
    let json = space.pipe(&["logs", "below", "--json"]).ok().json();
    assert!(json["lines"].as_array().unwrap().is_empty());
}

#[test]
fn stderr_of_a_node_is_found_whether_it_failed_or_not() {
    let space = Space::with("[node.bad]\nkind = \"toy-fail\"\nhow = \"exit\"\n");
    space.pipe(&["run", "r.toml", "-q"]).ends(1);
    let said = space.pipe(&["logs", "bad"]).ok().out;
    assert!(
        said.contains("failed: the worker ended with exit status 3"),
        "{said}"
    );
    assert!(said.ends_with("last words\n"), "{said}");
    let json = space.pipe(&["logs", "bad", "--json"]).ok().json();
    let streams: Vec<&str> = json["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["stream"].as_str().unwrap())
        .collect();
    assert_eq!(streams, ["said", "stderr"]);
}

#[test]
fn a_journal_that_calls_another_folder_an_attempt_leads_nowhere() {
    let space = Space::with("[node.bad]\nkind = \"toy-fail\"\nhow = \"exit\"\n");
    space.pipe(&["run", "r.toml", "-q"]).ends(1);
    let run = status(&space, "last")["run"].as_str().unwrap().to_string();
    let path = space.path("cache/runs").join(run).join("events.jsonl");
    let events = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = events.split_once("\"attempt\":\"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    let at = |name: &str| {
        std::fs::write(&path, format!("{before}\"attempt\":\"{name}\"{after}")).unwrap();
        space.pipe(&["logs", "bad"]).ok().out
    };
    for folder in ["cache/attempts/inside", "outside"] {
        space.file(&format!("{folder}/logs/stderr.txt"), "of this folder\n");
    }
    assert!(
        at("inside").contains("of this folder\n"),
        "the place is right"
    );
    let outside = space.path("outside");
    for name in ["../../outside", outside.to_str().unwrap()] {
        assert!(!at(name).contains("of this folder"), "{name}");
    }
}

#[test]
fn a_run_whose_engine_was_killed_is_cut_off() {
    let space = Space::new();
    let ticks = slow(&space, 4000);
    let mut engine = space.command(&["run", "r.toml"]).spawn().unwrap();
    wait_until(|| lines(&ticks).len() >= 3);
    kill_process(Pid::from_child(&engine), Signal::KILL).unwrap();
    engine.wait().unwrap();
    let seen = status(&space, "last");
    assert_eq!(
        (&seen["state"], &seen["alive"]),
        (&"cut off".into(), &false.into())
    );
    assert_eq!(seen["nodes"][0]["state"], "cut off");
    assert_eq!(seen["nodes"][1]["state"], "not begun");
    assert!(seen["left_seconds"].is_null());
}

#[test]
fn a_damaged_journal_hides_no_run() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "-q"]).ok();
    space.pipe(&["run", "r.toml", "-q"]).ok();
    let run = |i: usize| {
        let json = space.pipe(&["ls", "--runs", "--json"]).ok().json();
        json["runs"][i].clone()
    };
    let path = |id: &str, file: &str| space.path("cache/runs").join(id).join(file);
    let id = run(0)["run"].as_str().unwrap().to_string();
    damage(&path(&id, "events.jsonl"));
    assert_eq!(run(0)["unreadable_lines"], 1);
    assert_eq!(run(1)["unreadable_lines"], 0);
    let page = space.pipe(&["status", &id]).ok().out;
    assert!(
        page.ends_with("1 line of its journal could not be read\n"),
        "{page}"
    );
    std::fs::write(path(&id, "run.json"), "garbage").unwrap();
    let list = space.pipe(&["ls", "--runs"]).ok().out;
    assert!(list.ends_with("1 run could not be read\n"), "{list}");
    assert_eq!(list.matches("done").count(), 1, "{list}");
    space.pipe(&["status"]).ok();
}

/// The first byte of the second line.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    bytes[second] ^= 0x80;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn failures_and_what_they_cost_are_named_at_the_end() {
    let space = Space::with(
        "[node.bad]\nkind = \"toy-fail\"\n[node.fine]\nkind = \"toy-write\"\ntext = \"f\"\n\
         [node.below]\nkind = \"toy-join\"\nin = { a = \"bad\" }\n[node.lower]\nkind = \"toy-join\"\nin = { a = \"below\" }\n",
    );
    let said = space.pipe(&["run", "r.toml", "--keep-going"]).ends(1);
    assert!(
        said.out
            .contains("skipped because `bad` failed: `below`, `lower`\n"),
        "{}",
        said.out
    );
    let told = (said.out + &said.err).matches("as asked").count();
    assert_eq!(told, 1, "a failure is told once");
    let said = space
        .pipe(&["run", "r.toml", "--fail-fast", "--keep-going"])
        .ends(2);
    assert!(said.err.contains("cannot be used with"), "{}", said.err);
    for (flag, wrong) in [
        ("--memory", "much"),
        ("--memory", "8XB"),
        ("--orphans", "forget"),
        ("--jobs", "0"),
    ] {
        space.pipe(&["run", "r.toml", flag, wrong]).ends(2);
    }
    let more = [
        "run",
        "r.toml",
        "--memory",
        "1.5GiB",
        "--jobs",
        "2",
        "--retries",
        "0",
        "--orphans",
        "wait",
    ];
    let said = Said::new(space.command(&more).output().unwrap()).ends(1);
    assert!(said.out.contains("1 failed, 2 skipped"), "{}", said.out);
}
