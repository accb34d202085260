//! Slurm, by its programs: sbatch, squeue, scancel, sinfo. It works without accounting (`sacct`).
//!
//! `squeue` is asked in text and not in JSON: 22.05 prints every job of everybody as JSON, whatever is asked for, and the JSON has
//! another form from version to version; fields of text are the same in all.

use super::place::{failed, patience, there, write_script};
use super::{Cause, JobId, Look, Order, ROUND, Refusal, Scheduler, quoted, script};
use crate::run::profile::Profile;
use crate::system::programs::{self, Said, Unheard};
use crate::system::user;
use anyhow::{Result, anyhow, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A submission may wait for a controller that is busy.
const SUBMITTED_WITHIN: Duration = Duration::from_secs(60);

/// So many jobs share an array at most: the comment of each names all.
const ARRAY: usize = 64;
/// Bytes of a comment; slurmctld calls a job that has more a path that is too long.
const COMMENT: usize = 1024;
/// So many are named on a command line.
const NAMED: usize = 500;
/// Slurm counts seconds before the end of a job in sixteen bits.
const LONGEST_GRACE: u64 = 65_535;
/// The signal by which slurmd says that it could not begin: a folder that is not there, most often.
const UNSTARTABLE: u32 = 53;

/// A job that waits for this waits for ever.
const NEVER: [&str; 9] = [
    "BadConstraints",
    "PartitionTimeLimit",
    "PartitionNodeLimit",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
    "AssocMaxWallDurationPerJobLimit",
    "QOSMaxWallDurationPerJobLimit",
    "JobLaunchFailure",
];
/// A job that waits for this has run before, and would run once more.
const AGAIN: [&str; 3] = [
    "launch_failed_requeued_held",
    "JobHoldMaxRequeue",
    "JobRequeueHold",
];
/// What sbatch says where its question may have arrived, or where it may go better in a while.
const DOUBTS: [&str; 12] = [
    "Unable to contact",
    "Socket timed out",
    "Zero Bytes",
    "temporarily",
    "ommunication",
    "Unexpected message",
    "MaxSubmitJob",
    "Connection",
    "try again",
    "Transport endpoint",
    "slurm_receive_msg",
    "Slurm backup controller",
];
/// What it says where there surely is no job.
const REFUSALS: [&str; 13] = [
    "too long",
    "nvalid",
    "not available",
    "not permitted",
    "denied",
    "can not be satisfied",
    "unrecognized",
    "Unable to open file",
    "violates",
    "exceeds",
    "Requested",
    "disabled",
    "not in a state",
];

pub struct Slurm {
    profile: Profile,
    /// As it lies on the nodes.
    store: PathBuf,
    /// Jobs that were cancelled here since they would have begun once more, and what was said of them: Slurm calls them cancelled
    /// from then on.
    over: Mutex<BTreeMap<JobId, Look>>,
}

impl Slurm {
    pub fn new(profile: &Profile, store: &Path) -> Slurm {
        Slurm {
            profile: profile.clone(),
            store: store.to_path_buf(),
            over: Mutex::default(),
        }
    }

    /// What every job of such needs is asked for with.
    fn asked(&self, order: &Order) -> Vec<String> {
        let (profile, needs) = (&self.profile, &order.needs);
        let mut words = vec![
            "--parsable".to_string(),
            "--export=NIL".into(),
            "--no-requeue".into(),
            "--kill-on-invalid-dep=yes".into(),
            "--open-mode=append".into(),
            "--nodes=1".into(),
            "--ntasks=1".into(),
            format!("--cpus-per-task={}", order.cpus.max(1)),
            format!("--signal=B:USR2@{}", self.grace(needs.hours)),
        ];
        if let Some(memory) = needs.memory {
            words.push(format!("--mem={}M", memory.div_ceil(1 << 20)));
        }
        if let Some(hours) = needs.hours {
            words.push(format!("--time={}", minutes(hours)));
        }
        let partition = order.partition.as_ref();
        if needs.gpus > 0 {
            let kind = partition.and_then(|p| p.gpu.as_ref());
            let kind = kind.map_or(String::new(), |kind| format!("{kind}:"));
            words.push(format!("--gres=gpu:{kind}{}", needs.gpus));
        }
        let named = [
            ("account", &profile.account),
            ("qos", &profile.qos),
            ("partition", &partition.map(|p| p.name.clone())),
        ];
        for (flag, value) in named {
            words.extend(value.iter().map(|value| format!("--{flag}={value}")));
        }
        words.extend(profile.flags.iter().cloned());
        words.extend(partition.into_iter().flat_map(|p| p.flags.iter().cloned()));
        words
    }

    /// Seconds before its time limit at which a job is asked to save: never more than half of its time.
    fn grace(&self, hours: Option<f64>) -> u64 {
        let grace = self.profile.grace().as_secs().clamp(1, LONGEST_GRACE);
        match hours {
            Some(hours) => grace.min(minutes(hours) * 30),
            None => grace,
        }
    }

    /// Asks for a job, or for an array of them, that runs a script. Its id.
    fn sbatch(&self, words: &[String], path: &Path) -> Result<String, Refusal> {
        let mut command = Command::new("sbatch");
        let said = programs::run(command.args(words).arg(path), SUBMITTED_WITHIN);
        let said = said.map_err(|unheard| match unheard {
            Unheard::NotStarted(error) => Refusal::Refused(error),
            Unheard::Lost(error) => Refusal::Doubtful(error),
        })?;
        if !said.well {
            return Err(refusal(&said));
        }
        // `ID`, or `ID;CLUSTER`.
        let line = said.out.trim().lines().last().unwrap_or_default();
        let id = line.split(';').next().unwrap_or_default();
        match !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(id.to_string()),
            false => Err(Refusal::Doubtful(anyhow!(
                "`sbatch` did not say the id of a job: {}",
                said.told()
            ))),
        }
    }

    fn script_of(&self, order: &Order) -> Result<PathBuf, Refusal> {
        let path = order.folder.join("job.sh");
        let text = script(&self.profile, order, &self.store);
        write_script(&path, &text).map_err(Refusal::Refused)?;
        Ok(path)
    }

    /// Where the output and the working folder of an order are, as its node calls them.
    fn places(&self, order: &Order) -> [String; 2] {
        let folder = there(&order.folder, &self.store);
        let folder = folder.to_string_lossy();
        // A percent sign stands for something.
        let output = folder.replace('%', "%%");
        [
            format!("--output={output}/job.out"),
            format!("--chdir={folder}"),
        ]
    }

    /// Orders of equal needs as one array. Each runs its own script, as if it had been submitted alone.
    fn submit_array(&self, orders: &[&Order]) -> Result<Vec<JobId>, Refusal> {
        let first = orders[0];
        let mut text = String::from("#!/bin/sh\ncase \"$SLURM_ARRAY_TASK_ID\" in\n");
        for (i, order) in orders.iter().enumerate() {
            self.script_of(order)?;
            let folder = there(&order.folder, &self.store);
            let word = |name| quoted(&folder.join(name).to_string_lossy());
            let (dir, script) = (quoted(&folder.to_string_lossy()), word("job.sh"));
            text += &format!(
                "{i}) cd {dir} && exec sh {script} >>{} 2>&1 ;;\n",
                word("job.out")
            );
        }
        text += "esac\n";
        let path = first.folder.join("array.sh");
        write_script(&path, &text).map_err(Refusal::Refused)?;
        let mut words = self.asked(first);
        let names: Vec<&str> = orders.iter().map(|order| order.name.as_str()).collect();
        words.push(format!("--array=0-{}", orders.len() - 1));
        words.push(format!("--job-name=array-{}", first.name));
        words.push(format!("--comment={}", names.join(",")));
        // The folder of one may be gone before another begins.
        words.push("--output=/dev/null".into());
        words.push(format!("--chdir={}", self.store.join("attempts").display()));
        let id = self.sbatch(&words, &path)?;
        Ok((0..orders.len())
            .map(|i| JobId(format!("{id}_{i}")))
            .collect())
    }

    /// All jobs of this user that Slurm still knows, a line each: `fields`, the last of which may hold anything.
    fn squeue(&self, fields: &[&str]) -> Result<Vec<Vec<String>>> {
        let form: Vec<String> = fields.iter().map(|field| format!("{field}:|")).collect();
        let user = user().to_string();
        let mut command = Command::new("squeue");
        command.args(["--array", "--noheader", "--states=all", "--user", &user]);
        command.args(["--Format", &form.join(",")]);
        let said = programs::run(&mut command, patience(&self.profile))?;
        ensure!(said.well, failed("squeue", &said));
        let cells = |line: &str| -> Vec<String> {
            let cells = line.splitn(fields.len(), '|').map(str::trim);
            cells
                .map(|cell| cell.trim_end_matches('|').to_string())
                .collect()
        };
        let lines = said.out.lines().map(cells);
        Ok(lines.filter(|cells| cells.len() == fields.len()).collect())
    }
}

