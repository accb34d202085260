//! Ctrl-C and `kill -9` of the engine: exit status, what is kept, and that the end is the same as undisturbed.

use super::{Said, Space, lines, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Child;

const TICKS: usize = 40;

fn space() -> Space {
    let space = Space::new();
    let ticks = space.path("ticks");
    let recipe = format!(
        "[node.slow]\nkind = \"toy-slow\"\nticks = {TICKS}\ntick_ms = 25\ncount = {:?}\n\
         [node.below]\nkind = \"toy-join\"\nin = {{ a = \"slow\" }}\n",
        ticks.to_str().unwrap()
    );
    space.file("r.toml", &recipe);
    space
}

fn undisturbed() -> String {
    let calm = space();
    calm.pipe(&["run", "r.toml", "--quiet"]).ok();
    calm.digest("below")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn an_interrupted_run_exits_130_and_the_next_one_goes_on() {
    for asked in [Signal::INT, Signal::TERM] {
        let space = space();
        let ticks = space.path("ticks");
        let engine = space.command(&["run", "r.toml"]).spawn().unwrap();
        wait_until(|| lines(&ticks).len() >= 5);
        signal(&engine, asked);
        let said = Said::new(engine.wait_with_output().unwrap()).ends(130);
        assert!(said.err.contains("- slow  interrupted"), "{}", said.err);
        let ended: Vec<&str> = said.err.lines().filter(|l| l.starts_with("- ")).collect();
        assert_eq!(ended.len(), 2, "{}", said.err);
        assert_eq!(ended[1], "- 1 node not begun");
        assert!(
            said.out.contains("2 nodes: 1 interrupted, 1 not begun; "),
            "{}",
            said.out
        );
        assert!(
            said.err.contains("the same command goes on"),
            "{}",
            said.err
        );
        let next = "next:\n  pipe run r.toml\n      goes on where it stopped\n";
        assert!(said.out.ends_with(next), "{}", said.out);
        let stopped_at = lines(&ticks).len();
        assert!(stopped_at < TICKS, "it stopped early");

        let plan = space.pipe(&["plan", "r.toml"]).ok().out;
        assert!(plan.contains("RESUME") && plan.contains(" %"), "{plan}");
        let runs = space.pipe(&["ls", "--runs"]).ok().out;
        assert!(runs.contains("interrupted"), "{runs}");
        let status = space.pipe(&["status", "last"]).ok().out;
        assert!(
            status.contains("; 0 of 2 nodes done, 1 interrupted, 1 not begun; "),
            "{status}"
        );
        let line = status.lines().find(|line| line.starts_with("below "));
        assert!(line.unwrap().contains(" not begun"), "{status}");
        let json = space.pipe(&["status", "last", "--json"]).ok().json();
        let state = |n: usize| json["runs"][0]["nodes"][n]["state"].clone();
        assert_eq!(
            (state(0), state(1)),
            ("interrupted".into(), "not begun".into())
        );
        assert!(
            status.contains(" % saved, the next run goes on"),
            "{status}"
        );

        let said = space.pipe(&["run", "r.toml"]).ok();
        assert!(said.err.contains("goes on at "), "{}", said.err);
        let expected: Vec<String> = (1..=TICKS).map(|t| t.to_string()).collect();
        assert_eq!(lines(&ticks), expected, "no tick was done twice");
        assert_eq!(space.digest("below"), undisturbed());
    }
}

#[test]
fn a_killed_engine_loses_nothing_and_ends_in_the_same_bytes() {
    let space = space();
    let ticks = space.path("ticks");
    for target in [4, 11] {
        let mut engine = space.command(&["run", "r.toml"]).spawn().unwrap();
        wait_until(|| lines(&ticks).len() >= target);
        engine.kill().unwrap();
        engine.wait().unwrap();
    }
    let runs = space.pipe(&["ls", "--runs"]).ok().out;
    assert_eq!(runs.matches("killed").count(), 2, "{runs}");
    space.pipe(&["run", "r.toml"]).ok();
    assert!(lines(&ticks).len() < 2 * TICKS, "it did not begin again");
    assert_eq!(space.digest("below"), undisturbed());
}

#[test]
fn a_killed_worker_is_a_failure_with_a_cause_and_the_next_run_goes_on() {
    let space = space();
    let text = std::fs::read_to_string(space.path("r.toml")).unwrap();
    space.file(
        "r.toml",
        &text.replace("ticks = 40", "ticks = 40\ndie_at = 9"),
    );
    let said = space.pipe(&["run", "r.toml", "--retries", "0"]).ends(1);
    assert!(said.err.contains("x slow  failed: "), "{}", said.err);
    assert!(
        said.err.contains("SIGKILL") || said.err.contains("killed"),
        "{}",
        said.err
    );
    let said = space.pipe(&["run", "r.toml"]).ok();
    assert!(said.err.contains("goes on at 20 %"), "{}", said.err);
    assert_eq!(space.digest("below"), undisturbed());
}

/// What did not end took its time too.
#[test]
fn the_longest_of_an_interrupted_run_is_the_one_that_was_interrupted() {
    let space = space();
    let slow = std::fs::read_to_string(space.path("r.toml")).unwrap();
    let slow = slow.replace(&format!("ticks = {TICKS}"), "ticks = 4000");
    // On so many threads these run beside it.
    let quick = |n| format!("[node.n{n}]\nkind = \"toy-write\"\ntext = \"{n}\"\n");
    let recipe: String = (0..4).map(quick).collect();
    space.file("r.toml", &(recipe + &slow));
    let ticks = space.path("ticks");
    let engine = space
        .command(&["run", "r.toml", "--threads", "16"])
        .spawn()
        .unwrap();
    wait_until(|| lines(&ticks).len() >= 200);
    signal(&engine, Signal::INT);
    let said = Said::new(engine.wait_with_output().unwrap()).ends(130);
    let line = said.out.lines().find(|l| l.starts_with("longest: `slow` "));
    let told = line.is_some_and(|l| l.contains(" (interrupted), "));
    assert!(told, "{}", said.out);
}
