//! Whole runs on a Slurm whose programs do what a test says: replies that get lost, jobs that are preempted, out of time, out of
//! memory, forgotten, run twice. Whatever happens there is one record a key, and its bytes are those of a local run.

use super::lab::{Going, Lab, TICKS, kill, number, until};
use pipe::engine::store::Store;
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

#[test]
fn nodes_run_as_jobs_that_are_never_requeued_and_get_nothing_of_the_environment() {
    let lab = Lab::slow();
    let over = lab.run().well();
    assert_eq!(over.retries(), [""; 0]);
    assert_eq!((lab.ticks(), lab.jobs().len()), (TICKS, 2));
    lab.sound();
    for call in lab.asked("sbatch") {
        for word in [
            "--parsable",
            "--export=NIL",
            "--no-requeue",
            "--signal=B:USR2@",
            "--partition=main",
        ] {
            assert!(call.contains(word), "{word}: {call}");
        }
    }
    let again = lab.run().well();
    assert_eq!(lab.jobs().len(), 2, "hits: {:?}", again.events);
}

#[test]
fn a_reply_that_got_lost_starts_no_second_job() {
    let lab = Lab::slow();
    lab.write("fault-sbatch", "lost");
    lab.run().well();
    assert_eq!((lab.ticks(), lab.jobs().len()), (TICKS, 2));
    assert_eq!(lab.asked("sbatch").len(), 2);
    lab.sound();
}

#[test]
fn equal_nodes_share_an_array_and_one_whose_reply_got_lost_is_found() {
    let nodes = (0..6).map(|i| {
        format!("[node.n{i}]\nkind = \"toy-write\"\ntext = \"t{i}\"\ncount = {{count}}\n")
    });
    let recipe: String = nodes.collect();
    for fault in ["", "lost"] {
        let lab = Lab::new(&recipe);
        if !fault.is_empty() {
            lab.write("fault-sbatch", fault);
        }
        lab.run().well();
        let asked = lab.asked("sbatch");
        // Those that become ready while others are being submitted come with the next.
        assert!(asked.len() <= 3, "{asked:?}");
        assert!(
            asked.iter().any(|call| call.contains("--array=0-")),
            "{asked:?}"
        );
        assert_eq!((lab.ticks(), lab.jobs().len()), (6, 6));
        lab.sound();
    }
}

/// Slurm refuses a job whose comment is longer than 1,024 bytes.
#[test]
fn an_array_has_no_more_jobs_than_its_comment_can_name() {
    let nodes = (0..40).map(|i| {
        format!("[node.n{i}]\nkind = \"toy-write\"\ntext = \"t{i}\"\ncount = {{count}}\n")
    });
    let lab = Lab::new(&nodes.collect::<String>());
    lab.run().well();
    let arrays = lab.asked("sbatch").into_iter();
    let arrays = arrays.filter(|call| call.contains("--array=0-")).count();
    assert!(arrays >= 2, "{arrays}");
    assert_eq!((lab.ticks(), lab.jobs().len()), (40, 40));
}

#[test]
fn what_slurm_refuses_fails_with_its_words() {
    let lab = Lab::slow();
    lab.write("fault-sbatch", "refuse");
    let over = lab.run();
    assert_ne!(over.code, Some(0));
    assert!(
        over.err.contains("Invalid partition name specified"),
        "{}",
        over.err
    );
    assert_eq!(
        lab.asked("sbatch").len(),
        1,
        "nothing is tried again that surely fails"
    );
}

/// A job loses its machine as Slurm tells it, and another goes on where it was.
fn evicted(state: &str, strike: impl Fn(&Lab)) {
    let lab = Lab::slow();
    let going = lab.start().after(8);
    strike(&lab);
    lab.write("jobs/1/state", state);
    let over = going.end().well();
    assert_eq!(over.retries(), ["evicted"], "{state}");
    let ticks = lab.ticks();
    assert!(
        (TICKS..TICKS + 4).contains(&ticks),
        "{state}: {ticks} ticks"
    );
    assert_eq!(lab.jobs().len(), 3, "{state}");
    lab.sound();
}

#[test]
fn a_preempted_job_saves_and_another_goes_on() {
    evicted("PREEMPTED", |lab| {
        kill(number(&lab.job("1").join("pid")), Signal::TERM)
    });
}

#[test]
fn a_job_whose_time_is_up_saves_and_another_goes_on() {
    evicted("TIMEOUT", |lab| {
        kill(number(&lab.job("1").join("pid")), Signal::USR2)
    });
}

#[test]
fn a_job_whose_machine_failed_is_gone_on_with_from_its_last_checkpoint() {
    evicted("NODE_FAIL", |lab| lab.lose("1"));
}