impl Scheduler for Slurm {
    fn submit(&self, order: &Order) -> Result<JobId, Refusal> {
        let path = self.script_of(order)?;
        let mut words = self.asked(order);
        // Of two by mistake, the second begins when the first is over, and finds its work done.
        words.push("--dependency=singleton".into());
        words.push(format!("--job-name={}", order.name));
        // For people; of very many the last are left out.
        let attempts = order.attempts.join(",");
        let attempts: String = attempts.chars().take(COMMENT).collect();
        words.push(format!("--comment={attempts}"));
        words.extend(self.places(order));
        self.sbatch(&words, &path).map(JobId)
    }

    /// Those of equal needs share an array.
    fn submit_all(&self, orders: &[Order]) -> Vec<Option<Result<JobId, Refusal>>> {
        let began = Instant::now();
        let mut groups: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
        for (i, order) in orders.iter().enumerate() {
            groups.entry(self.asked(order)).or_default().push(i);
        }
        let mut all: Vec<_> = orders.iter().map(|_| None).collect();
        let longest = orders.iter().map(|order| order.name.len() + 1).max();
        let most = (COMMENT / longest.unwrap_or(1)).clamp(1, ARRAY);
        for places in groups.values().flat_map(|places| places.chunks(most)) {
            if began.elapsed() >= ROUND {
                break;
            }
            let group: Vec<&Order> = places.iter().map(|i| &orders[*i]).collect();
            let submitted = match group.len() {
                1 => self.submit(group[0]).map(|id| vec![id]),
                _ => self.submit_array(&group),
            };
            for (n, i) in places.iter().enumerate() {
                all[*i] = Some(match &submitted {
                    Ok(ids) => Ok(ids[n].clone()),
                    Err(Refusal::Refused(why)) => Err(Refusal::Refused(anyhow!("{why:#}"))),
                    Err(Refusal::Doubtful(why)) => Err(Refusal::Doubtful(anyhow!("{why:#}"))),
                });
            }
        }
        all
    }

