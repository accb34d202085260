//! A cluster that is this machine, whose programs do what a test says; runs on it, and what must hold after each.

use pipe::engine::store::Store;
use pipe::engine::store::record::Record;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(super) const TICKS: usize = 40;

/// A cluster of one machine, a profile for it, and a recipe.
pub(super) struct Lab {
    pub(super) dir: TempDir,
}

/// A run that goes on.
pub(super) struct Going<'a> {
    pub(super) lab: &'a Lab,
    pub(super) child: Child,
}

/// A run that is over.
pub(super) struct Over {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
    pub(super) events: Vec<Value>,
}

/// What the profile of a lab says, whatever else it says.
const PROFILE: &str = "executor = \"slurm\"\nask_seconds = 0.2\nsettle_seconds = 1.0\ngrace_seconds = 5\nclaim_seconds = 2.0\n";

impl Lab {
    pub(super) fn new(recipe: &str) -> Lab {
        Lab::with(recipe, "gather_seconds = 0.3\n")
    }

    /// `profile`: lines of it.
    pub(super) fn with(recipe: &str, profile: &str) -> Lab {
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
        let profile = format!("{PROFILE}{profile}[[partition]]\nname = \"main\"\n");
        std::fs::write(lab.path("profiles/lab.toml"), profile).unwrap();
        lab.recipe(recipe);
        lab
    }

    /// Another recipe.
    pub(super) fn recipe(&self, text: &str) {
        let count = self.path("ticks");
        let text = text.replace("{count}", &format!("{:?}", count.to_str().unwrap()));
        std::fs::write(self.path("r.toml"), text).unwrap();
    }

    /// Everything in the recipe is made here, and what was counted forgotten: from then on it is known how long its nodes take.
    pub(super) fn made_here(&self) {
        let said = self
            .command(&["run", "r.toml", "--quiet"])
            .output()
            .unwrap();
        assert!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
        let _ = std::fs::remove_file(self.path("ticks")); // Nodes need not count.
    }

    /// Folders of attempts that are left.
    pub(super) fn attempts(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("cache/attempts")).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// One long node, and one below it.
    pub(super) fn slow() -> Lab {
        Lab::new(&format!(
            "[node.slow]\nkind = \"toy-slow\"\nticks = {TICKS}\ntick_ms = 30\ncount = {{count}}\n\
             [node.below]\nkind = \"toy-join\"\nin = {{ a = \"slow\" }}\n"
        ))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn job(&self, id: &str) -> PathBuf {
        self.path("slurm/jobs").join(id)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("slurm").join(name), text).unwrap();
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
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

    pub(super) fn start(&self) -> Going<'_> {
        let child = self
            .command(&["run", "r.toml", "--on", "lab"])
            .spawn()
            .unwrap();
        Going { lab: self, child }
    }

    pub(super) fn run(&self) -> Over {
        self.start().end()
    }

    pub(super) fn ticks(&self) -> usize {
        lines(&self.path("ticks"))
    }

    /// Calls of a program.
    pub(super) fn asked(&self, program: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("slurm/asked")).unwrap_or_default();
        let calls = text
            .lines()
            .filter(|line| line.split(' ').next() == Some(program));
        calls.map(String::from).collect()
    }

    pub(super) fn jobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("slurm/jobs")).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// By node, the digest of what it made; every node has one record.
    pub(super) fn digests(&self, store: &str) -> BTreeMap<String, String> {
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
    pub(super) fn sound(&self) {
        let here = self.digests("cache");
        self.as_here();
        assert_eq!(here, self.digests("local"));
        let store = Store::look(&self.path("cache")).unwrap();
        assert_eq!(store.records().unwrap().len(), here.len());
    }

    /// What the recipe makes on this machine is in the store, byte by byte.
    pub(super) fn as_here(&self) {
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
        let records = |store: &str| {
            let records = Store::look(&self.path(store)).unwrap().records().unwrap();
            let of = |r: Record| (r.key.to_string(), r.outputs);
            records.into_iter().map(of).collect::<BTreeMap<_, _>>()
        };
        let there = records("cache");
        for (key, outputs) in records("local") {
            assert_eq!(there.get(&key), Some(&outputs));
        }
        let verified = self.command(&["verify"]).output().unwrap();
        assert!(
            verified.status.success(),
            "{}",
            String::from_utf8_lossy(&verified.stdout)
        );
    }

    /// The machine of a job is gone: whoever attends, and the worker, at once.
    pub(super) fn lose(&self, id: &str) {
        kill(number(&self.job(id).join("pid")), Signal::KILL);
        self.lose_workers();
    }

    pub(super) fn lose_workers(&self) {
        for entry in std::fs::read_dir(self.path("cache/attempts")).unwrap() {
            let worker = entry.unwrap().path().join("worker.json");
            if let Ok(text) = std::fs::read_to_string(worker) {
                let worker: Value = serde_json::from_str(&text).unwrap();
                kill(worker["pid"].as_i64().unwrap() as i32, Signal::KILL);
            }
        }
    }

    /// Runs the script of a job once more, as a scheduler does that has forgotten it.
    pub(super) fn again(&self, id: &str) -> Child {
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
    pub(super) fn after(self, ticks: usize) -> Self {
        until(&format!("{ticks} ticks"), || self.lab.ticks() >= ticks);
        self
    }

    pub(super) fn end(self) -> Over {
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
            out: String::from_utf8(output.stdout).unwrap(),
            err,
            events: journal
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        }
    }
}

impl Over {
    pub(super) fn well(self) -> Over {
        assert_eq!(self.code, Some(0), "{}\n{:#?}", self.err, self.events);
        self
    }

    /// Classes of the failures after which a node was tried again.
    pub(super) fn retries(&self) -> Vec<String> {
        let said = self.events.iter().map(|event| event.to_string());
        let said = said.filter(|text| text.contains("\"retry\""));
        let class = |text: String| {
            let rest = text.split("\"class\":\"").nth(1).unwrap();
            rest.split('"').next().unwrap().to_string()
        };
        said.map(class).collect()
    }
}

pub(super) fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .count()
}

pub(super) fn number(path: &Path) -> i32 {
    std::fs::read_to_string(path)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

pub(super) fn kill(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal); // It may have ended.
}

pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{what} never came"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