#[test]
fn a_job_out_of_memory_fails_as_that() {
    let lab = Lab::slow();
    let going = lab.start().after(8);
    lab.lose("1");
    lab.write("jobs/1/state", "OUT_OF_MEMORY");
    let over = going.end();
    assert_eq!(over.code, Some(1), "{}", over.err);
    let failed = over
        .events
        .iter()
        .map(Value::to_string)
        .find(|e| e.contains("\"failed\""));
    let failed = failed.expect("an event of the failure");
    assert!(failed.contains("\"out_of_memory\""), "{failed}");
    // Nothing was lost by it.
    lab.run().well();
    assert!(lab.ticks() < TICKS + 4, "{}", lab.ticks());
    lab.sound();
}

#[test]
fn a_job_that_left_no_word_of_its_end_is_tried_again() {
    let lab = Lab::slow();
    let going = lab.start().after(8);
    lab.lose("1");
    let over = going.end().well();
    assert_eq!(over.retries().len(), 1, "{:?}", over.retries());
    assert!(lab.ticks() < TICKS + 4, "{}", lab.ticks());
    lab.sound();
}

#[test]
fn of_a_job_that_slurm_has_forgotten_its_claim_says_whether_it_goes_on() {
    let lab = Lab::slow();
    let going = lab.start().after(4);
    lab.write("jobs/1/forgotten", "");
    // It goes on, whatever squeue says, for as long as it gives signs of life.
    let going = going.after(20);
    assert_eq!(lab.jobs(), ["1"]);
    lab.lose("1");
    let over = going.end().well();
    assert_eq!(over.retries(), ["evicted"]);
    assert!(lab.ticks() < TICKS + 4, "{}", lab.ticks());
    lab.sound();
}

#[test]
fn a_squeue_that_fails_or_hangs_is_no_news() {
    for fault in ["fail", "hang"] {
        let lab = Lab::slow();
        lab.write("fault-squeue", fault);
        let over = lab.run().well();
        assert_eq!(over.retries(), [""; 0], "{fault}");
        assert_eq!((lab.ticks(), lab.jobs().len()), (TICKS, 2), "{fault}");
        lab.sound();
    }
}

#[test]
fn a_script_that_is_run_twice_at_once_executes_once() {
    let lab = Lab::slow();
    let going = lab.start().after(4);
    let mut twins = [lab.again("1"), lab.again("1")];
    going.end().well();
    for twin in &mut twins {
        twin.wait().unwrap(); // Where it came late there is nothing to attend to.
    }
    assert_eq!((lab.ticks(), lab.jobs().len()), (TICKS, 2));
    lab.sound();
}

#[test]
fn a_job_that_slurm_requeued_is_cancelled_and_a_new_one_goes_on() {
    let lab = Lab::slow();
    let going = lab.start().after(8);
    lab.lose("1");
    lab.write("jobs/1/restarts", "1");
    lab.write("jobs/1/reason", "BeginTime");
    lab.write("jobs/1/state", "PENDING");
    let over = going.end().well();
    assert_eq!(over.retries(), ["evicted"]);
    let cancelled = lab.asked("scancel").iter().any(|call| call.ends_with(" 1"));
    assert!(cancelled, "{:?}", lab.asked("scancel"));
    // Where that came too late, the script finds nothing to do.
    let before = lab.ticks();
    lab.again("1").wait().unwrap();
    assert_eq!(lab.ticks(), before);
    lab.sound();
}

#[test]
fn a_job_outlives_its_engine_and_the_next_engine_takes_it_up() {
    let lab = Lab::slow();
    let mut going = lab.start().after(8);
    going.child.kill().unwrap();
    going.child.wait().unwrap();
    let over = lab.run().well();
    assert_eq!(over.retries(), [""; 0]);
    assert_eq!((lab.ticks(), lab.jobs().len()), (TICKS, 2));
    lab.sound();
}

