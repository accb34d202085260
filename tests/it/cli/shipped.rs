//! What is installed is not what the tests run: it has no toy kinds, no place where it can be told to fail, and one clock.

use super::{Said, Space};
use std::process::Command;

const CHEAP: &str = "[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n";

/// Told to trace its places, to die at one of them, and that it is 800 days ago.
fn told(space: &Space, fault: &str) -> Command {
    let mut command = space.command(&["run", "r.toml"]);
    command
        .env("PIPE_FAULT", fault)
        .env("PIPE_FAULT_TRACE", space.path("trace"))
        .env("PIPE_CLOCK_SHIFT", (-800 * 86_400).to_string());
    command
}

/// In which its last run began.
fn year(space: &Space) -> u32 {
    let runs = std::fs::read_dir(space.path("cache/runs")).unwrap();
    let names = runs.map(|run| run.unwrap().file_name().into_string().unwrap());
    names.max().unwrap()[..4].parse().unwrap()
}

#[test]
fn what_is_installed_cannot_be_told_to_fail() {
    let space = Space::shipped();
    space.file("r.toml", CHEAP);
    Said::new(told(&space, "run-made=kill").output().unwrap()).ok();
    assert!(!space.path("trace").exists(), "no place was traced");
    let now = year(&space);

    // The program of the tests is told all that, and so are its workers.
    let space = Space::new();
    space.file("r.toml", CHEAP);
    let ended = told(&space, "run-made=kill").output().unwrap();
    assert_eq!(ended.status.code(), None, "it died of a signal");
    let status = told(&space, "").output().unwrap().status;
    assert!(status.success());
    assert!(year(&space) + 2 <= now, "{} and {now}", year(&space));
    let trace = std::fs::read_to_string(space.path("trace")).unwrap();
    for place in ["run-made", "object-synced", "committed"] {
        assert!(trace.lines().any(|line| line == place), "{place}: {trace}");
    }
}

#[test]
fn what_is_installed_has_no_toys_and_knows_no_orders() {
    let space = Space::shipped();
    space.file("r.toml", "[node.w]\nkind = \"toy-write\"\ntext = \"t\"\n");
    let said = space.pipe(&["check", "r.toml"]).ends(2);
    assert!(said.err.contains("toy-write"), "{}", said.err);
    let holds = |program: &std::path::Path, word: &str| {
        let bytes = std::fs::read(program).unwrap();
        let first = word.as_bytes()[0];
        let mut starts = (0..bytes.len()).filter(|at| bytes[*at] == first);
        starts.any(|at| bytes[at..].starts_with(word.as_bytes()))
    };
    for word in ["PIPE_FAULT", "PIPE_CLOCK_SHIFT", "toy-slow"] {
        assert!(!holds(&space.program, word), "{word}");
        assert!(holds(&Space::new().program, word), "{word}");
    }
}
