//! Tests that lack something of this machine say so, whatever the harness shows of their output, and the last line of the
//! suite counts them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

/// By what is missing: the tests that lack it.
type Skipped = BTreeMap<String, BTreeSet<String>>;

static SKIPPED: Mutex<Skipped> = Mutex::new(Skipped::new());

fn skipped() -> MutexGuard<'static, Skipped> {
    SKIPPED.lock().unwrap_or_else(|p| p.into_inner())
}

/// Called by a test that cannot check what its name says, or not all of it, for want of `missing`.
pub fn skip(missing: &str) {
    // The harness names the thread of a test after it, where it starts one.
    let test = std::thread::current().name().unwrap_or("main").to_string();
    // Not `eprintln!`, of which the harness shows nothing where a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: no {missing}");
    let mut skipped = skipped();
    if skipped.is_empty() {
        // SAFETY: `count` is a function without arguments that may run at any time.
        assert_eq!(unsafe { libc::atexit(count) }, 0);
    }
    skipped.entry(missing.into()).or_default().insert(test);
}

/// After the last line of the harness.
extern "C" fn count() {
    let skipped = skipped();
    let tests: BTreeSet<&String> = skipped.values().flatten().collect();
    let causes = skipped
        .iter()
        .map(|(missing, tests)| format!("{} no {missing}", tests.len()));
    let causes: Vec<String> = causes.collect();
    let (n, causes) = (tests.len(), causes.join("; "));
    let _ = writeln!(
        std::io::stderr(),
        "of these, skipped or checked in part: {n} ({causes})\n"
    );
}

const PROBE: &str = "PIPE_TEST_OF_SKIPPING";

#[test]
fn a_test_that_skips() {
    if std::env::var_os(PROBE).is_some() {
        skip("moon");
        skip("sun");
    }
}

#[test]
fn what_is_skipped_is_told_and_counted_at_the_end() {
    let ran = |probe: bool| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        // Two threads, so that a test has one of its own.
        command.args(["skipped::a_test_that_skips", "--exact", "--test-threads=2"]);
        if probe {
            command.env(PROBE, "1");
        }
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let test = "skipped::a_test_that_skips";
    assert_eq!(
        ran(true),
        format!(
            "skipped: {test}: no moon\nskipped: {test}: no sun\n\
             of these, skipped or checked in part: 1 (1 no moon; 1 no sun)\n\n"
        )
    );
    assert_eq!(ran(false), "");
}