#[test]
fn no_secret_is_in_a_script_a_command_line_or_an_output() {
    const SECRET: &str = "hunter2-hunter2";
    let lab =
        Lab::new("[node.a]\nkind = \"toy-write\"\ntext = \"a\"\nsecret_env = \"TOKEN_OF_MINE\"\n");
    let mut command = lab.command(&["run", "r.toml", "--on", "lab"]);
    let child = command.env("TOKEN_OF_MINE", SECRET).spawn().unwrap();
    Going { lab: &lab, child }.end().well();
    let found = Command::new("grep")
        .args(["-r", "-l", SECRET, "."])
        .current_dir(lab.dir.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");
    assert_eq!(lab.digests("cache").len(), 1);
}

#[test]
fn a_job_that_waits_for_nothing_is_said_to_wait() {
    let lab = Lab::slow();
    lab.write("hold", "");
    let mut going = lab.start();
    until("two answers", || lab.asked("squeue").len() > 2);
    going.child.kill().unwrap();
    going.child.wait().unwrap();
    let runs = std::fs::read_dir(lab.path("cache/runs")).unwrap();
    let run = runs.map(|run| run.unwrap().path()).next().unwrap();
    let events = std::fs::read_to_string(run.join("events.jsonl")).unwrap();
    assert!(events.contains("\"job\":\"1\""), "{events}");
    assert!(!events.contains("None"), "{events}");
}

#[test]
fn a_file_of_secrets_that_others_may_read_is_told_before_there_is_a_job() {
    let lab = Lab::new("[node.a]\nkind = \"toy-write\"\ntext = \"a\"\n");
    let secrets = lab.path("secrets");
    std::fs::write(&secrets, "HF_TOKEN=hush\n").unwrap();
    let profile = lab.path("profiles/lab.toml");
    let text = std::fs::read_to_string(&profile).unwrap();
    std::fs::write(&profile, format!("secrets_file = {secrets:?}\n{text}")).unwrap();
    let mode = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&secrets, mode).unwrap();
    };
    mode(0o640);
    for words in [
        &["run", "r.toml", "--on", "lab"][..],
        &["profiles", "--check", "lab"],
    ] {
        let said = lab.command(words).output().unwrap();
        let err = String::from_utf8(said.stderr).unwrap();
        assert!(!said.status.success(), "{words:?}");
        assert!(err.contains("chmod 600"), "{words:?}: {err}");
    }
    assert_eq!(lab.asked("sbatch"), [""; 0]);
    mode(0o600);
    lab.run().well();
}

#[test]
fn the_manual_s_profile_for_ssh_runs_a_study() {
    let lab = Lab::slow();
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster.md"))
            .unwrap();
    let block = page.split("```toml").last().unwrap();
    let profile = block
        .split_once('\n')
        .unwrap()
        .1
        .split("```")
        .next()
        .unwrap();
    let (first, rest) = profile.split_once('\n').unwrap();
    let profile = format!("{first}\nask_seconds = 0.2\nclaim_seconds = 2.0\n{rest}");
    std::fs::write(lab.path("profiles/lab.toml"), profile).unwrap();
    // As the real one: what stands behind the machine is a line for the shell there.
    let ssh = lab.path("bin/ssh");
    std::fs::write(&ssh, "#!/bin/sh\nshift\nexec sh -c \"$*\"\n").unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = lab.command(&["run", "r.toml", "--on", "lab"]);
    let child = command.env("HOME", lab.dir.path()).spawn().unwrap();
    let going = Going { lab: &lab, child }.after(8);
    lab.lose_workers();
    going.end().well();
    assert!(lab.ticks() < TICKS + 4, "{}", lab.ticks());
    lab.sound();
}

/// Of our environment a job has how models are to compute on GPUs, and nothing else.
#[test]
fn a_job_computes_by_the_kernels_that_were_said_and_a_plan_tells_it() {
    let gpus = "gather_seconds = 0.3\n[[partition]]\nname = \"main\"\ngpus = 1\n";
    let recipe = "[node.it]\nkind = \"toy-compute\"\ndevice = \"cuda:711\"\n";
    let lab = Lab::with(recipe, gpus);
    let said = |words: &[&str], kernels: &str| {
        let words = [words, &["r.toml", "--on", "lab"]].concat();
        let said = lab.command(&words).env("PIPE_KERNELS", kernels).output();
        let said = said.unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        (said.status.code(), text)
    };
    let (code, told) = said(&["plan"], "fast");
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("PIPE_KERNELS is \"fast\""), "{told}");
    let (code, told) = said(&["run"], "plain");
    assert_eq!(code, Some(0), "{told}");
    let records = Store::look(&lab.path("cache")).unwrap().records().unwrap();
    let devices = &records[0].provenance.origin.devices;
    assert_eq!(devices[0].told(), "cuda:711 (Toy 9000), bf16 candle");
    // The same again, and by kernels.
    let again = ["plan", "--fresh", "it"];
    let (code, told) = said(&again, "plain");
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains("was computed on"), "{told}");
    let moved = "was computed on cuda:711 (Toy 9000), bf16 candle, and is to be made again on cuda:711, bf16 kernels:";
    let (_, told) = said(&again, "");
    assert!(told.contains(moved), "{told}");
}
