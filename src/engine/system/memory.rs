//! How much memory there is, what a process takes at most, and how often the kernel had to kill for want of it.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Bytes that can be had without swapping: of the machine, or of what this process's control group leaves.
pub(crate) fn available() -> Option<u64> {
    let machine = meminfo("MemAvailable:")?;
    let number = |file: &str| -> Option<u64> {
        fs::read_to_string(group()?.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"));
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"));
    Some(match (limit, used) {
        (Some(limit), Some(used)) => machine.min(limit.saturating_sub(used)),
        _ => machine,
    })
}

pub fn total() -> Option<u64> {
    meminfo("MemTotal:")
}

/// The most that a process had resident so far.
pub fn peak(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kibibytes(&status, "VmHWM:")
}

/// How many processes the kernel has killed for want of memory: in this control group, and on the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kills {
    pub group: Option<u64>,
    pub machine: Option<u64>,
}

impl Kills {
    pub fn now() -> Kills {
        let of_group = group().and_then(|dir| {
            let events = fs::read_to_string(dir.join("memory.events"))
                .or_else(|_| fs::read_to_string(dir.join("memory.oom_control")));
            counter(&events.ok()?, "oom_kill")
        });
        let machine = fs::read_to_string("/proc/vmstat").unwrap_or_default();
        Kills {
            group: of_group,
            machine: counter(&machine, "oom_kill"),
        }
    }

    /// Whether there were more since.
    pub fn since(&self, before: &Kills) -> bool {
        let more = |now: Option<u64>, then: Option<u64>| matches!((now, then), (Some(n), Some(t)) if n > t);
        more(self.group, before.group) || more(self.machine, before.machine)
    }
}

/// The folder of this process's control group for memory, of either version.
fn group() -> Option<&'static PathBuf> {
    static GROUP: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = GROUP.get_or_init(|| {
        let text = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |controllers: &str, mount: &str| {
            let line = text.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let named = parts.next()?.split(',').any(|c| c == controllers);
                named.then(|| parts.next()).flatten()
            })?;
            let folder = PathBuf::from(mount).join(line.trim_start_matches('/'));
            // Inside a container the path may be the host's, and the group lies at the mount itself.
            let folder = if folder.is_dir() {
                folder
            } else {
                PathBuf::from(mount)
            };
            let known = ["memory.events", "memory.oom_control"];
            known
                .iter()
                .any(|f| folder.join(f).exists())
                .then_some(folder)
        };
        path("memory", "/sys/fs/cgroup/memory").or_else(|| path("", "/sys/fs/cgroup"))
    });
    found.as_ref()
}

fn meminfo(name: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn counter(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find(|l| l.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
