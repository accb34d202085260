//! Whole runs on a Slurm whose programs do what a test says: replies that get lost, jobs that are preempted, out of time, out of
//! memory, forgotten, run twice. Whatever happens there is one record a key, and its bytes are those of a local run.

use pipe::engine::store::Store;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TICKS: usize = 40;

/// A cluster of one machine, a profile for it, and a recipe.
struct Lab {
    dir: TempDir,
}

/// A run that goes on.
struct Going<'a> {
    lab: &'a Lab,
    child: Child,
}

/// A run that is over.
struct Over {
    code: Option<i32>,
    err: String,
    events: Vec<Value>,
}

impl Lab {
    fn new(recipe: &str) -> Lab {
        let lab = Lab {
            dir: tempfile::tempdir().unwrap(),
        };
        for folder in ["bin", "slurm/jobs", "slurm/ids", "profiles"] {
            std::fs::create_dir_all(lab.path(folder)).unwrap();
        }
        let script = lab.path("bin/slurm.sh");
        std::fs::write(&script, include_str!("fake/slurm.sh")).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["sbatch", "squeue", "scancel", "sinfo"] {
            std::os::unix::fs::symlink(&script, lab.path("bin").join(name)).unwrap();
        }
        let profile = "executor = \"slurm\"\nask_seconds = 0.2\nsettle_seconds = 1.0\ngrace_seconds = 5\nclaim_seconds = 2.0\n\
                       [[partition]]\nname = \"main\"\n";
        std::fs::write(lab.path("profiles/lab.toml"), profile).unwrap();
        let count = lab.path("ticks");
        let recipe = recipe.replace("{count}", &format!("{:?}", count.to_str().unwrap()));
        std::fs::write(lab.path("r.toml"), recipe).unwrap();
        lab
    }

    /// One long node, and one below it.
    fn slow() -> Lab {
        Lab::new(&format!(
            "[node.slow]\nkind = \"toy-slow\"\nticks = {TICKS}\ntick_ms = 30\ncount = {{count}}\n\
             [node.below]\nkind = \"toy-join\"\nin = {{ a = \"slow\" }}\n"
        ))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn job(&self, id: &str) -> PathBuf {
        self.path("slurm/jobs").join(id)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("slurm").join(name), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::study::program());
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .args(words)
            .current_dir(self.dir.path())
            .env(
                "PATH",
                format!("{}:{}", self.path("bin").display(), path.display()),
            )
            .env("FAKE_SLURM", self.path("slurm"))
            .env("PIPE_PROFILES", self.path("profiles"))
            .env_remove("PIPE_STORE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self) -> Going<'_> {
        let child = self
            .command(&["run", "r.toml", "--on", "lab"])
            .spawn()
            .unwrap();
        Going { lab: self, child }
    }

    fn run(&self) -> Over {
        self.start().end()
    }

    fn ticks(&self) -> usize {
        lines(&self.path("ticks"))
    }

    /// Calls of a program.
    fn asked(&self, program: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("slurm/asked")).unwrap_or_default();
        let calls = text
            .lines()
            .filter(|line| line.split(' ').next() == Some(program));
        calls.map(String::from).collect()
    }

    fn jobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("slurm/jobs")).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// By node, the digest of what it made; every node has one record.
    fn digests(&self, store: &str) -> BTreeMap<String, String> {
        let said = self
            .command(&["ls", "--json", "--store", store])
            .output()
            .unwrap();
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        let records = said["records"].as_array().unwrap();
        let digest = |r: &Value| r["outputs"]["out"]["digest"].as_str().unwrap().to_string();
        let node = |r: &Value| r["made_by"]["node"].as_str().unwrap().to_string();
        let all: BTreeMap<_, _> = records.iter().map(|r| (node(r), digest(r))).collect();
        assert_eq!(all.len(), records.len(), "one record a node");
        all
    }

    /// What was made is what a run on this machine makes, and nothing is left of attempts.
    fn sound(&self) {
        let here = self.digests("cache");
        let before = self.ticks();
        let said = self
            .command(&["run", "r.toml", "--store", "local"])
            .output()
            .unwrap();
        assert!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
        let text: String = std::fs::read_to_string(self.path("ticks")).unwrap_or_default();
        let kept: Vec<&str> = text.lines().take(before).collect();
        std::fs::write(self.path("ticks"), kept.join("\n") + "\n").unwrap();
        assert_eq!(here, self.digests("local"));
        let store = Store::look(&self.path("cache")).unwrap();
        assert_eq!(store.records().unwrap().len(), here.len());
        let verified = self.command(&["verify"]).output().unwrap();
        assert!(
            verified.status.success(),
            "{}",
            String::from_utf8_lossy(&verified.stdout)
        );
    }

    /// The machine of a job is gone: whoever attends, and the worker, at once.
    fn lose(&self, id: &str) {
        kill(number(&self.job(id).join("pid")), Signal::KILL);
        self.lose_workers();
    }

    fn lose_workers(&self) {
        for entry in std::fs::read_dir(self.path("cache/attempts")).unwrap() {
            let worker = entry.unwrap().path().join("worker.json");
            if let Ok(text) = std::fs::read_to_string(worker) {
                let worker: Value = serde_json::from_str(&text).unwrap();
                kill(worker["pid"].as_i64().unwrap() as i32, Signal::KILL);
            }
        }
    }

    /// Runs the script of a job once more, as a scheduler does that has forgotten it.
    fn again(&self, id: &str) -> Child {
        let script = std::fs::read_to_string(self.job(id).join("script")).unwrap();
        Command::new("sh")
            .arg(script.trim())
            .env_clear()
            .spawn()
            .unwrap()
    }
}

impl Going<'_> {
    /// Waits until some ticks are done.
    fn after(self, ticks: usize) -> Self {
        until(&format!("{ticks} ticks"), || self.lab.ticks() >= ticks);
        self
    }

    fn end(self) -> Over {
        let lab = self.lab;
        let output = self.child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!err.contains("panicked"), "{err}");
        let runs = lab.path("cache/runs");
        let mut names: Vec<_> = std::fs::read_dir(&runs)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        names.sort();
        let journal = names
            .last()
            .map(|run| std::fs::read_to_string(run.join("events.jsonl")).unwrap());
        let journal = journal.unwrap_or_default();
        Over {
            code: output.status.code(),
            err,
            events: journal
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        }
    }
}

impl Over {
    fn well(self) -> Over {
        assert_eq!(self.code, Some(0), "{}\n{:#?}", self.err, self.events);
        self
    }

    /// Classes of the failures after which a node was tried again.
    fn retries(&self) -> Vec<String> {
        let said = self.events.iter().map(|event| event.to_string());
        let said = said.filter(|text| text.contains("\"retry\""));
        let class = |text: String| {
            let rest = text.split("\"class\":\"").nth(1).unwrap();
            rest.split('"').next().unwrap().to_string()
        };
        said.map(class).collect()
    }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .count()
}

fn number(path: &Path) -> i32 {
    std::fs::read_to_string(path)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn kill(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal); // It may have ended.
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{what} never came"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

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
