//! Programs that a profile names, as a shell sees them.

use super::{order, profile, script};
use pipe::engine::run::scheduler::command::Command;
use pipe::engine::run::scheduler::{Cause, JobId, Look, Refusal, Scheduler};
use std::path::Path;
use std::time::{Duration, Instant};

/// A profile whose jobs are processes, and whose states are files in `jobs`.
fn lab(folder: &Path, submit: &str, more: &str) -> Command {
    let jobs = folder.join("jobs");
    std::fs::create_dir_all(&jobs).unwrap();
    let jobs = jobs.display();
    let text = format!(
        "executor = \"command\"\nsetup = [\"export GREETING='hello you'\"]\n[command]\nsubmit = '''{submit}'''\n\
         look = 'for j in {{jobs}}; do cat {jobs}/$j; done'\n\
         cancel = 'echo {{job}} cancelled >{jobs}/{{job}}'\n{more}"
    );
    let store = folder.join("store");
    Command::new(&profile(folder, &text), &store).unwrap()
}

fn id(job: &str) -> JobId {
    JobId(job.into())
}

#[test]
fn places_are_filled_in_as_the_shell_takes_them_and_the_last_line_is_the_id() {
    let dir = tempfile::tempdir().unwrap();
    let submit = "cd {folder}; echo warning; echo {name} {gpus} {cpus} {memory_mb} {hours} {minutes} {partition} >asked; \
                  sh {script} >said; echo 17.server";
    let lab = lab(dir.path(), submit, "");
    let order = order(dir.path(), "k-1");
    assert_eq!(lab.submit(&order).unwrap(), id("17.server"));
    let file = |name| std::fs::read_to_string(order.folder.join(name)).unwrap();
    assert_eq!(file("asked"), "k-1 1 2 3072 1 31 big\n");
    assert_eq!(file("said"), "it's k-1\n");
    let text = std::fs::read_to_string(script(&order)).unwrap();
    let expected = "#!/bin/sh\nexport GREETING='hello you'\nexec echo 'it'\\''s' k-1\n";
    assert_eq!(text, expected);
}

#[test]
fn states_are_ours_or_those_that_the_profile_explains() {
    let dir = tempfile::tempdir().unwrap();
    let states = "[command.states]\nR = \"running\"\nF = \"failed\"\nE = \"evicted\"\n";
    let lab = lab(dir.path(), "true", states);
    let said = [
        ("1", "R node7"),
        ("2", "F 3"),
        ("3", "E preempted by root"),
        ("4", "waiting for Godot"),
        ("5", "H"),
        ("6", "whole"),
    ];
    for (job, state) in said {
        std::fs::write(
            dir.path().join("jobs").join(job),
            format!("{job} {state}\n"),
        )
        .unwrap();
    }
    let jobs: Vec<JobId> = ["1", "2", "3", "4", "5", "6", "7"].map(id).to_vec();
    // `cat` ends badly for the seventh, of which nothing is known.
    let seen = lab.look(&jobs).unwrap();
    let ended = |cause, word: &str| Look::Ended {
        cause,
        word: word.into(),
    };
    assert_eq!(seen.len(), 6);
    assert_eq!(
        seen[&id("1")],
        Look::Running {
            host: "node7".into()
        }
    );
    assert_eq!(seen[&id("2")], ended(Cause::Failed(3), "F 3"));
    assert_eq!(seen[&id("3")], ended(Cause::Evicted, "E preempted by root"));
    assert_eq!(seen[&id("4")], Look::Waiting("for Godot".into()));
    let odd = "`H`, which `[command.states]` does not explain";
    assert_eq!(seen[&id("5")], Look::Waiting(odd.into()));
    assert_eq!(seen[&id("6")], ended(Cause::Whole, "whole"));
    lab.cancel(&[id("1")]).unwrap();
    let seen = lab.look(&[id("1")]).unwrap();
    assert_eq!(seen[&id("1")], ended(Cause::Cancelled, "cancelled"));
    // Nothing but errors is no news, and not the news that there is nothing.
    assert!(lab.look(&[id("8")]).is_err());
}

#[test]
fn a_submission_that_nobody_can_look_for_is_refused_and_else_it_is_doubtful() {
    let dir = tempfile::tempdir().unwrap();
    let order = order(dir.path(), "k-1");
    let submit = "echo 'no such queue' >&2; exit 3";
    let refused = lab(dir.path(), submit, "").submit(&order);
    let Err(Refusal::Refused(why)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(why.to_string(), "`submit`: no such queue");
    let lab = lab(dir.path(), submit, "find = 'test {name} = k-1 && echo 5'\n");
    assert!(matches!(lab.submit(&order), Err(Refusal::Doubtful(_))));
    assert_eq!(lab.find("k-1").unwrap(), Some(id("5")));
    assert!(lab.find("k-2").is_err());
}

#[test]
fn what_a_program_leaves_behind_is_not_waited_for_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab(dir.path(), "sleep 100 & echo $!", "");
    let started = Instant::now();
    let left = lab.submit(&order(dir.path(), "k-1")).unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    // It is the job: ending it is done by nobody but who cancels it.
    let ended = std::process::Command::new("kill")
        .arg(&left.0)
        .status()
        .unwrap();
    assert!(ended.success(), "{left:?} was there");
}

#[test]
fn a_line_that_is_no_shell_is_told_before_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let told = lab(dir.path(), "echo {name}", "").check().unwrap();
    assert_eq!(told, ["jobs are submitted by: echo {name}"]);
    let told = lab(dir.path(), "echo 'unclosed", "").check().unwrap_err();
    assert!(
        told.to_string()
            .starts_with("`submit` is no line of shell: "),
        "{told}"
    );
}