    fn look(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, Look>> {
        let fields = [
            "JobArrayID",
            "State",
            "Reason",
            "exit_code",
            "RestartCnt",
            "NodeList",
        ];
        let mut seen: BTreeMap<JobId, Look> = BTreeMap::new();
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let mut again = vec![];
        for cells in self.squeue(&fields)? {
            let [id, state, reason, exit, restarts, host] = &cells[..] else {
                continue;
            };
            let id = JobId(id.clone());
            if !jobs.contains(&id) {
                continue;
            }
            let waits = state == "PENDING" || state.starts_with("REQUEUE");
            let look = read(state, reason, exit, restarts != "0", host);
            if waits && matches!(look, Look::Ended { .. }) {
                again.push(id.clone());
                over.insert(id.clone(), look.clone());
            }
            let before = over.get(&id).cloned();
            seen.insert(id, before.unwrap_or(look));
        }
        // What is over for us must not begin once more.
        if !again.is_empty() {
            self.cancel(&again)?;
        }
        Ok(seen)
    }

    fn find(&self, name: &str) -> Result<Option<JobId>> {
        Ok(self.find_all(&[name])?.remove(name))
    }

    fn find_all(&self, names: &[&str]) -> Result<BTreeMap<String, JobId>> {
        // By name, and whether it is over.
        let mut found: BTreeMap<String, (JobId, bool)> = BTreeMap::new();
        for cells in self.squeue(&["JobArrayID", "State", "Name", "Comment"])? {
            let [id, state, called, comment] = &cells[..] else {
                continue;
            };
            // The comment of an array names its jobs, in their order.
            let number = id
                .split_once('_')
                .and_then(|(_, n)| n.parse::<usize>().ok());
            let name = match number {
                Some(n) => comment.split(',').nth(n).unwrap_or_default(),
                None => called,
            };
            if !names.contains(&name) {
                continue;
            }
            let over = matches!(read(state, "", "", false, ""), Look::Ended { .. });
            // One that is not over comes first.
            let before = found.get(name).is_some_and(|(_, over)| !over);
            if !(before && over) {
                found.insert(name.to_string(), (JobId(id.clone()), over));
            }
        }
        let found = found.into_iter();
        Ok(found.map(|(name, (id, _))| (name, id)).collect())
    }

    fn cancel(&self, jobs: &[JobId]) -> Result<()> {
        for some in jobs.chunks(NAMED) {
            let ids = some.iter().map(|job| job.0.as_str());
            let said = programs::run(
                Command::new("scancel").arg("--quiet").args(ids),
                patience(&self.profile),
            )?;
            let gone =
                said.complaint.contains("nvalid job id") || said.complaint.contains("already");
            ensure!(said.well || gone, failed("scancel", &said));
        }
        Ok(())
    }

    fn check(&self) -> Result<Vec<String>> {
        let form = "%R|%a|%D nodes|%c CPUs|%m MB|%G|%l";
        let said = programs::run(
            Command::new("sinfo").args(["--noheader", "--format", form]),
            patience(&self.profile),
        )?;
        ensure!(said.well, failed("sinfo", &said));
        let rows: Vec<Vec<&str>> = said.out.lines().map(|l| l.split('|').collect()).collect();
        for partition in &self.profile.partition {
            let there = rows.iter().any(|row| row[0] == partition.name);
            ensure!(there, "Slurm has no partition `{}`", partition.name);
        }
        let told = |row: &Vec<&str>| format!("partition {}", row.join(", "));
        Ok(rows.iter().map(told).collect())
    }
}

/// What a line of squeue says of a job. `restarted`: it has run before.
fn read(state: &str, reason: &str, exit: &str, restarted: bool, host: &str) -> Look {
    let ended = |cause| Look::Ended {
        cause,
        word: match reason.is_empty() || reason == "None" {
            true => state.to_string(),
            false => format!("{state} ({reason})"),
        },
    };
    match state {
        "PENDING" if restarted || AGAIN.contains(&reason) => ended(Cause::Evicted),
        "PENDING" if NEVER.contains(&reason) => ended(Cause::Unstartable),
        "PENDING" if reason == "None" => Look::Waiting(String::new()),
        "PENDING" => Look::Waiting(reason.to_string()),
        "COMPLETED" => ended(Cause::Whole),
        "FAILED" if reason == "BadConstraints" => ended(Cause::Unstartable),
        "FAILED" => ended(failure(exit)),
        "OUT_OF_MEMORY" => ended(Cause::OutOfMemory),
        "TIMEOUT" | "PREEMPTED" | "NODE_FAIL" | "BOOT_FAIL" | "REQUEUED" | "REQUEUE_HOLD"
        | "REQUEUE_FED" | "SPECIAL_EXIT" => ended(Cause::Evicted),
        "DEADLINE" => ended(Cause::Unstartable),
        "CANCELLED" | "REVOKED" => ended(Cause::Cancelled),
        // RUNNING, COMPLETING, CONFIGURING, SUSPENDED, and what later versions may say.
        _ => Look::Running {
            host: host.to_string(),
        },
    }
}

/// Of a status as `wait` gives it, or as `CODE:SIGNAL`.
fn failure(exit: &str) -> Cause {
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let (code, signal) = match exit.split_once(':') {
        Some((code, signal)) => (number(code), number(signal)),
        None => (number(exit) >> 8, number(exit) & 0x7f),
    };
    match signal {
        UNSTARTABLE => Cause::Unstartable,
        0 => Cause::Failed(code as i32),
        signal => Cause::Failed(128 + signal as i32),
    }
}

fn refusal(said: &Said) -> Refusal {
    let text = &said.complaint;
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let error = failed("sbatch", said);
    match !says(&DOUBTS) && says(&REFUSALS) {
        true => Refusal::Refused(error),
        false => Refusal::Doubtful(error),
    }
}

fn minutes(hours: f64) -> u64 {
    (hours * 60.0).ceil().clamp(1.0, 1e6) as u64
}
