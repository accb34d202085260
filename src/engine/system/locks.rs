//! Who holds a lock on a file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Process and command line of those that do, as far as the system says; not this process.
pub fn holders(lock: &Path) -> Vec<(u32, String)> {
    let Ok(meta) = fs::metadata(lock) else {
        return vec![];
    };
    let inode = format!(":{}", meta.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut found = vec![];
    for line in locks.lines() {
        // `1: FLOCK  ADVISORY  READ 4711 08:01:123456 0 EOF`
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(pid), Some(file)) = (fields.get(4), fields.get(5)) else {
            continue;
        };
        let Ok(pid) = pid.parse::<u32>() else {
            continue;
        };
        if file.ends_with(&inode) && pid != std::process::id() {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push((pid, command.trim().to_string()));
        }
    }
    found.sort();
    found.dedup();
    found
}
