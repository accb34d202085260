//! Processes that a worker left behind, wherever they went: known by a mark in the environment that all its descendants inherit,
//! and killed before anyone looks at what they may write to.

use super::identity::Stat;
use rustix::process::{Pid, Signal, WaitOptions};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// The variable whose value names the attempt that a process belongs to.
pub const MARK: &str = "PIPE_ATTEMPT";

/// A process that was killed is gone within this, unless the kernel itself waits for a device.
const PATIENCE: Duration = Duration::from_secs(5);

/// From now on descendants that lose their parent become children of this process instead of the system's first.
pub fn adopt() {
    // Where the kernel refuses, strays are looked for among all processes.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Kills what an ended child of this process left behind, with all its descendants. Returns how many there were.
pub(crate) fn kill_left_by_child(attempt: &Path) -> usize {
    let near = rustix::process::child_subreaper().is_ok_and(|s| s.is_some());
    // Whoever lost its parent is a child of this process by now, so a look at those is enough.
    let find = || match near.then(|| children("self")).flatten() {
        Some(children) => children
            .into_iter()
            .filter(|pid| bears(*pid, attempt))
            .collect(),
        None => marked(attempt),
    };
    kill_all(&find)
}

/// Kills every process of this machine that belongs to the attempt.
pub fn kill_everywhere(attempt: &Path) -> usize {
    kill_all(&|| marked(attempt))
}

/// Living processes that belong to the attempt, of those whose environment may be read.
pub fn marked(attempt: &Path) -> BTreeSet<i32> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut found = all();
    found.retain(|pid| *pid != own && bears(*pid, attempt) && lives(*pid));
    found
}

fn kill_all(find: &dyn Fn() -> BTreeSet<i32>) -> usize {
    let since = Instant::now();
    let mut killed = BTreeSet::new();
    loop {
        let mut now = find();
        now.retain(|pid| lives(*pid));
        let mut tree: Vec<i32> = now.into_iter().collect();
        let mut at = 0;
        while at < tree.len() {
            let below = children(&tree[at].to_string()).unwrap_or_default();
            tree.extend(below);
            at += 1;
        }
        for pid in tree {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL); // It may be gone already.
            }
            killed.insert(pid);
        }
        // Those that became our own children have to be waited for; of others this is refused.
        for pid in killed.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
        if !killed.iter().any(|pid| lives(*pid)) && find().iter().all(|pid| !lives(*pid)) {
            return killed.len();
        }
        if since.elapsed() > PATIENCE {
            return killed.len();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All process ids there are.
pub(super) fn all() -> BTreeSet<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Children of a process, over all its threads; nothing where the kernel does not list them.
fn children(process: &str) -> Option<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))
        .ok()?
        .flatten()
    {
        let list = match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => list,
            // A thread may end while we look; a kernel without lists has none for any thread.
            Err(e) if e.kind() == io::ErrorKind::NotFound && thread.path().exists() => return None,
            Err(_) => continue,
        };
        found.extend(
            list.split_whitespace()
                .filter_map(|p| p.parse::<i32>().ok()),
        );
    }
    Some(found)
}

fn bears(pid: i32, attempt: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let mark = [MARK.as_bytes(), b"=", attempt.as_os_str().as_bytes()].concat();
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|all| all.split(|b| *b == 0).any(|entry| entry == mark))
}

fn lives(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|s| !s.dead())
}
