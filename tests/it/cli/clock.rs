//! A clock that jumps between two commands: no work is lost or done twice, and nothing is said that is absurd.

use super::{Said, Space};

const DAY: i64 = 86_400;

/// A node that dies at its seventh tick, the first time.
const RECIPE: &str = "[node.s]\nkind = \"toy-slow\"\nticks = 12\ntick_ms = 1\ndie_at = 7\ncount = \"COUNT\"\n\
                      [node.t]\nkind = \"toy-join\"\nin = { a = \"s\" }\n";

fn at(space: &Space, shift: i64, args: &[&str]) -> Said {
    let mut command = space.command(args);
    Said::new(
        command
            .env("PIPE_CLOCK_SHIFT", shift.to_string())
            .output()
            .unwrap(),
    )
}

#[test]
fn work_is_continued_whatever_the_clock_says() {
    let mut digests = vec![];
    for (before, after) in [(0, 0), (0, -400 * DAY), (400 * DAY, 0), (-1, 1)] {
        let space = Space::new();
        let count = space.path("count");
        space.file("r.toml", &RECIPE.replace("COUNT", count.to_str().unwrap()));
        at(&space, before, &["run", "r.toml"]).ends(1);
        at(&space, after, &["run", "r.toml"]).ok();
        let ticks = std::fs::read_to_string(&count).unwrap();
        // The last checkpoint was of tick 6; only the seventh is done again.
        let expected: Vec<String> = (1..=7).chain(7..=12).map(|t| t.to_string()).collect();
        assert_eq!(ticks.lines().collect::<Vec<_>>(), expected);
        let again = at(&space, before, &["run", "r.toml", "--json"]).ok();
        assert!(again.states().iter().all(|(_, state)| state == "hit"));
        for args in [
            ["ls"].as_slice(),
            &["ls", "--runs"],
            &["plan", "r.toml"],
            &["why", "r.toml", "t"],
        ] {
            at(&space, before.min(after) - DAY, args).ok();
        }
        digests.push(space.digest("t"));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
}
