//! Whatever runs a script: programs that a profile names, for PBS, LSF, Kubernetes, a machine behind ssh.

use super::place::{failed, patience, there, write_script};
use super::{Cause, JobId, Look, Order, Refusal, Scheduler, quoted, script};
use crate::run::profile::{Command as Lines, Profile};
use crate::system::programs::{self, Said, Unheard};
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

const SUBMITTED_WITHIN: Duration = Duration::from_secs(60);

pub struct Command {
    profile: Profile,
    lines: Lines,
    /// As it lies where jobs run.
    store: PathBuf,
}

impl Command {
    pub fn new(profile: &Profile, store: &Path) -> Result<Command> {
        let lines = profile.command.clone();
        let lines =
            lines.with_context(|| format!("profile `{}` has no [command]", profile.name))?;
        Ok(Command {
            profile: profile.clone(),
            lines,
            store: store.to_path_buf(),
        })
    }

    fn shell(&self, line: &str, patience: Duration) -> Result<Said, Unheard> {
        programs::run(process::Command::new("sh").arg("-c").arg(line), patience)
    }

    /// What a line of the programs' answer says; nothing of what is no such line.
    fn read(&self, line: &str) -> Option<(JobId, Look)> {
        let mut words = line.split_whitespace();
        let (id, word) = (words.next()?, words.next()?);
        let rest: Vec<&str> = words.collect();
        let rest = rest.join(" ");
        let meant = self.lines.states.get(word).map_or(word, String::as_str);
        let ended = |cause| Look::Ended {
            cause,
            word: format!("{word} {rest}").trim().to_string(),
        };
        let look = match meant {
            "waiting" => Look::Waiting(rest),
            "running" => Look::Running { host: rest },
            "whole" => ended(Cause::Whole),
            "failed" => ended(Cause::Failed(rest.parse().unwrap_or(1))),
            "oom" => ended(Cause::OutOfMemory),
            "evicted" => ended(Cause::Evicted),
            "cancelled" => ended(Cause::Cancelled),
            "unstartable" => ended(Cause::Unstartable),
            // It is not over, as far as anybody can tell.
            _ => Look::Waiting(format!(
                "`{word}`, which `[command.states]` does not explain"
            )),
        };
        Some((JobId(id.to_string()), look))
    }
}

impl Scheduler for Command {
    fn submit(&self, order: &Order) -> Result<JobId, Refusal> {
        let text = script(&self.profile, order, &self.store);
        write_script(&order.folder.join("job.sh"), &text).map_err(Refusal::Refused)?;
        let line = filled(&self.lines.submit, &of_order(order, &self.store));
        let said = self
            .shell(&line, SUBMITTED_WITHIN)
            .map_err(|unheard| match unheard {
                Unheard::NotStarted(error) => Refusal::Refused(error),
                Unheard::Lost(error) => Refusal::Doubtful(error),
            })?;
        let last = said.out.lines().rfind(|line| !line.trim().is_empty());
        match last.filter(|_| said.well) {
            Some(id) => Ok(JobId(id.trim().to_string())),
            // Nobody could look for it.
            None if self.lines.find.is_none() => Err(Refusal::Refused(failed("submit", &said))),
            None => Err(Refusal::Doubtful(failed("submit", &said))),
        }
    }

    fn look(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, Look>> {
        let ids: Vec<String> = jobs.iter().map(|job| quoted(&job.0)).collect();
        let line = self.lines.look.replace("{jobs}", &ids.join(" "));
        let said = self.shell(&line, patience(&self.profile))?;
        let lines = said.out.lines().filter_map(|line| self.read(line));
        let seen: BTreeMap<JobId, Look> = lines.filter(|(id, _)| jobs.contains(id)).collect();
        // Some end badly where they do not know one of many.
        ensure!(said.well || !seen.is_empty(), failed("look", &said));
        Ok(seen)
    }

    fn find(&self, name: &str) -> Result<Option<JobId>> {
        let Some(line) = &self.lines.find else {
            return Ok(None);
        };
        let said = self.shell(
            &line.replace("{name}", &quoted(name)),
            patience(&self.profile),
        )?;
        ensure!(said.well, failed("find", &said));
        let last = said.out.lines().rfind(|line| !line.trim().is_empty());
        Ok(last.map(|id| JobId(id.trim().to_string())))
    }

    fn cancel(&self, jobs: &[JobId]) -> Result<()> {
        for job in jobs {
            let line = self.lines.cancel.replace("{job}", &quoted(&job.0));
            // One that is gone is no error, and nobody here knows the words for that.
            self.shell(&line, patience(&self.profile))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<Vec<String>> {
        let lines = &self.lines;
        for (what, line) in [
            ("submit", &lines.submit),
            ("look", &lines.look),
            ("cancel", &lines.cancel),
        ] {
            let said = self.shell(
                &format!("{{ :; }} || {{ {line}\n}}"),
                patience(&self.profile),
            )?;
            let problem = || anyhow!("`{what}` is no line of shell: {}", said.told());
            ensure!(said.well, problem());
        }
        let states = lines
            .states
            .iter()
            .map(|(word, meant)| format!("{word} is {meant}"));
        let first = format!("jobs are submitted by: {}", lines.submit);
        Ok([first].into_iter().chain(states).collect())
    }
}

/// What stands for the places of a line, by their names.
fn of_order(order: &Order, store: &Path) -> Vec<(&'static str, String)> {
    let folder = there(&order.folder, store);
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let needs = &order.needs;
    let or_nothing = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
    vec![
        ("name", order.name.clone()),
        ("script", path(&folder.join("job.sh"))),
        ("folder", path(&folder)),
        ("gpus", needs.gpus.to_string()),
        ("cpus", order.cpus.max(1).to_string()),
        (
            "memory_mb",
            or_nothing(needs.memory.map(|m| m.div_ceil(1 << 20))),
        ),
        (
            "hours",
            or_nothing(needs.hours.map(|h| h.ceil().max(1.0) as u64)),
        ),
        (
            "minutes",
            or_nothing(needs.hours.map(|h| (h * 60.0).ceil().max(1.0) as u64)),
        ),
        (
            "partition",
            order
                .partition
                .as_ref()
                .map_or(String::new(), |p| p.name.clone()),
        ),
    ]
}

/// Every `{place}` replaced, as the shell takes a word.
fn filled(line: &str, places: &[(&str, String)]) -> String {
    let mut line = line.to_string();
    for (name, value) in places {
        line = line.replace(&format!("{{{name}}}"), &quoted(value));
    }
    line
}
