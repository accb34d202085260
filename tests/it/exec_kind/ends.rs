//! How programs end: by themselves, well or not, in time or not; with the engine asked to stop, or killed; and that nothing of
//! theirs lives on.

use super::{lives, pipe, refused, rows_after, study, wait_until};
use pipe::engine::events::event::State;
use pipe::engine::kind::failure::Class;
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

#[test]
fn an_exit_status_is_told_with_the_last_words_of_stderr() {
    let script = "echo out; echo first >&2; echo 'ValueError: bad' >&2; exit 3";
    let ran = study().try_run(&rows_after(script, ""));
    assert_eq!(
        ran.failure("it"),
        "`sh` ended with exit status 3: ValueError: bad"
    );
    let State::Failed { tail, class, .. } = ran.state("it") else {
        panic!("it failed")
    };
    let mut lines: Vec<&str> = tail.lines().collect();
    lines.sort();
    assert_eq!(lines, ["ValueError: bad", "first", "out"]);
    assert_eq!(*class, Class::Error);
    let ran = study().try_run(&rows_after("kill -KILL $$", ""));
    assert_eq!(ran.failure("it"), "`sh` was killed by SIGKILL");
    let ran = study().try_run(&rows_after("echo CUDA out of memory >&2; exit 1", ""));
    assert!(matches!(
        ran.state("it"),
        State::Failed {
            class: Class::OutOfMemory,
            ..
        }
    ));
}

#[test]
fn exit_status_75_asks_for_another_try() {
    let study = study();
    let tries = study.dir.path().join("tries");
    let script = "echo x >> '{values.tries}'; test $(wc -l < '{values.tries}') -ge 2 || exit 75";
    let recipe = rows_after(script, &format!("values.tries = '{}'", tries.display()));
    let ran = study.run_with(
        &recipe,
        |s| {
            s.retries.most = 1;
            s.retries.pause = Duration::from_millis(1);
        },
        |_| {},
    );
    assert!(matches!(ran.state("it"), State::Done { .. }));
    assert_eq!(std::fs::read_to_string(tries).unwrap().lines().count(), 2);
}

#[test]
fn a_program_is_stopped_when_its_time_is_up() {
    let study = study();
    let pid = study.dir.path().join("pid");
    let script = "sleep 60 & echo $! > '{values.pid}'; wait";
    let lines = format!("values.pid = '{}'\ntimeout_seconds = 0.3", pid.display());
    let since = Instant::now();
    let failure = study.try_run(&rows_after(script, &lines)).failure("it");
    assert_eq!(failure, "`sh` was stopped after `timeout_seconds` = 0.3");
    assert!(since.elapsed() < Duration::from_secs(10));
    assert!(!lives(&pid));
}

#[test]
fn what_a_program_leaves_running_is_ended_before_its_outputs_are_read() {
    let study = study();
    let pid = study.dir.path().join("pid");
    let script = "setsid sleep 60 & echo $! > '{values.pid}'";
    let since = Instant::now();
    study.run(&rows_after(
        script,
        &format!("values.pid = '{}'", pid.display()),
    ));
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "it did not wait for it"
    );
    assert!(!lives(&pid));
}

/// Counts to 40 in `{resume}`, and once it is asked to end, says so there after the tick that it is in. The shell itself writes a
/// tick: a program of its own would get the signal too.
const COUNTING: &str = r#"
trap 'asked=yes' TERM
echo $$ > '{values.pid}'
n=$(wc -l < "{resume}/ticks" 2>/dev/null || echo 0)
while [ $n -lt 40 ]; do
    if [ -n "$asked" ]; then echo asked >> "{resume}/asked"; exit 0; fi
    n=$((n + 1)); echo $n >> "{resume}/ticks"; echo $n >> '{values.ticks}'; echo "PIPE step=$n of=40 loss=$n"; sleep 0.05
done
"#;

#[test]
fn a_run_that_is_asked_to_stop_asks_its_program_and_the_next_one_goes_on() {
    for asked in [Signal::INT, Signal::TERM] {
        let study = study();
        let at = |name: &str| study.dir.path().join(name);
        let lines = format!(
            "values = {{ pid = '{}', ticks = '{}' }}",
            at("pid").display(),
            at("ticks").display()
        );
        let recipe =
            rows_after(COUNTING, &lines).replace("outputs = [", "outputs = [\"metrics\", ");
        study.file("r.toml", &recipe);
        let run = ["run", "r.toml", "--store", "store"];
        let engine = pipe(&study, &run).spawn().unwrap();
        let ticks = || {
            std::fs::read_to_string(at("ticks"))
                .unwrap_or_default()
                .lines()
                .count()
        };
        wait_until(|| ticks() >= 5);
        kill_process(Pid::from_child(&engine), asked).unwrap();
        let said = engine.wait_with_output().unwrap();
        let err = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(130), "{err}");
        assert!(!lives(&at("pid")));
        let stopped = ticks();
        assert!(stopped < 40, "it stopped early");
        let said = pipe(&study, &run).output().unwrap();
        assert!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
        assert_eq!(ticks(), 40, "no tick was done twice");
        // The curve is whole, whoever interrupted.
        let ran = study.run(&recipe);
        assert_eq!(ran.curve("it").len(), 40);
    }
}

#[test]
fn a_killed_engine_leaves_nothing_running_and_the_next_run_ends_well() {
    let study = study();
    let at = |name: &str| study.dir.path().join(name);
    let lines = format!(
        "values = {{ pid = '{}', ticks = '{}' }}",
        at("pid").display(),
        at("ticks").display()
    );
    study.file("r.toml", rows_after(COUNTING, &lines));
    let run = ["run", "r.toml", "--store", "store"];
    let mut engine = pipe(&study, &run).spawn().unwrap();
    let ticks = || {
        std::fs::read_to_string(at("ticks"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    wait_until(|| ticks() >= 3);
    engine.kill().unwrap();
    engine.wait().unwrap();
    wait_until(|| !lives(&at("pid")));
    let stopped = ticks();
    assert!(stopped < 40, "it ended early");
    let said = pipe(&study, &run).output().unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert_eq!(ticks(), 40, "no tick was done twice");
}

#[test]
fn a_program_that_does_not_exist_is_told_with_where_it_was_looked_for() {
    let study = study();
    study.file("bin/x", "");
    let recipe = "[node.it]\nkind = \"exec\"\ncommand = [\"no-such-program\"]\noutputs = [\"prompts\"]\npath = [\"bin\"]\n";
    let told = refused(&study, recipe);
    let folder = study.dir.path().join("bin");
    let words = format!(
        "there is no program `no-such-program` in {}, ",
        folder.display()
    );
    assert!(told.contains(&words), "{told}");
    let told = refused(&study, &recipe.replace("no-such-program", "./x"));
    assert!(
        told.contains("put the file into `files` and write `{file.x}`"),
        "{told}"
    );
}
